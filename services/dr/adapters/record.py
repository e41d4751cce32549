"""The record of plans, in the disaster recovery service's event store."""

from chassis.record.answers import Answers
from services.dr.domain import Plan


class RecordedPlans(Answers[Plan]):
    """Plans on an event store."""

    KIND = Plan
