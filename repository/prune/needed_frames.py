"""The frames of a pack that are still needed, read without the waste around them.

Promise: the footer is authentic for this pack, and what lies between two frames is read only where asking twice would
cost more; that a frame is what the footer says is for `FrameOpener.verified`. Memory: what is read of one pack.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, NamedTuple

from repository.errors import ObjectMissing, RepositoryError, UnknownKey
from repository.format import PACK_HEADER_LENGTH, TRAILER_LENGTH, FrameEntry, decode_trailer, pack_object_key
from repository.index.index import ids_of
from repository.index.pack_catalog import each_in_parallel, is_fault_of_object
from repository.keys.key_ring import KeyRing
from repository.stored.pack_reader import FrameOpener, PackReader
from repository.tiers.port import ObjectStore

TAIL_LENGTH: Final = 256 << 10
"""Bytes of a pack's end that are read at first: the footer of most packs."""
PARALLEL: Final = 4
GAP_LENGTH: Final = 256 << 10
"""Bytes between two needed frames that are read as well."""


class NeededFrames(NamedTuple):
    """Of one pack: the needed frames, each with its bytes."""

    pack: PackReader
    frames: list[tuple[FrameEntry, memoryview]]


def read_needed(
    store: ObjectStore, ring: KeyRing, pack_id: bytes, is_needed: Callable[[FrameEntry], bool]
) -> NeededFrames:
    """Read what is needed. Raises `Damaged`, `ObjectMissing`, `UnknownKey` and the store's errors."""
    key = pack_object_key(pack_id)
    info = store.head(key)
    if info is None:
        raise ObjectMissing("a pack is not there", object_key=key)
    tail = store.get_range(key, max(0, info.size - TAIL_LENGTH), min(info.size, TAIL_LENGTH))
    length = decode_trailer(tail, info.size).footer_length + TRAILER_LENGTH
    if length > len(tail):
        tail = store.get_range(key, info.size - length, length)
    pack = PackReader(store.get_range(key, 0, PACK_HEADER_LENGTH), ring, pack_id)
    frames = [entry for entry in pack.footer(tail, info.size) if is_needed(entry)]
    found: list[tuple[FrameEntry, memoryview]] = []
    for span in _spans(frames):
        start, end = span[0].offset, span[-1].offset + span[-1].length
        view = memoryview(store.get_range(key, start, end - start))
        found += [(entry, view[entry.offset - start : entry.offset - start + entry.length]) for entry in span]
    return NeededFrames(pack, found)


def bad_packs(
    store: ObjectStore, ring: KeyRing, wanted: Mapping[bytes, Collection[bytes]], check_cancelled: Callable[[], None]
) -> set[bytes]:
    """Those of these packs of which not all chunks that are named are there and whole: they are read.
    `check_cancelled` is asked before each, and may raise. Raises what is no fault of an object.
    """
    tools = _Tools()

    def is_bad(pack_id: bytes) -> bool:
        check_cancelled()
        left = set(wanted[pack_id])
        try:
            found = read_needed(store, ring, pack_id, lambda entry: not left.isdisjoint(ids_of(entry.chunk_ids)))
            for entry, stored in found.frames:
                tools.opener.verified(found.pack, stored, entry)
                left.difference_update(ids_of(entry.chunk_ids))
        except (RepositoryError, UnknownKey) as error:
            if isinstance(error, UnknownKey) or is_fault_of_object(error):
                return True
            raise
        return bool(left)

    answers = each_in_parallel(lambda pack_id: (pack_id, is_bad(pack_id)), sorted(wanted), PARALLEL)
    return {pack_id for pack_id, is_one in answers if is_one}


class _Tools(threading.local):
    """What each thread keeps."""

    def __init__(self) -> None:
        self.opener = FrameOpener()


def _spans(frames: list[FrameEntry]) -> Iterator[list[FrameEntry]]:
    """Frames that are read at once."""
    span: list[FrameEntry] = []
    for entry in frames:
        if span and entry.offset - (span[-1].offset + span[-1].length) > GAP_LENGTH:
            yield span
            span = []
        span.append(entry)
    if span:
        yield span
