"""Ctrl-C in the middle: the work ends in order, and what was stored serves the next run."""

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.exit_codes import ExitCode
from tests.support.eventually import eventually
from tests.support.hung_disk import hung_disk
from tests.support.repo_command import RepoCommand

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = 24
PHOTO_BYTES = 20 << 20


@pytest.fixture
def repo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> RepoCommand:
    """A repository on one tier, and a source of half a gigabyte that does not compress."""
    command = RepoCommand(tmp_path, capsys, tiers=("a",))
    assert command.run("init").code == ExitCode.OK
    (tmp_path / "source").mkdir()
    for number in range(PHOTOS):
        body = hashlib.shake_256(b"photo %d" % number).digest(PHOTO_BYTES)
        (tmp_path / "source" / f"{number}.jpg").write_bytes(body)
    return command


@pytest.fixture
def running(repo: RepoCommand) -> Iterator[subprocess.Popen[bytes]]:
    """A backup of the source in a process of its own."""
    command = [sys.executable, "-m", "cli", "repo", "backup", "--key-file", str(repo.key_file), "--json"]
    process = subprocess.Popen(
        [*command, "--tier", repo.tiers[0], str(repo.folder / "source")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    yield process
    process.kill()
    process.communicate()


async def test_interrupted_backup_leaves_what_the_next_one_uses(
    repo: RepoCommand, running: subprocess.Popen[bytes]
) -> None:
    """Exit code 130, no snapshot, no damage; the next run does not send again what arrived."""
    packs = repo.tier("a") / "packs"
    await eventually(lambda: sum(1 for path in packs.rglob("*") if path.is_file()) >= 2)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == ExitCode.INTERRUPTED
    first, _, document = err.decode().partition("\n")
    assert "press Ctrl-C again" in first
    # A machine that is starved may need longer than a command may: then it was cut off, and leaves no less whole.
    was_in_order = "cut off" not in document
    if was_in_order:
        assert json.loads(document)["error"]["code"] == "backup-cancelled"
    assert repo.json("snapshots")["snapshots"] == []
    arrived = sum(path.stat().st_size for path in packs.rglob("*") if path.is_file())
    done = repo.json("backup", repo.folder / "source")
    sent = done["tiers"]["a"]["bytes_sent"]
    whole = PHOTOS * PHOTO_BYTES
    assert not was_in_order or sent < whole - arrived * 0.9
    assert repo.run("check", "--read-data").code == ExitCode.OK


async def test_second_signal_ends_at_once(repo: RepoCommand, running: subprocess.Popen[bytes]) -> None:
    """Who presses twice does not wait; the repository opens all the same."""
    packs = repo.tier("a") / "packs"
    await eventually(lambda: any(path.is_file() for path in packs.rglob("*")))
    running.send_signal(signal.SIGTERM)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == ExitCode.TERMINATED
    assert repo.run("check").code == ExitCode.OK


def _waits(process: subprocess.Popen[bytes]) -> Iterator[Path]:
    """Where each thread waits in the kernel."""
    return Path(f"/proc/{process.pid}/task").glob("*/wchan")


def test_interrupted_catch_up_says_what_it_brought(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends in order wherever that was, with an exit code of its own."""
    repo = RepoCommand(tmp_path, capsys, tiers=("a",))
    repo.json("init")
    (tmp_path / "photo").write_bytes(b"once in a lifetime")
    repo.json("backup", tmp_path / "photo")
    tiers = [*repo.tiers, (tmp_path / "b").as_uri()]

    @contextmanager
    def asked_to_stop() -> Iterator[Callable[[], bool]]:
        yield lambda: True

    monkeypatch.setattr("cli.repo_session.interruptible", asked_to_stop)
    for words in (["catch-up"], ["catch-up", "--json"]):
        assert repo.run(*words, tiers=tiers).code == ExitCode.INTERRUPTED


async def test_interrupted_while_a_tier_hangs_every_kind_of_command_ends_with_130(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where a thread cannot be told: it waits in the kernel for a disk that does not answer."""
    repo = RepoCommand(tmp_path, capsys, tiers=("a",))
    repo.json("init")
    kinds = (["dump", "latest"], ["check"])
    with hung_disk(tmp_path / "hung") as disk:
        words = [sys.executable, "-m", "cli", "repo"]
        where = ["--key-file", str(repo.key_file), "--tier", disk.as_uri()]
        begun = [
            subprocess.Popen(
                [*words, *kind, *where],
                cwd=ROOT,
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
            )
            for kind in kinds
        ]
        try:
            for process in begun:
                await eventually(lambda: any("fuse" in each.read_text() for each in _waits(process)))  # noqa: B023  # awaited here
                process.send_signal(signal.SIGINT)
            assert [process.wait(60) for process in begun] == [ExitCode.INTERRUPTED] * len(kinds)
        finally:
            for process in begun:
                process.kill()
                process.communicate()
