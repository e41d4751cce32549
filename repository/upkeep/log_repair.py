"""Where whole copies of a log's faulty entries are.

Promise: what is found is signed, for this place, and fits the entries beside it: it is what was written there. It
comes from the versions that the store keeps of the entry, the oldest first, or from another tier whose log is a
copy of this one (each tier's log is its own, unless it was made by copying).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from repository.errors import RepositoryError
from repository.log.state import named_by_the_next
from repository.opened.open_tier import OpenTier
from repository.stored.log_entry import Entry, entry_object_key
from repository.stored.object_reading import length_max_of, read_object
from repository.upkeep import catch_up

if TYPE_CHECKING:
    from repository.opened.repository import Repository


class Copy(NamedTuple):
    """Bytes of an object, the tier that has them, and where they were in words."""

    tier: str
    source: str
    body: bytes


class FaultyEntry(NamedTuple):
    """An entry that cannot be used. `previous`: digest that it has to name; `follower`: the one by which it is named.

    Either is empty where nobody knows it. `copy`: the entry itself, from elsewhere.
    """

    number: int
    error: RepositoryError
    previous: bytes
    follower: bytes
    copy: Copy | None

    @property
    def may_hold_snapshot(self) -> bool:
        """Whether a snapshot may be lost with it. The first entry says that the log begins, and nothing else."""
        return self.number != 1


def copies_of(repository: Repository, tier: OpenTier, object_key: str) -> Iterator[Copy]:
    """Other bytes than the present ones of this key: older ones of the tier, then those of other tiers.

    They prove nothing by themselves. A source that does not answer is passed over.
    """
    with suppress(RepositoryError):
        for body in tier.store.versions(object_key, length_max=length_max_of(object_key)):
            yield Copy(tier.name, f"older versions on {tier.name}", body)
    for source in catch_up.sources_for(repository, tier):
        with suppress(RepositoryError):
            yield Copy(source.name, source.name, read_object(source.store, object_key))


class FaultyLog:
    """The faults of a tier's log, as its state has them.

    `digests`: as `LogState.digests`, completed on the way; whoever bridges an entry says there what the next one names.
    """

    def __init__(self, repository: Repository, tier: OpenTier) -> None:
        self._repository = repository
        self._tier = tier
        self._state = tier.log.state
        self.digests = list(self._state.digests)

    def entries(self) -> Iterator[FaultyEntry]:
        """Each faulty entry, in order, with its copy where there is one."""
        faulty = {fault.number for fault in self._state.faults}
        for number, error in self._state.faults:
            previous = self.digests[number - 1]
            is_followed = number < self._state.head.number and number + 1 not in faulty
            follower = self._previous_named_by(number + 1) if is_followed else b""
            copy, named = self._copy(number, previous, follower)
            self.digests[number] = named or follower
            yield FaultyEntry(number, error, previous, follower, copy)

    def _previous_named_by(self, number: int) -> bytes:
        entry = self._tier.log.entry(number)
        return entry.previous if isinstance(entry, Entry) else b""

    def _copy(self, number: int, previous: bytes, follower: bytes) -> tuple[Copy | None, bytes]:
        """The entry's copy, and the digest by which the next entry names it."""
        if previous or follower:
            for copy in copies_of(self._repository, self._tier, entry_object_key(number)):
                with suppress(RepositoryError):
                    entry = self._tier.log.decoded(copy.body, number)
                    named = named_by_the_next(entry)
                    if previous in (b"", entry.previous) and follower in (b"", named):
                        return copy, named
        return None, b""
