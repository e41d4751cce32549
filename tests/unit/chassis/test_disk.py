"""Questions to a disk that may never answer."""

import asyncio
import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis.disk import Disk, DiskSilent
from tests.support.eventually import eventually


@pytest.fixture
def hang() -> Iterator[threading.Event]:
    """Set, the disk answers again."""
    event = threading.Event()
    yield event
    event.set()


async def test_answer_and_error_of_a_question_are_its_own(tmp_path: Path) -> None:
    """Each of several that ask at the same time gets the answer to its own question."""
    disk = Disk(tmp_path)
    answers = await asyncio.gather(*(disk.ask(lambda number=number: number) for number in range(5)))
    assert answers == [0, 1, 2, 3, 4]
    with pytest.raises(FileNotFoundError):
        await disk.ask((tmp_path / "nowhere").stat)
    assert disk.answer(tmp_path.is_dir)
    with pytest.raises(FileNotFoundError):
        disk.answer((tmp_path / "nowhere").stat)


async def test_question_that_nobody_waits_for_is_not_asked(tmp_path: Path, hang: threading.Event) -> None:
    """A disk that was hung does not work off what was asked of it meanwhile; what waits still, it answers."""
    disk, asked = Disk(tmp_path), list[str]()
    holding = asyncio.create_task(disk.ask(hang.wait, seconds=30))
    await asyncio.sleep(0)
    for _ in range(3):
        with pytest.raises(DiskSilent):
            await disk.ask(lambda: asked.append("left"), seconds=0.01)
        with pytest.raises(DiskSilent):
            disk.answer(lambda: asked.append("left"), seconds=0.01)
    cancelled = asyncio.create_task(disk.ask(lambda: asked.append("cancelled"), seconds=30))
    waiting = asyncio.create_task(disk.ask(lambda: asked.append("wanted"), seconds=30))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    hang.set()
    await asyncio.gather(holding, waiting)
    assert asked == ["wanted"]


async def test_error_of_time_is_the_questions_own(tmp_path: Path) -> None:
    """A file system that says ETIMEDOUT has answered."""

    def refuse() -> None:
        raise TimeoutError(errno.ETIMEDOUT, "the server says so")

    with pytest.raises(TimeoutError, match="the server says so"):
        await Disk(tmp_path).ask(refuse)
    with pytest.raises(TimeoutError, match="the server says so"):
        Disk(tmp_path).answer(refuse)


async def test_disk_that_hangs_holds_one_thread_and_nobody_else(tmp_path: Path, hang: threading.Event) -> None:
    """Whoever asks is told after the deadline, however often; once the disk answers again, so does the question."""
    disk = Disk(tmp_path)
    before = threading.active_count()
    for _ in range(3):
        with pytest.raises(DiskSilent, match=r"does not answer within 0\.05 s") as silent:
            await disk.ask(hang.wait, seconds=0.05)
        assert silent.value.filename == str(tmp_path)
        with pytest.raises(DiskSilent):
            disk.answer(tmp_path.is_dir, seconds=0.05)
    assert threading.active_count() == before + 1
    assert await Disk(tmp_path).ask(tmp_path.is_dir)
    hang.set()
    assert await disk.ask(tmp_path.is_dir)
    await eventually(lambda: threading.active_count() == before)
