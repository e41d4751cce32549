"""The frames of a pack that are still needed, read without the waste around them.

Promise: the footer is authentic for this pack, and what lies between two frames is read only where asking twice would
cost more; that a frame is what the footer says is for `FrameOpener.verified`. Memory: what is read of one pack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from repository.errors import ObjectMissing
from repository.format import PACK_HEADER_LENGTH, TRAILER_LENGTH, FrameEntry, decode_trailer, pack_object_key
from repository.keys.key_ring import KeyRing
from repository.stored.pack_reader import PackReader
from repository.tiers.port import ObjectStore

TAIL_LENGTH: Final = 256 << 10
"""Bytes of a pack's end that are read at first: the footer of most packs."""
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
