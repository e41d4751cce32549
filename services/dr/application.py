"""What the disaster recovery service decides: which plans are put in force."""

from typing import Any

from chassis.calendar.rehearsals import objections_to_tests
from chassis.deciding import Deciding, Things
from chassis.handling import Handling
from contracts import errors
from contracts.disaster import PlanBody
from contracts.dr_events import DrPlanChangeRefused, DrPlanRefused
from contracts.errors import PlatformError
from contracts.gateway_events import DrPlanChangeSubmitted, DrPlanSubmitted
from services.dr.domain import Found, Plan
from services.dr.policies import when_plan_submitted
from services.dr.ports import Targets, Time


class PlanDecisions:
    """Creates and changes plans, or refuses to."""

    def __init__(self, plans: Things[Plan], targets: Targets, time: Time) -> None:
        self._plans = plans
        self._targets = targets
        self._time = time
        self._of_plans = Deciding(Plan, plans, about="plan_id", missing=errors.DR_PLAN_UNKNOWN)

    async def decide(self, request: DrPlanSubmitted, handling: Handling) -> None:
        """Answer one submission, in the record."""
        plan = Plan(request.plan_id)
        found = await self._found(plan, request.body, handling.context.organisation)
        try:
            Plan.create(plan, request, found)
        except PlatformError as why:
            plan.record(DrPlanRefused.of(request, why))
        await self._plans.record_answer(plan, handling)

    async def decide_change(self, request: DrPlanChangeSubmitted, handling: Handling) -> None:
        """Answer one change, in the record."""

        async def beside(plan: Plan, asked: Any) -> Found:
            return await self._found(plan, asked.body, handling.context.organisation)

        await self._of_plans.by(Plan.change, DrPlanChangeRefused, beside=beside)(request, handling)

    async def _found(self, plan: Plan, body: PlanBody, organisation: str) -> Found:
        """All that speaks against a plan, its targets included: an operator may have taken one away meanwhile."""
        named = {step.target_location for step in body.procedures if step.target_location is not None}
        closed = await self._targets.not_open([(name, "target") for name in sorted(named)], organisation)
        now = await self._time.now()
        against = [*when_plan_submitted(body, closed), *objections_to_tests(body.testing_schedule, now)]
        return Found(against) if against else Found(next_test_at=plan.next_test(body, now))
