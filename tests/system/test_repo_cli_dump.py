"""`repo dump`, `repo cat` and `repo tag`: content on standard output and nothing else, and tags that come later."""

import io
import os
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from cli.exit_codes import ExitCode
from tests.support.repo_command import RepoCommand
from tests.support.stack import ROOT


@pytest.fixture
def repo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> RepoCommand:
    """A repository with one snapshot of a folder of what is hard to keep."""
    source = tmp_path / "source"
    (source / "day one").mkdir(parents=True)
    (source / "big").write_bytes(os.urandom(5 << 20))
    (source / "day one" / "note").write_text("I do.\n")
    (source / "day one" / "empty").touch()
    os.link(source / "day one" / "note", source / "second name")
    os.symlink("day one/note", source / "link")
    os.mkfifo(source / "pipe")
    with (source / "sparse").open("wb") as file:
        file.truncate(3_000_000)
        file.seek(1_000_000)
        file.write(b"in the middle")
    (source / os.fsdecode(b"caf\xe9")).write_text("latin")
    (source / ("long " * 40)).write_text("long")
    (source / "day one").chmod(0o2750)
    os.utime(source / "day one" / "note", ns=(1, 1_234_567_890_123_456_789))
    command = RepoCommand(tmp_path, capsys, tiers=("a",))
    command.json("init")
    command.json("backup", source, "--label", "x", "--tag", "first")
    return command


def _shell(repo: RepoCommand, words: str) -> "subprocess.CompletedProcess[bytes]":
    """A line of a shell in which `REPO` is the command, and `ON` what it works on."""
    on = f"--key-file {shlex.quote(str(repo.key_file))} --tier {shlex.quote(repo.tiers[0])}"
    script = words.replace("REPO", f"{shlex.quote(sys.executable)} -m cli repo").replace("ON", on)
    own = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(["bash", "-o", "pipefail", "-c", script], env=own, capture_output=True, check=False)


def _told(folder: Path) -> dict[str, tuple[int, object]]:
    """By path, the mode and what is in it."""
    found: dict[str, tuple[int, object]] = {}
    for each in folder.rglob("*"):
        what: object = each.readlink() if each.is_symlink() else each.read_bytes() if each.is_file() else None
        found[str(each.relative_to(folder))] = each.lstat().st_mode, what
    return found


def test_dump_gives_a_folder_as_an_archive_that_unpacks_to_what_it_was(repo: RepoCommand, tmp_path: Path) -> None:
    """With links, holes, names that are no text, and times to the nanosecond."""
    done = _shell(repo, "REPO dump latest ON")
    assert (done.returncode, done.stderr) == (0, b"")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(tmp_path / "back", filter="fully_trusted")
        note = archive.getmember("day one/note")
        assert (note.mtime, note.pax_headers["mtime"]) == (pytest.approx(1_234_567_890.1), "1234567890.123456789")
    assert _told(tmp_path / "back") == _told(tmp_path / "source")
    assert (tmp_path / "back/second name").stat().st_nlink == 2


def test_dump_and_cat_give_a_file_as_it_is(repo: RepoCommand, tmp_path: Path) -> None:
    """A folder below is an archive from itself on; who leaves early has what he wanted; a full disk is an error."""
    source = tmp_path / "source"
    for name in ("big", "sparse"):
        assert _shell(repo, f"REPO dump latest {name} ON").stdout == (source / name).read_bytes()
    below = tarfile.open(fileobj=io.BytesIO(_shell(repo, "REPO dump latest ON 'day one'").stdout))  # noqa: SIM115
    assert sorted(below.getnames()) == ["empty", "note"]
    early = _shell(repo, "REPO dump latest big ON | head -c 5 | wc -c; exit ${PIPESTATUS[0]}")
    assert (early.returncode, early.stdout.strip()) == (0, b"5")
    full = _shell(repo, "REPO dump latest big ON > /dev/full")
    assert (full.returncode, b"could not be written" in full.stderr) == (ExitCode.FAILED, True)
    cat = repo.run("cat", "latest", "day one/note", "second name")
    assert (cat.code, cat.out) == (0, "I do.\nI do.\n")
    assert repo.run("cat", "latest", "day one/note", "absent").out == ""
    assert repo.run("dump", "latest", "absent").code == ExitCode.NOT_FOUND
    assert repo.run("cat", "latest", "day one").code == ExitCode.NOT_FOUND


def test_what_is_damaged_ends_the_archive_without_an_end_mark(repo: RepoCommand) -> None:
    """Who unpacks it sees that it is not all, as does who asks for the exit code."""
    repo.damage_a_pack("a")
    done = _shell(repo, "REPO dump latest ON")
    assert done.returncode == ExitCode.DAMAGED, done.stderr
    assert not done.stdout.endswith(bytes(1024))
    assert _shell(repo, "REPO dump latest big ON").returncode == ExitCode.DAMAGED


def test_tags_are_given_taken_and_found(repo: RepoCommand, tmp_path: Path) -> None:
    """By id or as the latest; a rule that keeps a tag keeps what got it later."""
    repo.json("backup", tmp_path / "source", "--label", "x", "--host", "box")
    first = repo.json("snapshots", "--tag", "first")["snapshots"][0]["id"]
    assert repo.json("tag", first, "--add", "kept", "--remove", "first")["snapshots"] == [
        {"id": first, "tags": ["kept"]}
    ]
    assert [each["id"] for each in repo.json("snapshots", "--tag", "kept")["snapshots"]] == [first]
    assert repo.json("snapshots", "--tag", "first")["snapshots"] == []
    (of_host,) = repo.json("snapshots", "--host", "box")["snapshots"]
    assert (of_host["host"], of_host["label"]) == ("box", "x")
    judged = repo.json("forget", "--dry-run", "--keep-tag", "kept", "--keep-last", "1")
    assert {each["id"] for each in judged["kept"]} == {first, of_host["id"]}
    assert repo.run("forget", "--keep-tag", "kpet").code == ExitCode.NOT_FOUND, "nearly everything would go"
    told = repo.run("forget", "--dry-run", "--keep-tag", "kpet", "--keep-last", "1")
    assert (told.code, "no snapshot has the tag kpet" in told.err) == (ExitCode.OK, True)
    assert repo.json("tag", first, "latest", "--set", "")["snapshots"][0]["tags"] == []
    assert repo.run("tag", first).code == ExitCode.USAGE
    assert repo.run("tag", "beef", "--add", "x").code == ExitCode.NOT_FOUND
    assert repo.run("forget", "--host", "other", "--keep-last", "1").code == ExitCode.NOT_FOUND


def test_options_and_arguments_stand_in_any_order(
    repo: RepoCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As hands type them; what comes after `--` is no option."""
    assert repo.run("ls", "latest", "-l", "day one").out.count("\n") == 2
    monkeypatch.chdir(tmp_path)
    Path("-n").write_text("a name like an option")
    assert "1 files" in repo.run("backup", "--label", "y", "--", "-n").out
