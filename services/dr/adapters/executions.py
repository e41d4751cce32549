"""The record of executions, with what each step waits for: a timer, and the recovery that it has asked for."""

from collections.abc import Iterator, Sequence
from typing import LiteralString

import msgspec

from chassis.context import Context
from chassis.handling import Handling
from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from chassis.record.answers import Answers
from chassis.record.eventstore import EventStore, Statement, StatementRefused
from chassis.timers.table import Timer, cancelled, set_in
from contracts.dr_execution_events import (
    DrExecutionBegun,
    DrExecutionEnded,
    DrNoticeAsked,
    DrRecoveryAsked,
    DrStepBegun,
    DrStepEnded,
)
from contracts.event import Event
from services.dr.errors import ExecutionOpen
from services.dr.executing.domain import Execution
from services.dr.executing.ports import Due
from services.dr.executing.steps import CLEAN_UP_SECONDS, RETRY_SECONDS

SCHEMA: tuple[LiteralString, ...] = (
    # Which execution has asked for a recovery, or for a notification.
    """CREATE TABLE dr_recoveries (
        operation_id text PRIMARY KEY,
        organisation text NOT NULL,
        execution_id text NOT NULL
    )""",
    # Of a plan one execution and one test may go on at a time.
    """CREATE TABLE dr_open (
        plan_id text NOT NULL,
        is_test boolean NOT NULL,
        execution_id text NOT NULL,
        PRIMARY KEY (plan_id, is_test)
    )""",
)
STEP = "dr-step"
"""The kind of the timers of steps, each named by execution and step: its time is over, or it is tried again."""
CLEAN_UP = "dr-test-clean-up"
"""Of the timers of tests that have ended, by their ids."""

_OPEN: LiteralString = "INSERT INTO dr_open (plan_id, is_test, execution_id) VALUES (%s, %s, %s)"
_ENDED: LiteralString = "DELETE FROM dr_open WHERE execution_id = %s"
_ASKED: LiteralString = "INSERT INTO dr_recoveries (operation_id, organisation, execution_id) VALUES (%s, %s, %s)"
_OF: LiteralString = "SELECT execution_id FROM dr_recoveries WHERE operation_id = %s AND organisation = %s"
OPEN = "open"


class _Body(msgspec.Struct, frozen=True):
    execution_id: str
    organisation: str
    step_id: str = ""
    attempt: int = 0


_BODY = msgspec.json.Decoder(_Body)


class RecordedExecutions(Answers[Execution]):
    """`Executions` on an event store."""

    KIND = Execution

    def __init__(self, store: EventStore, pool: Pool) -> None:
        super().__init__(store)
        self._pool = pool

    async def record_begun(self, execution: Execution, handling: Handling) -> None:
        """Record that one is taken on, in one transaction with the inbox row and its first timers."""
        try:
            await self.record_answer(execution, handling)
        except StatementRefused as error:
            if error.name != OPEN:
                raise
            raise ExecutionOpen from error

    async def record_due(self, execution: Execution | None, due: Due) -> None:
        """Record what is pending, and end the timer, in one transaction."""
        timer = due.timer
        assert isinstance(timer, Timer)  # noqa: S101  # `due_of` has put it there
        request = due.execution_id if execution is None else execution.plan.request_id
        context = Context(due.organisation, "service:dr", correlation_id=request)
        also = [] if execution is None else beside(execution, due.organisation)
        saved = () if execution is None else (execution,)
        await self._store.save(*saved, context=context, also=[timer.done(), *also])

    async def of_recovery(self, operation_id: str, organisation: str) -> str | None:
        """The execution that has asked for a recovery."""
        with translated():
            async with self._pool.connection() as connection:
                row = await (await connection.execute(_OF, (operation_id, organisation))).fetchone()
        return None if row is None else row[0]

    async def pass_over(self, handling: Handling) -> None:
        """Write the inbox row alone."""
        await self._store.save(context=handling.context, handled=handling.handled)

    def beside(self, thing: Execution, handling: Handling) -> Sequence[Statement]:
        """What its steps wait for, from now on."""
        return beside(thing, handling.context.organisation)

    @staticmethod
    def due_of(timer: Timer) -> Due:
        """What a timer has brought up."""
        body = _BODY.decode(timer.body)
        return Due(body.execution_id, body.organisation, timer.now, timer, body.step_id, body.attempt)


def beside(execution: Execution, organisation: str) -> list[Statement]:
    """What becomes true with what is pending of an execution."""
    return [each for event in execution.pending for each in _statements(execution, event, organisation)]


def _statements(execution: Execution, event: Event, organisation: str) -> Iterator[Statement]:
    match event:
        case DrExecutionBegun(plan_id=plan_id):
            yield Statement(_OPEN, (plan_id, execution.is_test, execution.id), rows=1, name=OPEN)
        case DrStepBegun():
            seconds = (event.due_at - event.begun_at).total_seconds()
            yield _timer(execution.id, organisation, event, seconds)
        case DrStepEnded(next_attempt_at=None):
            yield cancelled(STEP, f"{execution.id}/{event.step_id}")
        case DrStepEnded():
            yield _timer(execution.id, organisation, event, RETRY_SECONDS)
        case DrRecoveryAsked():
            yield Statement(_ASKED, (event.operation_id, organisation, execution.id), name="recovery-asked")
        case DrNoticeAsked(notices=notices):
            for each in notices:
                yield Statement(_ASKED, (each.notification_id, organisation, execution.id), name="notice-asked")
        case DrExecutionEnded():
            yield Statement(_ENDED, (execution.id,))
            if execution.is_test:
                body = msgspec.json.encode(_Body(execution.id, organisation))
                yield set_in(CLEAN_UP, execution.id, CLEAN_UP_SECONDS, body)


def _timer(execution_id: str, organisation: str, event: DrStepBegun | DrStepEnded, seconds: float) -> Statement:
    body = msgspec.json.encode(_Body(execution_id, organisation, event.step_id, event.attempt))
    return set_in(STEP, f"{execution_id}/{event.step_id}", seconds, body)
