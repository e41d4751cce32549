"""Looking at a tree goes on where a page cannot be read."""

import pytest

from cli.snapshot_tree import ChangeKind, SnapshotTree, differences
from repository.errors import Damaged, RepositoryError
from repository.opened.pack_access import ChunkReader
from repository.stored.snapshot import Snapshot, SnapshotManifest
from repository.stored.tree import ROOT_NAME, Extra, Page, Row, columns_of, encode_page
from tests.support.repositories import START_NS

DIRECTORY, FILE = 0o040755, 0o100644


def row(mode: int, mtime_ns: int = START_NS) -> Row:
    """What the file system says of an entry of ten bytes."""
    return mode, 1000, 1000, 0 if mode == DIRECTORY else 10, mtime_ns, START_NS, 7, 1, 0


class Chunks:
    """Chunks by name, as `ChunkReader` gives them; what is not there is damaged."""

    def __init__(self) -> None:
        self.bodies: dict[bytes, bytes] = {}

    def chunk(self, chunk_id: bytes) -> bytes:
        """The chunk."""
        if chunk_id not in self.bodies:
            raise Damaged("no tier has the chunk whole")
        return self.bodies[chunk_id]

    def page(self, name: str, entries: dict[bytes, tuple[Row, bytes | None]], **extras: Extra) -> bytes:
        """Keep a page; returns its id."""
        names = sorted(entries)
        numbered = {names.index(each.encode()): extra for each, extra in extras.items()}
        page = Page(
            names, columns_of([entries[each][0] for each in names]), [entries[each][1] for each in names], numbered
        )
        chunk_id = name.encode().ljust(32, b".")
        self.bodies[chunk_id] = encode_page(page)
        return chunk_id

    def tree(self, directory: bytes, found: list[tuple[bytes, RepositoryError]] | None = None) -> SnapshotTree:
        """The tree whose root has these pages."""
        root = self.page(f"root {len(self.bodies)}", {ROOT_NAME: (row(DIRECTORY), directory)})
        manifest = SnapshotManifest(time_ns=0, run_token="t", label="l", root=(root.hex(),), domain="")
        damage = found if found is not None else []
        reader: ChunkReader = self  # type: ignore[assignment]
        return SnapshotTree(reader, Snapshot("00", b"", manifest), lambda path, error: damage.append((path, error)))


def content(letter: str) -> bytes:
    """The id of a chunk that is never read here."""
    return letter.encode() * 32


@pytest.fixture
def chunks() -> Chunks:
    """An empty store of chunks."""
    return Chunks()


def test_walk_goes_on_beside_a_page_that_cannot_be_read(chunks: Chunks) -> None:
    """One damaged page of a folder costs that page's entries, named with the folder, and nothing else."""
    below = chunks.page("below", {b"kept": (row(FILE), content("k"))})
    whole = chunks.page("whole", {b"a": (row(DIRECTORY), below), b"b": (row(DIRECTORY), content("g"))})
    found: list[tuple[bytes, RepositoryError]] = []
    tree = chunks.tree(whole + content("x"), found)
    assert [each.path for each in tree.walk(tree.root(), b"")] == [b"a", b"a/kept", b"b"]
    assert [(path, error.code) for path, error in found] == [(b"b", "damaged"), (b"", "damaged")]


def test_walk_names_the_folder_whose_list_of_pages_is_gone(chunks: Chunks) -> None:
    """Without the list nobody can tell what the folder held: it is reported once."""
    deep = chunks.page("deep", {b"d": (row(DIRECTORY), content("l"))}, d=Extra(depth=1))
    found: list[tuple[bytes, RepositoryError]] = []
    tree = chunks.tree(deep, found)
    assert [each.path for each in tree.walk(tree.root(), b"")] == [b"d"]
    assert [path for path, _ in found] == [b"d"]


def test_root_that_is_not_there_is_damage(chunks: Chunks) -> None:
    """A snapshot whose root page names no root is refused, not shown as empty."""
    tree = chunks.tree(b"")
    (root,) = tree._snapshot.manifest.root
    chunks.bodies[bytes.fromhex(root)] = encode_page(Page([b"other"], columns_of([row(FILE)]), [content("o")], {}))
    with pytest.raises(Damaged):
        tree.root()


def test_at_finds_what_is_there_and_nothing_else(chunks: Chunks) -> None:
    """Paths lead through folders only; slashes at the ends do not count."""
    inner = chunks.page("inner", {b"f": (row(FILE), content("f"))})
    tree = chunks.tree(chunks.page("outer", {b"d": (row(DIRECTORY), inner), b"e": (row(FILE), content("e"))}))
    assert tree.at(b"") == tree.root()
    found = tree.at(b"/d/f/")
    assert found is not None
    assert found.name == b"f"
    assert tree.at(b"d/g") is None
    assert tree.at(b"e/f") is None


def test_differences_do_not_read_what_both_have(chunks: Chunks) -> None:
    """A folder with the same pages on both sides is skipped, even one that could not be read at all."""
    page = {b"same": (row(DIRECTORY), content("s")), b"new": (row(FILE), content("1"))}
    before = chunks.tree(chunks.page("before", page))
    after = chunks.tree(chunks.page("after", {**page, b"new": (row(FILE), content("2"))}))
    assert [(each.kind, each.path) for each in differences(before, after)] == [(ChangeKind.CONTENT, b"new")]


def test_differences_tell_every_kind(chunks: Chunks) -> None:
    """Added with all below it, removed with all below it, a file that became a folder, and mere attributes."""
    sub = chunks.page("sub", {b"x": (row(FILE), content("x"))})
    before = chunks.tree(
        chunks.page(
            "old",
            {
                b"gone": (row(DIRECTORY), sub),
                b"kind": (row(FILE), content("k")),
                b"touched": (row(FILE), content("t")),
            },
        )
    )
    after = chunks.tree(
        chunks.page(
            "new",
            {
                b"came": (row(DIRECTORY), sub),
                b"kind": (row(DIRECTORY), sub),
                b"touched": (row(FILE, START_NS + 1), content("t")),
            },
        )
    )
    assert [(each.kind.value, each.path) for each in differences(before, after)] == [
        ("added", b"came"),
        ("added", b"came/x"),
        ("removed", b"gone"),
        ("removed", b"gone/x"),
        ("content", b"kind"),
        ("added", b"kind/x"),
        ("metadata", b"touched"),
    ]


def test_tree_deeper_than_the_interpreter_recurses_is_walked_and_compared(chunks: Chunks) -> None:
    """Two thousand folders in each other are no obstacle."""
    page = chunks.page("leaf", {b"leaf": (row(FILE), content("1"))})
    other = chunks.page("other leaf", {b"leaf": (row(FILE), content("2"))})
    for depth in range(2000):
        page = chunks.page(f"a{depth}", {b"d": (row(DIRECTORY), page)})
        other = chunks.page(f"b{depth}", {b"d": (row(DIRECTORY), other)})
    one, two = chunks.tree(page), chunks.tree(other)
    assert sum(1 for _ in one.walk(one.root(), b"")) == 2001
    (change,) = differences(one, two)
    assert change.path == b"d/" * 2000 + b"leaf"
