"""Where whole copies of a log's faulty entries are.

Promise: what is found is signed, for this place, and fits the entries beside it: it is what was written there. It
comes from the versions that the store keeps of the entry, the oldest first, or from another tier whose log is a
copy of this one (each tier's log is its own, unless it was made by copying).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from repository.errors import Damaged, RepositoryError
from repository.index.pack_catalog import is_fault_of_object
from repository.log.state import LogFault, named_by_the_next
from repository.opened.open_tier import OpenTier
from repository.stored.log_entry import TIER_ID_LENGTH, Entry, Place, TierNamed, entry_object_key
from repository.stored.object_reading import length_max_of, read_object
from repository.upkeep import catch_up, manifests

if TYPE_CHECKING:
    from repository.opened.repository import Repository


class Copy(NamedTuple):
    """Bytes of an object, the tier that has them, and where they were in words."""

    tier: str
    source: str
    body: bytes


class FaultyEntry(NamedTuple):
    """An entry that cannot be used.

    `place`: where a bridge would stand. `follower`: the digest by which the next entry names it; empty where nobody
    knows it. `run_length`: how many faulty ones stand together. `lost`: how many snapshots were lost with them, by the
    count that whole entries carry; None where no whole one follows. `spare`: manifests on the tier that no entry names:
    so many snapshots can be committed again. `copy`: the entry itself, from elsewhere.
    """

    number: int
    error: RepositoryError
    place: Place
    follower: bytes
    lost: int | None
    run_length: int
    spare: int
    copy: Copy | None

    @property
    def holds_nothing_lost(self) -> bool:
        """Whether no snapshot is lost if it is given up.

        The first entry says that the log begins, and nothing else. Where nothing whole follows, each of the faulty
        ones may have held a snapshot.
        """
        if self.number == 1 and self.follower:
            return True
        return self.lost == 0 or self.spare >= (self.run_length if self.lost is None else self.lost)


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
    """The faults of a tier's log, from its first entry on.

    `digests`: as `LogState.digests`, completed on the way; whoever bridges an entry says there what the next one names.
    """

    def __init__(self, repository: Repository, tier: OpenTier) -> None:
        self._repository = repository
        self._tier = tier
        self._state = tier.log.state if not tier.log.state.base else tier.log.whole()
        self.digests = list(self._state.digests)

    def refutes(self, object_key: str) -> RepositoryError | None:
        """Why a checkpoint is not to be believed; None where it is. Raises the store's errors."""
        try:
            checkpoint = self._tier.log.checkpoints.read(object_key)
            shown = self._state.digest_of(checkpoint.number)
            if (shown and shown != checkpoint.digest) or checkpoint.number > self._state.head.number:
                raise Damaged("checkpoint is of another history", tier=self._tier.name, object_key=object_key)
        except RepositoryError as error:
            if not is_fault_of_object(error):
                raise
            return error
        return None

    def entries(self) -> Iterator[FaultyEntry]:
        """Each faulty entry, in order, with its copy where there is one."""
        if not self._state.faults:
            return
        faulty = {fault.number for fault in self._state.faults}
        tier_id: bytes | None = None
        spare = len(manifests.unclaimed(self._tier))
        for number, error in self._state.faults:
            first, last = number, number
            while first - 1 in faulty:
                first -= 1
            while last + 1 in faulty:
                last += 1
            before, after = self._tier.log.entry(first - 1), self._tier.log.entry(last + 1)
            count = before.place.snapshots if isinstance(before, Entry) and first > 1 else 0
            lost = after.snapshots_before - count if isinstance(after, Entry) else None
            previous = self.digests[number - 1]
            follower = after.previous if isinstance(after, Entry) and number == last else b""
            if number == first:
                tier_id = _tier_id_between(before if first > 1 else None, after)
            copy, entry = self._copy(number, previous, follower, tier_id)
            if entry is not None:
                tier_id = entry.place.tier_id
            self.digests[number] = named_by_the_next(entry) if entry is not None else follower
            place = Place(
                number, previous, tier_id or self._state.tier_id or bytes(TIER_ID_LENGTH), count + (lost or 0)
            )
            yield FaultyEntry(number, error, place, follower, lost, last - first + 1, spare, copy)

    def _copy(
        self, number: int, previous: bytes, follower: bytes, tier_id: bytes | None
    ) -> tuple[Copy | None, Entry | None]:
        """The entry's copy, and what it says. What the next entry does not name has to be of this tier's own log."""
        if previous or follower:
            for copy in copies_of(self._repository, self._tier, entry_object_key(number)):
                with suppress(RepositoryError):
                    entry = self._tier.log.decoded(copy.body, number)
                    is_own = tier_id in (None, _tier_id_before(entry)) or bool(follower)
                    if is_own and previous in (b"", entry.previous) and follower in (b"", named_by_the_next(entry)):
                        return copy, entry
        return None, None


def _tier_id_before(entry: Entry) -> bytes:
    """The id that the log had before this entry."""
    return bytes.fromhex(entry.body.was) if isinstance(entry.body, TierNamed) else entry.place.tier_id


def _tier_id_between(before: Entry | LogFault | None, after: Entry | LogFault) -> bytes | None:
    """The id that the log had where entries between these two are lost; None where no whole one tells it."""
    if isinstance(before, Entry):
        return before.place.tier_id
    return _tier_id_before(after) if isinstance(after, Entry) else None
