"""Making many resources of many rows without keeping the event loop, or a connection, from everybody else."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from gateway.projections.applied import Database

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
