"""Ctrl-C and SIGTERM in every command: it ends in order where it can, and soon in any case.

Promise: three seconds after the signal the process is gone, with 130 after Ctrl-C and 143 after SIGTERM, also while a
server, a tier or a disk does not answer and threads wait for it. What is cut off then is what a crash would cut off:
nothing that was stored is lost. A command that has a longer end of its own says so (`may_end_within`).
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

END_SECONDS = 2.5
_LOOK_SECONDS = 0.15
_CUT = b"interrupted: what does not end by itself is cut off; what was stored stays\n"

_seconds = END_SECONDS
_asked_by: int | None = None


def exit_code() -> int:
    """Of a command that was interrupted: by SIGTERM 143, else 130."""
    return 128 + (_asked_by or signal.SIGINT)


@contextmanager
def interruptions() -> Iterator[None]:
    """Have both signals end the command by a `KeyboardInterrupt`; one that is ignored (`nohup`, `&`) stays ignored."""
    global _asked_by  # a signal is the process's
    _asked_by = None
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if (handler := signal.getsignal(number)) is not signal.SIG_IGN:
                before[number] = handler
                signal.signal(number, _interrupt)
    done = threading.Event()
    if before:
        threading.Thread(target=_watch, args=(frozenset(before), done), name="signals", daemon=True).start()
    try:
        yield
    finally:
        done.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def end_soon(number: int) -> None:
    """A signal has come: whatever hangs, the process ends."""
    global _asked_by
    if _asked_by is None:
        _asked_by = number
        with suppress(RuntimeError):  # no more threads: then it ends when it ends
            threading.Thread(target=_cut_off, args=(_seconds,), name="end", daemon=True).start()


@contextmanager
def may_end_within(seconds: float) -> Iterator[None]:
    """The block has an end of its own, which takes so long at most."""
    global _seconds
    before, _seconds = _seconds, seconds
    try:
        yield
    finally:
        _seconds = before


def _watch(numbers: frozenset[int], done: threading.Event) -> None:
    """See to signals that the main thread cannot take: it waits in the kernel, for a disk that does not answer, say."""
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # of this thread alone, so that it is told what is left to others
    before: set[int] = set()
    while not done.wait(_LOOK_SECONDS):
        pending = {number for number in signal.sigpending() if number in numbers}
        for number in pending & before:
            end_soon(number)
        before = pending


def _interrupt(number: int, _frame: FrameType | None) -> None:
    end_soon(number)
    raise KeyboardInterrupt


def _cut_off(seconds: float) -> None:
    threading.Event().wait(seconds)
    with suppress(OSError):  # nobody reads it any more
        os.write(2, _CUT)
    os._exit(exit_code())
