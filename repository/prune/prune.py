"""Prune: the packs that only forgotten snapshots needed are deleted, in two phases, beside any number of writers.

Promise: no snapshot that a tier has loses a byte, whoever writes, prunes or dies meanwhile: a pack is named in a `mark`
entry, which is decided on a state whose every snapshot was looked at; from then on none may lean on it; a `sweep` entry
says that it goes; then it is deleted, its rows leave the index, and `swept` ends the matter. Killed anywhere, the next
prune goes on from what the log says. There are no locks, and no clocks but the store's own, which judges its object
locks.

Each tier is pruned by what its own log says. What is locked stays and is told with its date; packs that no snapshot
ever needed, as far as is known, stay as well unless the caller knows that nobody writes (`unreferenced`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from repository.errors import AccessDenied, BackupCancelled, Locked, LogContended, RepositoryError
from repository.format import pack_object_key
from repository.index.pack_catalog import stored_packs
from repository.index.segments import segment_object_key
from repository.log.state import LogState
from repository.opened.open_tier import OpenTier
from repository.opened.repository import Repository
from repository.prune.needs import Needs, Survey
from repository.retention.orders import take_over
from repository.stored.index_segment import Segment, without_packs
from repository.stored.log_entry import Body, PacksMarked, PacksSwept, SweepBegun
from repository.stored.manifest_object import MANIFEST_PREFIX, manifest_id

PACKS_AN_ENTRY: Final = 5000
DELETED_AT_ONCE: Final = 64
"""Packs between two looks at the log: whether another prune has ended the matter meanwhile."""
PARALLEL: Final = 16
ATTEMPTS_MAX: Final = 20


class _Moved(Exception):
    """The log has gone on since the trees were looked at."""


@dataclass
class TierPlan:
    """What a prune of one tier would do, or did. Bytes are those of whole packs, as they are stored.

    `going`: packs that are to go; `locked`: packs that would, and until when locks keep them; `unreferenced`: packs of
    which nobody knows whether a writer counts on them. `deleted`, `deleted_bytes`: what is gone. `failed`: why not all
    is done.
    """

    tier: str
    packs: int = 0
    stored_bytes: int = 0
    going: dict[bytes, int] = field(default_factory=dict)
    locked: dict[bytes, datetime] = field(default_factory=dict)
    locked_bytes: int = 0
    unreferenced: dict[bytes, int] = field(default_factory=dict)
    deleted: int = 0
    deleted_bytes: int = 0
    failed: RepositoryError | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all that was to go is gone; what a lock keeps was not to."""
        return self.failed is None


def prune(
    repository: Repository,
    *,
    only: Collection[str] = (),
    unreferenced: bool = False,
    dry_run: bool = False,
    check_cancelled: Callable[[], None] = lambda: None,
) -> dict[str, TierPlan]:
    """Prune each ready tier (or those named). By tier, what was done, or with `dry_run` would be.

    `unreferenced`: packs that no snapshot ever needed go, too; only for who knows that nobody writes meanwhile.
    `check_cancelled` may raise; the next prune goes on. Raises `NoUsableTier`. A tier that fails is told in its plan.
    """
    repository.any_ready()
    plans: dict[str, TierPlan] = {}
    for tier in repository.ready_tiers():
        if only and tier.name not in only:
            continue
        pruning = _Pruning(repository, tier, check_cancelled, with_unreferenced=unreferenced)
        try:
            pruning.run(dry_run=dry_run)
        except BackupCancelled:
            raise
        except RepositoryError as error:
            pruning.plan.failed = error
        plans[tier.name] = pruning.plan
    return plans


def _batches(packs: Sequence[bytes], count: int) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(packs), count):
        yield packs[start : start + count]


class _Pruning:
    """One tier's prune."""

    def __init__(
        self,
        repository: Repository,
        tier: OpenTier,
        check_cancelled: Callable[[], None],
        *,
        with_unreferenced: bool,
    ) -> None:
        self._repository = repository
        self._tier = tier
        self._check_cancelled = check_cancelled
        self._with_unreferenced = with_unreferenced
        self._sizes: dict[bytes, int] = {}
        self.plan = TierPlan(tier.name)

    def run(self, *, dry_run: bool) -> None:
        """All of it. Raises the repository's errors."""
        tier = self._tier
        tier.refresh()
        if not dry_run:
            take_over(self._repository, tier, [t for t in self._repository.readable_tiers() if t is not tier])
        survey = self._plan()
        if dry_run:
            return
        if self.plan.going:
            self._mark(survey)
        self._sweep()
        self._tidy()
        tier.leave_checkpoint()

    def _plan(self) -> Survey:
        """Look through everything and say what may go."""
        survey = Survey(self._repository, self._tier, self._check_cancelled)
        survey.look_at_new()
        survey.look_at_past()
        plan, state = self.plan, self._tier.log.state
        sizes = self._sizes = {pack.id: pack.size for pack in stored_packs(self._tier.store)}
        plan.packs, plan.stored_bytes = len(sizes), sum(sizes.values())
        needs = survey.needs
        known = self._tier.index.pack_ids()
        past = (needs.past | state.marked_packs) & sizes.keys()
        others = {each for each in known & sizes.keys() if not needs.is_needed(each)} - past
        plan.unreferenced = {each: sizes[each] for each in others}
        candidates = past | others if self._with_unreferenced else past
        plan.locked = self._locked(candidates)
        plan.locked_bytes = sum(sizes[each] for each in plan.locked)
        plan.going = {each: sizes[each] for each in candidates if each not in plan.locked}
        return survey

    def _locked(self, packs: Iterable[bytes]) -> dict[bytes, datetime]:
        """Which packs a lock keeps now, by the store's clock, and until when."""
        store = self._tier.store
        if store.capabilities.locks is False:
            return {}
        now, ordered = store.now(), sorted(packs)
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="prune") as pool:
            found = pool.map(lambda each: store.head(pack_object_key(each)), ordered)
        dates = {each: info.lock_until for each, info in zip(ordered, found, strict=True) if info is not None}
        return {each: until for each, until in dates.items() if until is not None and until > now}

    # Marking

    def _mark(self, survey: Survey) -> None:
        """Name what is to go. What was committed since the trees were looked at is looked at first."""
        for _ in range(ATTEMPTS_MAX):
            state = self._tier.refresh()
            if state.marked_packs & survey.needs.used.keys():
                # Another prune keeps the other place of a chunk that lies in two.
                survey = Survey(self._repository, self._tier, self._check_cancelled)
            survey.look_at_new()
            going = {each: size for each, size in self.plan.going.items() if not survey.needs.is_needed(each)}
            try:
                for batch in _batches(sorted(going), PACKS_AN_ENTRY):
                    self._append(batch, survey.needs, state)
            except _Moved:
                continue
            self.plan.going = going
            return
        raise LogContended("other writers commit again and again while a prune looks", tier=self._tier.name)

    def _append(self, batch: Sequence[bytes], needs: Needs, seen: LogState) -> None:
        def decide(now: LogState) -> Body | None:
            if now.snapshot_count != seen.snapshot_count or now.marked_packs & needs.used.keys():
                raise _Moved
            new = tuple(each.hex() for each in batch if each not in now.marked_packs)
            return PacksMarked(time_ns=self._repository.clock.now_ns(), packs=new) if new else None

        self._tier.log.append(decide)

    # Sweeping

    def _sweep(self) -> None:
        """Delete what is marked, this prune's and what an earlier one left; then it leaves the index and the log."""
        tier, going = self._tier, set(self.plan.going)
        for batch in _batches(sorted(going), PACKS_AN_ENTRY):

            def decide(state: LogState, batch: Sequence[bytes] = batch) -> Body | None:
                # One that somebody unmarked stays.
                new = tuple(each.hex() for each in batch if each in state.marked_packs - state.swept_packs)
                return SweepBegun(time_ns=self._repository.clock.now_ns(), packs=new) if new else None

            tier.log.append(decide)
        self._check_cancelled()
        gone: set[bytes] = set()
        for batch in _batches(sorted(tier.log.state.swept_packs), DELETED_AT_ONCE):
            self._check_cancelled()
            # Another prune may have ended it, and somebody may have brought a pack of that name again.
            current = tier.refresh().swept_packs
            gone |= self._delete([each for each in batch if each in current])
        if gone:
            self._leave_index(gone)
            self._append_swept(gone)

    def _delete(self, packs: Sequence[bytes]) -> set[bytes]:
        """Delete these; returns those that are gone. A lock that came in between keeps one, and is told."""
        store, gone = self._tier.store, set[bytes]()

        def delete(pack_id: bytes) -> RepositoryError | None:
            try:
                store.delete(pack_object_key(pack_id))
            except (Locked, AccessDenied) as error:
                return error
            return None

        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="prune") as pool:
            for pack_id, error in zip(packs, pool.map(delete, packs), strict=True):
                if error is None:
                    gone.add(pack_id)
                    self.plan.deleted += 1
                    self.plan.deleted_bytes += self._sizes.get(pack_id, 0)
                elif isinstance(error, Locked) and pack_id in self.plan.going:
                    self.plan.locked |= self._locked([pack_id])
                    self.plan.locked_bytes += self.plan.going.pop(pack_id)
                else:
                    self.plan.failed = error
        return gone

    def _leave_index(self, gone: Collection[bytes]) -> None:
        """Take the rows of these packs out of the index."""
        tier = self._tier
        for _ in range(ATTEMPTS_MAX):
            tier.refresh()
            touched = {name: each for name, each in tier.named_segments().items() if not each.packs.isdisjoint(gone)}
            if not touched:
                return
            left = [Segment(without_packs(each, gone)) for each in touched.values() if not each.packs.issubset(gone)]
            sealed = self._repository.seal_segments(left)
            if tier.change_index(sealed, touched, "pruned"):
                return
        raise LogContended("other writers change the index again and again", tier=tier.name)

    def _append_swept(self, gone: Collection[bytes]) -> None:
        for batch in _batches(sorted(gone), PACKS_AN_ENTRY):

            def decide(state: LogState, batch: Sequence[bytes] = batch) -> Body | None:
                done = tuple(each.hex() for each in batch if each in state.swept_packs)
                return PacksSwept(time_ns=self._repository.clock.now_ns(), packs=done) if done else None

            self._tier.log.append(decide)

    def _tidy(self) -> None:
        """Delete what no entry names any more: replaced segments, second copies of forgotten snapshots' entries."""
        tier, state = self._tier, self._tier.log.state
        needless = [segment_object_key(each) for each in state.replaced_segments if each not in state.segments]
        there = {info.key for info in tier.store.list("index/")}
        keys = [each for each in needless if each in there]
        if not self.plan.locked and self.plan.is_complete:
            # As long as something of theirs is there, they say whose it is.
            ids = {info.key: manifest_id(info.key) for info in tier.store.list(MANIFEST_PREFIX)}
            keys += [key for key, identity in ids.items() if identity is not None and identity in state.forgotten]
        for key in keys:
            self._check_cancelled()
            with suppress(Locked, AccessDenied):
                tier.store.delete(key)
