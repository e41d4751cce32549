"""The memory of a backup: pools of equal buffers that are lent and given back.

Promise: a pool never makes more buffers than it was told; who asks for one while all are lent waits. Waiting
ends early when the pool is closed with the error that ended the backup. Buffers keep the bytes of their last use.
"""

import contextlib
import mmap
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

WAIT_SECONDS = 0.5
"""How often a waiter looks whether something has to be done about its waiting."""


Memory: TypeAlias = mmap.mmap
"""A buffer: anonymous memory that begins with a page, so that a disk can take it without a copy."""


def new_memory(length: int) -> Memory:
    """Zeros. Large pages where the system has them: a pack is thousands of small ones."""
    memory = mmap.mmap(-1, length)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


class BoundedPool:
    """At most `count` buffers of `length` bytes each.

    `on_waiting` is called with the seconds that somebody has been waiting since it was last called, at least
    every `WAIT_SECONDS`, without any lock held; it may free some.
    """

    def __init__(self, count: int, length: int, on_waiting: Callable[[float], None] | None = None) -> None:
        self._length = length
        self._left = count
        self._free: list[Memory] = []
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._is_dissolved = False
        self._on_waiting = on_waiting

    @property
    def length(self) -> int:
        """Bytes of each buffer."""
        return self._length

    def acquire(self) -> Memory:
        """A buffer. Raises the error that the pool was closed with."""
        while True:
            started = time.monotonic()
            with self._changed:
                if self._error is not None:
                    raise self._error
                if self._free:
                    return self._free.pop()
                if self._left:
                    self._left -= 1
                    break
                self._changed.wait(WAIT_SECONDS)
            if self._on_waiting is not None:
                self._on_waiting(time.monotonic() - started)
        return new_memory(self._length)

    def release(self, buffer: Memory) -> None:
        """Give a buffer back."""
        with self._changed:
            if not self._is_dissolved:
                self._free.append(buffer)
            self._changed.notify()

    def dissolve(self) -> None:
        """Let go of all memory: of free buffers now, of lent ones when they are given back.

        The parts of a backup refer to each other, so without this its buffers would stay until the next garbage
        collection, which a process that makes few objects may not see for many backups.
        """
        with self._changed:
            self._is_dissolved = True
            self._free.clear()

    def close(self, error: BaseException) -> None:
        """End all waiting, now and later, with this error."""
        with self._changed:
            self._error = error
            self._changed.notify_all()
