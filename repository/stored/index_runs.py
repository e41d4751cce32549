"""Index segments that are searched together."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from repository.format import ID_LENGTH
from repository.stored.index_segment import SPLIT_ID, Location, Segment


class Run:
    """Segments that do not overlap, searched as one."""

    __slots__ = ("_firsts", "rows", "segments")

    rows: int

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = sorted(segments, key=lambda segment: segment.first)
        self._firsts = [segment.first for segment in self.segments]
        self.rows = sum(segment.rows for segment in segments)

    def segment_for(self, prefix: int) -> Segment:
        """The only segment in which this prefix may be."""
        if len(self.segments) == 1:
            return self.segments[0]
        return self.segments[max(0, bisect_right(self._firsts, prefix) - 1)]

    def fill_in(self, ids: Sequence[bytes], found: list[Location | None]) -> None:
        """As `Segment.fill_in`."""
        if len(self.segments) == 1:
            self.segments[0].fill_in(ids, found)
            return
        numbers: dict[Segment, list[int]] = {}
        for number, chunk_id in enumerate(ids):
            if found[number] is None:
                numbers.setdefault(self.segment_for(SPLIT_ID.unpack(chunk_id)[0]), []).append(number)
        for segment, those in numbers.items():
            part: list[Location | None] = [None] * len(those)
            segment.fill_in([ids[number] for number in those], part)
            for number, location in zip(those, part, strict=True):
                found[number] = location

    def packs_of(self, ids: bytes, packs: set[bytes]) -> bytes:
        """As `Segment.packs_of`."""
        if len(self.segments) == 1:
            return self.segments[0].packs_of(ids, packs)
        by_segment: dict[Segment, list[bytes]] = {}
        for start in range(0, len(ids), ID_LENGTH):
            chunk_id = ids[start : start + ID_LENGTH]
            by_segment.setdefault(self.segment_for(SPLIT_ID.unpack(chunk_id)[0]), []).append(chunk_id)
        return b"".join(segment.packs_of(b"".join(part), packs) for segment, part in by_segment.items())


def runs_of(segments: Sequence[Segment]) -> list[Run]:
    """The fewest runs that hold all `segments`, the longest first: a lookup visits them one by one until it finds."""
    groups: list[list[Segment]] = []
    for segment in sorted(segments, key=lambda segment: (segment.first, segment.last)):
        if not segment.rows:
            continue
        for group in groups:
            if group[-1].last < segment.first:
                group.append(segment)
                break
        else:
            groups.append([segment])
    return sorted(map(Run, groups), key=lambda run: run.rows, reverse=True)
