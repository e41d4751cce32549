"""The steps of an execution, and what is reckoned from its beginning. Pure."""

import msgspec

from contracts.disaster import PlanBody, PlanStep, SourceLoss, StepKind, StepOutcome
from contracts.dr_execution_events import DrExecutionBegun, DrNoticeAsked, DrNoticeGiven, DrStepBegun, DrStepEnded
from contracts.event import Event

CLEAN_UP_SECONDS = 5.0
"""After the end of a test, or of its last recovery: whoever was cancelled writes no more then."""
RETRY_SECONDS = 60.0
"""Between two attempts of a step: what wrote to the target has let go of it by then."""
ASKS_PEOPLE = (StepKind.APPROVE, StepKind.MANUAL)


class StepRun(msgspec.Struct):
    """Where a step is. `outcome`, `code`: of its last attempt; None while it goes on. `is_over`: it has no other.

    `waits_for`: the notifications that have not arrived yet.
    """

    step: PlanStep
    attempt: int = 0
    operation_id: str | None = None
    code: str | None = None
    outcome: StepOutcome | None = None
    is_over: bool = False
    waits_for: tuple[str, ...] = ()

    @property
    def is_under_way(self) -> bool:
        """Whether something is being done, or waited for, because of it."""
        return self.attempt > 0 and self.outcome is None

    @property
    def is_completed(self) -> bool:
        """Whether what comes after it may begin: nothing waits for somebody to be told."""
        return self.outcome is StepOutcome.COMPLETED or (self.is_over and self.step.kind is StepKind.NOTIFY)

    @property
    def is_between(self) -> bool:
        """Whether it waits for its next attempt."""
        return self.outcome is not None and not self.is_over

    def apply(self, event: Event) -> None:
        """Take over what is said of it."""
        match event:
            case DrStepBegun():
                self.attempt, self.operation_id, self.outcome = event.attempt, event.operation_id, None
            case DrStepEnded():
                self.outcome, self.code, self.is_over = event.outcome, event.code, event.next_attempt_at is None
            case DrNoticeAsked(notices=notices, code=None):
                self.waits_for = tuple(each.notification_id for each in notices)
            case DrNoticeGiven(notification_id=given):
                self.waits_for = tuple(each for each in self.waits_for if each != given)


def production_of(body: PlanBody) -> frozenset[str]:
    """The locations that a plan restores to."""
    return frozenset(step.target_location for step in body.procedures if step.target_location is not None)


def losses_of(begun: DrExecutionBegun) -> tuple[SourceLoss, ...]:
    """What is missing of each configuration, by the oldest of its points that are taken."""
    of = {step.id: step.configuration_id or "" for step in begun.body.procedures}
    worst: dict[str, SourceLoss] = {}
    for point in begun.points:
        lost = max(0.0, (begun.started_at - point.read_at).total_seconds())
        known = worst.get(of[point.step_id])
        if known is None or lost > known.lost_seconds:
            worst[of[point.step_id]] = SourceLoss(
                configuration_id=of[point.step_id], recovery_point_id=point.recovery_point_id, lost_seconds=lost
            )
    return tuple(worst.values())
