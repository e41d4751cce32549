"""Tests that fall due: timers beside the record of plans, and the question for the points that a test takes."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import LiteralString

import msgspec
import nats.errors
from nats.aio.client import Client

from chassis.context import Context
from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from chassis.record.eventstore import EventStore, Statement, StatementRefused
from chassis.timers.table import Timer, TimerTable, cancelled, set_at
from contracts import errors
from contracts.choosing import ASK_POINTS, PointsAsked, answer_of, encoded
from contracts.disaster import PlanBody, StepPoint
from contracts.errors import PlatformError
from services.dr.adapters.executions import OPEN, beside
from services.dr.domain import Plan
from services.dr.errors import ExecutionOpen
from services.dr.executing.domain import Execution
from services.dr.executing.ports import Turn

TEST = "dr-test"
"""The kind of the timers: one for each plan with a schedule of tests, named by its id. Body: what it is about."""
LATER_SCHEMA: tuple[LiteralString, ...] = (
    # Plans that were made before their schedules began tests: each is looked at once.
    """INSERT INTO timers (kind, name, due_at, body, fence)
       SELECT 'dr-test', originator_id, clock_timestamp(), '', 0 FROM stored_events
       WHERE topic = 'dr.dr-plan-created.v1' ON CONFLICT DO NOTHING""",
)
ANSWER_SECONDS = 8.0
"""Well below what a timer's handler may take."""
_INSTANT = msgspec.json.Decoder(datetime)
_TESTED: LiteralString = "SELECT EXISTS (SELECT FROM dr_open WHERE plan_id = %s AND is_test)"


class RecordedTurns:
    """`Turns` on an event store and its timers."""

    def __init__(self, store: EventStore, pool: Pool) -> None:
        self._store = store
        self._pool = pool
        self._timers = TimerTable(pool)

    @staticmethod
    def turn_of(timer: Timer) -> Turn:
        """The instant that a timer has brought up."""
        return Turn(timer.name, _INSTANT.decode(timer.body) if timer.body else None, timer.now, timer)

    async def now(self) -> datetime:
        """The database's time."""
        return (await self._timers.look(TEST, ""))[0]

    async def plan(self, plan_id: str) -> Plan | None:
        """What an instant is of."""
        return await self._store.find(Plan, plan_id)

    async def is_being_tested(self, plan_id: str) -> bool:
        """Whether a test of a plan goes on."""
        with translated():
            async with self._pool.connection() as connection:
                row = await (await connection.execute(_TESTED, (plan_id,))).fetchone()
        return row == (True,)

    async def record(
        self,
        turn: Turn,
        plan: Plan | None,
        execution: Execution | None = None,
        *,
        next_test_at: datetime | None,
        waits_for: datetime | None = None,
    ) -> None:
        """Record what is pending, and end the timer or move it, in one transaction."""
        timer = turn.timer
        assert isinstance(timer, Timer)  # noqa: S101  # `turn_of` has put it there
        ended = timer.done()
        if next_test_at is not None:
            ended = timer.moved(next_test_at, msgspec.json.encode(waits_for or next_test_at))
        organisation = (None if plan is None else plan.organisation) or "none"
        about = turn.plan_id if execution is None else execution.id
        context = Context(organisation, f"schedule:{turn.plan_id}", correlation_id=about)
        changed = [each for each in (plan, execution) if each is not None and each.pending]
        also = [] if execution is None else beside(execution, organisation)
        try:
            await self._store.save(*changed, context=context, also=[ended, *also])
        except StatementRefused as error:
            if error.name != OPEN:
                raise
            raise ExecutionOpen from error


def waits_for(plan_id: str, next_test_at: datetime | None) -> Statement:
    """Has a plan's next test waited for, or none, in the transaction of what says so."""
    if next_test_at is None:
        return cancelled(TEST, plan_id)
    return set_at(TEST, plan_id, next_test_at, msgspec.json.encode(next_test_at))


class AskedPoints:
    """`Choice` by the gateway, which alone has a view of what there is. `client`: the process's connection."""

    def __init__(self, client: Callable[[], Client]) -> None:
        self._client = client

    async def points(self, organisation: str, body: PlanBody) -> Sequence[StepPoint]:
        """The point of each restore of a plan, by what there is now."""
        asked = encoded(PointsAsked(organisation=organisation, body=body))
        try:
            answer = answer_of((await self._client().request(ASK_POINTS, asked, timeout=ANSWER_SECONDS)).data)
        except nats.errors.NoRespondersError as error:
            raise PlatformError(errors.DR_POINTS_NOT_CHOSEN, "no gateway listens") from error
        except (nats.errors.Error, TimeoutError, msgspec.DecodeError) as error:
            raise PlatformError(errors.DR_POINTS_NOT_CHOSEN, "no gateway has answered in time") from error
        if answer.code is not None:
            raise PlatformError(errors.DR_POINTS_NOT_CHOSEN, f"the gateway cannot look: {answer.code}")
        return answer.points
