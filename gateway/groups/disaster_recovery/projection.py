"""The read models of disaster recovery: plans as they are in force, and their executions and tests.

The dr service's stream alone changes them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from contracts.disaster import (
    DR_ENDED,
    DrExecutionState,
    PlanBody,
    RecoveryObjectives,
    SourceLoss,
    StepKind,
    StepOutcome,
    StepRules,
)
from contracts.dr_events import DrPlanFact, DrTestMissed, DrTestTurn
from contracts.dr_execution_events import (
    DrExecutionAborted,
    DrExecutionAborting,
    DrExecutionBegun,
    DrExecutionCompleted,
    DrExecutionEnded,
    DrExecutionFact,
    DrExecutionFailed,
    DrExecutionPaused,
    DrExecutionResumed,
    DrExecutionStarted,
    DrStepBegun,
    DrStepEnded,
    DrTestCleanedUp,
    DrTestStarted,
)
from contracts.envelope import Envelope
from contracts.event import Event, pinned_kinds
from contracts.reading import written_as
from gateway.projections.applied import Database, Row, read_view, upsert
from gateway.projections.in_force import rows_in_force
from gateway.projections.projection import Batch, Projection, Side
from gateway.projections.work import Work, follow

_STORE = """
    INSERT INTO {dr_plans} (plan_id, organisation, version, request_id, created_by, created_at, changed_at, body)
    SELECT plan_id, organisation, version, request_id, created_by, created_at, changed_at, body
    FROM json_populate_recordset(NULL::{dr_plans}, %s)
    ON CONFLICT (plan_id) DO UPDATE SET
        version = excluded.version, changed_at = excluded.changed_at, body = excluded.body
"""
_TESTS = """
    UPDATE {dr_plans} held SET next_test = said.next_test, missed_test = coalesce(said.missed_test, held.missed_test)
    FROM json_populate_recordset(NULL::{dr_plans}, %s) said WHERE held.plan_id = said.plan_id
"""
_LOAD = "SELECT execution_id, view::text FROM {dr_executions} WHERE execution_id = ANY(%s)"
_STORE_EXECUTIONS = """
    INSERT INTO {dr_executions}
        (execution_id, organisation, plan_id, is_test, request_id, state, started_at, finished_at, view)
    SELECT execution_id, organisation, plan_id, is_test, request_id, state, started_at, finished_at, view
    FROM json_populate_recordset(NULL::{dr_executions}, %s)
    ON CONFLICT (execution_id) DO UPDATE
    SET state = excluded.state, finished_at = excluded.finished_at, view = excluded.view
"""
_BODY = msgspec.json.Decoder(PlanBody)


class MissedTest(msgspec.Struct):
    """The latest instant of a plan's schedule of tests at which none began, and why."""

    due_at: datetime
    code: str
    hint: str = ""


_MISSED = msgspec.json.Decoder(MissedTest)


class DisasterRecoveryPlans(Projection):
    """Each plan as it is in force. Sealed fields stay sealed."""

    NAME = "dr-plans"
    VERSION = 2
    EVENTS = (*pinned_kinds(DrPlanFact), *pinned_kinds(DrTestTurn))
    TABLES = ("dr_plans",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._store, self._tests = self.sql(_STORE), self.sql(_TESTS)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""
        await upsert(database, self._store, rows_in_force(batch, DrPlanFact, "plan_id"))
        tests: dict[str, dict[str, Any]] = {}
        for applied in batch.events:
            event = applied.event
            if isinstance(event, DrPlanFact | DrTestTurn):
                row = tests.setdefault(event.plan_id, {"plan_id": event.plan_id})
                row["next_test"] = event.next_test_at
                if isinstance(event, DrTestMissed):
                    row["missed_test"] = MissedTest(event.due_at, event.code, event.hint)
        await upsert(database, self._tests, list(tests.values()))


def missed_test(stored: str) -> MissedTest:
    """A stored missed test. Raises ViewUnreadable."""
    return read_view(stored, _MISSED, DisasterRecoveryPlans.NAME)


def plan_body(stored: str) -> PlanBody:
    """A stored body. Raises ViewUnreadable."""
    return read_view(stored, _BODY, DisasterRecoveryPlans.NAME)


class StepView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Where a step is. `outcome`: of its last attempt; `is_again`: another one follows at `due_at`."""

    id: str
    kind: str
    configuration_id: str | None = None
    attempt: int = 0
    operation_id: str | None = None
    begun_at: datetime | None = None
    due_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: str | None = None
    is_again: bool = False
    code: str | None = None
    hint: str = ""
    by: str | None = None


class ExecutionView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One execution or test, folded from its facts. `version` counts them; `ended_by`: the id of the last but a test's
    clean-up.
    """

    execution_id: str
    organisation: str
    request_id: str
    plan_id: str
    plan_version: int
    is_test: bool
    started_by: str
    started_at: datetime
    objectives: RecoveryObjectives
    steps: list[StepView]
    state: str = DrExecutionState.INITIALIZING.value
    version: int = 1
    is_paused: bool = False
    is_aborting: bool = False
    finished_at: datetime | None = None
    rto_seconds: float | None = None
    losses: tuple[SourceLoss, ...] = ()
    failed_step: str | None = None
    code: str | None = None
    hint: str = ""
    cleaned_up_at: datetime | None = None
    ended_by: str | None = None

    @classmethod
    def begun(cls, envelope: Envelope, event: DrExecutionBegun) -> "ExecutionView":
        """One as it begins."""
        return cls(
            execution_id=event.execution_id,
            organisation=envelope.organisation,
            request_id=event.request_id,
            plan_id=event.plan_id,
            plan_version=event.plan_version,
            is_test=isinstance(event, DrTestStarted),
            started_by=event.started_by,
            started_at=event.started_at,
            objectives=event.body.recovery_objectives,
            steps=[_waiting(step) for step in event.body.procedures],
        )

    def apply(self, envelope: Envelope, event: Event) -> None:
        """Take a later fact of this execution over."""
        self.version += 1
        match event:
            case DrStepBegun():
                step = self._step(event.step_id)
                step.attempt, step.operation_id, step.begun_at = event.attempt, event.operation_id, event.begun_at
                step.due_at, step.ended_at, step.outcome, step.is_again = event.due_at, None, None, False
                step.code, step.hint = None, ""
            case DrStepEnded():
                step = self._step(event.step_id)
                step.outcome, step.ended_at, step.by = written_as(event.outcome), event.ended_at, event.by
                step.code, step.hint = event.code, event.hint
                step.is_again, step.due_at = event.next_attempt_at is not None, event.next_attempt_at
            case DrExecutionPaused():
                self.is_paused = True
            case DrExecutionResumed():
                self.is_paused = False
            case DrExecutionAborting():
                self.is_aborting, self.is_paused = True, False
            case DrExecutionCompleted():
                self.rto_seconds, self.losses = event.rto_seconds, event.losses
            case DrExecutionFailed():
                self.failed_step, self.code, self.hint = event.step_id, event.code, event.hint
            case DrTestCleanedUp():
                self.cleaned_up_at = envelope.time
        if isinstance(event, DrExecutionEnded):
            self.finished_at, self.is_aborting, self.ended_by = event.ended_at, False, envelope.id
        self.state = self._state_after(event).value

    def _step(self, step_id: str) -> StepView:
        return next(step for step in self.steps if step.id == step_id)

    def _state_after(self, event: Event) -> DrExecutionState:
        ended = {
            DrExecutionCompleted: DrExecutionState.COMPLETED,
            DrExecutionFailed: DrExecutionState.FAILED,
            DrExecutionAborted: DrExecutionState.ABORTED,
        }
        if (state := ended.get(type(event))) is not None:
            return state
        if self.finished_at is not None:
            return DrExecutionState(self.state)
        restores = [step for step in self.steps if step.kind == StepKind.RESTORE.value]
        if all(step.outcome == StepOutcome.COMPLETED.value for step in restores):
            return DrExecutionState.VERIFYING
        if any(step.attempt for step in restores):
            return DrExecutionState.RECOVERING
        return DrExecutionState.INITIALIZING


_VIEW = msgspec.json.Decoder(ExecutionView)


class DisasterRecoveryExecutions(Projection):
    """Each execution and test of a plan: where it stands, and what it has measured."""

    NAME = "dr-executions"
    VERSION = 1
    EVENTS = (
        DrExecutionStarted,
        DrTestStarted,
        DrStepBegun,
        DrStepEnded,
        DrExecutionPaused,
        DrExecutionResumed,
        DrExecutionAborting,
        *pinned_kinds(DrExecutionEnded),
        DrTestCleanedUp,
    )
    TABLES = ("dr_executions",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._load, self._store = self.sql(_LOAD), self.sql(_STORE_EXECUTIONS)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""
        await follow(database, batch, _WORK, load=self._load, store=self._store, name=self.NAME, among=self.EVENTS)


def execution_view(stored: str) -> ExecutionView:
    """A stored execution. Raises ViewUnreadable."""
    return read_view(stored, _VIEW, DisasterRecoveryExecutions.NAME)


def has_ended(view: ExecutionView) -> bool:
    """Whether nothing more is begun."""
    return view.state in {state.value for state in DR_ENDED}


def _waiting(step: StepRules) -> StepView:
    return StepView(id=step.id, kind=written_as(step.kind), configuration_id=step.configuration_id)


def _row(view: ExecutionView) -> Row:
    columns: Sequence[str] = ("execution_id", "organisation", "plan_id", "is_test", "request_id", "state", "started_at")
    return {**{name: getattr(view, name) for name in columns}, "finished_at": view.finished_at, "view": view}


_WORK = Work(
    fact=DrExecutionFact,
    id_of=lambda fact: fact.execution_id,
    begins=DrExecutionBegun,
    begun=ExecutionView.begun,
    view=_VIEW,
    row=_row,
)
