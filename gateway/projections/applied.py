"""What is handed to the read models, a decoded event with its envelope, and how they store what they make of it."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from psycopg import AsyncConnection

from contracts import errors
from contracts.envelope import Envelope
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.reading import read_json

T = TypeVar("T")
Row = Mapping[str, object] | msgspec.Struct
"""One row: by the name of its column a JSON value, or what msgspec makes one of."""
Database = AsyncConnection[Any]


class Applied(msgspec.Struct, frozen=True, gc=False):
    """One event on its way into the read models.

    The envelope's time is that of its arrival where it says a later one. `position`: that of its service's log, in
    which later facts have higher ones; what came first is told by it, never by a clock.
    """

    envelope: Envelope
    event: Event
    position: int


class ViewUnreadable(PlatformError):
    """A stored view is of a shape that this build cannot read. `projection` is to be made anew."""

    def __init__(self, projection: str) -> None:
        super().__init__(
            errors.UNAVAILABLE,
            f"a stored view of {projection} cannot be read by this build: it is made anew",
            hint="Try again in a few seconds.",
            projection=projection,
        )
        self.projection = projection


async def upsert(database: Database, statement: bytes, rows: Sequence[Row]) -> None:
    """Execute a statement once for all rows: it takes them out of its one parameter, a JSON array.

    By `json_populate_recordset`; where it has ON CONFLICT, no two rows may be about the same.
    """
    if rows:
        await database.execute(statement, (msgspec.json.encode(rows).decode(),))


def read_view(stored: str, decoder: msgspec.json.Decoder[T], projection: str) -> T:
    """A stored view, as far as this build knows its fields. Raises ViewUnreadable."""
    try:
        return read_json(stored, decoder)
    except msgspec.MsgspecError as error:
        raise ViewUnreadable(projection) from error


async def load_views(
    database: Database, statement: bytes, ids: list[str], decoder: msgspec.json.Decoder[T]
) -> tuple[dict[str, T], set[str]]:
    """Stored views by id, and the ids of those that this build cannot read.

    The statement selects id and JSON as text, for an array of ids.
    """
    views: dict[str, T] = {}
    unreadable: set[str] = set()
    if ids:
        cursor = await database.execute(statement, (ids,))
        for key, stored in await cursor.fetchall():
            try:
                views[key] = read_json(stored, decoder)
            except msgspec.MsgspecError:
                unreadable.add(key)
    return views, unreadable
