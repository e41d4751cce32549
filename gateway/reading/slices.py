"""Making many resources of many rows without keeping the event loop, or a connection, from everybody else."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, LiteralString, TypeVar

from gateway.http.resources import ListPage
from gateway.projections.applied import Database
from gateway.reading.cursor import Cursors, Place

Reading = Callable[[str], AbstractAsyncContextManager[Database]]
"""Lends a connection to read on for an organisation: for as long as Postgres works, not while resources are made of
what it told."""

Row = TypeVar("Row")
T = TypeVar("T")

SLICE = 20
"""Rows between which others have their turn: about two milliseconds of work."""


async def made_of(rows: Iterable[Row], make: Callable[[Row], T]) -> list[T]:
    """What `make` makes of each row, in order."""
    made: list[T] = []
    for row in rows:
        made.append(make(row))
        if len(made) % SLICE == 0:
            await asyncio.sleep(0)
    return made


async def page_of(
    reading: Reading,
    organisation: str,
    query: LiteralString,
    conditions: Sequence[tuple[LiteralString, Any]],
    make: Callable[[Sequence[tuple[Any, ...]]], Awaitable[list[T]]],
    *,
    key: tuple[LiteralString, LiteralString],
    place: Callable[[T], Place],
    cursors: Cursors,
    limit: int,
    cursor: str | None,
) -> ListPage[T]:
    """A page of a list, the latest first. Raises INVALID_CURSOR.

    `query` takes the organisation; a condition whose value is None does not narrow it. `key`: the columns of time (or
    number) and id that the list is in order of; `place`: the two of an item.
    """
    values: list[Any] = [organisation]
    for condition, value in conditions:
        if value is not None:
            query += condition
            values.append(value)
    after = await cursors.decode(cursor)
    time, identity = key
    if after is not None:
        query += f" AND ({time}, {identity}) < (%s, %s)"
        values += [after.time, after.id]
    query += f" ORDER BY {time} DESC, {identity} DESC LIMIT %s"
    async with reading(organisation) as database:
        rows = await (await database.execute(query, [*values, limit + 1])).fetchall()
    items = await make(rows[:limit])
    return ListPage(items=items, next_cursor=await cursors.encode(place(items[-1])) if len(rows) > limit else None)
