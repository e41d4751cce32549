"""The commit log of one tier: numbered entries, created conditionally, chained and signed.

Promise: of several writers exactly one creates entry n, and it had read all entries before n when it
decided what n says. So every rule that `append`'s caller checks against the state holds for the history as
a whole, without locks and without clocks. An acknowledgement that got lost is recognised by the store (its
bytes are ours) or, after a crash, by the run token in the entry. The proof is in docs/repository-format.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from repository.errors import (
    AccessDenied,
    AlreadyExists,
    Damaged,
    InvalidKey,
    LogContended,
    about,
)
from repository.keys import crypto
from repository.keys.key_ring import DomainKeys, KeyRing, Rank
from repository.log.checkpoints import CheckpointShelf
from repository.log.log_reader import NO_ENTRIES, LogReader
from repository.log.roots import proven
from repository.log.state import Head, LogFault, LogState, named_by_the_next
from repository.log.tail import TAIL_EVERY, read_tail, write_tail
from repository.ports import SYSTEM_CLOCK, SYSTEM_RANDOMNESS, Clock, Randomness
from repository.stored.log_entry import (
    TIER_ID_LENGTH,
    Begun,
    Body,
    Bridged,
    Entry,
    Place,
    RootChanged,
    SnapshotCommitted,
    TierNamed,
    encode_entry,
    entry_object_key,
)
from repository.stored.manifest_object import manifest_object_key
from repository.stored.object_reading import read_object
from repository.stored.snapshot import Snapshot, snapshot_id
from repository.tiers.local_cache import LocalCache
from repository.tiers.port import ObjectStore

__all__ = ["CommitLog", "Head", "LogFault", "LogState"]

ATTEMPTS_MAX: Final = 100
CHECKPOINT_EVERY: Final = 16
"""Entries after which a writer leaves a checkpoint, at least: of many snapshots it is long, and made more seldom."""


FORGOTTEN_FOR_ONE: Final = 8
"""Forgotten snapshots that make a checkpoint about as much longer as a live one does."""


def entries_between(live: int, forgotten: int = 0) -> int:
    """How many entries lie between two checkpoints of so many snapshots.

    A small state is written often, so that whoever opens has little to read; a large one so seldom that its share in
    what a commit costs stays small.
    """
    snapshots = live + forgotten // FORGOTTEN_FOR_ONE
    return max(CHECKPOINT_EVERY, min(snapshots // 16, 256), snapshots // 64)


class SecondCopy(NamedTuple):
    """A snapshot's log entry, as it lies under the snapshot's id."""

    snapshot: Snapshot
    entry: Entry
    body: bytes


class CommitLog:
    """Reads and appends. Thread-safe; `state` is replaced, never changed while somebody reads it.

    `genesis` is the SHA-256 of the config's bytes, which entry 1 names as its previous one.
    """

    def __init__(
        self,
        store: ObjectStore,
        ring: KeyRing,
        genesis: bytes,
        clock: Clock = SYSTEM_CLOCK,
        randomness: Randomness = SYSTEM_RANDOMNESS,
        cache: LocalCache | None = None,
    ) -> None:
        self._store = store
        self.checkpoints = CheckpointShelf(store, ring, cache)
        self._ring = ring
        self._reader = LogReader(store, ring)
        self._genesis = genesis
        self._clock = clock
        self._randomness = randomness
        self._lock = threading.Lock()
        self.state = self._nothing()
        self._root_seen: tuple[Rank, Head | None] = (Rank(), None)
        """Which root is in force elsewhere, and what is known there of this log; see `expect_root`."""
        self.bring_keys: Callable[[], object] = lambda: None
        """Called before what is written here needs keys of which only other tiers may have heard. May raise."""
        self._behind: dict[int, bytes] = {}
        """The bytes of the entries behind the newest checkpoint, as far as they were read or made here."""
        self._tail_end = 0

    def refresh(self) -> LogState:
        """Read the entries behind the head. Raises what the store raises, never `Damaged`: see `state.faults`."""
        with self._lock:
            self._read_on()
            return self.state

    def reload(self) -> LogState:
        """Forget everything and read the newest checkpoint, and what came after it."""
        with self._lock:
            self._behind = {}
            found = self.checkpoints.newest(self._genesis, self.entry)
            tail = read_tail(self._store) if found is not None and self.checkpoints.has_tail else {}
            self._tail_end = max(tail, default=0)
            self.state = self._read_behind(found or self._nothing(), self._behind, tail)
            if tail and self.state.faults:
                # The tail may be of another history, or hide what the entries themselves would show.
                self.state = self._read_behind(found or self._nothing(), self._behind)
            if found is not None and self.state.root != found.root:
                # It was made before the root changed: whoever has the old one could say anything in it.
                self.state = self._read_behind(self._nothing(), self._behind)
            return self.state

    @property
    def lags(self) -> bool:
        """Whether another log names a later root than this one does."""
        return bool(self.state.head.number) and self.state.root < self._ring.root.rank

    def expect_root(self, root: Rank, seen: Head | None) -> None:
        """Know that this root is in force elsewhere, where this log was known up to `seen` (None: all counts).

        What an older root signed behind that is not believed: `reload`, and as long as this log does not name it.
        """
        self._root_seen = (root, seen)

    def whole(self) -> LogState:
        """The state of the log from its first entry on, whatever any checkpoint says; `state` stays as it is."""
        with self._lock:
            return self._read_behind(self._nothing())

    def entries(self) -> Iterator[Entry]:
        """Each entry that lies there and can be used, from the first one on. Raises the store's errors."""
        return (each for each in self._reader.behind(0) if isinstance(each, Entry))

    def _nothing(self) -> LogState:
        first = self._ring.first_root
        return LogState(first.repository_id, self._genesis, first.rank)

    def contradicts(self, seen: Head) -> bool:
        """Whether this log, which once had the head `seen`, now shows an older or another history.

        Of what lies before the newest checkpoint the entry itself is read. Where that one is gone, or does not continue
        the history, nobody knows.
        """
        state = self.state
        if seen.number >= state.base or not seen.digest or seen.number in state.bridged or not seen.number:
            return state.contradicts(seen)
        entry = self.entry(seen.number)
        # A bridge fits any: what it stands for is not known where several were lost together.
        if not isinstance(entry, Entry) or isinstance(entry.body, Bridged):
            return False
        return named_by_the_next(entry) != seen.digest and self.whole().contradicts(seen)

    def checkpoint(self, lock_until: datetime | None = None, *, is_due: bool = False) -> bool:
        """Leave a checkpoint of the newest state, unless there is one that is new enough; whether one was made.

        `is_due`: in any case.

        Two writers that come to it at once leave two, of which each is good. Raises what `append` raises.
        """
        if not (is_due or self._is_checkpoint_due(self.state)):
            self._leave_tail()
            return False
        state = self.refresh()
        if state.root != self._ring.root.rank or not (is_due or self._is_checkpoint_due(state)):
            return False
        made = self.checkpoints.add(state, self._clock.now_ns(), self._randomness, lock_until)

        def decide(now: LogState) -> Body | None:
            is_newest = now.checkpoint is None or now.checkpoint.number < made.number
            return made if is_newest else None

        self.append(decide, lock_until=lock_until)
        self.checkpoints.tidy()
        with self._lock:
            self.state = self.state.without_old_digests()
            self._behind = {number: body for number, body in self._behind.items() if number > made.number}
        return True

    @staticmethod
    def _is_checkpoint_due(state: LogState) -> bool:
        between = entries_between(len(state.snapshots), len(state.forgotten))
        return not state.faults and state.head.number - state.newest_checkpoint >= between

    def _leave_tail(self) -> None:
        """Make the tail anew where it has fallen behind; a log that has no checkpoint yet is short."""
        with self._lock:
            head, newest = self.state.head.number, self.state.newest_checkpoint
            if not newest or self.state.faults or head - max(newest, self._tail_end) < TAIL_EVERY:
                return
            self._behind = {number: body for number, body in self._behind.items() if number > newest}
            if write_tail(self._store, self._behind):
                self._tail_end = head

    def expect_live_domain(self, identity: str, state: LogState) -> None:
        """Raises `UnknownKey` where this state calls the keys destroyed under whose secret's id (hex) chunks go."""
        if state.destroyed_keys:
            self._ring.expect_not_destroyed(bytes.fromhex(identity), state.destroyed_keys)

    def keys_needed_for(self, snapshot: Snapshot) -> set[str]:
        """Ids (hex) of the keys without which a snapshot cannot be read."""
        return self._ring.needed_for(bytes.fromhex(snapshot.manifest.domain))

    def name_anew(self) -> None:
        """Give a log that was copied from another tier's a tier id of its own."""
        was = (self.state.tier_id or b"").hex()
        self.append(
            lambda _: TierNamed(time_ns=self._clock.now_ns(), was=was),
            tier_id=self._randomness.token_bytes(TIER_ID_LENGTH),
        )

    def change_root(self, root: DomainKeys, witnesses: Mapping[str, tuple[int, str]]) -> None:
        """Say that this root is in force from here on; nothing where this one is, or a later one.

        `witnesses`: heads of the other tiers, as of a `SnapshotCommitted`. Raises what `append` raises.
        """

        def decide(state: LogState) -> Body | None:
            return None if state.root >= root.rank else self._root_changed(root, witnesses)

        self.append(decide, root=root)
        self.checkpoint(is_due=True)

    def _root_changed(self, root: DomainKeys, witnesses: Mapping[str, tuple[int, str]]) -> RootChanged:
        bridges = [entry for number in sorted(self.state.bridged) if isinstance(entry := self.entry(number), Entry)]
        return RootChanged(
            time_ns=self._clock.now_ns(),
            key_id=root.key_id.hex(),
            public_key=root.signer().public_key.hex(),
            bridges=tuple((entry.number, entry.digest.hex()) for entry in bridges),
            witnesses=dict(witnesses),
        )

    def append(
        self,
        decide: Callable[[LogState], Body | None],
        *,
        lock_until: datetime | None = None,
        tier_id: bytes | None = None,
        root: DomainKeys | None = None,
    ) -> Entry | None:
        """Append what `decide` makes of the newest state; None from it ends the matter without an entry.

        A log that is empty is begun first. Either way the state is durable on return. `tier_id`, `root`: from now on.

        `decide` is called again whenever another writer was faster; what it raises leaves. Raises `Damaged`
        (the log has faults: repair it first), `LogContended`, and what the store raises; after `retry = later`
        the entry may nevertheless be there, and the next `append` finds it in the state.
        """
        with self._lock:
            heads: set[int] = set()
            body: Body | None = None
            beaten = ""
            for _ in range(ATTEMPTS_MAX):
                self._read_on()
                heads.add(self.state.head.number)
                if self.state.faults:
                    fault = self.state.faults[0]
                    if isinstance(fault.error, AccessDenied):
                        raise fault.error
                    raise Damaged(
                        "commit log is damaged and takes no entries", tier=self._store.name, number=fault.number
                    ) from fault.error
                try:
                    if not self.state.head.number:
                        self._create(Begun(time_ns=self._clock.now_ns()), lock_until)
                    if self.lags and root is None:
                        # The tier was away when the root was changed: what lies here was proven when it was opened.
                        self.bring_keys()
                        self._create(self._root_changed(self._ring.root, {}), lock_until, root=self._ring.root)
                    body = decide(self.state)
                    if body is not None:
                        return self._create(body, lock_until, tier_id, root)
                except AlreadyExists:
                    beaten = body.id if isinstance(body, SnapshotCommitted) else beaten
                    continue
                except InvalidKey as error:
                    raise self._reader.blocked(self.state.head.number + 1) from error
                self._give_back(beaten, lock_until)
                # The caller relies on what others wrote, and they may have died before syncing the last of it.
                self._store.settle([entry_object_key(self.state.head.number)])
                return None
            if len(heads) == 1:
                raise self._reader.blocked(self.state.head.number + 1)
            raise LogContended("other writers were faster each time", tier=self._store.name, attempts=ATTEMPTS_MAX)

    def _give_back(self, identity: str, lock_until: datetime | None) -> None:
        """Another writer committed this very snapshot: its entry's copy, which ours was put over, lies there again."""
        number = self.state.entry_of.get(identity)
        if number is not None:
            entry = read_object(self._store, entry_object_key(number))
            self._store.put(manifest_object_key(identity), entry, lock_until=lock_until)

    def replace_fault(self, body: Body, place: Place) -> bytes:
        """Put a bridge in the place of a faulty entry and return its digest; for repair alone, then `reload`."""
        with self._lock:
            buffer = encode_entry(body, place, self._ring.root, self._randomness)
            self._store.put(entry_object_key(place.number), buffer, sha256=crypto.sha256(buffer))
            return crypto.sha256(buffer)

    def second_copy(self, identity: str) -> SecondCopy:
        """What lies under a snapshot's id. Raises `Damaged`, `ObjectMissing`, the store's errors."""
        key = manifest_object_key(identity)
        with about(tier=self._store.name, object_key=key):
            return self.as_second_copy(read_object(self._store, key), identity)

    def as_second_copy(self, body: bytes, identity: str) -> SecondCopy:
        """These bytes, as what lies under a snapshot's id. Raises `Damaged`, `UnsupportedFormat`, `UnknownKey`."""
        with about(tier=self._store.name, object_key=manifest_object_key(identity)):
            entry = self.decoded(body, None)
            if not isinstance(entry.body, SnapshotCommitted) or entry.body.id != identity:
                raise Damaged("entry is not that of the snapshot", says=entry.number)
            snapshot = Snapshot(identity, bytes(entry.body.manifest))
            if snapshot_id(self._ring.first_root.repository_id, snapshot.body).hex() != identity:
                raise Damaged("snapshot has another id than its manifest", number=entry.number)
            return SecondCopy(snapshot, entry, body)

    def decoded(self, body: bytes, number: int | None) -> Entry:
        """What these bytes say as entry `number` (None: any). Raises `Damaged`, `UnsupportedFormat`, `UnknownKey`."""
        return self._reader.decoded(body, number)

    def _create(
        self,
        body: Body,
        lock_until: datetime | None,
        tier_id: bytes | None = None,
        root: DomainKeys | None = None,
    ) -> Entry:
        root = root or self._ring.root
        head = self.state.head
        place = Place(
            head.number + 1,
            head.digest,
            tier_id or self.state.tier_id or self._randomness.token_bytes(TIER_ID_LENGTH),
            self.state.snapshot_count + isinstance(body, SnapshotCommitted),
            self.state.ends_in_consequence,
        )
        buffer = encode_entry(body, place, root, self._randomness)
        digest = crypto.sha256(buffer)
        if isinstance(body, SnapshotCommitted):
            # Durable before the entry is: should that be lost, this is put in its place.
            self._store.put(manifest_object_key(body.id), buffer, sha256=digest, lock_until=lock_until)
        self._store.put(entry_object_key(place.number), buffer, sha256=digest, if_absent=True, lock_until=lock_until)
        self._behind[place.number] = buffer
        entry = Entry(place, digest, body, root.rank)
        self.state = self.state.with_entries([entry])
        self._ring.advance(self.state.root)
        return entry

    def _read_on(self) -> None:
        state = self._read_behind(self.state, self._behind)
        for fault in state.faults[len(self.state.faults) :]:
            if isinstance(fault.error, AccessDenied):
                raise fault.error  # it may be given the next time: the log goes on from where it was known
        self.state = state

    def _read_behind(
        self, state: LogState, bodies: dict[int, bytes] | None = None, tail: Mapping[int, bytes] = NO_ENTRIES
    ) -> LogState:
        """The state with every entry behind its head; `bodies`, `tail`: as of `LogReader.behind`."""
        entries = self._reader.behind(state.head.number, bodies, tail)
        if entries:
            state = state.with_entries(proven(entries, *self._root_seen))
        self._ring.advance(state.root)
        return state

    def entry(self, number: int) -> Entry | LogFault:
        """Entry `number` as it lies on the tier; whether it continues this history is not judged."""
        return self._reader.entry(number)
