"""Requests that are given up: whom they refuse what, and what they never call refused."""

from typing import Any

import msgspec
import pytest

from chassis.domain import Aggregate
from chassis.handling import Handled
from chassis.record.statements import AlreadyHandled
from chassis.record.unanswered import RefusedAs, Unanswered
from contracts import errors
from contracts.config_events import BackupFellDue
from contracts.dr_execution_events import DrRecoveryAsked, DrRecoveryWithdrawn
from contracts.envelope import MalformedEvent, encode
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.gateway_events import BackupRequested, ConfigurationItemSubmitted, ConfigurationsSubmitted
from contracts.samples import sample_envelopes
from gateway.writes.declaration import declared
from services.compliance import bootstrap as compliance
from services.compliance.domain import ComplianceAudit
from services.config import bootstrap as config
from services.config.domain import Configuration
from services.dr import bootstrap as dr
from services.dr.domain import Plan
from services.executor import bootstrap as executor
from services.executor.domain import BackupRun
from services.recovery import bootstrap as recovery
from services.recovery.domain import RecoveryOperation

EVERY = {
    request: (kind, refused)
    for kind, table in (
        (Configuration, config.REFUSED),
        (BackupRun, executor.REFUSED),
        (RecoveryOperation, recovery.REFUSED),
        (ComplianceAudit, compliance.REFUSED),
        (Plan, dr.REFUSED),
    )
    for request, refused in table.items()
}


class Record:
    """Keeps what is saved, or raises."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.saved: list[tuple[str, Event, Any, Handled]] = []
        self._fault = fault

    async def save(self, thing: Aggregate, *, context: Any, handled: Handled) -> None:
        if self._fault is not None:
            raise self._fault
        (event,) = thing.pending
        self.saved.append((thing.id, event, context, handled))


async def _give_up(record: Record, request: type[Event], body: bytes) -> bool:
    kind, refused = EVERY[request]
    act = Unanswered(record, "owner", kind, {request: refused}).giving_up(request)  # type: ignore[arg-type]
    assert act is not None
    return await act(body, "owner--handler")


NOT_ASKED = {BackupFellDue, ConfigurationItemSubmitted, DrRecoveryAsked, DrRecoveryWithdrawn}
"""A schedule asks for the first; the second is part of a request for several; steps of plans ask for the others."""


def test_whoever_asks_over_the_api_is_refused_as_the_write_declares() -> None:
    """The gateway takes no other answer; a schedule's request is refused, too."""
    assert {write.REQUEST: write.REFUSED for write in declared().values()} == {
        request: refused.refusal for request, (_, refused) in EVERY.items() if request not in NOT_ASKED
    }
    assert set(EVERY) >= NOT_ASKED


@pytest.mark.parametrize("request_kind", EVERY, ids=lambda kind: kind.NAME)
async def test_request_is_refused_as_what_it_is_about_with_its_id_in_the_hint(request_kind: type[Event]) -> None:
    """Together with the message as handled; in the history of what it would make, or of its own."""
    envelope, record = sample_envelopes()[request_kind.NAME], Record()
    assert await _give_up(record, request_kind, encode(envelope))
    ((id, refusal, context, handled),) = record.saved  # noqa: A001
    said = msgspec.json.decode(envelope.data)
    told = msgspec.to_builtins(refusal)
    about = {name: value for name, value in said.items() if name in told}
    assert about.items() <= told.items()
    # What is about nothing but the request itself: several things at once.
    assert {"requestId"} < about.keys() or (request_kind, set(about)) == (ConfigurationsSubmitted, {"requestId"})
    assert (told["code"], said["requestId"] in told["hint"]) == ("not-handled", True)
    assert id in about.values()
    assert (context.organisation, context.correlation_id) == (envelope.organisation, envelope.correlationid)
    assert (context.causation_id, handled) == (envelope.id, Handled("owner--handler", envelope.id))


async def test_request_that_cannot_be_read_as_one_is_refused_by_what_can_be_read() -> None:
    """Why it is given up may be that a field of it is none."""
    envelope, record = sample_envelopes()[BackupRequested.NAME], Record()
    said = msgspec.json.decode(envelope.data) | {"configurationVersion": "seven"}
    broken = msgspec.structs.replace(envelope, data=msgspec.Raw(msgspec.json.encode(said)))
    assert await _give_up(record, BackupRequested, encode(broken))
    assert record.saved[0][0] == said["executionId"]


@pytest.mark.parametrize("body", [b"{", b"{}"])
async def test_what_says_no_request_at_all_refuses_nothing(body: bytes) -> None:
    """Nobody knows whom to tell."""
    record = Record()
    with pytest.raises(MalformedEvent):
        await _give_up(record, BackupRequested, body)
    assert not record.saved


async def test_request_without_its_id_refuses_nothing() -> None:
    """The envelope alone does not say what was asked for."""
    envelope = msgspec.structs.replace(sample_envelopes()[BackupRequested.NAME], data=msgspec.Raw(b"{}"))
    with pytest.raises(MalformedEvent):
        await _give_up(Record(), BackupRequested, encode(envelope))


@pytest.mark.parametrize("fault", [AlreadyHandled(), PlatformError(errors.CONCURRENT_CHANGE, "it is there")], ids=repr)
async def test_request_that_was_answered_is_not_refused(fault: Exception) -> None:
    """Its fact is in the record, and only the acknowledgement was lost."""
    assert not await _give_up(Record(fault), BackupRequested, encode(sample_envelopes()[BackupRequested.NAME]))


async def test_record_that_is_away_is_told() -> None:
    """Whoever gives up calls again."""
    away = PlatformError(errors.UNAVAILABLE, "postgres is away")
    with pytest.raises(PlatformError, match="away"):
        await _give_up(Record(away), BackupRequested, encode(sample_envelopes()[BackupRequested.NAME]))


def test_fact_is_given_up_without_a_refusal() -> None:
    """Nobody waits for an answer to it."""
    table = {BackupRequested: RefusedAs(executor.BackupRefused)}
    assert Unanswered(None, "owner", BackupRun, table).giving_up(BackupFellDue) is None  # type: ignore[arg-type]
