"""Bytes of packs on one tier, and single chunks from whichever tier has them whole.

Promise: `ChunkReader.chunk` returns the plaintext whose id was asked for or raises; a tier that cannot give
it is passed over for the next one. Small pieces are cached: pages of a tree lie side by side.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from repository.errors import Damaged, NotInIndex, RepositoryError, TooFewDescriptors, about
from repository.format import PACK_HEADER_LENGTH, PackKind, is_named, pack_object_key
from repository.index.index import Index, Location
from repository.index.pack_catalog import is_fault_of_object
from repository.keys.key_ring import KeyRing
from repository.opened.open_tier import OpenTier
from repository.opened.withheld import explained, withheld_by
from repository.stored.object_reading import read_object
from repository.stored.pack_reader import FrameOpener, PackReader
from repository.tiers.port import ObjectStore

READERS_MAX: Final = 1024
FRAMES_MAX: Final = 32
FRAMES_BYTES_MAX: Final = 32 << 20
"""Opened frames that are kept: so many, of so many bytes together."""
REMOTE_SPAN: Final = 4 << 20
"""Bytes that are fetched at once from a tier that is not local."""


def nearest_first(tiers: Sequence[OpenTier]) -> list[OpenTier]:
    """The tiers in the order in which they are best read: healthy before faulty, this machine's before others."""
    return sorted(tiers, key=lambda tier: (not tier.is_ready, not tier.store.capabilities.local))


def whole_pack(pack_id: bytes, stores: Iterable[ObjectStore]) -> bytes | None:
    """The pack's bytes from the first store that has them as their name says; None where none has."""
    for store in stores:
        try:
            body = read_object(store, pack_object_key(pack_id))
        except RepositoryError:
            continue
        if is_named(pack_id, body):
            return body
    return None


class PackAccess:
    """Packs of one tier. Thread-safe."""

    def __init__(self, tier: OpenTier, ring: KeyRing) -> None:
        self.tier = tier
        self._ring = ring
        self._lock = threading.Lock()
        self._readers: OrderedDict[bytes, PackReader] = OrderedDict()
        self._is_local = tier.store.capabilities.local

    def reader(self, pack_id: bytes) -> PackReader:
        """The keys of a pack, from its header."""
        with self._lock:
            reader = self._readers.get(pack_id)
            if reader is not None:
                self._readers.move_to_end(pack_id)
                return reader
        header = self.tier.store.get_range(pack_object_key(pack_id), 0, PACK_HEADER_LENGTH)
        reader = PackReader(header, self._ring, pack_id)
        with self._lock:
            self._readers[pack_id] = reader
            if len(self._readers) > READERS_MAX:
                self._readers.popitem(last=False)
        return reader

    def frame(self, location: Location) -> bytes:
        """One frame's bytes."""
        key = pack_object_key(location.pack_id)
        return self.tier.store.get_range(key, location.frame_offset, location.frame_length)


class ChunkReader:
    """Single chunks, from the first of `tiers` that has them whole. Thread-safe.

    `index`: says where they are, in place of each tier's own: of a backup that is not committed.
    """

    def __init__(self, tiers: Sequence[OpenTier], ring: KeyRing, index: Index | None = None) -> None:
        self._index = index
        self._accesses = [PackAccess(tier, ring) for tier in tiers]
        self._lock = threading.Lock()
        self._opener = FrameOpener()
        self._frames: OrderedDict[tuple[bytes, int], bytes] = OrderedDict()
        self._frames_bytes = 0

    def chunk(self, chunk_id: bytes) -> bytes:
        """The chunk's plaintext. Raises `NotInIndex`, `Damaged`, `UnknownKey` or a tier's error."""
        failure: RepositoryError | None = None
        for access in self._accesses:
            for location in (self._index or access.tier.index).lookup_all(chunk_id):
                try:
                    return self._read(access, location, chunk_id)
                except TooFewDescriptors:
                    raise  # it says nothing of the chunk
                except RepositoryError as caught:
                    error = explained(access.tier, caught)
                    # Whether one that was not given is whole nobody knows: that says more than that others are bad.
                    if failure is None or (is_fault_of_object(failure) and not is_fault_of_object(error)):
                        failure = error
        if failure is not None:
            raise failure
        # It may be in what an index does not show since that may not be read.
        whys = (withheld_by(each.tier) for each in self._accesses if not self._index)
        raise next((why for why in whys if why is not None), None) or NotInIndex(
            "no tier that can be read has the chunk", chunk=chunk_id.hex()
        )

    def kind_of(self, pack_id: bytes) -> PackKind:
        """What lies in a pack. Raises as `chunk`."""
        failure: RepositoryError | None = None
        for access in self._accesses:
            try:
                return access.reader(pack_id).header.kind
            except RepositoryError as error:
                failure = failure or error
        raise failure or NotInIndex("no tier that can be read has the pack", pack=pack_id.hex())

    def locate(self, chunk_id: bytes) -> Location:
        """Where any of the tiers has the chunk. Raises `NotInIndex`."""
        for access in self._accesses:
            location = access.tier.index.lookup_any(chunk_id)
            if location is not None:
                return location
        raise NotInIndex("no tier that can be read has the chunk", chunk=chunk_id.hex())

    def _read(self, access: PackAccess, location: Location, chunk_id: bytes) -> bytes:
        key = (location.pack_id, location.frame_offset)
        with self._lock:
            raw = self._frames.get(key)
            if raw is not None:
                self._frames.move_to_end(key)
        with about(tier=access.tier.name, object_key=pack_object_key(location.pack_id)):
            return self._read_raw(access, location, chunk_id, raw)

    def _read_raw(self, access: PackAccess, location: Location, chunk_id: bytes, raw: bytes | None) -> bytes:
        key = (location.pack_id, location.frame_offset)
        if raw is None:
            pack = access.reader(location.pack_id)
            stored = access.frame(location)
            with self._lock:
                raw = bytes(self._opener.open(pack, stored, location.frame_offset).raw)
                self._forget(key)  # another thread may have read it too
                self._frames[key] = raw
                self._frames_bytes += len(raw)
                while len(self._frames) > FRAMES_MAX or self._frames_bytes > FRAMES_BYTES_MAX:
                    self._forget(next(iter(self._frames)))
        else:
            pack = access.reader(location.pack_id)
        chunk = raw[location.chunk_offset : location.chunk_offset + location.chunk_length]
        if len(chunk) != location.chunk_length or pack.keys.chunk_id(chunk) != chunk_id:
            with self._lock:
                self._forget(key)
            raise Damaged("chunk is not the one of its id", pack=location.pack_id.hex())
        return chunk

    def _forget(self, key: tuple[bytes, int]) -> None:
        self._frames_bytes -= len(self._frames.pop(key, b""))
