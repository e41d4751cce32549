"""The aggregates of the disaster recovery service: a plan."""

from collections.abc import Sequence
from typing import ClassVar

from chassis.domain import Aggregate
from contracts import errors
from contracts.disaster import PlanBody
from contracts.dr_events import DrPlanCreated, DrPlanFact, DrPlanUpdated
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.gateway_events import DrPlanChangeSubmitted, DrPlanSubmitted
from contracts.refusal import Objected, Objection
from services.dr.errors import PlanChanged


class Plan(Aggregate):
    """What is brought back after a disaster, how fast, and by which steps. A refused one exists only as its refusal."""

    KIND: ClassVar[str] = "dr.plan"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.body: PlanBody | None = None
        self.body_version = 0

    def create(self, request: DrPlanSubmitted, against: Sequence[Objection]) -> None:
        """Put a plan in force, as its version 1. Raises what speaks `against` it."""
        if against:
            raise Objected(against)
        self.record(DrPlanCreated(request_id=request.request_id, plan_id=self.id, version=1, body=request.body))

    def change(self, request: DrPlanChangeSubmitted, against: Sequence[Objection]) -> None:
        """Put another version in force."""
        if self.body is None:
            raise PlatformError(errors.DR_PLAN_UNKNOWN, "it was refused when it was submitted")
        if request.expected_version != self.body_version:
            raise PlanChanged(seen=request.expected_version, version=self.body_version)
        if against:
            raise Objected(against)
        self.record(
            DrPlanUpdated(
                request_id=request.request_id, plan_id=self.id, version=self.body_version + 1, body=request.body
            )
        )

    def apply(self, event: Event) -> None:
        """Record what an event says."""
        match event:
            case DrPlanFact(version=version, body=body):
                self.body, self.body_version = body, version
