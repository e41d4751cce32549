"""What lies in the place of one of a tier's own folders: it is named, set aside whole, and stops nothing else."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.exit_codes import ExitCode, exit_code_of
from repository.errors import NoUsableTier, PlaceBlocked
from repository.opened.open_tier import TierState
from repository.tiers.folder.store import DirectoryObjectStore
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from repository.upkeep.repair import repair
from tests.support.repositories import Scene, photos, read_back


def _scene(tmp_path: Path) -> Scene:
    scene = Scene(stores=[DirectoryObjectStore(str(tmp_path / name), name) for name in ("a", "b")])
    assert scene.backup(photos(3), "run") is not None
    return scene


def _some_packs(root: Path) -> str:
    return f"packs/{min(each.name for each in (root / 'packs').iterdir())}"


def _file(place: Path) -> None:
    place.write_bytes(b"evidence")


@pytest.mark.parametrize("make", [_file, os.mkfifo, lambda place: place.symlink_to("nowhere")])
@pytest.mark.parametrize("folder", ["packs/*", "packs", "log/0000000000000", "log", "index", "keys", "pending"])
def test_what_is_in_a_folders_place_is_set_aside_and_all_below_comes_back(
    tmp_path: Path, folder: str, make: Callable[[Path], None]
) -> None:
    """Nothing of it is lost, and the other tier gives what belongs there."""
    scene = _scene(tmp_path)
    root = tmp_path / "a"
    folder = _some_packs(root) if folder == "packs/*" else folder
    shutil.rmtree(root / folder, ignore_errors=True)
    make(root / folder)
    kind = os.lstat(root / folder).st_mode
    repository = scene.reopen()
    report = check(repository)
    assert [each.object_key for each in report.damage if each.problem is Problem.BLOCKED] == [folder]
    result = repair(repository, repository.tier("a"), report)
    assert result.unrepaired == []
    assert os.lstat(root / result.set_aside[folder]).st_mode == kind
    repository = scene.reopen()
    assert check(repository, read_percent=100).findings == []
    (snapshot,) = repository.snapshots()
    assert read_back(repository, snapshot, repository.tier("a")) == photos(3)


def test_a_tier_whose_packs_are_anothers_is_no_copy(tmp_path: Path) -> None:
    """Bytes that a link leads to are kept once: nothing is written there, check says so, and repair makes it two."""
    scene = _scene(tmp_path)
    shutil.rmtree(tmp_path / "a/packs")
    (tmp_path / "a/packs").symlink_to(tmp_path / "b/packs")
    repository = scene.reopen()
    assert repository.tier("a").state is TierState.DAMAGED
    assert isinstance(repository.tier("a").error, PlaceBlocked)
    with pytest.raises(NoUsableTier) as refusal:
        catch_up(repository, repository.tier("a"))
    assert exit_code_of(refusal.value) == ExitCode.DAMAGED
    assert "repo repair" in refusal.value.hint
    assert not check(repository).is_ok
    assert repair(repository, repository.tier("a")).unrepaired == []
    shutil.rmtree(tmp_path / "b/packs")
    (snapshot,) = repository.snapshots()
    assert read_back(repository, snapshot, repository.tier("a")) == photos(3)


def test_what_cannot_be_set_aside_is_named_by_its_path(tmp_path: Path) -> None:
    """There is no quarantine where a file has its name: whoever repairs is told which."""
    scene = _scene(tmp_path)
    _file(tmp_path / "a/quarantine")
    repository = scene.reopen()
    with pytest.raises(PlaceBlocked) as refusal:
        repair(repository, repository.tier("a"))
    assert exit_code_of(refusal.value) == ExitCode.DAMAGED
    assert refusal.value.context["path"] == str(tmp_path / "a/quarantine")
    assert (tmp_path / "a/quarantine").read_bytes() == b"evidence"
