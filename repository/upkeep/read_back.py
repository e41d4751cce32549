"""Reading back after a backup: what a tier says that it has, asked again from the store itself.

A whole read-back costs as much egress as a restore and is done by schedule (`check`); after each run
the log's head, the snapshot's root page, the names and sizes of all packs that it leans on, the store's own
checksums of some and the bytes of a few are read.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from repository.errors import Damaged, ObjectMissing, SnapshotNotFound, about
from repository.format import pack_object_key
from repository.index.pack_catalog import StoredPack
from repository.index.pack_sizes import lost_packs
from repository.keys import crypto
from repository.opened import present_objects
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader
from repository.upkeep.pack_reading import read_pack

if TYPE_CHECKING:
    from repository.opened.repository import Repository

PACKS_ASKED: Final = 16
PACKS_READ: Final = 2
_SEED_LENGTH: Final = 16


def read_back(
    repository: "Repository",
    tier: OpenTier,
    snapshot_id: str,
    *,
    packs: Collection[bytes] | None = None,
    packs_read: int = PACKS_READ,
    suspects: Collection[bytes] = (),
) -> None:
    """Prove a sample of a snapshot on one tier. Raises the repository's error for what is not as it was written.

    `packs`: those that it leans on; None: all that the index has. `packs_read`: of how many packs the bytes are read.
    `suspects`: packs that are read in any case, where the index still has them.
    """
    with about(tier=tier.name):
        try:
            _read_back(repository, tier, snapshot_id, packs, packs_read, suspects)
        except ObjectMissing:
            # A prune beside may have written again elsewhere what lay in a pack, and deleted that since.
            tier.refresh()
            gone = set(packs or ()) - (tier.index.pack_ids() - tier.log.state.marked_packs)
            if packs is None or not gone:
                raise
            _read_back(repository, tier, snapshot_id, set(packs) - gone, packs_read, suspects)


def _read_back(
    repository: "Repository",
    tier: OpenTier,
    snapshot_id: str,
    packs: Collection[bytes] | None,
    packs_read: int,
    suspects: Collection[bytes],
) -> None:
    tier.refresh()
    present_objects.expect_index(tier)
    snapshot = tier.snapshots().get(snapshot_id)
    if snapshot is None:
        raise SnapshotNotFound("the tier's log does not have the snapshot that it took", tier=tier.name)
    reader = ChunkReader([tier], repository.keys)
    for page in snapshot.manifest.root:
        reader.chunk(bytes.fromhex(page))
    known = tier.index.pack_ids() - tier.log.state.marked_packs
    for error in lost_packs(tier.store, tier.index, known if packs is None else packs).values():
        raise error
    first = sorted(known & set(suspects))
    # By a fresh seed each time, so that over many runs every pack has its turn.
    seed = repository.randomness.token_bytes(_SEED_LENGTH)
    chosen = sorted(known, key=lambda pack_id: crypto.sha256(seed, pack_id))[:PACKS_ASKED]
    for number, pack_id in enumerate([*first, *chosen]):
        key = pack_object_key(pack_id)
        info = tier.store.head(key)
        if info is None:
            raise ObjectMissing("a pack is not there", object_key=key)
        if info.is_own is False:
            raise Damaged("the store's checksum is not the one that the pack was stored with", object_key=key)
        if number < packs_read + len(first) or info.is_unproven:
            reading = read_pack(repository, tier, StoredPack(pack_id, info.size))
            if reading.error is not None:
                raise reading.error
            if reading.unlisted:
                raise Damaged("the index does not list a pack's chunks where they are", object_key=key)
