"""Where the bytes of a restored file go: around its holes, and in as many calls as the system wants."""

import os
from collections.abc import Sequence
from typing import Final

BLOCK: Final = 4096
"""Bytes of the smallest hole that file systems keep."""
_ZEROS: Final = bytes(BLOCK)

Extents = Sequence[tuple[int, int]]
"""Offsets and lengths of what is not a hole."""


def places_of(position: int, length: int, extents: Extents | None) -> list[tuple[int, int]]:
    """Where in a file `length` bytes of its content from `position` on are: offsets and lengths."""
    if extents is None:
        return [(position, length)]
    places = []
    before = 0
    for offset, extent_length in extents:
        if length and position < before + extent_length:
            start = position - before
            count = min(extent_length - start, length)
            places.append((offset + start, count))
            position += count
            length -= count
        before += extent_length
    return places


def write_sparsely(fd: int, body: memoryview, offset: int, *, may_hold_others: bool) -> None:
    """Write all but blocks of zeros: holes that were too many to be kept in the tree come back as such.

    `may_hold_others`: something else than zeros may be there.
    """
    at = begin = 0
    while at < len(body):
        end = min(len(body), at + BLOCK - (offset + at) % BLOCK)
        is_hole = bytes(body[at:end]) == _ZEROS[: end - at]
        if is_hole and not (may_hold_others and any(os.pread(fd, end - at, offset + at))):
            if begin < at:
                write_all(fd, body[begin:at], offset + begin)
            begin = end
        at = end
    if begin < at:
        write_all(fd, body[begin:at], offset + begin)


def write_all(fd: int, body: memoryview | bytes, offset: int) -> None:
    """Write all of it, however often the system takes only a part. Raises `OSError`."""
    written = os.pwrite(fd, body, offset)
    while written < len(body):
        body = memoryview(body)[written:]
        offset += written
        written = os.pwrite(fd, body, offset)
