"""The commit log of one tier: numbered entries, created conditionally, chained and signed.

Promise: of several writers exactly one creates entry n, and it had read all entries before n when it
decided what n says. So every rule that `append`'s caller checks against the state holds for the history as
a whole, without locks and without clocks. An acknowledgement that got lost is recognised by the store (its
bytes are ours) or, after a crash, by the run token in the entry. The proof is in docs/repository-format.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final, NamedTuple

from repository.errors import (
    AlreadyExists,
    Damaged,
    InvalidKey,
    LogContended,
    ObjectMissing,
    Truncated,
    UnknownKey,
    about,
)
from repository.keys import crypto
from repository.keys.key_ring import KeyRing
from repository.log.checkpoints import CheckpointShelf
from repository.log.state import Head, LogFault, LogState, named_by_the_next
from repository.log.tail import TAIL_EVERY, read_tail, write_tail
from repository.ports import SYSTEM_CLOCK, SYSTEM_RANDOMNESS, Clock, Randomness
from repository.stored.log_entry import (
    LOG_PREFIX,
    TIER_ID_LENGTH,
    Begun,
    Body,
    Bridged,
    Entry,
    Place,
    SnapshotCommitted,
    TierNamed,
    decode_entry,
    encode_entry,
    entry_number,
    entry_object_key,
)
from repository.stored.manifest_object import manifest_object_key
from repository.stored.object_reading import read_object
from repository.stored.snapshot import Snapshot, snapshot_id
from repository.tiers.local_cache import LocalCache
from repository.tiers.port import ObjectStore

__all__ = ["CommitLog", "Head", "LogFault", "LogState"]

ATTEMPTS_MAX: Final = 100
PARALLEL_READS: Final = 16
CHECKPOINT_EVERY: Final = 16
"""Entries after which a writer leaves a checkpoint, at least: of many snapshots it is long, and made more seldom."""
_NO_ENTRIES: Final[Mapping[int, bytes]] = {}
GAP_MAX: Final = 1000
"""Numbers that may be missing before one that counts unseen; what lies beyond a longer gap has to be signed."""


def entries_between(snapshots: int) -> int:
    """How many entries lie between two checkpoints of so many snapshots.

    A small state is written often, so that whoever opens has little to read; a large one so seldom that its share in
    what a commit costs stays small.
    """
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
        verifier: crypto.Verifier,
        genesis: bytes,
        clock: Clock = SYSTEM_CLOCK,
        randomness: Randomness = SYSTEM_RANDOMNESS,
        cache: LocalCache | None = None,
    ) -> None:
        self._store = store
        self.checkpoints = CheckpointShelf(store, ring, verifier, cache)
        self._ring = ring
        self._verifier = verifier
        self._genesis = genesis
        self._clock = clock
        self._randomness = randomness
        self._lock = threading.Lock()
        self.state = LogState(ring.root.repository_id, genesis)
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
            return self.state

    def whole(self) -> LogState:
        """The state of the log from its first entry on, whatever any checkpoint says; `state` stays as it is."""
        with self._lock:
            return self._read_behind(self._nothing())

    def _nothing(self) -> LogState:
        return LogState(self._ring.root.repository_id, self._genesis)

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

    def checkpoint(self, lock_until: datetime | None = None) -> bool:
        """Leave a checkpoint of the newest state, unless there is one that is new enough; whether one was made.

        Two writers that come to it at once leave two, of which each is good. Raises what `append` raises.
        """
        if not self._is_checkpoint_due(self.state):
            self._leave_tail()
            return False
        state = self.refresh()
        if not self._is_checkpoint_due(state):
            return False
        signer = self._ring.root.signer()
        made = self.checkpoints.add(state, self._clock.now_ns(), signer, self._randomness, lock_until)

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
        return not state.faults and state.head.number - state.newest_checkpoint >= entries_between(len(state.snapshots))

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

    def append(
        self,
        decide: Callable[[LogState], Body | None],
        *,
        lock_until: datetime | None = None,
        tier_id: bytes | None = None,
    ) -> Entry | None:
        """Append what `decide` makes of the newest state; None from it ends the matter without an entry.

        A log that is empty is begun first. Either way the state is durable on return. `tier_id`: from now on.

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
                    raise Damaged(
                        "commit log is damaged and takes no entries", tier=self._store.name, number=fault.number
                    ) from fault.error
                try:
                    if not self.state.head.number:
                        self._create(Begun(time_ns=self._clock.now_ns()), lock_until)
                    body = decide(self.state)
                    if body is not None:
                        return self._create(body, lock_until, tier_id)
                except AlreadyExists:
                    beaten = body.id if isinstance(body, SnapshotCommitted) else beaten
                    continue
                except InvalidKey as error:
                    raise self._blocked(self.state.head.number + 1) from error
                self._give_back(beaten, lock_until)
                # The caller relies on what others wrote, and they may have died before syncing the last of it.
                self._store.settle([entry_object_key(self.state.head.number)])
                return None
            if len(heads) == 1:
                raise self._blocked(self.state.head.number + 1)
            raise LogContended("other writers were faster each time", tier=self._store.name, attempts=ATTEMPTS_MAX)

    def _give_back(self, identity: str, lock_until: datetime | None) -> None:
        """Another writer committed this very snapshot: its entry's copy, which ours was put over, lies there again."""
        number = self.state.entry_of.get(identity)
        if number is not None:
            entry = read_object(self._store, entry_object_key(number))
            self._store.put(manifest_object_key(identity), entry, lock_until=lock_until)

    def _blocked(self, number: int) -> Damaged:
        """Nobody was faster: a folder or a link, say, has the name of the next entry, and no listing shows it."""
        what = self._store.blocked_by(entry_object_key(number)) or "something that is no log entry"
        return Damaged(
            f"{what} lies where the next log entry belongs",
            hint="Look at what has this name on the tier and take it away, then run again.",
            tier=self._store.name,
            object_key=entry_object_key(number),
        )

    def replace_fault(self, body: Body, place: Place) -> bytes:
        """Put a bridge in the place of a faulty entry and return its digest; for repair alone, then `reload`."""
        with self._lock:
            buffer = self._encoded(body, place)
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
            if snapshot_id(self._ring.root.repository_id, snapshot.body).hex() != identity:
                raise Damaged("snapshot has another id than its manifest", number=entry.number)
            return SecondCopy(snapshot, entry, body)

    def decoded(self, body: bytes, number: int | None) -> Entry:
        """What these bytes say as entry `number` (None: any). Raises `Damaged`, `UnsupportedFormat`, `UnknownKey`."""
        return decode_entry(body, number, self._ring, self._verifier)

    def _encoded(self, body: Body, place: Place) -> bytes:
        root = self._ring.root
        return encode_entry(body, place, root, root.signer(), self._randomness)

    def _create(self, body: Body, lock_until: datetime | None, tier_id: bytes | None = None) -> Entry:
        head = self.state.head
        place = Place(
            head.number + 1,
            head.digest,
            tier_id or self.state.tier_id or self._randomness.token_bytes(TIER_ID_LENGTH),
            self.state.snapshot_count + isinstance(body, SnapshotCommitted),
            self.state.ends_in_consequence,
        )
        buffer = self._encoded(body, place)
        digest = crypto.sha256(buffer)
        if isinstance(body, SnapshotCommitted):
            # Durable before the entry is: should that be lost, this is put in its place.
            self._store.put(manifest_object_key(body.id), buffer, sha256=digest, lock_until=lock_until)
        self._store.put(entry_object_key(place.number), buffer, sha256=digest, if_absent=True, lock_until=lock_until)
        self._behind[place.number] = buffer
        entry = Entry(place, digest, body)
        self.state = self.state.with_entries([entry])
        return entry

    def _read_on(self) -> None:
        self.state = self._read_behind(self.state, self._behind)

    def _read_behind(
        self, state: LogState, bodies: dict[int, bytes] | None = None, tail: Mapping[int, bytes] = _NO_ENTRIES
    ) -> LogState:
        """Read every entry behind the head, up to the highest number that the store lists and that may be true.

        `bodies`: takes their bytes. `tail`: bytes of entries that may be these; the last one is read in any case.
        """
        lengths: dict[int, int] = {}
        first = state.head.number + 1
        last = proven = first - 1
        for info in self._store.list(LOG_PREFIX, after=entry_object_key(last)):
            number = entry_number(info.key)
            if number is None:
                continue
            # Anybody who may write to the store can name an object after a number far away. Were it believed
            # unseen, all the numbers before it would be read, and kept as faults; so nor is it a step to the next.
            if number - proven > GAP_MAX:
                proven = next((each for each in (number, last) if each > proven and self._is_signed(each)), proven)
            if number - proven <= GAP_MAX:
                last = number
                lengths[number] = info.size
        known = {number: body for number, body in tail.items() if number < last and lengths.get(number) == len(body)}
        entries = list(self._entries(range(first, last + 1), {} if bodies is None else bodies, known))
        while len(entries) <= GAP_MAX and self._store.blocked_by(entry_object_key(first + len(entries))):
            # No listing shows it, and no writer would get past it: better known before anything is uploaded.
            number = first + len(entries)
            entries.append(LogFault(number, self._blocked(number)))
            if self._store.blocked_by(f"{entry_object_key(number).rpartition('/')[0]}/_"):
                break  # it has the place of the folder: what is behind it nobody knows, and each number would be told
        return state.with_entries(entries) if entries else state

    def _is_signed(self, number: int) -> bool:
        found = self.entry(number)
        return not isinstance(found, LogFault) or isinstance(found.error, UnknownKey)

    def _entries(
        self, numbers: range, bodies: dict[int, bytes], known: Mapping[int, bytes]
    ) -> Iterable[Entry | LogFault]:
        """These entries. `bodies`: takes the bytes of good ones. `known`: those that need not be asked for."""

        def read(number: int) -> Entry | LogFault:
            return self.entry(number, bodies, known.get(number))

        if len(numbers) - len(known) <= 1:
            return [read(number) for number in numbers]
        with ThreadPoolExecutor(PARALLEL_READS, thread_name_prefix="log-read") as pool:
            return list(pool.map(read, numbers))

    def entry(self, number: int, bodies: dict[int, bytes] | None = None, body: bytes | None = None) -> Entry | LogFault:
        """Entry `number` as it lies on the tier; whether it continues this history is not judged.

        `bodies`: takes its bytes, if it is good. `body`: its bytes, where they are known.
        """
        try:
            with about(tier=self._store.name, object_key=entry_object_key(number)):
                body = read_object(self._store, entry_object_key(number)) if body is None else body
                entry = self.decoded(body, number)
                if bodies is not None:
                    bodies[number] = body
                return entry
        except (Damaged, ObjectMissing, Truncated, UnknownKey) as error:
            return LogFault(number, error)
