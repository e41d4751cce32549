"""Catching up: what a tier missed is copied from another one, as ciphertext.

Promise: nothing is decrypted, re-encrypted or read from the source again; every pack is proven by its name
before it is stored. The order is keys, holds and forgettings, then that of a backup (packs, index segments, log
entries), so a crash leaves a tier that is less far behind. A snapshot is committed only when every pack that it
references is there.
Memory: `PACKS_AT_A_TIME` packs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from repository.errors import NoUsableTier, RepositoryError, RepositoryExists, SnapshotNotFound
from repository.format import pack_object_key
from repository.index.index import Location
from repository.index.pack_catalog import each_in_parallel
from repository.index.several_places import Rank, choose
from repository.opened import key_change, pending
from repository.opened.open_tier import OpenTier, TierState
from repository.opened.pack_access import ChunkReader, nearest_first, whole_pack
from repository.prune.needs import locked_packs
from repository.prune.sweep import Sweep, unmark
from repository.retention import erasure, held_objects
from repository.retention.orders import owed_orders, take_over
from repository.stored.log_entry import Body
from repository.stored.snapshot import Snapshot
from repository.stored.tree_visit import TreeVisitor
from repository.upkeep.copied_segments import Brought, copy_segments
from repository.upkeep.owed_packs import owed_packs
from repository.upkeep.stream_check import lacking
from repository.upkeep.stream_copy import CopiedStreams, copy_streams

if TYPE_CHECKING:
    from repository.opened.repository import Repository

PACKS_AT_A_TIME: Final = 3


class Lag(NamedTuple):
    """What a tier lacks of what the others have. It is *behind* while there is any: no damage, a debt.

    `keys`: object keys of what was wrapped or made while it was away. `orders`: what it was not told of what stays
    and goes. `streams`: by name, how many pieces it lacks; none where it has all and its log does not say so.
    """

    packs: set[bytes]
    snapshots: list[Snapshot]
    keys: set[str]
    orders: list[Body]
    streams: dict[str, int]

    @property
    def is_behind(self) -> bool:
        """Whether it lacks anything."""
        return any(self)


class CatchUpProgress(NamedTuple):
    """How far the copying is."""

    tier: str
    packs_done: int
    packs_total: int
    bytes_done: int


@dataclass
class CatchUpResult:
    """What was copied. `lost_packs`: no other tier has them whole; `left_out`: snapshots that need them."""

    tier: str
    copied_keys: int = 0
    orders: int = 0
    erased: erasure.TierErased = field(default_factory=erasure.TierErased)
    copied_packs: int = 0
    copied_bytes: int = 0
    copied_segments: int = 0
    streams: CopiedStreams = field(default_factory=CopiedStreams)
    snapshots: list[str] = field(default_factory=list)
    lost_packs: list[bytes] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether the tier has everything now."""
        return not self.lost_packs and not self.left_out and not self.streams.left_out


def lag(repository: Repository, tier: OpenTier) -> Lag:
    """What this tier lacks. An EMPTY tier lacks everything. `owed_packs` says what the look costs."""
    return _lag_of_objects(repository, tier)._replace(streams=lacking(repository, tier))


def is_behind(repository: Repository, tier: OpenTier) -> bool:
    """Whether it lacks a snapshot, a key, an order or a piece of a stream: cheap, as no tree is looked into.

    A tier that has every snapshot, and of which the index lost rows, is not seen here.
    """
    if erasure.owed_snapshots(repository, tier) or key_change.lacking_keys(repository, tier):
        return True
    return bool(owed_orders(repository, tier) or lacking(repository, tier))


def _lag_of_objects(repository: Repository, tier: OpenTier) -> Lag:
    """Without its streams, of which each tier has to be asked."""
    snapshots = erasure.owed_snapshots(repository, tier)
    keys = set(key_change.lacking_keys(repository, tier))
    return Lag(owed_packs(repository, tier, snapshots), snapshots, keys, owed_orders(repository, tier), {})


def begin_anew(tier: OpenTier) -> None:
    """Take a VANISHED tier for an EMPTY one: an operator knows that what was there is gone for good.

    Raises `RepositoryExists`.
    """
    if tier.state not in (TierState.VANISHED, TierState.EMPTY):
        hint = "Mount the tier's own disk, or move away what lies there; only where nothing is a tier is begun."
        raise RepositoryExists("tier is not empty", hint=hint, tier=tier.name, state=tier.state.value)
    tier.set_state(TierState.EMPTY, None)


def catch_up(
    repository: Repository,
    tier: OpenTier,
    *,
    lock_until: datetime | None = None,
    on_progress: Callable[[CatchUpProgress], None] | None = None,
    check_cancelled: Callable[[], None] = lambda: None,
) -> CatchUpResult:
    """Copy to `tier` what the other readable tiers have and it lacks.

    `lock_until`: asked for all that is copied; this tier proves to lock before anything is. Where it is known to lock,
    what a snapshot needs is locked at least as long as a tier that has the snapshot was asked to lock it.

    `check_cancelled` may raise; what was copied stays. Raises `NoUsableTier` (this tier is neither READY nor
    EMPTY, or there is no other one), `LockNotProven`, `LogContended`, and this tier's errors. A source that fails is
    passed over for the next.
    """
    if tier.state is TierState.EMPTY:
        repository.add_tier(tier)
    if not tier.is_ready:
        raise NoUsableTier.because("tier cannot be written to", [tier.error], tier=tier.name, state=tier.state.value)
    sources = repository.sources_for(tier)
    if not sources:
        raise NoUsableTier("there is no other tier to copy from", tiers=repository.states())
    result = CatchUpResult(tier.name)
    tier.refresh()
    if lock_until is not None:
        tier.prove_locks(lock_until)
    result.copied_keys = key_change.copy_keys(repository, tier)
    # What a prune began to delete is deleted before it may be brought again.
    Sweep(repository, tier, check_cancelled).delete({})
    # Before anything is brought here: what was forgotten elsewhere is not to come back, nor to be built upon.
    taken = take_over(repository, tier, check_cancelled)
    result.orders = taken.given
    result.erased = erasure.finish(repository, tier)
    if result.erased.failed is not None:
        raise result.erased.failed
    missing = _with_gone(tier, _lag_of_objects(repository, tier))
    token = repository.randomness.token_bytes(pending.WRITER_TOKEN_LENGTH) if missing.packs else b""
    if token:
        pending.announce(repository, tier, token, lock_until)
        # What an interrupted catch-up left is adopted and need not be copied again; what cannot be, is.
        pending.adopt_orphans(repository, tier, lock_until)
        missing = _with_gone(tier, missing._replace(packs=tier.lacks(missing.packs)))
    known = tier.index.pack_ids()
    _copy_packs(tier, sources, missing.packs, result, lock_until, on_progress, check_cancelled)
    brought = Brought(missing.packs - set(result.lost_packs), known)
    result.copied_segments = copy_segments(repository, tier, brought, lock_until)
    if tier.lacks(missing.packs.difference(result.lost_packs)):
        # Their rows are in segments that this tier replaced (an index rebuilt while packs were gone).
        pending.adopt_orphans(repository, tier, lock_until)
    if missing.packs and (gone := tier.gone_packs() & brought.packs):
        # A prune that was ended here deletes late, and knew nothing of the rows yet.
        _copy_packs(tier, sources, gone, result, lock_until, on_progress, check_cancelled)
        result.lost_packs += sorted(tier.gone_packs() & gone - set(result.lost_packs))
    result.streams = copy_streams(repository, tier, sources, lock_until, check_cancelled)
    _commit_snapshots(repository, tier, missing.snapshots, result, lock_until)
    if result.snapshots and tier.store.capabilities.locks is not False:
        held_objects.set_again(repository, tier, check_cancelled)
    if token:
        pending.remove_marker(tier, pending.marker_object_key(token))
    if taken.fault is not None:
        raise taken.fault
    return result


def _with_gone(tier: OpenTier, missing: Lag) -> Lag:
    """What the tier lacks, and the packs that its index knows and that are not there any more."""
    return missing._replace(packs=missing.packs | tier.gone_packs())


def _copy_packs(
    tier: OpenTier,
    sources: Sequence[OpenTier],
    packs: set[bytes],
    result: CatchUpResult,
    lock_until: datetime | None,
    on_progress: Callable[[CatchUpProgress], None] | None,
    check_cancelled: Callable[[], None],
) -> None:
    def copy(pack_id: bytes) -> tuple[bytes, int]:
        check_cancelled()
        body = whole_pack(pack_id, (source.store for source in sources))
        if body is None:
            return pack_id, -1
        tier.store.put(pack_object_key(pack_id), body, lock_until=lock_until, durable=False)
        return pack_id, len(body)

    for pack_id, size in each_in_parallel(copy, sorted(packs), PACKS_AT_A_TIME):
        if size < 0:
            result.lost_packs.append(pack_id)
        else:
            result.copied_packs += 1
            result.copied_bytes += size
        if on_progress is not None:
            on_progress(CatchUpProgress(tier.name, result.copied_packs, len(packs), result.copied_bytes))
    tier.store.sync()


def _commit_snapshots(
    repository: Repository,
    tier: OpenTier,
    snapshots: Sequence[Snapshot],
    result: CatchUpResult,
    lock_until: datetime | None,
) -> None:
    # Each tree is looked into: that this tier has all packs of the sources' indexes proves nothing, since an
    # index may have lost rows (with an entry of its log, or when it was rebuilt without packs that were gone).
    reader = ChunkReader(nearest_first([tier, *repository.sources_for(tier)]), repository.keys)
    visitor, packs = TreeVisitor(reader.chunk), set[bytes]()
    dates = {each.id: _lock_of(each, repository, tier, lock_until) for each in snapshots}
    # Each adds to the packs of those before it, and all of these are locked with it: so those that are locked
    # longest go first, and nothing is locked for longer than a snapshot that needs it.
    for snapshot in sorted(snapshots, key=lambda each: -(date.timestamp() if (date := dates[each.id]) else 0)):
        rank = partial(_seconds_locked, repository.tiers_with(snapshot)) if dates[snapshot.id] is not None else None
        found = packs_of(snapshot, tier, visitor, rank, packs, result.lost_packs)
        if found is None and unmark(repository, tier):  # a prune that did not know of what is brought now
            tier.refresh()
            visitor, packs = TreeVisitor(reader.chunk), set()
            found = packs_of(snapshot, tier, visitor, rank, packs, result.lost_packs)
        if found is None:
            result.left_out.append(snapshot.id)
            # What was missing may be in the next one as well: nothing that was seen counts as being there.
            visitor, packs = TreeVisitor(reader.chunk), set()
            continue
        packs |= found
        try:
            tier.commit_snapshot(snapshot.body, packs=packs, lock_until=dates[snapshot.id])
        except SnapshotNotFound:
            continue  # forgotten here meanwhile: the tier owes it to nobody; what was seen with it counts for the next
        result.snapshots.append(snapshot.id)


def _lock_of(
    snapshot: Snapshot, repository: Repository, tier: OpenTier, lock_until: datetime | None
) -> datetime | None:
    """Until when the snapshot is to be locked here: as was asked, or as long as other tiers' entries say that it is.

    This tier's own clock judges the dates, as that of the others did; nobody asks a tier that cannot lock.
    """
    dates = [lock_until] if lock_until is not None else []
    for source in repository.tiers_with(snapshot) if tier.store.capabilities.locks else ():
        seconds = source.log.state.locked_until.get(snapshot.id) if source is not tier else None
        if seconds is not None:
            dates.append(datetime.fromtimestamp(seconds, UTC))
    now = tier.store.now() if dates else None
    return max((date for date in dates if date is lock_until or (now is not None and date > now)), default=None)


def _seconds_locked(sources: Sequence[OpenTier], packs: Collection[bytes]) -> dict[bytes, float]:
    """Until when each pack is locked where a snapshot was before; what a source does not tell decides nothing."""
    found: dict[bytes, float] = {}
    for source in sources:
        with suppress(RepositoryError):
            for pack_id, until in locked_packs(source, packs).items():
                found[pack_id] = max(until.timestamp(), found.get(pack_id, 0.0))
    return found


def packs_of(
    snapshot: Snapshot,
    tier: OpenTier,
    visitor: TreeVisitor,
    rank: Rank | None = None,
    before: Collection[bytes] = (),
    lost: Collection[bytes] = (),
) -> set[bytes] | None:
    """The packs on this tier of what the snapshot adds to those before; None where the tier lacks some of it.

    `rank`: which packs of several that have the same it leans on, where they are to be locked; `before`: the packs of
    those before it, which are locked as long; `lost`: packs that are not there, whatever the index says.
    """
    if tier.log.state.lacking_streams(snapshot.manifest):
        return None
    index, packs, places = tier.index, set[bytes](), dict[bytes, list[Location]]()
    out = index.excluded_packs().union(lost)
    for chunk_id in visitor.chunks(snapshot.manifest.root):
        if rank is None and not lost:
            location = index.lookup(chunk_id)
            found = [location] if location is not None else []
        else:
            found = [each for each in index.lookup_all(chunk_id) if each.pack_id not in out]
        if not found:
            return None
        if len(found) == 1 or rank is None:
            packs.add(found[0].pack_id)
        else:
            places[chunk_id] = found
    if rank is not None:
        packs.update(each.pack_id for each in choose(places, {*packs, *before}, rank).values())
    return None if visitor.faults else packs
