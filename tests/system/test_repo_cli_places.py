"""Tiers of which the place holds something else, that are damaged or may not be written to: what is told leads on."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.exit_codes import ExitCode
from repository.errors import AccessDenied
from repository.tiers.folder.store import DirectoryObjectStore
from tests.support.repo_command import RepoCommand


@pytest.fixture
def repo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> RepoCommand:
    """A repository on two tiers with one small snapshot."""
    command = RepoCommand(tmp_path, capsys)
    command.json("init")
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_text("some words")
    command.json("backup", tmp_path / "source")
    return command


def _others(place: Path) -> None:
    place.mkdir()
    (place / "letters.txt").write_text("mine")


_PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda place: None, "tier was in use, and its folder is not there"),
    "a file": (lambda place: place.write_text("mine"), "tier was in use, and a file lies in its place now"),
    "a pipe": (os.mkfifo, "tier was in use, and a pipe lies in its place now"),
    "a link": (lambda place: place.symlink_to("nowhere"), "a link that leads to no folder lies in its place now"),
    "other files": (_others, "tier was in use, and other files lie at its place now: letters.txt"),
    "an empty folder": (lambda place: place.mkdir(), "tier was in use, and is empty now"),
}


@pytest.mark.parametrize("which", _PLACES)
def test_what_lies_at_the_place_of_a_tier_is_told(repo: RepoCommand, which: str) -> None:
    """All of it was called empty, and the hints went round between `repo repair` and `--begin-anew`."""
    put, words = _PLACES[which]
    place = repo.tier("a")
    shutil.rmtree(place)
    put(place)
    told = repo.run("check")
    assert (told.code, words in told.err) == (ExitCode.DEGRADED, True), told
    alone = repo.run("check", tiers=repo.tiers[:1])
    assert (alone.code, words in alone.err) == (ExitCode.UNAVAILABLE, True), alone
    is_no_folder = which in ("a file", "a pipe", "a link")
    assert ("Take it away by hand" in told.err) == is_no_folder
    begun = repo.run("catch-up", "--begin-anew", "a", *(["--beside-other-files"] if which == "other files" else []))
    if not is_no_folder:
        assert begun.code == ExitCode.OK, begun
        return
    assert (begun.code, "take it away by hand" in begun.err) == (ExitCode.REFUSED, True), begun
    made = repo.run("init", tiers=repo.tiers[:1])
    assert (made.code, "place-in-use" in made.err) == (ExitCode.REFUSED, True), made
    assert os.path.lexists(place)
    assert not place.is_dir()


def test_place_that_was_never_a_tier_is_told_as_what_it_is(repo: RepoCommand, tmp_path: Path) -> None:
    """A file is no empty tier that a catch-up fills."""
    (tmp_path / "c").write_text("mine")
    done = repo.run("check", tiers=[*repo.tiers, (tmp_path / "c").as_uri()])
    assert "a file lies at the place of the tier" in done.err
    done = repo.run("catch-up", "--only", "c", tiers=[*repo.tiers, (tmp_path / "c").as_uri()])
    assert (done.code, "a file lies at the place of the tier" in done.out) == (ExitCode.REFUSED, True), done
    done = repo.run("snapshots", tiers=[(tmp_path / "c").as_uri()])
    assert (done.code, "a file lies at the place of the tier" in done.err) == (ExitCode.NOT_FOUND, True), done


def test_link_to_another_tier_is_no_copy_of_it(repo: RepoCommand) -> None:
    """What makes a copy a tier of its own is refused with the very same words there."""
    shutil.rmtree(repo.tier("a"))
    repo.tier("a").symlink_to(repo.tier("b"))
    done = repo.run("snapshots")
    assert (done.code, "one and the same place" in done.err) == (ExitCode.USAGE, True)
    assert "Does a link lead there" in done.err
    assert "--accept-history" not in done.err


def _last_entry(repo: RepoCommand, name: str) -> Path:
    return max(path for path in (repo.tier(name) / "log").rglob("*") if path.is_file())


def _garble(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(b"?")


def test_key_that_no_tier_took_is_told_by_why(
    repo: RepoCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lone tier that is damaged was called away, to be caught up, and one that refuses to be written to silent."""
    alone = repo.tiers[:1]
    with monkeypatch.context() as patch:

        def refuse(self: DirectoryObjectStore, key: str, *_: object, **__: object) -> None:
            raise AccessDenied("permission denied", tier=self.name, key=key)

        patch.setattr(DirectoryObjectStore, "put", refuse)
        done = repo.run("key", "rotate", "--data", tiers=alone)
        assert (done.code, "folder's permissions allow them" in done.out) == (ExitCode.REFUSED, True), done
    _garble(repo.tier("a") / "config")
    done = repo.run("key", "rotate", "--new-key-file", tmp_path / "new", tiers=alone)
    assert (done.code, "NOTHING was done" in done.out) == (ExitCode.DAMAGED, True), done
    assert "is away" not in done.out
    assert "`repo repair`" in done.out
    done = repo.run("key", "rotate", "--new-key-file", tmp_path / "newer")
    assert (done.code, "`repo repair`, then `repo catch-up` brings it there" in done.out) == (4, True), done


def test_what_is_owed_to_a_tier_is_told_with_what_comes_before(repo: RepoCommand, tmp_path: Path) -> None:
    """`repo catch-up` alone was named for a tier that is not written to before its history is settled."""
    _last_entry(repo, "a").unlink()
    (repo.tier("a") / "checkpoints").mkdir(exist_ok=True)
    for copy in (repo.tier("a") / "snapshots").iterdir():
        copy.unlink()
    done = repo.run("backup", tmp_path / "source")
    assert (done.code, "to be settled before that: a (`repo repair` says how)" in done.out) == (4, True), done
    done = repo.run("hold", "court", "--all")
    assert "`repo repair`, which says how its history is settled, then `repo catch-up`" in done.err, done
    accepted = repo.run("repair", "--accept-history", "a", "--json")
    assert accepted.code == ExitCode.DEGRADED
    told = accepted.document["accepted"]
    assert (told["tier"], told["seen"] - told["shown"]) == ("a", 1)
    again = repo.run("repair", "--accept-history", "a", "--json")
    assert again.document["accepted"] is None


def test_repair_does_not_send_to_itself_nor_evidence_away(repo: RepoCommand) -> None:
    """A pipe in the place of the last entry: `--bridge` keeps it below quarantine/, and by hand it would be gone."""
    last = _last_entry(repo, "a")
    last.unlink()
    for copy in (repo.tier("a") / "snapshots").iterdir():
        copy.unlink()
    os.mkfifo(last)
    done = repo.run("repair", tiers=repo.tiers[:1])
    assert done.code == ExitCode.DAMAGED
    assert "--bridge gives up" in done.out
    assert "take it away" not in done.err + done.out
    assert "Run `repo check`" not in done.err
    checked = repo.run("check", tiers=repo.tiers[:1])
    assert "`repo repair --bridge` gives up what no copy is left of" in checked.err, checked
    assert repo.run("repair", "--bridge", tiers=repo.tiers[:1]).code == ExitCode.DEGRADED
    assert [path for path in (repo.tier("a") / "quarantine/log").rglob("*") if path.is_fifo()]
