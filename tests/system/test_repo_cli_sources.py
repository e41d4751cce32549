"""What `repo backup` takes: several paths, lists of them, standard input; what it leaves out, and how it says so."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.exit_codes import ExitCode
from tests.support.repo_command import RepoCommand
from tests.support.stack import ROOT


@pytest.fixture
def repo(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RepoCommand:
    """An initialised repository on one tier; the present folder has an album and papers."""
    for name in ("album/a.jpg", "album/raw/b.tmp", "album/raw/c.jpg", "album/cache/d", "papers/e.txt", "papers/f.tmp"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.chdir(tmp_path)
    command = RepoCommand(tmp_path, capsys, tiers=("a",))
    command.json("init")
    return command


def _paths(repo: RepoCommand, *, below: str = "") -> set[str]:
    """All but folders of the newest snapshot, from `below` on."""
    found = {each["path"] for each in repo.json("ls", "-r", "latest")["entries"] if each["kind"] != "folder"}
    prefix = below.lstrip("/") + "/" if below else ""
    assert all(path.startswith(prefix) for path in found), found
    return {path.removeprefix(prefix) for path in found}


def test_several_paths_are_one_snapshot(repo: RepoCommand, tmp_path: Path) -> None:
    """Each at its own path, restored as it was; once more nothing is read; what is not there is told."""
    (tmp_path / "album").chmod(0o750)
    words = ("backup", "album", "papers/e.txt", "./papers/e.txt", tmp_path / "album/raw")
    repo.json(*words)
    wanted = {"album/a.jpg", "album/raw/b.tmp", "album/raw/c.jpg", "album/cache/d", "papers/e.txt"}
    assert _paths(repo, below=str(tmp_path)) == wanted
    assert repo.json(*words)["snapshot"]["totals"]["unchanged_files"] == len(wanted)
    repo.json("restore", "latest", "--target", tmp_path / "back")
    back = Path(f"{tmp_path}/back{tmp_path}")
    assert {str(each.relative_to(back)) for each in back.rglob("*") if each.is_file()} == wanted
    assert (back / "album").stat().st_mode == (tmp_path / "album").stat().st_mode
    done = repo.run("backup", "album", "absent", "--json")
    assert (done.code, done.document["file_errors"][0]["reason"]) == (ExitCode.INCOMPLETE, "vanished")
    assert repo.run("backup", "absent", "gone").code == ExitCode.NOT_FOUND


def test_current_folder_is_a_source_and_its_patterns_begin_there(
    repo: RepoCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`.` is the folder's path, and so are patterns; which did what is told, and that one did nothing."""
    monkeypatch.chdir(tmp_path / "album")
    (tmp_path / "rules").write_text("# what is made anew\n*.tmp\n/raw/c.*\n")
    words = ("--exclude-file", "../rules", "--exclude", "./cache", "--exclude", "!c.jpg", "--exclude", "*.none")
    done = repo.run("backup", ".", *words)
    assert done.code == ExitCode.OK, done
    assert "left out: 1 by *.tmp, 1 by ./cache\ntaken back, and saved: 1 by !c.jpg\n" in done.out
    assert done.err.endswith("matched nothing: *.none\n")
    assert _paths(repo) == {"a.jpg", "raw/c.jpg"}
    made = repo.json("backup", tmp_path / "album", *words)
    assert made["snapshot"]["totals"]["unchanged_files"] == 2
    assert made["patterns"] == {"*.tmp": 1, "/raw/c.*": 0, "./cache": 1, "!c.jpg": 1, "*.none": 0}
    assert made["patterns_unmatched"] == ["*.none"]


@pytest.mark.parametrize("pattern", ["*", "**", "/**", "*.*"])
def test_patterns_that_leave_out_all_there_is_are_told(repo: RepoCommand, pattern: str) -> None:
    """No file is saved, which is no success, and the disk is not blamed for it."""
    repo.json("backup", "papers")
    for words in (("--label", "new"), (), ("--dry-run",)):
        done = repo.run("backup", "papers", "--exclude", pattern, *words)
        assert (done.code, "left out all there is" in done.err) == (ExitCode.INCOMPLETE, True), words
        assert "mounted" not in done.err
    told = repo.run("backup", "papers", "--exclude", pattern, "--json").document
    assert told["all_left_out"]
    assert not repo.json("backup", "papers", "--exclude", pattern, "--exclude", "!e.txt")["all_left_out"]


def test_an_exclude_takes_no_other_file_along(repo: RepoCommand, tmp_path: Path) -> None:
    """Neither what a link leads to nor another name of the file; and below a link there is nothing to leave out."""
    os.link("album/a.jpg", "album/second.jpg")
    os.symlink("raw", "album/link")
    os.symlink("a.jpg", "album/soft.jpg")
    done = repo.json(
        "backup", "album", *("--exclude", "second.jpg", "--exclude", "link/c.jpg", "--exclude", "soft.jpg")
    )
    assert _paths(repo) == {"a.jpg", "link", "raw/b.tmp", "raw/c.jpg", "cache/d"}
    assert done["patterns_unmatched"] == ["link/c.jpg"]
    repo.json("restore", "latest", "--target", tmp_path / "back")
    assert (tmp_path / "back/a.jpg").read_text() == "album/a.jpg"


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (["album/a.jpg", "--exclude", "*.jpg"], ExitCode.REFUSED, "source-excluded"),
        (["album", "--exclude", "album"], ExitCode.REFUSED, "source-excluded"),
        (["album", "album/raw", "--exclude", "raw"], ExitCode.REFUSED, "source-excluded"),
        (["album/cache", "--exclude-caches"], ExitCode.REFUSED, "source-excluded"),
        (["album", "--exclude", "[[:alpha:]]"], ExitCode.USAGE, "pattern-invalid"),
        (["album", "album/out"], ExitCode.USAGE, "location-invalid"),
        (["album", "--exclude-file", "absent"], ExitCode.NOT_FOUND, "source-unreachable"),
        (["--files-from", "absent"], ExitCode.NOT_FOUND, "source-unreachable"),
        (["--files-from", "empty"], ExitCode.NOT_FOUND, "source-unreachable"),
        ([], ExitCode.USAGE, "usage-invalid"),
        (["album", "--stdin"], ExitCode.USAGE, "usage-invalid"),
        (["--stdin", "--dry-run"], ExitCode.USAGE, "usage-invalid"),
        (["--stdin", "--exclude", "x"], ExitCode.USAGE, "usage-invalid"),
        (["album", "--stdin-filename", "x"], ExitCode.USAGE, "usage-invalid"),
    ],
)
def test_what_would_be_no_backup_of_what_was_named_is_refused(
    repo: RepoCommand, words: list[str], code: ExitCode, named: str
) -> None:
    """Nothing is stored of half of what somebody asked for, and no pattern silently takes all of it."""
    Path("album/cache/CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    os.symlink("../papers", "album/out")
    Path("empty").touch()
    done = repo.run("backup", *words)
    assert (done.code, f"[{named}]" in done.err) == (code, True), done
    assert repo.json("snapshots")["snapshots"] == []


def test_caches_are_left_out_but_for_their_tag(repo: RepoCommand) -> None:
    """What only bears the name is no cache."""
    Path("album/cache/CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n# by somebody")
    Path("papers/CACHEDIR.TAG").write_text("not one")
    done = repo.json("backup", ".", "--exclude-caches", "--exclude", "*.tmp", "--exclude", "/key*")
    assert done["caches"] == 1
    assert _paths(repo) == {
        "album/a.jpg",
        "album/raw/c.jpg",
        "album/cache/CACHEDIR.TAG",
        "papers/CACHEDIR.TAG",
        "papers/e.txt",
    }


def _typed(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(body)))


@pytest.mark.parametrize("end", [b"\n", b"\0"])
def test_a_list_names_what_is_backed_up(repo: RepoCommand, monkeypatch: pytest.MonkeyPatch, end: bytes) -> None:
    """Links and pipes of a list are kept as what they are; the list may change, and the source is the same one."""
    os.symlink("nowhere", "papers/link")
    os.mkfifo("papers/pipe")
    _typed(monkeypatch, end.join((b"papers/link", b"papers/pipe", b"papers/e.txt", b"album/raw/b.tmp", b"")))
    first = repo.json("backup", "--files-from", "-", "--exclude", "*.tmp", "--host", "box")
    assert _paths(repo, below=str(Path.cwd())) == {"papers/link", "papers/pipe", "papers/e.txt"}
    assert first["patterns_unmatched"] == []
    Path("list").write_bytes(end.join((b"papers", b"papers/link", b"album/a.jpg")))
    second = repo.json("backup", "--files-from", "list", "--label", first["snapshot"]["label"])
    assert first["snapshot"]["label"] == "box:files-from:-"
    assert second["snapshot"]["totals"]["unchanged_files"] == 1
    assert _paths(repo, below=str(Path.cwd())) == {
        "papers/link",
        "papers/pipe",
        "papers/e.txt",
        "papers/f.tmp",
        "album/a.jpg",
    }


def test_dry_run_says_what_would_be_read_and_stores_nothing(repo: RepoCommand) -> None:
    """New files, changed ones and what is left out; a backup then reads just those."""
    repo.json("backup", "album", "--label", "x")
    Path("album/new.jpg").write_text("new")
    Path("album/a.jpg").write_text("a changed picture")
    done = repo.run("backup", "album", "--label", "x", "--dry-run", "--exclude", "cache", "--exclude", "*.none")
    assert done.code == ExitCode.OK
    assert done.out.splitlines()[:2] == ["M a.jpg", "+ new.jpg"]
    assert "4 files" in done.out
    assert "left out: 1 by cache\n" in done.out
    assert done.err.endswith("matched nothing: *.none\n")
    document: Any = repo.json("backup", "album", "--label", "x", "-n")
    assert document["totals"]["files_to_read"] == 2
    assert len(repo.json("snapshots")["snapshots"]) == 1
    assert repo.json("backup", "album", "--label", "x")["snapshot"]["totals"]["unchanged_files"] == 3


def test_standard_input_is_kept_as_one_file(repo: RepoCommand, tmp_path: Path) -> None:
    """All of it, whatever its length; nothing at all is told, and no success."""
    words = [sys.executable, "-m", "cli", "repo", "backup", "--key-file", str(repo.key_file), "--tier", repo.tiers[0]]
    own = {**os.environ, "PYTHONPATH": str(ROOT)}
    body = os.urandom(3 << 20) + b"\0" * 1000
    done = subprocess.run(
        [*words, "--stdin", "--stdin-filename", "shop.sql"], input=body, env=own, capture_output=True, check=False
    )
    assert done.returncode == ExitCode.OK, done
    repo.json("restore", "latest", "--target", tmp_path / "back")
    assert (tmp_path / "back/shop.sql").read_bytes() == body
    empty = subprocess.run([*words, "--stdin"], input="", env=own, capture_output=True, text=True, check=False)
    assert (empty.returncode, "standard input was empty" in empty.stderr) == (ExitCode.DEGRADED, True)


def test_mount_point_that_is_a_path_of_its_own_is_entered(repo: RepoCommand) -> None:
    """`--one-file-system / /home` means both; elsewhere what is mounted stays out."""
    if os.stat("/dev/shm").st_dev == os.stat("/dev").st_dev:
        pytest.skip("/dev/shm is no mount point here")
    words = ("--one-file-system", "--dry-run", "--exclude", "/*", "--exclude", "!/shm")
    alone = repo.run("backup", "/dev", *words)
    both = repo.run("backup", "/dev", "/dev/shm", *words)
    assert "other-file-system" in alone.err
    assert "other-file-system" not in both.err
