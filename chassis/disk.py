"""Questions to a disk that may never answer, each with a deadline.

A file system that hangs (a dead NFS server, a broken controller) holds whoever asks it inside the kernel, for as long
as it hangs: no time limit of an event loop ends that call. So it is made in a thread that nobody has to wait for, also
not the end of the process; and while one is held, no other is begun: a disk that hangs costs one thread, however often
it is asked.
"""

import asyncio
import errno
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, TypeVar

SECONDS = 3.0
_SILENCE = frozenset(
    {
        errno.EIO,
        errno.ETIMEDOUT,
        errno.ENOTCONN,
        errno.ESTALE,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENODEV,
        errno.ENXIO,
        errno.EREMOTEIO,
    }
)

T = TypeVar("T")


class DiskSilent(OSError):
    """No answer came in time. `strerror` says so, `filename` is the folder."""

    def __init__(self, folder: Path, seconds: float) -> None:
        super().__init__(errno.ETIMEDOUT, f"it does not answer within {seconds:g} s", str(folder))


def says_nothing(error: OSError) -> bool:
    """Whether an error tells of the disk, or of the way to it, and nothing of what lies there."""
    return error.errno in _SILENCE


class Disk:
    """The file system below a folder, or of a file. Thread-safe; its questions are asked one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._waiting: list[tuple[Future[Any], Callable[[], Any]]] = []
        self._is_asking = False

    async def ask(self, question: Callable[[], T], *, seconds: float = SECONDS) -> T:
        """The answer. Raises DiskSilent, and what the question raises. What is not waited for any more goes on."""
        asked = asyncio.wrap_future(self.begin(question))
        try:
            await asyncio.wait({asked}, timeout=seconds)
            if not asked.done():
                raise DiskSilent(self.folder, seconds)
            return asked.result()
        finally:
            asked.cancel()

    def answer(self, question: Callable[[], T], *, seconds: float = SECONDS) -> T:
        """The same, for callers that have no event loop to keep running."""
        asked = self.begin(question)
        wait({asked}, timeout=seconds)
        if asked.cancel() or not asked.done():
            raise DiskSilent(self.folder, seconds)
        return asked.result()

    def begin(self, question: Callable[[], T]) -> "Future[T]":
        """Have it asked after those that wait already, but for what nobody waits for any more (cancelled)."""
        asked: Future[T] = Future()
        with self._lock:
            self._waiting = [(each, what) for each, what in self._waiting if not each.cancelled()]
            self._waiting.append((asked, question))
            if not self._is_asking:
                self._is_asking = True
                threading.Thread(target=self._ask_all, name="disk", daemon=True).start()
        return asked

    def _ask_all(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._is_asking = False
                    return
                asked, question = self._waiting.pop(0)
            if not asked.set_running_or_notify_cancel():
                continue
            try:
                answer = question()
            except BaseException as error:  # noqa: BLE001  # whatever it is, who waits for the answer is told
                asked.set_exception(error)
            else:
                asked.set_result(answer)


def answers(asked: Sequence[tuple[Disk, Callable[[], T]]], *, seconds: float = SECONDS) -> list[T | OSError]:
    """What several disks answer, all asked at once: as many as hang cost the time of one.

    Of each its answer, or what it raised where that is an OSError: DiskSilent where none came. Raises what else a
    question raises.
    """
    begun = [(disk, disk.begin(question)) for disk, question in asked]
    wait([future for _, future in begun], timeout=seconds)
    found: list[T | OSError] = []
    for disk, future in begun:
        if future.cancel() or not future.done():
            found.append(DiskSilent(disk.folder, seconds))
            continue
        try:
            found.append(future.result())
        except OSError as error:
            found.append(error)
    return found
