"""The audit log in Postgres.

Promise: entries, hashes, checkpoints and how far a stream was taken in change in one transaction, so that each event
is in the log exactly once, in the order of its service's log, whatever is killed when. Several processes may append:
who comes second finds the place moved on, and reads again. Nothing that is in the log is ever changed, and nothing is
signed that contradicts what was (`services.compliance.adapters.generations`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg import AsyncConnection, AsyncCursor

from chassis.auditlog.note import Checkpoint, signed
from chassis.auditlog.origins import origin_of
from chassis.auditlog.tree import Edge, TileId, edge_tiles
from chassis.postgres.database import connection_arguments, translated
from chassis.postgres.pool import Pool
from chassis.reading.stored import START, Place, StoredMessage
from contracts.errors import PlatformError
from services.compliance.adapters.generations import (
    HAVE_IT,
    PLATFORM,
    Generation,
    begin_another,
    begin_first,
    current,
    latest,
    open_new,
    require_same,
    restart_of,
)
from services.compliance.adapters.seen import SignedLast
from services.compliance.adapters.signing import SigningKey
from services.compliance.application import entry_of
from services.compliance.domain import Entry
from services.compliance.errors import AuditLogPutBack

_COLUMNS = "number, organisation, place, service, log, position, event_id, type, happened_at, actor, access, leaf, body"


class AuditLogTable:
    """Appends what streams hold."""

    def __init__(self, pool: Pool, signing: SigningKey) -> None:
        self._pool = pool
        self._signing = signing
        self._seen = SignedLast(signing.folder)
        self._is_begun = False

    async def standing(self, service: str) -> tuple[Place, str]:
        """How far a service's stream was taken in, and the log that is its record as far as anybody said.

        Before that the log goes on as a new generation where that was said.
        Raises SignerUnknown, UNAVAILABLE, and what the disk of the keys says.
        """
        with translated():
            async with self._pool.connection() as database:
                await self._begin_where_said(database)
                rows = await (await database.execute(_PLACE, (service,))).fetchall()
        return _standing(rows)

    async def append(self, service: str, after: Place, messages: Sequence[StoredMessage], reached: Place) -> bool:
        """Append what follows a place of a stream; False where the place has moved on meanwhile, and nothing was done.

        Raises AuditLogPutBack, SignerUnknown, UNAVAILABLE, and what the disk of the keys says.
        """
        note = None
        with translated():
            async with self._pool.connection() as database:
                seen = await self._seen.notes()
                async with database.transaction():
                    await database.execute(HAVE_IT)
                    place, _ = _standing(await (await database.execute(_PLACE, (service,))).fetchall())
                    if place != after:
                        return False
                    now = await current(database)
                    await require_same(database, now, seen)
                    if new := await _unknown(database, service, [_entry(service, each) for each in messages]):
                        now, key = await self._signer(database, now)
                        note = await _append(database, new, now, key)
                    await database.execute(
                        _MOVE, (service, reached.log, reached.position, reached.sequence, reached.digest)
                    )
        if note is not None:
            await self._seen.keep(note)
        return True

    async def look(self) -> None:
        """Raise what keeps the log from being signed, whether anything is to be appended now or not."""
        seen = await self._seen.notes()
        with translated():
            async with self._pool.connection() as database:
                now = await current(database)
                await require_same(database, now, seen)
                known = await latest(database)
        await self._signing.check(None if now is None else now.public, seen)
        await self._seen.keep_again(known)

    def not_remembered(self) -> PlatformError | None:
        """Why nobody but the database knows what was signed last."""
        return self._seen.trouble

    async def _begin_where_said(self, database: AsyncConnection[Any]) -> None:
        is_anew = not self._is_begun and await self._signing.is_begun_anew()
        if is_anew or await restart_of(database, await current(database)) is not None:
            note = await begin_another(database, self._signing, await self._seen.notes())
            if note is not None:
                await self._seen.keep(note)
            await self._signing.begun()
        self._is_begun = True

    async def _signer(
        self, database: AsyncConnection[Any], now: Generation | None
    ) -> tuple[Generation, Ed25519PrivateKey]:
        """Who signs now, if the key is there and is the one; the first time it is made and named."""
        if now is None:
            return await begin_first(database, self._signing)
        return now, await self._signing.open(now.public)


_PLACE = "SELECT log, position, sequence, digest, record_log FROM audit_streams WHERE service = %s"
_MOVE = """
    INSERT INTO audit_streams (service, log, position, sequence, digest) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (service) DO UPDATE SET log = excluded.log, position = excluded.position,
        sequence = excluded.sequence, digest = excluded.digest
"""


def _standing(rows: Sequence[tuple[Any, ...]]) -> tuple[Place, str]:
    if not rows:
        return START, ""
    log, position, sequence, digest, record_log = rows[0]
    if record_log and record_log != log:
        return START, record_log
    return Place(log, position, sequence, digest), record_log


def _entry(service: str, message: StoredMessage) -> Entry:
    return entry_of(service, message.log, message.position, message.body, message.arrived)


async def _unknown(database: AsyncConnection[Any], service: str, entries: list[Entry]) -> list[Entry]:
    """Those that are not in the log yet.

    A record that was restored, or is published again under another name, is read from its beginning once more: what it
    has kept is in the log already. What is in the log and not in the record any more stays there.
    """
    found = await database.execute(
        "SELECT position, leaf FROM audit_entries WHERE service = %s AND position = ANY(%s)",
        (service, [entry.position for entry in entries]),
    )
    known = {(position, bytes(leaf)) for position, leaf in await found.fetchall()}
    return [entry for entry in entries if (entry.position, entry.leaf) not in known]


async def _append(
    database: AsyncConnection[Any], entries: Sequence[Entry], now: Generation, key: Ed25519PrivateKey
) -> str:
    """Append entries to the platform's log and to those of their organisations; the platform's checkpoint."""
    organisations = sorted({entry.organisation for entry in entries} | {PLATFORM})
    edges = await _edges(database, organisations)
    places = {organisation: edge.size for organisation, edge in edges.items()}
    await open_new(database, now, [each for each, size in places.items() if not size and each != PLATFORM], key)
    rows = []
    for entry in entries:
        number, place = places[PLATFORM], None
        places[PLATFORM] += 1
        if entry.organisation != PLATFORM:
            place = places[entry.organisation]
            places[entry.organisation] += 1
        rows.append((number, place, entry))
    async with database.cursor() as cursor:
        await _write_entries(cursor, rows)
        tiles, checkpoints, notes = [], [], dict[str, str]()
        for organisation, edge in edges.items():
            of_log = [each.leaf for each in entries if organisation in (PLATFORM, each.organisation)]
            changed = edge.append(of_log)
            tiles += [(organisation, tile.level, tile.number, hashes) for tile, hashes in changed.items()]
            checkpoint = Checkpoint(origin_of(organisation, now.since), edge.size, edge.root())
            notes[organisation] = signed(checkpoint, key)
            checkpoints.append((organisation, edge.size, checkpoint.root, notes[organisation], now.number))
        await cursor.executemany(
            "INSERT INTO audit_tiles (organisation, level, number, hashes) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (organisation, level, number) DO UPDATE SET hashes = excluded.hashes",
            tiles,
        )
        await cursor.executemany(
            "INSERT INTO audit_checkpoints (organisation, size, root, note, generation) VALUES (%s, %s, %s, %s, %s)",
            checkpoints,
        )
        await cursor.executemany(
            "INSERT INTO audit_logs (organisation, size) VALUES (%s, %s)"
            " ON CONFLICT (organisation) DO UPDATE SET size = excluded.size",
            [(organisation, edge.size) for organisation, edge in edges.items()],
        )
    return notes[PLATFORM]


async def _edges(database: AsyncConnection[Any], organisations: list[str]) -> dict[str, Edge]:
    found = await database.execute(
        "SELECT organisation, size FROM audit_logs WHERE organisation = ANY(%s)", (organisations,)
    )
    sizes = dict.fromkeys(organisations, 0) | dict(await found.fetchall())
    wanted = [(organisation, tile) for organisation, size in sizes.items() for tile in edge_tiles(size)]
    found = await database.execute(
        "SELECT organisation, level, number, hashes FROM audit_tiles JOIN"
        " unnest(%s::text[], %s::smallint[], %s::bigint[]) AS wanted (organisation, level, number)"
        " USING (organisation, level, number)",
        (
            [organisation for organisation, _ in wanted],
            [tile.level for _, tile in wanted],
            [tile.number for _, tile in wanted],
        ),
    )
    tiles: dict[str, dict[TileId, bytes]] = {organisation: {} for organisation in organisations}
    for organisation, level, number, hashes in await found.fetchall():
        tiles[organisation][TileId(level, number)] = bytes(hashes)
    return {organisation: Edge(size, tiles[organisation]) for organisation, size in sizes.items()}


async def _write_entries(cursor: AsyncCursor[Any], rows: Sequence[tuple[int, int | None, Entry]]) -> None:
    async with cursor.copy(f"COPY audit_entries ({_COLUMNS}) FROM STDIN") as copy:
        for number, place, entry in rows:
            await copy.write_row(
                (
                    number,
                    entry.organisation,
                    place,
                    entry.service,
                    entry.log,
                    entry.position,
                    entry.event_id,
                    entry.type,
                    entry.happened_at,
                    entry.actor,
                    entry.access,
                    entry.leaf,
                    entry.body,
                )
            )


async def announce_record(dsn: str, schema: str, service: str, *, log: str, restarts: bool = False) -> None:
    """Have the audit log follow a log of a service, because an operator says that it is the record.

    What is in the audit log already stays there. `restarts`: the audit log itself, too, is the record as it is now, and
    goes on as a new generation; one, however often that is said before it begins. `dsn` is the administrator's.
    Raises UNAVAILABLE.
    """
    with translated():
        async with (
            await AsyncConnection.connect(dsn, **connection_arguments(dsn, schema)) as database,
            database.transaction(),
        ):
            await database.execute(
                "INSERT INTO audit_streams (service, record_log) VALUES (%s, %s)"
                " ON CONFLICT (service) DO UPDATE SET record_log = excluded.record_log",
                (service, log),
            )
            if restarts and await restart_of(database, await current(database)) is None:
                await database.execute("INSERT INTO audit_restarts DEFAULT VALUES")


async def put_back(dsn: str, schema: str, keys_dir: Path) -> PlatformError | None:
    """Why the audit log goes on by a new generation alone; None where it is the one that was signed last.

    `dsn` is the administrator's. Raises UNAVAILABLE, and what the disk of the keys says.
    """
    seen = await SignedLast(keys_dir).notes()
    with translated():
        async with await AsyncConnection.connect(dsn, **connection_arguments(dsn, schema)) as database:
            try:
                await require_same(database, await current(database), seen)
            except AuditLogPutBack as error:
                return error
    return None
