"""What the disaster recovery service announces. Owner: dr."""

from contracts.disaster import PlanBody
from contracts.event import Event, pinned
from contracts.refusal import Refusal


class DrPlanFact(Event, frozen=True, kw_only=True):
    """The base of what is said of a plan: each fact says all of it, and the highest `version` is enough."""

    request_id: str
    plan_id: str
    version: int
    body: PlanBody


class DrPlanRefusal(Refusal, frozen=True, kw_only=True):
    """The base of what answers a request about a plan with no."""

    plan_id: str


@pinned("dr.dr-plan-created.v1")
class DrPlanCreated(DrPlanFact, frozen=True, kw_only=True):
    """There is a disaster recovery plan. Version 1 of it."""


@pinned("dr.dr-plan-updated.v1")
class DrPlanUpdated(DrPlanFact, frozen=True, kw_only=True):
    """A plan says something else from now on; what it said before is in the fact of the version before."""


@pinned("dr.dr-plan-refused.v1")
class DrPlanRefused(DrPlanRefusal, frozen=True, kw_only=True):
    """A submitted plan was refused."""


@pinned("dr.dr-plan-change-refused.v1")
class DrPlanChangeRefused(DrPlanRefusal, frozen=True, kw_only=True):
    """A submitted change of a plan was refused."""
