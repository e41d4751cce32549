"""Where the read models stand: how far each stream is applied, and the number of the latest fact.

All of it is one row, locked by whoever applies, so that even two projectors at once apply nothing twice.

Read models are committed without waiting for the disk: what a crash of Postgres takes is applied again from the
streams, in one transaction with its position. Only the numbers of facts might then be given twice, to other facts; so
each start of the server begins a new epoch (`lead`), and whoever resumes from before it gets a snapshot.
"""

from collections.abc import Mapping, Sequence
from typing import LiteralString

import msgspec
from psycopg.sql import SQL, Identifier

from chassis.ids import new_id
from gateway.projections.applied import Database
from gateway.projections.stream_reader import START, Place
from gateway.schema import READ_MODELS

_PLACES = msgspec.json.Decoder(dict[str, Place])
_STAND = "SELECT epoch, sequence, places::text FROM projection_state"
_ADVANCE = "UPDATE projection_state SET sequence = %s, places = %s"
_ADVANCE_AND_TELL = """
    WITH moved AS (UPDATE projection_state SET sequence = %s, places = %s)
    SELECT pg_notify(current_schema() || '.facts', %s)
"""


def channel_of(schema: str) -> str:
    """The NOTIFY channel on which the number of the latest fact is announced to all gateways."""
    return f"{schema}.facts"


class Stand(msgspec.Struct, frozen=True):
    """How far the read models are. `epoch` changes with every rebuild; `sequence` numbers the facts within one."""

    epoch: str
    sequence: int
    places: Mapping[str, Place]

    def place_of(self, stream: str) -> Place:
        """The place of the event of a stream that was applied last."""
        return self.places.get(stream, START)


async def read(database: Database) -> Stand:
    """How far the read models are, seen from outside of any transaction that applies."""
    return await _stand(database, _STAND)


async def lock(database: Database) -> Stand:
    """As `read`, and nobody else applies until the caller's transaction has ended.

    One row is locked and read at once: a second table would be seen as it was before the wait for the lock.
    """
    return await _stand(database, _STAND + " FOR UPDATE")


async def _stand(database: Database, query: LiteralString) -> Stand:
    rows = await (await database.execute(query)).fetchall()
    epoch, sequence, places = rows[0]
    return Stand(epoch, sequence, _PLACES.decode(places))


async def lead(database: Database) -> None:
    """Take the read models over on a fresh connection."""
    await database.execute("SET synchronous_commit = off")
    async with database.transaction():
        await lock(database)
        changed = await database.execute(
            """
            UPDATE projection_state SET epoch = %s, server_started_at = pg_postmaster_start_time()
            WHERE server_started_at <> pg_postmaster_start_time()
            """,
            (new_id(),),
        )
        if changed.rowcount:
            await _announce_anew(database)


async def advance(database: Database, stand: Stand, stream: str, place: Place, facts: int) -> Stand:
    """Write down how far a stream is applied and how many facts are new, in the transaction that applies them.

    New facts are announced to all gateways; they hear of it once the transaction is committed.
    """
    after = Stand(stand.epoch, stand.sequence + facts, {**stand.places, stream: place})
    places = msgspec.json.encode(after.places).decode()
    if facts:
        await database.execute(_ADVANCE_AND_TELL, (after.sequence, places, str(after.sequence)))
    else:
        await database.execute(_ADVANCE, (after.sequence, places))
    return after


async def _announce_anew(database: Database) -> None:
    await database.execute("SELECT pg_notify(current_schema() || '.facts', '0')")


async def note_skipped(database: Database, stream: str, skipped: Sequence[tuple[Place, str]]) -> None:
    """Remember events that this build could not read, so that the gap is seen until a rebuild."""
    for place, name in skipped:
        await database.execute(
            "INSERT INTO projection_skipped (stream, position, type) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (stream, place.position, name),
        )


async def count_skipped(database: Database) -> int:
    """How many events are missing from the read models because they could not be read."""
    rows = await (await database.execute("SELECT count(*) FROM projection_skipped")).fetchall()
    return int(rows[0][0])


async def reset(database: Database) -> Stand:
    """Empty the read models and begin a new epoch: everything is applied again from the beginning."""
    async with database.transaction():
        await lock(database)
        for table in READ_MODELS:
            await database.execute(SQL("DELETE FROM {}").format(Identifier(table)))
        await database.execute("UPDATE projection_state SET epoch = %s, sequence = 0, places = '{}'", (new_id(),))
        await _announce_anew(database)
    return await read(database)
