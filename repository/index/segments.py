"""Index segments as objects of a tier: sealed, named by the SHA-256 of their bytes, shared among tiers.

Promise: the segment that `SegmentCache.load` returns for a name is the one that was stored under it. A
segment that several tiers hold is read from one of them and is in memory once, for as long as an index has it.
"""

import threading
import weakref
from collections.abc import Callable
from typing import Final, NamedTuple

from repository.errors import Damaged, about
from repository.keys import crypto
from repository.keys.key_ring import DomainKeys, KeyRing
from repository.ports import Randomness
from repository.stored.index_segment import Segment, in_mapped_file
from repository.stored.object_reading import check_length_of, length_max_of, read_object
from repository.stored.sealed_object import (
    ObjectKind,
    decode_sealed_header,
    seal_object,
    unseal_in_steps,
    unseal_to_memory,
)
from repository.tiers.local_cache import LocalCache
from repository.tiers.port import ObjectStore

INDEX_PREFIX: Final = "index/"
RESIDENT_BYTES_MAX: Final = 192 << 20


class SealedSegment(NamedTuple):
    """A segment ready to be stored on any tier: its name (hex), its bytes, and the segment itself."""

    name: str
    body: bytes
    segment: Segment


def segment_object_key(name: str) -> str:
    """Where a segment lives below a tier's prefix."""
    return INDEX_PREFIX + name


def seal_segment(segment: Segment, keys: DomainKeys, randomness: Randomness) -> SealedSegment:
    """Encrypt a segment once; every tier gets the same bytes under the same name."""
    body = seal_object(memoryview(segment.body), keys, ObjectKind.INDEX_SEGMENT, randomness)
    check_length_of(INDEX_PREFIX, len(body))
    segment.stored_length = len(body)
    return SealedSegment(crypto.sha256(body).hex(), body, segment)


def open_segment(
    name: str,
    body: bytes,
    ring: KeyRing,
    is_resident: Callable[[int], bool] = lambda _length: True,
    *,
    is_proven: bool = False,
) -> Segment:
    """The segment in a stored object. `is_resident`: whether so many bytes may be in memory, not in a mapped file.
    `is_proven`: the body was compared with the name already.

    Raises `Damaged`, `UnknownKey`, `UnsupportedFormat`.
    """
    if not is_proven and crypto.sha256(body).hex() != name:
        raise Damaged("index segment is not the one of its name", object_key=segment_object_key(name))
    if is_resident(decode_sealed_header(body).raw_length):
        segment = Segment(unseal_to_memory(body, ring, ObjectKind.INDEX_SEGMENT))
    else:
        segment = Segment(in_mapped_file(unseal_in_steps(body, ring, ObjectKind.INDEX_SEGMENT)))
    segment.stored_length = len(body)
    return segment


class SharedSegments:
    """What several open repositories of one owner have read: each segment once, for as long as one of them holds it."""

    def __init__(self) -> None:
        self.held: weakref.WeakValueDictionary[str, Segment] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()
        self._gates: weakref.WeakValueDictionary[str, threading.Lock] = weakref.WeakValueDictionary()

    def gate(self, name: str) -> threading.Lock:
        """The lock under which a segment is fetched."""
        with self._lock:
            gate = self._gates.get(name)
            if gate is None:
                gate = self._gates[name] = threading.Lock()
            return gate


class SegmentCache:
    """Finds the segments of an open repository by name. Beyond `resident_bytes_max` they lie in mapped files.

    It keeps none: the indexes do, and one that each of them replaced is gone. `shared`: with other repositories of the
    same owner, who may read them all.
    """

    def __init__(
        self,
        ring: KeyRing,
        resident_bytes_max: int = RESIDENT_BYTES_MAX,
        shared: SharedSegments | None = None,
        disk: LocalCache | None = None,
    ) -> None:
        self._ring = ring
        self._disk = disk
        self._lock = threading.Lock()
        self._shared = shared or SharedSegments()
        self._resident_bytes = 0
        self._resident_bytes_max = resident_bytes_max
        self._given_back: list[int] = []
        """Lengths of segments that are gone: a list, since they go at any moment, within the lock, too."""

    def load(self, store: ObjectStore, name: str) -> Segment:
        """The segment of this name, from memory or from the tier.

        Raises `ObjectMissing`, `Truncated`, `Damaged`, `UnknownKey` and the store's errors.
        """
        # Tiers that are opened at the same time do not fetch the same segment twice.
        with self._shared.gate(name):
            found = self._shared.held.get(name)
            if found is None:
                with about(tier=store.name, object_key=segment_object_key(name)):
                    found = self._opened(name, *self._body(store, name))
                self._shared.held[name] = found
        return found

    def _opened(self, name: str, body: bytes, is_proven: bool) -> Segment:
        """The segment in a stored object; what it takes of the memory is given back when it goes."""
        taken: list[int] = []

        def is_resident(length: int) -> bool:
            if self._is_resident(length):
                taken.append(length)
            return bool(taken)

        try:
            segment = open_segment(name, body, self._ring, is_resident, is_proven=is_proven)
        except BaseException:
            self._given_back.extend(taken)
            raise
        for length in taken:
            weakref.finalize(segment, self._given_back.append, length).atexit = False
        return segment

    def _body(self, store: ObjectStore, name: str) -> tuple[bytes, bool]:
        """The stored object, from this machine's disk where it was read before; and whether it was compared with its
        name. A tier on this machine has no copy.
        """
        key = segment_object_key(name)
        disk = None if store.capabilities.local else self._disk
        body = disk.get(bytes.fromhex(name), length_max_of(key)) if disk is not None else None
        if body is not None:
            return body, True
        body = read_object(store, key)
        is_proven = disk is not None and crypto.sha256(body).hex() == name
        if disk is not None and is_proven:
            disk.put(bytes.fromhex(name), body)
        return body, is_proven

    def holds(self, name: str) -> bool:
        """Whether the segment is in memory."""
        return name in self._shared.held

    def add(self, name: str, segment: Segment) -> None:
        """Know a segment that was made here, for as long as somebody has it."""
        self._shared.held.setdefault(name, segment)

    def _is_resident(self, length: int) -> bool:
        with self._lock:
            while self._given_back:
                self._resident_bytes -= self._given_back.pop()
            if self._resident_bytes + length > self._resident_bytes_max:
                return False
            self._resident_bytes += length
            return True
