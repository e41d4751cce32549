"""What an execution has come to, by its history alone."""

from datetime import datetime, timedelta
from typing import ClassVar

from chassis.domain import Aggregate
from contracts import errors
from contracts.disaster import StepKind, StepOutcome
from contracts.dr_execution_events import (
    DrExecutionAborting,
    DrExecutionBegun,
    DrExecutionEnded,
    DrExecutionPaused,
    DrExecutionResumed,
    DrRecoveryOver,
    DrRecoveryWithdrawn,
    DrStepBegun,
    DrStepEnded,
    DrStepFact,
    DrTestCleanedUp,
    DrTestStarted,
)
from contracts.errors import PlatformError
from contracts.event import Event
from services.dr.executing.steps import CLEAN_UP_SECONDS, StepRun


class ExecutionSoFar(Aggregate):
    """The state of an execution or a test (`domain`)."""

    KIND: ClassVar[str] = "dr.dr-execution"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.begun: DrExecutionBegun | None = None
        self.steps: dict[str, StepRun] = {}
        self.is_paused = False
        self.aborted_by: str | None = None
        self.failed: DrStepEnded | None = None
        self.not_undone: DrStepEnded | None = None
        self.begun_in_order: list[str] = []
        self.last_at: datetime | None = None
        self.is_over = False
        self.is_cleaned_up = False
        self.withdrawn: dict[str, DrRecoveryWithdrawn] = {}
        """Recoveries that are not wanted any more, and that nobody has said to have ended: they may write."""
        self.over_at: datetime | None = None

    @property
    def is_test(self) -> bool:
        """Whether it is a test."""
        return isinstance(self.begun, DrTestStarted)

    @property
    def plan(self) -> DrExecutionBegun:
        """What it goes by; of one that has begun."""
        assert self.begun is not None  # noqa: S101  # nobody asks of one that was refused
        return self.begun

    def require_stillness(self, now: datetime) -> None:
        """Refuse to clean up while a recovery of a test may write, or come yet. Raises DR_TEST_NOT_CLEANED."""
        steps = sorted({each.step_id for each in self.withdrawn.values()})
        is_just_over = self.over_at is not None and now - self.over_at < timedelta(seconds=CLEAN_UP_SECONDS)
        if steps or is_just_over:
            hint = f"A restore was withdrawn and has not ended yet ({', '.join(steps)})." if steps else ""
            hint = f"{hint} It is tried again by itself, once the recovery service has told its end.".strip()
            raise PlatformError(errors.DR_TEST_NOT_CLEANED, "a restore of the test may still write", hint=hint)

    def apply(self, event: Event) -> None:
        """Record what an event says."""
        match event:
            case DrExecutionBegun():
                self.begun = event
                self.steps = {step.id: StepRun(step) for step in event.body.procedures}
            case DrStepFact():
                run = self.steps[event.step_id]
                run.apply(event)
                self._note(run, event)
            case DrExecutionPaused():
                self.is_paused = True
            case DrExecutionResumed():
                self.is_paused = False
            case DrExecutionAborting(by=by):
                # What was paused is over: what there is to undo begins.
                self.aborted_by, self.is_paused = by, False
            case DrExecutionEnded():
                self.is_over = True
            case DrTestCleanedUp():
                self.is_cleaned_up = True

    def _note(self, run: StepRun, event: DrStepFact) -> None:
        if isinstance(event, DrStepBegun) and event.attempt == 1:
            self.begun_in_order.append(event.step_id)
        if isinstance(event, DrRecoveryWithdrawn):
            self.withdrawn[event.operation_id] = event
        elif isinstance(event, DrRecoveryOver):
            self.withdrawn.pop(event.operation_id, None)
            self.over_at = event.over_at
        if not isinstance(event, DrStepEnded):
            return
        if event.outcome is not StepOutcome.TIMED_OUT:
            self.withdrawn.pop(run.operation_id or "", None)
        if run.step.kind is not StepKind.NOTIFY:
            self.last_at = event.ended_at
        if run.is_over and not run.is_completed:
            if run.step.compensates is not None:
                self.not_undone = event
            elif self.failed is None:
                self.failed = event
