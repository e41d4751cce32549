"""Questions to a disk that may never answer, each with a deadline.

A file system that hangs (a dead NFS server, a broken controller) holds whoever asks it inside the kernel, for as long
as it hangs: no time limit of an event loop ends that call. So it is made in a thread that nobody has to wait for, also
not the end of the process; and while one is held, no other is begun: a disk that hangs costs one thread, however often
it is asked.
"""

import asyncio
import errno
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

SECONDS = 3.0

T = TypeVar("T")


class DiskSilent(OSError):
    """No answer came in time. `strerror` says so, `filename` is the folder."""

    def __init__(self, folder: Path, seconds: float) -> None:
        super().__init__(errno.ETIMEDOUT, f"it does not answer within {seconds:g} s", str(folder))


class Disk:
    """The file system below a folder, or of a file. Thread-safe; its questions are asked one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._out: Future[Any] | None = None

    async def ask(self, question: Callable[[], T], *, seconds: float = SECONDS) -> T:
        """The answer. Raises DiskSilent, and what the question raises. What is not waited for any more goes on."""
        deadline = time.monotonic() + seconds
        while True:
            asked, is_own = self._begin(question)
            try:
                answer = await asyncio.wait_for(asyncio.wrap_future(asked), deadline - time.monotonic())
            except TimeoutError:
                raise DiskSilent(self.folder, seconds) from None
            except Exception:
                if is_own:
                    raise
            else:
                if is_own:
                    return answer  # type: ignore[no-any-return]  # the future is its own question's

    def answer(self, question: Callable[[], T], *, seconds: float = SECONDS) -> T:
        """The same, for callers that have no event loop to keep running."""
        deadline = time.monotonic() + seconds
        while True:
            asked, is_own = self._begin(question)
            try:
                answer = asked.result(timeout=max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise DiskSilent(self.folder, seconds) from None
            except Exception:
                if is_own:
                    raise
            else:
                if is_own:
                    return answer  # type: ignore[no-any-return]  # the future is its own question's

    def _begin(self, question: Callable[[], T]) -> tuple[Future[Any], bool]:
        """Ask, and True; or what is being asked already, which has to be waited for first, and False."""
        with self._lock:
            if self._out is not None and not self._out.done():
                return self._out, False
            asked = self._out = Future[Any]()
            # Whoever stops waiting does not cancel what is under way.
            asked.set_running_or_notify_cancel()
            threading.Thread(target=_answer, args=(asked, question), name="disk", daemon=True).start()
            return asked, True


def _answer(asked: "Future[Any]", question: Callable[[], Any]) -> None:
    try:
        answer = question()
    except BaseException as error:  # noqa: BLE001  # whatever it is, who waits for the answer is told
        asked.set_exception(error)
    else:
        asked.set_result(answer)
