"""Accesses and proofs, of the audit log in the compliance service's schema, of which the gateway's role may read it."""

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any, LiteralString

import msgspec

from chassis.auditlog.note import verifier_key
from chassis.auditlog.origins import origin_of
from chassis.auditlog.tree import EMPTY_ROOT, Range, TileId, consistency, inclusion, roots, tiles_for
from chassis.sealing import Sealer
from contracts import errors
from contracts.envelope import decode
from contracts.errors import PlatformError
from contracts.gateway_events import ADDRESS_FIELD, AGENT_FIELD, Evidence
from contracts.reading import decoder_of, read_json
from gateway.groups.security.resources import (
    Access,
    AuditConsistency,
    AuditEntries,
    AuditEntry,
    AuditGeneration,
    AuditLog,
    AuditProof,
    Outcome,
)
from gateway.http.resources import ListPage
from gateway.projections.applied import Database
from gateway.reading.cursor import Cursors, Place
from gateway.reading.opened import OpenedFields
from gateway.reading.slices import Reading, page_of

PAGE_BYTES_MAX = 4 * 1024 * 1024
"""Entries of a page have no more than this together, but for one that is larger by itself."""
_ACCESSES: LiteralString = """
    SELECT e.place, e.event_id, e.happened_at, e.actor, e.type, e.access, e.body FROM {audit}.audit_entries e
    WHERE e.organisation = %s AND e.access IS NOT NULL
"""
LOG: LiteralString = """
    SELECT l.size, c.root, coalesce(o.note, c.note), g.since, g.public_key FROM {audit}.audit_logs l
    JOIN {audit}.audit_checkpoints c USING (organisation, size)
    LEFT JOIN LATERAL (
        SELECT generation, note FROM {audit}.audit_openings
        WHERE organisation = l.organisation AND size = l.size ORDER BY generation DESC LIMIT 1
    ) o ON true
    JOIN {audit}.audit_generations g ON g.number = coalesce(o.generation, c.generation)
    WHERE l.organisation = %s
"""
_GENERATIONS: LiteralString = """
    SELECT o.size, o.note, g.since, g.public_key FROM {audit}.audit_openings o
    JOIN {audit}.audit_generations g ON g.number = o.generation
    WHERE o.organisation = %s ORDER BY g.number
"""
_ENTRIES: LiteralString = """
    SELECT place, body FROM (
        SELECT place, body, sum(length(body)) OVER (ORDER BY place) - length(body) AS before
        FROM {audit}.audit_entries WHERE organisation = %s AND place >= %s ORDER BY place LIMIT %s
    ) page WHERE before < %s ORDER BY place
"""
_ENTRY: LiteralString = "SELECT event_id, leaf FROM {audit}.audit_entries WHERE organisation = %s AND place = %s"
_CHECKPOINT: LiteralString = "SELECT note FROM {audit}.audit_checkpoints WHERE organisation = %s AND size = %s"
_NEXT_CHECKPOINT: LiteralString = """
    SELECT size, note FROM {audit}.audit_checkpoints WHERE organisation = %s AND size >= %s ORDER BY size LIMIT 1
"""
_TILES: LiteralString = """
    SELECT level, number, hashes FROM {audit}.audit_tiles JOIN unnest(%s::smallint[], %s::bigint[])
        AS wanted (level, number) USING (level, number)
    WHERE organisation = %s
"""


class AccessFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which accesses a list shows; what is None does not narrow it."""

    actor: str | None = None
    outcome: Outcome | None = None
    action: str | None = None
    happened_from: datetime | None = None
    happened_before: datetime | None = None


class _Told(msgspec.Struct, frozen=True):
    """What of a request or a denial is shown, whichever of them it is, and whatever else it says."""

    request_id: str | None = msgspec.field(default=None, name="requestId")
    code: str | None = None
    route: str | None = None
    method: str | None = None
    repeats: int = 1
    evidence: Evidence | None = None


_TOLD = decoder_of(_Told)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)


class SecurityQueries:
    """Reads the audit log of an organisation. `schema`: where it lies, checked as a setting is."""

    def __init__(self, reading: Reading, sealer: Sealer, schema: str) -> None:
        self._reading = reading
        self._sealer = sealer
        self._schema = schema

    def of_log(self, statement: LiteralString) -> LiteralString:
        """A statement about the log's tables."""
        # A schema's name is lower-case letters, digits and underscores: it needs no quotes, and can say nothing else.
        return statement.replace("{audit}", self._schema)

    async def accesses(
        self, organisation: str, wanted: AccessFilter, *, limit: int, cursor: str | None
    ) -> ListPage[Access]:
        """A page of accesses, the latest first, in the order of the log. Raises INVALID_CURSOR."""
        return await page_of(
            self._reading,
            organisation,
            self.of_log(_ACCESSES),
            [
                (" AND e.actor = %s", wanted.actor),
                (" AND e.access = %s", wanted.outcome),
                (" AND split_part(e.type, '.', 2) = %s", wanted.action),
                (" AND e.happened_at >= %s", wanted.happened_from),
                (" AND e.happened_at < %s", wanted.happened_before),
            ],
            partial(self._all_told, organisation),
            key=("e.place", "e.event_id"),
            place=lambda each: Place(each.index, each.event_id),
            # Another name than when they were in order of their times: what was given then is refused.
            cursors=Cursors(self._sealer, organisation, "access-logs by index", wanted),
            limit=limit,
            cursor=cursor,
        )

    async def _all_told(self, organisation: str, rows: Sequence[tuple[Any, ...]]) -> list[Access]:
        """Beside the event loop: what opens addresses lies on a disk."""
        return await self._sealer.ask(lambda: [self._told(organisation, *row) for row in rows])

    def _told(
        self,
        organisation: str,
        index: int,
        event_id: str,
        time: datetime,
        actor: str,
        name: str,
        access: str,
        body: bytes,
    ) -> Access:
        data = decode(bytes(body)).data
        told = read_json(data, _TOLD)
        evidence = told.evidence
        fields = OpenedFields(self._sealer, organisation)
        return Access(
            index=index,
            event_id=event_id,
            time=time,
            actor=actor,
            action=name.split(".")[1],
            outcome=Outcome(access),
            about=_about(data),
            request_id=told.request_id,
            code=told.code,
            route=told.route,
            method=told.method,
            repeats=told.repeats,
            assurance=None if evidence is None else evidence.assurance,
            factors=[] if evidence is None else list(evidence.factors),
            roles=[] if evidence is None else list(evidence.roles),
            second_factor=None if evidence is None else evidence.second_factor,
            factor_at=None if evidence is None else evidence.factor_at,
            address=None if evidence is None else fields.text(ADDRESS_FIELD, evidence.address, "address"),
            agent=None if evidence is None else fields.text(AGENT_FIELD, evidence.agent, "agent"),
            unreadable_fields=fields.unreadable,
        )

    async def log(self, organisation: str) -> AuditLog:
        """How the log is now."""
        async with self.snapshot(organisation) as database:
            row = await self.one(database, LOG, organisation)
            generations = await self._generations(database, organisation)
        size, root, note, since, public = row or (0, EMPTY_ROOT, None, "", None)
        origin = origin_of(organisation, since)
        return AuditLog(
            origin=origin,
            size=size,
            root_hash=_text(root),
            checkpoint=note,
            verifier_key=None if public is None else verifier_key(origin, bytes(public)),
            generations=generations,
        )

    async def _generations(self, database: Database, organisation: str) -> list[AuditGeneration]:
        found = await database.execute(self.of_log(_GENERATIONS), (organisation,))
        return [
            AuditGeneration(
                origin=origin_of(organisation, since),
                since=datetime.fromisoformat(since),
                start=size,
                checkpoint=note,
                verifier_key=verifier_key(origin_of(organisation, since), bytes(public)),
            )
            for size, note, since, public in await found.fetchall()
        ]

    async def entries(self, organisation: str, begin: int, limit: int) -> AuditEntries:
        """Entries from a place on, of at most `PAGE_BYTES_MAX`. Raises NOT_FOUND where it is behind the end."""
        async with self.snapshot(organisation) as database:
            row = await self.one(database, LOG, organisation)
            size, _, note, since, public = row or (0, EMPTY_ROOT, None, "", None)
            generations = await self._generations(database, organisation)
            if begin > size:
                raise _not_there(f"the log has {size} entries")
            found = await database.execute(self.of_log(_ENTRIES), (organisation, begin, limit, PAGE_BYTES_MAX))
            items = [AuditEntry(index=place, leaf=_text(body)) for place, body in await found.fetchall()]
        following = begin + len(items)
        return AuditEntries(
            items=items,
            next=following if following < size else None,
            checkpoint=note,
            verifier_key=None if public is None else verifier_key(origin_of(organisation, since), bytes(public)),
            generations=generations,
        )

    async def proof(self, organisation: str, index: int, size: int | None) -> AuditProof:
        """That an entry is in the log as it was at a size that has a checkpoint; by default the first that has it.

        Raises NOT_FOUND where the log has no such entry, or no such checkpoint.
        """
        async with self._reading(organisation) as database:
            entry = await self.one(database, _ENTRY, organisation, index)
            if entry is None:
                raise _not_there("the log has no such entry")
            if size is None:
                named = await self.one(database, _NEXT_CHECKPOINT, organisation, index + 1)
            else:
                found = await self.one(database, _CHECKPOINT, organisation, size)
                named = None if found is None or size <= index else (size, found[0])
            if named is None:
                raise _not_there("there is no checkpoint of this size that has the entry")
            size, note = named
            hashes = await self.roots(database, organisation, inclusion(index, size))
        event_id, leaf = entry
        return AuditProof(
            index=index, size=size, event_id=event_id, leaf_hash=_text(leaf), hashes=hashes, checkpoint=note
        )

    async def consistency(self, organisation: str, first: int, second: int) -> AuditConsistency:
        """That the log at one size is the beginning of itself at another. Raises NOT_FOUND, INVALID_FIELD."""
        if first > second:
            hint = "Give `second` the larger size."
            raise PlatformError(
                errors.INVALID_FIELD, "the second size is less than the first", field="second", hint=hint
            )
        async with self._reading(organisation) as database:
            notes = [await self.one(database, _CHECKPOINT, organisation, size) for size in (first, second)]
            if notes[0] is None or notes[1] is None:
                raise _not_there("there is no checkpoint of this size")
            hashes = await self.roots(database, organisation, consistency(first, second))
        return AuditConsistency(
            first=first,
            second=second,
            hashes=hashes,
            first_checkpoint=notes[0][0],
            second_checkpoint=notes[1][0],
        )

    @asynccontextmanager
    async def snapshot(self, organisation: str) -> AsyncIterator[Database]:
        """The log as it is at one moment, however many statements read it."""
        async with self._reading(organisation) as database, database.transaction():
            await database.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield database

    async def one(self, database: Database, statement: LiteralString, *values: object) -> tuple[Any, ...] | None:
        """The first row that a statement finds."""
        row: tuple[Any, ...] | None = await (await database.execute(self.of_log(statement), values)).fetchone()
        return row

    async def roots(self, database: Database, organisation: str, ranges: list[Range]) -> list[str]:
        """The hashes of ranges of the log."""
        wanted = sorted(tiles_for(ranges))
        found = await database.execute(
            self.of_log(_TILES), ([tile.level for tile in wanted], [tile.number for tile in wanted], organisation)
        )
        tiles = {TileId(level, number): bytes(hashes) for level, number, hashes in await found.fetchall()}
        return [_text(root) for root in roots(ranges, tiles)]


def _about(data: msgspec.Raw) -> str | None:
    """The id of what an event is about: the first of its fields that is one, but for the request's own."""
    for name, value in _FIELDS.decode(data).items():
        if name.endswith("Id") and name != "requestId":
            return _TEXT.decode(value)
    return None


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _not_there(message: str) -> PlatformError:
    return PlatformError(errors.NOT_FOUND, message)
