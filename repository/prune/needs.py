"""Which packs of a tier are needed, by what, and which are not any more.

Promise: a pack counts as needed where a chunk of a live snapshot, of this tier or of another one, is found in it, or a
part of a snapshot that is being made lies in it. A tree that cannot be read whole ends the work: what it needs is not
known, and nothing is called needless then. A pack that no snapshot ever needed, as far as is known, is neither: a
writer may count on it. Memory: about 150 bytes a chunk that is in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from repository.errors import Damaged, RepositoryError
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.opened.repository import Repository
from repository.stored.manifest_object import MANIFEST_PREFIX, manifest_id
from repository.stored.object_reading import read_object
from repository.stored.part import PENDING_PREFIX, PartMade, decode_left
from repository.stored.snapshot import Snapshot
from repository.stored.tree_visit import TreeVisitor


@dataclass
class Needs:
    """`used`: by pack, the bytes (uncompressed) that live snapshots need of it. `past`: packs that forgotten snapshots
    needed and no live one does. `chunks`: what live snapshots reference. `parts`: packs of parts that wait to be
    joined.
    """

    used: dict[bytes, int] = field(default_factory=dict)
    past: set[bytes] = field(default_factory=set)
    chunks: set[bytes] = field(default_factory=set)
    parts: set[bytes] = field(default_factory=set)

    def is_needed(self, pack_id: bytes) -> bool:
        """Whether something live lies in the pack."""
        return pack_id in self.used or pack_id in self.parts


class Survey:
    """Looks through the trees of one tier's repository. Not thread-safe."""

    def __init__(self, repository: Repository, tier: OpenTier, check_cancelled: Callable[[], None]) -> None:
        self._repository = repository
        self._tier = tier
        self._check_cancelled = check_cancelled
        readable = [tier, *(other for other in repository.readable_tiers() if other is not tier)]
        self._visitor = TreeVisitor(ChunkReader(nearest_first(readable), repository.keys).chunk)
        self._looked_at: set[str] = set()
        self.needs = Needs()

    def look_at_new(self) -> None:
        """Take in what was committed or made in part since the last look. Raises `Damaged` and the stores' errors."""
        # The tier's own come first: of what only others have, this tier may lack something, and owes it.
        self._look_at(self._tier.snapshots().values(), is_owed=False)
        self._look_at(self._repository.snapshots(), is_owed=True)
        self.needs.parts |= self._of_parts()
        self.needs.past -= self.needs.used.keys() | self.needs.parts

    def look_at_past(self) -> None:
        """Which packs the forgotten snapshots needed, as far as their second copies are there to say it."""
        log, index = self._tier.log, self._tier.index
        forgotten = log.state.forgotten
        ids = (manifest_id(info.key) for info in self._tier.store.list(MANIFEST_PREFIX))
        for identity in [each for each in ids if each is not None and each in forgotten]:
            with suppress(RepositoryError):
                for chunk_id in self._visitor.chunks(log.second_copy(identity).snapshot.manifest.root):
                    self._check_cancelled()
                    self.needs.past.update(each.pack_id for each in index.lookup_all(chunk_id))
            self._visitor.faults.clear()  # what is gone already is not to be freed
        self.needs.past -= self.needs.used.keys() | self.needs.parts

    def _look_at(self, snapshots: Iterable[Snapshot], *, is_owed: bool) -> None:
        needs, index = self.needs, self._tier.index
        for snapshot in snapshots:
            if snapshot.id in self._looked_at:
                continue
            self._looked_at.add(snapshot.id)
            for chunk_id in self._visitor.chunks(snapshot.manifest.root):
                self._check_cancelled()
                if chunk_id in needs.chunks:
                    continue
                location = index.lookup(chunk_id)
                if location is not None:
                    needs.chunks.add(chunk_id)
                    needs.used[location.pack_id] = needs.used.get(location.pack_id, 0) + location.chunk_length
                elif not is_owed:
                    raise Damaged("snapshot references what the index does not have", snapshot=snapshot.id)
            faults = list(self._visitor.faults)
            self._visitor.faults.clear()
            if faults:
                raise Damaged("tree of a snapshot cannot be read: what it needs is not known", snapshot=snapshot.id)

    def _of_parts(self) -> set[bytes]:
        """Packs of the parts that wait to be joined."""
        packs: set[bytes] = set()
        for info in self._tier.store.list(PENDING_PREFIX):
            _, run_id, place = (*info.key.split("/"), "", "")[:3]
            if not place.isdigit():
                continue
            body = read_object(self._tier.store, info.key)
            part = decode_left(body, PartMade, bytes.fromhex(run_id), place, self._repository.keys)
            packs.update(part.pack_ids())
        return packs
