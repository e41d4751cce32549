"""The packs of a tier as its store lists them, and their footers: what an index is rebuilt from."""

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple, TypeVar

from repository.errors import Damaged, RepositoryError, about
from repository.format import (
    PACK_HEADER_LENGTH,
    PACK_LENGTH_MAX,
    TRAILER_LENGTH,
    FrameEntry,
    decode_trailer,
    pack_object_key,
)
from repository.keys.key_ring import KeyRing
from repository.tiers.port import ObjectStore

PACK_PREFIX: Final = "packs/"
TAIL_LENGTH: Final = 64 << 10
"""Bytes read from the end of a pack at first: the footer of most packs fits."""
PARALLEL_READS: Final = 8

_FAULTS_OF_OBJECTS: Final = frozenset(
    ("damaged", "object-missing", "object-truncated", "unknown-key", "checksum-mismatch", "unsupported-format")
)

_PACK_KEY: Final = re.compile(r"packs/([0-9a-f]{2})/(\1[0-9a-f]{62})")

Item = TypeVar("Item")
Result = TypeVar("Result")


class StoredPack(NamedTuple):
    """A pack as the store lists it: its id (32 bytes) and its size in bytes."""

    id: bytes
    size: int


class Footer(NamedTuple):
    """A pack's frame table, or why it cannot be read."""

    pack: StoredPack
    frames: list[FrameEntry]
    error: RepositoryError | None


def stored_packs(store: ObjectStore) -> Iterator[StoredPack]:
    """The packs below `packs/`, by id; objects with other names are left out."""
    for info in store.list(PACK_PREFIX):
        named = _PACK_KEY.fullmatch(info.key)
        if named is not None:
            yield StoredPack(bytes.fromhex(named[2]), info.size)


def read_footer_of(store: ObjectStore, ring: KeyRing, pack: StoredPack) -> list[FrameEntry]:
    """The frame table of one stored pack, by two or three ranged reads.

    Raises `Damaged`, `UnknownKey`, `UnsupportedFormat` and the store's errors.
    """
    key = pack_object_key(pack.id)
    with about(tier=store.name, object_key=key):
        return _read_footer(store, ring, pack, key)


def _read_footer(store: ObjectStore, ring: KeyRing, pack: StoredPack, key: str) -> list[FrameEntry]:
    from repository.stored.pack_reader import PackReader

    if pack.size < PACK_HEADER_LENGTH + TRAILER_LENGTH:
        raise Damaged("pack is shorter than header and trailer", object_key=key, length=pack.size)
    if pack.size > PACK_LENGTH_MAX:
        # Its trailer, which anybody can write, says how much is to be read.
        raise Damaged("pack is longer than a pack can be", object_key=key, length=pack.size)
    reader = PackReader(store.get_range(key, 0, PACK_HEADER_LENGTH), ring, pack.id)
    length = min(pack.size, TAIL_LENGTH)
    tail = store.get_range(key, pack.size - length, length)
    needed = decode_trailer(tail, pack.size).footer_length + TRAILER_LENGTH
    if needed > length:
        tail = store.get_range(key, pack.size - needed, needed)
    return reader.footer(tail, pack.size)


def read_footers(store: ObjectStore, ring: KeyRing, packs: Iterable[StoredPack]) -> Iterator[Footer]:
    """The frame tables of many packs, some at a time, in the order of `packs`; a bad pack is told, not raised.

    Raises the store's errors that are no fault of the pack (the tier does not answer).
    """

    def read(pack: StoredPack) -> Footer:
        try:
            return Footer(pack, read_footer_of(store, ring, pack), None)
        except RepositoryError as error:
            if is_fault_of_object(error):
                return Footer(pack, [], error)
            raise

    return each_in_parallel(read, packs, PARALLEL_READS)


def is_fault_of_object(error: RepositoryError) -> bool:
    """Whether the object is bad or gone, rather than the tier out of reach."""
    return error.code in _FAULTS_OF_OBJECTS


def each_in_parallel(call: Callable[[Item], Result], items: Iterable[Item], width: int) -> Iterator[Result]:
    """`call` of each item in order, `width` at a time; never holds more than that many results."""
    with ThreadPoolExecutor(width, thread_name_prefix="repository-read") as pool:
        running: list[Future[Result]] = []
        try:
            for item in items:
                running.append(pool.submit(call, item))
                if len(running) >= width:
                    yield running.pop(0).result()
            while running:
                yield running.pop(0).result()
        finally:
            for future in running:
                future.cancel()
