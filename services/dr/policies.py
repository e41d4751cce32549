"""Rules of disaster recovery plans: a submitted one in, every objection out. Pure."""

from collections.abc import Collection, Iterator

from contracts import errors
from contracts.disaster import PlanBody
from contracts.disaster_rules import plan_objections
from contracts.refusal import Objection


def when_plan_submitted(body: PlanBody, closed: Collection[str]) -> Iterator[Objection]:
    """All that speaks against a plan. `closed`: those of its targets that are not open to the organisation."""
    yield from plan_objections(body, body.procedures)
    for place, step in enumerate(body.procedures):
        if step.target_location in closed:
            field = f"procedures[{place}].targetLocation"
            yield Objection(errors.UNKNOWN_LOCATION, field, errors.UNKNOWN_LOCATION.hint)
