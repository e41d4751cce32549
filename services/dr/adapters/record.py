"""The record of plans, in the disaster recovery service's event store."""

from collections.abc import Sequence

from chassis.handling import Handling
from chassis.record.answers import Answers
from chassis.record.eventstore import Statement
from contracts.dr_events import DrPlanFact
from services.dr.adapters.turns import waits_for
from services.dr.domain import Plan


class RecordedPlans(Answers[Plan]):
    """Plans on an event store."""

    KIND = Plan

    def beside(self, thing: Plan, handling: Handling) -> Sequence[Statement]:  # noqa: ARG002  # as answers are asked
        """With each version its next test is waited for."""
        facts = [event for event in thing.pending if isinstance(event, DrPlanFact)]
        return [waits_for(thing.id, event.next_test_at) for event in facts]
