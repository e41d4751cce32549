"""What the system refuses, whatever command met it: a code, the folder, and what to do, in place of a number.

A full disk, a folder that is somebody else's or may only be read, a disk that fails or does not answer, too many open
files. All else that the system says stays as it is.
"""

import errno
import os
from pathlib import Path
from typing import NamedTuple

ROOM_BYTES = 256 << 20
"""So much should be free where the disk was full: what the platform itself asks for (`deploy.stack.places`)."""


class _Kind(NamedTuple):
    code: str
    retry: str
    message: str
    hint: str


_FULL = _Kind("no-space", "after-operator", "{place} has no space left", "")
_DENIED = _Kind(
    "access-denied",
    "after-operator",
    "{place} may not be used by this user (id {user})",
    "Give the user the right to it (ls -ld), or be the one whom it belongs to.",
)
_KINDS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL._replace(hint="The quota of this account is used up: raise it, or free space."),
    errno.EFBIG: _FULL._replace(hint="A file may not be so large: raise `ulimit -f`, or use another file system."),
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: _Kind(
        "read-only",
        "after-operator",
        "{place} can only be read",
        "Its disk is mounted read-only, perhaps since it has failed (dmesg): mount it for writing, then try again.",
    ),
    errno.EIO: _Kind(
        "disk-failing",
        "after-operator",
        "{place} is on a disk that reports errors",
        "Look at the system's log (dmesg), and replace the disk. What it still gives back, copy first.",
    ),
    errno.ETIMEDOUT: _Kind(
        "disk-silent",
        "later",
        "{place} is on a disk that does not answer",
        "Look at its mount, its file server and dmesg; then try again.",
    ),
    **dict.fromkeys(
        (errno.EMFILE, errno.ENFILE),
        _Kind(
            "too-few-descriptors",
            "after-operator",
            "the limit of open files is reached",
            "Raise it (`ulimit -n 4096`, or LimitNOFILE of the service), then try again.",
        ),
    ),
}
_TOO_FEW_THREADS = _Kind(
    "too-few-threads",
    "after-operator",
    "the system starts no more threads",
    "Raise the limit of processes (`ulimit -u`, or TasksMax of the service), or end others, then try again.",
)
CODES = frozenset(kind.code for kind in (*_KINDS.values(), _TOO_FEW_THREADS))


class SystemRefusal(Exception):
    """An error of the system, as a person reads it."""

    def __init__(self, kind: _Kind, message: str, hint: str) -> None:
        super().__init__(message)
        self.code, self.retry, self.hint = kind.code, kind.retry, hint


def refusal_of(error: Exception, place: Path | None) -> Exception:
    """The refusal that an error of the system means; any other error as it is.

    `place`: what the command works on, where the error itself names no file.
    """
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return SystemRefusal(_TOO_FEW_THREADS, _TOO_FEW_THREADS.message, _TOO_FEW_THREADS.hint)
    kind = _KINDS.get(error.errno or 0) if isinstance(error, OSError) else None
    if kind is None or not isinstance(error, OSError):
        return error
    named = error.filename if error.filename is not None else place
    where = "a disk or folder" if named is None else os.fsdecode(named) if not isinstance(named, int) else str(named)
    room = "Free space (df -h), then try again." if named is None else _room(where)
    message = kind.message.format(place=_printable(where), user=os.geteuid())
    return SystemRefusal(kind, message, kind.hint or room)


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)


def _room(place: str) -> str:
    """How much is missing on the disk of a file that may not be there."""
    at = Path(place)
    found = None
    for folder in (at, *at.parents):
        try:
            found = os.statvfs(folder)
        except OSError:
            continue
        break
    if found is None:
        return "Free space on its disk (df -h), then try again."
    if not found.f_favail and found.f_files:
        return f"Its disk has no room for another file (df -i {_printable(str(folder))}): remove some, then try again."
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    if free >= ROOM_BYTES:
        return f"{free >> 20} MiB are free there now: it needs more than that, or a quota holds it."
    missing = (ROOM_BYTES - free) >> 20
    return (
        f"{free >> 20} of {total >> 20} MiB are free on the disk of {_printable(str(folder))}:"
        f" free {missing} MiB there, then try again."
    )
