"""Packs read whole before their rows enter an index.

Promise: what counts as whole is named by its own bytes, and each of its frames holds the chunks of its ids.
A footer alone proves neither: it stays authentic in a copy under another name, and where a frame before it is broken.
Memory: `PACKS_AT_A_TIME` packs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from repository.errors import Damaged, RepositoryError, about
from repository.format import PACK_HEADER_LENGTH, FrameEntry, is_named, pack_object_key
from repository.index.pack_catalog import StoredPack, each_in_parallel, is_fault_of_object
from repository.keys.key_ring import KeyRing
from repository.stored.object_reading import read_object
from repository.tiers.port import ObjectStore

PACKS_AT_A_TIME: Final = 3


class PackContents(NamedTuple):
    """What lies under a pack's name. `error`: why it is not that pack, or not all of it.

    `frames`: what its footer lists, nothing where that cannot be read; `proven`: those that hold what it says.
    """

    pack: StoredPack
    frames: list[FrameEntry]
    proven: list[FrameEntry]
    error: RepositoryError | None


def read_whole(store: ObjectStore, ring: KeyRing, packs: Iterable[StoredPack]) -> Iterator[PackContents]:
    """Each pack, in the order of `packs`; a bad one is told, not raised.

    Raises the store's errors that are no fault of the pack (the tier does not answer).
    """

    def read(pack: StoredPack) -> PackContents:
        try:
            with about(tier=store.name, object_key=pack_object_key(pack.id)):
                return _read(store, ring, pack)
        except RepositoryError as error:
            if is_fault_of_object(error):
                return PackContents(pack, [], [], error)
            raise

    return each_in_parallel(read, packs, PACKS_AT_A_TIME)


def _read(store: ObjectStore, ring: KeyRing, pack: StoredPack) -> PackContents:
    from repository.stored.pack_reader import FrameOpener, PackReader

    body = memoryview(read_object(store, pack_object_key(pack.id)))
    error: RepositoryError | None = None
    if not is_named(pack.id, body):
        error = Damaged("pack is not the one of its name", pack=pack.id.hex())
    reader = PackReader(body[:PACK_HEADER_LENGTH], ring, pack.id)
    frames, proven, opener = reader.footer(body, len(body)), list[FrameEntry](), FrameOpener()
    for entry in frames:
        try:
            opener.verified(reader, body[entry.offset : entry.offset + entry.length], entry)
        except Damaged as fault:
            error = error or fault
        else:
            proven.append(entry)
    return PackContents(pack, frames, proven, error)
