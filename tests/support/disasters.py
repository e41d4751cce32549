"""What decides about disaster recovery plans and their executions, over real Postgres, killed at any of its saves."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg.sql import SQL, Identifier

from chassis.clock import SystemClock
from chassis.context import Context
from chassis.handling import Handled, Handling, deal_with
from chassis.ids import new_id
from chassis.locations import Locations
from chassis.record.eventstore import AlreadyHandled, EventStore
from chassis.sealing import Sealer
from chassis.timers.table import TimerTable
from contracts import errors
from contracts.disaster import STEP_PATH_FIELD, PlanBody, PlanStep, StepKind, StepPoint
from contracts.dr_execution_events import (
    DrRecoveryAsked,
)
from contracts.envelope import decode_data
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.gateway_events import (
    DrExecutionRequested,
    DrPlanSubmitted,
    Evidence,
)
from contracts.recovery_events import RecoveryCompleted
from contracts.sample_values import CONFIGURATION, PLAN_BODY
from contracts.samples import sample_event
from services.dr.adapters.executions import STEP, RecordedExecutions
from services.dr.adapters.places import RegisteredPlaces
from services.dr.adapters.record import RecordedPlans
from services.dr.adapters.turns import TEST, RecordedTurns
from services.dr.bootstrap import use_cases
from services.dr.executing.decisions import ExecutionDecisions
from services.dr.executing.scheduled import TestSchedules
from tests.support.postgres_server import SchemaAccess

PROVEN = Evidence(assurance="aal2", roles=("owner",), second_factor=True)
STUDIO, OTHER_STUDIO = "studio-a", "studio-b"
_NOW: LiteralString = "UPDATE {}.timers SET due_at = now(), held_until = NULL WHERE kind = %s"
OWNER, OTHER = "user:first", "user:second"


class Killed(Exception):
    """What a process that is killed tells nobody."""


@dataclass
class Killing:
    """An event store of a process that is killed at one of its saves: before it, or right after."""

    store: EventStore
    at: int = -1
    is_after: bool = False
    saves: int = 0

    async def save(self, *things: Any, **of: Any) -> Any:
        self.saves += 1
        if self.saves == self.at and not self.is_after:
            raise Killed
        saved = await self.store.save(*things, **of)
        if self.saves == self.at:
            raise Killed
        return saved

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@dataclass
class Chosen:
    """A gateway: of which steps there are points; None while it does not answer."""

    of: tuple[str, ...] | None = ("photos",)

    async def points(self, organisation: str, body: PlanBody) -> list[StepPoint]:
        assert organisation == STUDIO
        if self.of is None:
            raise PlatformError(errors.DR_POINTS_NOT_CHOSEN, "no gateway listens")
        steps = [step.id for step in body.procedures if step.id in self.of]
        return [StepPoint(step_id=step, recovery_point_id="point-1", read_at=SystemClock().now()) for step in steps]


@dataclass
class Desk:
    """What decides, over real Postgres, asked as its handlers and timers ask."""

    killing: Killing
    pool: Any
    access: SchemaAccess
    locations: Locations
    sealer: Sealer
    tests_at: Path
    choice: "Chosen"
    heard: list[tuple[Event, str, str, str]] = field(default_factory=list)

    @property
    def executions(self) -> RecordedExecutions:
        store: Any = self.killing
        return RecordedExecutions(store, self.pool)

    @property
    def places(self) -> RegisteredPlaces:
        return RegisteredPlaces(self.locations, self.sealer, ["rehearsals"])

    def _deciding(self) -> ExecutionDecisions:
        store: Any = self.killing
        return ExecutionDecisions(RecordedPlans(store), self.executions, self.locations, self.places, SystemClock())

    @property
    def table(self) -> TimerTable:
        """Timers whose hold is over at once: each try is another replica's."""
        return TimerTable(self.pool, hold_seconds=0.01)

    @property
    def tests(self) -> TestSchedules:
        store: Any = self.killing
        return TestSchedules(RecordedTurns(store, self.pool), self._deciding(), self.choice)

    async def hear(
        self, event: Event, actor: str = OWNER, organisation: str = STUDIO, *, event_id: str | None = None
    ) -> None:
        """Deal with a message, over and over until it is dealt with, as the bus does."""
        store: Any = self.killing
        turns = RecordedTurns(store, self.pool)
        every = use_cases(RecordedPlans(store), self.locations, self.executions, self.places, turns, SystemClock())
        taker = next(name for name in event.TAKEN_BY if name.startswith("dr--"))
        context = Context(organisation=organisation, actor="service:dr", correlation_id="correlation-1")
        handling = Handling(context=context, handled=Handled(taker, event_id or new_id()), actor=actor)
        for _ in range(3):
            try:
                await deal_with(every[type(event)], event, handling)
            except Killed:
                continue
            except AlreadyHandled:
                pass
            return

    async def fire(self, kind: str) -> None:
        """Have the timers of a kind fall due now, and fire them, killed or not."""
        with psycopg.connect(self.access.admin_dsn, autocommit=True) as connection:
            connection.execute(SQL(_NOW).format(Identifier(self.access.schema)), (kind,))
        table, decisions = self.table, self._deciding()
        for _ in range(6):
            timer = await table.take([kind])
            if timer is None:
                await asyncio.sleep(0.01)
                continue
            if kind == TEST:
                with suppress(Killed):
                    await self.tests.turn(RecordedTurns.turn_of(timer))
                continue
            due = RecordedExecutions.due_of(timer)
            with suppress(Killed):
                await (decisions.fall_due(due) if kind == STEP else decisions.clean_up(due))

    async def told(self, identity: str) -> list[Event]:
        """All that is recorded of an id."""
        return [decode_data(each) for each in await self.killing.store.history(identity)]

    async def of(self, identity: str, kind: type[Event]) -> list[Any]:
        return [event for event in await self.told(identity) if type(event) is kind]

    async def plan(self, *steps: PlanStep, identity: str | None = None) -> str:
        """A plan in force; its id."""
        body: PlanBody = msgspec.structs.replace(PLAN_BODY, procedures=steps)
        submitted = DrPlanSubmitted(request_id=new_id(), plan_id=identity or new_id(), body=body, evidence=PROVEN)
        await self.hear(submitted)
        return submitted.plan_id

    async def begin(self, plan: str, *steps: str, kind: Any = DrExecutionRequested, **of: Any) -> str:
        """Ask for an execution of a plan, with a point for each of these steps; its id."""
        request = kind(
            request_id=new_id(),
            execution_id=new_id(),
            plan_id=plan,
            plan_version=1,
            points=tuple(
                StepPoint(step_id=step, recovery_point_id="point-1", read_at=SystemClock().now()) for step in steps
            ),
            evidence=of.get("evidence", PROVEN),
        )
        await self.hear(request, organisation=of.get("organisation", STUDIO))
        return str(request.execution_id)

    async def completes(self, execution: str, step: str) -> None:
        """The recovery service has restored what a step asked for last."""
        asked = [each for each in await self.of(execution, DrRecoveryAsked) if each.step_id == step][-1]
        fact = msgspec.structs.replace(sample_event(RecoveryCompleted), operation_id=asked.operation_id, code=None)
        await self.hear(fact, event_id=f"{asked.operation_id}-ended")


def restore(sealer: Sealer, name: str = "photos", **of: Any) -> PlanStep:
    path = sealer.seal(STUDIO, STEP_PATH_FIELD, "2027/meyer")
    return PlanStep(
        id=name,
        kind=StepKind.RESTORE,
        owner="on-call",
        configuration_id=CONFIGURATION,
        target_location="restored",
        target_path=path,
        **of,
    )


def whole(desk: Desk) -> tuple[PlanStep, ...]:
    return (
        PlanStep(id="go", kind=StepKind.APPROVE, owner="owner"),
        restore(desk.sealer, after=("go",)),
        PlanStep(id="settle", kind=StepKind.WAIT, owner="on-call", after=("photos",), wait_minutes=1),
        PlanStep(id="whole", kind=StepKind.CHECK, owner="on-call", after=("settle",), of_step="photos"),
    )
