"""The index against a dictionary, at every way that rows can take."""

import hashlib
import itertools
import subprocess
import sys
import threading
from array import array
from collections.abc import Iterable
from pathlib import Path

import numpy  # noqa: F401  # where it is there it is used
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repository.errors import Damaged
from repository.format import TRAILER_LENGTH, Compression, ContentClass, FrameEntry, FrameHeader, chunks_digest
from repository.index import index as index_module
from repository.index.index import Index, Location
from repository.index.pack_sizes import least_sizes, raw_sizes
from repository.stored import index_segment
from repository.stored.few_rows import encode_few, pack_ends
from repository.stored.index_runs import Run, runs_of
from repository.stored.index_segment import Segment, columns_of, concatenated, encode_segment, merged, without_packs


def _id(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def _frames(numbers: Iterable[int], ids: Iterable[bytes] | None = None) -> list[FrameEntry]:
    """Frames of two chunks each, of lengths that tell them apart."""
    chosen = list(ids) if ids is not None else [_id(number) for number in numbers]
    frames = []
    offset = 96
    for start in range(0, len(chosen), 2):
        pair = chosen[start : start + 2]
        lengths = tuple(100 + start + place for place in range(len(pair)))
        joined = b"".join(pair)
        header = FrameHeader(
            sum(lengths), 300, len(pair), ContentClass.GENERIC, Compression.NONE, chunks_digest(joined)
        )
        frames.append(FrameEntry(offset, header, joined, lengths))
        offset += frames[-1].length
    return frames


def _expected(pack_id: bytes, frames: list[FrameEntry]) -> list[tuple[bytes, Location]]:
    rows = []
    for frame in frames:
        place = 0
        for chunk in frame.chunks():
            rows.append((chunk.id, Location(pack_id, frame.offset, 348, place, chunk.length)))
            place += chunk.length
    return rows


def _filled(numbers: Iterable[int], pack_id: bytes = b"P" * 32) -> tuple[Index, dict[bytes, Location]]:
    index = Index()
    frames = _frames(numbers)
    index.add_pack(pack_id, frames)
    return index, dict(_expected(pack_id, frames))


# Ids whose first bytes collide, so that a row is not found by its prefix alone.
ids = st.builds(lambda prefix, rest: bytes([prefix]) * 8 + bytes([rest]) * 24, st.integers(0, 3), st.integers(0, 6))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.lists(ids, min_size=1, max_size=6), st.booleans()), max_size=8),
    st.integers(1, 7),
)
def test_index_agrees_with_a_dictionary(packs: list[tuple[int, list[bytes], bool]], buffer_rows: int) -> None:
    """Whatever was added is found at one of its places and at no other, flushed, taken, merged or not."""
    before, index_module.BUFFER_ROWS = index_module.BUFFER_ROWS, buffer_rows  # type: ignore[misc]
    try:
        index = Index()
        model: dict[bytes, set[Location]] = {}
        for number, (pack, chunk_ids, is_taken) in enumerate(packs):
            pack_id = bytes([pack]) * 31 + bytes([number])
            frames = _frames((), chunk_ids)
            index.add_pack(pack_id, frames)
            for chunk_id, location in _expected(pack_id, frames):
                model.setdefault(chunk_id, set()).add(location)
            if is_taken:
                index.take_new_segments()
        for prefix in range(5):
            for rest in range(8):
                chunk_id = bytes([prefix]) * 8 + bytes([rest]) * 24
                places = model.get(chunk_id, set())
                assert index.lookup(chunk_id) in (places or {None})
                assert index.contains(chunk_id) == bool(places)
                assert set(index.lookup_all(chunk_id)) == places
                assert len(index.lookup_all(chunk_id)) == len(places)
                found = index.lookup(chunk_id)
                assert index.packs_of(chunk_id) == ({found.pack_id} if found is not None else None)
        known = list(model)
        together = index.packs_of(b"".join(known))
        assert together == set().union(*(index.packs_of(chunk_id) or set() for chunk_id in known))
        assert index.packs_of(b"".join([*known, b"?" * 32])) is None
        # A page of so many ids is looked up all at once.
        assert index.packs_of(b"".join(known * 64)) == together
        assert index.packs_of(b"".join([*known * 64, bytes(8) + b"?" * 24])) is None
        asked = [*known, b"?" * 32, *known[:1]]
        assert index.lookup_each(asked) == [index.lookup_any(chunk_id) for chunk_id in asked]
        assert index.pack_ids() == {location.pack_id for places in model.values() for location in places}
    finally:
        index_module.BUFFER_ROWS = before  # type: ignore[misc]


def test_taken_segments_make_an_equal_index() -> None:
    """What one index hands out is all that another needs."""
    index, rows = _filled(range(500))
    segments = index.take_new_segments()
    assert index.take_new_segments() == []
    assert sum(segment.rows for segment in segments) == 500
    other = Index([Segment(bytes(segment.body[:])) for segment in segments])
    assert {chunk_id: other.lookup(chunk_id) for chunk_id in rows} == rows
    assert other.lookup(_id(501)) is None
    assert len(other) == len(index) == 500
    assert other.pack_ids() == {b"P" * 32}
    assert [segment.rows for segment in other.segments()] == [500]


def test_rows_of_several_segments_count_once_and_none_are_no_fault() -> None:
    index, _ = _filled(range(10))
    (segment,) = index.take_new_segments()
    size = sum(100 + start + place for start in range(0, 10, 2) for place in range(2))
    assert raw_sizes([segment, segment]) == {b"P" * 32: size}
    assert raw_sizes([Segment(without_packs(segment, {b"P" * 32}))]) == {}
    assert raw_sizes([]) == {}


def test_many_flushes_stay_few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session's segments are merged, so that a lookup visits a logarithm of them."""
    monkeypatch.setattr(index_module, "BUFFER_ROWS", 16)
    index = Index()
    for pack in range(64):
        index.add_pack(bytes([pack]) * 32, _frames(range(pack * 16, pack * 16 + 16)))
    assert len(index._fresh) <= 7
    assert len(index) == 1024
    assert all(index.contains(_id(number)) for number in range(1024))


def test_a_chunk_in_two_packs_is_kept_twice_and_a_row_that_is_there_twice_once() -> None:
    """The second place may save the first; the same place again says nothing."""
    index = Index()
    index.add_pack(b"P" * 32, _frames(range(6)))
    index.add_pack(b"Q" * 32, _frames(range(6)))
    index.add_pack(b"P" * 32, _frames(range(6)))
    (segment,) = index.take_new_segments()
    assert segment.rows == 12
    assert {location.pack_id for location in index.lookup_all(_id(3))} == {b"P" * 32, b"Q" * 32}
    (again,) = merged([segment, segment])
    assert again == segment.body


def test_excluded_packs_do_not_count_for_deduplication() -> None:
    """A pack that is marked for deletion is not relied on, but still read."""
    index = Index()
    index.add_pack(b"P" * 32, _frames(range(4)))
    index.add_pack(b"Q" * 32, _frames(range(2)))
    for _ in range(2):  # in the buffer, then in a segment
        index.exclude_packs([b"P" * 32])
        assert index.lookup(_id(0)) is not None
        assert index.lookup(_id(0)).pack_id == b"Q" * 32  # type: ignore[union-attr]
        assert index.lookup(_id(3)) is None
        assert not index.contains(_id(3))
        assert index.contains(_id(0))
        assert index.packs_of(_id(0) + _id(1)) == {b"Q" * 32}
        assert index.packs_of(_id(0) + _id(3)) is None
        assert index.lookup_any(_id(3)) is not None
        assert index.excluded_packs() == {b"P" * 32}
        index.exclude_packs([])
        assert index.contains(_id(3))
        index.take_new_segments()


def test_segments_can_be_replaced() -> None:
    """After a compaction by another writer the same rows are found in other segments; new rows stay."""
    index, rows = _filled(range(20))
    (segment,) = index.take_new_segments()
    index.add_pack(b"N" * 32, _frames(range(30, 32)))
    index.set_segments([])
    assert not index.contains(_id(3))
    assert index.contains(_id(30))
    assert index.pack_ids() == {b"N" * 32, b"P" * 32}
    index.set_segments([segment])
    assert index.lookup(_id(3)) == rows[_id(3)]


def test_big_segments_lie_in_mapped_files() -> None:
    """Beyond the bound rows are not in the process's own memory, and are found all the same."""
    import mmap

    index = Index(resident_bytes_max=100)
    frames = _frames(range(50))
    index.add_pack(b"P" * 32, frames)
    (segment,) = index.take_new_segments()
    assert isinstance(segment.body, mmap.mmap)
    assert dict(_expected(b"P" * 32, frames)) == {_id(number): index.lookup(_id(number)) for number in range(50)}


def test_merging_cuts_into_disjoint_segments() -> None:
    """A large merge gives several segments that do not overlap, with all rows."""
    first, rows = _filled(range(0, 400, 2))
    second, more = _filled(range(1, 400, 2), b"Q" * 32)
    sources = [*first.take_new_segments(), *second.take_new_segments()]
    bodies = list(merged(sources, rows_max=90))
    segments = [Segment(body) for body in bodies]
    assert len(segments) == 5
    assert len(runs_of(segments)) == 1
    assert all(left.last < right.first for left, right in itertools.pairwise(segments))
    index = Index(segments)
    assert {chunk_id: index.lookup(chunk_id) for chunk_id in rows | more} == rows | more
    assert not any(index.contains(_id(number)) for number in range(400, 600))


def test_merging_takes_rows_wherever_they_crowd() -> None:
    """Ids that are not spread evenly end up in fewer, larger segments; none is lost."""
    crowded = [bytes(8) + _id(number)[:24] for number in range(50)]
    index = Index()
    index.add_pack(b"P" * 32, _frames((), crowded))
    other, rows = _filled(range(50), b"Q" * 32)
    bodies = list(merged([*index.take_new_segments(), *other.take_new_segments()], rows_max=20))
    together = Index([Segment(body) for body in bodies])
    assert len(together) == 100
    assert all(together.contains(chunk_id) for chunk_id in [*crowded, *rows])


def test_runs_hold_segments_that_do_not_overlap() -> None:
    """Overlapping segments go to different runs, empty ones to none."""
    index, _ = _filled(range(100))
    (segment,) = index.take_new_segments()
    empty = Segment(encode_segment(columns_of(segment, 0, 0)))
    assert (empty.rows, empty.first, empty.last) == (0, 0, -1)
    assert empty.find(5, b"x" * 24) == -1
    assert len(runs_of([segment, segment, empty])) == 2
    assert Run([segment]).segment_for(0) is segment


def test_an_index_without_rows_finds_nothing() -> None:
    """Empty is a state like any other."""
    index = Index()
    assert len(index) == 0
    assert index.lookup(_id(1)) is None
    assert index.lookup_all(_id(1)) == []
    assert index.take_new_segments() == []
    assert list(merged([])) == []
    index.add_pack(b"P" * 32, [])
    assert index.pack_ids() == {b"P" * 32}


def test_rows_of_chosen_packs_are_taken_by_everybody_who_needs_them() -> None:
    """Backups that lean on each other's packs each bring the rows to their own snapshot."""
    index = Index()
    rows = {}
    for number in range(6):
        pack_id = bytes([number]) * 32
        frames = _frames(range(100 * number, 100 * number + 10))
        index.add_pack(pack_id, frames)
        rows[pack_id] = dict(_expected(pack_id, frames))
        if number == 3:
            index.new_segments_of([])  # some rows are in a segment, some still in the buffer
    wanted = [bytes([number]) * 32 for number in (1, 4, 5)]
    for _ in range(2):
        taken = Index(index.new_segments_of([*wanted, b"another" * 4]))
        assert taken.pack_ids() == set(wanted)
        assert all(taken.lookup(chunk) == place for pack_id in wanted for chunk, place in rows[pack_id].items())
        assert len(taken) == sum(len(rows[pack_id]) for pack_id in wanted)
    assert all(index.lookup(chunk) == place for pack_id in rows for chunk, place in rows[pack_id].items())
    assert index.new_pack_ids() == set(rows)


def test_segment_takes_the_bytes_that_the_specification_says() -> None:
    """52 bytes a row, 32 a pack, and at most one byte a row for the buckets."""
    index, _ = _filled(range(10_000))
    (segment,) = index.take_new_segments()
    assert 10_000 * 52 + 16 + 32 < len(segment.body) < 10_000 * 53 + 200


def test_segment_layout_is_the_one_of_the_specification() -> None:
    """A segment written by hand from the specification's tables is read as what it says."""
    import struct

    chunk_id = bytes(range(32))
    body = struct.pack("<IIIB3s", 1, 1, 1, 0, b"")
    body += b"P" * 32 + struct.pack("<Q", int.from_bytes(chunk_id[:8], "big")) + chunk_id[8:]
    body += struct.pack("<2I", 0, 1) + struct.pack("<5I", 0, 96, 332, 7, 100)
    index = Index([Segment(body)])
    assert index.lookup(chunk_id) == Location(b"P" * 32, 96, 332, 7, 100)
    assert encode_segment(columns_of(Segment(body))) == body


@given(st.lists(st.tuples(st.sampled_from([b"P" * 32, b"Q" * 32, b"R" * 32]), st.lists(ids, max_size=9))))
def test_few_rows_become_the_bytes_that_many_would(packs: list[tuple[bytes, list[bytes]]]) -> None:
    """Without numpy the same segment is made, of rows that collide or come twice as well."""
    made = {pack_id: _frames((), chunk_ids) for pack_id, chunk_ids in packs if chunk_ids}
    rows = [row for pack_id, frames in made.items() for row in _expected(pack_id, frames)]
    few = encode_few([*rows, *rows])
    assert encode_segment(columns_of(Segment(few))) == few
    if rows:
        index = Index()
        for pack_id, frames in made.items():
            index.add_pack(pack_id, frames)
        assert "numpy" in sys.modules
        assert [segment.body for segment in index.take_new_segments()] == [few]
        ends = pack_ends(Segment(few))
        assert least_sizes([Segment(few)]) == {
            pack_id: end + TRAILER_LENGTH for pack_id, end in zip(Segment(few).pack_ids(), ends, strict=True)
        }


def test_few_rows_need_no_numpy() -> None:
    """A backup of little does not wait for an import that takes longer than it does."""
    program = (
        "import sys; from repository.index.index import Index; from repository.index.pack_sizes import least_sizes; "
        "from tests.unit.repository.test_index import _frames; sys.modules.pop('numpy', None); index = Index(); "
        "index.add_pack(bytes(32), _frames(range(400))); (segment,) = index.take_new_segments(); "
        "least_sizes([segment]); sys.exit(segment.rows != 400 or 'numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])


@pytest.mark.parametrize("place", [0, 4, 8, 12, 13])
def test_segment_is_damaged_when_counts_and_length_disagree(place: int) -> None:
    """No count is believed before the length has confirmed it."""
    index, _ = _filled(range(10))
    (segment,) = index.take_new_segments()
    changed = bytearray(segment.body)
    changed[place] += 100
    with pytest.raises(Damaged):
        Segment(changed)


def test_segment_is_damaged_when_short_or_pointing_nowhere() -> None:
    """A row of a pack that is not listed raises when it is read."""
    with pytest.raises(Damaged, match="shorter"):
        Segment(b"short")
    index, _ = _filled(range(1))
    (segment,) = index.take_new_segments()
    changed = bytearray(segment.body)
    changed[-20] = 9
    with pytest.raises(Damaged, match="does not list"):
        Index([Segment(changed)]).lookup(_id(0))
    with pytest.raises(Damaged, match="does not list"):
        Index([Segment(changed)]).packs_of(_id(0))


def test_columns_are_read_on_machines_of_the_other_byte_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layout is little endian wherever it is read."""
    monkeypatch.setattr(index_segment.sys, "byteorder", "big")
    column = index_segment._column(memoryview(b"\1\0\0\0\0\0\0\2"), "I")
    # As if this machine were the other one: the native reading of these bytes, swapped.
    native = array("I", b"\1\0\0\0\0\0\0\2")
    native.byteswap()
    assert list(column) == list(native)


def test_lookups_go_on_while_packs_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that was added is found from then on, also while the buffer turns into a segment."""
    monkeypatch.setattr(index_module, "BUFFER_ROWS", 8)
    index = Index()
    added: list[int] = []
    lost: list[int] = []
    finished = threading.Event()

    def look() -> None:
        while not finished.is_set():
            lost.extend(number for number in added[:] if not index.contains(_id(number)))

    watcher = threading.Thread(target=look)
    watcher.start()
    for pack in range(150):
        numbers = range(pack * 4, pack * 4 + 4)
        index.add_pack(pack.to_bytes(32, "big"), _frames(numbers))
        added.extend(numbers)
        if pack % 40 == 0:
            index.take_new_segments()
    finished.set()
    watcher.join()
    assert not lost
    assert len(index) == 600


def test_parts_are_put_under_one_table_of_packs() -> None:
    """Pack numbers are each segment's own and are renumbered when segments meet."""
    first, _ = _filled(range(4), b"A" * 32)
    second, _ = _filled(range(4, 8), b"B" * 32)
    parts = [columns_of(first.take_new_segments()[0]), columns_of(second.take_new_segments()[0])]
    both = concatenated(parts)
    assert both.pack_ids == [b"A" * 32, b"B" * 32]
    assert sorted(both.records[:, 0].tolist()) == [0] * 4 + [1] * 4


@pytest.mark.parametrize("rows", [2, 3, 7, 9])
def test_every_row_of_a_small_segment_is_found_when_the_ids_span_all_64_bits(rows: int) -> None:
    """A span of all bits of the prefix is cut into buckets by the same shift when writing and when looking up."""
    ids = [bytes([255 * number // (rows - 1)]) + bytes([number]) * 31 for number in range(rows)]
    index = Index()
    index.add_pack(b"p" * 32, _frames((), ids))
    segments = index.take_new_segments()
    found = Index(segments)
    assert [found.lookup_any(chunk_id) is not None for chunk_id in ids] == [True] * rows
