"""A piece of one file's content, wherever it begins: for whoever is sent a file in answers of bounded length.

Promise: every byte was read from a chunk that hashes to its id; holes are zeros. Cost follows the piece, after the
file's chunks were looked up once (`Content`).
"""

from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate

from repository.errors import Damaged
from repository.index.index import Location
from repository.stored.tree import Entry, Flag, content_ids, decode_extents


class Content:
    """Where the bytes of a file lie. `load` gives a chunk, `locate` says how long one is. Raises as they do, `Damaged`.

    Thread-safe once it is made.
    """

    def __init__(self, entry: Entry, load: Callable[[bytes], bytes], locate: Callable[[bytes], Location]) -> None:
        self.size = entry.stat.size
        self._ids = list(content_ids(entry.content or b"", entry.extra.depth, load))
        self._starts = [0, *accumulate(locate(each).chunk_length for each in self._ids)]
        is_sparse = bool(entry.extra.flags & Flag.SPARSE)
        extents = decode_extents(entry.extra.extents, self.size) if is_sparse else [(0, self.size)] if self.size else []
        self._extents = extents
        self._before = [0, *accumulate(length for _, length in extents)]
        if self._starts[-1] != self._before[-1]:
            raise Damaged("content does not add up to the file's size", size=self._before[-1], content=self._starts[-1])

    def piece(self, offset: int, length: int, load: Callable[[bytes], bytes]) -> bytes:
        """At most `length` bytes from an offset on; fewer at the end alone."""
        end = min(self.size, offset + length)
        if offset >= end:
            return b""
        body = bytearray(end - offset)
        at = max(0, bisect_right(self._extents, (offset, self.size)) - 1)
        for (begin, count), before in zip(self._extents[at:], self._before[at:], strict=False):
            if begin >= end:
                break
            first, last = max(begin, offset), min(begin + count, end)
            if first < last:
                body[first - offset : last - offset] = self._packed(before + first - begin, last - first, load)
        return bytes(body)

    def _packed(self, position: int, length: int, load: Callable[[bytes], bytes]) -> bytes:
        """Bytes of the content without its holes."""
        pieces: list[bytes] = []
        number = bisect_right(self._starts, position) - 1
        while length:
            start = self._starts[number]
            piece = load(self._ids[number])[position - start : position - start + length]
            if not piece:
                raise Damaged("content is shorter than its chunks say", position=position)
            pieces.append(piece)
            position, length, number = position + len(piece), length - len(piece), number + 1
        return b"".join(pieces)
