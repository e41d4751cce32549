"""A snapshot looked into: parts of a folder, entries by their paths, and what cannot be read."""

import hashlib
import stat

import pytest

from repository.errors import Damaged, NotInIndex
from repository.restore.looking import SnapshotLook
from repository.stored.snapshot import Snapshot, SnapshotManifest
from repository.stored.tree import ROOT_NAME, ContentList, Extra, Page, Row, columns_of, encode_page

FOLDER, FILE = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o644


class Tree:
    """Chunks by their ids, and how many were read."""

    def __init__(self) -> None:
        self.chunks: dict[bytes, bytes] = {}
        self.reads = 0

    def keep(self, body: bytes) -> bytes:
        chunk_id = hashlib.sha256(body).digest()
        self.chunks[chunk_id] = body
        return chunk_id

    def load(self, chunk_id: bytes) -> bytes:
        self.reads += 1
        if chunk_id not in self.chunks:
            raise NotInIndex("lost", chunk=chunk_id.hex())
        return self.chunks[chunk_id]

    def page(self, entries: dict[bytes, tuple[int, bytes | None, int]]) -> bytes:
        """A page of these entries, whatever order they are in: mode, content, depth."""
        rows: list[Row] = [(mode, 0, 0, 7, 10**18, 0, 0, 1, 0) for mode, _, _ in entries.values()]
        extras = {number: Extra(depth=depth) for number, (_, _, depth) in enumerate(entries.values()) if depth}
        contents = [content for _, content, _ in entries.values()]
        return self.keep(encode_page(Page(list(entries), columns_of(rows), contents, extras)))

    def folder(self, names: list[bytes], in_page: int) -> tuple[int, bytes, int]:
        """A folder of files, so many in each page."""
        listed = ContentList(self.keep)
        for start in range(0, len(names), in_page):
            listed.extend(self.page(dict.fromkeys(names[start : start + in_page], (FILE, None, 0))))
        content, depth = listed.finish()
        return FOLDER, content, depth

    def look(self, root: tuple[int, bytes, int]) -> SnapshotLook:
        manifest = SnapshotManifest(
            time_ns=1, run_token="t", label="l", root=(self.page({ROOT_NAME: root}).hex(),), domain="d"
        )
        return SnapshotLook(Snapshot("s", manifest.encode(), manifest), self.load)


def _names(count: int) -> list[bytes]:
    return [b"IMG_%05d" % number for number in range(count)]


@pytest.mark.parametrize(("count", "in_page"), [(10, 4), (500, 3), (4, 4), (1, 1), (0, 1)])
def test_parts_together_are_the_folder(count: int, in_page: int) -> None:
    """Nothing twice, nothing left out, wherever a part ends; also where the ids lie in lists."""
    tree = Tree()
    names = _names(count)
    look = tree.look(tree.folder(names, in_page))
    folder = look.at(b"")
    assert folder is not None
    for limit in (1, 3, 4, 7, count + 1):
        found: list[bytes] = []
        place: int | None = 0
        while place is not None:
            part = look.listed(folder, place, limit)
            assert len(part.entries) <= limit
            assert (part.unreadable_pages, part.hidden) == (0, 0)
            found += [each.name for each in part.entries]
            place = part.next_place
        assert found == names


def test_part_is_bounded_by_its_bytes_too() -> None:
    """Long names make a short part."""
    tree = Tree()
    look = tree.look(tree.folder([b"%03d" % number + b"x" * 200 for number in range(50)], 10))
    folder = look.at(b"")
    assert folder is not None
    assert len(look.listed(folder, 0, 50, bytes_max=1000).entries) == 5


def test_path_costs_few_pages_however_large_its_folders_are() -> None:
    """By halves: of five hundred pages nine or ten are read."""
    tree = Tree()
    names = _names(2000)
    inner = tree.folder(names, 4)
    look = tree.look((FOLDER, tree.page({b"2027": inner, b"contract.txt": (FILE, None, 0)}), 0))
    for name in (names[0], names[999], names[-1]):
        tree.reads = 0
        found = look.at(b"/2027/" + name + b"/")
        assert found is not None
        assert found.name == name
        assert tree.reads < 25
    for path in (b"2027/IMG_1", b"2027/zzz", b"2027/A", b"contract.txt/x", b"..", b"2027/../contract.txt", b"\x00"):
        assert look.at(path) is None


def test_page_that_is_lost_is_counted_and_hides_nothing_beside_it() -> None:
    """What lies on it is not called absent; what is beside it is shown."""
    tree = Tree()
    names = _names(12)
    root = tree.folder(names, 4)
    look = tree.look(root)
    middle = root[1][32:64]
    del tree.chunks[middle]
    folder = look.at(b"")
    assert folder is not None
    part = look.listed(folder, 0, 100)
    assert [each.name for each in part.entries] == names[:4] + names[8:]
    assert (part.unreadable_pages, part.next_place) == (1, None)
    with pytest.raises(NotInIndex):
        look.at(names[5])


def test_name_that_leads_out_is_not_shown_and_is_counted() -> None:
    """Whoever holds the keys may have written it."""
    tree = Tree()
    look = tree.look(
        (FOLDER, tree.page({b"..": (FOLDER, b"", 0), b"a/b": (FILE, None, 0), b"good": (FILE, None, 0)}), 0)
    )
    folder = look.at(b"")
    assert folder is not None
    part = look.listed(folder)
    assert ([each.name for each in part.entries], part.hidden) == ([b"good"], 2)
    assert look.at(b"..") is None


def test_snapshot_without_a_root_is_damaged() -> None:
    """Not an empty one."""
    tree = Tree()
    manifest = SnapshotManifest(time_ns=1, run_token="t", label="l", root=(), domain="d")
    with pytest.raises(Damaged):
        SnapshotLook(Snapshot("s", manifest.encode(), manifest), tree.load).at(b"")
