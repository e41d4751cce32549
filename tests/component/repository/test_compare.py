"""A folder is compared with its snapshot: what a restore has made is the same, what was changed since is told."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from repository.backup.backup import BackupOptions, backup
from repository.errors import RestoreCancelled
from repository.restore.compare import Difference, compare
from repository.restore.options import Trouble
from repository.restore.restore import restore
from repository.stored.snapshot import Snapshot
from sources.directory import DirectorySource
from tests.support.file_trees import make_everything
from tests.support.repositories import Scene


def _restored(source: Path, target: Path) -> tuple[Scene, Snapshot]:
    scene = Scene()
    snapshot = backup(
        scene.repository, DirectorySource(source), options=BackupOptions(run_token="1", label="p")
    ).snapshot
    assert restore(scene.repository, snapshot, os.fsencode(target)).is_whole
    return scene, snapshot


def test_what_a_restore_has_made_is_the_same(tmp_path: Path) -> None:
    """Every kind of entry: links, holes, attributes, names of several sorts."""
    make_everything(tmp_path / "source")
    scene, snapshot = _restored(tmp_path / "source", tmp_path / "target")
    compared = compare(scene.repository, snapshot, os.fsencode(tmp_path / "target"))
    assert (+compared.differences, compared.files > 0, compared.bytes > 0) == ({}, True, True)
    with pytest.raises(RestoreCancelled):
        compare(scene.repository, snapshot, os.fsencode(tmp_path / "target"), is_cancelled=lambda: True)


def _lose(folder: Path) -> None:
    _keeping_times(folder, (folder / "photo").unlink)


def _add(folder: Path) -> None:
    _keeping_times(folder, (folder / "another").touch)


def _flip(folder: Path) -> None:
    def flip() -> None:
        with (folder / "photo").open("r+b") as file:
            file.seek(70_000)
            file.write(b"\x01")

    _keeping_times(folder / "photo", flip)


def _write_in_a_hole(folder: Path) -> None:
    def write() -> None:
        with (folder / "sparse").open("r+b") as file:
            file.seek(500_000)
            file.write(b"\x01")

    _keeping_times(folder / "sparse", write)


def _cut(folder: Path) -> None:
    _keeping_times(folder / "photo", lambda: os.truncate(folder / "photo", 99_999))


def _relink(folder: Path) -> None:
    def relink() -> None:
        (folder / "link").unlink()
        (folder / "link").symlink_to("elsewhere")

    _keeping_times(folder, relink)


def _open_up(folder: Path) -> None:
    (folder / "photo").chmod(0o666)


def _touch(folder: Path) -> None:
    os.utime(folder / "photo", ns=(0, 0))


def _keeping_times(path: Path, change: Callable[[], object]) -> None:
    """Change it so that its times do not tell."""
    before = path.stat()
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_lose, Difference.MISSING),
        (_add, Difference.ADDED),
        (_flip, Difference.BYTES),
        (_write_in_a_hole, Difference.BYTES),
        (_cut, Difference.BYTES),
        (_relink, Difference.KIND),
        (_open_up, Trouble.MODE),
        (_touch, Trouble.TIMES),
    ],
)
def test_what_was_changed_since_is_told(
    change: Callable[[Path], None], told: Difference | Trouble, tmp_path: Path
) -> None:
    """A file less or more, a byte, a byte in a hole, a link to elsewhere, an attribute; times that do not tell."""
    source = tmp_path / "source"
    (source / "wedding").mkdir(parents=True)
    (source / "wedding" / "photo").write_bytes(bytes(100_000))
    (source / "wedding" / "photo").chmod(0o640)
    (source / "wedding" / "link").symlink_to("photo")
    with (source / "wedding" / "sparse").open("wb") as file:
        file.truncate(1_000_000)
        file.seek(900_000)
        file.write(b"end")
    scene, snapshot = _restored(source, tmp_path / "target")
    change(tmp_path / "target" / "wedding")
    compared = compare(scene.repository, snapshot, os.fsencode(tmp_path / "target"))
    assert +compared.differences == {told: 1}
