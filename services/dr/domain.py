"""The aggregates of the disaster recovery service: a plan."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar

import msgspec

from chassis.calendar.rehearsals import first_test
from chassis.domain import Aggregate
from chassis.ids import derived_id
from contracts import errors
from contracts.disaster import PlanBody, StepNotice
from contracts.dr_events import (
    DrNextTestChanged,
    DrPlanCreated,
    DrPlanFact,
    DrPlanUpdated,
    DrTestDue,
    DrTestFellDue,
    DrTestMissed,
    DrTestTurn,
)
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.gateway_events import DrPlanChangeSubmitted, DrPlanSubmitted
from contracts.refusal import Objected, Objection
from services.dr.errors import PlanChanged


class Found(msgspec.Struct, frozen=True):
    """What is found out beside a submitted plan: all that speaks against it, and when its next test begins."""

    against: Sequence[Objection] = ()
    next_test_at: datetime | None = None


class Plan(Aggregate):
    """What is brought back after a disaster, how fast, and by which steps. A refused one exists only as its refusal."""

    KIND: ClassVar[str] = "dr.plan"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.body: PlanBody | None = None
        self.body_version = 0
        self.next_test_at: datetime | None = None
        self._dealt_with: datetime | None = None
        """The latest instant of its schedule of tests that has come."""

    def create(self, request: DrPlanSubmitted, found: Found) -> None:
        """Put a plan in force, as its version 1. Raises what speaks against it."""
        if found.against:
            raise Objected(found.against)
        self.record(
            DrPlanCreated(
                request_id=request.request_id,
                plan_id=self.id,
                version=1,
                body=request.body,
                next_test_at=found.next_test_at,
            )
        )

    def change(self, request: DrPlanChangeSubmitted, found: Found) -> None:
        """Put another version in force."""
        if self.body is None:
            raise PlatformError(errors.DR_PLAN_UNKNOWN, "it was refused when it was submitted")
        if request.expected_version != self.body_version:
            raise PlanChanged(seen=request.expected_version, version=self.body_version)
        if found.against:
            raise Objected(found.against)
        self.record(
            DrPlanUpdated(
                request_id=request.request_id,
                plan_id=self.id,
                version=self.body_version + 1,
                body=request.body,
                next_test_at=found.next_test_at,
            )
        )

    def next_test(self, body: PlanBody, now: datetime) -> datetime | None:
        """When the next test begins of a plan that says this from now on."""
        before = None if self.body is None else self.body.testing_schedule
        return first_test(before, self.next_test_at, body.testing_schedule, now, seed=self.id)

    def test_id(self, due_at: datetime) -> str:
        """The id of the test that falls due at an instant."""
        return derived_id(due_at.astimezone(UTC), self.id)

    def has_dealt_with(self, due_at: datetime) -> bool:
        """Whether something became of an instant already."""
        return self._dealt_with is not None and due_at <= self._dealt_with

    def begin_test(self, due_at: datetime, *, passed_over: int, next_test_at: datetime | None) -> None:
        """A test has begun by its schedule."""
        self.record(
            DrTestFellDue(
                plan_id=self.id,
                due_at=due_at,
                passed_over=passed_over,
                next_test_at=next_test_at,
                execution_id=self.test_id(due_at),
            )
        )

    def miss_test(self, due_at: datetime, why: Objection, *, passed_over: int, next_test_at: datetime | None) -> None:
        """None has begun. The plan's channels are told."""
        assert self.body is not None  # noqa: S101  # nobody waits for a test of one that was refused
        channels = dict.fromkeys(self.body.notifications.channel_ids)
        self.record(
            DrTestMissed(
                plan_id=self.id,
                due_at=due_at,
                passed_over=passed_over,
                next_test_at=next_test_at,
                code=why.code.code,
                hint=why.hint,
                notices=tuple(
                    StepNotice(
                        channel_id=each, notification_id=derived_id(due_at.astimezone(UTC), self.id, "missed", each)
                    )
                    for each in channels
                ),
                is_wedding_critical=self.body.is_wedding_critical,
            )
        )

    def plan_test(self, next_test_at: datetime | None) -> None:
        """The next one begins at another moment than was told."""
        if next_test_at != self.next_test_at:
            self.record(DrNextTestChanged(plan_id=self.id, next_test_at=next_test_at))

    def apply(self, event: Event) -> None:
        """Record what an event says."""
        match event:
            case DrPlanFact(version=version, body=body):
                self.body, self.body_version = body, version
                self.next_test_at = event.next_test_at
            case DrTestTurn():
                self.next_test_at = event.next_test_at
                if isinstance(event, DrTestDue):
                    self._dealt_with = event.due_at
