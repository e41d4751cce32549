"""The look at a part's disk."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis.disk import Disk
from deploy.stack import space
from deploy.stack.probes import Grade, Probe, Trouble
from deploy.stack.space import with_room
from tests.support.eventually import eventually
from tests.support.hung_mount import hung_mount


def _says(trouble: Trouble | None) -> Probe:
    async def probe() -> Trouble | None:
        return trouble

    return probe


async def test_disk_with_room_leaves_the_part_s_own_word(tmp_path: Path) -> None:
    """Nothing is added, and no file is left behind."""
    own = Trouble("is starting")
    assert await with_room(_says(None), Disk(tmp_path))() is None
    assert await with_room(_says(own), Disk(tmp_path))() is own
    assert list(tmp_path.iterdir()) == []


async def test_folder_that_is_gone_is_not_made(tmp_path: Path) -> None:
    """What is missing is told elsewhere."""
    assert await with_room(_says(None), Disk(tmp_path / "gone"))() is None
    assert not (tmp_path / "gone").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("a full disk needs a file system of its own, which root alone can mount")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=False, capture_output=True, timeout=10
    )
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.decode()}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True, timeout=10)


async def test_full_disk_is_not_ready_while_the_server_says_that_it_is(small_disk: Path) -> None:
    """A part that answers from memory on a full disk is not ready, and says so with figures; then with room it is."""
    probe = with_room(_says(None), Disk(small_disk))
    assert await probe() is None
    other = with_room(_says(None), Disk(small_disk))
    hog = small_disk / "hog"
    with hog.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        os.posix_fallocate(file.fileno(), 0, 2 << 20)
    hog.write_bytes(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize))
    full = await other()
    assert full is not None
    assert full.grade is Grade.NEEDS_OPERATOR
    assert "no space left on device (0 of 1 MiB are free)" in full.reason
    hog.unlink()

    async def has_room() -> bool:
        return await other() is None

    await eventually(has_room)


async def test_disk_that_hangs_is_no_silence_of_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write is given up, and named: to end the server would help nobody."""
    monkeypatch.setattr(space, "WRITTEN_SECONDS", 0.2)
    with hung_mount(tmp_path):
        found = await with_room(_says(None), Disk(tmp_path))()
    assert found is not None
    assert f"{tmp_path} cannot be written to: it does not answer within 0.2 s" in found.reason
    assert not found.restart_helps
