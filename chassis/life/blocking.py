"""Blocking calls of runs, each in a thread of its own: as many at once as there are slots.

A tier that does not answer may hold a call for minutes, or for ever. Once the run is cancelled the call has a moment
to end by itself; then, or when its time is over, it is left behind: what it still does is what any worker does that
has lost its claim, and its result is discarded. The threads do not keep the process from ending.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import TypeVar

LEAVE_SECONDS = 1.0
LOOK_SECONDS = 0.1

T = TypeVar("T")


class RunInterrupted(Exception):
    """The run was left because it had to be: the worker is stopping, or has lost its claim.

    `is_left`: a call of the run goes on in a thread that nobody waits for.
    """

    def __init__(self, *, is_left: bool = False) -> None:
        super().__init__("the run was interrupted")
        self.is_left = is_left


class NoAnswer(Exception):
    """A call did not end in its time, and goes on in a thread that nobody waits for."""


async def call_in_thread(
    call: Callable[[], T],
    *,
    is_cancelled: Callable[[], bool] = lambda: False,
    discard: Callable[[T], object] = lambda _result: None,
    is_overdue: Callable[[], bool] = lambda: False,
    leave_seconds: float = LEAVE_SECONDS,
) -> T:
    """Make a call. Raises what it raises, and `RunInterrupted` where it does not end soon after a cancellation.

    `is_overdue` is asked now and then while the call goes on: whether it is left behind, with `NoAnswer`.

    `discard` gets the result of a call that was left behind, on its thread.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    hand_over = _HandOver()

    def work() -> None:
        try:
            result = call()
        except BaseException as raised:  # noqa: BLE001  # whatever it is, who waits for the call is told
            # No future takes this one, and who waits for it would for ever.
            error = RuntimeError("the call raised StopIteration") if isinstance(raised, StopIteration) else raised
            if hand_over.is_wanted():
                loop.call_soon_threadsafe(done.set_exception, error)
        else:
            if hand_over.is_wanted():
                loop.call_soon_threadsafe(done.set_result, result)
            else:
                discard(result)

    threading.Thread(target=work, name="run-call", daemon=True).start()
    leave_at: float | None = None
    is_late = False
    try:
        while not done.done() and (leave_at is None or time.monotonic() < leave_at):
            await asyncio.wait({done}, timeout=LOOK_SECONDS)
            if leave_at is None and is_cancelled():
                leave_at = time.monotonic() + leave_seconds
            elif leave_at is None and not done.done() and is_overdue():
                is_late, leave_at = True, 0.0
    finally:
        is_left = hand_over.leave()
    if is_left and is_late:
        raise NoAnswer
    if is_left:
        raise RunInterrupted(is_left=True)
    return await done


class _HandOver:
    """Whether a result is handed over or discarded is decided once, by whoever is first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_handed = False
        self._is_left = False

    def is_wanted(self) -> bool:
        """The call has ended: whether somebody still waits for it."""
        with self._lock:
            self._is_handed = not self._is_left
            return self._is_handed

    def leave(self) -> bool:
        """Wait no longer; whether the call has not ended yet."""
        with self._lock:
            self._is_left = not self._is_handed
            return self._is_left
