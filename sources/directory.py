"""A directory of this machine as a source.

Promise: names are bytes and are kept as they are; no symlink is followed but the root's own; every entry
is opened relative to its directory's descriptor, so that a path may be longer than the system's limit and
a directory that is swapped for a symlink leads nowhere. FIFOs, devices and sockets are never opened. What a
restore that is under way has for itself (`repository.restore.names`) is no part of the tree.
A Postgres data directory is recognised, and its relation files are cut on pages of 8 KiB.
"""

import errno
import os
import stat as stat_bits
import sys
import threading
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from operator import methodcaller
from typing import Final

from repository.backup.source import FileProblem, GrownLarge, Listing, ProblemSink, Reason, SmallFile, SourceUnreachable
from repository.errors import LocationInvalid
from repository.format import ContentClass
from repository.restore.names import COMMON_PREFIX, is_of_a_restore
from repository.stored.chunker import SMALL_FILE_MAX
from repository.stored.tree import Extra, Flag, Row, encode_extents
from sources.attributes import extents_of, is_racy, kernel_now_ns, problem_of, row_of, xattrs_of
from sources.descriptors import OpenFolder, allow_many_descriptors
from sources.exclusion import Identity, identities, require_outside

_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NOATIME: Final = getattr(os, "O_NOATIME", 0)
_FSENCODE: Final = methodcaller("encode", sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())
_CAN_ADVISE: Final = hasattr(os, "posix_fadvise")
_SPARSE_FROM: Final = 4096
"""Bytes from which on a file may have a hole worth keeping."""

_CLOSED: Final = -2
"""No descriptor; not -1, which `os.listdir` takes for the current directory."""
POSTGRES_PAGE: Final = 8192
_POSTGRES_MARKS: Final = frozenset((b"PG_VERSION", b"base", b"global"))

_Path = tuple[Identity, "_Path | None"]
"""The directories from one up to the root, as a chain that each directory shares with those below it."""


class DirectorySource:
    """The tree below `path` (bytes or str), the one file at `path`, or the tree below an open folder.

    An open folder is never looked for again: whoever may write on the way to it cannot put another in its place.
    `excluded`: paths of directories that are left out wherever they turn up (the platform's own folders), each told as
    a problem that is no loss; they are no source, nor is what lies below them.
    `one_file_system`: do not enter mount points; they are reported.
    """

    def __init__(
        self, path: bytes | str | OpenFolder, *, excluded: Iterable[bytes | str] = (), one_file_system: bool = False
    ) -> None:
        self._folder = path if isinstance(path, OpenFolder) else None
        self._path = path.path if isinstance(path, OpenFolder) else os.fsencode(path)
        self.one_file_system = one_file_system
        self.excluded = identities(excluded)
        self._devices: dict[int, int] = {}
        self._lock = threading.Lock()
        self.reads_quietly = bool(_NOATIME)

    def device_number(self, device: int) -> int:
        """The small number of a device, in the order in which devices are met."""
        number = self._devices.get(device)
        if number is None:
            with self._lock:
                number = self._devices.setdefault(device, len(self._devices))
        return number

    def root(self) -> tuple[Row, "Directory"]:
        """See `Source.root`. Raises `SourceExcluded`, `LocationInvalid`."""
        only = None
        try:
            if self._folder is not None:
                self._folder.require_in_place()
                fd = os.open(b".", _DIRECTORY_FLAGS, dir_fd=self._folder.fd)
            elif stat_bits.S_ISDIR(mode := os.stat(self._path).st_mode):
                fd = os.open(self._path, _DIRECTORY_FLAGS)
            elif stat_bits.S_ISREG(mode):
                # Of a link, what it leads to: the link alone would be a backup of nothing.
                parent, only = os.path.split(os.path.realpath(self._path))
                fd = os.open(parent, _DIRECTORY_FLAGS)
            else:
                raise LocationInvalid(
                    "the source is a pipe, a socket or a device, which has no content to keep",
                    hint="Give a folder or a file; what a program prints goes into a file first.",
                )
            try:
                require_outside(fd, self.excluded)
            except BaseException:
                os.close(fd)
                raise
        except OSError as error:
            problem = problem_of(error)
            if isinstance(problem, SourceUnreachable):
                raise problem from error
            raise SourceUnreachable("source cannot be opened", reason=errno.errorcode.get(error.errno or 0)) from error
        status = os.fstat(fd)
        identity = (status.st_dev, status.st_ino)
        allow_many_descriptors()
        directory = Directory(self, fd, (identity, None), block_length=0, only=only)
        return row_of(status, self.device_number(status.st_dev)), directory


class Directory:
    """One open directory of a `DirectorySource`. See `SourceDirectory`."""

    def __init__(
        self,
        source: DirectorySource,
        fd: int,
        path: _Path,
        *,
        block_length: int,
        only: bytes | None = None,
    ) -> None:
        self._source = source
        self._fd = fd
        self._path = path
        self._only = only
        self._in_cluster = False
        self.block_length = block_length

    def names(self) -> list[bytes]:
        """See `SourceDirectory.names`."""
        try:
            # A descriptor gives names as text; this gives back exactly the bytes, as os.fsencode does.
            names = sorted(map(_FSENCODE, os.listdir(self._fd)))
        except OSError as error:
            raise problem_of(error) from error
        if self._only is not None:
            return [name for name in names if name == self._only]
        at = bisect_left(names, COMMON_PREFIX)
        if at < len(names) and names[at].startswith(COMMON_PREFIX):
            names = [name for name in names if not is_of_a_restore(name)]
        self._in_cluster = _POSTGRES_MARKS.issubset(names)
        return names

    def rows(self, names: Sequence[bytes], on_problem: ProblemSink) -> Listing:
        """See `SourceDirectory.rows`."""
        rows: list[Row | None] = []
        append, stat, fd = rows.append, os.stat, self._fd
        own = self._path[0][0]
        number = self._source.device_number(own)
        excluded = self._source.excluded
        for name in names:
            try:
                status = stat(name, dir_fd=fd, follow_symlinks=False)
            except OSError as error:
                problem = problem_of(error)
                if not isinstance(problem, FileProblem):
                    raise problem from error
                on_problem(name, problem)
                append(None)
                continue
            if excluded and (status.st_dev, status.st_ino) in excluded:
                # Left out on purpose, and told: somebody may take what lies there for part of the backup.
                on_problem(name, FileProblem(Reason.EXCLUDED))
                append(None)
                continue
            append(row_of(status, number if status.st_dev == own else self._source.device_number(status.st_dev)))
        return Listing(rows)

    def enter(self, name: bytes) -> "Directory":
        """See `SourceDirectory.enter`."""
        try:
            fd = os.open(name, _DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=self._fd)
        except OSError as error:
            raise problem_of(error) from error
        try:
            status = os.fstat(fd)
            identity = (status.st_dev, status.st_ino)
            if _leads_through(self._path, identity):
                raise FileProblem(Reason.LOOP)
            if self._source.one_file_system and identity[0] != self._path[0][0]:
                raise FileProblem(Reason.OTHER_FILE_SYSTEM)
        except BaseException:
            os.close(fd)
            raise
        block_length = self.block_length
        if self._in_cluster and name in {b"base", b"global", b"pg_tblspc"}:
            block_length = POSTGRES_PAGE
        return Directory(self._source, fd, (identity, self._path), block_length=block_length)

    def extra(self) -> Extra | None:
        """See `SourceDirectory.extra`. The folder of a source that is one file was not asked for."""
        if self._only is not None:
            return Extra(flags=int(Flag.NOT_ENTERED))
        xattrs = xattrs_of(self._fd)
        return Extra(xattrs=xattrs) if xattrs else None

    def describe(self, name: bytes, row: Row) -> Extra | None:
        """See `SourceDirectory.describe`. Reads no content: opening a FIFO or a device may block or act."""
        mode = row[0]
        try:
            target = os.readlink(name, dir_fd=self._fd) if stat_bits.S_ISLNK(mode) else b""
            device = (0, 0)
            if stat_bits.S_ISCHR(mode) or stat_bits.S_ISBLK(mode):
                number = os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_rdev
                device = (os.major(number), os.minor(number))
        except OSError as error:
            raise problem_of(error) from error
        # There is no `listxattrat`; the descriptor's name in /proc keeps it relative to the directory.
        xattrs = xattrs_of(b"/proc/self/fd/%d/%s" % (self._fd, name))
        extra = Extra(target=target, device=device, xattrs=xattrs)
        return extra if target or xattrs or device != (0, 0) else None

    def _open_file(self, name: bytes) -> int:
        source = self._source
        try:
            if source.reads_quietly:
                try:
                    return os.open(name, _FILE_FLAGS | _NOATIME, dir_fd=self._fd)
                except PermissionError:
                    # Only a file's owner (or root) may leave its access time alone.
                    fd = os.open(name, _FILE_FLAGS, dir_fd=self._fd)
                    source.reads_quietly = False
                    return fd
            return os.open(name, _FILE_FLAGS, dir_fd=self._fd)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                # It was a file when it was listed, and is a symlink or a FIFO now.
                raise FileProblem(Reason.CHANGED, errno.errorcode[error.errno]) from error
            raise problem_of(error) from error

    def read_small(self, name: bytes, row: Row) -> SmallFile:
        """See `SourceDirectory.read_small`. The way that most files of most backups go: every step counts here."""
        started_ns = kernel_now_ns()
        size = row[3]
        fd = self._open_file(name)
        try:
            body = os.read(fd, size + 1)
            status = os.fstat(fd)
            if (
                status.st_mtime_ns == row[4]
                and status.st_ctime_ns == row[5]
                and not is_racy(row[5], started_ns)
                and status.st_size == size == len(body)
                and status.st_ino == row[6]
                and (size < _SPARSE_FROM or status.st_blocks * 512 >= size)
            ):
                xattrs = xattrs_of(fd)
                return SmallFile(body, row, Extra(xattrs=xattrs) if xattrs else None)
            # Anything out of the ordinary goes the long way: holes, a file that was or is being written, a wrong size.
            file = DirectoryFile(fd, row[8], started_ns)
            fd = -1  # it is the file's now
            return _read_whole(file)
        except OSError as error:
            raise problem_of(error) from error
        finally:
            if fd >= 0:
                os.close(fd)

    def open(self, name: bytes, row: Row) -> "DirectoryFile":
        """See `SourceDirectory.open`."""
        started_ns = kernel_now_ns()
        fd = self._open_file(name)
        try:
            if _CAN_ADVISE:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            file = DirectoryFile(fd, row[8], started_ns)
            fd = -1  # it is the file's now
        except OSError as error:
            raise problem_of(error) from error
        finally:
            if fd >= 0:
                os.close(fd)
        return file

    def close(self) -> None:
        """See `SourceDirectory.close`."""
        fd, self._fd = self._fd, _CLOSED
        if fd >= 0:
            os.close(fd)

    # A backup that ends early forgets its directories; their descriptors must not outlive them.
    __del__ = close


class DirectoryFile:
    """A file that is read from its start to the end that it had when it was opened. See `SourceFile`."""

    head_class: ContentClass | None = None

    def __init__(self, fd: int, device: int, started_ns: int) -> None:
        self._fd = -1  # until nothing can go wrong any more: a failed file leaves the descriptor to the caller
        self._device = device
        self._started_ns = started_ns
        status = os.fstat(fd)
        if not stat_bits.S_ISREG(status.st_mode):
            raise FileProblem(Reason.CHANGED, "is no file any more")
        self._before = row_of(status, device)
        self._size = status.st_size
        self._holes: list[tuple[int, int]] | None = None
        if status.st_blocks * 512 < self._size and self._size >= _SPARSE_FROM:
            self._holes = extents_of(fd, self._size)
        self._extents = [(0, self._size)] if self._holes is None else self._holes
        self._number = 0
        self._done = 0
        self._missing = 0
        self._fd = fd

    @property
    def size(self) -> int:
        """Bytes that the file had when it was opened, holes included."""
        return self._size

    def read_into(self, view: memoryview) -> int:
        """See `SourceFile.read_into`."""
        while self._number < len(self._extents):
            start, length = self._extents[self._number]
            wanted = min(length - self._done, len(view))
            try:
                count = os.preadv(self._fd, [view[:wanted]], start + self._done) if wanted else 0
            except OSError as error:
                raise problem_of(error) from error
            if count == 0 and wanted:
                # The file was cut off while it was read; what is missing does not exist any more.
                self._missing += length - self._done + sum(rest for _start, rest in self._extents[self._number + 1 :])
                self._extents[self._number :] = [(start, self._done)] if self._done else []
                return 0
            self._done += count
            if self._done == length:
                self._number += 1
                self._done = 0
            if count:
                return count
        return self._read_beyond(view) if self._holes is None and not self._missing else 0

    def _read_beyond(self, view: memoryview) -> int:
        """What lies behind the end of a file whose size is wrong (procfs, FUSE); not what is appended meanwhile."""
        try:
            count = os.preadv(self._fd, [view], self._size)
            if not count or os.fstat(self._fd).st_size != self._before[3]:
                return 0
        except OSError as error:
            raise problem_of(error) from error
        self._size += count
        self._extents = [(0, self._size)]
        return count

    def finish(self) -> tuple[Row, Extra | None]:
        """See `SourceFile.finish`."""
        try:
            after = row_of(os.fstat(self._fd), self._device)
            xattrs = xattrs_of(self._fd)
        except OSError as error:
            raise problem_of(error) from error
        finally:
            self.close()
        return self._result(after, xattrs)

    def _result(self, after: Row, xattrs: tuple[tuple[bytes, bytes], ...]) -> tuple[Row, Extra | None]:
        flags = 0
        mode, uid, gid, _size, mtime_ns, ctime_ns, inode, links, device = after
        if after != self._before or self._missing:
            flags |= Flag.CHANGED
        if flags or is_racy(ctime_ns, self._started_ns):
            ctime_ns = 0
        size = self._size
        extents = b""
        if self._holes is not None:
            flags |= Flag.SPARSE
            extents = encode_extents(self._extents)
        if self._missing:
            size = sum(self._extents[-1]) if self._extents else 0
        row = mode, uid, gid, size, mtime_ns, ctime_ns, inode, links, device
        return row, Extra(xattrs=xattrs, flags=int(flags), extents=extents) if flags or xattrs else None

    def close(self) -> None:
        """See `SourceFile.close`."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close


def _read_whole(file: DirectoryFile) -> SmallFile:
    """All that `file` gives; closes it. Raises `GrownLarge`: memory is for small files."""
    try:
        if file.size > SMALL_FILE_MAX:
            raise GrownLarge
        pieces = []
        buffer = bytearray(64 << 10)
        length = 0
        while count := file.read_into(memoryview(buffer)):
            pieces.append(bytes(buffer[:count]))
            length += count
            if length > SMALL_FILE_MAX:
                raise GrownLarge
        row, extra = file.finish()
    finally:
        file.close()
    return SmallFile(b"".join(pieces), row, extra)


def _leads_through(path: _Path | None, identity: Identity) -> bool:
    while path is not None:
        if path[0] == identity:
            return True
        path = path[1]
    return False
