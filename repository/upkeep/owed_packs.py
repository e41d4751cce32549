"""Which packs a tier is owed: those that other tiers have and that a snapshot needs which is to be here.

Promise: what nothing live needs is owed to nobody, whoever still has it: packs of forgotten snapshots on a tier that
was not pruned, or that a lock or a pin keeps there; what a writer left that died. A backup that leans on such a pack
brings it along (`backup/leftovers.py`). Where a tree cannot be read nobody knows what it needs, and all counts as owed.
Cost: nothing where no other tier has a pack that this one lacks; else the trees of the snapshots that it lacks, and of
those that it has only where packs are left with something that its index does not have. Memory: what those packs hold,
about 100 bytes a chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from repository.errors import RepositoryError
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.prune.needs import Needs, of_destroyed_keys
from repository.prune.rows import rows_of
from repository.retention import erasure
from repository.stored.snapshot import Snapshot
from repository.stored.tree_visit import TreeVisitor

if TYPE_CHECKING:
    from repository.opened.repository import Repository

LOOKED_INTO: Final = 1000
"""Lacking packs of which the keys are looked at, at most, where some were destroyed: more come with their segments."""


def owed_packs(repository: Repository, tier: OpenTier, lacking: Sequence[Snapshot]) -> set[bytes]:
    """The packs that this tier lacks of what is needed. `lacking`: the snapshots that it is owed."""
    sources = repository.sources_for(tier)
    left: set[bytes] = set()
    for source in sources:
        left |= source.index.pack_ids() - source.log.state.marked_packs
    left -= tier.index.pack_ids()
    if left and len(left) <= LOOKED_INTO:
        # What was erased nobody reads, so that no index takes it in: it lies here, and would be brought again for ever.
        with suppress(RepositoryError):
            left -= of_destroyed_keys(repository, tier, left)
    if not left:
        return set()
    try:
        found = _of_parts(repository, sources) & left
    except RepositoryError:
        return left
    visitor = TreeVisitor(ChunkReader(nearest_first([*sources, tier]), repository.keys).chunk)
    # Where it may lock, a snapshot leans on the place that is locked as long where it comes from, so it gets each one.
    gets_each = tier.store.capabilities.locks is not False
    for snapshot in reversed(lacking):
        for chunk_id in visitor.chunks(snapshot.manifest.root):
            if gets_each or not tier.index.contains(chunk_id):
                found |= _places(chunk_id, sources) & left
                if found == left:
                    return left
    if visitor.faults:
        return left
    own = tier.log.state.snapshots
    return found | _of_lost_rows(
        tier,
        sources,
        left - found,
        visitor,
        [each for each in erasure.not_erased(repository, repository.snapshots()) if each.id in own],
    )


def _of_lost_rows(
    tier: OpenTier, sources: Sequence[OpenTier], left: set[bytes], visitor: TreeVisitor, snapshots: Sequence[Snapshot]
) -> set[bytes]:
    """Those of the packs that are left that its own snapshots need: they came with all of it, and its index lost rows.

    It did so with an entry of its log, or when it was rebuilt while packs were gone.
    """
    lost: set[bytes] = set()
    for source in sources:
        rows = rows_of(source.index.segments(), left)
        lost.update(chunk_id for chunk_id, _ in rows if not tier.index.contains(chunk_id))
    found: set[bytes] = set()
    for snapshot in snapshots if lost else ():
        for chunk_id in visitor.chunks(snapshot.manifest.root):
            if chunk_id in lost:
                lost.discard(chunk_id)
                found |= _places(chunk_id, sources) & left
        if not lost or found == left:
            return found
    return left if visitor.faults else found


def _places(chunk_id: bytes, sources: Sequence[OpenTier]) -> set[bytes]:
    return {each.pack_id for source in sources for each in source.index.lookup_all(chunk_id)}


def _of_parts(repository: Repository, sources: Sequence[OpenTier]) -> set[bytes]:
    """The packs of parts that wait to be joined."""
    found: set[bytes] = set()
    for source in sources:
        needs = Needs(repository, source)
        needs.add_parts()
        found |= needs.parts
    return found
