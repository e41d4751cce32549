"""What lies in the place of one of a tier's own folders: it is named, set aside whole, and stops nothing else."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.exit_codes import ExitCode, exit_code_of
from repository.errors import Damaged, NoUsableTier, PlaceBlocked, Replayed, RepositoryError
from repository.opened.open_tier import TierState
from repository.opened.seen import SeenTier
from repository.stored.checkpoint import checkpoint_object_key
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


def _device(place: Path) -> None:
    place.symlink_to("/dev/null")


def _socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        descriptor = os.open(place.parent, os.O_RDONLY)
        try:
            # By the folder's descriptor: an address may have a hundred characters.
            bound.bind(f"/proc/self/fd/{descriptor}/{place.name}")
        finally:
            os.close(descriptor)


def _entry_before(root: Path) -> str:
    """The last entry but one; the last one is gone."""
    last, before = sorted((root / "log/0000000000000").iterdir())[:-3:-1]
    last.unlink()
    return str(before.relative_to(root))


def _first(folder: str) -> Callable[[Path], str]:
    return lambda root: str(min(each for each in (root / folder).rglob("*") if each.is_file()).relative_to(root))


_OBJECTS = {"entry-before": _entry_before, **{each: _first(each) for each in ("log", "keys", "index", "packs")}}
_FOLDERS = ("log", "log/0000000000000", "keys", "index", "packs", "config")
_CASES = [
    *(pytest.param(where, os.mkfifo, "a pipe", id=f"{name}-pipe") for name, where in _OBJECTS.items()),
    *(pytest.param(lambda _, at=at: at, os.mkfifo, "a pipe", id=f"{at}-itself") for at in _FOLDERS),
    *(
        pytest.param(_OBJECTS[name], make, kind, id=f"{name}-{kind[2:]}")
        for make, kind in ((os.mkdir, "a folder"), (_socket, "a socket"), (_device, "a link"))
        for name in ("entry-before", "keys", "packs")
    ),
]


@pytest.mark.parametrize(("where", "make", "kind"), _CASES)
def test_what_is_in_the_place_of_a_tiers_own_is_named_where_the_tier_was_seen_before(
    tmp_path: Path, where: Callable[[Path], str], make: Callable[[Path], None], kind: str
) -> None:
    """That it hides what was seen makes nobody call it another history: what lies there is said, and where."""
    scene = Scene(stores=[DirectoryObjectStore(str(tmp_path / "a"), "a")])
    for number in range(3):
        scene.backup(photos(number + 1), f"run {number}")
    state = scene.tier("a").log.state
    seen = {"a": [SeenTier(state.tier_id, state.head)], "": [SeenTier(state.tier_id, state.head)]}
    root = tmp_path / "a"
    key = where(root)
    shutil.rmtree(root / key) if (root / key).is_dir() else (root / key).unlink()
    make(root / key)
    try:
        repository = scene.reopen(known=lambda _: seen)
    except RepositoryError as refusal:
        told, code = str(refusal), exit_code_of(refusal)
    else:
        told = " ".join(each.detail for each in check(repository).damage)
        told += str(repository.tier("a").error)
        code = exit_code_of(NoUsableTier.because("no", [repository.tier("a").error or Damaged("check names it")]))
    assert f"{kind} lies" in told or f"{kind} at {root}/{key}" in told
    assert key in told
    assert code == ExitCode.DAMAGED


def test_log_that_was_hidden_is_not_gone_on_with_where_more_was_seen(tmp_path: Path) -> None:
    """Once what hid it is set aside, it is what any log is that shows less than was seen: nobody writes to it."""
    scene = _scene(tmp_path)
    state = scene.tier("a").log.state
    seen = {"a": [SeenTier(state.tier_id, state.head)]}
    place = tmp_path / "a/log/0000000000000"
    shutil.rmtree(place)
    os.mkfifo(place)
    repository = scene.reopen(known=lambda _: seen)
    assert repository.may_hide_snapshots(newest=True) == [repository.tier("a")]
    with pytest.raises(NoUsableTier) as refusal:
        repair(repository, repository.tier("a"))
    assert isinstance(refusal.value.__cause__, Replayed)
    assert not place.exists()
    assert scene.reopen(known=lambda _: seen).tier("a").state is TierState.REPLAYED


def test_of_a_log_that_is_hidden_one_damage_is_told(tmp_path: Path) -> None:
    """A link in its place: not each entry, pack and second copy behind it, of which nobody knows anything."""
    scene = _scene(tmp_path)
    head = scene.tier("a").log.state.head
    seen = {"a": [SeenTier(scene.tier("a").log.state.tier_id, head)]}
    shutil.rmtree(tmp_path / "a/log")
    (tmp_path / "a/log").symlink_to(tmp_path / "b/log")
    repository = scene.reopen(known=lambda _: seen)
    findings = check(repository, tiers=["a"]).findings
    assert [(each.problem, each.object_key) for each in findings if each.is_damage] == [(Problem.BLOCKED, "log")]
    assert len(findings) < 5
    assert repository.tier("b").is_ready


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


@pytest.mark.parametrize("has_others", [False, True])
def test_packs_that_two_tiers_have_as_one_file_are_no_two_copies(tmp_path: Path, has_others: bool) -> None:
    """`cp -al` makes them: check says so on both, and repair gives the tier files of its own.

    Also where each has a pack that the other has not, as a writer leaves it that died.
    """
    scene = _scene(tmp_path)
    for pack in (tmp_path / "a/packs").rglob("*"):
        if pack.is_file():
            other = tmp_path / "b" / pack.relative_to(tmp_path / "a")
            other.unlink()
            os.link(pack, other)
    for name in "ab" if has_others else "":
        (tmp_path / name / "packs/00").mkdir(exist_ok=True)
        (tmp_path / name / "packs/00" / f"00{name * 62}").write_bytes(b"cut off")
    repository = scene.reopen()
    report = check(repository)
    assert {(each.tier, each.problem) for each in report.damage} == {(name, Problem.PACK_SHARED) for name in "ab"}
    assert repair(repository, repository.tier("b"), report).is_complete
    assert check(repository, read_percent=100).is_ok
    assert not any(each.stat().st_nlink > 1 for each in (tmp_path / "a/packs").rglob("*") if each.is_file())


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


@pytest.mark.parametrize("folder", ["packs", "index", "keys"])
def test_a_report_from_before_the_place_was_cleared_is_enough(tmp_path: Path, folder: str) -> None:
    """What lay there hid what is lacking below it: the first repair finds it, and not the second."""
    scene = _scene(tmp_path)
    shutil.rmtree(tmp_path / "a" / folder)
    (tmp_path / "a" / folder).symlink_to(tmp_path / "b" / folder)
    repository = scene.reopen()
    result = repair(repository, repository.tier("a"), check(repository, read_percent=100))
    assert result.is_complete, result.unrepaired
    assert check(scene.reopen(), read_percent=100).is_ok


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, _socket, _device])
def test_what_is_in_a_checkpoints_place_is_named_and_set_aside(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """No listing shows it, so that it was seen by nobody."""
    scene = _scene(tmp_path)
    key = checkpoint_object_key(1, bytes(32))
    place = tmp_path / "a" / key
    place.parent.mkdir(exist_ok=True)
    make(place)
    kind = os.lstat(place).st_mode
    repository = scene.reopen()
    report = check(repository)
    assert [(each.problem, each.object_key) for each in report.damage] == [(Problem.BLOCKED, key)]
    assert str(place) in report.damage[0].detail
    result = repair(repository, repository.tier("a"), report)
    assert result.unrepaired == []
    assert os.lstat(tmp_path / "a" / result.set_aside[key]).st_mode == kind
    assert check(scene.reopen(), read_percent=100).findings == []


@pytest.mark.parametrize("make", [os.mkfifo, lambda place: place.symlink_to("/mnt/other/pack")])
def test_catch_up_puts_no_pack_over_what_is_no_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Somebody moved the pack and left a link, say: that is named, and kept by a repair."""
    scene = _scene(tmp_path)
    pack = _first("packs")(tmp_path / "a")
    (tmp_path / "a" / pack).unlink()
    make(tmp_path / "a" / pack)
    kind = os.lstat(tmp_path / "a" / pack).st_mode
    repository = scene.reopen()
    with pytest.raises(PlaceBlocked):
        catch_up(repository, repository.tier("a"))
    assert os.lstat(tmp_path / "a" / pack).st_mode == kind
    repository = scene.reopen()
    result = repair(repository, repository.tier("a"), check(repository))
    assert (result.unrepaired, os.lstat(tmp_path / "a" / result.set_aside[pack]).st_mode) == ([], kind)
    assert check(scene.reopen(), read_percent=100).findings == []
