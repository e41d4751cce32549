"""What the disaster recovery service announces. Owner: dr."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from contracts.disaster import PlanBody, StepNotice
from contracts.event import Event, pinned
from contracts.refusal import Refusal


class DrPlanFact(Event, frozen=True, kw_only=True):
    """The base of what is said of a plan: each fact says all of it, and the highest `version` is enough.

    `next_test_at`: when its next test begins by itself; None where it has no schedule of tests.
    """

    request_id: str
    plan_id: str
    version: int
    body: PlanBody
    next_test_at: datetime | None = None


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


class DrTestTurn(Event, frozen=True, kw_only=True):
    """The base of what is said of a plan's tests between two versions; `next_test_at` as in those."""

    plan_id: str
    next_test_at: datetime | None = None


class DrTestDue(DrTestTurn, frozen=True, kw_only=True):
    """What became of one instant of a plan's schedule of tests, whoever saw it pass.

    `due_at` is the instant; `passed_over`: how many later ones had passed when it was looked at, and are not looked at.
    """

    due_at: datetime
    passed_over: Annotated[int, Meta(ge=0)] = 0


@pinned("dr.dr-test-fell-due.v1")
class DrTestFellDue(DrTestDue, frozen=True, kw_only=True):
    """A test has begun by the plan's schedule. `execution_id`: its id, which follows from plan and instant."""

    execution_id: str


@pinned("dr.dr-test-missed.v1", taken_by=("config--tell-of-missed-test",))
class DrTestMissed(DrTestDue, frozen=True, kw_only=True):
    """No test began when one was due: it cannot begin (`code`), or its schedule lets it not be made up for.

    `notices`: by which the plan's channels are told.
    """

    code: str
    hint: str = ""
    notices: tuple[StepNotice, ...] = ()
    is_wedding_critical: bool = False


@pinned("dr.dr-next-test-changed.v1")
class DrNextTestChanged(DrTestTurn, frozen=True, kw_only=True):
    """A test begins at another moment than was told: at the end of a blackout, or since a clock was put back."""
