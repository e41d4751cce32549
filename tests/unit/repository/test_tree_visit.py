"""Visiting trees: every chunk that a snapshot references, and what cannot be read by its name."""

import hashlib
import stat

from repository.errors import Damaged, NotInIndex
from repository.stored.tree import Extra, Page, columns_of, encode_page
from repository.stored.tree_visit import TreeVisitor

FOLDER = (stat.S_IFDIR | 0o755, 0, 0, 0, 0, 0, 1, 1, 0)
FILE = (stat.S_IFREG | 0o644, 0, 0, 5, 0, 0, 2, 1, 0)


class Chunks:
    """Chunks by their ids; counts what is loaded."""

    def __init__(self) -> None:
        self.bodies: dict[bytes, bytes] = {}
        self.loaded: list[bytes] = []

    def keep(self, body: bytes) -> bytes:
        """Keep a body and return its id."""
        chunk_id = hashlib.sha256(body).digest()
        self.bodies[chunk_id] = body
        return chunk_id

    def load(self, chunk_id: bytes) -> bytes:
        """Raises `NotInIndex`."""
        self.loaded.append(chunk_id)
        if chunk_id not in self.bodies:
            raise NotInIndex("no such chunk")
        return self.bodies[chunk_id]

    def page(self, *entries: tuple[bytes, tuple[int, ...], bytes | None, Extra | None]) -> bytes:
        """Keep a page of (name, row, content, extra)."""
        extras = {number: extra for number, (_, _, _, extra) in enumerate(entries) if extra is not None}
        names = [name for name, _, _, _ in entries]
        rows = columns_of([row for _, row, _, _ in entries])  # type: ignore[misc]
        return self.keep(encode_page(Page(names, rows, [content for _, _, content, _ in entries], extras)))


def _id(number: int) -> bytes:
    return bytes([number]) * 32


def test_every_chunk_of_a_tree_is_visited() -> None:
    """Pages, lists, contents, extended attributes, in files and folders, at every level of lists."""
    chunks = Chunks()
    inner_list = chunks.keep(_id(1) + _id(2))
    outer_list = chunks.keep(inner_list)
    below = chunks.page(
        (b"long", FILE, outer_list, Extra(depth=2)),
        (b"plain", FILE, _id(3) + _id(4), None),
        (b"symlink", (stat.S_IFLNK | 0o777, 0, 0, 0, 0, 0, 3, 1, 0), None, Extra(target=b"x")),
        (b"with xattrs", FILE, _id(5), Extra(xattrs_chunk=_id(6))),
    )
    folder_list = chunks.keep(below)
    root = chunks.page((b"", FOLDER, folder_list, Extra(depth=1)))
    visitor = TreeVisitor(chunks.load)
    found = list(visitor.chunks([root.hex()]))
    expected = [root, folder_list, below, outer_list, inner_list, *(_id(number) for number in range(1, 7))]
    assert sorted(found) == sorted(expected)
    assert not visitor.faults
    # The contents of files are named and not loaded.
    assert _id(3) not in chunks.loaded


def test_pages_that_were_seen_are_not_entered_again() -> None:
    """Of a second snapshot only what differs is visited."""
    chunks = Chunks()
    shared = chunks.page((b"file", FILE, _id(1), None))
    first = chunks.page((b"", FOLDER, shared, None))
    second = chunks.page((b"", FOLDER, shared + chunks.page((b"new", FILE, _id(2), None)), None))
    visitor = TreeVisitor(chunks.load)
    assert len(list(visitor.chunks([first.hex()]))) == 3
    again = list(visitor.chunks([second.hex()]))
    assert again[0] == second
    assert _id(2) in again
    assert _id(1) not in again
    assert chunks.loaded.count(shared) == 1


def test_what_cannot_be_read_is_named_and_the_rest_visited() -> None:
    """A missing list, a missing page and one that is no page cost themselves alone."""
    chunks = Chunks()
    garbage = chunks.keep(b"no page")
    page = chunks.page((b"lost list", FILE, _id(9), Extra(depth=1)), (b"plain", FILE, _id(3), None))
    root = chunks.page((b"", FOLDER, _id(8) + garbage + page, None))
    visitor = TreeVisitor(chunks.load)
    found = list(visitor.chunks([root.hex()]))
    assert {root, _id(8), garbage, page, _id(9), _id(3)} == set(found)
    assert {(fault.chunk_id, type(fault.error)) for fault in visitor.faults} == {
        (_id(8), NotInIndex),
        (_id(9), NotInIndex),
        (garbage, Damaged),
    }


def test_lists_that_are_nested_without_end_are_refused() -> None:
    """A depth that no writer makes does not make the visit endless."""
    chunks = Chunks()
    root = chunks.page((b"", FOLDER, None, None), (b"deep", FILE, _id(1), Extra(depth=200)))
    visitor = TreeVisitor(chunks.load)
    assert set(visitor.chunks([root.hex()])) == {root, _id(1)}
    assert [fault.chunk_id for fault in visitor.faults] == [_id(1)]
