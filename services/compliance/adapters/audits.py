"""What audits are made of, and where they are kept: the audit log in Postgres, the record of the service."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

from psycopg import AsyncConnection

from chassis.auditlog.note import Checkpoint, is_signed
from chassis.auditlog.origins import origin_of
from chassis.auditlog.tree import Edge, leaf_hash
from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from chassis.record.answers import Answers
from chassis.upcasting import read_event
from contracts.envelope import MalformedEvent, UnknownEventType, decode
from contracts.event import Event
from services.compliance.controls.facts import Facts, LogStanding, Seen
from services.compliance.domain import Attestation, ComplianceAudit

MOMENT_SECONDS = 2.0
LOOK_SECONDS = 0.1
ROWS = 1000
"""Between so many rows others have their turn."""
SPARSE = 256
"""Of checkpoints long ago those of every so many entries are compared: the later ones count the same entries."""
_SIGNED = "SELECT size, root FROM audit_checkpoints WHERE organisation = %s ORDER BY size DESC LIMIT 1"
_HAS = "SELECT EXISTS (SELECT FROM audit_entries WHERE organisation = %s AND type = %s AND event_id = %s)"
_SIZE: LiteralString = """
    SELECT coalesce((
        SELECT place + 1 FROM audit_entries WHERE organisation = %s AND place IS NOT NULL AND happened_at <= %s
        ORDER BY place DESC LIMIT 1
    ), 0)
"""
"""From the end on: of an instant that has just passed one row is looked at, however long the log is."""
_TYPES: LiteralString = """
    WITH RECURSIVE known (type) AS (
        SELECT min(type) FROM audit_entries WHERE organisation = %(organisation)s
        UNION ALL
        SELECT (SELECT min(type) FROM audit_entries WHERE organisation = %(organisation)s AND type > known.type)
        FROM known WHERE known.type IS NOT NULL
    ) SELECT type FROM known WHERE type IS NOT NULL
"""
"""One look into the index for each type that there is, and none for each entry."""
_EVENTS: LiteralString = """
    SELECT body FROM audit_entries
    WHERE organisation = %s AND place < %s AND happened_at <= %s AND type = ANY(%s) ORDER BY place
"""
_LEAVES: LiteralString = """
    SELECT place, body, event_id, type, happened_at, actor FROM audit_entries
    WHERE organisation = %s AND place < %s ORDER BY place
"""
_ENDS = """
    SELECT (SELECT min(size) FROM audit_checkpoints WHERE organisation = %s AND size >= %s),
        (SELECT coalesce(max(size), 0) FROM audit_checkpoints WHERE organisation = %s),
        (SELECT count(*) FROM audit_entries WHERE organisation = %s)
"""
_CHECKPOINTS = """
    SELECT c.size, root, note, public_key, since
    FROM audit_checkpoints c JOIN audit_generations g ON g.number = generation
    WHERE organisation = %(organisation)s AND c.size <= %(size)s
        AND (c.size %% %(sparse)s = 0 OR c.size > %(size)s - %(sparse)s) ORDER BY c.size
"""


class RecordedAudits(Answers[ComplianceAudit]):
    """`Audits` on an event store."""

    KIND = ComplianceAudit


class RecordedAttestations(Answers[Attestation]):
    """`AttestationRecord` on an event store."""

    KIND = Attestation


class AuditLogLookups:
    """`AuditLogReading` in Postgres. One audit at a time: the log's own connection is left to it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._turn = asyncio.Semaphore(1)

    async def has(self, organisation: str, event_id: str, kind: type[Event]) -> bool:
        """Whether an event is in an organisation's log, or gets there within `MOMENT_SECONDS`."""
        for _ in range(round(MOMENT_SECONDS / LOOK_SECONDS)):
            with translated():
                async with self._pool.connection() as database:
                    row = await (await database.execute(_HAS, (organisation, kind.NAME, event_id))).fetchone()
            if row is not None and row[0]:
                return True
            await asyncio.sleep(LOOK_SECONDS)
        return False

    async def facts(self, organisation: str, at: datetime, kinds: Sequence[type[Event]], *, checks_log: bool) -> Facts:
        """What had happened up to an instant, by one look at the log.

        What cannot be read as its type says is left out, and makes the log broken: nobody knows what it says.
        """
        wanted = {kind.NAME.rpartition(".")[0] for kind in kinds}
        with translated():
            async with self._turn, self._pool.connection() as database, database.transaction():
                await database.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                found = await (await database.execute(_SIZE, (organisation, at))).fetchone()
                size = 0 if found is None else int(found[0])
                found_types = await (await database.execute(_TYPES, {"organisation": organisation})).fetchall()
                names = [name for (name,) in found_types if name.rpartition(".")[0] in wanted]
                seen: list[Seen] = []
                unreadable = 0
                async for (body,) in _rows(database, _EVENTS, organisation, size, at, names):
                    try:
                        envelope = decode(bytes(body))
                        event = read_event(envelope)
                    except (MalformedEvent, UnknownEventType):
                        unreadable += 1
                        continue
                    seen.append(Seen(envelope.id, envelope.time, envelope.actor, event))
                log = await _checked(database, organisation, size, hashes=checks_log)
        if unreadable and not log.broken:
            log = LogStanding(log.size, log.root, log.checkpoints, f"{unreadable} entries are no events of their type")
        return Facts(at, seen, log)

    async def signed(self, organisation: str) -> tuple[int, str | None]:
        """How many entries an organisation's log has, and the root that was signed of them, base64."""
        with translated():
            async with self._pool.connection() as database:
                row = await (await database.execute(_SIGNED, (organisation,))).fetchone()
        return (0, None) if row is None else (int(row[0]), base64.b64encode(bytes(row[1])).decode())


async def _rows(
    database: AsyncConnection[Any], statement: LiteralString, *values: object
) -> AsyncIterator[tuple[Any, ...]]:
    async with database.cursor(name="rows") as cursor:
        cursor.itersize = ROWS
        await cursor.execute(statement, values)
        async for row in cursor:
            yield row


async def _checked(database: AsyncConnection[Any], organisation: str, size: int, *, hashes: bool) -> LogStanding:
    """How the log is up to a size. `hashes`: every entry is read and hashed; else only what was signed is told.

    It is read up to the first checkpoint that counts all of them, so that the last ones are proven, too. All that there
    are now are counted besides: one that is gone from behind that checkpoint may have happened before the instant.
    """
    found = await (await database.execute(_ENDS, (organisation, size, organisation, organisation))).fetchone()
    covered, signed_size, there = found or (None, 0, 0)
    until = size if covered is None else covered
    values = {"organisation": organisation, "size": until, "sparse": SPARSE}
    found = await (await database.execute(_CHECKPOINTS, values)).fetchall()
    signed = {at: _Signed(bytes(root), note, bytes(public), since) for at, root, note, public, since in found}
    if not hashes:
        return LogStanding(size, signed[size].root if size in signed else None, 0)
    edge, root, broken = Edge(), None, ""
    async for place, body, *columns in _rows(database, _LEAVES, organisation, until):
        if place != edge.size:
            broken = broken or f"the entry {edge.size} is missing"
            break
        body = bytes(body)
        edge.append([leaf_hash(body)])
        broken = broken or _broken_entry(place, body, columns) or _broken_checkpoint(organisation, edge, signed)
        root = edge.root() if edge.size == size else root
    if edge.size != until:
        broken = broken or f"{until - edge.size} entries are missing at the end"
    if size and covered is None:
        broken = broken or f"no checkpoint counts the {size} entries"
    if signed_size != there:
        broken = broken or f"a checkpoint counts {signed_size} entries, and the log has {there}"
    return LogStanding(size, root, len(signed), broken)


class _Signed(NamedTuple):
    """What a checkpoint says, whose key was the platform's then, and since when its generation is one."""

    root: bytes
    note: str
    public: bytes
    since: str


def _broken_entry(place: int, body: bytes, columns: Sequence[Any]) -> str:
    """What is wrong with what an entry is found by: it has to be what its bytes say."""
    try:
        envelope = decode(body)
    except MalformedEvent:
        return f"the entry {place} is no event"
    said = [envelope.id, envelope.type, envelope.time, envelope.actor]
    return "" if said == list(columns) else f"the entry {place} is found by what its bytes do not say"


def _broken_checkpoint(organisation: str, edge: Edge, signed: Mapping[int, _Signed]) -> str:
    """What is wrong with the checkpoint of the entries so far, where it is one of those that are compared."""
    checkpoint = signed.get(edge.size)
    if checkpoint is None:
        return ""
    if edge.root() != checkpoint.root:
        return f"the first {edge.size} entries are not those that were signed"
    said = Checkpoint(origin_of(organisation, checkpoint.since), edge.size, checkpoint.root)
    if not is_signed(checkpoint.note, said, checkpoint.public):
        return f"the checkpoint of {edge.size} entries is not signed by the platform's key"
    return ""
