"""Packs that no tier has whole: which they are, and what is whole of them, written again.

Promise: such a pack stays where it is, as it is. What is proven of it is stored in a new one, so that the index need
not point at it: it is an orphan then, which nobody counts on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from repository.format import ID_LENGTH, pack_object_key
from repository.index.index import Index
from repository.opened.open_tier import OpenTier
from repository.prune.needed_frames import read_needed
from repository.prune.repack import Buffers
from repository.stored.compression import Compressor
from repository.stored.pack_builder import PackWriter, RawFrame, SealedPack
from repository.stored.pack_reader import FrameOpener
from repository.tiers.port import ObjectStore
from repository.upkeep.check_report import Finding, Problem

if TYPE_CHECKING:
    from repository.opened.repository import Repository


def pack_id_in(object_key: str) -> bytes:
    """The id of the pack of this key."""
    return bytes.fromhex(object_key[-2 * ID_LENGTH :])


def lost_packs(store: ObjectStore, broken: Iterable[Finding]) -> set[bytes]:
    """The packs (ids) that are damaged or gone, of what could not be made whole. Raises the store's errors.

    What is there and was not given may come. What is gone and comes back later is adopted as an orphan.
    """

    def is_lost(finding: Finding) -> bool:
        if finding.problem is Problem.PACK_MISSING:
            return store.head(finding.object_key) is None
        return finding.problem is Problem.PACK_DAMAGED

    return {pack_id_in(each.object_key) for each in broken if is_lost(each)}


def write_anew(repository: Repository, tier: OpenTier, pack_id: bytes, offsets: Collection[int], index: Index) -> None:
    """Store the frames at these places of a pack again, each proven, and make them known to `index`.

    Under the newest key of the domain, and without a lock: `lock_check` finds that. Raises `UnknownKey`, `Damaged`,
    `ObjectMissing` and the store's errors.
    """
    buffers = Buffers()

    def store(pack: SealedPack) -> None:
        tier.store.put(pack_object_key(pack.id), bytes(pack.body))
        index.add_pack(pack.id, pack.frames)
        buffers.release(pack.buffer)

    found = read_needed(tier.store, repository.keys, pack_id, lambda entry: entry.offset in offsets)
    keys = repository.keys.active(found.pack.keys.domain)
    writer = PackWriter(keys, found.pack.header.kind, buffers, repository.randomness, store)
    opener, compressor = FrameOpener(), Compressor()
    for entry, stored in found.frames:
        raw = opener.verified(found.pack, stored, entry).raw
        content_class = entry.header.content_class
        compression, payload = compressor.compress(raw, content_class)
        writer.add(RawFrame(entry.chunk_ids, entry.chunk_lengths, len(raw), content_class, compression, payload))
    writer.flush()
