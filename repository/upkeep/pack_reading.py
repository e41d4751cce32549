"""Reads one pack back whole: its name, every frame, the identity of every chunk, and that the index lists each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from repository.errors import RepositoryError
from repository.format import pack_object_key
from repository.index.index import Location
from repository.index.pack_catalog import StoredPack, is_fault_of_object
from repository.opened.open_tier import OpenTier
from repository.stored.object_reading import read_object

if TYPE_CHECKING:
    from repository.opened.repository import Repository


class PackReading(NamedTuple):
    """What reading one pack back showed. `unlisted`: its chunks that the index does not list there."""

    pack: StoredPack
    bytes_read: int
    chunks: int
    unlisted: int
    error: RepositoryError | None


def read_pack(repository: Repository, tier: OpenTier, pack: StoredPack) -> PackReading:
    """Read one pack whole and prove all of it. Raises what is the tier's fault, not the pack's."""
    from repository.stored.pack_reader import read_frames

    chunks = unlisted = size = 0
    try:
        body = read_object(tier.store, pack_object_key(pack.id))
        size = len(body)
        for entry, _ in read_frames(body, repository.keys, pack.id):
            offset = 0
            for chunk in entry.chunks():
                location = Location(pack.id, entry.offset, entry.length, offset, chunk.length)
                unlisted += location not in tier.index.lookup_all(chunk.id)
                chunks += 1
                offset += chunk.length
    except RepositoryError as error:
        if not is_fault_of_object(error):
            raise
        return PackReading(pack, size, chunks, unlisted, error)
    return PackReading(pack, size, chunks, unlisted, None)
