"""Tests of plans by their schedules: when the next one begins, and what becomes of an instant that has come."""

from datetime import datetime

from chassis.calendar.rehearsals import instants_of_tests
from chassis.calendar.turns import Fires, Missed, Waits, when_instant_came
from contracts import errors
from contracts.refusal import Objected, Objection
from contracts.schedule import MissedRuns
from services.dr.domain import Plan
from services.dr.errors import ExecutionOpen
from services.dr.executing.decisions import ExecutionDecisions
from services.dr.executing.ports import Choice, Turn, Turns


class TestSchedules:
    """Begins tests that fall due: each once, whoever sees it come, and says of those that do not begin why."""

    __test__ = False  # no test of ours

    def __init__(self, turns: Turns, executing: ExecutionDecisions, choice: Choice) -> None:
        self._turns = turns
        self._executing = executing
        self._choice = choice

    async def turn(self, turn: Turn) -> None:
        """Deal with an instant that has come. Raises what keeps it from being dealt with now."""
        plan = await self._turns.plan(turn.plan_id)
        if plan is None or plan.body is None or plan.body.testing_schedule is None:
            await self._turns.record(turn, None, next_test_at=None)
            return
        testing = plan.body.testing_schedule
        if turn.due_at is None:
            # Its schedule is older than what begins tests: the first is waited for from now on.
            following = Plan(plan.id).next_test(plan.body, turn.now)
            plan.plan_test(following)
            await self._turns.record(turn, plan, next_test_at=following)
            return
        due_at, is_dealt_with = turn.due_at, plan.has_dealt_with(turn.due_at)
        missed_runs = MissedRuns.RUN_ONCE if testing.schedule is None else testing.schedule.missed_runs
        instants = instants_of_tests(testing, seed=plan.id, one=due_at)
        match when_instant_came(instants, missed_runs, due_at, turn.now, is_dealt_with=is_dealt_with):
            case Fires() as fires:
                await self._begin(turn, due_at, plan, fires)
            case Missed(passed_over=passed_over, next_run_at=following):
                why = Objection(errors.DR_TEST_MISSED, hint=errors.DR_TEST_MISSED.hint)
                plan.miss_test(due_at, why, passed_over=passed_over, next_test_at=following)
                await self._turns.record(turn, plan, next_test_at=following)
            case Waits(until=until):
                plan.plan_test(until)
                await self._turns.record(turn, plan, next_test_at=until, waits_for=due_at)
            case other:
                plan.plan_test(other.next_run_at)
                await self._turns.record(turn, plan, next_test_at=other.next_run_at)

    async def _begin(self, turn: Turn, due_at: datetime, plan: Plan, fires: Fires) -> None:
        """Begin a test with the points that there are now, or say why there is none; in one record with the instant."""
        assert plan.body is not None  # noqa: S101  # as `turn` saw
        organisation, following = plan.organisation or "", fires.next_run_at
        try:
            if await self._turns.is_being_tested(plan.id):
                raise ExecutionOpen
            points = await self._choice.points(organisation, plan.body)
            execution = await self._executing.test_due(plan, points, plan.test_id(due_at), organisation)
        except (Objected, ExecutionOpen) as error:
            why = Objection(error.code, hint=error.hint)
            plan.miss_test(due_at, why, passed_over=fires.passed_over, next_test_at=following)
            await self._turns.record(turn, plan, next_test_at=following)
            return
        plan.begin_test(due_at, passed_over=fires.passed_over, next_test_at=following)
        await self._turns.record(turn, plan, execution, next_test_at=following)
