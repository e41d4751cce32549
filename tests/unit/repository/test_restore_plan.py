"""The order of reading: every part once, neighbours together."""

from hypothesis import given
from hypothesis import strategies as st

from repository.restore.bytes import places_of
from repository.restore.files import TargetFile
from repository.restore.plan import GAP_MAX, SPAN_OF_FILE, Part, spans_of

FILES: list[TargetFile] = [object() for _ in range(60)]  # type: ignore[misc]


def _part(number: int, pack: int, frame: int, length: int = 1000, chunk: int = 0, file: int = 0) -> Part:
    return Part(pack, frame, chunk, number, b"%032d" % pack, length, [b"c"], [100], FILES[file], 0, False)


places = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(0, 3)), max_size=60)


@given(places, st.integers(1, 3_000_000))
def test_spans_hold_every_part_once_and_cover_its_frame(found: list[tuple[int, int, int]], length: int) -> None:
    """Whatever is wanted, in whatever order: each part is in one span, and its frame's bytes are in the span's."""
    parts = [
        _part(number, pack, frame * 100_000, chunk=chunk, file=number)
        for number, (pack, frame, chunk) in enumerate(found)
    ]
    spans = spans_of(list(parts), length)
    assert sorted(part.number for span in spans for part in span.parts) == list(range(len(parts)))
    for span in spans:
        for part in span.parts:
            assert part.pack_id == span.pack_id
            assert span.offset <= part.frame_offset
            assert part.frame_offset + part.frame_length <= span.offset + span.length
        assert span.length <= max(length, 1000)
        assert [tuple(part[:3]) for part in span.parts] == sorted(tuple(part[:3]) for part in span.parts)


def test_neighbours_are_read_together_and_far_ones_apart() -> None:
    """A small gap is read over, a large one is not, and a pack never reaches into another."""
    parts = [_part(0, 0, 0), _part(1, 0, 1000), _part(2, 0, 2000 + GAP_MAX), _part(3, 0, 3001 + 2 * GAP_MAX)]
    parts.append(_part(4, 1, 0))
    assert [len(span.parts) for span in spans_of(parts, 8 << 20)] == [3, 1, 1]


def test_span_goes_on_to_the_end_of_a_file() -> None:
    """As far as memory allows: else two threads write to one file, and one of them waits."""
    frame = SPAN_OF_FILE // 8
    parts = [_part(number, 0, number * frame, length=frame, file=number // 6) for number in range(12)]
    parts += [_part(12 + number, 1, number * frame, length=frame, file=50) for number in range(20)]
    assert [len(span.parts) for span in spans_of(parts, 4 * frame)] == [6, 6, 8, 8, 4]
    assert [len(span.parts) for span in spans_of(parts, 16 * frame)] == [12, 16, 4]


def test_chunks_of_one_frame_share_its_span() -> None:
    """Many chunks of one frame need it read once."""
    parts = [_part(number, 0, 0, length=500_000, chunk=number) for number in range(50)]
    (span,) = spans_of(parts, 1000)
    assert (span.offset, span.length, len(span.parts)) == (0, 500_000, 50)


def test_nothing_wanted_needs_no_span() -> None:
    """An empty window reads nothing."""
    assert spans_of([], 1000) == []


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), max_size=8),
    st.integers(0, 400),
    st.integers(0, 400),
)
def test_places_follow_the_extents(gaps: list[tuple[int, int]], position: int, length: int) -> None:
    """A chunk of a sparse file's content goes exactly to the bytes that are no holes, in order."""
    extents = []
    end = 0
    for gap, size in gaps:
        extents.append((end + gap, size))
        end += gap + size
    content = [offset + step for offset, size in extents for step in range(size)]
    wanted = content[position : position + length]
    found = [offset + step for offset, count in places_of(position, length, extents) for step in range(count)]
    assert found == wanted


def test_places_of_a_dense_file_are_one() -> None:
    """Without holes a chunk lies in one piece at its position."""
    assert places_of(7, 100, None) == [(7, 100)]
