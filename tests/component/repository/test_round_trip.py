"""Back up and restore: the same bytes and attributes, for any tree."""

import os
from pathlib import Path

import pytest

from repository.backup.backup import BackupOptions, BackupResult, backup
from repository.restore.restore import RestoreOptions, restore
from sources.directory import DirectorySource
from tests.support.file_trees import differences, make_everything, seen
from tests.support.repositories import Scene


def _backup(scene: Scene, source: Path, token: str, **options: object) -> BackupResult:
    return backup(
        scene.repository,
        DirectorySource(os.fsencode(source)),
        options=BackupOptions(run_token=token, label="photos", **options),  # type: ignore[arg-type]
    )


@pytest.fixture
def scene() -> Scene:
    """A repository on two tiers."""
    return Scene(("a", "b"))


def test_round_trip_gives_back_everything(scene: Scene, tmp_path: Path) -> None:
    """Bytes, names, kinds, modes, owners, times, links, holes and attributes come back as they were, from each tier."""
    make_everything(tmp_path / "source")
    before = seen(tmp_path / "source")
    result = _backup(scene, tmp_path / "source", "1")
    assert not any(error.is_loss for error in result.file_errors)
    assert seen(tmp_path / "source") == before
    for tier in ("a", "b"):
        restored = restore(
            scene.repository, result.snapshot, os.fsencode(tmp_path / tier), options=RestoreOptions(tiers=(tier,))
        )
        assert restored.troubles == []
        assert differences(before, seen(tmp_path / tier)) == []
        status, target = os.stat(tmp_path / "source"), os.stat(tmp_path / tier)
        assert (status.st_mode, status.st_mtime_ns) == (target.st_mode, target.st_mtime_ns)


def test_second_backup_reads_nothing_and_makes_the_same_tree(scene: Scene, tmp_path: Path) -> None:
    """When nothing changed, no file is read, no pack is made, and the tree is the same."""
    make_everything(tmp_path / "source")
    os.utime(tmp_path / "source")
    _wait_out_the_tick(tmp_path)
    first = _backup(scene, tmp_path / "source", "1")
    second = _backup(scene, tmp_path / "source", "2")
    assert second.snapshot.manifest.root == first.snapshot.manifest.root
    assert second.totals.unchanged_files == second.totals.files == first.totals.files
    assert second.totals.new_chunks == 0
    assert second.totals.source_bytes == first.totals.source_bytes
    assert all(tier.packs_sent == 0 for tier in second.tiers.values())


def _wait_out_the_tick(folder: Path) -> None:
    """Let the kernel's clock leave the tick in which the files were written."""
    from sources.attributes import RACY_NS, kernel_now_ns

    (folder / "clock").touch()
    stamp = os.stat(folder / "clock").st_ctime_ns
    while kernel_now_ns() < stamp + 2 * RACY_NS:
        pass
