"""Descriptors: how many files this process may have open at a time, and a folder that is held by one."""

import contextlib
import errno
import os
import resource
from typing import Final

DESCRIPTORS_WANTED: Final = 65536

FOLDER_FLAGS: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
"""Of a folder that is only gone through: it need not be readable."""


class OpenFolder:
    """A folder that is open: whatever its path leads to by now, this is the one that was found there.

    It is closed with the last who has it, never earlier: a backup that was left behind in a thread may be reading yet,
    and the number of a closed descriptor soon means something else.
    """

    def __init__(self, root: bytes, below: bytes = b"") -> None:
        """Open `root`, and from there down, name by name, `below`, in which no symlink is followed. Raises OSError."""
        self.path = os.path.join(root, below) if below else root
        self.fd = os.open(root, FOLDER_FLAGS)
        for name in filter(None, below.split(b"/")):
            above = self.fd
            self.fd = -1  # closed below, also where the next cannot be opened
            try:
                self.fd = os.open(name, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=above)
            finally:
                os.close(above)

    def require_in_place(self) -> None:
        """Raise OSError where its path leads to it no more: it was removed, or another has taken its place."""
        own, found = os.fstat(self.fd), os.stat(self.path)
        if (found.st_dev, found.st_ino) != (own.st_dev, own.st_ino):
            raise FileNotFoundError(errno.ENOENT, "another folder is in its place")

    def __del__(self) -> None:
        """Close it; also where it could not be opened as a whole."""
        if getattr(self, "fd", -1) >= 0:
            os.close(self.fd)


def allow_many_descriptors() -> None:
    """A deep tree keeps a descriptor open for each level: take what the system allows, as Go programs do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
