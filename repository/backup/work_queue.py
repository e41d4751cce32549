"""The queue between the walker and the workers.

Promise: `put` waits while enough new work is there, `put_first` never waits (it continues what is begun, so that
few files are open at once); `get` returns None when all is done, and raises what failed, on every thread.
Work that was taken counts as unfinished until `task_done`, because it may bring more work.
"""

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class WorkQueue(Generic[T]):
    """At most `length` pieces of new work wait."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._first: deque[T] = deque()
        self._new: deque[T] = deque()
        self._unfinished = 0
        self._is_closed = False
        self._error: BaseException | None = None
        lock = threading.Lock()
        self._work = threading.Condition(lock)
        self._room = threading.Condition(lock)

    def put(self, task: T) -> None:
        """Add new work at the end."""
        with self._work:
            while len(self._new) >= self._length and self._error is None:
                self._room.wait()
            self._check()
            self._new.append(task)
            self._unfinished += 1
            self._work.notify()

    def put_first(self, task: T) -> None:
        """Add the continuation of work that is being done."""
        with self._work:
            self._check()
            self._first.append(task)
            self._unfinished += 1
            self._work.notify()

    def get(self) -> T | None:
        """The next work, or None when the queue is closed and everything is done."""
        with self._work:
            while True:
                self._check()
                if self._first:
                    return self._first.popleft()
                if self._new:
                    task = self._new.popleft()
                    self._room.notify()
                    return task
                if self._is_closed and self._unfinished == 0:
                    return None
                self._work.wait()

    def task_done(self) -> None:
        """What `get` returned is done, and its continuation, if any, is in the queue."""
        with self._work:
            self._unfinished -= 1
            if self._unfinished == 0:
                self._work.notify_all()

    def close(self) -> None:
        """There will be no new work."""
        with self._work:
            self._is_closed = True
            self._work.notify_all()

    def fail(self, error: BaseException) -> None:
        """End everything with this error; the first one counts."""
        with self._work:
            if self._error is None:
                self._error = error
            self._first.clear()
            self._new.clear()
            self._work.notify_all()
            self._room.notify_all()

    @property
    def error(self) -> BaseException | None:
        """What `fail` was called with first."""
        return self._error

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
