"""Files that are there whole or not at all, and on disk: what keys are kept in."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path


def read_regular(path: Path) -> bytes:
    """The bytes of a file. Raises OSError, also for a pipe, say, which would let its reader wait for ever."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        return file.read()


def make_folders(folder: Path, top: Path) -> None:
    """Make the folders from `top` down to `folder`, mode 0700, each entry on disk."""
    missing = [folder, *(parent for parent in folder.parents if parent.is_relative_to(top) and parent != top)]
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
            sync_folder(path.parent)


def write_new(path: Path, content: bytes) -> None:
    """Make a file, whole and on disk, mode 0600. Raises FileExistsError where there is one."""
    with _beside(path, content) as scratch:
        os.link(scratch, path)
    sync_folder(path.parent)


def write_over(path: Path, content: bytes) -> None:
    """Make a file or replace it, whole and on disk, mode 0600: a reader sees what was there, or what is now."""
    with _beside(path, content) as scratch:
        scratch.replace(path)
    sync_folder(path.parent)


@contextlib.contextmanager
def _beside(path: Path, content: bytes) -> Iterator[Path]:
    """The content in a file of another name beside a path, whole and on disk; it is gone afterwards."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield scratch
    finally:
        scratch.unlink(missing_ok=True)


def append(path: Path, line: bytes) -> None:
    """Add a line at the end of a file, on disk; lines of several processes do not mix."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        # Behind a line that a crash has cut short begins a new one.
        is_cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, b"\n" + line if is_cut else line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Have the entries of a folder on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
