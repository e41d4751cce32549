"""Contexts: what follows from what, and whose it is."""

import pytest

from chassis.context import Context
from contracts import errors
from contracts.envelope import Envelope, encode_data
from contracts.errors import PlatformError
from tests.support.clock import ManualClock
from tests.support.sample_runs import CONTEXT, tier_failed


def _envelope(**changes: object) -> Envelope:
    event = tier_failed("run")
    fields: dict[str, object] = {
        "specversion": "1.0",
        "id": "event-1",
        "source": "/wedsync-backup/executor",
        "type": event.NAME,
        "subject": "sample-run/run",
        "time": ManualClock().now(),
        "datacontenttype": "application/json",
        "organisation": CONTEXT.organisation,
        "actor": CONTEXT.actor,
        "sequence": 1,
        "correlationid": "request-1",
        "traceparent": "00-aaaa-bbbb-01",
        "data": encode_data(event),
    }
    return Envelope(**{**fields, **changes})  # type: ignore[arg-type]


def test_context_of_a_consequence_keeps_the_correlation_and_names_the_cause() -> None:
    """What an event leads to belongs to the same request and points at the event."""
    context = Context.caused_by(_envelope())
    assert context == Context(CONTEXT.organisation, CONTEXT.actor, "request-1", "event-1", "00-aaaa-bbbb-01")


def test_context_of_a_consequence_takes_its_own_actor_and_trace() -> None:
    """A service answers in its own name, under the span of its handler."""
    context = Context.caused_by(_envelope(), actor="service:config", traceparent="00-cccc-dddd-01")
    assert (context.actor, context.traceparent) == ("service:config", "00-cccc-dddd-01")


@pytest.mark.parametrize("organisation", ["", "a.b", "a*", ">", "a b", "../a", "-a", "a" * 129, "a\n"])
def test_context_refuses_an_organisation_that_would_change_a_subject(organisation: str) -> None:
    """An organisation's id can neither widen a NATS subject nor leave a folder."""
    with pytest.raises(PlatformError) as refused:
        Context(organisation, "user:x", "request")
    assert refused.value.code is errors.INVALID_FIELD
    assert refused.value.field == "organisation"
