"""What the WebSocket tells of plans and executions: their steps, and nothing that is sealed."""

import msgspec
import pytest

from contracts.dr_events import DrPlanCreated
from contracts.dr_execution_events import (
    DrExecutionCompleted,
    DrExecutionStarted,
    DrRecoveryAsked,
    DrStepBegun,
    DrStepEnded,
    DrTestStarted,
)
from contracts.envelope import decode_data
from contracts.event import Event
from contracts.samples import sample_envelopes
from gateway.monitoring.projection import Facts, _fact
from gateway.projections.applied import Applied


@pytest.mark.parametrize("kind", [DrPlanCreated, DrExecutionStarted, DrTestStarted, DrStepBegun, DrStepEnded])
def test_every_step_is_told_and_no_sealed_text(kind: type[Event]) -> None:
    envelope = sample_envelopes()[kind.NAME]
    assert kind in Facts.EVENTS
    fact = _fact(1, Applied(envelope, decode_data(envelope), 1), {})
    assert b'"box"' not in bytes(fact.fields)
    fields = msgspec.json.decode(fact.fields)
    assert fields.keys() >= ({"planId", "version"} if kind is DrPlanCreated else {"executionId"})
    assert (fact.execution_id is None) is (kind is DrPlanCreated)


def test_end_is_told_and_what_the_recovery_service_is_asked_is_told_by_its_own_facts() -> None:
    assert DrExecutionCompleted in Facts.EVENTS
    assert DrRecoveryAsked not in Facts.EVENTS
