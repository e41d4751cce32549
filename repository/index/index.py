"""The index: where each chunk is.

Promise: a lookup costs a microsecond or two and no Python object per chunk is kept. Rows live in sorted
column segments (`index_segment.py`, 52 bytes a chunk); the session's new rows wait in a buffer of at most
`BUFFER_ROWS` and then become such segments too, merged so that their number grows with the logarithm of the
rows. Segments beyond `resident_bytes_max` lie in memory-mapped temporary files, so that the kernel can drop
their pages. All methods may be called from several threads.
"""

from __future__ import annotations

import sys
import threading
from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from repository.format import ID_LENGTH, FrameEntry
from repository.stored.few_rows import ROWS_FEW, encode_few
from repository.stored.index_runs import Run, runs_of
from repository.stored.index_segment import (
    SPLIT_ID,
    Columns,
    Location,
    Segment,
    Stored,
    encode_segment,
    in_mapped_file,
    merged,
    without_packs,
)

__all__ = ["Index", "Location"]

BUFFER_ROWS: Final = 1 << 15
RESIDENT_BYTES_MAX: Final = 128 << 20


class _Buffer:
    """The newest rows of a session: whole frames, and the number of each id's row among them."""

    def __init__(self) -> None:
        self.rows: dict[bytes, int] = {}
        self._frames: list[tuple[bytes, FrameEntry]] = []
        self._firsts: list[int] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, pack_id: bytes, frame: FrameEntry) -> None:
        first, ids = self._length, frame.chunk_ids
        self._firsts.append(first)
        self._frames.append((pack_id, frame))
        self._length = end = first + len(frame.chunk_lengths)
        # Last, so that who finds an id finds its frame.
        self.rows.update(zip(ids_of(ids), range(first, end), strict=True))

    def location(self, row: int) -> Location:
        """The place of one row."""
        number = bisect_right(self._firsts, row) - 1
        pack_id, frame = self._frames[number]
        place = row - self._firsts[number]
        lengths = frame.chunk_lengths
        return Location(pack_id, frame.offset, frame.length, sum(lengths[:place]), lengths[place])

    def places(self, chunk_id: bytes) -> Iterator[Location]:
        """Every place of a chunk; looks through all frames only where some chunk came twice."""
        found = self.rows.get(chunk_id)
        if found is None:
            return
        if len(self.rows) == self._length:
            yield self.location(found)
            return
        for first, (_, frame) in zip(self._firsts[:], self._frames[:], strict=False):
            for number, other in enumerate(ids_of(frame.chunk_ids)):
                if other == chunk_id:
                    yield self.location(first + number)

    def _chunks(self) -> Iterator[tuple[bytes, Location]]:
        """Every chunk with its place."""
        for pack_id, frame in self._frames:
            offset, length, start = frame.offset, frame.length, 0
            for chunk_id, count in zip(ids_of(frame.chunk_ids), frame.chunk_lengths, strict=True):
                yield chunk_id, Location(pack_id, offset, length, start, count)
                start += count

    def encode(self) -> bytearray:
        """All rows as a segment. numpy is there already where there were more of them."""
        if self._length <= ROWS_FEW and "numpy" not in sys.modules:
            return encode_few(self._chunks())
        import numpy as np

        numbers_by_pack: dict[bytes, int] = {}
        of_frames = array("I")
        lengths = array("I")
        for pack_id, frame in self._frames:
            pack = numbers_by_pack.setdefault(pack_id, len(numbers_by_pack))
            of_frames.extend((pack, frame.offset, frame.length))
            lengths.extend(frame.chunk_lengths)
        ids = np.frombuffer(b"".join(frame.chunk_ids for _, frame in self._frames), ">u8").reshape(self._length, 4)
        counts = np.diff([*self._firsts, self._length])
        records = np.empty((self._length, 5), dtype="<u4")
        records[:, :3] = np.repeat(np.frombuffer(of_frames, "=u4").reshape(-1, 3), counts, axis=0)
        records[:, 4] = np.frombuffer(lengths, "=u4")
        ends = np.cumsum(records[:, 4], dtype=np.int64)
        starts = ends - records[:, 4]
        records[:, 3] = starts - np.repeat(starts[self._firsts], counts)
        return encode_segment(Columns(list(numbers_by_pack), ids, records))


def ids_of(concatenated: bytes) -> list[bytes]:
    """Concatenated ids one by one."""
    return [concatenated[start : start + ID_LENGTH] for start in range(0, len(concatenated), ID_LENGTH)]


class Index:
    """Segments of committed chunks and the session's new ones.

    `shared`: segments that other indexes use too; they are not copied.
    """

    def __init__(self, shared: Sequence[Segment] = (), *, resident_bytes_max: int = RESIDENT_BYTES_MAX) -> None:
        self._lock = threading.Lock()
        self._segments: list[Segment] = list(shared)
        self._committed: tuple[Run, ...] = tuple(runs_of(self._segments))
        self._fresh: tuple[Run, ...] = ()
        self._buffer = _Buffer()
        self._excluded: frozenset[bytes] = frozenset()
        self._new_pack_ids: set[bytes] = set()
        self._resident_bytes = 0
        self._resident_bytes_max = resident_bytes_max

    # Looking up

    def _places(self, chunk_id: bytes) -> Iterator[Location]:
        # The buffer is read before the runs, and a row leaves it only after a run has it: a lookup that races
        # with a flush may see a row twice, never not at all.
        buffer = self._buffer
        yield from buffer.places(chunk_id)
        prefix, rest = SPLIT_ID.unpack(chunk_id)
        for runs in (self._fresh, self._committed):
            for run in runs:
                segment = run.segment_for(prefix)
                row = segment.find(prefix, rest)
                while row >= 0:
                    yield segment.location(row)
                    row = segment.find(prefix, rest, row)

    def lookup(self, chunk_id: bytes) -> Location | None:
        """Where the chunk is, or None. Packs that are marked for deletion do not count."""
        if self._excluded:
            for location in self._places(chunk_id):
                if location.pack_id not in self._excluded:
                    return location
            return None
        return self.lookup_any(chunk_id)

    def lookup_any(self, chunk_id: bytes) -> Location | None:
        """As `lookup`, but packs that are marked count too (for restore)."""
        buffer = self._buffer
        found = buffer.rows.get(chunk_id)
        if found is not None:
            return buffer.location(found)
        prefix, rest = SPLIT_ID.unpack(chunk_id)
        for runs in (self._fresh, self._committed):
            for run in runs:
                segment = run.segment_for(prefix)
                row = segment.find(prefix, rest)
                if row >= 0:
                    return segment.location(row)
        return None

    def lookup_each(self, ids: Sequence[bytes]) -> list[Location | None]:
        """As `lookup_any`, of many."""
        buffer = self._buffer
        rows = buffer.rows
        found: list[Location | None] = [None] * len(ids)
        if rows:
            for number, chunk_id in enumerate(ids):
                row = rows.get(chunk_id)
                found[number] = None if row is None else buffer.location(row)
        for run in (*self._fresh, *self._committed):
            run.fill_in(ids, found)
        return found

    def packs_of(self, content: bytes) -> set[bytes] | None:
        """The packs in which `lookup` finds these concatenated ids, or None where it does not find one of them."""
        packs: set[bytes] = set()
        if self._excluded:
            for chunk_id in ids_of(content):
                location = self.lookup(chunk_id)
                if location is None:
                    return None
                packs.add(location.pack_id)
            return packs
        buffer = self._buffer
        if buffer.rows:
            others: list[bytes] = []
            for chunk_id in ids_of(content):
                found = buffer.rows.get(chunk_id)
                if found is None:
                    others.append(chunk_id)
                else:
                    packs.add(buffer.location(found).pack_id)
            content = b"".join(others)
        for run in (*self._fresh, *self._committed):
            if not content:
                break
            content = run.packs_of(content, packs)
        return None if content else packs

    def lookup_all(self, chunk_id: bytes) -> list[Location]:
        """Every place that holds the chunk: two writers may have stored it in two packs."""
        return list(dict.fromkeys(self._places(chunk_id)))

    def contains(self, chunk_id: bytes) -> bool:
        """Whether `lookup` would find the chunk."""
        if self._excluded:
            return self.lookup(chunk_id) is not None
        if chunk_id in self._buffer.rows:
            return True
        prefix, rest = SPLIT_ID.unpack(chunk_id)
        for runs in (self._fresh, self._committed):
            for run in runs:
                if run.segment_for(prefix).find(prefix, rest) >= 0:
                    return True
        return False

    def __len__(self) -> int:
        """Rows; a chunk that lies in two packs counts twice."""
        return len(self._buffer) + sum(run.rows for run in (*self._fresh, *self._committed))

    def segments(self) -> list[Segment]:
        """The committed segments."""
        return list(self._segments)

    def pack_ids(self) -> set[bytes]:
        """The packs that rows point at, the session's included. The set is the caller's own."""
        with self._lock:
            return self._new_pack_ids.union(*(segment.packs for segment in self._segments))

    def lacks(self, pack_ids: Iterable[bytes]) -> set[bytes]:
        """Which of these packs no row points at. Costs what is asked for, not what there is."""
        with self._lock:
            missing = set(pack_ids) - self._new_pack_ids
            for segment in self._segments:
                missing = missing - segment.packs if missing else missing
            return missing

    def excluded_packs(self) -> frozenset[bytes]:
        """The packs that `exclude_packs` named."""
        return self._excluded

    # Changing

    def exclude_packs(self, pack_ids: Iterable[bytes]) -> None:
        """From now on, rows that point at exactly these packs do not count in `lookup` and `contains`."""
        self._excluded = frozenset(pack_ids)

    def add_pack(self, pack_id: bytes, frames: Sequence[FrameEntry]) -> None:
        """Make the chunks of a pack of this session known."""
        with self._lock:
            for frame in frames:
                self._buffer.add(pack_id, frame)
                if len(self._buffer) >= BUFFER_ROWS:
                    self._flush()
            self._new_pack_ids.add(pack_id)

    def set_segments(self, segments: Sequence[Segment]) -> None:
        """Let exactly these be the committed segments; the session's new rows stay."""
        with self._lock:
            self._segments = list(segments)
            self._committed = tuple(runs_of(self._segments))

    def take_new_segments(self) -> list[Segment]:
        """The session's rows since the last call, in segments of bounded size.

        They count as committed from now on: the caller stores them before the snapshot that needs them.
        """
        with self._lock:
            self._flush()
            fresh = [segment for run in self._fresh for segment in run.segments]
            if len(self._fresh) > 1:
                fresh = [Segment(self._placed(body)) for body in merged(fresh)]
            self._adopt(fresh)
            self._fresh = ()
            return fresh

    def has_many_new(self) -> bool:
        """Whether the session's rows are so many that numpy makes segments of them."""
        return len(self._buffer) > ROWS_FEW or bool(self._fresh)

    def new_pack_ids(self) -> set[bytes]:
        """The packs that `add_pack` has made known, The set is the caller's own."""
        with self._lock:
            return set(self._new_pack_ids)

    def new_segments_of(self, pack_ids: Collection[bytes]) -> list[Segment]:
        """The rows of these packs, of those that `add_pack` made known; they stay what they are here.

        Several may ask for the same rows, each for a snapshot of its own.
        """
        with self._lock:
            self._flush()
            fresh = [segment for run in self._fresh for segment in run.segments]
            chosen: list[Segment] = []
            for segment in fresh:
                others = [pack_id for pack_id in segment.pack_ids() if pack_id not in pack_ids]
                if len(others) < segment.pack_count:
                    chosen.append(Segment(self._placed(without_packs(segment, others))) if others else segment)
            if len(chosen) > 1:
                chosen = [Segment(self._placed(body)) for body in merged(chosen)]
            return chosen

    def _adopt(self, segments: Sequence[Segment]) -> None:
        self._segments.extend(segments)
        self._committed = tuple(runs_of(self._segments))

    def _flush(self) -> None:
        """Turn the buffer into a segment; merge while the last two runs are of a size."""
        if len(self._buffer):
            fresh = [*self._fresh, Run([Segment(self._placed(self._buffer.encode()))])]
            while len(fresh) > 1 and fresh[-2].rows < 2 * fresh[-1].rows:
                both = [*fresh.pop().segments, *fresh.pop().segments]
                fresh.append(Run([Segment(self._placed(body)) for body in merged(both)]))
            self._fresh = tuple(fresh)
            self._buffer = _Buffer()

    def _placed(self, body: bytes | bytearray) -> Stored:
        if self._resident_bytes + len(body) > self._resident_bytes_max:
            return in_mapped_file(body)
        self._resident_bytes += len(body)
        return body
