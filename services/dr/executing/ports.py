"""What executions need of the outside. All calls may raise `PlatformError`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from chassis.deciding import Things
from chassis.handling import Handling
from contracts.disaster import PlanBody, StepPoint, StepTarget
from contracts.refusal import Objection
from services.dr.domain import Plan
from services.dr.executing.domain import Execution


class Due(msgspec.Struct, frozen=True):
    """A timer of an execution that has fallen due. `attempt`: of the step; `timer`: what ends with what is recorded."""

    execution_id: str
    organisation: str
    now: datetime
    timer: object
    step_id: str = ""
    attempt: int = 0


class Executions(Things[Execution], Protocol):
    """The record of executions; what a step waits for is recorded with its beginning."""

    async def record_begun(self, execution: Execution, handling: Handling) -> None:
        """Record that one is taken on. Raises `ExecutionOpen` where one of the plan goes on."""
        ...

    async def record_due(self, execution: Execution | None, due: Due) -> None:
        """Record what is pending and end the timer: both or none."""
        ...

    async def of_recovery(self, operation_id: str, organisation: str) -> str | None:
        """The execution that has asked for a recovery, or a notification, of this id; None where none has."""
        ...

    async def pass_over(self, handling: Handling) -> None:
        """Record a message as handled that is about nothing of ours."""
        ...


class Places(Protocol):
    """Where executions write to."""

    async def for_tests(self, organisation: str) -> str | Objection:
        """The location in which plans of an organisation are tested, or why there is none."""
        ...

    async def targets(
        self, organisation: str, execution_id: str, body: PlanBody, *, test_place: str | None
    ) -> Sequence[StepTarget]:
        """Where each restore of a plan goes: as it says, or below a place of tests to a folder of its own."""
        ...

    async def remove(self, organisation: str, execution_id: str, location: str) -> None:
        """Remove what a test has restored, if anything. Raises DR_TEST_NOT_CLEANED while it cannot be."""
        ...


class Turn(msgspec.Struct, frozen=True):
    """An instant of a plan's schedule of tests that has come. `due_at`: None of a plan that was never planned.

    `now`: the database's time; `timer`: the record's own.
    """

    plan_id: str
    due_at: datetime | None
    now: datetime
    timer: object


class Turns(Protocol):
    """What falls due. With each version of a plan its next test is waited for, in the same transaction."""

    async def plan(self, plan_id: str) -> Plan | None:
        """What an instant is of. Raises EVENT_UNREADABLE."""
        ...

    async def is_being_tested(self, plan_id: str) -> bool:
        """Whether a test of a plan goes on."""
        ...

    async def record(
        self,
        turn: Turn,
        plan: Plan | None,
        execution: Execution | None = None,
        *,
        next_test_at: datetime | None,
        waits_for: datetime | None = None,
    ) -> None:
        """Record what is pending of the two, and that the next instant is waited for: all or none.

        `waits_for`: the instant, where it is looked at later than it was. Raises `ExecutionOpen` where a test of the
        plan goes on by now; where the instant is another's, nothing is recorded, and the record's own error tells it.
        """
        ...


class Choice(Protocol):
    """Whoever knows which recovery points there are."""

    async def points(self, organisation: str, body: PlanBody) -> Sequence[StepPoint]:
        """The point of each restore of a plan; of one for which there is none, none. Raises POINTS_NOT_CHOSEN."""
        ...
