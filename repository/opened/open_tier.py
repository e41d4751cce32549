"""One tier of an open repository: its log, its index, its state.

Promise: a snapshot is committed here only when every pack that it references is in this tier's index, or in
segments that are stored before the log entry; the order of durability is packs, segments, locks, entry.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, TypeAlias

from msgspec import Raw

from repository.errors import (
    AccessDenied,
    Damaged,
    LogContended,
    ObjectMissing,
    RepositoryError,
    SnapshotNotFound,
    TierBehind,
    Truncated,
    UnknownKey,
    UnsupportedFormat,
)
from repository.index.index import Index
from repository.index.pack_catalog import PACK_PREFIX, stored_packs
from repository.index.segments import SealedSegment, SegmentCache, segment_object_key
from repository.keys import crypto
from repository.log.commit_log import CommitLog, LogState
from repository.opened import legal_holds, locking, present_objects
from repository.opened.own_folders import why_blocked
from repository.opened.tier_state import READABLE, TierState, by_what_is_wrong
from repository.ports import Clock
from repository.stored.config import CONFIG_KEY
from repository.stored.index_segment import Segment
from repository.stored.log_entry import Body, Entry, IndexChanged, SnapshotCommitted, entry_object_key
from repository.stored.object_reading import read_object
from repository.stored.snapshot import Snapshot, SnapshotManifest, decode_manifest, snapshot_id
from repository.tiers.port import ObjectStore

__all__ = ["FORGOTTEN_HINT", "LockUntil", "OpenTier", "TierState", "no_lock"]

PARALLEL_LOADS: Final = 2

FORGOTTEN_HINT: Final = "Its token is not taken again: start the backup under a new one."


class OpenTier:
    """One tier. `error` says why the state is not READY. Thread-safe, but for `load`."""

    def __init__(
        self,
        store: ObjectStore,
        log: CommitLog,
        cache: SegmentCache,
        clock: Clock,
        config_error: RepositoryError | None = None,
    ) -> None:
        self.store = store
        self.log = log
        self.config_error = config_error
        """What is wrong with config or keys; the tier is read with another tier's."""
        self.state = TierState.EMPTY
        self.error: RepositoryError | None = None
        self.index = Index()
        self.damaged_segments: dict[str, RepositoryError] = {}
        """Live segments (by name) that could not be loaded; their rows are missing from `index`."""
        self.keys_seen: frozenset[tuple[str, str]] = frozenset()
        """Key objects that lay here when they were last read: key and SHA-256 (hex)."""
        self.peers: Sequence[OpenTier] = ()
        """The repository's tiers, for what this one bears witness to."""
        self._indexed: frozenset[str] = frozenset()
        """The segments (by name) that `index` was last set to."""
        self._cache = cache
        self._clock = clock
        # Held while the index is set: of two threads the one with the older state must not be the last.
        self._indexing = threading.Lock()
        self._indexed_entry = 0

    @property
    def name(self) -> str:
        """What people call the tier."""
        return self.store.name

    @property
    def is_readable(self) -> bool:
        """Whether objects may be read from here; each is verified on its own."""
        return self.state in READABLE

    @property
    def is_ready(self) -> bool:
        """Whether the tier takes part in backups."""
        return self.state is TierState.READY

    def set_state(self, state: TierState, error: RepositoryError | None) -> None:
        """Say what the tier is good for, and why not for more."""
        self.state = state
        self.error = error

    def set_unreachable(self, error: RepositoryError) -> None:
        """Leave the tier out from now on: it failed."""
        self.set_state(TierState.UNREACHABLE, error)

    # Reading

    def load(self) -> None:
        """Read log and index anew and set the state; raises nothing that a tier can answer."""
        try:
            state = self.log.reload()
            self._load_segments(state, is_anew=True)
            if self.damaged_segments:
                # Another writer may have replaced and removed them since the log was read.
                state = self.log.refresh()
                self._load_segments(state)
            self._judge(state)
        except UnsupportedFormat as error:
            self.set_state(TierState.UNSUPPORTED, error)
        except RepositoryError as error:
            self.set_state(TierState.UNREACHABLE, error)

    def refresh(self) -> LogState:
        """Read what other writers committed meanwhile. Raises what the store raises."""
        state = self.log.refresh()
        self._load_segments(state)
        self._judge(state)
        return state

    def shows_the_same(self) -> bool:
        """Whether config and the entry at the known head lie there as they did. Raises the store's errors."""
        state = self.log.state
        if crypto.sha256(read_object(self.store, CONFIG_KEY)) != state.genesis:
            return False
        entry = self.log.entry(state.head.number)
        return isinstance(entry, Entry) and entry.digest == state.head.digest

    def _judge(self, state: LogState) -> None:
        if self.state is TierState.REPLAYED:
            return
        wrong = [self.config_error, *(fault.error for fault in state.faults), *self.damaged_segments.values()]
        found, error = by_what_is_wrong([why_blocked(self.store), *wrong])
        if error is not None:
            self.set_state(found, error)
        elif not state.head.number and next(iter(self.store.list(PACK_PREFIX)), None) is not None:
            self._judge_without_log()
        else:
            self.set_state(TierState.READY, None)

    def _judge_without_log(self) -> None:
        # The packs were seen after the log was read, and a writer may have begun it in between.
        state = self.log.refresh()
        if state.head.number:
            self._load_segments(state)
            self._judge(state)
        else:
            self.set_state(TierState.DAMAGED, Damaged("tier has packs and no log", tier=self.name))

    def _load_segments(self, state: LogState, *, is_anew: bool = False) -> None:
        """Set the index to a state of the log, unless it is further already; `is_anew`: even if the log went back."""
        with self._indexing:
            if state.head.number < self._indexed_entry and not is_anew:
                return
            names = frozenset(state.segments)
            # Most entries change nothing here, and what changes little costs little.
            if is_anew or self.damaged_segments or names != self._indexed:
                # The bytes may be those of another tier, or of this machine's disk: what lies here is asked by itself.
                is_asked = state.segments and (is_anew or self.damaged_segments)
                there = present_objects.stored_segments(self.store) if is_asked else None
                self._set_segments(state.segments.keys(), there)
            self.index.exclude_packs(state.marked_packs)
            self._indexed = names
            self._indexed_entry = state.head.number

    def _set_segments(self, names: Set[str], there: Mapping[str, int] | None) -> None:
        loaded, damaged = dict[str, Segment](), dict[str, RepositoryError]()

        def load(name: str) -> None:
            try:
                segment = self._cache.load(self.store, name)
                if there is not None:
                    present_objects.expect_stored(self.name, name, segment, there)
                loaded[name] = segment
            except (AccessDenied, Damaged, ObjectMissing, Truncated, UnknownKey) as error:
                damaged[name] = error

        missing = [name for name in names if not self._cache.holds(name)]
        if len(missing) > 1:
            with ThreadPoolExecutor(PARALLEL_LOADS, thread_name_prefix="index-load") as pool:
                list(pool.map(load, missing))
        for name in names - loaded.keys() - damaged.keys():
            load(name)
        self.damaged_segments = damaged
        self.index.set_segments([loaded[name] for name in names if name in loaded])

    def read_also(self, names: Iterable[str]) -> None:
        """Look into these segments, too, until the index is next set: lost entries brought them. Damaged ones not."""
        with self._indexing:
            for name in names:
                with suppress(RepositoryError):
                    self.index.set_segments([*self.index.segments(), self._cache.load(self.store, name)])
            self._indexed = frozenset()  # no decision is made on it

    def named_segments(self) -> dict[str, Segment]:
        """The live segments that could be loaded, by name. Raises what the store raises."""
        names = [name for name in self.log.state.segments if name not in self.damaged_segments]
        return present_objects.live_segments(self.log, names, lambda name: self._cache.load(self.store, name))

    def snapshots(self) -> Mapping[str, Snapshot]:
        """The snapshots that are committed here, by id."""
        return self.log.state.snapshots

    def lacks(self, pack_ids: Iterable[bytes]) -> set[bytes]:
        """Which of these packs this tier's index does not know."""
        return self.index.lacks(pack_ids)

    def gone_packs(self) -> set[bytes]:
        """Packs that the index knows and that are not there any more. Raises the store's errors."""
        known = self.index.pack_ids()  # others bring packs during the listing
        return known.difference(pack.id for pack in stored_packs(self.store)) - self.log.state.marked_packs

    # Writing

    def store_segments(self, segments: Sequence[SealedSegment], *, lock_until: datetime | None = None) -> None:
        """Store sealed segments durably, and all earlier puts that wait for a sync with them."""
        for sealed in segments:
            self.store.put(
                segment_object_key(sealed.name),
                sealed.body,
                sha256=bytes.fromhex(sealed.name),
                lock_until=lock_until,
                durable=False,
            )
        self.store.sync()

    def change_index(
        self,
        added: Sequence[SealedSegment],
        replaced: Iterable[str],
        reason: str,
        *,
        lock_until: datetime | None = None,
        only_if: Callable[[LogState], bool] = lambda _state: True,
    ) -> bool:
        """Let `added`, which hold the rows of `replaced`, take their place in the index.

        False where another writer replaced some of them first, or not `only_if`: then nothing was changed. They are
        locked for as long as a snapshot here, at least: it may need them.
        """
        names = tuple(replaced)
        lock_until = max((date for date in (lock_until, self.held_until()) if date is not None), default=None)
        if added:
            self.log.bring_keys()
        self.store_segments(added, lock_until=lock_until)

        def decide(state: LogState) -> Body | None:
            if any(name not in state.segments for name in names) or not only_if(state):
                return None
            new = tuple(sealed.name for sealed in added)
            return IndexChanged(time_ns=self._clock.now_ns(), added=new, replaced=names, reason=reason)

        entry = self.log.append(decide, lock_until=lock_until)
        self._remember(added)
        return entry is not None

    def commit_snapshot(
        self,
        manifest: SnapshotManifest | bytes,
        *,
        packs: Iterable[bytes],
        new_segments: Sequence[SealedSegment] = (),
        lock_until: datetime | None = None,
        again: bool = False,
    ) -> Snapshot:
        """Commit a snapshot; returns it as committed. `manifest`: a new one, or the bytes of another tier's.

        `packs`: all packs that the snapshot references; they are on the tier already, at least put with
        `durable=False`. `new_segments`: stored first. With `lock_until`, what the snapshot needs is kept
        until then, and so is its entry. A run token that is committed already gives the earlier snapshot back; another
        tier's snapshot is committed beside that one, for two writers of one run may not have seen each other.
        `again`: also where this very snapshot is committed; its entry is lost, and a checkpoint alone has it.

        Raises `TierBehind`, `PackMarked`, `LogContended`, `Damaged`, `LockNotProven` (the snapshot may nevertheless be
        committed) and the store's errors.
        """
        is_copy = isinstance(manifest, bytes)
        body = manifest if isinstance(manifest, bytes) else manifest.encode()
        decoded = decode_manifest(body)
        token = decoded.run_token
        referenced = set(packs)
        needed = referenced.difference(*(sealed.segment.pack_ids() for sealed in new_segments))
        if self.lacks(needed):
            # The caller may know them from a tier that was read later than this one: others bring packs meanwhile.
            self.refresh()
            self.refuse_without(needed)
        identity = snapshot_id(self.log.state.repository_id, body).hex()
        self.store_segments(new_segments, lock_until=lock_until)
        if lock_until is not None:
            new = {segment_object_key(sealed.name): bytes.fromhex(sealed.name) for sealed in new_segments}
            locking.lock(self.store, new | present_objects.needed_objects(self, referenced), lock_until)

        def decide(state: LogState) -> Body | None:
            is_here = identity in state.snapshots
            is_done = is_here if is_copy else token in state.by_token
            if identity in state.forgotten or (is_done and not (again and is_here)):
                return None
            if not is_copy:
                self.log.expect_live_domain(decoded.domain, state)
            # Others may have taken packs out of the index since it was read: what counts is this very state.
            if state.segments.keys() != self._indexed:
                self._load_segments(state)
            self.refuse_without(needed)
            if state.lacking_streams(decoded):
                raise TierBehind("tier lacks pieces of a stream that the snapshot leans on", tier=self.name)
            present_objects.refuse_going(self.name, state, referenced, new_segments)
            return SnapshotCommitted(
                time_ns=self._clock.now_ns(),
                id=identity,
                manifest=Raw(body),
                segments=tuple(sealed.name for sealed in new_segments),
                witnesses=self.witnesses(),
                locked_until=None if lock_until is None else int(lock_until.timestamp()),
            )

        self.log.append(decide, lock_until=lock_until)
        self._remember(new_segments)
        state = self.log.state
        own = identity if is_copy else state.by_token.get(token, identity)
        if (snapshot := state.snapshots.get(own)) is None:
            raise SnapshotNotFound("this run's snapshot was forgotten", hint=FORGOTTEN_HINT, tier=self.name, id=own)
        if lock_until is not None:
            # Created locked, unless an earlier run with this token made it.
            number = state.entry_of[snapshot.id]
            locking.lock(self.store, {entry_object_key(number): state.digest_of(number) or None}, lock_until)
        legal_holds.keep_where_held(self, snapshot.id, () if is_copy else referenced)
        return snapshot

    def leave_checkpoint(self, lock_until: datetime | None = None) -> None:
        """Where the log has grown: whoever opens has less to read, and has what entries said that are gone by then.

        A tier that does not take it is UNREACHABLE.
        """
        try:
            self.log.checkpoint(lock_until)
        except LogContended:
            return  # whoever was faster comes to it
        except RepositoryError as error:
            self.set_unreachable(error)

    def prove_locks(self, until: datetime) -> None:
        """Lock the config, which every snapshot needs, and see that it is: before anything is uploaded.

        Raises `LockNotProven` and the store's errors.
        """
        locking.lock(self.store, {CONFIG_KEY: self.log.state.genesis}, until)

    def held_until(self) -> datetime | None:
        """Until when the snapshot that is to be locked longest is; None where there is none, or this tier cannot lock.

        Raises the store's errors.
        """
        seconds = max(self.log.state.locked_until.values(), default=None)
        if seconds is None or not self.store.capabilities.locks:
            return None
        until = datetime.fromtimestamp(seconds, UTC)
        return until if until > self.store.now() else None

    def expect_locked(self, snapshot_id: str) -> None:
        """Raises `LockNotProven` unless this snapshot's entry is locked: what it needs was locked before it."""
        locking.expect_locked(self.store, entry_object_key(self.log.state.entry_of[snapshot_id]))

    def refuse_without(self, packs: Iterable[bytes]) -> None:
        """Raises `TierBehind` where the index lacks one of these packs."""
        if missing := self.lacks(packs):
            raise TierBehind("tier lacks packs that the snapshot references", tier=self.name, packs=len(missing))

    def _remember(self, segments: Sequence[SealedSegment]) -> None:
        for sealed in segments:
            self._cache.add(sealed.name, sealed.segment)
        self._load_segments(self.log.state)

    def witnesses(self) -> dict[str, tuple[int, str]]:
        """The heads of the other ready tiers, by tier id (hex): number and digest (hex)."""
        states = [peer.log.state for peer in self.peers if peer is not self and peer.is_ready]
        heads = {state.tier_id: state.head for state in states if state.tier_id is not None}
        return {tier_id.hex(): (head.number, head.digest.hex()) for tier_id, head in heads.items()}


LockUntil: TypeAlias = Callable[[OpenTier], datetime | None]
"""Until when a writer locks on each tier what it puts there; None: not at all."""


def no_lock(_tier: OpenTier) -> datetime | None:
    """Nobody asked for a lock."""
    return None
