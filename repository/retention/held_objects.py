"""What holds of the log keep on a store that locks: set on its objects, and taken away again.

Promise: what some hold keeps is never let go of, whatever else is known: where what held snapshots need cannot be said
whole, nothing is taken away. What a hold kept that is over, and that cannot be said any more (its snapshot is
forgotten, or erased), is found by looking through all that the tier has.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

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
from repository.stored.config import CONFIG_KEY
from repository.stored.log_entry import LOG_PREFIX
from repository.stored.manifest_object import MANIFEST_PREFIX
from repository.stored.snapshot import streams_of
from repository.stored.stream_piece import STREAM_PREFIX, piece_object_key
from repository.stored.tree_visit import TreeVisitor


def held_by(state: LogState, name: str) -> list[str] | None:
    """The snapshots that this hold keeps on a tier, and those of them that it has no more.

    None where the hold is over, and is not known which it kept.
    """
    held = state.holds.get(name)
    return None if held is None else list(held or state.snapshots)


def held_snapshots(state: LogState, holds: Mapping[str, Collection[str]] | None = None) -> list[str]:
    """The snapshots of a tier that some hold keeps: of those in its log, or of these."""
    holds = state.holds if holds is None else holds
    return [identity for identity in state.snapshots if holding(identity, holds)] if holds else []


def set_again(repository: Repository, tier: OpenTier, check_cancelled: Callable[[], None] = lambda: None) -> int:
    """Hold what held snapshots need and what is not held; returns how many objects. Raises as `legal_holds.set_on`."""
    held = held_snapshots(tier.log.state)
    if not held:
        return 0
    objects, fault = needed(repository, tier, held, check_cancelled)
    missing = {key: objects[key] for key, is_on in legal_holds.holds_on(tier.store, objects).items() if not is_on}
    if missing:
        legal_holds.set_on(tier.store, missing, is_on=True)
    if fault is not None:
        raise fault
    return len(missing)


def let_go(
    repository: Repository,
    tier: OpenTier,
    snapshots: Collection[str] | None,
    *,
    holds: Mapping[str, Collection[str]] | None = None,
    check_cancelled: Callable[[], None] = lambda: None,
) -> int:
    """Take away the holds on what these snapshots need (None: on all that the tier has) and no held one does.

    `holds`: those that count, by name, where not those of the tier's log. Returns from how many objects. What held ones
    need has to be known whole: else nothing is taken away. Raises that error, and as `legal_holds.set_on`.
    """
    state = tier.log.state
    kept, fault = needed(repository, tier, held_snapshots(state, holds), check_cancelled)
    if fault is not None:
        raise fault
    live = [each for each in snapshots or () if each in state.snapshots]
    keys: list[str] | None = None
    if snapshots is not None and not any(each in state.forgotten for each in snapshots):
        objects, fault = needed(repository, tier, live, check_cancelled, marked=True)
        if fault is None and not _has_erased(repository, tier, live):
            # Keys that were destroyed elsewhere are needed by nobody any more, and were when the hold was set.
            keys = list({*objects, *(info.key for info in tier.store.list(KEY_PREFIX))})
    if keys is None:
        folders = (KEY_PREFIX, LOG_PREFIX, MANIFEST_PREFIX, PACK_PREFIX, STREAM_PREFIX)
        keys = [CONFIG_KEY, *(info.key for folder in folders for info in tier.store.list(folder))]
    found = legal_holds.holds_on(tier.store, (key for key in keys if key not in kept))
    if None in found.values():
        raise LegalHoldNotSet("the tier does not tell on what legal holds are", tier=tier.name)
    held = dict.fromkeys(key for key, is_on in found.items() if is_on)
    if held:
        legal_holds.set_on(tier.store, held, is_on=False)
    return len(held)


def _reader(repository: Repository, tier: OpenTier) -> ChunkReader:
    others = [each for each in repository.readable_tiers() if each is not tier]
    return ChunkReader([tier, *nearest_first(others)], repository.keys)


def _has_erased(repository: Repository, tier: OpenTier, snapshots: Collection[str]) -> bool:
    """Whether nobody can say any more what one of these needed."""
    erased = Erased(repository, _reader(repository, tier).chunk)
    return any(erased.has(snapshot) for snapshot in map(tier.snapshots().__getitem__, snapshots))


def needed(
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
    reader = _reader(repository, tier)
    visitor = TreeVisitor(reader.chunk)
    state, root = tier.log.state, repository.keys.first_root
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
    needed |= dict.fromkeys(map(pack_object_key, packs))
    return needed, visitor.faults[0].error if visitor.faults else None
