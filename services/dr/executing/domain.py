"""The aggregate of an execution: the steps of a plan on their way, in the real place or in a test's own.

Every change is one of a few (a step's word, end or time; a pause, a resumption, an abortion), and each records all that
follows from it at once: what ends, and what begins because of it. So whatever is killed, the record says which steps
are under way, and what they wait for comes again: a fact of the recovery service, a timer, or a person's request.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from chassis.ids import derived_id
from contracts import errors
from contracts.disaster import PlanBody, PlanStep, StepKind, StepNotice, StepOutcome, StepTarget
from contracts.dr_execution_events import (
    DrExecutionAborted,
    DrExecutionAborting,
    DrExecutionCompleted,
    DrExecutionFailed,
    DrExecutionPaused,
    DrExecutionRefused,
    DrExecutionResumed,
    DrExecutionStarted,
    DrNoticeAsked,
    DrNoticeGiven,
    DrRecoveryAsked,
    DrRecoveryOver,
    DrRecoveryWithdrawn,
    DrStepApproved,
    DrStepBegun,
    DrStepEnded,
    DrTestCleanedUp,
    DrTestRefused,
    DrTestStarted,
)
from contracts.errors import PlatformError
from contracts.gateway_events import (
    DrBeginningRequest,
    DrExecutionAbortionRequested,
    DrExecutionPauseRequested,
    DrExecutionResumptionRequested,
    DrStepApprovalRequested,
    DrTestRequested,
)
from services.dr.errors import TestNotIsolated
from services.dr.executing.state import ExecutionSoFar
from services.dr.executing.steps import ASKS_PEOPLE, RETRY_SECONDS, StepRun, losses_of, production_of


class Execution(ExecutionSoFar):
    """One execution of a plan, or one test. A refused one exists only as its refusal."""

    def begin(
        self,
        request: DrBeginningRequest,
        body: PlanBody,
        targets: Sequence[StepTarget],
        *,
        started_by: str,
        started_at: datetime,
        now: datetime,
    ) -> None:
        """Take an execution on, and begin its first steps."""
        kind = DrTestStarted if isinstance(request, DrTestRequested) else DrExecutionStarted
        self.record(
            kind(
                request_id=request.request_id,
                execution_id=self.id,
                plan_id=request.plan_id,
                plan_version=request.plan_version,
                body=body,
                points=tuple(request.points),
                targets=tuple(targets),
                started_by=started_by,
                started_at=started_at,
                second_factor=request.evidence.second_factor,
            )
        )
        self._go_on(now)

    def refuse(self, request: DrBeginningRequest, why: PlatformError) -> None:
        """Nothing of it is begun."""
        kind = DrTestRefused if isinstance(request, DrTestRequested) else DrExecutionRefused
        self.record(kind.of(request, why))

    def approve(self, request: DrStepApprovalRequested, actor: str, now: datetime) -> None:
        """Somebody says that it may go on after a step, or that a manual step is done.

        Raises DR_EXECUTION_OVER, DR_STEP_NOT_WAITING; of `approve` SECOND_PERSON_NEEDED and SECOND_FACTOR_NEEDED.
        """
        if self.begun is None or self.is_over:  # While it is aborted, what undoes its steps is waited for.
            raise PlatformError(errors.DR_EXECUTION_OVER, "the execution has ended")
        run = self.steps.get(request.step_id)
        if run is None or not run.is_under_way or run.step.kind not in ASKS_PEOPLE:
            raise PlatformError(errors.DR_STEP_NOT_WAITING, "the step waits for nobody", field="stepId")
        if run.step.kind is StepKind.APPROVE:
            if not actor or actor == self.plan.started_by:
                raise PlatformError(errors.SECOND_PERSON_NEEDED, "it was begun by the same person")
            if not request.evidence.second_factor:
                raise PlatformError(errors.SECOND_FACTOR_NEEDED, "it was approved without a second factor")
        self.record(
            DrStepApproved(
                request_id=request.request_id,
                execution_id=self.id,
                step_id=run.step.id,
                attempt=run.attempt,
                approved_by=actor,
            )
        )
        self._end(run, StepOutcome.COMPLETED, now, by=actor)
        self._go_on(now)

    def pause(self, request: DrExecutionPauseRequested, actor: str) -> None:
        """No other step begins. Raises DR_EXECUTION_OVER, DR_EXECUTION_PAUSED."""
        self._refuse_when_over()
        if self.is_paused:
            raise PlatformError(errors.DR_EXECUTION_PAUSED, "it is paused already")
        self.record(DrExecutionPaused(request_id=request.request_id, execution_id=self.id, by=actor))

    def resume(self, request: DrExecutionResumptionRequested, actor: str, now: datetime) -> None:
        """It goes on. Raises DR_EXECUTION_OVER, DR_EXECUTION_NOT_PAUSED."""
        self._refuse_when_over()
        if not self.is_paused:
            raise PlatformError(errors.DR_EXECUTION_NOT_PAUSED, "it is not paused")
        self.record(DrExecutionResumed(request_id=request.request_id, execution_id=self.id, by=actor))
        self._go_on(now, again=[run for run in self.steps.values() if run.is_between])

    def abort(self, request: DrExecutionAbortionRequested, actor: str, now: datetime) -> None:
        """No other step begins, and what is under way is withdrawn. Raises DR_EXECUTION_OVER."""
        self._refuse_when_over()
        self.record(DrExecutionAborting(request_id=request.request_id, execution_id=self.id, by=actor))
        for run in list(self.steps.values()):
            if not run.is_under_way:
                continue
            if run.operation_id is not None:
                # It has ended when the recovery service says so: until then something may be written.
                self._withdraw(run)
            else:
                self._end(run, StepOutcome.WITHDRAWN, now)
        self._go_on(now)

    def recovery_ended(
        self, operation_id: str, *, is_whole: bool, code: str | None, hint: str, now: datetime, is_cancelled: bool
    ) -> None:
        """What became of a recovery that a step has asked for; of one that it asks for no more, that it has ended."""
        run = next((each for each in self.steps.values() if each.operation_id == operation_id), None)
        if self.is_over or run is None or not run.is_under_way:
            self._note_over(operation_id, now)
            return
        if is_whole:
            self._end(run, StepOutcome.COMPLETED, now, code=code)
        elif is_cancelled and self.aborted_by is not None:
            self._end(run, StepOutcome.WITHDRAWN, now)
        else:
            self._end(run, StepOutcome.FAILED, now, code=code, hint=hint)
        self._go_on(now)

    def notice_ended(self, notification_id: str, *, code: str | None, hint: str, now: datetime) -> None:
        """What became of a notification; `code`: why nobody is told. The step ends with the last, or the first such."""
        run = next((each for each in self.steps.values() if notification_id in each.waits_for), None)
        if self.is_over or run is None or not run.is_under_way:
            return
        if code is not None:
            self._end(run, StepOutcome.FAILED, now, code=code, hint=hint)
        else:
            self.record(
                DrNoticeGiven(
                    execution_id=self.id, step_id=run.step.id, attempt=run.attempt, notification_id=notification_id
                )
            )
            if not run.waits_for:
                self._end(run, StepOutcome.COMPLETED, now)
        self._go_on(now)

    def due(self, step_id: str, attempt: int, now: datetime) -> None:
        """The time of a step's attempt is over: of a wait it is its end; or the next one begins."""
        run = self.steps.get(step_id)
        if self.is_over or run is None or run.attempt != attempt or run.is_over:
            return
        if run.is_between:
            self._go_on(now, again=[run])
            return
        if run.step.kind is StepKind.WAIT:
            self._end(run, StepOutcome.COMPLETED, now)
        else:
            self._end(run, StepOutcome.TIMED_OUT, now, code=errors.DR_STEP_TIMED_OUT.code)
            if run.operation_id is not None:
                self._withdraw(run)
        self._go_on(now)

    def clean_up(self) -> None:
        """What a test has restored is gone."""
        if not self.is_cleaned_up:
            self.record(DrTestCleanedUp(execution_id=self.id, plan_id=self.plan.plan_id))

    def _note_over(self, operation_id: str, now: datetime) -> None:
        asked = self.withdrawn.get(operation_id)
        if asked is not None:
            self.record(
                DrRecoveryOver(
                    execution_id=self.id,
                    step_id=asked.step_id,
                    attempt=asked.attempt,
                    operation_id=operation_id,
                    over_at=now,
                )
            )

    def _go_on(self, now: datetime, again: Sequence[StepRun] = ()) -> None:
        """Begin what may begin, `again` too, and end where nothing more can."""
        if self.failed is None and self.aborted_by is None and not self.is_paused:
            for run in again:
                self._begin(run, now)
            while ready := self._ready():
                for run in ready:
                    self._begin(run, now)
        if any(run.is_under_way for run in self.steps.values()):
            return
        is_failing = self.failed is not None or self.aborted_by is not None
        if is_failing and self.not_undone is None and (undoing := next(self._to_be_undone(), None)) is not None:
            if not self.is_paused:
                self._begin(undoing, now)
            return
        if self.not_undone is not None:
            why = errors.DR_COMPENSATION_FAILED
            self._fail(self.not_undone, why.code, why.hint, now)
        elif self.aborted_by is not None:
            self.record(DrExecutionAborted(**self._ending(now)))
        elif self.failed is not None:
            self._fail(self.failed, self.failed.code or errors.INTERNAL.code, self.failed.hint, now)
        elif all(run.is_completed for run in self.steps.values() if run.step.compensates is None):
            ended = self.last_at or now
            self.record(
                DrExecutionCompleted(
                    **self._ending(now),
                    rto_seconds=max(0.0, (ended - self.plan.started_at).total_seconds()),
                    losses=losses_of(self.plan),
                )
            )

    def _fail(self, ended: DrStepEnded, code: str, hint: str, now: datetime) -> None:
        """End as failed at a step. The plan's channels are told, of a test as well: a plan that fails is no drill."""
        if told := self.plan.body.notifications.channel_ids:
            self._ask_to_tell(ended.step_id, ended.attempt, told, code)
        self.record(DrExecutionFailed(**self._ending(now), step_id=ended.step_id, code=code, hint=hint))

    def _ready(self) -> list[StepRun]:
        if self.failed is not None:
            return []
        return [
            run
            for run in self.steps.values()
            if run.attempt == 0
            and run.step.compensates is None
            and all(self.steps[name].is_completed for name in run.step.after)
        ]

    def _to_be_undone(self) -> Iterator[StepRun]:
        """What undoes the steps that have begun and were not undone yet, the last first."""
        for name in reversed(self.begun_in_order):
            for run in self.steps.values():
                if run.step.compensates == name and run.attempt == 0:
                    yield run

    def _begin(self, run: StepRun, now: datetime) -> None:
        step, attempt = run.step, run.attempt + 1
        minutes = (step.kind is StepKind.WAIT and step.wait_minutes) or step.time_limit_minutes
        asked: DrRecoveryAsked | None = None
        against: PlatformError | None = None
        try:
            asked = self._asked(step, attempt) if step.kind is StepKind.RESTORE else None
        except PlatformError as error:
            against = error
        self.record(
            DrStepBegun(
                execution_id=self.id,
                step_id=step.id,
                attempt=attempt,
                begun_at=now,
                due_at=now + timedelta(minutes=minutes),
                operation_id=None if asked is None else asked.operation_id,
            )
        )
        if asked is not None:
            self.record(asked)
        elif step.kind is StepKind.NOTIFY:
            self._tell(run, now)
        elif against is not None:
            self._end(run, StepOutcome.FAILED, now, code=against.code.code, hint=against.hint)
        elif step.kind is StepKind.CHECK:
            looked = self.steps.get(step.of_step or "")
            if looked is not None and looked.is_completed and looked.code is None:
                self._end(run, StepOutcome.COMPLETED, now)
            else:
                self._end(run, StepOutcome.FAILED, now, code=errors.DR_CHECK_FAILED.code)

    def _tell(self, run: StepRun, now: datetime) -> None:
        if self.is_test:
            self._end(run, StepOutcome.COMPLETED, now, code=errors.DR_NOTICE_NOT_SENT.code)
            return
        self._ask_to_tell(run.step.id, run.attempt, run.step.channel_ids)

    def _ask_to_tell(self, step: str, attempt: int, channels: Iterable[str], code: str | None = None) -> None:
        of = (step, attempt) if code is None else (step, attempt, code)
        self.record(
            DrNoticeAsked(
                execution_id=self.id,
                step_id=step,
                attempt=attempt,
                plan_id=self.plan.plan_id,
                notices=tuple(
                    StepNotice(channel_id=each, notification_id=self._id_of(*of, each))
                    for each in dict.fromkeys(channels)
                ),
                is_wedding_critical=self.plan.body.is_wedding_critical,
                code=code,
            )
        )

    def _asked(self, step: PlanStep, attempt: int) -> DrRecoveryAsked:
        """What is asked of the recovery service for a step: the only place where a target is named to anybody.

        Raises TestNotIsolated where a test would write where its plan does.
        """
        point = next(each for each in self.plan.points if each.step_id == step.id)
        target = next(each for each in self.plan.targets if each.step_id == step.id)
        if self.is_test and target.location in production_of(self.plan.body):
            raise TestNotIsolated(target.location)
        return DrRecoveryAsked(
            execution_id=self.id,
            step_id=step.id,
            attempt=attempt,
            request_id=(operation := self._id_of(step.id, attempt, "recovery")),
            operation_id=operation,
            recovery_point_id=point.recovery_point_id,
            target_location=target.location,
            target_path=target.path,
            is_test=self.is_test,
            second_factor=self.plan.second_factor,
        )

    def _withdraw(self, run: StepRun) -> None:
        self.record(
            DrRecoveryWithdrawn(
                execution_id=self.id,
                step_id=run.step.id,
                attempt=run.attempt,
                request_id=self._id_of(run.step.id, run.attempt, "withdrawn"),
                operation_id=run.operation_id or "",
            )
        )

    def _end(
        self,
        run: StepRun,
        outcome: StepOutcome,
        now: datetime,
        *,
        code: str | None = None,
        hint: str = "",
        by: str | None = None,
    ) -> None:
        is_again = (
            outcome in (StepOutcome.FAILED, StepOutcome.TIMED_OUT)
            and run.attempt <= run.step.retries
            and self.failed is None
            and self.aborted_by is None
        )
        self.record(
            DrStepEnded(
                execution_id=self.id,
                step_id=run.step.id,
                attempt=run.attempt,
                outcome=outcome,
                ended_at=now,
                code=code,
                hint=hint,
                by=by,
                next_attempt_at=now + timedelta(seconds=RETRY_SECONDS) if is_again else None,
            )
        )

    def _ending(self, now: datetime) -> dict[str, Any]:
        return {
            "execution_id": self.id,
            "plan_id": self.plan.plan_id,
            "is_test": self.is_test,
            "ended_at": now,
        }

    def _id_of(self, *parts: str | int) -> str:
        """The same again for the same step and attempt, whoever records it."""
        return derived_id(self.plan.started_at, self.id, *map(str, parts))

    def _refuse_when_over(self) -> None:
        if self.begun is None or self.is_over or self.aborted_by is not None:
            raise PlatformError(errors.DR_EXECUTION_OVER, "the execution has ended, or is being aborted")
