"""Who holds a pin, in words that this very machine can tell the end of.

Promise: a holder is called ended only by whoever can know: a process of the same machine and boot, in the same
namespaces, whose number is no process's any more, or one's that was begun at another time. Everywhere else nothing is
said, as where the system has no `/proc` or shows not all of it.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

_PROCESSES: Final = Path("/proc")
_MARK_LENGTH: Final = 16
_HOLDER: Final = re.compile(rf".* by process ([0-9]+) on (.*) \(([0-9a-f]{{{_MARK_LENGTH}}})/([0-9]+)\)", re.DOTALL)


def holder_of(what: str) -> str:
    """Ourselves, at this work, in words; where the system tells, with its mark and when it was begun."""
    words = f"{what} by process {os.getpid()} on {socket.gethostname()}"
    mark, started = _mark(), _started(os.getpid())
    return f"{words} ({mark}/{started})" if mark and started else words


def has_ended(holder: str) -> bool:
    """Whether these words are of a process of this machine that is gone for certain."""
    named = _HOLDER.fullmatch(holder)
    # A machine that was copied while it ran has the same boot as the one that it is a copy of.
    if named is None or named[2] != socket.gethostname() or named[3] != _mark():
        return False
    process = int(named[1])
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        pass  # it is another user's
    started = _started(process)
    return started is not None and started != named[4]


def _mark() -> str | None:
    """What numbers of processes, and times of theirs, mean the same within: a boot, and namespaces of it."""
    try:
        if str((_PROCESSES / "self").readlink()) != str(os.getpid()):
            return None  # it shows another namespace's
        spaces = [str((_PROCESSES / "self/ns/pid").readlink())]
        with suppress(FileNotFoundError):
            spaces.append(str((_PROCESSES / "self/ns/time").readlink()))
        boot = (_PROCESSES / "sys/kernel/random/boot_id").read_text()
    except OSError:
        return None
    return hashlib.sha256("\n".join([boot, *spaces]).encode()).hexdigest()[:_MARK_LENGTH]


def _started(process: int) -> str | None:
    """When it was begun, in ticks since the boot; None where that is not shown. Of one that only waits to be buried
    nothing more comes.
    """
    try:
        text = (_PROCESSES / str(process) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # behind the command's name, which may have anything in it
    return "ended" if fields[0] in "ZX" else fields[19]
