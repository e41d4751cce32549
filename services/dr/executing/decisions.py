"""What is decided about executions: which begin, what people do to them, and what follows from facts and time."""

from collections.abc import Callable, Sequence
from typing import Any

from chassis.clock import Clock
from chassis.deciding import Things
from chassis.handling import TRIES, Handling, UseCase
from chassis.ids import moment_of
from contracts import errors
from contracts.config_events import NotificationDelivered, NotificationGivenUp
from contracts.disaster import PlanBody, StepPoint
from contracts.disaster_rules import execution_objections
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.gateway_events import (
    DrBeginningRequest,
    DrExecutionPauseRequested,
    DrTestRequested,
    Evidence,
)
from contracts.recovery_events import RecoveryCancelled, RecoveryCompleted, RecoveryFailed, RecoveryRefused
from contracts.refusal import Objected, Objection, Refusal
from services.dr.domain import Plan
from services.dr.errors import ExecutionOpen, PlanChanged
from services.dr.executing.domain import Execution
from services.dr.executing.ports import Due, Executions, Places
from services.dr.executing.steps import production_of
from services.dr.ports import Targets


class ExecutionDecisions:
    """Begins executions and tests, and answers what is asked of them."""

    def __init__(
        self, plans: Things[Plan], executions: Executions, targets: Targets, places: Places, clock: Clock
    ) -> None:
        self._plans = plans
        self._executions = executions
        self._targets = targets
        self._places = places
        self._clock = clock

    async def begin(self, request: DrBeginningRequest, handling: Handling) -> None:
        """Take an execution or a test on, or refuse it."""
        organisation = handling.context.organisation
        execution = Execution(request.execution_id)
        place = await self._places.for_tests(organisation) if isinstance(request, DrTestRequested) else None
        plan = await self._plans.find(request.plan_id, organisation)
        try:
            if plan is None or plan.body is None:
                raise PlatformError(errors.DR_PLAN_UNKNOWN, "there is no such plan", field="planId")
            if request.plan_version != plan.body_version:
                raise PlanChanged(seen=request.plan_version, version=plan.body_version)
            if against := await self._against(request, plan.body, place, organisation):
                raise Objected(against)
        except PlatformError as why:
            execution.refuse(request, why)
            await self._executions.record_answer(execution, handling)
            return
        to = await self._places.targets(
            organisation, execution.id, plan.body, test_place=place if isinstance(place, str) else None
        )
        execution.begin(
            request,
            plan.body,
            to,
            started_by=handling.actor,
            started_at=moment_of(request.request_id),
            now=self._clock.now(),
        )
        try:
            await self._executions.record_begun(execution, handling)
        except ExecutionOpen as why:
            if await self._executions.find(execution.id, organisation) is not None:
                return  # It is the one that goes on: this message was dealt with.
            refused = Execution(execution.id)
            refused.refuse(request, why)
            await self._executions.record_answer(refused, handling)

    async def test_due(
        self, plan: Plan, points: Sequence[StepPoint], execution_id: str, organisation: str
    ) -> Execution:
        """A test that a plan's schedule asks for, begun and not recorded. Raises `Objected`."""
        assert plan.body is not None  # noqa: S101  # nobody asks for a test of one that was refused
        request = DrTestRequested(
            request_id=execution_id,
            execution_id=execution_id,
            plan_id=plan.id,
            plan_version=plan.body_version,
            points=tuple(points),
            evidence=Evidence(assurance="schedule"),
        )
        place = await self._places.for_tests(organisation)
        if against := await self._against(request, plan.body, place, organisation):
            raise Objected(against)
        to = await self._places.targets(
            organisation, execution_id, plan.body, test_place=place if isinstance(place, str) else None
        )
        execution, now = Execution(execution_id), self._clock.now()
        execution.begin(request, plan.body, to, started_by=f"schedule:{plan.id}", started_at=now, now=now)
        return execution

    async def _against(
        self, request: DrBeginningRequest, body: PlanBody, place: str | Objection | None, organisation: str
    ) -> list[Objection]:
        """All that speaks against an execution or a test of a plan."""
        against = list(execution_objections(body.procedures, {each.step_id for each in request.points}))
        if isinstance(place, Objection):
            against.append(place)
        elif isinstance(place, str):
            if place in production_of(body):
                hint = f"It is the location {place}. {errors.DR_TEST_NOT_ISOLATED.hint}"
                against.append(Objection(errors.DR_TEST_NOT_ISOLATED, "planId", hint))
        else:
            if not request.evidence.second_factor:
                against.append(Objection(errors.SECOND_FACTOR_NEEDED, hint=errors.SECOND_FACTOR_NEEDED.hint))
            wanted = [(name, "target") for name in sorted(production_of(body))]
            for name in await self._targets.not_open(wanted, organisation):
                hint = f"It is the location {name}. {errors.UNKNOWN_LOCATION.hint}"
                against.append(Objection(errors.UNKNOWN_LOCATION, "planId", hint))
        return against

    def by(self, guard: Callable[..., None], refused: type[Refusal]) -> UseCase:
        """What answers a request about an execution that is there, as its guard says."""

        async def decide(request: Any, handling: Handling) -> None:
            found = await self._executions.find(request.execution_id, handling.context.organisation)
            execution = found or Execution(request.request_id)  # A refusal has to be in some history.
            more = () if isinstance(request, DrExecutionPauseRequested) else (self._clock.now(),)
            try:
                if found is None:
                    raise PlatformError(errors.DR_EXECUTION_UNKNOWN, "there is nothing of this id")
                guard(execution, request, handling.actor, *more)
            except PlatformError as error:
                if execution.pending:
                    raise
                execution.record(refused.of(request, error))
            await self._executions.record_answer(execution, handling)

        return decide

    async def note_recovery(self, fact: Event, handling: Handling) -> None:
        """Take note of what became of a recovery, where a step has asked for it."""
        organisation = handling.context.organisation
        assert isinstance(fact, RecoveryRefused | RecoveryCompleted | RecoveryFailed | RecoveryCancelled)  # noqa: S101
        execution_id = await self._executions.of_recovery(fact.operation_id, organisation)
        execution = None if execution_id is None else await self._executions.find(execution_id, organisation)
        if execution is None:
            await self._executions.pass_over(handling)
            return
        code, hint = getattr(fact, "code", None), getattr(fact, "hint", "")
        if isinstance(fact, RecoveryCancelled):
            code, hint = errors.DR_RECOVERY_CANCELLED.code, errors.DR_RECOVERY_CANCELLED.hint
        execution.recovery_ended(
            fact.operation_id,
            is_whole=isinstance(fact, RecoveryCompleted),
            is_cancelled=isinstance(fact, RecoveryCancelled),
            code=code,
            hint=hint,
            now=self._clock.now(),
        )
        await self._executions.record_answer(execution, handling)

    async def note_notice(self, fact: Event, handling: Handling) -> None:
        """Take note of what became of a notification, where a step has asked for it."""
        organisation = handling.context.organisation
        assert isinstance(fact, NotificationDelivered | NotificationGivenUp)  # noqa: S101  # as `use_cases` says
        execution_id = await self._executions.of_recovery(fact.notification_id, organisation)
        execution = None if execution_id is None else await self._executions.find(execution_id, organisation)
        if execution is None:
            await self._executions.pass_over(handling)
            return
        code, hint = (fact.code, fact.hint) if isinstance(fact, NotificationGivenUp) else (None, "")
        execution.notice_ended(fact.notification_id, code=code, hint=hint, now=self._clock.now())
        await self._executions.record_answer(execution, handling)

    async def fall_due(self, due: Due) -> None:
        """The time of a step is over."""
        await self._timed(due, lambda execution: execution.due(due.step_id, due.attempt, self._clock.now()))

    async def clean_up(self, due: Due) -> None:
        """Remove what a test has restored. Raises DR_TEST_NOT_CLEANED, to be called again."""
        execution = await self._executions.find(due.execution_id, due.organisation)
        if execution is not None and execution.is_test:
            execution.require_stillness(self._clock.now())
            for location in sorted({each.location for each in execution.plan.targets}):
                await self._places.remove(due.organisation, execution.id, location)
        await self._timed(due, Execution.clean_up)

    async def _timed(self, due: Due, act: Callable[[Execution], None]) -> None:
        for attempt in range(TRIES):
            execution = await self._executions.find(due.execution_id, due.organisation)
            if execution is not None:
                act(execution)
            try:
                await self._executions.record_due(execution, due)
            except PlatformError as error:
                # Something else became of it meanwhile: it is looked at anew. A timer that is another's stays that.
                if error.code is not errors.CONCURRENT_CHANGE or attempt == TRIES - 1 or hasattr(error, "name"):
                    raise
            else:
                return
