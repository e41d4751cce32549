"""One index segment: rows sorted by chunk id, searched where they lie.

Promise: a segment is read without decoding a row; its memory is the bytes of its body (less than 53 a chunk, and 32
a pack), which may lie in a memory-mapped file. The layout (little endian; n rows, p packs, b buckets):

    n u32 · p u32 · b u32 · shift u8 · reserved 3
    p × pack id 32
    n × prefix u64
    n × rest of the id 24
    (b + 1) × row number u32
    n × (pack number u32 · frame offset u32 · frame length u32 · chunk offset u32 · chunk length u32)

`prefix` is the id's first 8 bytes read as a big-endian number; rows ascend by it. Bucket k holds the rows from
the k-th row number to the next: those whose prefix, less the first row's, is k when shifted right by `shift`.
Ids are keyed hashes, so prefixes are spread evenly and a bucket has four to eight rows.
numpy is imported only where large segments are built (`few_rows` makes small ones), or many ids are looked up in one.
"""

from __future__ import annotations

import mmap
import struct
import sys
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from repository.errors import Damaged
from repository.format import ID_LENGTH, Buffer

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADER_LENGTH: Final = 16
PREFIX_LENGTH: Final = 8
REST_LENGTH: Final = ID_LENGTH - PREFIX_LENGTH
RECORD_LENGTH: Final = 5 * 4
ROW_LENGTH: Final = ID_LENGTH + RECORD_LENGTH
ROWS_MAX: Final = 1 << 20
"""Rows in one segment, at most, as this writer makes them (55 MB)."""
ROWS_PER_BUCKET: Final = 8
_IDS_MANY: Final = 64
_ROWS_MANY: Final = 1 << 16
"""From so many ids in so many rows on, importing numpy and looking them up together is quicker than a loop."""
SHIFT_MAX: Final = 63

SEGMENT_HEADER: Final = struct.Struct("<IIIB3s")
_RECORD = struct.Struct("<5I")
SPLIT_ID: Final = struct.Struct(">Q24s")
"""Splits an id into prefix and rest."""

Stored: TypeAlias = bytes | bytearray | mmap.mmap


def _column(view: memoryview, code: str) -> Sequence[int]:
    """`view` as native numbers, without a copy on little-endian machines."""
    if sys.byteorder == "little":
        return view.cast(code)  # type: ignore[call-overload, no-any-return]
    numbers = array(code, bytes(view))
    numbers.byteswap()
    return numbers


class Location(NamedTuple):
    """Where one chunk's plaintext is.

    `frame_length` bytes at `frame_offset` of the pack are the whole frame (header, ciphertext, tag); the
    chunk is `chunk_length` bytes at `chunk_offset` of the frame's raw bytes.
    """

    pack_id: bytes
    frame_offset: int
    frame_length: int
    chunk_offset: int
    chunk_length: int


_new_tuple = tuple.__new__  # half the time of calling the class


class _Layout(NamedTuple):
    """Where the parts of a segment begin, in bytes."""

    packs: int
    prefixes: int
    rests: int
    buckets: int
    records: int
    end: int


def layout_of(rows: int, packs: int, buckets: int) -> _Layout:
    """Of a segment with so many rows, packs and buckets."""
    prefixes_at = HEADER_LENGTH + packs * ID_LENGTH
    rests_at = prefixes_at + rows * PREFIX_LENGTH
    buckets_at = rests_at + rows * REST_LENGTH
    records_at = buckets_at + 4 * (buckets + 1)
    return _Layout(HEADER_LENGTH, prefixes_at, rests_at, buckets_at, records_at, records_at + rows * RECORD_LENGTH)


class Segment:
    """An encoded segment, ready to be searched. Immutable and thread-safe."""

    __slots__ = (
        "__weakref__",
        "_buckets",
        "_layout",
        "_packs",
        "_prefixes",
        "_records",
        "_rests_at",
        "_shift",
        "body",
        "bucket_count",
        "first",
        "last",
        "pack_count",
        "rows",
        "stored_length",
    )

    def __init__(self, body: Stored) -> None:
        self.body: Stored = body
        self.stored_length = 0
        """Bytes of the object that it is stored as; 0 where that is not known."""
        if len(body) < HEADER_LENGTH:
            raise Damaged("index segment is shorter than its header", length=len(body))
        self.rows, self.pack_count, self.bucket_count, self._shift, reserved = SEGMENT_HEADER.unpack_from(body)
        self._layout = layout = layout_of(self.rows, self.pack_count, self.bucket_count)
        if len(body) != layout.end or any(reserved) or self._shift > SHIFT_MAX:
            raise Damaged("index segment has another length than its counts say", rows=self.rows, packs=self.pack_count)
        view = memoryview(body)
        self._prefixes = _column(view[layout.prefixes : layout.rests], "Q")
        self._buckets = _column(view[layout.buckets : layout.records], "I")
        self._rests_at = layout.rests
        self._records = _column(view[layout.records : layout.end], "I")
        self._packs: frozenset[bytes] | None = None
        self.first = self._prefixes[0] if self.rows else 0
        """The lowest prefix."""
        self.last = self._prefixes[self.rows - 1] if self.rows else -1
        """The highest prefix."""

    def find(self, prefix: int, rest: bytes, after: int = -1) -> int:
        """The first row of this id behind row `after`, or -1. One chunk may lie in several packs."""
        if prefix < self.first or prefix > self.last:
            return -1
        prefixes = self._prefixes
        if after < 0:
            bucket = (prefix - self.first) >> self._shift
            buckets = self._buckets
            row = bisect_left(prefixes, prefix, buckets[bucket], buckets[bucket + 1])
        else:
            row = after + 1
        while row < self.rows and prefixes[row] == prefix:
            at = self._rests_at + row * REST_LENGTH
            if self.body[at : at + REST_LENGTH] == rest:
                return row
            row += 1
        return -1

    def pack_id(self, number: int) -> bytes:
        """The id of the pack with this number, which is below `pack_count`."""
        at = HEADER_LENGTH + number * ID_LENGTH
        return bytes(self.body[at : at + ID_LENGTH])

    def location(self, row: int) -> Location:
        """Where the chunk of a row is. Raises `Damaged` when the row points at a pack that is not listed."""
        pack, offset, length, start, count = _RECORD.unpack_from(self.body, self._layout.records + row * RECORD_LENGTH)
        if pack >= self.pack_count:
            raise Damaged("index row points at a pack that its segment does not list", pack=pack)
        at = HEADER_LENGTH + pack * ID_LENGTH
        return _new_tuple(Location, (bytes(self.body[at : at + ID_LENGTH]), offset, length, start, count))

    def fill_in(self, ids: Sequence[bytes], found: list[Location | None]) -> None:
        """Put the place of each id that has a row, and none yet, where `found` has that of the id. Raises `Damaged`.

        `find` and `location` in one loop, which takes half of the time of calling them for each.
        """
        first, last, shift, prefixes, buckets = self.first, self.last, self._shift, self._prefixes, self._buckets
        rows, body, rests_at, records_at = self.rows, self.body, self._rests_at, self._layout.records
        pack_ids: dict[int, bytes] = {}
        split, unpack, new = SPLIT_ID.unpack, _RECORD.unpack_from, _new_tuple
        for number, chunk_id in enumerate(ids):
            if found[number] is not None:
                continue
            prefix, rest = split(chunk_id)
            if not first <= prefix <= last:
                continue
            bucket = (prefix - first) >> shift
            row = bisect_left(prefixes, prefix, buckets[bucket], buckets[bucket + 1])
            at = rests_at + row * REST_LENGTH
            if row == rows or prefixes[row] != prefix or body[at : at + REST_LENGTH] != rest:
                row = self.find(prefix, rest)
                if row < 0:
                    continue
            pack, offset, length, start, count = unpack(body, records_at + row * RECORD_LENGTH)
            pack_id = pack_ids.get(pack)
            if pack_id is None:
                if pack >= self.pack_count:
                    raise Damaged("index row points at a pack that its segment does not list", pack=pack)
                pack_id = pack_ids[pack] = self.pack_id(pack)
            found[number] = new(Location, (pack_id, offset, length, start, count))

    def packs_of(self, ids: bytes, packs: set[bytes]) -> bytes:
        """Add the pack of each of these concatenated ids that has a row; returns the ids that have none. Raises
        `Damaged`.
        """
        if len(ids) < _IDS_MANY * ID_LENGTH or (self.rows < _ROWS_MANY and "numpy" not in sys.modules):
            numbers, missing = self._pack_numbers(ids)
        else:
            numbers, missing = self._pack_numbers_of_many(ids)
        if numbers and max(numbers) >= self.pack_count:
            raise Damaged("index row points at a pack that its segment does not list", pack=max(numbers))
        packs.update(map(self.pack_id, numbers))
        return missing

    def _pack_numbers(self, ids: bytes) -> tuple[set[int], bytes]:
        """`find` and `location` in one loop, which takes a third of the time of calling them for each."""
        first, last, shift, prefixes, buckets = self.first, self.last, self._shift, self._prefixes, self._buckets
        rows, body, rests_at, records = self.rows, self.body, self._rests_at, self._records
        numbers: set[int] = set()
        missing: list[int] = []
        for number, (prefix, rest) in enumerate(SPLIT_ID.iter_unpack(ids)):
            if first <= prefix <= last:
                bucket = (prefix - first) >> shift
                row = bisect_left(prefixes, prefix, buckets[bucket], buckets[bucket + 1])
                at = rests_at + row * REST_LENGTH
                if row == rows or prefixes[row] != prefix or body[at : at + REST_LENGTH] != rest:
                    row = self.find(prefix, rest)
                if row >= 0:
                    numbers.add(records[5 * row])
                    continue
            missing.append(number)
        return numbers, b"".join(ids[number * ID_LENGTH : (number + 1) * ID_LENGTH] for number in missing)

    def _pack_numbers_of_many(self, ids: bytes) -> tuple[set[int], bytes]:
        """The same for a page of ids at once: a tenth of the loop's time."""
        import numpy as np

        wanted = np.frombuffer(ids, ">u8").reshape(-1, 4)
        prefixes = wanted[:, 0].astype("=u8")
        own = np.frombuffer(self.body, "<u8", self.rows, self._layout.prefixes)
        rests = np.frombuffer(self.body, ">u8", 3 * self.rows, self._rests_at).reshape(-1, 3)
        records = np.frombuffer(self.body, "<u4", 5 * self.rows, self._layout.records).reshape(-1, 5)
        rows = np.minimum(own.searchsorted(prefixes), self.rows - 1)
        may_be = own[rows] == prefixes
        found = may_be & (rests[rows] == wanted[:, 1:]).all(axis=1)
        numbers = set(np.unique(records[rows[found], 0]).tolist())
        # Whoever shares a prefix with another may have the row behind it.
        further, missing = self._pack_numbers(wanted[may_be & ~found].tobytes())
        return numbers | further, wanted[~may_be].tobytes() + missing

    def row_at_or_above(self, prefix: int) -> int:
        """The number of rows whose prefix is lower than `prefix`."""
        return bisect_left(self._prefixes, prefix)

    def pack_ids(self) -> list[bytes]:
        """The packs that the rows point at, in the order of their numbers."""
        return [self.pack_id(number) for number in range(self.pack_count)]

    @property
    def packs(self) -> frozenset[bytes]:
        """The same as a set, which is made once."""
        if self._packs is None:
            self._packs = frozenset(self.pack_ids())
        return self._packs


class Columns(NamedTuple):
    """A segment's rows as numpy arrays, for building, merging and checking."""

    pack_ids: list[bytes]
    ids: NDArray[Any]
    """(n, 4) big-endian u64."""
    records: NDArray[Any]
    """(n, 5) u32: pack number, frame offset, frame length, chunk offset, chunk length."""


def columns_of(segment: Segment, start: int = 0, stop: int | None = None) -> Columns:
    """Rows `start` to `stop` of a segment. The ids are copied, the records are not."""
    import numpy as np

    n = segment.rows
    stop = n if stop is None else stop
    layout = layout_of(n, segment.pack_count, segment.bucket_count)
    ids = np.empty((stop - start, 4), dtype=">u8")
    ids[:, 0] = np.frombuffer(segment.body, "<u8", n, layout.prefixes)[start:stop]
    ids[:, 1:] = np.frombuffer(segment.body, ">u8", 3 * n, layout.rests).reshape(n, 3)[start:stop]
    records = np.frombuffer(segment.body, "<u4", 5 * n, layout.records).reshape(n, 5)[start:stop]
    return Columns(segment.pack_ids(), ids, records)


def shift_of(rows: int, span: int) -> int:
    """By how much prefixes are shifted to tell their bucket. `span`: from the lowest prefix to the highest."""
    # Shifting a u64 by 64 bits is undefined in numpy, so a span of all 64 bits gets two buckets at least.
    return min(max(0, span.bit_length() - (rows // ROWS_PER_BUCKET).bit_length()), SHIFT_MAX)


def _sorted_rows(columns: Columns) -> tuple[NDArray[Any], NDArray[Any]]:
    """Ids and records in ascending order, each row once."""
    import numpy as np

    order = np.argsort(columns.ids[:, 0].astype("=u8"), kind="stable")
    ids, records = columns.ids[order], columns.records[order]
    if not bool((ids[1:, 0] == ids[:-1, 0]).any()):
        return ids, records
    # One chunk in two packs is kept twice: the second may save the first. The same row twice is not.
    order = np.lexsort((records[:, 3], records[:, 1], records[:, 0], ids[:, 3], ids[:, 2], ids[:, 1], ids[:, 0]))
    ids, records = ids[order], records[order]
    differs = (ids[1:] != ids[:-1]).any(axis=1) | (records[1:] != records[:-1]).any(axis=1)
    keep = np.concatenate((np.ones(1, dtype=bool), differs))
    return ids[keep], records[keep]


def encode_segment(columns: Columns) -> bytearray:
    """Sort rows, drop the ones that are there twice and the packs without rows, and encode."""
    import numpy as np

    ids, records = _sorted_rows(columns)
    rows = len(ids)
    used, pack_numbers = np.unique(records[:, 0], return_inverse=True)
    prefixes = ids[:, 0].astype("=u8")
    distances = prefixes - prefixes[:1]
    shift = shift_of(rows, int(distances[-1]) if rows else 0)
    bucket_of = distances >> np.uint64(shift)
    buckets = int(bucket_of[-1]) + 1 if rows else 0
    layout = layout_of(rows, len(used), buckets)
    body = bytearray(layout.end)
    SEGMENT_HEADER.pack_into(body, 0, rows, len(used), buckets, shift, bytes(3))
    body[layout.packs : layout.prefixes] = b"".join(columns.pack_ids[number] for number in used.tolist())
    np.frombuffer(body, "<u8", rows, layout.prefixes)[:] = prefixes
    np.frombuffer(body, ">u8", 3 * rows, layout.rests).reshape(rows, 3)[:] = ids[:, 1:]
    np.frombuffer(body, "<u4", buckets + 1, layout.buckets)[:] = np.searchsorted(bucket_of, np.arange(buckets + 1))
    target = np.frombuffer(body, "<u4", 5 * rows, layout.records).reshape(rows, 5)
    target[:, 0] = pack_numbers
    target[:, 1:] = records[:, 1:]
    return body


def concatenated(parts: Sequence[Columns]) -> Columns:
    """The rows of several parts under one table of packs."""
    import numpy as np

    known: dict[bytes, int] = {}
    records: list[NDArray[Any]] = []
    for part in parts:
        renumbered = np.array([known.setdefault(pack_id, len(known)) for pack_id in part.pack_ids], dtype="<u4")
        moved = np.array(part.records)
        moved[:, 0] = renumbered[moved[:, 0]]
        records.append(moved)
    return Columns(list(known), np.concatenate([part.ids for part in parts]), np.concatenate(records))


def without_packs(segment: Segment, pack_ids: Collection[bytes]) -> bytearray:
    """The segment's rows but for those that point at these packs, encoded."""
    import numpy as np

    columns = columns_of(segment)
    left_out = [number for number, pack_id in enumerate(columns.pack_ids) if pack_id in pack_ids]
    keep = ~np.isin(columns.records[:, 0], left_out)
    return encode_segment(Columns(columns.pack_ids, columns.ids[keep], columns.records[keep]))


def merged(segments: Sequence[Segment], rows_max: int = ROWS_MAX) -> Iterator[bytearray]:
    """Encoded segments with the rows of `segments`: disjoint, ascending, none much above `rows_max` rows.

    Works through the space of prefixes part by part, so that memory is bounded by the size of one part.
    """
    rows = sum(segment.rows for segment in segments)
    parts = max(1, -(-rows // rows_max))
    starts = [0] * len(segments)
    for part in range(1, parts + 1):
        pieces: list[Columns] = []
        for number, segment in enumerate(segments):
            stop = segment.rows if part == parts else segment.row_at_or_above((part << 64) // parts)
            if stop > starts[number]:
                pieces.append(columns_of(segment, starts[number], stop))
            starts[number] = stop
        if pieces:
            yield encode_segment(concatenated(pieces))


def in_mapped_file(body: Buffer | Iterable[Buffer]) -> mmap.mmap:
    """`body` (or its pieces) in an unnamed temporary file, mapped: the kernel may drop its pages when memory is short.

    The file has no name and mode 0600, and holds what an index holds: keyed ids and places, no keys.
    """
    with tempfile.TemporaryFile(prefix="wedsync-index-") as file:
        length = 0
        for piece in (body,) if isinstance(body, Buffer) else body:
            length += file.write(piece)
        file.flush()
        return mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ)
