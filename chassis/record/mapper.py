"""Between the contracts' events and what `eventsourcing` stores: the stored bytes are the envelope's bytes.

The library wants an originator, a version and a way to change an aggregate around each event; the generic
`RecordedEvent` gives it these and carries the event itself as its body. Nothing is added to the bytes: what is
in the column `state` is published as it stands.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self, TypeVar, cast

import msgspec
from eventsourcing.domain import DomainEventProtocol, OriginatorIDError, OriginatorVersionError
from eventsourcing.persistence import AggregateRecorder, EventStore, Mapper, StoredEvent, Transcoder

from chassis.domain import Aggregate, Snapshotted
from chassis.upcasting import Upcasters
from contracts.envelope import Envelope, decode, encode
from contracts.errors import EVENT_TOO_LARGE, INVALID_FIELD, PlatformError
from contracts.event import Event
from contracts.reading import decoder_of

A = TypeVar("A", bound=Aggregate)

EVENT_BYTES_MAX = 256 * 1024
"""The envelope included. What is larger would fill a consumer's memory, and above 1 MB NATS takes it from nobody."""


_DOUBTFUL = re.compile(rb"\\u0000|[0-9]{19}")
"""What a value that no database takes looks like; not everything that looks so is one."""
_INTEGERS = range(-(2**63), 2**63)


def _check_values(name: str, value: object, path: str) -> None:
    """Refuse what could be recorded and published, and then be shown by nobody: a NUL, an integer beyond 64 bits."""
    match value:
        case dict():
            for key, each in value.items():
                _check_values(name, key, path)
                _check_values(name, each, f"{path}.{key}" if path else key)
        case list():
            for number, each in enumerate(value):
                _check_values(name, each, f"{path}[{number}]")
        case str() if "\0" in value:
            raise _refused(name, "a NUL character", path)
        case int() if value not in _INTEGERS:
            raise _refused(name, "an integer of more than 64 bits", path)


def _refused(name: str, what: str, path: str) -> PlatformError:
    return PlatformError(
        INVALID_FIELD,
        f"a {name} with {what} in {path} is not recorded: no database takes it",
        field=path,
        hint=f"Leave {what} out of {path}.",
    )


def subject_of(kind: str, aggregate_id: str) -> str:
    """The `subject` of an envelope: `<noun>/<id>`, for example `backup-run/0199a0f2-…`."""
    return f"{kind.partition('.')[2]}/{aggregate_id}"


class RecordedEvent:
    """An event at its place in an aggregate's history, with the envelope that is stored and published."""

    __slots__ = ("body", "envelope", "originator_id", "originator_version")

    def __init__(self, originator_id: str, envelope: Envelope, body: Event) -> None:
        self.originator_id = originator_id
        self.originator_version = envelope.sequence
        self.envelope = envelope
        self.body = body

    @property
    def subject(self) -> str:
        """Kind and id of the aggregate."""
        return self.envelope.subject

    @property
    def organisation(self) -> str:
        """Whose the aggregate is."""
        return self.envelope.organisation

    def mutate(self, aggregate: A) -> A:
        """Bring an aggregate forward by this event."""
        if aggregate.id != self.originator_id:
            raise OriginatorIDError(self.originator_id, aggregate.id)
        if aggregate.version + 1 != self.originator_version:
            raise OriginatorVersionError(self.originator_version, aggregate.version + 1)
        aggregate.advance(self.body)
        return aggregate


class _NoTranscoder(Transcoder):
    """The library asks for one; bytes are made by `contracts.envelope` alone."""

    def encode(self, obj: Any) -> bytes:
        raise TypeError(f"{type(obj).__name__} is not stored by a transcoder")

    def decode(self, data: bytes) -> Any:
        raise TypeError(f"{len(data)} bytes are not read by a transcoder")


class EnvelopeMapper(Mapper[str]):
    """Stores envelopes byte for byte; reads old versions as their newest."""

    def __init__(self, upcasters: Upcasters) -> None:
        super().__init__(_NoTranscoder())
        self._upcasters = upcasters

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> StoredEvent:
        """The row of an event: topic is its pinned name, state its envelope.

        Raises PlatformError: EVENT_TOO_LARGE, or INVALID_FIELD for a value that no database takes.
        """
        envelope = cast("RecordedEvent", domain_event).envelope
        state = encode(envelope)
        if len(state) > EVENT_BYTES_MAX:
            raise PlatformError(
                EVENT_TOO_LARGE,
                f"a {envelope.type} of {len(state)} bytes is larger than an event may be",
                type=envelope.type,
                size_bytes=len(state),
                limit_bytes=EVENT_BYTES_MAX,
            )
        if _DOUBTFUL.search(state) is not None:
            _check_values(envelope.type, msgspec.json.decode(state), "")
        return StoredEvent(domain_event.originator_id, envelope.sequence, envelope.type, state)

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[str]:
        """The event of a row. Raises UnknownEventType or MalformedEvent."""
        envelope = decode(stored_event.state)
        return RecordedEvent(str(stored_event.originator_id), envelope, self._upcasters.read(envelope))


class _StoredSnapshot(msgspec.Struct, frozen=True):
    organisation: str
    subject: str
    state: msgspec.Raw


_STORED_SNAPSHOT = msgspec.json.Decoder(_StoredSnapshot)


class Snapshot:
    """The state of an aggregate at a version."""

    __slots__ = ("organisation", "originator_id", "originator_version", "state", "subject")

    def __init__(
        self, originator_id: str, version: int, organisation: str, subject: str, state: msgspec.Struct
    ) -> None:
        self.originator_id = originator_id
        self.originator_version = version
        self.organisation = organisation
        self.subject = subject
        self.state = state

    @classmethod
    def take(cls, aggregate: "Snapshotted[Any]", organisation: str) -> Self:
        """The state of an aggregate now."""
        subject = subject_of(aggregate.KIND, aggregate.id)
        return cls(aggregate.id, aggregate.version, organisation, subject, aggregate.take_state())

    def mutate(self, aggregate: "Snapshotted[Any]") -> "Snapshotted[Any]":
        """Stand an empty aggregate at this version."""
        aggregate.put_state(self.state)
        aggregate.version = self.originator_version
        return aggregate


class SnapshotMapper(Mapper[str]):
    """Stores the snapshots of one kind of aggregate, in the version of its state that this build knows."""

    def __init__(self, cls: "type[Snapshotted[Any]]") -> None:
        super().__init__(_NoTranscoder())
        self.topic = f"{cls.KIND}.snapshot.v{cls.SNAPSHOT_VERSION}"
        self._state_decoder = decoder_of(cls.STATE)

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> StoredEvent:
        """The row of a snapshot."""
        snapshot = cast("Snapshot", domain_event)
        state = msgspec.Raw(msgspec.json.encode(snapshot.state))
        stored = msgspec.json.encode(_StoredSnapshot(snapshot.organisation, snapshot.subject, state))
        return StoredEvent(snapshot.originator_id, snapshot.originator_version, self.topic, stored)

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[str]:
        """The snapshot of a row. Raises msgspec.MsgspecError."""
        stored = _STORED_SNAPSHOT.decode(stored_event.state)
        return Snapshot(
            str(stored_event.originator_id),
            stored_event.originator_version,
            stored.organisation,
            stored.subject,
            self._state_decoder.decode(stored.state),
        )


class SnapshotStore(EventStore[str]):
    """Gives the snapshots that this build can read, and passes over all others: the history is there."""

    def __init__(self, mapper: SnapshotMapper, recorder: AggregateRecorder) -> None:
        super().__init__(mapper, recorder)
        self._topic = mapper.topic

    def get(
        self,
        originator_id: str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Iterator[DomainEventProtocol[str]]:
        """The readable snapshots of an aggregate."""
        for stored in self.recorder.select_events(originator_id, gt=gt, lte=lte, desc=desc, limit=limit):
            if stored.topic == self._topic:
                try:
                    yield self.mapper.to_domain_event(stored)
                except msgspec.MsgspecError:
                    # The state's fields were changed without a new version: a copy is not worth a failure.
                    continue


def projector_of(cls: type[A]) -> Callable[[A | None, Iterable[Any]], A | None]:
    """How a repository builds aggregates of one class, from a snapshot perhaps, and events; None of another kind."""

    def project(aggregate: A | None, events: Iterable[Any]) -> A | None:
        for event in events:
            if aggregate is None:
                if event.subject != subject_of(cls.KIND, event.originator_id):
                    return None
                aggregate = cls(event.originator_id)
                aggregate.organisation = event.organisation
            aggregate = event.mutate(aggregate)
        return aggregate

    return project
