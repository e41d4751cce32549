"""What pins keep of a tier: packs that somebody reads, or is not known to have stopped reading.

Promise: as `pin_watch`; of what cannot be known, everything is kept. What a destroyed key encrypted no pin keeps. Trees
of pinned snapshots are visited where there are pins, once a prune. Memory: about 100 bytes a chunk of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from repository.errors import RepositoryError
from repository.opened.erased import Erased
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.opened.repository import Repository
from repository.retention.pin_watch import PinFound, look
from repository.stored.snapshot import Snapshot
from repository.stored.tree_visit import TreeVisitor


@dataclass
class Kept:
    """What is kept on one tier: `packs`, or `everything`. `pins`: by which."""

    pins: list[PinFound] = field(default_factory=list)
    everything: bool = False
    packs: set[bytes] = field(default_factory=set)

    def of(self, packs: Collection[bytes]) -> set[bytes]:
        """Those of these packs that are kept."""
        return set(packs) if self.everything else self.packs.intersection(packs)


class Pinned:
    """Asks for pins. Not thread-safe."""

    def __init__(self, repository: Repository, check_cancelled: Callable[[], None]) -> None:
        self._repository = repository
        self._check_cancelled = check_cancelled
        self._chunks: dict[bytes, frozenset[bytes] | None] = {}

    def on(self, tier: OpenTier, *, is_noted: bool = True) -> Kept:
        """What is kept there now. `is_noted`: as of `look`. Raises the store's errors."""
        found = look(self._repository, tier, is_noted=is_noted, check_cancelled=self._check_cancelled)
        kept = Kept([each for each in found if not each.is_dead])
        for each in kept.pins:
            if each.pin is None or each.pin.everything:
                kept.everything = True
                continue
            for snapshot_id in each.pin.snapshots:
                chunks = self._needed(snapshot_id)
                if chunks is None:
                    kept.everything = True
                    continue
                for chunk_id in chunks:
                    # In every place that has them: the reader may be at any.
                    kept.packs.update(location.pack_id for location in tier.index.lookup_all(chunk_id))
        return kept

    def _needed(self, snapshot_id: bytes) -> frozenset[bytes] | None:
        """The chunks of a snapshot, forgotten or not; None where they are not to be known."""
        if snapshot_id not in self._chunks:
            self._chunks[snapshot_id] = self._visit(snapshot_id.hex())
        return self._chunks[snapshot_id]

    def _visit(self, snapshot_id: str) -> frozenset[bytes] | None:
        snapshot = self._found(snapshot_id)
        if snapshot is None:
            return None
        load = ChunkReader(nearest_first(self._repository.readable_tiers()), self._repository.keys).chunk
        if Erased(self._repository, load).has(snapshot):
            return frozenset()
        visitor, chunks = TreeVisitor(load), set[bytes]()
        for chunk_id in visitor.chunks(snapshot.manifest.root):
            self._check_cancelled()
            chunks.add(chunk_id)
        return None if visitor.faults else frozenset(chunks)

    def _found(self, snapshot_id: str) -> Snapshot | None:
        for tier in self._repository.readable_tiers():
            if snapshot_id in tier.snapshots():
                return tier.snapshots()[snapshot_id]
        for tier in self._repository.readable_tiers():
            try:
                return tier.log.second_copy(snapshot_id).snapshot
            except RepositoryError:
                continue
        return None
