"""Where whole copies of a log's faulty entries are.

Promise: what is found is signed, for this place, and fits the entries beside it: it is what was written there. It
comes from the versions that the store keeps of the entry, the oldest first, from another tier whose log is a copy of
this one (each tier's log is its own, unless it was made by copying), or from another name on this tier.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from repository.errors import AccessDenied, Damaged, RepositoryError
from repository.index.pack_catalog import is_fault_of_object
from repository.log.state import LogFault, LogState, named_by_the_next
from repository.opened.open_tier import OpenTier
from repository.opened.second_copies import of_forgotten, unclaimed
from repository.stored.log_entry import (
    TIER_ID_LENGTH,
    Body,
    Entry,
    HoldPlaced,
    HoldReleased,
    KeksEnded,
    KeysDestroyed,
    PacksMarked,
    PacksSwept,
    PacksUnmarked,
    Place,
    SnapshotsForgotten,
    SnapshotsTagged,
    StreamAppended,
    SweepBegun,
    TierNamed,
    entry_number,
    entry_object_key,
)
from repository.stored.object_reading import length_max_of, read_object
from repository.upkeep.misplaced import Misplaced, misplaced

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
    knows it. `lost`: how many snapshots are lost with it and those beside it for which there is no copy, by the count
    that whole entries carry and by what a checkpoint has; None where no whole one follows. `may_weigh`: it may have
    said something that is known from nowhere else, as a hold is. `copy`: the entry itself, from elsewhere.
    """

    number: int
    error: RepositoryError
    place: Place
    follower: bytes
    lost: int | None
    may_weigh: bool
    copy: Copy | None

    @property
    def holds_nothing_lost(self) -> bool:
        """Whether no snapshot is lost if it is given up, and nothing else of consequence.

        The first entry says that the log begins, and nothing else. Where nothing whole follows, each of the faulty
        ones may have held a snapshot.
        """
        return (self.number == 1 and bool(self.follower)) or (self.lost == 0 and not self.may_weigh)

    @property
    def may_have_held(self) -> str:
        """What is given up with it, in words."""
        return "a hold or another order" if self.lost == 0 else "a snapshot"


def copies_of(repository: Repository, tier: OpenTier, object_key: str) -> Iterator[Copy]:
    """Other bytes than the present ones of this key: older ones of the tier, then those of other tiers.

    They prove nothing by themselves. A source that does not answer is passed over.
    """
    with suppress(RepositoryError):
        for body in tier.store.versions(object_key, length_max=length_max_of(object_key)):
            yield Copy(tier.name, f"older versions on {tier.name}", body)
    for source in repository.sources_for(tier):
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
        self._faulty = frozenset(fault.number for fault in self._state.faults)
        self.withheld = frozenset(each.number for each in self._state.faults if isinstance(each.error, AccessDenied))
        """Entries that may not be read: they may be whole, and nothing is said again or given up in their place."""
        self._read: dict[int, Entry | LogFault] = {}
        self.digests = list(self._state.digests)
        self._strays: set[bytes] = set()
        """Digests of entries that were set aside or have a name that is none, and may be of a history given up."""

    def refutes(self, object_key: str) -> RepositoryError | None:
        """Why a checkpoint is not to be believed; None where it is. Raises the store's errors."""
        try:
            checkpoint = self._tier.log.checkpoints.read(object_key)
            shown = self._state.digest_of(checkpoint.number)
            if not shown and checkpoint.number > self._state.head.number:
                # Another writer may have gone on since the log was read.
                entry = self._tier.log.entry(checkpoint.number)
                shown = named_by_the_next(entry) if isinstance(entry, Entry) else bytes(1)
            if shown and shown != checkpoint.digest:
                raise Damaged("checkpoint is of another history", tier=self._tier.name, object_key=object_key)
        except RepositoryError as error:
            if not is_fault_of_object(error):
                raise
            return error
        return None

    def is_of_given_up_history(self, object_key: str) -> bool:
        """Whether a checkpoint is genuine, of an id that the log had once. Raises the store's errors."""
        try:
            return self._tier.log.checkpoints.read(object_key).tier_id in self._state.past_tier_ids
        except RepositoryError as error:
            if not is_fault_of_object(error):
                raise
            return False

    @property
    def state(self) -> LogState:
        """Of the whole log, as it lies on the tier."""
        return self._state

    def only_in_checkpoint(self) -> list[str]:
        """Snapshots (ids) that the checkpoint has and the log has not: with the checkpoint they would be gone."""
        now = self._tier.log.state
        head = self._state.head.number
        lost = [each for each in now.snapshots if each not in self._state.snapshots and now.entry_of[each] <= head]
        return [each for each in lost if now.entry_of[each] not in self.withheld]

    def only_said_by_checkpoint(self, time_ns: int) -> list[Body]:
        """Entries that let the log alone say what it says with its checkpoint: those that did are lost."""
        now, whole = self._tier.log.state, self._state
        return list(restated(now, whole, time_ns)) if now.head == whole.head and not self.withheld else []

    def may_be_bridged(self, entry: FaultyEntry, *, is_asked: bool = False) -> bool:
        """Whether a bridge may take the entry's place. `is_asked`: whatever is given up with it."""
        return (is_asked or entry.holds_nothing_lost) and not self.withheld

    def entries(self) -> Iterator[FaultyEntry]:
        """Each faulty entry, in order, with its copy where there is one."""
        errors = {fault.number: fault.error for fault in self._state.faults}
        if not errors:
            return
        found = self._copies(errors)
        state = self._tier.log.state
        runs = _runs(sorted(errors.keys() - found.keys()))
        known = sorted(state.entry_of.values())
        for number, error in errors.items():
            if number in found:
                whole, entry = found[number]
                self.digests[number] = named_by_the_next(entry)
                after = self._whole(number + 1, found)
                follower = after.previous if after is not None else b""
                yield FaultyEntry(number, error, entry.place, follower, 0, False, whole)
                continue
            run = runs[number]
            before, after = self._whole(run.start - 1, found), self._whole(run.stop, found)
            count = before.place.snapshots if before is not None else 0
            lost = after.snapshots_before - count if after is not None else None
            previous = self.digests[number - 1]
            is_last = number == run.stop - 1
            follower = after.previous if after is not None and is_last else b""
            self.digests[number] = follower
            if lost and run.stop - 1 <= state.base:
                # A checkpoint behind all of them has what was live by then, and that is committed again. What else was
                # in them was forgotten since: no snapshot that should exist.
                lost = 0
            elif lost:
                # Those that a checkpoint has are committed again.
                lost -= bisect_left(known, run.stop) - bisect_left(known, run.start)
            # What a checkpoint says of the entry is said again, too.
            may_weigh = number > state.base and not (
                is_last and after is not None and not after.place.follows_consequence
            )
            is_first = number == run.start and before is not None
            place = Place(
                number,
                previous,
                self._tier_id(before, after),
                after.snapshots_before if after is not None else count,
                not is_first or (before is not None and before.is_of_consequence),
            )
            yield FaultyEntry(number, error, place, follower, lost, may_weigh, None)

    def _copies(self, errors: Mapping[int, RepositoryError]) -> dict[int, tuple[Copy, Entry]]:
        """Copies by number. One proves where the next one is: what it names, or what names it."""
        second = self._elsewhere_on_the_tier(errors)
        found: dict[int, tuple[Copy, Entry]] = {}
        has_moved = True
        while has_moved:
            has_moved = False
            missing = sorted(errors.keys() - found.keys())
            # Backwards by what the next one names, then forwards by what names the one before.
            for number in [*reversed(missing), *missing]:
                if number in found:
                    continue
                before, after = self._whole(number - 1, found), self._whole(number + 1, found)
                previous = self._state.digests[number - 1]
                if number - 1 in found and before is not None:
                    previous = named_by_the_next(before)
                follower = after.previous if after is not None else b""
                own = self._copy(number, previous, follower, self._tier_id(before, after), second.get(number, []))
                if own is not None:
                    found[number], has_moved = own, True
            if not has_moved:
                # Nothing beside it is known. Of two with one number one was never made.
                tier_id = self._state.tier_id
                for number in sorted(errors.keys() - found.keys(), reverse=True):
                    alone = [
                        each
                        for each in second.get(number, [])
                        if tier_id in (None, each[1].place.tier_id)
                        and each[1].signer >= self._state.root
                        and each[1].digest not in self._strays
                    ]
                    if (
                        len(alone) == 1
                        and not self._state.digests[number - 1]
                        and self._whole(number + 1, found) is None
                    ):
                        found[number], has_moved = alone[0], True
                        break
        return found

    def _elsewhere_on_the_tier(self, errors: Mapping[int, RepositoryError]) -> dict[int, list[tuple[Copy, Entry]]]:
        """Entries of these numbers, each once, that lie on the tier under other names than their own."""
        name = self._tier.name
        copies = unclaimed(self._tier, self._state)
        for identity in of_forgotten(self._tier):  # forgotten since: the entry is one of this log all the same
            with suppress(RepositoryError):
                copies.append(self._tier.log.second_copy(identity))
        lying = [(each.entry, f"second copy on {name}", each.body) for each in copies]
        strays = list(misplaced(self._tier, errors))
        self._strays = {each.entry.digest for each in strays if not self._is_of_this_history(each)}
        lying += [(each.entry, f"{name} had it as {each.object_key}", each.body) for each in strays]
        found: dict[int, dict[bytes, tuple[Copy, Entry]]] = {}
        for entry, source, body in lying:
            if entry.number in errors:
                found.setdefault(entry.number, {}).setdefault(entry.digest, (Copy(name, source, body), entry))
        return {number: list(copies.values()) for number, copies in found.items()}

    def _is_of_this_history(self, lying: Misplaced) -> bool:
        """Whether it is known of an entry that lies there, whatever follows it, that it is of no history that was given
        up: it has another entry's place and was not set aside, or was seen as the last one.
        """
        if 0 < (entry_number(lying.object_key) or 0) <= self._state.head.number:
            return True
        heads = [digest for _, digest in self._repository.heads_seen().values()]
        for tier in self._repository.readable_tiers():
            heads += [head.digest.hex() for head in tier.log.state.witnesses.values()]
        return lying.entry.digest.hex() in heads

    def _whole(self, number: int, found: Mapping[int, tuple[Copy, Entry]]) -> Entry | None:
        if number in found:
            return found[number][1]
        if not 0 < number <= self._state.head.number or number in self._faulty:
            return None
        if number not in self._read:
            self._read[number] = self._tier.log.entry(number)
        entry = self._read[number]
        return entry if isinstance(entry, Entry) else None

    def _tier_id(self, before: Entry | None, after: Entry | None) -> bytes:
        """The id that the log had where entries between these two are lost."""
        if before is not None:
            return before.place.tier_id
        own = self._state.tier_id or bytes(TIER_ID_LENGTH)
        return _tier_id_before(after) if after is not None else own

    def _copy(
        self, number: int, previous: bytes, follower: bytes, tier_id: bytes, second: Iterable[tuple[Copy, Entry]]
    ) -> tuple[Copy, Entry] | None:
        """The entry's copy, and what it says. What the next entry does not name has to be of this tier's own log."""

        def fits(entry: Entry) -> bool:
            # An older root's word alone is none: what the next entry does not name has to be signed by the last one.
            is_own = bool(follower) or (_tier_id_before(entry) == tier_id and entry.signer >= self._state.root)
            return is_own and previous in (b"", entry.previous) and follower in (b"", named_by_the_next(entry))

        if not (previous or follower):
            return None
        for copy in copies_of(self._repository, self._tier, entry_object_key(number)):
            with suppress(RepositoryError):
                entry = self._tier.log.decoded(copy.body, number)
                if fits(entry):
                    return copy, entry
        # What nothing follows that names it is not taken from what was set aside.
        fitting = [each for each in second if fits(each[1]) and (follower or each[1].digest not in self._strays)]
        return fitting[0] if len(fitting) == 1 else None


def restated(now: LogState, whole: LogState, time_ns: int) -> Iterator[Body]:
    """What has to be appended for the second state to say of all orders and streams what the first one says.

    Snapshots that the second lacks are not among it.
    """
    for name in now.released_holds - whole.released_holds:
        yield HoldReleased(time_ns=time_ns, name=name)
    for name, snapshots in now.holds.items():
        if whole.holds.get(name) != snapshots:
            reason = "said again: the entry was lost"
            yield HoldPlaced(time_ns=time_ns, name=name, snapshots=snapshots, reason=reason)
    for identity, tags in now.tags.items():
        if whole.tags.get(identity) != tags:
            yield SnapshotsTagged(time_ns=time_ns, snapshots=(identity,), tags=tags.tags, revision=tags.revision)
    if destroyed := now.destroyed_keys - whole.destroyed_keys:
        yield KeysDestroyed(time_ns=time_ns, key_ids=tuple(sorted(destroyed)))
    if ended := now.ended_keks - whole.ended_keks:
        yield KeksEnded(time_ns=time_ns, keks=tuple(sorted(ended)))
    for name, kept in now.streams.items():
        if whole.streams.get(name) != kept:
            yield StreamAppended(
                time_ns=time_ns,
                stream=name,
                number=kept.number,
                position=kept.position,
                digest=kept.digest.hex(),
                first=kept.first,
                locked_from=kept.locked_from,
                locked_until=kept.locked_until,
            )
    forgotten = tuple(each for each in now.forgotten if each not in whole.forgotten)
    if forgotten:
        yield SnapshotsForgotten(time_ns=time_ns, snapshots=forgotten)
    for kind, packs in (
        (PacksMarked, now.marked_packs - whole.marked_packs),
        (SweepBegun, now.swept_packs - whole.swept_packs),
        (PacksSwept, whole.swept_packs - now.swept_packs),
        (PacksUnmarked, whole.marked_packs - now.marked_packs),
    ):
        if packs:
            yield kind(time_ns=time_ns, packs=tuple(sorted(pack_id.hex() for pack_id in packs)))


def _runs(numbers: Sequence[int]) -> dict[int, range]:
    """By number, all those that follow one another without a gap around it. `numbers`: ascending."""
    runs: dict[int, range] = {}
    start = 0
    for at, number in enumerate(numbers):
        if at + 1 == len(numbers) or numbers[at + 1] != number + 1:
            run = range(numbers[start], number + 1)
            runs.update(dict.fromkeys(run, run))
            start = at + 1
    return runs


def _tier_id_before(entry: Entry) -> bytes:
    """The id that the log had before this entry."""
    return bytes.fromhex(entry.body.was) if isinstance(entry.body, TierNamed) else entry.place.tier_id
