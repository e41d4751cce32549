"""Holds on what the stores keep: the log's holds, set on the objects of each tier that locks, and looked at.

Promise: the log comes first, the objects after it. So a crash in between leaves less held on the store than the log
says, which `check` tells and `repair` mends, or, after a release, more: that is taken away by releasing once more. A
tier without object lock is named; there the log alone holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from repository.errors import LegalHoldNotSet, RepositoryError
from repository.format import pack_object_key
from repository.index.pack_catalog import PACK_PREFIX
from repository.keys.key_ring import KEY_PREFIX
from repository.log.state import LogState, holding
from repository.opened import legal_holds
from repository.opened.erased import Erased
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.opened.repository import Repository
from repository.retention.orders import Ordered, place_hold, release_hold
from repository.stored.config import CONFIG_KEY
from repository.stored.log_entry import LOG_PREFIX
from repository.stored.manifest_object import MANIFEST_PREFIX
from repository.stored.snapshot import streams_of
from repository.stored.stream_piece import STREAM_PREFIX, piece_object_key
from repository.stored.tree_visit import TreeVisitor
from repository.upkeep.check_report import Finding, Problem


@dataclass
class StoreHolds:
    """What became of a hold on the stores. `objects`: by tier that locks, on how many it was set or taken away;
    `failed`: why not; `without`: the tiers that have the order and no object lock, where the log alone holds.
    """

    objects: dict[str, int] = field(default_factory=dict)
    failed: dict[str, RepositoryError] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)


def place(repository: Repository, name: str, snapshots: Sequence[str], reason: str = "") -> tuple[Ordered, StoreHolds]:
    """Place a hold in every log, and then on the objects of each tier that locks. Raises as `place_hold`."""
    done = place_hold(repository, name, snapshots, reason)
    return done, _on_stores(repository, done, lambda tier: set_again(repository, tier))


def release(repository: Repository, name: str) -> tuple[Ordered, StoreHolds]:
    """End a hold in every log, and then on the objects that no other one needs. Raises as `release_hold`.

    Once more, all that the tiers keep is looked through, and what no hold needs is held no longer.
    """
    before = {tier.name: held_by(tier.log.state, name) for tier in repository.ready_tiers()}
    done = release_hold(repository, name)
    return done, _on_stores(repository, done, lambda tier: let_go(repository, tier, before.get(tier.name)))


def _on_stores(repository: Repository, done: Ordered, act: Callable[[OpenTier], int]) -> StoreHolds:
    found = StoreHolds()
    for tier in map(repository.tier, done.tiers):
        try:
            if tier.store.capabilities.locks is False:
                found.without.append(tier.name)
            else:
                found.objects[tier.name] = act(tier)
        except RepositoryError as error:
            found.failed[tier.name] = error
    return found


def held_by(state: LogState, name: str) -> list[str] | None:
    """The snapshots that this hold keeps on a tier; None where it is over, and is not known which it kept."""
    held = state.holds.get(name)
    return None if held is None else [each for each in state.snapshots if not held or each in held]


def held_snapshots(state: LogState) -> list[str]:
    """The snapshots of a tier that some hold keeps."""
    return [identity for identity in state.snapshots if holding(identity, state.holds)] if state.holds else []


def set_again(repository: Repository, tier: OpenTier, check_cancelled: Callable[[], None] = lambda: None) -> int:
    """Hold what held snapshots need and what is not held; returns how many objects. Raises as `legal_holds.set_on`."""
    held = held_snapshots(tier.log.state)
    if not held:
        return 0
    objects, fault = _needed(repository, tier, held, check_cancelled)
    missing = {key: objects[key] for key, is_on in legal_holds.holds_on(tier.store, objects).items() if not is_on}
    if missing:
        legal_holds.set_on(tier.store, missing, is_on=True)
    if fault is not None:
        raise fault
    return len(missing)


def let_go(repository: Repository, tier: OpenTier, snapshots: Collection[str] | None) -> int:
    """Take away the holds on what these snapshots need (None: on all that the tier has) and no held one does.

    Returns from how many objects. What held ones need has to be known whole: else nothing is taken away. Raises that
    error, and as `legal_holds.set_on`.
    """
    kept, fault = _needed(repository, tier, held_snapshots(tier.log.state), lambda: None)
    if fault is not None:
        raise fault
    if snapshots is None:
        folders = (KEY_PREFIX, LOG_PREFIX, MANIFEST_PREFIX, PACK_PREFIX, STREAM_PREFIX)
        keys = [CONFIG_KEY, *(info.key for folder in folders for info in tier.store.list(folder))]
    else:
        live = [each for each in snapshots if each in tier.log.state.snapshots]
        keys = list(_needed(repository, tier, live, lambda: None, marked=True)[0])
    found = legal_holds.holds_on(tier.store, (key for key in keys if key not in kept))
    if None in found.values():
        raise LegalHoldNotSet("the tier does not tell on what legal holds are", tier=tier.name)
    held = dict.fromkeys(key for key, is_on in found.items() if is_on)
    if held:
        legal_holds.set_on(tier.store, held, is_on=False)
    return len(held)


def held_by_name(state: LogState) -> dict[str, list[str]]:
    """The snapshots that each hold keeps on a tier."""
    return {name: held_by(state, name) or [] for name in state.holds}


def follow(
    repository: Repository, tier: OpenTier, before: Mapping[str, Sequence[str]], check_cancelled: Callable[[], None]
) -> None:
    """Let a store follow its log, which took over others' orders since its holds kept these snapshots (by name).

    Raises as `set_again` and `let_go`.
    """
    if tier.store.capabilities.locks is not False:
        ended = {each for name, held in before.items() if name not in tier.log.state.holds for each in held}
        if ended:
            let_go(repository, tier, ended)
        set_again(repository, tier, check_cancelled)


def hold_findings(
    repository: Repository, tier: OpenTier, check_cancelled: Callable[[], None] = lambda: None
) -> Iterator[Finding]:
    """What held snapshots need and is not held on a tier that locks, or that it is not told. Raises its errors."""
    if tier.store.capabilities.locks is False or not (held := held_snapshots(tier.log.state)):
        return
    objects, _ = _needed(repository, tier, held, check_cancelled)  # what is wrong with a tree is a finding of its own
    found = legal_holds.holds_on(tier.store, objects)
    for key, is_on in found.items():
        if is_on is False and tier.store.head(key) is not None:
            detail = "no legal hold is on it; a hold of the log keeps a snapshot that needs it"
            yield Finding(tier.name, Problem.UNHELD, key, detail, (tier.name,))
    if None in found.values():
        detail = "the tier, or its credentials, do not tell on what legal holds are"
        yield Finding(tier.name, Problem.HOLDS_UNKNOWN, "", detail)


def _needed(
    repository: Repository,
    tier: OpenTier,
    snapshots: Collection[str],
    check_cancelled: Callable[[], None],
    *,
    marked: bool = False,
) -> tuple[dict[str, bytes | None], RepositoryError | None]:
    """What these snapshots of a tier need, and what of it cannot be known, if any is not.

    `marked`: also what lies elsewhere and is to go, but was not when a hold was set.
    """
    others = [each for each in repository.readable_tiers() if each is not tier]
    reader = ChunkReader([tier, *nearest_first(others)], repository.keys)
    visitor = TreeVisitor(reader.chunk)
    state, root = tier.log.state, repository.keys.root
    needed: dict[str, bytes | None] = {}
    packs = set[bytes]()
    erased = Erased(repository, reader.chunk)
    for snapshot in map(tier.snapshots().__getitem__, snapshots):
        if erased.has(snapshot):
            continue  # by another tier, before it knew of the hold: there is nothing left to be kept
        manifest, identity = snapshot.manifest, snapshot.id
        for chunk_id in visitor.chunks(manifest.root):
            places = {location.pack_id for location in tier.index.lookup_all(chunk_id)}
            packs |= places if marked else (places - state.marked_packs) or places
        check_cancelled()
        for name, (number, _, _) in streams_of(manifest).items():
            said = state.streams.get(name)
            first = said.first if said is not None else 1
            needed |= dict.fromkeys(piece_object_key(root.stream_id(name), each) for each in range(first, number + 1))
        needed |= legal_holds.needed_by(tier, identity, ())
    needed |= {pack_object_key(pack_id): pack_id for pack_id in packs}
    return needed, visitor.faults[0].error if visitor.faults else None
