"""From stored messages to events: old versions are read as the newest, what cannot be applied costs itself alone."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from chassis.outbox.chained import LOG_HEADER, POSITION_HEADER
from chassis.reading.stored import (
    LAST_ID_HEADER,
    LAST_SEQUENCE_HEADER,
    START,
    StoredMessage,
    position_of,
    stored_message,
)
from chassis.reading.stream_reader import Found
from chassis.upcasting import UPCASTERS
from contracts.configuration import Tier
from contracts.envelope import Envelope, encode
from contracts.executor_events import BackupAccepted, TierFailed
from contracts.gateway_events import AccessDenied
from gateway.monitoring import projection as facts
from gateway.projections import intake
from gateway.projections.projection import catalogue, projected, with_needs

TIME = datetime(2027, 6, 12, tzinfo=UTC)
RELAYED = {"Nats-Sequence": "7", LOG_HEADER: "log", POSITION_HEADER: "5", "Nats-Msg-Id": "log:5"}


def _body(name: str, data: bytes) -> bytes:
    return encode(
        Envelope(
            specversion="1.0",
            id="event",
            source="/wedsync-backup/executor",
            type=name,
            subject="backup-run/run",
            time=TIME,
            datacontenttype="application/json",
            organisation="acme",
            actor="service:executor",
            sequence=1,
            correlationid="c",
            data=msgspec.Raw(data),
        )
    )


def _taken(*bodies: bytes, stored_at: str = "") -> intake.Intake:
    messages = [
        StoredMessage(number, body, "log", number, stored_at=stored_at) for number, body in enumerate(bodies, 1)
    ]
    return intake.taken_in("BACKUP_EXECUTOR", Found(messages, [], START))


@pytest.mark.parametrize(
    ("arrived", "taken_for"),
    [
        ("2020-01-02T03:04:05.12345678Z", datetime(2020, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2999-01-02T03:04:05Z", TIME),
        ("", TIME),
    ],
)
def test_event_is_no_younger_than_its_message(arrived: str, taken_for: datetime) -> None:
    """A clock that was ahead makes no backup look good for as long; one that was right is believed."""
    (applied,) = _taken(
        _body(TierFailed.NAME, b'{"executionId":"run","tier":"local","code":"x"}'), stored_at=arrived
    ).events
    assert (applied.envelope.time, applied.position) == (taken_for, 1)


def test_old_version_reaches_the_projections_as_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no unknown type and not dropped: views and sockets see what the record would read."""
    first = "executor.tier-failed.v0"

    def name_the_code(fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "code": "tier-full"}

    monkeypatch.setattr(UPCASTERS, "_steps", {first: (TierFailed.NAME, name_the_code)})
    taken = _taken(_body(first, b'{"executionId":"run","tier":"local","note":"new"}'))
    (applied,) = taken.events
    assert applied.event == TierFailed(execution_id="run", tier=Tier.LOCAL, code="tier-full")
    assert not taken.passed
    fact = facts._fact(3, applied, {"run": "configuration"})
    assert (fact.type, fact.configuration_id) == (TierFailed.NAME, "configuration")
    assert msgspec.json.decode(fact.fields)["code"] == "tier-full"


def test_what_cannot_be_applied_is_passed_over_with_its_reason() -> None:
    """Malformed, unknown, and an event that no read model is made from, which is not missed."""
    denied = b'{"code":"forbidden","route":"r","method":"GET"}'
    taken = _taken(
        b"{}",
        _body("executor.tier-failed.v9", b"{}"),
        _body(TierFailed.NAME, b"{}"),
        _body(AccessDenied.NAME, denied),
        _body(TierFailed.NAME, b'{"executionId":"run","tier":"moon","code":"tier-full"}'),
    )
    assert [(each.reason, each.type) for each in taken.passed] == [
        ("malformed", ""),
        ("unknown", "executor.tier-failed.v9"),
        ("malformed", TierFailed.NAME),
        ("unknown-member", "Tier:moon"),
    ]
    assert [applied.event.NAME for applied in taken.events] == [TierFailed.NAME]
    assert not intake.is_known_now(taken.passed[1])
    assert intake.is_known_now(msgspec.structs.replace(taken.passed[1], type=TierFailed.NAME))


@pytest.mark.parametrize("chain", [{LAST_ID_HEADER: "log:4"}, {LAST_SEQUENCE_HEADER: "6"}])
def test_relays_message_is_known_by_all_of_its_headers(chain: dict[str, str]) -> None:
    """A name, a place, an identity made of both, and what comes before; without one of them it is a stray."""
    message = stored_message({**RELAYED, **chain}, b"")
    assert (message.sequence, message.log, message.position) == (7, "log", 5)
    assert message.before == chain.get(LAST_ID_HEADER)
    for missing in (LOG_HEADER, POSITION_HEADER, "Nats-Msg-Id", *chain):
        others = {name: value for name, value in {**RELAYED, **chain}.items() if name != missing}
        assert stored_message(others, b"").log == "", missing


@pytest.mark.parametrize("text", ["", "-1", "0", "x", "1e3", "²", "9" * 30])
def test_position_that_is_no_number_is_none(text: str) -> None:
    """Nothing that a header says keeps the reader from its work."""
    assert position_of({POSITION_HEADER: text}) == 0
    assert stored_message({**RELAYED, POSITION_HEADER: text, LAST_SEQUENCE_HEADER: "6"}, b"").log == ""


def test_projections_are_found_and_ordered_by_what_they_need() -> None:
    """A module with a class is enough, and facts come after the runs and recoveries that they are about."""
    assert {"requests", "configurations", "executions", "facts"} <= set(catalogue())
    assert with_needs(["facts"]) == ["executions", "recovery-operations", "facts"]
    assert BackupAccepted in projected()
    assert AccessDenied not in projected()


def test_member_that_this_build_does_not_know_is_remembered() -> None:
    """The event is applied with `unknown`, and the build that knows the member makes the read models anew."""
    data = (
        b'{"requestId":"r","executionId":"run","configurationId":"c","configurationVersion":1,'
        b'"executionType":"manual","tiers":["local","tape","glacier","a\\u0000b"]}'
    )
    taken = _taken(_body(BackupAccepted.NAME, data))
    assert len(taken.events) == 1
    assert [(each.reason, each.type) for each in taken.passed] == [
        (intake.MEMBER, ""),  # no word that a table could take
        (intake.MEMBER, "Tier:glacier"),
        (intake.MEMBER, "Tier:tape"),
    ]
    assert not any(intake.is_known_now(each) for each in taken.passed)
    assert intake.is_known_now(msgspec.structs.replace(taken.passed[1], type="Tier:local"))
    told = intake.complaint(taken.passed, intake.MEMBER)
    assert told is not None
    assert "in part" in told.message
