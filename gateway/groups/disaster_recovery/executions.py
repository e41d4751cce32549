"""Executions and tests of plans as resources."""

from functools import partial
from typing import Any, LiteralString

import msgspec

from chassis.sealing import Sealer
from contracts import errors
from contracts.disaster import DrExecutionState, StepKind
from contracts.errors import PlatformError
from contracts.reading import read_plain
from gateway.groups.disaster_recovery.projection import ExecutionView, StepView, execution_view
from gateway.groups.disaster_recovery.resources import (
    DisasterRecoveryError,
    DisasterRecoveryExecution,
    ExecutedStep,
    StepState,
)
from gateway.http.resources import ListPage
from gateway.projections.applied import Database
from gateway.reading.cursor import Cursors, Place
from gateway.reading.slices import Reading, made_of, page_of
from gateway.runs.queries import hint_told, title_of

_SELECT: LiteralString = "SELECT x.view::text FROM dr_executions x WHERE x.organisation = %s"
_ASKS_PEOPLE = (StepKind.APPROVE, StepKind.MANUAL)


class ExecutionsOf(msgspec.Struct, frozen=True, kw_only=True):
    """Which executions a list shows; what is None does not narrow it."""

    plan_id: str | None = None
    is_test: bool | None = None


async def one(database: Database, organisation: str, execution_id: str) -> DisasterRecoveryExecution:
    """An execution. Raises DR_EXECUTION_UNKNOWN, also where it is another organisation's."""
    found = await database.execute(_SELECT + " AND x.execution_id = %s", (organisation, execution_id))
    row = await found.fetchone()
    if row is None:
        raise PlatformError(errors.DR_EXECUTION_UNKNOWN, "there is no such execution")
    return _told(row)


async def page(
    reading: Reading, sealer: Sealer, organisation: str, wanted: ExecutionsOf, *, limit: int, cursor: str | None
) -> ListPage[DisasterRecoveryExecution]:
    """A page of executions, the latest first. Raises INVALID_CURSOR."""
    return await page_of(
        reading,
        organisation,
        _SELECT,
        [(" AND x.plan_id = %s", wanted.plan_id), (" AND x.is_test = %s", wanted.is_test)],
        partial(made_of, make=_told),
        key=("x.started_at", "x.execution_id"),
        place=lambda each: Place(each.started_at, each.id),
        cursors=Cursors(sealer, organisation, "dr-executions", wanted),
        limit=limit,
        cursor=cursor,
    )


def _told(row: tuple[Any, ...]) -> DisasterRecoveryExecution:
    return told(execution_view(row[0]))


def told(view: ExecutionView) -> DisasterRecoveryExecution:
    """An execution as it is shown."""
    steps = [_step(step) for step in view.steps]
    is_measured = view.rto_seconds is not None
    lost = max((each.lost_seconds for each in view.losses), default=0.0)
    return DisasterRecoveryExecution(
        id=view.execution_id,
        version=view.version,
        request_id=view.request_id,
        plan_id=view.plan_id,
        plan_version=view.plan_version,
        is_test=view.is_test,
        state=read_plain(view.state, DrExecutionState),
        is_paused=view.is_paused,
        is_aborting=view.is_aborting,
        started_by=view.started_by,
        started_at=view.started_at,
        finished_at=view.finished_at,
        steps=steps,
        waits_for=[step.id for step in steps if step.state is StepState.RUNNING and step.kind in _ASKS_PEOPLE],
        rto_seconds=view.rto_seconds,
        rto_met=None if view.rto_seconds is None else view.rto_seconds <= view.objectives.rto_minutes * 60,
        rpo_met=lost <= view.objectives.rpo_minutes * 60 if is_measured else None,
        losses=list(view.losses),
        error=None
        if view.failed_step is None or view.code is None
        else DisasterRecoveryError(
            step_id=view.failed_step,
            code=view.code,
            title=title_of(view.code),
            hint=hint_told(view.code, view.hint) or "",
        ),
        cleaned_up_at=view.cleaned_up_at,
        receipt_event_id=view.ended_by,
    )


def _step(step: StepView) -> ExecutedStep:
    return ExecutedStep(
        id=step.id,
        kind=read_plain(step.kind, StepKind),
        state=_state(step),
        attempt=step.attempt,
        operation_id=step.operation_id,
        begun_at=step.begun_at,
        due_at=step.due_at,
        ended_at=step.ended_at,
        by=step.by,
        code=step.code,
        hint=None if step.code is None else hint_told(step.code, step.hint),
    )


def _state(step: StepView) -> StepState:
    if step.attempt == 0:
        return StepState.WAITING
    if step.outcome is None:
        return StepState.RUNNING
    if step.is_again:
        return StepState.RETRYING
    return StepState(step.outcome) if step.outcome in set(StepState) else StepState.UNKNOWN
