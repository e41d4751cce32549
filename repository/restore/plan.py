"""The order in which a restore reads: by pack and place, in spans of neighbouring frames.

Promise: each frame of a window is read and decrypted once, however many files want chunks of it; neighbours
are read with one request. Memory is bounded by the window: so many chunks, and no more files.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from repository.restore.files import TargetFile

WINDOW_PARTS: Final = 1 << 16
"""Chunks that are planned together."""
SPAN_LOCAL: Final = 4 << 20
SPAN_REMOTE: Final = 16 << 20
"""Bytes of a pack that are read at once, about."""
SPAN_OF_FILE: Final = 8 << 20
"""Bytes up to which a span goes on to the end of a file: two threads that write to one wait for each other."""
GAP_MAX: Final = 256 << 10
"""Bytes between two wanted frames that are rather read than asked for apart."""


class Part(NamedTuple):
    """Chunks of one file that lie side by side in it and in a frame. Sorts by place; `number` ends comparisons."""

    pack_order: int
    frame_offset: int
    chunk_offset: int
    number: int
    pack_id: bytes
    frame_length: int
    ids: list[bytes]
    lengths: list[int]
    file: TargetFile
    position: int
    is_whole_file: bool

    def chunks(self) -> "Iterator[Part]":
        """Each chunk as a part of its own."""
        offset, position = self.chunk_offset, self.position
        for chunk_id, length in zip(self.ids, self.lengths, strict=True):
            yield self._replace(chunk_offset=offset, ids=[chunk_id], lengths=[length], position=position)
            offset += length
            position += length


class Span(NamedTuple):
    """Neighbouring frames of one pack, and the parts that come out of them, in the order of their places."""

    pack_id: bytes
    offset: int
    length: int
    parts: Sequence[Part]


def spans_of(parts: list[Part], span_length: int) -> list[Span]:
    """The reads that a window needs. Sorts `parts`."""
    parts.sort()
    spans: list[Span] = []
    first = 0
    end = 0
    for number, part in enumerate(parts):
        start = parts[first]
        length = part.frame_offset + part.frame_length - start.frame_offset
        if number > first and (
            part.pack_order != start.pack_order
            or part.frame_offset > end + GAP_MAX
            or (
                length > max(span_length, start.frame_length)
                and (length > SPAN_OF_FILE or part.file is not parts[number - 1].file)
            )
        ):
            spans.append(Span(start.pack_id, start.frame_offset, end - start.frame_offset, parts[first:number]))
            first = number
            end = 0
        end = max(end, part.frame_offset + part.frame_length)
    if parts:
        start = parts[first]
        spans.append(Span(start.pack_id, start.frame_offset, end - start.frame_offset, parts[first:]))
    return spans
