"""What a newer build writes within a version is read; what people send and what is published fits exactly."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from chassis.bus.broker import EnvelopeCodec
from chassis.upcasting import UPCASTERS, read_event
from contracts.configuration import BackupType, Tier
from contracts.envelope import Envelope, MalformedEvent, decode, encode, encode_data
from contracts.event import Event
from contracts.executor_events import BackupAccepted, BackupCompleted, TierFailed
from contracts.reading import UNKNOWN, read_json
from contracts.samples import sample_envelopes
from contracts.streams import ConsumerSpec
from contracts.subjects import event_subject, events_named


def _sample(name: str, **changes: Any) -> bytes:
    body = json.loads(encode(sample_envelopes()[name]))
    body["data"] |= changes
    return json.dumps(body).encode()


def test_fields_of_a_newer_build_are_left_out() -> None:
    """An optional field that was added to an event, to a value in it or to the envelope costs nothing."""
    body = json.loads(_sample(BackupCompleted.NAME, note="new", more={"a": [1]}))
    body["data"]["totals"]["skipped"] = 3
    body["data"]["totals"]["byClass"][0]["ratio"] = 0.5
    body["partition"] = "new attribute"
    read = read_event(decode(json.dumps(body).encode()))
    assert read == read_event(sample_envelopes()[BackupCompleted.NAME])


def test_unknown_member_of_an_enum_is_unknown() -> None:
    """A member that was added is met as `unknown`, which equals none that there is."""
    read = read_event(decode(_sample(BackupAccepted.NAME, tiers=["local", "moon"], executionType="eclipse")))
    assert isinstance(read, BackupAccepted)
    assert read.tiers[0] is Tier.LOCAL
    assert read.tiers[1] == UNKNOWN
    assert read.execution_type == UNKNOWN
    assert read.tiers[1] not in list(Tier)
    assert UNKNOWN not in {each.value for each in Tier}


@pytest.mark.parametrize("changes", [{"tier": 5}, {"tier": None}, {"code": None}, {"code": 7}])
def test_what_does_not_fit_otherwise_is_malformed(changes: dict[str, Any]) -> None:
    """Tolerance ends where a known field has another type."""
    with pytest.raises(MalformedEvent):
        read_event(decode(_sample(TierFailed.NAME, **changes)))


def test_missing_fields_are_malformed_with_unknown_ones_beside_them() -> None:
    """A field that was renamed is no addition."""
    body = json.loads(_sample(TierFailed.NAME, reason="x"))
    del body["data"]["code"]
    with pytest.raises(MalformedEvent, match="code"):
        read_event(decode(json.dumps(body).encode()))
    del body["id"]
    with pytest.raises(MalformedEvent, match="envelope"):
        decode(json.dumps(body).encode())


def test_others_than_readers_stay_strict() -> None:
    """A body that names a member that there is not is refused, `unknown` too, also after a message was read so."""
    read_event(decode(_sample(TierFailed.NAME, tier="moon")))
    for name in ("moon", UNKNOWN):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(json.dumps(name), type=Tier)
        with pytest.raises(ValueError, match=name):
            BackupType(name)


def test_unknown_is_never_published() -> None:
    """Who repeats what it has not understood is stopped before it is recorded; a text may well say so."""
    read = read_event(decode(_sample(TierFailed.NAME, tier="moon")))
    with pytest.raises(MalformedEvent, match="not published"):
        encode_data(read)
    assert encode_data(TierFailed(execution_id="a", tier=Tier.LOCAL, code=UNKNOWN))


def test_stored_views_are_read_as_tolerantly() -> None:
    """What was written down as `unknown` is read as such."""
    stored = msgspec.json.Decoder(dict[Tier, int])
    assert read_json(b'{"local": 1}', stored) == {Tier.LOCAL: 1}
    assert list(read_json(b'{"unknown": 2}', stored).values()) == [2]


class _SampleKept(Event, frozen=True, kw_only=True):
    """The newest version: the objects are counted."""

    NAME = "executor.sample-kept.v2"

    execution_id: str
    objects: int


async def test_handlers_read_old_versions_as_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bus hands a handler what the record would read, with what a newer build has added left out."""
    first = "executor.sample-kept.v1"
    monkeypatch.setattr(UPCASTERS, "_steps", {first: (_SampleKept.NAME, lambda fields: {**fields, "objects": 0})})
    monkeypatch.setattr(UPCASTERS, "_find_class", {_SampleKept.NAME: _SampleKept}.get)
    envelope = Envelope(
        specversion="1.0",
        id="1",
        source="/wedsync-backup/executor",
        type=first,
        subject="sample/1",
        time=datetime(2027, 6, 12, tzinfo=UTC),
        datacontenttype="application/json",
        organisation="o",
        actor="a",
        sequence=1,
        correlationid="c",
        data=msgspec.Raw(b'{"executionId":"r","note":"new"}'),
    )
    spec = ConsumerSpec(service="executor", handler="h", stream="S", subjects=("x",))
    delivery = SimpleNamespace(metadata=SimpleNamespace(consumer="executor--h", num_delivered=1))
    received = await EnvelopeCodec(lambda _: spec).decode(SimpleNamespace(body=encode(envelope), raw_message=delivery))
    assert received.event == _SampleKept(execution_id="r", objects=0)


def test_filters_name_an_event_in_every_version() -> None:
    """A consumer gets the next version on the day it is first published, and old ones by the same filter."""
    for name, envelope in sample_envelopes().items():
        stem = name.rpartition(".")[0]
        assert (
            events_named(name)
            == events_named(stem)
            == f"{event_subject(envelope).rpartition('.')[0]}.*".replace(envelope.organisation, "*")
        )
