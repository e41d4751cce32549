"""What is handed to the read models: a decoded event with its envelope."""

from typing import Any, LiteralString, TypeVar

import msgspec
from psycopg import AsyncConnection

from contracts.envelope import Envelope
from contracts.event import Event

T = TypeVar("T")
Row = tuple[object, ...]
Database = AsyncConnection[Any]


class Applied(msgspec.Struct, frozen=True):
    """One event on its way into the read models."""

    envelope: Envelope
    event: Event


async def upsert(database: Database, statement: LiteralString, rows: list[Row]) -> None:
    """Execute a statement for each row, in few round trips."""
    if len(rows) == 1:
        await database.execute(statement, rows[0])
    elif rows:
        async with database.cursor() as cursor:
            await cursor.executemany(statement, rows)


async def load_views(
    database: Database, statement: LiteralString, ids: list[str], decoder: msgspec.json.Decoder[T]
) -> dict[str, T]:
    """Stored views by id. The statement selects id and JSON as text, for an array of ids."""
    if not ids:
        return {}
    cursor = await database.execute(statement, (ids,))
    return {key: decoder.decode(view) for key, view in await cursor.fetchall()}
