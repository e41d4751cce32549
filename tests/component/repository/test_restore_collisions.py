"""Restores in which two things claim to be one: inodes used again, names that the target takes for each other's."""

import hashlib
import os
from pathlib import Path

import pytest

from repository.backup.backup import BackupOptions, backup
from repository.opened.repository import Repository
from repository.restore.restore import RestoreOptions, Trouble, restore
from repository.stored.snapshot import Snapshot
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.repositories import Scene

LARGE = hashlib.shake_256(b"large").digest(9_000_000)


def saved(repository: Repository, tree: MemoryFolder) -> Snapshot:
    """A snapshot of a tree in memory."""
    options = BackupOptions(run_token="1", label="photos")
    return backup(repository, MemorySource(tree), options=options).snapshot


def test_names_of_one_inode_with_different_contents_are_different_files(tmp_path: Path) -> None:
    """The number was used again, or the file was written to, while the backup went on: no content replaces another."""
    scene = Scene()
    tree = MemoryFolder(
        {
            b"a": MemoryFile(b"before", inode=5, links=2),
            b"y": MemoryFolder({b"b": MemoryFile(b"another, later", inode=5, links=2, mtime_ns=2_000)}),
            b"z": MemoryFolder(
                {
                    b"c": MemoryFile(b"before", inode=5, links=2),
                    b"d": MemoryFile(b"another, later", inode=5, links=2, mtime_ns=2_000),
                }
            ),
        }
    )
    target = tmp_path / "target"
    result = restore(scene.repository, saved(scene.repository, tree), os.fsencode(target))
    assert result.is_whole
    found = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert found == {"a": b"before", "y/b": b"another, later", "z/c": b"before", "z/d": b"another, later"}
    assert (target / "a").stat().st_ino == (target / "z/c").stat().st_ino
    assert (target / "y/b").stat().st_ino == (target / "z/d").stat().st_ino


@pytest.mark.parametrize("body", [b"", b"from the snapshot", LARGE], ids=["empty", "small", "large"])
def test_file_that_is_there_although_the_target_was_empty_is_not_overwritten(tmp_path: Path, body: bytes) -> None:
    """A name that differs in case alone, or somebody else's file: the one that was first stays, the other is told."""
    scene = Scene()
    snapshot = saved(scene.repository, MemoryFolder({b"vows": MemoryFile(body), b"zeal": MemoryFile(b"z", inode=2)}))
    target = tmp_path / "target"

    def put_in_the_way() -> bool:
        if not (target / "vows").exists():
            (target / "vows").write_bytes(b"whose?")
        return False

    options = RestoreOptions(is_cancelled=put_in_the_way)
    result = restore(scene.repository, snapshot, os.fsencode(target), options=options)
    assert (target / "vows").read_bytes() == b"whose?"
    assert (target / "zeal").read_bytes() == b"z"
    assert not result.is_whole
    assert [(one.path, one.trouble, one.detail) for one in result.troubles] == [
        (b"vows", Trouble.NOT_CREATED, "EEXIST")
    ]
