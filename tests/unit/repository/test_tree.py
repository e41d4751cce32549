"""Pages of the tree: what is written is read back, and nothing malformed is believed."""

import stat

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repository.errors import Damaged, LimitExceeded
from repository.stored.tree import (
    EXTENTS_MAX,
    INLINE_IDS_MAX,
    LIST_IDS_MAX,
    NO_EXTRA,
    PAGE_ENTRIES_MAX,
    ContentList,
    Entry,
    Extra,
    Page,
    Row,
    Stat,
    columns_of,
    content_ids,
    decode_extents,
    decode_page,
    decode_xattrs,
    encode_extents,
    encode_page,
    encode_xattrs,
    ids_of,
    page_boundaries,
    rows_of,
)

numbers = st.integers(-(1 << 63) + 1, (1 << 63) - 1)
rows = st.tuples(*[numbers] * 9)
extras = st.builds(
    Extra,
    depth=st.integers(0, 3),
    target=st.binary(max_size=20),
    xattrs=st.lists(st.tuples(st.binary(max_size=5), st.binary(max_size=20)), max_size=3).map(tuple),
    attributes=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    flags=st.integers(0, 15),
    device=st.tuples(st.integers(0, 255), st.integers(0, 1 << 20)),
)


@st.composite
def pages(draw: st.DrawFn) -> Page:
    """Any page with names in order."""
    names = sorted(draw(st.sets(st.binary(max_size=10), max_size=12)))
    count = len(names)
    row_list = draw(st.lists(rows, min_size=count, max_size=count))
    contents = draw(
        st.lists(
            st.one_of(st.none(), st.integers(0, 3).map(lambda ids: b"i" * 32 * ids)), min_size=count, max_size=count
        )
    )
    found = draw(st.dictionaries(st.integers(0, count - 1), extras, max_size=3)) if count else {}
    return Page(names, columns_of(row_list), contents, found)


@given(pages())
def test_page_is_read_back_equal(page: Page) -> None:
    """Any page survives encoding, entry by entry."""
    read = decode_page(encode_page(page))
    assert read == page
    assert [entry.name for entry in read.entries()] == page.names
    assert [tuple(entry.stat) for entry in read.entries()] == page.rows()


@given(st.lists(rows, max_size=20))
def test_columns_give_back_their_rows(row_list: list[Row]) -> None:
    """Rows turned into columns and back are the same."""
    assert rows_of(columns_of(list(row_list))) == row_list


def test_numbers_beyond_63_bits_are_folded_alike_everywhere() -> None:
    """An inode of 64 bits, or a time after 2262, is kept as near as it fits, in the caller's rows as well."""
    wild: list[Row] = [(1, 2, 3, 4, 1 << 70, -(1 << 70), (1 << 64) - 1, 1, 0)]
    columns = columns_of(wild)
    assert rows_of(columns) == wild == [(1, 2, 3, 4, (1 << 63) - 1, -(1 << 63) + 1, (1 << 63) - 1, 1, 0)]


def _page(**changes: object) -> bytes:
    fields = {
        "version": 1,
        "names": [b"a", b"b"],
        "columns": columns_of([(1,) * 9, (2,) * 9]),
        "contents": [b"i" * 32, None],
        "extras": {},
    } | changes
    return msgspec.msgpack.encode(list(fields.values()))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode([1, [], []]),
        _page(version=2),
        _page(names=[b"b", b"a"]),
        _page(names=[b"a", b"a"]),
        _page(names=[b"a"]),
        _page(columns=columns_of([(1,) * 9])),
        _page(columns=columns_of([(1,) * 9, (2,) * 9])[:8]),
        _page(contents=[b"i" * 31, None]),
        _page(contents=[None]),
        _page(extras={2: Extra(flags=1)}),
        _page(extras={-1: Extra(flags=1)}),
        _page(extras={0: {"xattrs": 5, "x": 5}}),
        _page() + b"\x00",
    ],
)
def test_malformed_page_is_damaged(body: bytes) -> None:
    """A page that is not exactly of its form raises, and nothing else."""
    with pytest.raises(Damaged):
        decode_page(body)


def test_page_longer_than_a_chunk_is_refused() -> None:
    """A page that could not be stored is refused when it is made."""
    names = [b"%04d" % number for number in range(PAGE_ENTRIES_MAX)]
    page = Page(
        names,
        columns_of([(1,) * 9] * len(names)),
        [None] * len(names),
        {number: Extra(target=bytes(20_000)) for number in range(len(names))},
    )
    with pytest.raises(LimitExceeded):
        encode_page(page)


def test_largest_entries_fill_a_page_without_breaking_it() -> None:
    """A full page of entries that are each as large as they may be still is a chunk."""
    names = [b"%04d" % number + b"n" * 251 for number in range(PAGE_ENTRIES_MAX)]
    extra = Extra(
        depth=3,
        extents=bytes(16 * EXTENTS_MAX),
        xattrs=((b"user.a", bytes(4090)),),
        target=bytes(4095),
    )
    page = Page(
        names,
        columns_of([((1 << 63) - 1,) * 9] * len(names)),
        [b"i" * 32 * INLINE_IDS_MAX] * len(names),
        dict.fromkeys(range(len(names)), extra),
    )
    assert decode_page(encode_page(page)) == page


def test_entry_knows_its_kind() -> None:
    """Kinds are read from the mode."""
    kinds = []
    for mode in (stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK):
        entry = Entry(b"n", Stat(mode | 0o644, 0, 0, 0, 0, 0, 0, 1, 0), None, NO_EXTRA)
        kinds.append((entry.is_directory, entry.is_file, entry.is_symlink))
    assert kinds == [(True, False, False), (False, True, False), (False, False, True)]


@given(st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=50)), max_size=5))
def test_xattrs_are_read_back_equal(pairs: list[tuple[bytes, bytes]]) -> None:
    """Extended attributes that became a chunk come back."""
    assert decode_xattrs(encode_xattrs(tuple(pairs))) == tuple(pairs)


def test_malformed_xattrs_are_damaged() -> None:
    """A chunk that holds no attributes is not believed."""
    with pytest.raises(Damaged):
        decode_xattrs(b"\x01")


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 1000)), max_size=20))
def test_extents_are_read_back_equal(gaps: list[tuple[int, int]]) -> None:
    """Any extents that ascend come back."""
    extents = []
    end = 0
    for gap, length in gaps:
        extents.append((end + gap, length))
        end += gap + length
    assert decode_extents(encode_extents(extents), end) == extents


@pytest.mark.parametrize(
    ("extents", "size"),
    [([(0, 5), (4, 5)], 100), ([(0, 0)], 100), ([(0, -1)], 100), ([(-5, 2)], 100), ([(90, 20)], 100)],
)
def test_impossible_extents_are_damaged(extents: list[tuple[int, int]], size: int) -> None:
    """Extents that overlap, are empty, or reach beyond the file would write where nothing belongs."""
    with pytest.raises(Damaged):
        decode_extents(encode_extents(extents), size)


def test_extents_that_are_cut_off_are_damaged() -> None:
    """Half a pair of numbers is no extent."""
    with pytest.raises(Damaged):
        decode_extents(bytes(8), 100)


class _Lists:
    """Keeps lists in memory and counts them."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}

    def store(self, body: bytes) -> bytes:
        list_id = (b"L%031d" % len(self.kept))[:32]
        self.kept[list_id] = body
        return list_id


@pytest.mark.parametrize(
    ("count", "depth"),
    [
        (0, 0),
        (1, 0),
        (INLINE_IDS_MAX, 0),
        (INLINE_IDS_MAX + 1, 1),
        (LIST_IDS_MAX, 1),
        (LIST_IDS_MAX + 1, 1),
        (LIST_IDS_MAX * INLINE_IDS_MAX, 1),
        (LIST_IDS_MAX * INLINE_IDS_MAX + 1, 2),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_content_of_any_length_is_found_again(count: int, depth: int, at_once: bool) -> None:
    """However many ids a content has, an entry holds few, lists stay short, and all come back in order."""
    lists = _Lists()
    content = ContentList(lists.store)
    ids = [b"%032d" % number for number in range(count)]
    step = max(1, count if at_once else 1000)
    for start in range(0, count, step):
        content.extend(b"".join(ids[start : start + step]))
    inline, found_depth = content.finish()
    assert found_depth == depth
    assert len(inline) <= INLINE_IDS_MAX * 32
    assert all(len(body) <= LIST_IDS_MAX * 32 for body in lists.kept.values())
    assert list(content_ids(inline, found_depth, lists.kept.__getitem__)) == ids


def test_content_does_not_depend_on_how_the_ids_came() -> None:
    """The same ids give the same lists, whether they come one by one or all together."""
    ids = b"".join(b"%032d" % number for number in range(3 * LIST_IDS_MAX + 5))
    one, other = _Lists(), _Lists()
    together, apart = ContentList(one.store), ContentList(other.store)
    together.extend(ids)
    for start in range(0, len(ids), 320):
        apart.extend(ids[start : start + 320])
    assert together.finish() == apart.finish()
    assert one.kept == other.kept


@pytest.mark.parametrize("body", [b"", b"x" * 33])
def test_list_that_is_no_list_is_damaged(body: bytes) -> None:
    """A list that is empty or not made of ids is not believed."""
    with pytest.raises(Damaged):
        list(content_ids(b"L" * 32, 1, lambda _id: body))


def test_lists_nested_beyond_reason_are_damaged() -> None:
    """A forged depth does not send the reader down for ever."""
    with pytest.raises(Damaged):
        list(content_ids(b"L" * 32, 5, lambda _id: b"L" * 32))


def test_ids_of_splits() -> None:
    """Concatenated ids come apart."""
    assert ids_of(b"a" * 32 + b"b" * 32) == [b"a" * 32, b"b" * 32]


@given(st.integers(0, 5000))
def test_page_boundaries_cover_all_names_in_bounds(count: int) -> None:
    """Pages are cut in order, none empty, none longer than allowed."""
    names = [b"%08d" % number for number in range(count)]
    ends = page_boundaries(names)
    assert ends == sorted(set(ends))
    assert (ends[-1] if ends else 0) == count
    assert all(end - start <= PAGE_ENTRIES_MAX for start, end in zip([0, *ends], ends, strict=False))


def test_new_name_changes_one_page() -> None:
    """A file more in a large directory leaves all pages but its own as they were."""
    names = [b"IMG_%06d.JPG" % number for number in range(0, 40_000, 2)]

    def pages_of(all_names: list[bytes]) -> set[tuple[bytes, ...]]:
        ends = page_boundaries(all_names)
        return {tuple(all_names[start:end]) for start, end in zip([0, *ends], ends, strict=False)}

    before, after = pages_of(names), pages_of(sorted([*names, b"IMG_020001.JPG"]))
    assert len(before) > 20
    assert len(before - after) <= 2
