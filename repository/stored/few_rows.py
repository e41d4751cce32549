"""A segment of few rows, made and looked through without numpy, whose import takes longer than a backup of little does.

Promise: the same bytes as `index_segment.encode_segment` makes of the same rows.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Final

from repository.stored.index_segment import PREFIX_LENGTH, SEGMENT_HEADER, Location, Segment, layout_of, shift_of

ROWS_FEW: Final = 1 << 14
"""Rows up to which this takes less time than the import: 3 µs a row."""

_RECORD = struct.Struct("<5I")


def encode_few(found: Iterable[tuple[bytes, Location]]) -> bytearray:
    """Sort chunks with their places, drop what is there twice, and encode. Packs are numbered as they come."""
    numbers: dict[bytes, int] = {}
    rows = sorted(
        {
            (chunk_id, numbers.setdefault(pack_id, len(numbers)), offset, start, length, count)
            for chunk_id, (pack_id, offset, length, start, count) in found
        }
    )
    prefixes = [int.from_bytes(row[0][:PREFIX_LENGTH], "big") for row in rows]
    first = prefixes[0] if rows else 0
    shift = shift_of(len(rows), prefixes[-1] - first if rows else 0)
    buckets = ((prefixes[-1] - first) >> shift) + 1 if rows else 0
    layout = layout_of(len(rows), len(numbers), buckets)
    body = bytearray(layout.end)
    SEGMENT_HEADER.pack_into(body, 0, len(rows), len(numbers), buckets, shift, bytes(3))
    body[layout.packs : layout.prefixes] = b"".join(numbers)
    struct.pack_into(f"<{len(rows)}Q", body, layout.prefixes, *prefixes)
    body[layout.rests : layout.buckets] = b"".join([row[0][PREFIX_LENGTH:] for row in rows])
    struct.pack_into(f"<{buckets + 1}I", body, layout.buckets, *_bucket_starts(prefixes, first, shift, buckets))
    body[layout.records : layout.end] = b"".join(
        [_RECORD.pack(pack, offset, length, start, count) for _, pack, offset, start, length, count in rows]
    )
    return body


def pack_ends(segment: Segment) -> list[int]:
    """For each pack of the segment, by its number, where the last frame ends that a row points at."""
    layout = layout_of(segment.rows, segment.pack_count, segment.bucket_count)
    ends = [0] * segment.pack_count
    for pack, offset, length, _start, _count in _RECORD.iter_unpack(segment.body[layout.records : layout.end]):
        ends[pack] = max(ends[pack], offset + length)
    return ends


def _bucket_starts(prefixes: Sequence[int], first: int, shift: int, buckets: int) -> list[int]:
    """The first row of each bucket, and the number of rows."""
    starts: list[int] = []
    for row, prefix in enumerate(prefixes):
        bucket = (prefix - first) >> shift
        if bucket >= len(starts):
            starts.extend([row] * (bucket + 1 - len(starts)))
    return starts + [len(prefixes)] * (buckets + 1 - len(starts))
