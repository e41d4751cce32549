"""What is said of the files of the sealing keys where the system cannot read or write them."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from chassis.disk import SECONDS, Disk, DiskSilent, says_nothing
from contracts.errors import KEYS_UNREACHABLE, KEYS_UNUSABLE, NO_SPACE, PlatformError

T = TypeVar("T")

KEY_BYTES = 32
MADE = "MADE"
_REACHABLE = (
    "Look at the disk or the mount of the folder that WEDSYNC_KEYS_DIR names. No key is missing and nothing is to be"
    " restored: it goes on by itself."
)
_LIST_LOST = (
    f"Put {MADE} back from the copy of the folder of WEDSYNC_KEYS_DIR; what was made since is noted again by what it"
    " opens. Without a copy: docs/operations.md, section 13."
)
_READABLE = "See that the platform may read the folder of WEDSYNC_KEYS_DIR and all files in it."


def unreadable(error: OSError, *, file: str = MADE) -> PlatformError:
    """What an error of the system says of the keys: of a disk that says nothing no key is missing."""
    if isinstance(error, FileNotFoundError):
        return PlatformError(KEYS_UNUSABLE, "the key of a sealed field is missing", file=file)
    reason = (error.strerror or type(error).__name__).lower()
    if says_nothing(error):
        message = f"the disk of the folder of WEDSYNC_KEYS_DIR cannot be asked: {reason}"
        return PlatformError(KEYS_UNREACHABLE, message, hint=_REACHABLE, errno=error.errno, file=file)
    message, hint = f"the sealing keys cannot be read: {reason}", _READABLE
    return PlatformError(KEYS_UNUSABLE, message, hint=hint, errno=error.errno, file=file)


def unwritable(error: OSError, *, file: str) -> PlatformError:
    """What an error of the system says where a key is to be made: a full disk is told apart."""
    reason = (error.strerror or type(error).__name__).lower()
    code = NO_SPACE if error.errno in (errno.ENOSPC, errno.EDQUOT) else KEYS_UNUSABLE
    hint = None if code is NO_SPACE else "See that the platform may write to the folder of WEDSYNC_KEYS_DIR."
    return PlatformError(code, f"a sealing key cannot be made: {reason}", hint=hint, errno=error.errno, file=file)


def unknown_key(file: str) -> PlatformError:
    """The refusal to seal with a key of which nobody knows whose it is."""
    return PlatformError(
        KEYS_UNUSABLE,
        f"the list of the keys that were made ({MADE}) does not name a key that is there: it was lost, or cut off",
        hint=_LIST_LOST,
        file=file,
    )


def is_key(path: Path) -> bool:
    """Whether a key could be read from a file, as far as the file system tells; what its bytes are, only a box can.

    Raises KEYS_UNREACHABLE where its disk tells nothing.
    """
    try:
        found = path.stat()
    except OSError as error:
        if says_nothing(error):
            raise unreadable(error) from error
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == KEY_BYTES and not found.st_mode & 0o077


def mark_of(path: str) -> tuple[int, ...]:
    """What changes where a file does; empty where it cannot be looked at."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mode, found.st_mtime_ns, found.st_ctime_ns


async def asked(disk: Disk, question: Callable[[], T], *, seconds: float = SECONDS) -> T:
    """What the disk of the keys answers, within a moment. Raises KEYS_UNREACHABLE where it does not."""
    try:
        return await disk.ask(question, seconds=seconds)
    except DiskSilent as error:
        raise unreadable(error) from error
