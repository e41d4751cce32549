"""Validations as resources."""

from functools import partial
from typing import Any, LiteralString

import msgspec

from chassis.sealing import Sealer
from contracts import errors
from contracts.errors import PlatformError
from contracts.reading import read_plain
from contracts.validation_events import ValidationDepth, ValidationState
from gateway.groups.validations.projection import ValidationView, validation_view
from gateway.groups.validations.resources import (
    RecoveryValidation,
    ValidationError,
    ValidationResult,
    ValidationVerdict,
)
from gateway.http.resources import ListPage
from gateway.projections.applied import Database
from gateway.reading.cursor import Cursors, Place
from gateway.reading.slices import Reading, made_of, page_of
from gateway.runs.queries import hint_told, title_of, waiting_told

_SELECT: LiteralString = """
    SELECT o.view::text, q.actor FROM recovery_validations o LEFT JOIN requests q USING (request_id)
    WHERE o.organisation = %s
"""
_POINT: LiteralString = "SELECT gone_at FROM recovery_points WHERE organisation = %s AND recovery_point_id = %s"


class ValidationFilter(msgspec.Struct, frozen=True):
    """What a list of validations is narrowed to."""

    recovery_point_id: str | None
    configuration_id: str | None


async def one(database: Database, organisation: str, validation_id: str) -> RecoveryValidation:
    """A validation. Raises NOT_FOUND, also where it is another organisation's."""
    query = _SELECT + " AND o.validation_id = %s"
    row = await (await database.execute(query, (organisation, validation_id))).fetchone()
    if row is None:
        raise PlatformError(errors.NOT_FOUND, "there is no such validation")
    return _told(row)


async def page(
    reading: Reading,
    sealer: Sealer,
    organisation: str,
    wanted: ValidationFilter,
    *,
    limit: int,
    cursor: str | None,
) -> ListPage[RecoveryValidation]:
    """A page of validations, the latest first. Raises INVALID_CURSOR."""
    conditions: list[tuple[LiteralString, Any]] = [
        (" AND o.recovery_point_id = %s", wanted.recovery_point_id),
        (" AND o.configuration_id = %s", wanted.configuration_id),
    ]
    return await page_of(
        reading,
        organisation,
        _SELECT,
        conditions,
        partial(made_of, make=_told),
        key=("o.accepted_at", "o.validation_id"),
        place=lambda each: Place(each.started_at, each.id),
        cursors=Cursors(sealer, organisation, "recovery-validations", wanted),
        limit=limit,
        cursor=cursor,
    )


async def objection_to(database: Database, organisation: str, recovery_point_id: str) -> PlatformError | None:
    """What speaks against reading a recovery point's tiers, as far as is shown."""
    row = await (await database.execute(_POINT, (organisation, recovery_point_id))).fetchone()
    if row is None:
        message = "there is no such recovery point"
        return PlatformError(errors.RECOVERY_POINT_UNKNOWN, message, field="recoveryPointId")
    if row[0] is not None:
        message = "a cleanup has let the recovery point go"
        return PlatformError(errors.RECOVERY_POINT_GONE, message, field="recoveryPointId")
    return None


def _told(row: tuple[Any, ...]) -> RecoveryValidation:
    stored, actor = row
    view = validation_view(stored)
    end = view.corrupted or view.verified
    return RecoveryValidation(
        id=view.validation_id,
        version=view.version,
        recovery_point_id=view.recovery_point_id,
        configuration_id=view.configuration_id,
        depth=read_plain(view.depth, ValidationDepth),
        tiers=list(view.tiers),
        request_id=view.request_id,
        initiated_by=actor or view.initiated_by,
        state=read_plain(view.state, ValidationState),
        degraded=end is not None and end.degraded,
        started_at=view.accepted_at,
        finished_at=view.finished_at,
        attempts=view.attempts,
        result=_result(view),
        error=_error(view),
        waiting=waiting_told(view.waiting),
    )


def _error(view: ValidationView) -> ValidationError | None:
    if view.error is None:
        return None
    code = view.error.code
    return ValidationError(code=code, title=title_of(code), hint=hint_told(code, view.error.hint) or "")


def _result(view: ValidationView) -> ValidationResult | None:
    end, bad = view.corrupted or view.verified, view.corrupted
    if end is None:
        return None
    return ValidationResult(
        verdict=ValidationVerdict.WHOLE if bad is None else ValidationVerdict.DAMAGED,
        tiers=list(end.tiers),
        damages=0 if bad is None else bad.damages,
        objects=[] if bad is None else list(bad.objects),
        affected_points=0 if bad is None else bad.affected_points,
        affected=[] if bad is None else list(bad.affected),
        unnamed_snapshots=0 if bad is None else bad.unnamed_snapshots,
        read_bytes=sum(tier.read_bytes for tier in end.tiers),
        seconds=end.seconds,
    )
