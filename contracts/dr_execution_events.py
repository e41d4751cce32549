"""What the disaster recovery service announces about executions and tests of plans. Owner: dr.

An execution is recorded before and after every step: `DrStepBegun`, `DrStepEnded`. A restore is asked of the recovery
service by `DrRecoveryAsked`, recorded together with the beginning of its step, and taken back by `DrRecoveryWithdrawn`.
A test is an execution whose restores go to a place of their own, which is removed afterwards.
"""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from contracts.configuration import LocationName
from contracts.disaster import PlanBody, SourceLoss, StepId, StepNotice, StepOutcome, StepPoint, StepTarget
from contracts.event import Event, pinned
from contracts.refusal import Refusal
from contracts.sealed import Sealed

Attempt = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0.0)]


class DrExecutionFact(Event, frozen=True, kw_only=True):
    """The base of what is said of an execution, be it a test."""

    execution_id: str


class DrExecutionBegun(DrExecutionFact, frozen=True, kw_only=True):
    """The base of the first that is said of one: all that it goes by, whatever becomes of the plan meanwhile.

    `started_by`: who cannot approve its steps. `second_factor`: whether they had given one. `started_at`: when it was
    asked for, from which its times are measured.
    """

    request_id: str
    plan_id: str
    plan_version: Annotated[int, Meta(ge=1)]
    body: PlanBody
    points: tuple[StepPoint, ...]
    targets: tuple[StepTarget, ...]
    started_by: str
    started_at: datetime
    second_factor: bool = False


@pinned("dr.dr-execution-started.v1")
class DrExecutionStarted(DrExecutionBegun, frozen=True, kw_only=True):
    """A plan is being executed."""


@pinned("dr.dr-test-started.v1")
class DrTestStarted(DrExecutionBegun, frozen=True, kw_only=True):
    """A plan is being tested: its steps, in a place of the test's own (`targets`)."""


class DrExecutionRefusal(Refusal, frozen=True, kw_only=True):
    """The base of what answers a request about an execution with no."""

    execution_id: str


@pinned("dr.dr-execution-refused.v1")
class DrExecutionRefused(DrExecutionRefusal, frozen=True, kw_only=True):
    """A plan is not executed: nothing of it was begun."""


@pinned("dr.dr-test-refused.v1")
class DrTestRefused(DrExecutionRefusal, frozen=True, kw_only=True):
    """A plan is not tested: nothing of it was begun."""


class DrStepFact(DrExecutionFact, frozen=True, kw_only=True):
    """The base of what is said of an attempt of a step."""

    step_id: StepId
    attempt: Attempt


@pinned("dr.dr-step-begun.v1")
class DrStepBegun(DrStepFact, frozen=True, kw_only=True):
    """A step begins. `due_at`: when it has ended, or has failed. `operation_id`: of the recovery that is asked for."""

    begun_at: datetime
    due_at: datetime
    operation_id: str | None = None


@pinned("dr.dr-step-ended.v1")
class DrStepEnded(DrStepFact, frozen=True, kw_only=True):
    """An attempt of a step has ended. `next_attempt_at`: when it is tried again; None: it is over.

    `by`: who approved it, or said that it is done. `code`, `hint`: why it is not completed.
    """

    outcome: StepOutcome
    ended_at: datetime
    code: str | None = None
    hint: str = ""
    by: str | None = None
    next_attempt_at: datetime | None = None


@pinned("dr.dr-step-approved.v1")
class DrStepApproved(DrStepFact, frozen=True, kw_only=True):
    """Somebody said that an execution may go on after a step, or that a step is done; its end is recorded with it."""

    request_id: str
    approved_by: str


@pinned("dr.dr-step-approval-refused.v1")
class DrStepApprovalRefused(DrExecutionRefusal, frozen=True, kw_only=True):
    """A step was not approved."""


@pinned("dr.dr-recovery-asked.v1", taken_by=("recovery--accept-recovery-of-plan",))
class DrRecoveryAsked(DrStepFact, frozen=True, kw_only=True):
    """A step of a plan needs a recovery point restored. `request_id` is the operation's id.

    `is_test`: to a place that nothing else uses; `second_factor`: whether who began the execution had given one.
    """

    request_id: str
    operation_id: str
    recovery_point_id: str
    target_location: LocationName
    target_path: Sealed
    is_test: bool = False
    second_factor: bool = False


@pinned("dr.dr-recovery-withdrawn.v1", taken_by=("recovery--withdraw-recovery-of-plan",))
class DrRecoveryWithdrawn(DrStepFact, frozen=True, kw_only=True):
    """A recovery that a step has asked for is not wanted any more: its time is over, or the execution was aborted."""

    request_id: str
    operation_id: str


@pinned("dr.dr-recovery-over.v1")
class DrRecoveryOver(DrStepFact, frozen=True, kw_only=True):
    """A recovery that a step waits for no more has ended, as the recovery service says: nothing more is written."""

    operation_id: str
    over_at: datetime


@pinned("dr.dr-notice-asked.v1", taken_by=("config--tell-of-plan",))
class DrNoticeAsked(DrStepFact, frozen=True, kw_only=True):
    """A step of an execution tells notification channels that it has come so far.

    With a `code` it is the plan that tells its own: the execution, or the test, has failed at that step, and why.
    """

    plan_id: str
    notices: tuple[StepNotice, ...]
    is_wedding_critical: bool = False
    code: str | None = None


@pinned("dr.dr-notice-given.v1")
class DrNoticeGiven(DrStepFact, frozen=True, kw_only=True):
    """A channel that a step tells has said that it has the notification."""

    notification_id: str


class DrExecutionChange(DrExecutionFact, frozen=True, kw_only=True):
    """The base of what somebody has done to an execution."""

    request_id: str
    by: str


@pinned("dr.dr-execution-paused.v1")
class DrExecutionPaused(DrExecutionChange, frozen=True, kw_only=True):
    """No other step begins until it is resumed; what has begun goes on, and its time with it."""


@pinned("dr.dr-execution-pause-refused.v1")
class DrExecutionPauseRefused(DrExecutionRefusal, frozen=True, kw_only=True):
    """An execution was not paused."""


@pinned("dr.dr-execution-resumed.v1")
class DrExecutionResumed(DrExecutionChange, frozen=True, kw_only=True):
    """An execution goes on."""


@pinned("dr.dr-execution-resumption-refused.v1")
class DrExecutionResumptionRefused(DrExecutionRefusal, frozen=True, kw_only=True):
    """An execution was not resumed."""


@pinned("dr.dr-execution-aborting.v1")
class DrExecutionAborting(DrExecutionChange, frozen=True, kw_only=True):
    """Somebody has it end: no other step begins, recoveries are withdrawn. `dr-execution-aborted` follows."""


@pinned("dr.dr-execution-abortion-refused.v1")
class DrExecutionAbortionRefused(DrExecutionRefusal, frozen=True, kw_only=True):
    """An execution was not aborted."""


class DrExecutionEnded(DrExecutionFact, frozen=True, kw_only=True):
    """The base of the last that is said of the steps of one. `ended_at`: when the last of them had ended."""

    plan_id: str
    is_test: bool
    ended_at: datetime


@pinned("dr.dr-execution-completed.v1")
class DrExecutionCompleted(DrExecutionEnded, frozen=True, kw_only=True):
    """All steps of a plan are completed. `rto_seconds`: from when it was asked for until it worked again.

    It works again when the last restore, check, approval, wait or manual step has ended; notices come after.
    `losses`: what is missing, of each configuration.
    """

    rto_seconds: Seconds
    losses: tuple[SourceLoss, ...]


@pinned("dr.dr-execution-failed.v1")
class DrExecutionFailed(DrExecutionEnded, frozen=True, kw_only=True):
    """A step has failed for good, and what went on beside it has ended: nothing more is begun."""

    step_id: StepId
    code: str
    hint: str = ""


@pinned("dr.dr-execution-aborted.v1")
class DrExecutionAborted(DrExecutionEnded, frozen=True, kw_only=True):
    """An execution has ended because somebody had it aborted; what is restored stays."""


@pinned("dr.dr-test-cleaned-up.v1")
class DrTestCleanedUp(DrExecutionFact, frozen=True, kw_only=True):
    """What a test had restored is gone, and no recovery of it goes on that may write again."""

    plan_id: str
