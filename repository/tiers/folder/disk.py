"""The few calls by which the directory tier changes a disk, each a step at which a crash can happen.

They are apart from the tier so that a test can record them and rebuild the disk as a power cut may have
left it: what was not synced lost, in any order. Paths are absolute; errors are `OSError`.
"""

import ctypes
import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from repository.tiers.folder.direct_io import write_directly

# Without O_NONBLOCK a FIFO in an object's place would hold the reader for ever.
READ_ONLY = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}  # nothing, or a link or a socket in its place
OUT_OF_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}
_COMPARE_BYTES = 1 << 20
_BUFFERS_PER_CALL = 1024  # IOV_MAX of Linux and macOS
_FOLDER_SYNC_UNKNOWN = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


class Disk(Protocol):
    """Steps that change a disk."""

    def make_folder(self, path: str) -> bool:
        """Create one folder, for its owner alone; False when it is there already."""
        ...

    def create(self, path: str) -> int:
        """Create an empty file for its owner alone, lock it, and return its descriptor.

        Raises `FileExistsError`, or `BlockingIOError` when somebody else locked it in between.
        """
        ...

    def write(self, descriptor: int, buffers: Sequence[memoryview]) -> None:
        """Write the buffers one after the other, all of them."""
        ...

    def sync(self, descriptor: int) -> None:
        """Return when the file's bytes are on the medium."""
        ...

    def sync_folder(self, path: str) -> None:
        """Return when the folder's entries are on the medium."""
        ...

    def link(self, source: str, target: str) -> None:
        """Give the file a second name; raises `FileExistsError` and never replaces.

        The first name may be gone afterwards.
        """
        ...

    def rename(self, source: str, target: str) -> None:
        """Rename the file, replacing what has the target's name, in one step."""
        ...

    def unlink(self, path: str) -> None:
        """Remove the name."""
        ...


class LocalDisk:
    """The steps as system calls."""

    def make_folder(self, path: str) -> bool:
        """Create one folder with mode 0700."""
        try:
            Path(path).mkdir(0o700)
        except FileExistsError:
            return False
        return True

    def create(self, path: str) -> int:
        """Create an empty file with mode 0600, locked for as long as the descriptor is open."""
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if not locked_by_us(descriptor):
            os.close(descriptor)
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))
        return descriptor

    def write(self, descriptor: int, buffers: Sequence[memoryview]) -> None:
        """Write all buffers without joining them."""
        waiting = list(buffers)
        if len(waiting) == 1:
            waiting[0] = waiting[0][write_directly(descriptor, waiting[0]) :]
        first = 0
        while first < len(waiting):
            written = os.writev(descriptor, waiting[first : first + _BUFFERS_PER_CALL])
            while first < len(waiting) and written >= waiting[first].nbytes:
                written -= waiting[first].nbytes
                first += 1
            if written:
                waiting[first] = waiting[first][written:]

    def sync(self, descriptor: int) -> None:
        """Data and length."""
        os.fsync(descriptor)

    def sync_folder(self, path: str) -> None:
        """fsync(2) of the folder; some network file systems know no such thing and are synchronous there."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _FOLDER_SYNC_UNKNOWN:
                raise
        finally:
            os.close(descriptor)

    def link(self, source: str, target: str) -> None:
        """Hard link, else a rename that does not replace (and takes the first name away)."""
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            rename_if_absent(source, target)

    def rename(self, source: str, target: str) -> None:
        """Atomic on every POSIX file system."""
        os.replace(source, target)

    def unlink(self, path: str) -> None:
        """The bytes go when nothing has them open."""
        os.unlink(path)


def locked_by_us(descriptor: int) -> bool:
    """Whether the file could be locked: False when somebody else holds it.

    True as well where the file system knows no locks: then nobody holds one.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in {errno.ENOTSUP, errno.ENOLCK, errno.EINVAL, errno.ENOSYS}:
            raise
    return True


def rename_if_absent(source: str, target: str) -> None:
    """Rename the file unless the target is there, on file systems without hard links (exFAT, some shares).

    Raises `FileExistsError`; `OSError` with ENOTSUP where the system or the file system cannot do it.
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) != 0:
        failed = ctypes.get_errno()
        raise OSError(errno.ENOTSUP if failed in {errno.EINVAL, errno.ENOSYS} else failed, os.strerror(failed))


def holds(path: str, buffers: Sequence[memoryview]) -> bool:
    """Whether it is a file of exactly these bytes."""
    try:
        descriptor = os.open(path, READ_ONLY)
    except OSError as error:
        if error.errno in NO_FILE:
            return False
        raise
    with open(descriptor, "rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size != sum(buffer.nbytes for buffer in buffers):
            return False
        for buffer in buffers:
            for start in range(0, buffer.nbytes, _COMPARE_BYTES):
                expected = buffer[start : start + _COMPARE_BYTES]
                if os.pread(file.fileno(), expected.nbytes, file.tell()) != expected:
                    return False
                file.seek(expected.nbytes, os.SEEK_CUR)
    return True
