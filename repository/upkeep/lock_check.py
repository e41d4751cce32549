"""Checks locks: what a snapshot needs should be locked as long as its log entry says.

An entry names the date that was asked for. Where a store does not tell of locks, that is said, and not that all is
well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from repository.format import pack_object_key
from repository.index.pack_catalog import stored_packs
from repository.index.segments import segment_object_key
from repository.opened import locking, present_objects
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader
from repository.stored.log_entry import entry_object_key
from repository.stored.manifest_object import manifest_object_key
from repository.stored.tree_visit import TreeVisitor
from repository.tiers.port import ObjectStore
from repository.upkeep.check_report import Finding, Problem

if TYPE_CHECKING:
    from repository.opened.repository import Repository


SAME: Final = timedelta(seconds=2)


class Short(NamedTuple):
    """An object that is not locked as long as it should be."""

    object_key: str
    sha256: bytes | None
    wanted: datetime
    found: datetime | None


def lock_findings(
    repository: Repository, tier: OpenTier, check_cancelled: Callable[[], None] = lambda: None
) -> Iterator[Finding]:
    """What is not locked as long as it should be on a tier, or that it cannot be known. Raises the store's errors."""
    locks = tier.store.capabilities.locks
    if locks is False:
        return
    dates = _dates_of_snapshots(tier)
    if locks and dates:
        for short in objects_short_of_lock(repository, tier, dates, check_cancelled):
            has = f"locked until {short.found.isoformat()}" if short.found is not None else "not locked"
            detail = f"{has}; a snapshot that needs it is locked until {short.wanted.isoformat()}"
            yield Finding(tier.name, Problem.UNLOCKED, short.object_key, detail, (tier.name,))
    elif tier.snapshots():
        why = "no snapshot here was to be locked"
        if locks is None:
            why = "these credentials may not ask whether the tier locks"
        yield Finding(tier.name, Problem.LOCKS_UNKNOWN, "", why)


def lock_again(repository: Repository, tier: OpenTier, check_cancelled: Callable[[], None]) -> list[str]:
    """Lock what should be locked for longer; returns the keys. Raises what `locking.lock` raises."""
    found = list(objects_short_of_lock(repository, tier, _dates_of_snapshots(tier), check_cancelled))
    for wanted in sorted({short.wanted for short in found}):
        locking.lock(tier.store, {each.object_key: each.sha256 for each in found if each.wanted == wanted}, wanted)
    return [short.object_key for short in found]


def objects_short_of_lock(
    repository: Repository, tier: OpenTier, dates: dict[str, datetime], check_cancelled: Callable[[], None]
) -> Iterator[Short]:
    """The objects that are there and not locked as long as the snapshots (id → date) that need them."""
    now = tier.store.now()
    held = {identity: date for identity, date in dates.items() if date > now}
    if not held:
        return
    packs = _packs_until(repository, tier, held, check_cancelled)
    wanted = {pack_object_key(pack_id): date for pack_id, date in packs.items()}
    for name, segment in tier.named_segments().items():
        needed = [packs[pack_id] for pack_id in segment.pack_ids() if pack_id in packs]
        if needed:
            wanted[segment_object_key(name)] = max(needed)
    segments = {segment_object_key(name) for name in tier.log.state.segments}
    digests = present_objects.needed_objects(tier, packs)
    state = tier.log.state
    for identity, date in held.items():
        wanted[entry_object_key(state.entry_of[identity])] = wanted[manifest_object_key(identity)] = date
    # Config and keys are needed by all; of the segments only those that list what is.
    wanted |= {key: max(held.values()) for key in digests.keys() - wanted.keys() - segments}
    digests |= {entry_object_key(number): state.digest_of(number) or None for number in state.entry_of.values()}
    check_cancelled()
    for key, (is_there, lock) in _locks_of(tier.store, sorted(wanted)):
        if is_there and (lock is None or lock < wanted[key]):
            yield Short(key, digests.get(key), wanted[key], lock)


class Longer(NamedTuple):
    """A pack that is locked for longer than any snapshot of a tier needs it. `wanted`: None where none does at all."""

    pack_id: bytes
    size: int
    until: datetime
    wanted: datetime | None


@dataclass
class Locked:
    """The packs of one tier that are locked now. `longer`: those that are for longer than is needed."""

    packs: int = 0
    bytes: int = 0
    longer: list[Longer] = field(default_factory=list)


def locked_packs(repository: Repository, tier: OpenTier, check_cancelled: Callable[[], None]) -> Locked:
    """What is locked on a tier, and what of it for longer than a snapshot that needs it is. Raises its errors.

    A lock is no longer than is needed where it ends in the same second or two: servers keep whole ones.
    """
    now = tier.store.now()
    held = {identity: date for identity, date in _dates_of_snapshots(tier).items() if date > now}
    wanted = _packs_until(repository, tier, held, check_cancelled)
    sizes = {pack_object_key(pack.id): pack for pack in stored_packs(tier.store)}
    found = Locked()
    for key, (_, until) in _locks_of(tier.store, sizes):
        if until is None or until <= now:
            continue
        pack = sizes[key]
        found.packs += 1
        found.bytes += pack.size
        needed = wanted.get(pack.id)
        if needed is None or until - needed > SAME:
            found.longer.append(Longer(pack.id, pack.size, until, needed))
    return found


def _packs_until(
    repository: Repository, tier: OpenTier, held: dict[str, datetime], check_cancelled: Callable[[], None]
) -> dict[bytes, datetime]:
    """Until when each pack is needed that the snapshots need."""
    visitor = TreeVisitor(ChunkReader([tier], repository.keys).chunk)
    packs: dict[bytes, datetime] = {}
    copies: dict[tuple[bytes, ...], datetime] = {}
    # The longest first: what several snapshots have is seen once, for the one that keeps it longest.
    for identity, date in sorted(held.items(), key=lambda item: item[1], reverse=True):
        for chunk_id in visitor.chunks(tier.snapshots()[identity].manifest.root):
            places = tuple(sorted(location.pack_id for location in tier.index.lookup_all(chunk_id)))
            if len(places) == 1:
                packs.setdefault(places[0], date)
            elif places:
                copies.setdefault(places, date)
        check_cancelled()
    # Which of several copies the writer relied on is not known: one that is locked as long is enough.
    several = sorted({pack_object_key(each) for places in copies for each in places})
    locks = {key: lock for key, (_, lock) in _locks_of(tier.store, several)}
    marked = tier.log.state.marked_packs
    for places, date in copies.items():
        enough = [each for each in places if (lock := locks[pack_object_key(each)]) is not None and lock >= date]
        if any(each in packs and packs[each] >= date for each in places):
            continue
        chosen = min(enough or places, key=lambda each: (each in marked, each))
        packs[chosen] = max(date, packs.get(chosen, date))
    return packs


def _dates_of_snapshots(tier: OpenTier) -> dict[str, datetime]:
    """Until when snapshots were to be locked, by id; those without a lock are left out."""
    return {identity: datetime.fromtimestamp(seconds, UTC) for identity, seconds in tier.log.state.locked_until.items()}


def _locks_of(store: ObjectStore, keys: Iterable[str]) -> list[tuple[str, tuple[bool, datetime | None]]]:
    """Whether each object is there, and until when it is locked."""

    def look(key: str) -> tuple[str, tuple[bool, datetime | None]]:
        found = store.head(key)
        # Other bytes over a pack's own: their lock keeps nothing that is needed.
        is_own = found is not None and found.is_own is not False
        return key, (found is not None, found.lock_until if found is not None and is_own else None)

    with ThreadPoolExecutor(locking.PARALLEL_LOCKS, thread_name_prefix="lock-check") as pool:
        return list(pool.map(look, keys))
