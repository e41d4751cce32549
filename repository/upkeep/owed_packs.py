"""Which packs a tier is owed: those that other tiers have and that a snapshot needs which is to be here.

Promise: what nothing live needs is owed to nobody, whoever still has it: forgotten snapshots' packs, on a tier that was
not pruned, or that a lock or a pin keeps; what a writer left that died. A backup does not count on such packs either
(`needless_elsewhere`). Where a tree cannot be read, nobody knows what it needs, and all counts as owed.
Cost: nothing where no other tier has a pack that this one lacks; else the trees of what it lacks, and of all where it
is to be thorough, until no pack is left to be judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from repository.errors import RepositoryError
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.prune.needs import Needs, of_destroyed_keys
from repository.retention import erasure
from repository.stored.snapshot import Snapshot
from repository.stored.tree_visit import TreeVisitor

if TYPE_CHECKING:
    from repository.opened.repository import Repository

LOOKED_INTO: Final = 1000
"""Lacking packs of which the keys are looked at, at most, where some were destroyed: more come with their segments."""


def owed_packs(
    repository: Repository, tier: OpenTier, lacking: Sequence[Snapshot], *, is_thorough: bool = True
) -> set[bytes]:
    """The packs that this tier lacks of what is needed. `lacking`: the snapshots that it is owed.

    `is_thorough`: those that it has are looked at as well, though they were committed with all that they need: an index
    may have lost rows since.
    """
    sources = repository.sources_for(tier)
    left: set[bytes] = set()
    for source in sources:
        left |= source.index.pack_ids() - source.log.state.marked_packs
    left -= tier.index.pack_ids()
    if len(left) <= LOOKED_INTO:
        # What was erased nobody reads, so that no index takes it in: it lies here, and would be brought again for ever.
        with suppress(RepositoryError):
            left -= of_destroyed_keys(repository, tier, left)
    if not left:
        return set()
    owed: set[bytes] = set()
    visitor = TreeVisitor(ChunkReader(nearest_first([*sources, tier]), repository.keys).chunk)
    snapshots = [*reversed(lacking)]
    if is_thorough:
        own = tier.log.state.snapshots
        snapshots += erasure.not_erased(repository, [each for each in repository.snapshots() if each.id in own])
    for snapshot in snapshots:
        for chunk_id in visitor.chunks(snapshot.manifest.root):
            if tier.index.contains(chunk_id):
                continue
            places = {each.pack_id for source in sources for each in source.index.lookup_all(chunk_id)} & left
            if places and not places & owed:
                owed.add(min(places))
                if owed == left:
                    return owed
        if visitor.faults:
            return left
    try:
        return owed | _of_parts(repository, sources) & left
    except RepositoryError:
        return left


def _of_parts(repository: Repository, sources: Sequence[OpenTier]) -> set[bytes]:
    """The packs of parts that wait to be joined."""
    found: set[bytes] = set()
    for source in sources:
        needs = Needs(repository, source)
        needs.add_parts()
        found |= needs.parts
    return found
