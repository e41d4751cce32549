"""A passphrase, and a key that a command prints, in place of the key file."""

import os
import pty
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from repository.keys import passphrase
from tests.support.repo_command import RepoCommand

SECRET = "correct horse battery staple"


@pytest.fixture
def repo(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RepoCommand:
    """A repository that is opened by a passphrase of the environment, with a backup of one file."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "states"))
    monkeypatch.setenv("WEDSYNC_PASSPHRASE", SECRET)
    monkeypatch.setattr(passphrase, "USUAL_COST", passphrase.Cost(8 << 10, 1, 1))
    made = RepoCommand(tmp_path, capsys)
    made.key_options = ["--passphrase"]
    assert made.run("init").code == 0
    source = tmp_path / "source"
    source.mkdir()
    (source / "contract").write_bytes(b"signed " * 100)
    made.json("backup", source)
    return made


def test_passphrase_opens_and_what_was_seen_is_remembered_without_a_key_file(
    repo: RepoCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong one is told apart from damage, and neither is shown; where there is no terminal nobody is waited for."""
    assert repo.run("restore", "latest", "--target", repo.folder / "out").code == 0
    assert (repo.folder / "out" / "contract").read_bytes() == b"signed " * 100
    assert not (repo.folder / "key").exists()
    heads = repo.folder / "states" / "wedsync-backup" / "heads"
    assert heads.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("WEDSYNC_PASSPHRASE", "another one entirely")
    for words in (["snapshots"], ["snapshots", "--json"]):
        told = repo.run(*words)
        assert (told.code, "wrong-key" in told.err) == (6, True)
        assert "another one" not in told.out + told.err
        assert "keyboard's layout" in told.err
        assert "key file that was made" not in told.err
    monkeypatch.delenv("WEDSYNC_PASSPHRASE")
    monkeypatch.setattr(os, "open", _without_terminal(os.open))
    told = repo.run("snapshots")
    assert (told.code, "no terminal" in told.err) == (6, True)


def test_key_file_and_passphrase_take_each_others_place(repo: RepoCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    own: Any = repo.json("key", "list")["opened_by"]
    assert repo.run("key", "rotate", "--new-key-file", repo.folder / "key").code == 0
    repo.key_options = None
    assert repo.run("key", "remove", own).code == 0
    monkeypatch.setenv("WEDSYNC_NEW_PASSPHRASE", "a second passphrase")
    told = repo.run("key", "add", "--new-passphrase")
    assert (told.code, "a second" in told.out + told.err) == (0, False)
    repo.key_options = ["--passphrase"]
    assert repo.run("snapshots").code == 6
    monkeypatch.setenv("WEDSYNC_PASSPHRASE", "a second passphrase")
    assert repo.run("check", "--read-data").code == 0


def test_passphrase_that_opens_already_is_no_new_one_and_the_end_of_one_says_who_still_opens(
    repo: RepoCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one passphrase were two keys, and after the end of the one it opened everything by the other."""
    own: Any = repo.json("key", "list")["opened_by"]
    monkeypatch.setenv("WEDSYNC_NEW_PASSPHRASE", SECRET)
    for words in ("add", "rotate"):
        told = repo.run("key", words, "--new-passphrase")
        assert (told.code, "opens the repository already" in told.err) == (6, True), told
    assert [list(each["wrapped_under"]) for each in repo.json("key", "list")["keys"]] == [[own]]
    monkeypatch.setenv("WEDSYNC_NEW_PASSPHRASE", "a second passphrase")
    told = repo.run("key", "rotate", "--new-passphrase")
    assert f"`repo key remove {own}`" in told.out
    assert "it is stored nowhere" in told.out
    assert repo.run("key", "add", "--new-key-file", repo.folder / "third").code == 0
    monkeypatch.setenv("WEDSYNC_PASSPHRASE", "a second passphrase")
    listed: Any = repo.json("key", "list")
    third = (set(listed["keys"][0]["wrapped_under"]) - {own, listed["opened_by"]}).pop()
    told = repo.run("key", "remove", own)
    assert (told.code, third in told.out, f"{listed['opened_by']} (this one)" in told.out) == (0, True, True), told
    assert own not in told.out
    repo.key_options = ["--key-file", str(repo.folder / "third")]
    assert repo.run("key", "rotate", "--data").code == 4
    repo.key_options = ["--passphrase"]
    told = repo.run("check")
    assert (told.code, "keys-not-opened" in told.err) == (6, True), told
    assert "`repo key add --new-passphrase`" in told.err


def test_command_prints_the_key_or_the_passphrase_and_is_never_quoted(repo: RepoCommand) -> None:
    printed = repo.folder / "printed"
    printed.write_text(f"{SECRET}\n")
    repo.key_options = ["--key-command", f"cat '{printed}'"]
    assert repo.run("snapshots").code == 0
    assert repo.run("key", "add", "--new-key-file", repo.folder / "key").code == 0
    printed.write_bytes((repo.folder / "key").read_bytes())
    assert repo.run("snapshots").code == 0
    for text, code in (("", 6), ("two\nlines\n", 6), ("wsbkek1-00-00", 6), ("not the one", 6), ("x" * 100_000, 6)):
        printed.write_text(text)
        told = repo.run("snapshots")
        assert told.code == code, told
        assert not text or text not in told.out + told.err
    for command in ("false", "/nowhere/at/all", "cat 'open", " "):
        repo.key_options = ["--key-command", command]
        told = repo.run("snapshots")
        assert (told.code, "key-not-given" in told.err) == (6, True), command


def test_passphrase_is_typed_without_being_shown(repo: RepoCommand) -> None:
    """On a terminal of its own; twice where it is a new one."""
    words = [sys.executable, "-m", "cli", "repo", "key", "add", "--passphrase", "--new-passphrase"]
    words += [word for tier in repo.tiers for word in ("--tier", tier)]
    environment = {**os.environ, "XDG_STATE_HOME": str(repo.folder / "states")}
    del environment["WEDSYNC_PASSPHRASE"]
    process, terminal = pty.fork()
    if not process:
        os.execve(words[0], words, environment)
    shown = bytearray()

    def read_until(text: bytes) -> None:
        with suppress(OSError):  # the other side is closed
            while text not in shown and (part := os.read(terminal, 65536)):
                shown.extend(part)
        assert text in shown, shown

    for prompt, answer in (
        (b"passphrase: ", SECRET),
        (b"new passphrase: ", "another phrase"),
        (b"more: ", "another phrase"),
    ):
        read_until(prompt)
        shown.clear()
        os.write(terminal, answer.encode() + b"\n")
    read_until(b"opens the repository")
    _, status = os.waitpid(process, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert SECRET.encode() not in shown
    assert b"another phrase" not in shown
    assert len({kek for each in repo.json("key", "list")["keys"] for kek in each["wrapped_under"]}) == 2


def _without_terminal(inner: Any) -> Any:
    def opened(path: Any, *rest: Any, **options: Any) -> Any:
        if path == "/dev/tty":
            raise OSError(6, "No such device or address")
        return inner(path, *rest, **options)

    return opened
