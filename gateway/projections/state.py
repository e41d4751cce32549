"""Where the read models stand: how far each stream is applied, the number of the latest fact, what is to be made anew.

The tables that answer stand at one place of each stream, so that what several of them say is of one instant; it is one
row, locked by whoever applies, so that even two projectors at once apply nothing twice. Each projection has a row of
its own besides: the version that its tables were made by, and the place up to which its shadow is built.

Read models are committed without waiting for the disk: what a crash of Postgres takes is applied again from the
streams, in one transaction with its position. The numbers of facts that were lost so are never given again: each start
of the server leaves `SKIPPED` of them out (`lead`). So whoever resumes behind a fact that is kept misses nothing, and
whoever was told one that was lost is known by its number.
"""

from collections.abc import Iterable, Mapping
from typing import LiteralString

import msgspec
from psycopg.sql import SQL, Identifier

from chassis.ids import new_id
from chassis.reading.stored import START, Place
from gateway.projections.applied import Database
from gateway.projections.projection import Side, catalogue

SKIPPED = 100_000
"""More than can be committed and not be on the disk yet."""

_PLACES = msgspec.json.Decoder(dict[str, Place])
_STAND = "SELECT epoch, sequence, places::text, skip_to, swaps, records::text, applied FROM projection_state"
_ADVANCE = "UPDATE projection_state SET sequence = %s, places = %s, applied = %s"
_ADVANCE_AND_TELL = """
    WITH moved AS (UPDATE projection_state SET sequence = %s, places = %s, applied = %s)
    SELECT pg_notify(current_schema() || '.facts', %s)
"""
_MADE = """
    SELECT name, version, wanted, building, places::text, sequence,
        name || '/' || version = ANY (SELECT unnest(applied) FROM projection_state)
    FROM projections
"""
_WANT = """
    INSERT INTO projections (name, wanted) SELECT unnest(%s::text[]), %s
    ON CONFLICT (name) DO UPDATE SET wanted = excluded.wanted WHERE projections.building IS NULL OR %s
"""


def channel_of(schema: str) -> str:
    """The NOTIFY channel on which the number of the latest fact is announced to all gateways."""
    return f"{schema}.facts"


class Record(msgspec.Struct, frozen=True):
    """What an operator has said to be the record of a stream: a log, that holds events up to a position at least."""

    log: str
    position: int


_RECORDS = msgspec.json.Decoder(dict[str, Record])


class Stand(msgspec.Struct, frozen=True):
    """How far the read models are. `epoch` changes when the facts are made anew; `sequence` numbers the latest of them.

    Within an epoch numbers grow; they have gaps where a crash may have taken some (`skip_to`). `swaps` changes whenever
    other tables answer. `records`: what an operator has said to be the record, by stream.
    `applied`: the projections, each with its version (`Projection.made_by`), that were applied up to `places`. One that
    a leader of another version did not know, or made otherwise, has left them, and is to be made anew.
    """

    epoch: str
    sequence: int
    places: Mapping[str, Place]
    skip_to: int = 0
    swaps: int = 0
    records: Mapping[str, Record] = msgspec.field(default_factory=dict)
    applied: frozenset[str] = frozenset()

    def place_of(self, stream: str) -> Place:
        """The place of the event of a stream that was applied last."""
        return self.places.get(stream, START)

    def log_of(self, stream: str) -> str:
        """The log to follow; empty where nothing was ever applied nor said: then it is the last one that is there."""
        record = self.records.get(stream)
        return self.place_of(stream).log if record is None else record.log

    def is_left_behind(self, stream: str) -> bool:
        """Whether what was applied is of a log that is not the record any more."""
        return self.place_of(stream).log not in ("", self.log_of(stream))

    @property
    def numbered_behind(self) -> int:
        """New facts are numbered from the next number on."""
        return max(self.sequence, self.skip_to)


class Made(msgspec.Struct, frozen=True):
    """How one projection stands. `version`: what its live tables were made by, 0 for never.

    `wanted`: why it is to be made anew. `building`: the version that its shadow is built by, up to `places`, with
    `sequence` facts. `is_left_out`: somebody who led has gone on without it.
    """

    version: int = 0
    wanted: str | None = None
    building: int | None = None
    places: Mapping[str, Place] = msgspec.field(default_factory=dict)
    sequence: int = 0
    is_left_out: bool = False


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
    epoch, sequence, places, skip_to, swaps, records, applied = rows[0]
    decoded = _PLACES.decode(places), skip_to, swaps, _RECORDS.decode(records)
    return Stand(epoch, sequence, *decoded, frozenset(applied))


async def announce(database: Database, stream: str, record: Record) -> None:
    """Say for an operator what the record of a stream is, be there events of it or not."""
    row = (stream, msgspec.json.encode(record).decode())
    await database.execute(
        "UPDATE projection_state SET records = records || jsonb_build_object(%s::text, %s::jsonb)", row
    )


async def lead(database: Database) -> None:
    """Take the read models over on a fresh connection."""
    await database.execute("SET synchronous_commit = off")
    async with database.transaction():
        await lock(database)
        await database.execute(
            """
            UPDATE projection_state SET skip_to = sequence + %s, server_started_at = pg_postmaster_start_time()
            WHERE server_started_at <> pg_postmaster_start_time()
            """,
            (SKIPPED,),
        )


async def advance(
    database: Database, stand: Stand, stream: str, place: Place, sequence: int | None, *, by: Iterable[str]
) -> Stand:
    """Write down how far a stream is applied and the latest fact's number, in the transaction that applies them.

    `by`: the projections that have applied it, as `Projection.made_by` says; all others are left behind.
    New facts are announced to all gateways; they hear of it once the transaction is committed.
    """
    after = msgspec.structs.replace(
        stand,
        sequence=stand.sequence if sequence is None else sequence,
        places={**stand.places, stream: place},
        applied=stand.applied & frozenset(by),
    )
    row = (after.sequence, msgspec.json.encode(after.places).decode(), sorted(after.applied))
    if sequence is not None:
        await database.execute(_ADVANCE_AND_TELL, (*row, str(after.sequence)))
    else:
        await database.execute(_ADVANCE, row)
    return after


async def is_kept(database: Database, sequence: int) -> bool:
    """Whether all facts behind a number are still kept, and the number was given to one that is."""
    kept = await database.execute("SELECT 1 FROM facts WHERE sequence = %s", (sequence,))
    if await kept.fetchone() is not None:
        return True
    row = await (await database.execute("SELECT min(sequence) FROM facts")).fetchone()
    return sequence == 0 and (row is None or row[0] in (None, 1))


async def made(database: Database) -> dict[str, Made]:
    """How each projection of this build stands."""
    cursor = await database.execute(_MADE)
    rows = {
        name: Made(version, wanted, building, _PLACES.decode(places), sequence, version > 0 and not is_applied)
        for name, version, wanted, building, places, sequence, is_applied in await cursor.fetchall()
    }
    return {name: rows.get(name, Made()) for name in catalogue()}


async def want(database: Database, names: Iterable[str], reason: str, *, again: bool = False) -> None:
    """Have projections made anew. One that is being built is built once more only where `again` is set."""
    await database.execute(_WANT, (list(names), reason, again))


def due(found: Mapping[str, Made]) -> list[str]:
    """The projections whose tables are not what this build would have made, and those that are (to be) made anew."""
    return [
        name
        for name, projection in found.items()
        if projection.wanted is not None
        or projection.building is not None
        or projection.is_left_out
        or projection.version != catalogue()[name].VERSION
    ]


async def begin_shadow(database: Database, names: list[str]) -> None:
    """Empty the shadows of projections, to be built from the beginning of the streams; in the caller's transaction."""
    tables = [table for name in names for table in catalogue()[name].TABLES]
    await database.execute("SELECT empty_shadows(%s::text[])", (tables,))
    await database.execute("DELETE FROM passed_over WHERE side = 'shadow'")
    if "facts" in names:
        await database.execute("UPDATE projection_state SET past_epoch = NULL")
    for name in names:
        await database.execute(
            """
            INSERT INTO projections (name, building) VALUES (%s, %s)
            ON CONFLICT (name) DO UPDATE SET building = excluded.building, wanted = NULL, places = '{}', sequence = 0
            """,
            (name, catalogue()[name].VERSION),
        )


async def advance_shadow(database: Database, names: list[str], places: Mapping[str, Place], sequence: int) -> None:
    """Write down how far shadows are built, in the transaction that builds them."""
    await database.execute(
        "UPDATE projections SET places = %s, sequence = %s WHERE name = ANY(%s)",
        (msgspec.json.encode(places).decode(), sequence, names),
    )


async def swap(database: Database, names: list[str], places: Mapping[str, Place], sequence: int) -> None:
    """Let the shadows of projections answer from now on; in the caller's transaction, which has locked `stand`.

    Their tables must be locked, too. The facts that were told before stay in the shadow until the next build: so it is
    known what a reader of the past epoch has not heard.
    """
    for name in names:
        cls = catalogue()[name]
        await database.execute("SELECT swap_tables(%s::text[])", (list(cls.TABLES),))
        await database.execute("UPDATE projections SET version = building, building = NULL WHERE name = %s", (name,))
    made_now = [catalogue()[name].made_by() for name in names]
    if set(names) == set(catalogue()):
        await database.execute("UPDATE projection_state SET applied = %s", (made_now,))
        await database.execute("DELETE FROM passed_over WHERE side = 'live'")
        await database.execute("UPDATE passed_over SET side = 'live'")
    else:
        await database.execute(
            "UPDATE projection_state SET applied = %s::text[]"
            " || ARRAY(SELECT each FROM unnest(applied) AS each WHERE split_part(each, '/', 1) <> ALL (%s))",
            (made_now, names),
        )
    if "facts" in names:
        await database.execute(
            "UPDATE projection_state SET past_epoch = epoch, epoch = %s, sequence = %s, skip_to = 0",
            (new_id(), sequence),
        )
    await database.execute(
        "UPDATE projection_state SET places = %s, swaps = swaps + 1", (msgspec.json.encode(places).decode(),)
    )
    await database.execute("SELECT pg_notify(current_schema() || '.facts', '0')")


async def lock_tables(database: Database, names: list[str]) -> None:
    """Keep everybody from the tables of projections until the caller's transaction has ended.

    Raises psycopg.errors.LockNotAvailable after a tenth of a second: sooner than a deadlock with somebody who reads
    several of them would be noticed, and nobody waits for longer than that.
    """
    tables = [f"{table}{side.suffix}" for name in names for table in catalogue()[name].TABLES for side in Side]
    await database.execute("SET LOCAL lock_timeout = '100ms'")
    await database.execute(
        SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(SQL(", ").join(map(Identifier, tables)))
    )
