"""Prune: the packs that only forgotten snapshots needed are deleted, in two phases, beside any number of writers.

Promise: no snapshot that a tier has loses a byte, whoever writes, prunes or dies meanwhile: a pack is named in a `mark`
entry, which is decided on a state whose every snapshot was looked at; from then on none may lean on it; a `sweep` entry
says that it goes; then it is deleted, its rows leave the index, and `swept` ends the matter. Killed anywhere, the next
prune goes on from what the log says. There are no locks, and no clocks but the store's own, which judges its object
locks.

Packs that are mostly waste are written again first (`repack.py`). What is locked stays and is told with its date; packs
that no snapshot ever needed, as far as is known, stay as well unless the caller knows that nobody writes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from repository.errors import BackupCancelled, Damaged, RepositoryError, TierBehind
from repository.index.pack_catalog import is_fault_of_object, stored_packs
from repository.index.pack_sizes import least_sizes, raw_sizes
from repository.opened.open_tier import OpenTier
from repository.opened.pending import WRITER_TOKEN_LENGTH, adopt_orphans
from repository.opened.repository import Repository
from repository.prune.needs import Needs, Trees, locked_packs, of_destroyed_keys
from repository.prune.pinned import Pinned
from repository.prune.repack import Repacking, mostly_waste, only_copies
from repository.prune.rows import rows_of
from repository.prune.sweep import Marked, Sweep, mark
from repository.retention.erasure import finish
from repository.retention.orders import take_over
from repository.retention.pin_watch import PinFound

MAX_UNUSED: Final = 0.05
"""Of what stays, so much may be waste before packs are written again."""
PARALLEL: Final = 16
_DAMAGED: Final = "`repo check --read-data` says what is lost, and `repo repair --read-data` what can be mended."
_CATCH_UP: Final = (
    "Run `catch-up` with a tier that has them: snapshots of this one cannot be restored from it until then."
)


@dataclass(frozen=True)
class PruneOptions:
    """`unreferenced`: packs that no snapshot ever needed go, too; only for who knows that nobody writes meanwhile.
    `max_unused`: of what stays, so much may be waste before packs are written again (1: never is one);
    `repack_bytes_max`: so much of them a run, at most. `only`: these tiers (names); none: each.
    """

    only: Collection[str] = ()
    unreferenced: bool = False
    max_unused: float = MAX_UNUSED
    repack_bytes_max: int = 1 << 62
    dry_run: bool = False


@dataclass
class TierPlan:
    """What a prune of one tier would do, or did. Bytes are those of whole packs, as they are stored.

    `going`: packs that are to go; `moving`: those of them of which something is needed and stored again first, about
    `moving_bytes` in all; `locked`: packs that would go, and until when locks keep them; `unreferenced`: packs of which
    nobody knows whether a writer counts on them. `deleted`, `deleted_bytes`: what is gone; `stored_bytes`: what was
    stored again. `pinned`: packs that would go, and that somebody reads, as `pins` say; they go with a later prune.
    `failed`: why not all is done.
    """

    tier: str
    packs: int = 0
    total_bytes: int = 0
    going: dict[bytes, int] = field(default_factory=dict)
    moving: set[bytes] = field(default_factory=set)
    moving_bytes: int = 0
    locked: dict[bytes, datetime] = field(default_factory=dict)
    locked_bytes: int = 0
    pinned: dict[bytes, int] = field(default_factory=dict)
    pins: list[PinFound] = field(default_factory=list)
    unreferenced: dict[bytes, int] = field(default_factory=dict)
    deleted: int = 0
    deleted_bytes: int = 0
    stored_bytes: int = 0
    failed: RepositoryError | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all that was to go is gone; what a lock keeps was not to."""
        return self.failed is None


def prune(
    repository: Repository,
    options: PruneOptions | None = None,
    check_cancelled: Callable[[], None] = lambda: None,
) -> dict[str, TierPlan]:
    """Prune the ready tiers. By tier, what was done, or with `dry_run` would be.

    `check_cancelled` may raise; the next prune goes on. Raises `NoUsableTier`, `Damaged` (a tree cannot be read, so
    that nobody knows what is needed). A tier that fails is told in its plan.
    """
    options = options or PruneOptions()
    repository.any_ready()
    tiers = [tier for tier in repository.ready_tiers() if not options.only or tier.name in options.only]
    return _Prune(repository, tiers, options, check_cancelled).run()


class _Prune:
    def __init__(
        self,
        repository: Repository,
        tiers: Iterable[OpenTier],
        options: PruneOptions,
        check_cancelled: Callable[[], None],
    ) -> None:
        self._repository = repository
        self._options = options
        self._check_cancelled = check_cancelled
        self._trees = Trees(repository, check_cancelled)
        self._plans = {tier.name: TierPlan(tier.name) for tier in tiers}
        self._tiers = list(tiers)
        self._pinned = Pinned(repository, check_cancelled)
        self._unread: dict[bytes, RepositoryError] = {}
        self._bad: dict[str, set[bytes]] = {}
        self._stored: set[bytes] = set()
        self._marked: dict[str, Marked] = {}

    def run(self) -> dict[str, TierPlan]:
        """All of it."""
        self._each(self._refresh)
        self._trees.look_at_new()
        self._trees.look_at_past(self._going_on())
        self._each(self._plan)
        if self._options.dry_run:
            return self._plans
        token = self._repository.randomness.token_bytes(WRITER_TOKEN_LENGTH)
        moving = set[bytes]().union(*(self._plans[tier.name].moving for tier in self._going_on()))
        if moving:
            self._repository.begin_writing(token, self._going_on())
            for tier in self._going_on():
                if not tier.is_ready:  # it failed there, or lacks a key without which nothing may be written to it
                    self._plans[tier.name].failed = tier.error
            self._repack(moving)
        self._each(self._mark)
        with ThreadPoolExecutor(max(1, len(self._tiers)), thread_name_prefix="prune-tier") as pool:
            list(pool.map(lambda tier: self._attempt(self._sweep, tier), self._going_on()))
        self._check_cancelled()
        if moving:
            self._repository.end_writing(token, [tier for tier in self._going_on() if tier.is_ready])
        self._tell_unread()
        return self._plans

    def _tell_unread(self) -> None:
        """Where what is needed of a pack cannot be read nothing is freed: that is told, as damage where it is that."""
        for plan in self._plans.values():
            if (marked := self._marked.get(plan.tier)) and marked.damaged and plan.failed is None:
                message = "packs that have the chunks of others, which were to go, are damaged: what they have stays"
                plan.failed = Damaged(message, hint=_DAMAGED, tier=plan.tier, packs=len(marked.damaged))
            left = [self._unread[each] for each in sorted(plan.moving & self._unread.keys())]
            if not left or plan.failed is not None:
                continue
            worst = next((error for error in left if is_fault_of_object(error)), None)
            if worst is None:
                plan.failed = left[0]
                continue
            message = "what is needed of packs that are mostly waste cannot be read: they stay"
            plan.failed = Damaged(message, hint=_DAMAGED, tier=plan.tier, packs=len(left), reason=str(worst))

    def _going_on(self) -> list[OpenTier]:
        return [tier for tier in self._tiers if self._plans[tier.name].is_complete]

    def _each(self, work: Callable[[OpenTier], None]) -> None:
        for tier in self._going_on():
            self._attempt(work, tier)

    def _attempt(self, work: Callable[[OpenTier], None], tier: OpenTier) -> None:
        """One tier that fails stops nothing but itself."""
        try:
            work(tier)
        except BackupCancelled:
            raise
        except RepositoryError as error:
            self._plans[tier.name].failed = error

    def _refresh(self, tier: OpenTier) -> None:
        tier.refresh()
        if not self._options.dry_run:
            # Of a snapshot that its log and its store go on holding nothing may go, though others have forgotten it.
            if (fault := take_over(self._repository, tier, self._check_cancelled).fault) is not None:
                raise fault
            erased = finish(self._repository, tier)
            if erased.failed is not None:
                raise erased.failed
            if self._options.unreferenced:
                # What a writer that died has uploaded is in no index, and so is what an index has lost the rows of,
                # which something may need: what it is, is read before any of it goes.
                adopt_orphans(self._repository, tier)

    # Deciding

    def _plan(self, tier: OpenTier) -> None:
        """Say what may go."""
        plan, state = self._plans[tier.name], tier.log.state
        sizes = {pack.id: pack.size for pack in stored_packs(tier.store)}
        plan.packs, plan.total_bytes = len(sizes), sum(sizes.values())
        index = tier.index
        least = least_sizes(index.segments())
        bad = self._bad[tier.name] = {each for each in index.pack_ids() if sizes.get(each, -1) < least.get(each, 0)}
        needs = Needs(self._repository, tier, bad=bad)
        needs.add(self._trees.live)
        needs.add_wherever(self._trees.held)
        needs.add_parts()
        past = {each.pack_id for chunk_id in self._trees.past for each in index.lookup_all(chunk_id)}
        past = {each for each in (past | state.marked_packs) & sizes.keys() if not needs.is_needed(each)}
        others = {each for each in index.pack_ids() & sizes.keys() if not needs.is_needed(each)} - past
        # Two prunes at once, or of two tiers that did not see each other, write the same again.
        copies = only_copies(index.segments(), others, self._trees.live)
        # In no index: of a writer that lives or died, or not whole. What lies in them nobody knows.
        unknown = {each for each in sizes.keys() - index.pack_ids() - past if not needs.is_needed(each)}
        copies |= of_destroyed_keys(self._repository, tier, (others - copies) | unknown)
        past, others, unknown = past | copies, others - copies, unknown - copies
        going = past | others if self._options.unreferenced else past
        if self._options.unreferenced and self._options.dry_run:
            going |= unknown
        plan.unreferenced = {each: sizes[each] for each in (others | unknown) - going}
        moving = self._mostly_waste(tier, needs, {each: sizes[each] for each in sizes if each in needs.used})
        # A pack that a locked snapshot needs and that is not locked is for `repair` to lock: written again, its bytes
        # would have no lock, or one as long as the longest of all snapshots'.
        moving -= needs.parts | (self._of_locked(tier) if moving else set())
        kept = self._pinned.on(tier, is_noted=not self._options.dry_run)
        plan.pins, plan.pinned = kept.pins, {each: sizes[each] for each in kept.of(going | moving)}
        going, moving = going - plan.pinned.keys(), moving - plan.pinned.keys()
        # Only what is to go is asked for its lock: what is locked longer than needed is told, the rest is as it should.
        plan.locked = locked_packs(tier, going | moving)
        plan.locked_bytes = sum(sizes[each] for each in plan.locked if each in going)
        plan.moving = moving - plan.locked.keys()
        raw = raw_sizes(index.segments()) if plan.moving else {}
        shares = {each: min(1.0, needs.used[each] / raw[each]) if raw.get(each) else 1.0 for each in plan.moving}
        plan.moving_bytes = round(sum(sizes[each] * share for each, share in shares.items()))
        plan.locked = {each: until for each, until in plan.locked.items() if each in going}
        plan.going = {each: sizes[each] for each in (going | plan.moving) - plan.locked.keys()}

    def _of_locked(self, tier: OpenTier) -> set[bytes]:
        """The packs of what snapshots need that are locked by now."""
        needs = Needs(self._repository, tier)
        needs.add(self._trees.locked)
        needs.add_wherever(self._trees.held)
        return set(needs.used)

    def _mostly_waste(self, tier: OpenTier, needs: Needs, sizes: dict[bytes, int]) -> set[bytes]:
        if self._options.max_unused >= 1 or not sizes:
            return set()
        raw = raw_sizes(tier.index.segments())
        options = self._options
        return mostly_waste(sizes, needs.used, raw, options.max_unused, options.repack_bytes_max)

    # Doing

    def _repack(self, moving: set[bytes]) -> None:
        """Store again what is needed of these packs, on every tier that has one of them."""
        tiers = [tier for tier in self._going_on() if self._plans[tier.name].moving]
        wanted: set[bytes] = set()
        for tier in tiers:
            needs = Needs(self._repository, tier, self._plans[tier.name].moving, self._bad[tier.name])
            # Only what lies in them is asked for: that is little of what is live.
            for chunk_id, _ in rows_of(tier.index.segments(), self._plans[tier.name].moving):
                if chunk_id in self._trees.live and needs.elsewhere(chunk_id) is None:
                    wanted.add(chunk_id)
        repacking = Repacking(self._repository, tiers, self._check_cancelled)
        repacking.move(moving, wanted)
        self._unread = repacking.unread
        repacking.commit()
        self._stored = repacking.stored_packs
        for tier in tiers:
            plan = self._plans[tier.name]
            plan.failed = repacking.failed.get(tier.name)
            plan.stored_bytes = 0 if plan.failed else repacking.stored_bytes

    def _mark(self, tier: OpenTier) -> None:
        plan = self._plans[tier.name]
        if plan.going:
            marked = mark(
                self._repository,
                tier,
                self._trees,
                plan.going,
                moving=plan.moving,
                bad=self._bad[tier.name],
                made=self._stored,
                check_cancelled=self._check_cancelled,
            )
            plan.going, self._marked[tier.name] = marked.going, marked

    def _sweep(self, tier: OpenTier) -> None:
        plan = self._plans[tier.name]
        sweep = Sweep(self._repository, tier, self._check_cancelled)
        marked = self._marked.get(tier.name)
        try:
            sweep.delete(plan.going, marked.kept if marked is not None else ())
        finally:
            plan.deleted, plan.deleted_bytes = sweep.deleted, sweep.deleted_bytes
        for pin in sweep.pinned.pins:
            if all(pin.id != each.id for each in plan.pins):
                plan.pins.append(pin)
        plan.pinned |= {each: plan.going.pop(each, 0) for each in sweep.held_back if each not in plan.pinned}
        late = locked_packs(tier, sweep.kept)
        plan.locked |= late
        plan.locked_bytes += sum(plan.going.pop(each, 0) for each in late)
        if sweep.kept - late.keys():
            plan.failed = sweep.error
        if sweep.again:
            words = "packs were deleted that somebody had brought here again meanwhile"
            plan.failed = TierBehind(words, hint=_CATCH_UP, tier=tier.name, packs=len(sweep.again))
        if not plan.pins:  # a reader may be at old segments, and what is pinned is known by its second copy
            # Of what others have forgotten since it was looked at the packs are there, and the copies say whose.
            is_gone = not plan.locked and plan.is_complete and not (marked and marked.kept)
            sweep.tidy(self._trees.past_snapshots if is_gone else ())
        tier.leave_checkpoint()
