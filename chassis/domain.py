"""The base of every aggregate: a consistency boundary whose state is what its events say. Pure.

A public method guards and may refuse; it then calls `record`, which queues the event and applies it.
`apply` runs again on every replay: one `match`, no guard, no clock, no random numbers, and it never
raises. What was recorded becomes history when `chassis.record.eventstore` saves it, and not before.

The class fits the protocols of the `eventsourcing` library (`MutableAggregateProtocol`), whose
recorder, mapper and repository store and load it. It is not a subclass of that library's aggregate,
which derives event classes from method signatures: their defaults are lost, and old events with them.
"""

from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from contracts.event import Event
from contracts.refusal import Refusal

S = TypeVar("S", bound=msgspec.Struct)


class Aggregate:
    """One thing with an identity and a history; empty, at version 0, until something is recorded.

    `KIND` is pinned text, `<owner>.<noun>`, for example `executor.backup-run`: the subject of its events
    begins with the noun, so it never changes. A subclass sets its fields in `__init__(self, id)`.
    """

    KIND: ClassVar[str] = ""

    def __init__(self, id: str) -> None:  # noqa: A002  # `eventsourcing` names it so, and so do the routes
        self._id = id
        self._version = 0
        self._pending: list[Event] = []
        self._drafts: tuple[Any, ...] = ()
        # Whose it is: set by the event store when it has history, and never changed after.
        self.organisation: str | None = None
        self._has_begun = False

    @property
    def id(self) -> str:
        """Its identity, for good."""
        return self._id

    @property
    def version(self) -> int:
        """How many events it has, those that are not saved yet included."""
        return self._version

    @version.setter
    def version(self, version: int) -> None:
        # For the event store alone: it stands an aggregate at the version of a snapshot.
        self._version, self._has_begun = version, version > 0

    @property
    def has_begun(self) -> bool:
        """Whether there is such a thing: of one that has only refused what was asked for there is no more than that."""
        return self._has_begun

    @property
    def saved_version(self) -> int:
        """How many of its events are history."""
        return self._version - len(self._pending)

    @property
    def pending(self) -> tuple[Event, ...]:
        """What was recorded and is not history yet."""
        return tuple(self._pending)

    def record(self, event: Event) -> None:
        """Something is now true: queue it for the record, and apply it."""
        if not event.NAME:
            raise TypeError(f"{type(event).__name__} has no pinned name, so its history could not be read again")
        self._pending.append(event)
        self.advance(event)

    def apply(self, event: Event) -> None:
        """Change the state as an event says: one `match` in the subclass, which ignores what it does not know."""
        raise NotImplementedError

    def advance(self, event: Event) -> None:
        """Apply an event of the history and count it. For the event store; everybody else calls `record`."""
        self.apply(event)
        self._version += 1
        self._has_begun = self._has_begun or not isinstance(event, Refusal)

    @property
    def drafts(self) -> tuple[Any, ...]:
        """What the first of the pending events were made into by a save of which nobody knows whether it was made."""
        return self._drafts

    def keep_drafts(self, drafts: tuple[Any, ...]) -> None:
        """A save is in doubt: its events keep their identities until it is known. For the event store."""
        self._drafts = drafts

    def settle(self, organisation: str, count: int | None = None) -> None:
        """What was pending, or the first `count` of it, is history of an organisation now. For the event store."""
        self._drafts = ()
        if self._pending and count != 0:
            del self._pending[:count]
            self.organisation = organisation

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # it changes, so it can be no key

    def __repr__(self) -> str:
        return f"<{self.KIND} {self._id} at version {self._version}>"


class Snapshotted(Aggregate, Generic[S]):
    """An aggregate with so long a history that its state is kept beside it, every `SNAPSHOT_EVERY` events.

    A snapshot is a copy that may be dropped at any time. `STATE` is the Struct that it is stored as;
    `SNAPSHOT_VERSION` is raised whenever the fields of `STATE` or their meaning change: older snapshots are
    then passed over and the history is read instead.
    """

    STATE: ClassVar[type[msgspec.Struct]]
    SNAPSHOT_EVERY: ClassVar[int] = 100
    SNAPSHOT_VERSION: ClassVar[int] = 1

    def take_state(self) -> S:
        """The whole state, as a Struct of the type `STATE`."""
        raise NotImplementedError

    def put_state(self, state: S) -> None:
        """Take over a state that `take_state` gave."""
        raise NotImplementedError
