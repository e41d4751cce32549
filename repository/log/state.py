"""What the entries of one log add up to.

Promise: `LogState` is a pure function of the entries in their order. A faulty entry (missing, damaged, or of
another history) is named and left out; the ones behind it still count, since each is signed for its place,
but nothing is appended to such a log before it is repaired.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, NamedTuple

from repository.errors import Damaged, RepositoryError
from repository.keys.key_ring import NO_RANK, Rank
from repository.log.shared_map import SharedMap
from repository.stored.checkpoint import KeptStream, KeptTags
from repository.stored.log_entry import (
    Begun,
    Bridged,
    CheckpointMade,
    Entry,
    HistoryAccepted,
    HoldPlaced,
    HoldReleased,
    IndexChanged,
    KeksEnded,
    KeysChanged,
    KeysDestroyed,
    PacksMarked,
    PacksSwept,
    PacksUnmarked,
    RootChanged,
    Skipped,
    SnapshotCommitted,
    SnapshotsForgotten,
    SnapshotsTagged,
    StreamAppended,
    SweepBegun,
    TierNamed,
)
from repository.stored.snapshot import Snapshot, SnapshotManifest, decode_manifest, snapshot_id, streams_of

REPLACED_MAX: Final = 16_384
"""Names of replaced segments that a state remembers, the last ones: 512 KiB of a checkpoint. Each is a hint: whether
a prune may delete an object, and whether another tier's segment is news."""


FORGOTTEN_MAX: Final = 131_072
"""Forgotten snapshots that a state remembers, the last ones: some MiB of a checkpoint, which each opening reads. A tier
that was away for more of them shows what it has of the older ones again."""


class Head(NamedTuple):
    """The last entry of a log: its number (0: none) and the SHA-256 of its bytes."""

    number: int
    digest: bytes


class LogFault(NamedTuple):
    """An entry that cannot be used, and why."""

    number: int
    error: RepositoryError


@dataclass
class LogState:
    """The state after all entries that were read.

    `genesis`: digest that entry 1 names as its previous one (of the config's bytes). `base`: number of the entry that
    the state was taken from a checkpoint of; 0: of none. `digests[n - base]`: what entry n + 1 names as its previous
    one, so the digest of entry n (of the genesis for 0); empty where entry n is a fault. `bridged`: numbers of lost
    entries that a bridge stands for. `tier_id`: names this tier among all, and survives its being restored to an older
    state. `snapshot_count`: how many were committed ever, as the last entry's header says. `snapshots`: by id (hex), in
    the order of their entries. `by_token`: run token → snapshot id, of forgotten ones, too (of several under one token
    the first that is live). `forgotten`: id → run token, the last `FORGOTTEN_MAX` in their order. `twins`: run token →
    ids, where two writers, each on a tier of its own, committed under one token. `locked_until`: by snapshot id,
    seconds of Unix time. `segments`: names (hex) of the live index segments, with the number of the entry that brought
    them. `replaced_segments`: the last `REPLACED_MAX` that left the index. `holds`: by name, the snapshots that are
    kept (none named: all); `released_holds`: the names of those that are over. `streams`: by name, up to where this
    tier is known to have each. `let_go`: packs that were deleted, with the number of the entry that says so, as far as
    it was read since a checkpoint. `tags`: by snapshot id, where they were changed. `entry_of`: snapshot id → its
    entry. `checkpoint`: the newest that an entry names. `past_tier_ids`: that the log had since `base`. `root`: which
    is in force after the last entry. `ends_in_consequence`: whether the last entry is of consequence, as far as is
    known.
    """

    repository_id: bytes
    genesis: bytes
    root: Rank = NO_RANK
    base: int = 0
    digests: list[bytes] = field(default_factory=list)
    tier_id: bytes | None = None
    snapshot_count: int = 0
    snapshots: SharedMap[str, Snapshot] = field(default_factory=SharedMap)
    by_token: SharedMap[str, str] = field(default_factory=SharedMap)
    forgotten: SharedMap[str, str] = field(default_factory=SharedMap)
    twins: dict[str, tuple[str, ...]] = field(default_factory=dict)
    entry_of: SharedMap[str, int] = field(default_factory=SharedMap)
    locked_until: SharedMap[str, int] = field(default_factory=SharedMap)
    segments: dict[str, int] = field(default_factory=dict)
    replaced_segments: SharedMap[str, None] = field(default_factory=SharedMap)
    marked_packs: set[bytes] = field(default_factory=set)
    swept_packs: set[bytes] = field(default_factory=set)
    let_go: SharedMap[bytes, int] = field(default_factory=SharedMap, compare=False)
    key_objects: dict[str, str] = field(default_factory=dict)
    destroyed_keys: set[str] = field(default_factory=set)
    ended_keks: set[str] = field(default_factory=set)
    holds: dict[str, tuple[str, ...]] = field(default_factory=dict)
    released_holds: set[str] = field(default_factory=set)
    witnesses: dict[bytes, Head] = field(default_factory=dict)
    faults: list[LogFault] = field(default_factory=list)
    bridged: set[int] = field(default_factory=set)
    streams: dict[str, KeptStream] = field(default_factory=dict)
    tags: dict[str, KeptTags] = field(default_factory=dict)
    checkpoint: CheckpointMade | None = None
    ends_in_consequence: bool = field(default=False, compare=False)
    past_tier_ids: frozenset[bytes] = frozenset()
    _is_linked: bool = True

    def __post_init__(self) -> None:
        if not self.digests:
            self.digests.append(self.genesis)

    @property
    def head(self) -> Head:
        """The last entry; number 0 and the genesis where there is none."""
        return Head(self.base + len(self.digests) - 1, self.digests[-1])

    @property
    def newest_checkpoint(self) -> int:
        """Number of the entry that the checkpoint named last is of; 0 where none was named."""
        return self.checkpoint.number if self.checkpoint is not None else 0

    def digest_of(self, number: int) -> bytes:
        """What entry `number + 1` names as its previous one; empty where that is not known here."""
        place = number - self.base
        return self.digests[place] if 0 <= place < len(self.digests) else b""

    def with_entries(self, entries: Iterable[Entry | LogFault]) -> LogState:
        """The state after these entries too; this one stays as it is. What does not change is shared."""
        state = replace(
            self,
            digests=list(self.digests),
            snapshots=self.snapshots.fork(),
            by_token=self.by_token.fork(),
            forgotten=self.forgotten.fork(),
            twins=dict(self.twins),
            entry_of=self.entry_of.fork(),
            locked_until=self.locked_until.fork(),
            segments=dict(self.segments),
            replaced_segments=self.replaced_segments.fork(),
            marked_packs=set(self.marked_packs),
            swept_packs=set(self.swept_packs),
            let_go=self.let_go.fork(),
            key_objects=dict(self.key_objects),
            destroyed_keys=set(self.destroyed_keys),
            ended_keks=set(self.ended_keks),
            holds=dict(self.holds),
            released_holds=set(self.released_holds),
            witnesses=dict(self.witnesses),
            faults=list(self.faults),
            bridged=set(self.bridged),
            streams=dict(self.streams),
            tags=dict(self.tags),
        )
        for entry in entries:
            if isinstance(entry, LogFault):
                state.add_fault(entry.number, entry.error)
            else:
                state.add(entry)
        return state

    def without_old_digests(self) -> LogState:
        """The same state, which remembers of the entries before the head nothing but what they added up to."""
        return self if self.faults else replace(self, base=self.head.number, digests=self.digests[-1:])

    def add(self, entry: Entry) -> None:
        """Take entry `head.number + 1`; one that does not continue this history becomes a fault."""
        try:
            if self._is_linked and entry.previous != self.digests[-1]:
                raise Damaged("log entry does not continue this history", number=entry.number)
            if isinstance(entry.body, Begun) and entry.number != 1:
                raise Damaged("log begins twice", number=entry.number)
            if entry.signer != self.root and not self._may_sign(entry):
                raise Damaged("log entry is signed by a root that is not in force", number=entry.number)
            if entry.place.tier_id != self.tier_id is not None and not self._may_be_renamed(entry):
                raise Damaged("log entry is of another tier's log", number=entry.number)
            self._apply(entry)
        except Damaged as error:
            self.add_fault(entry.number, error)
            return
        self.digests.append(named_by_the_next(entry))
        self._is_linked = True
        if self.tier_id not in (None, entry.place.tier_id):
            self.past_tier_ids |= {self.tier_id}
        self.tier_id = entry.place.tier_id
        if not isinstance(entry.body, Bridged):
            self.root = entry.signer
        self.snapshot_count = entry.place.snapshots
        self.ends_in_consequence = entry.is_of_consequence

    def _may_be_renamed(self, entry: Entry) -> bool:
        """Whether this log may have another tier id from this entry on: it says so, or the one that said so is lost.

        An id that this log bears witness to is another tier's.
        """
        is_lost = not self._is_linked or self.head.number in self.bridged
        return isinstance(entry.body, TierNamed) or (is_lost and entry.place.tier_id not in self.witnesses)

    def _may_sign(self, entry: Entry) -> bool:
        """Whether a later root may have signed this: it says that it is one, or the entry that said so is lost.

        One that begins the log was in force before. A bridge is made at any time.
        """
        is_lost = not self._is_linked or self.head.number in self.bridged
        return entry.signer > self.root and (
            is_lost or entry.number == 1 or isinstance(entry.body, RootChanged | Bridged)
        )

    def add_fault(self, number: int, error: RepositoryError) -> None:
        """Entry `head.number + 1` cannot be used. What lies there instead says nothing of this history."""
        self.faults.append(LogFault(number, error))
        self.digests.append(b"")
        self._is_linked = False

    def _apply(self, entry: Entry) -> None:
        match entry.body:
            case SnapshotCommitted() as committed:
                self._apply_snapshot(committed, entry.number)
            case IndexChanged(added=added, replaced=replaced):
                for name in replaced:
                    self.segments.pop(name, None)
                self.replaced_segments.update(dict.fromkeys(replaced))
                self.segments.update(dict.fromkeys(added, entry.number))
                for name in added:
                    self.replaced_segments.pop(name, None)
                beyond = len(self.replaced_segments) - REPLACED_MAX
                for name in list(islice(self.replaced_segments, max(beyond, 0))):
                    del self.replaced_segments[name]
            case PacksMarked() | PacksUnmarked() | SweepBegun() | PacksSwept():
                self._apply_to_packs(entry.body, entry.number)
            case SnapshotsForgotten(snapshots=identities):
                for identity in identities:
                    self._forget(identity)
            case HoldPlaced(name=name, snapshots=identities):
                self.holds[name] = identities
                self.released_holds.discard(name)
            case HoldReleased(name=name):
                self.holds.pop(name, None)
                self.released_holds.add(name)
            case SnapshotsTagged(snapshots=identities, tags=tags, revision=revision):
                kept = KeptTags(revision, tags)
                self.tags.update({each: max(kept, self.tags.get(each, kept)) for each in identities})
            case KeysDestroyed(key_ids=key_ids):
                self.destroyed_keys.update(key_ids)
            case _:
                self._apply_to_log(entry)

    def _apply_to_log(self, entry: Entry) -> None:
        match entry.body:
            case KeysChanged(objects=objects):
                self.key_objects = dict(objects)
            case KeksEnded(keks=keks):
                self.ended_keks.update(keks)
            case HistoryAccepted(tier_id=tier_id, number=number, digest=digest):
                self.witnesses[bytes.fromhex(tier_id)] = Head(number, bytes.fromhex(digest))
            case StreamAppended() as said:
                self.streams[said.stream] = KeptStream(
                    said.number,
                    said.position,
                    bytes.fromhex(said.digest),
                    said.first,
                    said.locked_from,
                    said.locked_until,
                )
            case RootChanged(witnesses=witnesses):
                self._bear_witness(witnesses)
            case CheckpointMade() as made:
                self.checkpoint = made
            case Bridged():
                self.bridged.add(entry.number)
            case Begun() | Skipped() | TierNamed() | _:
                pass

    def _apply_to_packs(self, body: PacksMarked | PacksUnmarked | SweepBegun | PacksSwept, number: int) -> None:
        packs = set(map(bytes.fromhex, body.packs))
        match body:
            case PacksMarked():
                self.marked_packs |= packs
            case PacksUnmarked():
                self.marked_packs -= packs - self.swept_packs
            case SweepBegun():
                self.swept_packs |= packs
                self.marked_packs |= packs
            case PacksSwept():
                self.swept_packs -= packs
                self.marked_packs -= packs
                self.let_go.update(dict.fromkeys(packs, number))

    def _apply_snapshot(self, committed: SnapshotCommitted, number: int) -> None:
        body = bytes(committed.manifest)
        if snapshot_id(self.repository_id, body).hex() != committed.id:
            raise Damaged("snapshot has another id than its manifest", number=number)
        manifest = decode_manifest(body)
        token = manifest.run_token
        first = self.by_token.get(token, committed.id)
        if first not in self.snapshots:
            self.by_token[token] = committed.id
        elif committed.id not in (present := self.twins.get(token, (first,))):
            self.twins[token] = (*present, committed.id)
        self.snapshots[committed.id] = Snapshot(committed.id, body, manifest)
        self.entry_of[committed.id] = number
        if committed.locked_until is not None:
            self.locked_until[committed.id] = committed.locked_until
        self.segments.update(dict.fromkeys(committed.segments, number))
        self._bear_witness(committed.witnesses)

    def _bear_witness(self, witnesses: Mapping[str, tuple[int, str]]) -> None:
        for tier_id, (seen, digest) in witnesses.items():
            head = Head(seen, bytes.fromhex(digest))
            self.witnesses[bytes.fromhex(tier_id)] = max(head, self.witnesses.get(bytes.fromhex(tier_id), head))

    def _forget(self, identity: str) -> None:
        self._drop(identity)
        beyond = len(self.forgotten) - FORGOTTEN_MAX
        for old in list(islice(self.forgotten, max(beyond, 0))):
            token = self.forgotten.pop(old)
            if self.by_token.get(token) == old:
                del self.by_token[token]

    def _drop(self, identity: str) -> None:
        snapshot = self.snapshots.pop(identity, None)
        self.entry_of.pop(identity, None)
        self.locked_until.pop(identity, None)
        self.tags.pop(identity, None)
        if snapshot is None:
            # Forgotten before, or lost with its entry: no other tier brings it back all the same.
            self.forgotten.setdefault(identity, "")
            return
        token = snapshot.brief.run_token
        self.forgotten[identity] = token
        live = tuple(each for each in self.twins.pop(token, ()) if each != identity)
        if len(live) > 1:
            self.twins[token] = live
        if live and self.by_token[token] == identity:
            self.by_token[token] = live[0]

    def lacking_streams(self, manifest: SnapshotManifest) -> list[str]:
        """Which streams that the snapshot leans on are not known to be here as far as it says. Raises `Damaged`."""
        lacking: list[str] = []
        for name, (number, digest, _) in streams_of(manifest).items():
            said = self.streams.get(name)
            if said is None or said.number < number or (said.number == number and said.digest.hex() != digest):
                lacking.append(name)
        return lacking

    def contradicts(self, seen: Head) -> bool:
        """Whether this log, which once had the head `seen`, now shows an older or another history.

        Of entries before a checkpoint it knows nothing: see `CommitLog.contradicts`. A bridge was made by a holder of
        the key, who could not know the lost entry's digest: it fits any.
        """
        if seen.number > self.head.number:
            return True
        present = self.digest_of(seen.number)
        return seen.number not in self.bridged and bool(present and seen.digest) and present != seen.digest


def joint_holds(states: Iterable[LogState]) -> dict[str, tuple[str, ...]]:
    """The holds that some log of a repository has and none calls released: by name, the snapshots (none: all)."""
    logs = list(states)
    released = set().union(*(state.released_holds for state in logs))
    return {name: held for state in logs for name, held in state.holds.items() if name not in released}


def holding(identity: str, holds: Mapping[str, Collection[str]]) -> list[str]:
    """The names of those holds that keep the snapshot."""
    return sorted(name for name, held in holds.items() if not held or identity in held)


def named_by_the_next(entry: Entry) -> bytes:
    """The digest that the entry behind this one names as its previous one."""
    if isinstance(entry.body, Bridged) and entry.body.stands_for:
        return bytes.fromhex(entry.body.stands_for)
    return entry.digest
