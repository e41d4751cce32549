"""What is said while something works that says nothing itself: a line every few seconds, also without a terminal."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cli.output import say

SAY_SECONDS = 3.0


@contextmanager
def patience(what: str, *, detail: Callable[[], str] | None = None) -> Iterator[None]:
    """Say every three seconds, until the block ends, that `what` goes on, and `detail()`; short work says nothing."""
    done = threading.Event()
    begun = time.monotonic()

    def tell() -> None:
        while not done.wait(SAY_SECONDS):
            more = detail() if detail is not None else ""
            say(f"  {time.monotonic() - begun:3.0f} s  {what}{': ' if more else ''}{more}")

    teller = threading.Thread(target=tell, name="patience", daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
