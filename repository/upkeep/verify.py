"""Reads a snapshot back from one tier: all of its tree, and a sample of its packs.

Promise: when `verify_snapshot` returns, the tier gave the whole tree, its index a place for every chunk, and the
sampled packs hold what they should, byte for byte. It is the look that a backup takes at its own work; `check`
is the one that finds everything.
"""

from typing import NamedTuple

from repository.errors import NotInIndex, SnapshotNotFound
from repository.format import pack_object_key
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader
from repository.opened.repository import Repository
from repository.stored.object_reading import read_object
from repository.stored.pack_reader import read_frames
from repository.stored.snapshot import Snapshot
from repository.stored.tree_visit import TreeVisitor


class Verified(NamedTuple):
    """What was looked at: chunks of the tree and of files, packs that hold them, and packs and bytes read whole."""

    chunks: int
    packs: int
    packs_read: int
    bytes_read: int


def verify_snapshot(repository: Repository, tier: OpenTier, snapshot: Snapshot, *, percent: float = 1.0) -> Verified:
    """Read `percent` of the packs of a snapshot back from a tier, at least one; which ones is left to chance.

    Raises `SnapshotNotFound` (not committed there), `NotInIndex`, `Damaged`, `UnknownKey` and the store's errors.
    """
    if snapshot.id not in tier.refresh().snapshots:
        raise SnapshotNotFound("snapshot is not committed on the tier", tier=tier.name, snapshot=snapshot.id)
    visitor = TreeVisitor(ChunkReader([tier], repository.keys).chunk)
    packs: set[bytes] = set()
    chunks = 0
    for chunk_id in visitor.chunks(snapshot.manifest.root):
        location = tier.index.lookup_any(chunk_id)
        if location is None:
            raise NotInIndex("the tier's index lacks a chunk of the snapshot", tier=tier.name, chunk=chunk_id.hex())
        packs.add(location.pack_id)
        chunks += 1
    if visitor.faults:
        raise visitor.faults[0].error
    chosen = _sample(repository, sorted(packs), percent)
    bytes_read = 0
    for pack_id in chosen:
        body = read_object(tier.store, pack_object_key(pack_id))
        bytes_read += len(body)
        for _frame in read_frames(body, repository.keys, pack_id):
            pass  # each is proven as it is read
    return Verified(chunks, len(packs), len(chosen), bytes_read)


def _sample(repository: Repository, packs: list[bytes], percent: float) -> list[bytes]:
    """The packs whose random number is lowest."""
    count = min(len(packs), max(1, round(len(packs) * percent / 100)))
    numbers = repository.randomness.token_bytes(8 * len(packs))
    order = sorted(range(len(packs)), key=lambda place: numbers[8 * place : 8 * place + 8])
    return [packs[place] for place in order[:count]]
