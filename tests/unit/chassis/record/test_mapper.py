"""Between events and rows: the bytes, the order, and what is refused."""

import msgspec
import pytest
from eventsourcing.domain import OriginatorIDError, OriginatorVersionError
from eventsourcing.persistence import StoredEvent

from chassis.domain import Aggregate, Snapshotted
from chassis.postgres.database import blocking_pool
from chassis.record.mapper import EnvelopeMapper, RecordedEvent, Snapshot, SnapshotMapper, projector_of, subject_of
from chassis.record.recorder import PostgresRecorder, SnapshotRecorder
from chassis.upcasting import UPCASTERS
from contracts.envelope import Envelope, encode, encode_data
from tests.support.clock import ManualClock
from tests.support.sample_runs import CONTEXT, LongRun, LongState, OtherRun, SampleRun, tier_failed

MAPPER = EnvelopeMapper(UPCASTERS)


def _recorded(version: int, run_id: str = "a") -> RecordedEvent:
    event = tier_failed(run_id)
    envelope = Envelope(
        specversion="1.0",
        id=f"event-{version}",
        source="/wedsync-backup/executor",
        type=event.NAME,
        subject=subject_of(SampleRun.KIND, run_id),
        time=ManualClock().now(),
        datacontenttype="application/json",
        organisation=CONTEXT.organisation,
        actor=CONTEXT.actor,
        sequence=version,
        correlationid=CONTEXT.correlation_id,
        data=encode_data(event),
    )
    return RecordedEvent(run_id, envelope, event)


def test_row_of_an_event_is_its_envelope_under_its_pinned_name() -> None:
    """Nothing is added around the bytes that are published, and they are read as they were written."""
    recorded = _recorded(3)
    stored = MAPPER.to_stored_event(recorded)  # type: ignore[arg-type]
    assert stored == StoredEvent("a", 3, "executor.tier-failed.v1", encode(recorded.envelope))
    read = MAPPER.to_domain_event(stored)
    assert isinstance(read, RecordedEvent)
    assert (read.envelope, read.body, read.originator_version) == (recorded.envelope, recorded.body, 3)


def test_mapper_has_no_other_way_to_make_bytes() -> None:
    """The library's transcoder, which would write bytes of another shape, is out of use."""
    with pytest.raises(TypeError, match="str"):
        MAPPER.transcoder.encode("x")
    with pytest.raises(TypeError, match="1 bytes"):
        MAPPER.transcoder.decode(b"x")


def test_history_is_replayed_in_its_order_alone() -> None:
    """An event of another aggregate, or at another place, never changes one."""
    run = projector_of(SampleRun)(None, [_recorded(1), _recorded(2)])
    assert run is not None
    assert (run.version, run.pending, run.organisation) == (2, (), CONTEXT.organisation)
    for misplaced in (_recorded(2), _recorded(4)):
        with pytest.raises(OriginatorVersionError):
            misplaced.mutate(run)
    with pytest.raises(OriginatorIDError):
        _recorded(3, "b").mutate(run)
    assert run.version == 2


def test_history_of_another_kind_gives_nothing() -> None:
    """A kind is not what the caller says but what the subject says."""
    assert projector_of(OtherRun)(None, [_recorded(1)]) is None
    assert projector_of(SampleRun)(None, []) is None


def test_snapshot_is_stored_under_kind_and_version_of_its_state() -> None:
    """A snapshot says which build can read it, and whose it is."""
    stored = SnapshotMapper(LongRun).to_stored_event(Snapshot.take(LongRun("a").fail(5), CONTEXT.organisation))  # type: ignore[arg-type]
    assert (stored.originator_id, stored.originator_version, stored.topic) == ("a", 5, "executor.long-run.snapshot.v1")
    assert msgspec.json.decode(stored.state) == {
        "organisation": CONTEXT.organisation,
        "subject": "long-run/a",
        "state": {"failures": 5},
    }
    snapshot = SnapshotMapper(LongRun).to_domain_event(stored)
    run = projector_of(LongRun)(None, [snapshot])
    assert run is not None
    assert (run.version, run.failures, run.organisation) == (5, 5, CONTEXT.organisation)


def test_what_the_record_does_not_offer_says_so() -> None:
    """The library's subscription, and snapshots apart from their events, are refused in words."""
    recorder = PostgresRecorder(blocking_pool("", "executor", name="unopened", max_size=1), "executor")
    with pytest.raises(NotImplementedError, match="outbox"):
        recorder.subscribe()
    with pytest.raises(NotImplementedError, match="with the events"):
        SnapshotRecorder(recorder).insert_events([])


def test_aggregate_without_its_methods_says_so() -> None:
    """A subclass that forgets what it must write is found by its first test."""
    with pytest.raises(NotImplementedError):
        Aggregate("a").record(tier_failed("a"))
    unfinished: Snapshotted[LongState] = Snapshotted("a")
    with pytest.raises(NotImplementedError):
        unfinished.take_state()
    with pytest.raises(NotImplementedError):
        unfinished.put_state(LongState(1))
