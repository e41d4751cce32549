"""What is said while something works that says nothing itself: a line every few seconds, also without a terminal."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cli.output import say, silence_seconds

SAY_SECONDS = 3.0
_LOOK_SECONDS = 0.1


@contextmanager
def patience(what: str, *, detail: Callable[[], str] | None = None) -> Iterator[None]:
    """Say in every silence of three seconds, until the block ends, that `what` goes on, and `detail()`.

    The silence counts from the last word of anybody, so that the many short stages of one block do not add up to a
    long one. A block within a block speaks in its place.
    """
    begun = time.monotonic()

    def words() -> str:
        more = detail() if detail is not None else ""
        return f"  {time.monotonic() - begun:3.0f} s  {what}{': ' if more else ''}{more}"

    _works.append(words)
    done = threading.Event()
    if len(_works) == 1:
        threading.Thread(target=_tell, args=(done,), name="patience", daemon=True).start()
    try:
        yield
    finally:
        with _turn:
            _works.remove(words)
        done.set()


_works: list[Callable[[], str]] = []
"""What goes on, the innermost last."""
_turn = threading.Lock()
"""Nothing is said to go on that has ended."""


def _tell(done: threading.Event) -> None:
    """In the outermost block's own thread, until that block ends."""
    while not done.wait(_LOOK_SECONDS):
        if silence_seconds() >= SAY_SECONDS and (works := list(_works)):
            line = works[-1]()
            with _turn:
                if works[-1] in _works:
                    say(line)
