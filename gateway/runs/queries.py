"""Runs as resources: one, a page of them, and how they are told."""

from datetime import datetime
from functools import partial
from typing import Any, LiteralString, get_type_hints

import msgspec

from chassis.sealing import Sealer
from contracts import errors
from contracts.configuration import Tier
from contracts.errors import PlatformError
from contracts.executor_events import ENDED, UNDER_WAY, ExecutionState, ExecutionType
from contracts.reading import read_plain
from gateway.http.problems import public_hint
from gateway.http.resources import ListPage
from gateway.projections.applied import Database
from gateway.reading.cursor import Cursors, Place
from gateway.reading.slices import Reading, made_of, page_of
from gateway.runs.projection import execution_view
from gateway.runs.resources import (
    CompletionDetails,
    Execution,
    ExecutionError,
    Phase,
    TierStanding,
    TierState,
    VerificationStatus,
    Waiting,
)
from gateway.runs.views import ExecutionView, TierView, WaitView

SELECT: LiteralString = """
    SELECT e.view::text, coalesce(c.is_wedding_critical, false), q.actor FROM executions e
    LEFT JOIN configurations c ON c.configuration_id = e.configuration_id
    LEFT JOIN requests q ON q.request_id = e.request_id
    WHERE e.organisation = %s
"""
"""What `of_row` takes; the organisation is the first parameter, conditions follow."""

_CRITICAL: LiteralString = (
    "(SELECT configuration_id FROM configurations WHERE organisation = %s AND is_wedding_critical)"
)
_IS_CRITICAL: LiteralString = f" AND e.configuration_id IN {_CRITICAL}"
_NOT_CRITICAL: LiteralString = f" AND e.configuration_id NOT IN {_CRITICAL}"


_KEPT, _TOLD = get_type_hints(ExecutionView), get_type_hints(Execution)
_TOLD_AS_KEPT = tuple(name for name in _TOLD if name != "started_by" and _KEPT.get(name) == _TOLD[name])
"""What a run shows as its view has it: fields of one name and type. Who has started it, the request knows better."""


class ExecutionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs a list shows; what is None or empty does not narrow it. Times bound the start of a run."""

    status: tuple[ExecutionState, ...] = ()
    configuration_id: str | None = None
    started_from: datetime | None = None
    started_before: datetime | None = None
    is_wedding_critical: bool | None = None
    is_degraded: bool | None = None


async def one(database: Database, organisation: str, execution_id: str) -> Execution:
    """A run. Raises NOT_FOUND, also where it is another organisation's."""
    found = await find(database, organisation, execution_id)
    if found is None:
        raise PlatformError(errors.NOT_FOUND, "there is no such execution")
    return found


async def find(database: Database, organisation: str, execution_id: str) -> Execution | None:
    """A run, or None where the organisation has none of this id."""
    query = SELECT + " AND e.execution_id = %s"
    row = await (await database.execute(query, (organisation, execution_id))).fetchone()
    return None if row is None else of_row(row)


async def queue_position(database: Database, organisation: str, run: Execution) -> int | None:
    """Which one of the organisation's runs it is that a worker takes next, from 1 on; None where it does not wait."""
    if run.state is not ExecutionState.INITIALIZING:
        return None
    cursor = await database.execute(
        """
        SELECT count(*) FROM executions WHERE organisation = %s AND finished_at IS NULL AND state = 'initializing'
            AND (NOT coalesce((view ->> 'is_urgent')::boolean, false), accepted_at, execution_id) <= (%s, %s, %s)
        """,
        (organisation, not run.is_urgent, run.started_at, run.id),
    )
    ((place,),) = await cursor.fetchall()
    return max(1, int(place))


async def page(
    reading: Reading, sealer: Sealer, organisation: str, wanted: ExecutionFilter, *, limit: int, cursor: str | None
) -> ListPage[Execution]:
    """A page of runs, the latest first. Raises INVALID_CURSOR."""
    query = SELECT
    conditions: list[tuple[LiteralString, Any]] = [
        (" AND e.state = ANY(%s)", [state.value for state in wanted.status] or None),
        (" AND e.configuration_id = %s", wanted.configuration_id),
        (" AND e.accepted_at >= %s", wanted.started_from),
        (" AND e.accepted_at < %s", wanted.started_before),
        (_IS_CRITICAL, organisation if wanted.is_wedding_critical is True else None),
        (_NOT_CRITICAL, organisation if wanted.is_wedding_critical is False else None),
    ]
    # Rare runs are found by indexes of their own, which the planner takes for these words alone.
    if wanted.status and set(UNDER_WAY).issuperset(wanted.status):
        query += " AND e.finished_at IS NULL"
    if set(wanted.status) == {ExecutionState.FAILED}:
        query += " AND e.state = 'failed'"
    if set(wanted.status) == {ExecutionState.CANCELLED}:
        query += " AND e.state = 'cancelled'"
    if wanted.is_degraded is not None:
        query += " AND e.degraded" if wanted.is_degraded else " AND NOT e.degraded"
    return await page_of(
        reading,
        organisation,
        query,
        conditions,
        partial(made_of, make=of_row),
        key=("e.accepted_at", "e.execution_id"),
        place=lambda run: Place(run.started_at, run.id),
        cursors=Cursors(sealer, organisation, "executions", wanted),
        limit=limit,
        cursor=cursor,
    )


def of_row(row: tuple[Any, ...]) -> Execution:
    """A run of a row that `SELECT` has found. Who asked for it is in the request; a schedule's run has none."""
    view, is_wedding_critical, actor = row
    return told(execution_view(view), is_wedding_critical, actor)


def state_of(stored: str) -> ExecutionState:
    """A state as it is stored, `unknown` where this build does not know it: one run costs one run, never the list."""
    return read_plain(stored, ExecutionState)


def told(run: ExecutionView, is_wedding_critical: bool, actor: str | None) -> Execution:
    """A run as the API tells it."""
    totals = run.totals
    return Execution(
        **{name: getattr(run, name) for name in _TOLD_AS_KEPT},
        id=run.execution_id,
        execution_type=read_plain(run.execution_type, ExecutionType),
        state=state_of(run.state),
        is_wedding_critical=is_wedding_critical,
        started_by=actor or run.started_by,
        started_at=run.accepted_at,
        phases=[
            Phase(
                name=state_of(phase.name),
                started_at=phase.started_at,
                finished_at=phase.finished_at,
                seconds=(phase.finished_at - phase.started_at).total_seconds() if phase.finished_at else None,
            )
            for phase in run.phases
        ],
        tiers=[_tier(tier, state) for tier, state in run.tiers.items()],
        size_actual=totals.source_bytes if totals else None,
        source_bytes=totals.source_bytes if totals else None,
        new_bytes=totals.new_bytes if totals else None,
        stored_bytes=totals.stored_bytes if totals else None,
        ratio=round(totals.stored_bytes / totals.new_bytes, 4) if totals and totals.new_bytes else None,
        files=totals.files if totals else None,
        bytes_per_second=round(totals.source_bytes / run.seconds, 1) if totals and run.seconds > 0 else None,
        verification_status=_verification(run),
        completion_details=_details(run),
        error=_error(run),
        error_message=_message(run),
        waiting=waiting_told(run.waiting),
    )


def _tier(tier: str, state: TierView) -> TierState:
    return TierState(
        tier=read_plain(tier, Tier),
        state=read_plain(state.state, TierStanding),
        verified=state.verified,
        snapshot_id=state.snapshot_id,
        log_entry=state.log_entry,
        uploaded_bytes=state.uploaded_bytes,
        objects=state.objects,
        seconds=state.seconds,
        code=state.code,
        hint=hint_told(state.code, state.hint),
    )


def _verification(run: ExecutionView) -> VerificationStatus:
    if run.state == ExecutionState.COMPLETED:
        verified = [state.verified for state in run.tiers.values()]
        return VerificationStatus.VERIFIED if all(verified) else VerificationStatus.PARTIAL
    if run.error is not None and run.error.code == errors.VERIFICATION_FAILED.code:
        return VerificationStatus.FAILED
    return VerificationStatus.NOT_VERIFIED if run.state in ENDED else VerificationStatus.PENDING


def _details(run: ExecutionView) -> CompletionDetails | None:
    if run.totals is None or run.snapshot_id is None:
        return None
    return CompletionDetails(
        snapshot_id=run.snapshot_id,
        files=run.totals.files,
        unreadable_files=run.totals.unreadable_files,
        left_out_folders=run.totals.left_out_folders,
        by_class=list(run.totals.by_class),
        seconds=run.seconds,
        report_digest=run.report_digest,
        code=run.degraded_code,
        hint=hint_told(run.degraded_code, ""),
    )


def _error(run: ExecutionView) -> ExecutionError | None:
    if run.error is None:
        return None
    return ExecutionError(
        code=run.error.code,
        title=title_of(run.error.code),
        hint=hint_told(run.error.code, run.error.hint) or "",
        tier=None if run.error.tier is None else read_plain(run.error.tier, Tier),
        report_digest=run.report_digest,
    )


def waiting_told(waiting: WaitView | None) -> Waiting | None:
    """What keeps something from being done, as people of the organisation are told."""
    if waiting is None:
        return None
    return Waiting(
        code=waiting.code,
        title=title_of(waiting.code),
        hint=hint_told(waiting.code, waiting.hint) or "",
        since=waiting.since,
        next_attempt_at=waiting.next_attempt_at,
    )


def title_of(code: str) -> str:
    """What a code means, in a few words."""
    entry = errors.catalogue().get(code)
    return entry.title if entry else code


def hint_told(code: str | None, hint: str | None) -> str | None:
    """What an owner has advised, as far as it is for people of the organisation."""
    if code is None:
        return hint
    return public_hint(errors.catalogue().get(code, errors.INTERNAL), hint)


def _message(run: ExecutionView) -> str | None:
    error = _error(run)
    return None if error is None else f"{error.title}. {error.hint}".strip()
