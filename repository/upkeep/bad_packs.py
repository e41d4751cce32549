"""Packs that no tier has whole: which they are, and what is whole of them, written again.

Promise: such a pack stays where it is, as it is. What is proven of it is stored in a new one, so that the index need
not point at it: it is an orphan then, which nobody counts on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from repository.errors import RepositoryError
from repository.format import PACK_HEADER_LENGTH, FrameEntry, pack_id_in, pack_object_key
from repository.index.index import Index
from repository.index.pack_catalog import is_fault_of_object
from repository.opened.open_tier import OpenTier
from repository.prune.repack import Buffers
from repository.prune.rows import rows_of
from repository.stored.compression import Compressor
from repository.stored.pack_builder import PackWriter, RawFrame, SealedPack
from repository.stored.pack_reader import FrameOpener, PackReader
from repository.tiers.port import ObjectStore
from repository.upkeep.check_report import Finding, Problem

if TYPE_CHECKING:
    from repository.opened.repository import Repository


def lost_packs(store: ObjectStore, broken: Iterable[Finding]) -> set[bytes]:
    """The packs (ids) that are damaged or gone, of what could not be made whole. Raises the store's errors.

    What is there and was not given may come. What is gone and comes back later is adopted as an orphan.
    """

    def is_lost(finding: Finding) -> bool:
        if finding.problem is Problem.PACK_MISSING:
            return store.head(finding.object_key) is None
        return finding.problem is Problem.PACK_DAMAGED

    named = ((each, pack_id_in(each.object_key)) for each in broken)
    return {pack_id for each, pack_id in named if pack_id is not None and is_lost(each)}


def proven_by_rows(repository: Repository, tier: OpenTier, pack_id: bytes) -> list[FrameEntry]:
    """The frames of a pack whose footer cannot be read, as the tier's index has them, each proven.

    Raises the store's errors.
    """
    frames: dict[tuple[int, int], dict[int, tuple[bytes, int]]] = {}
    for chunk_id, _ in rows_of(tier.index.segments(), [pack_id]):
        for place in tier.index.lookup_all(chunk_id):
            if place.pack_id == pack_id:
                chunks = frames.setdefault((place.frame_offset, place.frame_length), {})
                chunks[place.chunk_offset] = chunk_id, place.chunk_length
    proven, opener = list[FrameEntry](), FrameOpener()
    for (offset, length), chunks in sorted(frames.items()):
        ids, lengths = zip(*(chunks[each] for each in sorted(chunks)), strict=True)
        try:
            pack, stored = _stored(repository, tier, pack_id, offset, length)
            entry = FrameEntry(offset, opener.open(pack, stored, offset).header, b"".join(ids), lengths)
            opener.verified(pack, stored, entry)
        except RepositoryError as error:
            if not is_fault_of_object(error):
                raise
            continue
        if sum(lengths) == entry.header.raw_length:
            proven.append(entry)
    return proven


def write_anew(
    repository: Repository, tier: OpenTier, pack_id: bytes, frames: Iterable[FrameEntry], index: Index
) -> None:
    """Store these frames of a pack again, each proven, and make them known to `index`.

    Under the newest key of the domain, and without a lock: `lock_check` finds that. Raises `UnknownKey`, `Damaged`,
    `ObjectMissing` and the store's errors.
    """
    buffers, opener, compressor = Buffers(), FrameOpener(), Compressor()
    writer: PackWriter | None = None

    def store(pack: SealedPack) -> None:
        tier.store.put(pack_object_key(pack.id), bytes(pack.body))
        index.add_pack(pack.id, pack.frames)
        buffers.release(pack.buffer)

    for entry in frames:
        pack, stored = _stored(repository, tier, pack_id, entry.offset, entry.length)
        if writer is None:
            keys = repository.keys.active(pack.keys.domain)
            writer = PackWriter(keys, pack.header.kind, buffers, repository.randomness, store)
        raw = opener.verified(pack, stored, entry).raw
        content_class = entry.header.content_class
        compression, payload = compressor.compress(raw, content_class)
        writer.add(RawFrame(entry.chunk_ids, entry.chunk_lengths, len(raw), content_class, compression, payload))
    if writer is not None:
        writer.flush()


def _stored(
    repository: Repository, tier: OpenTier, pack_id: bytes, offset: int, length: int
) -> tuple[PackReader, bytes]:
    """The keys of a pack, and the bytes of one frame."""
    key = pack_object_key(pack_id)
    header = tier.store.get_range(key, 0, PACK_HEADER_LENGTH)
    return PackReader(header, repository.keys, pack_id), tier.store.get_range(key, offset, length)
