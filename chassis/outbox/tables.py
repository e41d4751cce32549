"""What the relay reads and writes in Postgres beside the events: what it remembers, and what it is allowed.

Promise: of all relays of one record one holds the lock and publishes; its session is ended by the server when it has
been silent for `SILENCE_SECONDS`, so that one that hangs is not waited for, and at once when its process dies.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier, Literal

from chassis.outbox.continuity import LogView, Published, StreamView, position_in
from chassis.postgres.database import advisory_key, channel_of, connection_arguments, translated
from contracts.errors import PlatformError

Connection = AsyncConnection[tuple[Any, ...]]

SILENCE_SECONDS = 15
"""Longer than the relay waits for NATS between two queries."""


async def connect(dsn: str, schema: str) -> Connection:
    """A connection for a relay."""
    return await AsyncConnection.connect(dsn, **connection_arguments(dsn, schema))


async def prepare(connection: Connection) -> None:
    """Make a connection fit to publish with."""
    # The one table that is written here is a memory of what was published. When a crash loses the last
    # of it, less is noticed for a moment; a commit on disk for each window would be dear.
    await connection.execute("SET synchronous_commit = off")
    await connection.execute(SQL("SET idle_session_timeout = {}").format(Literal(f"{SILENCE_SECONDS}s")))


async def take_lead(connection: Connection, schema: str) -> bool:
    """Whether this relay is the one that publishes, for as long as the connection lasts."""
    cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", (advisory_key(f"relay/{schema}"),))
    return bool((await cursor.fetchall())[0][0])


async def standing(connection: Connection) -> tuple[int, int]:
    """The last notification id that is known to be published, and the last of all."""
    cursor = await connection.execute(
        "SELECT CASE WHEN s.incarnation = (SELECT incarnation FROM log_incarnations ORDER BY number DESC LIMIT 1)"
        " THEN s.high_water ELSE 0 END, (SELECT coalesce(max(notification_id), 0) FROM stored_events)"
        " FROM outbox_state AS s"
    )
    ((published, last),) = await cursor.fetchall()
    return int(published), int(last)


async def read_rows(connection: Connection, after: int, limit: int) -> list[tuple[int, bytes]]:
    """Notification ids and bytes of the log, after a notification id."""
    cursor = await connection.execute(
        "SELECT notification_id, state FROM stored_events WHERE notification_id > %s ORDER BY notification_id LIMIT %s",
        (after, limit),
    )
    return [(int(notification_id), bytes(state)) for notification_id, state in await cursor.fetchall()]


async def last_id(connection: Connection) -> int:
    """The last notification id of the log; 0 where it is empty."""
    rows = await (await connection.execute("SELECT max(notification_id) FROM stored_events")).fetchall()
    return int(rows[0][0] or 0)


async def incarnation_of(connection: Connection) -> str:
    """The name of the log as it is now."""
    cursor = await connection.execute("SELECT incarnation FROM log_incarnations ORDER BY number DESC LIMIT 1")
    return str((await cursor.fetchall())[0][0])


async def log_view(connection: Connection, stream: StreamView) -> LogView:
    """The log as it is, beside a stream."""
    incarnation = await incarnation_of(connection)
    has_tail = False
    if stream.tail is not None and stream.tail.incarnation == incarnation and stream.tail.position is not None:
        found = await connection.execute(
            "SELECT 1 FROM stored_events WHERE notification_id = %s AND state = %s",
            (stream.tail.position, stream.tail.body),
        )
        has_tail = await found.fetchone() is not None
    return LogView(incarnation=incarnation, last=await last_id(connection), has_tail=has_tail)


async def read_published(connection: Connection) -> tuple[Published, int, int]:
    """What is remembered, the number of the last permission that was granted, and of the last that was used."""
    cursor = await connection.execute(
        "SELECT incarnation, high_water, foreign_tail, first_sequence, lost, permission_used,"
        " (SELECT coalesce(max(number), 0) FROM refill_permissions) FROM outbox_state"
    )
    ((incarnation, high_water, foreign_tail, first_sequence, lost, used, granted),) = await cursor.fetchall()
    published = Published(
        incarnation=incarnation,
        high_water=high_water,
        foreign_tail=foreign_tail,
        first_sequence=first_sequence,
        lost=lost,
    )
    return published, granted, used


async def write_published(connection: Connection, published: Published, permission: int | None = None) -> None:
    """Remember what was published, and the permission that was used."""
    await connection.execute(
        "UPDATE outbox_state SET incarnation = %s, high_water = %s, foreign_tail = %s, first_sequence = %s, lost = %s,"
        " permission_used = coalesce(%s, permission_used)",
        (
            published.incarnation,
            published.high_water,
            published.foreign_tail,
            published.first_sequence,
            published.lost,
            permission,
        ),
    )


async def has_published(dsn: str, schemas: Iterable[str]) -> bool:
    """Whether anything of some records was ever published. `dsn` is the administrator's. Raises UNAVAILABLE."""
    with translated():
        for schema in schemas:
            async with await AsyncConnection.connect(dsn, **connection_arguments(dsn, schema)) as connection:
                published, _, _ = await read_published(connection)
                if published.high_water > 0 or published.foreign_tail is not None:
                    return True
    return False


class RefillPermission(msgspec.Struct, frozen=True):
    """Leave to fill a stream: its number, the last notification id when it was given, and the name of the log."""

    number: int
    last: int
    incarnation: str


async def request_refill(dsn: str, schema: str, *, new_incarnation: bool = False) -> RefillPermission:
    """Allow the relay to publish into a stream that does not continue this log.

    An empty stream is filled from the beginning and a short one from its end, under the same message ids; behind
    messages of another log the whole record is published again. `new_incarnation` is for a record that was
    restored to an earlier point (the stream is ahead of it): it begins a new log, so that no identity is used twice.
    `dsn` is the administrator's: a service cannot permit this to itself. Raises UNAVAILABLE.
    """
    with translated():
        async with await AsyncConnection.connect(dsn, **connection_arguments(dsn, schema)) as connection:
            async with connection.transaction():
                if new_incarnation:
                    await connection.execute("INSERT INTO log_incarnations DEFAULT VALUES")
                cursor = await connection.execute("INSERT INTO refill_permissions DEFAULT VALUES RETURNING number")
                ((number,),) = await cursor.fetchall()
            incarnation = await incarnation_of(connection)
            _, last = await standing(connection)
            await connection.execute(SQL("NOTIFY {}").format(Identifier(channel_of(schema))))
            return RefillPermission(int(number), last, incarnation)


async def refill_refusal(dsn: str, schema: str, stream: StreamView) -> PlatformError | None:
    """Why a permission to refill would not be used: the stream, as it is, goes on only with a new incarnation.

    The stream was looked at before: what is published meanwhile speaks against nothing. Raises UNAVAILABLE.
    """
    with translated():
        async with await AsyncConnection.connect(dsn, **connection_arguments(dsn, schema)) as connection:
            log = await log_view(connection, stream)
            published, _, _ = await read_published(connection)
    try:
        position_in(log, published, stream, may_refill=True)
    except PlatformError as error:
        return error
    return None


async def refilled(dsn: str, schema: str, permission: RefillPermission) -> int | None:
    """Up to which notification id the stream is filled; None while the relay has not used the permission.

    What is remembered as published before that is of the stream that is gone. Raises UNAVAILABLE.
    """
    with translated():
        async with await AsyncConnection.connect(dsn, **connection_arguments(dsn, schema)) as connection:
            cursor = await connection.execute("SELECT permission_used FROM outbox_state")
            ((used,),) = await cursor.fetchall()
            published, _ = await standing(connection)
            return published if int(used) >= permission.number else None
