"""Sources that change between the listing and the reading: replaced names, files that grow, reused inodes."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from repository.backup.backup import BackupOptions, BackupResult, backup
from repository.backup.source import Overwritten, Reason, SourceUnreachable
from repository.opened.repository import Repository
from repository.stored.chunker import SMALL_FILE_MAX
from repository.stored.tree import Row
from sources.directory import Directory, DirectorySource
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.repositories import Scene
from tests.support.snapshots import kept


def run(repository: Repository, source: MemorySource | DirectorySource, token: str = "1") -> BackupResult:
    """Back up on one worker, so that names are read in their order."""
    return backup(repository, source, options=BackupOptions(run_token=token, label="photos", workers=1))


def bodies(repository: Repository, result: BackupResult) -> dict[bytes, bytes | None]:
    """The files of a snapshot."""
    return {path: each.body for path, each in kept(repository, result.snapshot).items() if each.entry.is_file}


@pytest.mark.parametrize("links", [1, 2])
@pytest.mark.parametrize("length", [40, SMALL_FILE_MAX + 1])
def test_hard_link_that_is_replaced_before_it_is_read_leaves_the_other_names_their_file(
    links: int, length: int
) -> None:
    """What is read under the first name is another file by then: the other names are read for themselves."""
    scene = Scene()
    old, new = b"o" * length, b"new" * length
    replaced = MemoryFile(old, inode=5, links=3)

    def swap() -> None:
        replaced.body, replaced.inode, replaced.links = new, 6, links

    replaced.on_read = swap
    others = [MemoryFile(old, inode=5, links=3) for _ in "bc"]
    tree = MemoryFolder({b"a": replaced, b"b": others[0], b"c": others[1]})
    result = run(scene.repository, MemorySource(tree))
    assert bodies(scene.repository, result) == {b"a": new, b"b": old, b"c": old}
    assert [file.reads for file in others] == [1, 0]


def test_hard_link_replaced_on_a_disk_does_not_end_the_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editor that saves by renaming breaks a link while the backup is at it: both files are kept."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "a").write_bytes(b"vows")
    os.link(folder / "a", folder / "b")
    before = Directory.read_small

    def read_small(self: Directory, name: bytes, row: Row) -> object:
        if name == b"a":
            (folder / "new").write_bytes(b"vows, revised")
            os.replace(folder / "new", folder / "a")
        return before(self, name, row)

    monkeypatch.setattr(Directory, "read_small", read_small)
    scene = Scene()
    result = run(scene.repository, DirectorySource(str(folder)))
    assert bodies(scene.repository, result) == {b"a": b"vows, revised", b"b": b"vows"}


@pytest.mark.parametrize("length", [SMALL_FILE_MAX + 1, 20 << 20])
def test_small_file_that_has_grown_large_before_it_is_read_is_kept_as_a_large_one(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download that goes on, a log that is replaced: however large it is by then, it is cut into chunks."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "download").write_bytes(b"begun")
    (folder / "beside").write_bytes(b"beside")
    body = os.urandom(length)
    before = Directory.read_small

    def read_small(self: Directory, name: bytes, row: Row) -> object:
        if name == b"download":
            (folder / "download").write_bytes(body)
        return before(self, name, row)

    monkeypatch.setattr(Directory, "read_small", read_small)
    scene = Scene()
    result = run(scene.repository, DirectorySource(str(folder)))
    assert bodies(scene.repository, result) == {b"download": body, b"beside": b"beside"}
    found = kept(scene.repository, result.snapshot)[b"download"].entry
    assert found.stat.size == length
    assert length == SMALL_FILE_MAX + 1 or len(found.content or b"") >= 5 * 32
    assert not result.file_errors


@pytest.mark.parametrize("length", [40, SMALL_FILE_MAX + 1])
def test_hard_link_whose_other_name_is_removed_before_it_is_read_does_not_end_the_backup(length: int) -> None:
    """The file has one name less than was listed; what was listed is kept."""
    scene = Scene()
    body = b"x" * length
    first = MemoryFile(body, inode=5, links=2)

    def remove_the_other() -> None:
        first.links = 1

    first.on_read = remove_the_other
    tree = MemoryFolder({b"a": first, b"b": MemoryFile(body, inode=5, links=2)})
    assert bodies(scene.repository, run(scene.repository, MemorySource(tree))) == {b"a": body, b"b": body}


def test_inode_that_was_given_to_another_file_meanwhile_is_not_taken_for_a_link() -> None:
    """File systems use numbers again: a later file of the same number has its own content and its own times."""
    scene = Scene()
    tree = MemoryFolder(
        {
            b"a": MemoryFile(b"gone by now", inode=5, links=2),
            b"z": MemoryFolder(
                {b"%d" % number: MemoryFile(b"another", inode=5, links=2, mtime_ns=2_000) for number in range(2)}
            ),
        }
    )
    result = run(scene.repository, MemorySource(tree))
    assert bodies(scene.repository, result) == {b"a": b"gone by now", b"z/0": b"another", b"z/1": b"another"}
    assert kept(scene.repository, result.snapshot)[b"z/0"].entry.stat.mtime_ns == 2_000


def test_files_that_vanish_are_not_counted_as_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted is what a restore gives back; what was lost is counted apart."""
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(8):
        (folder / f"photo {number}").write_bytes(b"%d" % number)
    _when_read(monkeypatch, b"photo 3", lambda: [(folder / f"photo {number}").unlink() for number in range(4, 8)])
    scene = Scene()
    result = run(scene.repository, DirectorySource(str(folder)))
    assert sorted(bodies(scene.repository, result)) == [b"photo %d" % number for number in range(4)]
    assert (result.totals.files, result.totals.failed, result.totals.source_bytes) == (4, 4, 4)


def test_root_that_vanishes_while_it_is_read_ends_the_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of a folder that is being removed, or of a disk that is pulled, is no snapshot of it."""
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(8):
        (folder / f"photo {number}").write_bytes(b"%d" % number)
    _when_read(monkeypatch, b"photo 3", lambda: shutil.rmtree(folder))
    scene = Scene()
    with pytest.raises(SourceUnreachable):
        run(scene.repository, DirectorySource(str(folder)))
    assert scene.repository.snapshots() == []


def _when_read(monkeypatch: pytest.MonkeyPatch, wanted: bytes, happens: Callable[[], object]) -> None:
    """Let something happen to the disk right before a small file is read."""
    before = Directory.read_small

    def read_small(self: Directory, name: bytes, row: Row) -> object:
        if name == wanted:
            happens()
        return before(self, name, row)

    monkeypatch.setattr(Directory, "read_small", read_small)


@pytest.mark.parametrize("readings", [2, 9])
def test_file_that_is_overwritten_while_it_is_read_is_read_anew(readings: int) -> None:
    """Nothing of what was begun is kept; one that is overwritten again and again is told as lost."""
    scene = Scene()
    file = MemoryFile(b"old" * SMALL_FILE_MAX, cut_after=SMALL_FILE_MAX, cut_problem=Overwritten())

    def overwrite() -> None:
        file.body = b"%d" % file.reads + b"new" * SMALL_FILE_MAX
        if file.reads == readings:
            file.cut_after = None

    file.on_read = overwrite
    result = run(scene.repository, MemorySource(MemoryFolder({b"a": file, b"b": MemoryFile(b"other")})))
    if readings == 2:
        assert not result.file_errors
        assert bodies(scene.repository, result) == {b"a": b"2" + b"new" * SMALL_FILE_MAX, b"b": b"other"}
    else:
        assert [(each.path, each.reason) for each in result.file_errors] == [(b"a", Reason.UNREADABLE)]
        assert bodies(scene.repository, result)[b"b"] == b"other"
