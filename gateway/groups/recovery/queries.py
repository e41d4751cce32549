"""Recovery points and recoveries as resources. Sealed fields are opened here, for people of the organisation."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, LiteralString

import msgspec

from chassis.sealing import Sealer
from contracts import errors
from contracts.configuration import SourceType
from contracts.errors import PlatformError
from contracts.reading import read_plain
from contracts.recovery_events import (
    SCOPE_FIELD,
    TARGET_PATH_FIELD,
    ConflictPolicy,
    RecoveryState,
    RecoveryType,
)
from contracts.validation_events import ValidationDepth
from gateway.groups.recovery.projection import OperationView, gone_view, operation_view, point_fact
from gateway.groups.recovery.resources import (
    RecoveryError,
    RecoveryOperation,
    RecoveryPhase,
    RecoveryPoint,
    RecoveryResult,
    TierProof,
)
from gateway.http.resources import ListPage
from gateway.projections.applied import Database
from gateway.reading.cursor import Cursors, Place
from gateway.reading.opened import OpenedFields
from gateway.reading.slices import Reading, made_of, page_of
from gateway.runs.held import HELD_BY
from gateway.runs.proven import PROOFS, ProofsView, TierProofView, proofs_view
from gateway.runs.queries import hint_told, title_of, waiting_told
from gateway.runs.resources import VerificationStatus

_SHOWN: LiteralString = (
    """
    SELECT p.fact::text, p.completed_at, coalesce(c.is_wedding_critical, false), c.body ->> 'sourceType',
        c.body ->> 'sourceLocation', p.gone_at, p.gone::text,
"""
    + PROOFS
    + ","
    + HELD_BY
)
_POINTS: LiteralString = (
    _SHOWN + " FROM recovery_points p LEFT JOIN configurations c USING (configuration_id) WHERE p.organisation = %s"
)
_HAVING_POINTS: LiteralString = """
    WITH RECURSIVE asked AS (SELECT %s::text AS organisation, %s::timestamptz AS moment), having_points AS (
        (SELECT configuration_id FROM recovery_points WHERE organisation = (SELECT organisation FROM asked)
         ORDER BY configuration_id LIMIT 1)
        UNION ALL
        SELECT (SELECT next.configuration_id FROM recovery_points next
                WHERE next.organisation = (SELECT organisation FROM asked)
                    AND next.configuration_id > before.configuration_id
                ORDER BY next.configuration_id LIMIT 1)
        FROM having_points before WHERE before.configuration_id IS NOT NULL
    )
    """
_LATEST_OF_EACH: LiteralString = """
    FROM having_points CROSS JOIN LATERAL (
        SELECT latest.* FROM recovery_points latest
        WHERE latest.organisation = (SELECT organisation FROM asked)
            AND latest.configuration_id = having_points.configuration_id
            AND latest.completed_at <= (SELECT moment FROM asked) AND latest.gone_at IS NULL
        ORDER BY latest.completed_at DESC, latest.recovery_point_id DESC LIMIT 1
    ) p LEFT JOIN configurations c ON c.configuration_id = p.configuration_id WHERE true
    """
# The latest of each configuration up to a moment: one look a configuration, however many points it has.
_POINTS_AT: LiteralString = _HAVING_POINTS + _SHOWN + _LATEST_OF_EACH
_OPERATIONS: LiteralString = """
    SELECT o.view::text, q.actor FROM recovery_operations o LEFT JOIN requests q USING (request_id)
    WHERE o.organisation = %s
"""


class PointFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which points a list shows; what is None does not narrow it. `at`: of each configuration the latest up to then."""

    configuration_id: str | None = None
    source: str | None = None
    completed_from: datetime | None = None
    completed_before: datetime | None = None
    at: datetime | None = None
    is_gone: bool | None = None


class OperationFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which recoveries a list shows."""

    status: tuple[RecoveryState, ...] = ()
    configuration_id: str | None = None
    recovery_point_id: str | None = None
    started_from: datetime | None = None
    started_before: datetime | None = None


async def points(
    reading: Reading, sealer: Sealer, organisation: str, wanted: PointFilter, *, limit: int, cursor: str | None
) -> ListPage[RecoveryPoint]:
    """A page of points, the latest first. Raises INVALID_CURSOR."""
    conditions: list[tuple[LiteralString, Any]] = [
        ("", wanted.at),  # The query has its place.
        (" AND p.configuration_id = %s", wanted.configuration_id),
        (" AND c.body ->> 'sourceLocation' = %s", wanted.source),
        (" AND p.completed_at >= %s", wanted.completed_from),
        (" AND p.completed_at < %s", wanted.completed_before),
        (" AND (p.gone_at IS NOT NULL) = %s", wanted.is_gone),
    ]
    return await page_of(
        reading,
        organisation,
        _POINTS if wanted.at is None else _POINTS_AT,
        conditions,
        partial(made_of, make=_point),
        key=("p.completed_at", "p.recovery_point_id"),
        place=lambda point: Place(point.completed_at, point.id),
        cursors=Cursors(sealer, organisation, "recovery-points", wanted),
        limit=limit,
        cursor=cursor,
    )


async def point(database: Database, organisation: str, recovery_point_id: str) -> RecoveryPoint:
    """A point. Raises RECOVERY_POINT_UNKNOWN."""
    query = _POINTS + " AND p.recovery_point_id = %s"
    row = await (await database.execute(query, (organisation, recovery_point_id))).fetchone()
    if row is None:
        raise PlatformError(errors.RECOVERY_POINT_UNKNOWN, "there is no such recovery point")
    return _point(row)


class _EntryFilter(msgspec.Struct, frozen=True):
    recovery_point_id: str
    path: bytes


def entry_cursors(sealer: Sealer, organisation: str, recovery_point_id: str, path: bytes) -> Cursors:
    """The cursors of one folder of a point, which never changes: a place in it is a number."""
    return Cursors(sealer, organisation, "recovery-point-entries", _EntryFilter(recovery_point_id, path))


async def entry_place(cursors: Cursors, cursor: str | None) -> int:
    """The place that a cursor means; 0 without one. Raises INVALID_CURSOR."""
    place = await cursors.decode(cursor)
    if place is None:
        return 0
    if not isinstance(place.time, int):
        raise PlatformError(errors.INVALID_CURSOR, "the cursor is not one that this list has given", field="cursor")
    return place.time


async def entry_cursor(cursors: Cursors, place: int) -> str:
    """The cursor of a place."""
    return await cursors.encode(Place(place, ""))


def _point(row: tuple[Any, ...]) -> RecoveryPoint:
    stored, completed_at, is_critical, source_type, source_location, gone_at, how, known, held_by = row
    fact = point_fact(stored)
    gone = None if how is None else gone_view(how)
    proofs = ProofsView() if known is None else proofs_view(known)
    return RecoveryPoint(
        id=fact.execution_id,
        configuration_id=fact.configuration_id,
        snapshot_id=fact.snapshot_id,
        completed_at=completed_at,
        source_type=None if source_type is None else read_plain(source_type, SourceType),
        source_location=source_location,
        is_wedding_critical=is_critical,
        tiers=list(fact.verified),
        lacking=list(fact.catch_ups),
        files=fact.totals.files,
        source_bytes=fact.totals.source_bytes,
        unreadable_files=fact.totals.unreadable_files,
        gone_at=gone_at,
        gone_by=None if gone is None else gone.cleanup_id,
        gone_because=[] if gone is None else list(gone.rules),
        held_by=held_by,
        last_proven=_proofs(proofs.proven),
        last_damaged=_proofs(proofs.damaged),
    )


def _proofs(known: Mapping[str, TierProofView]) -> list[TierProof]:
    return [
        TierProof(
            tier=each.tier,
            location=each.location,
            at=each.at,
            depth=read_plain(each.depth, ValidationDepth),
            validation_id=each.validation_id,
        )
        for _, each in sorted(known.items())
    ]


class OperationQueries:
    """Reads recoveries and opens what is sealed in them."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    async def one(self, reading: Reading, organisation: str, operation_id: str) -> RecoveryOperation:
        """A recovery. Raises NOT_FOUND, also where it is another organisation's."""
        query = _OPERATIONS + " AND o.operation_id = %s"
        async with reading(organisation) as database:
            row = await (await database.execute(query, (organisation, operation_id))).fetchone()
        if row is None:
            raise PlatformError(errors.NOT_FOUND, "there is no such recovery")
        (told,) = await self._all_told(organisation, [row])
        return told

    async def page(
        self, reading: Reading, organisation: str, wanted: OperationFilter, *, limit: int, cursor: str | None
    ) -> ListPage[RecoveryOperation]:
        """A page of recoveries, the latest first. Raises INVALID_CURSOR."""
        conditions: list[tuple[LiteralString, Any]] = [
            (" AND o.state = ANY(%s)", [state.value for state in wanted.status] or None),
            (" AND o.configuration_id = %s", wanted.configuration_id),
            (" AND o.recovery_point_id = %s", wanted.recovery_point_id),
            (" AND o.accepted_at >= %s", wanted.started_from),
            (" AND o.accepted_at < %s", wanted.started_before),
        ]
        return await page_of(
            reading,
            organisation,
            _OPERATIONS,
            conditions,
            partial(self._all_told, organisation),
            key=("o.accepted_at", "o.operation_id"),
            place=lambda each: Place(each.started_at, each.id),
            cursors=Cursors(self._sealer, organisation, "recovery-operations", wanted),
            limit=limit,
            cursor=cursor,
        )

    async def _all_told(self, organisation: str, rows: Sequence[tuple[Any, ...]]) -> list[RecoveryOperation]:
        """Beside the event loop: what opens their fields lies on a disk."""
        return await self._sealer.ask(lambda: [self._told(organisation, *row) for row in rows])

    def _told(self, organisation: str, stored: str, actor: str | None) -> RecoveryOperation:
        view = operation_view(stored)
        fields = OpenedFields(self._sealer, organisation)
        path = fields.text(TARGET_PATH_FIELD, view.target_path, "targetPath")
        scope = fields.text(SCOPE_FIELD, view.scope, "scope")
        return RecoveryOperation(
            id=view.operation_id,
            version=view.version,
            recovery_point_id=view.recovery_point_id,
            configuration_id=view.configuration_id,
            snapshot_id=view.snapshot_id,
            recovery_type=read_plain(view.recovery_type, RecoveryType),
            request_id=view.request_id,
            initiated_by=actor or view.initiated_by,
            target_location=view.target_location,
            target_path=path,
            scope=[] if view.scope is None else None if scope is None else scope.split("\n"),
            conflict_policy=read_plain(view.conflict_policy, ConflictPolicy),
            state=read_plain(view.state, RecoveryState),
            degraded=view.degraded,
            started_at=view.accepted_at,
            finished_at=view.finished_at,
            attempts=view.attempts,
            phases=[
                RecoveryPhase(
                    name=read_plain(phase.name, RecoveryState),
                    started_at=phase.started_at,
                    finished_at=phase.finished_at,
                    seconds=(phase.finished_at - phase.started_at).total_seconds() if phase.finished_at else None,
                )
                for phase in view.phases
            ],
            verification_status=_verification(view),
            result=_result(view),
            error=_error(view),
            waiting=waiting_told(view.waiting),
            unreadable_fields=fields.unreadable,
        )


def _verification(view: OperationView) -> VerificationStatus:
    if view.verified:
        return VerificationStatus.VERIFIED
    if view.finished_at is None:
        return VerificationStatus.PENDING
    return VerificationStatus.FAILED if view.totals is not None else VerificationStatus.NOT_VERIFIED


def _result(view: OperationView) -> RecoveryResult | None:
    if view.totals is None:
        return None
    return RecoveryResult(
        totals=view.totals,
        missing_in_point=view.missing_in_point,
        seconds=view.seconds,
        code=view.degraded_code,
        hint=None if view.degraded_code is None else hint_told(view.degraded_code, ""),
    )


def _error(view: OperationView) -> RecoveryError | None:
    if view.error is None:
        return None
    code = view.error.code
    return RecoveryError(code=code, title=title_of(code), hint=hint_told(code, view.error.hint) or "")
