"""Files of lists that a command is given: a pipe may be one (`<(find …)`), and while it keeps the command waiting that
is said.
"""

import os
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cli.output import note_spoken

SAY_SECONDS = 2.0


def read_given(path: str) -> bytes:
    """All of a file, or of a pipe to its end. Raises OSError."""
    if stat.S_ISREG(os.stat(path).st_mode):
        with open(path, "rb") as file:
            return file.read()
    with told_while(f"{path}, which is no file: what writes to it has not ended"), open(path, "rb") as pipe:
        return pipe.read()


@contextmanager
def told_while(what: str) -> Iterator[None]:
    """Say on standard error, where the block takes long, for what it waits."""
    timer = threading.Timer(SAY_SECONDS, _say, (what,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say(what: str) -> None:
    print(f"waiting for {what}", file=sys.stderr, flush=True)
    note_spoken()
