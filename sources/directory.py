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

from repository.backup.source import (
    FileProblem,
    Listing,
    ProblemSink,
    ReadAhead,
    Reason,
    SmallFile,
    SourceExcluded,
    SourceUnreachable,
)
from repository.errors import LocationInvalid
from repository.restore.names import COMMON_PREFIX, is_of_a_restore
from repository.stored.tree import Extra, Flag, Row
from sources.attributes import is_racy, kernel_now_ns, problem_of, row_of, rows_of_files, xattrs_of
from sources.descriptors import OpenFolder, allow_many_descriptors
from sources.directory_file import SPARSE_FROM, DirectoryFile, read_whole
from sources.exclusion import Identity, identities, require_outside
from sources.patterns import CACHE_TAG, Patterns

_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NOATIME: Final = getattr(os, "O_NOATIME", 0)
_FSENCODE: Final = methodcaller("encode", sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())
_CAN_ADVISE: Final = hasattr(os, "posix_fadvise")
_CLOSED: Final = -2
"""No descriptor; not -1, which `os.listdir` takes for the current directory."""
POSTGRES_PAGE: Final = 8192
_POSTGRES_MARKS: Final = frozenset((b"PG_VERSION", b"base", b"global"))

_Path = tuple[Identity, "_Path | None"]
"""The directories from one up to the root, as a chain that each directory shares with those below it."""


class Devices:
    """Small numbers for devices, in the order in which they are met."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._lock = threading.Lock()

    def number(self, device: int) -> int:
        """The number of a device."""
        number = self._numbers.get(device)
        if number is None:
            with self._lock:
                number = self._numbers.setdefault(device, len(self._numbers))
        return number


class DirectorySource:
    """The tree below `path` (bytes or str), the one file at `path`, or the tree below an open folder.

    An open folder is never looked for again: whoever may write on the way to it cannot put another in its place.
    `excluded`: paths of directories that are left out wherever they turn up (the platform's own folders), each told as
    a problem that is no loss; they are no source, nor is what lies below them.
    `one_file_system`: do not enter mount points; they are reported. `patterns`: what else is left out, by its path.
    `devices`: where several are one source, theirs. `entered`: mount points that are entered all the same.
    """

    def __init__(
        self,
        path: bytes | str | OpenFolder,
        *,
        excluded: Iterable[bytes | str] = (),
        one_file_system: bool = False,
        patterns: Patterns | None = None,
        devices: Devices | None = None,
        entered: frozenset[Identity] = frozenset(),
    ) -> None:
        self._folder = path if isinstance(path, OpenFolder) else None
        self._path = path.path if isinstance(path, OpenFolder) else os.fsencode(path)
        self.one_file_system = one_file_system
        self.excluded = identities(excluded)
        self.patterns = patterns
        self.entered = entered
        self.device_number = (devices or Devices()).number
        self.reads_quietly = bool(_NOATIME)

    def require(self) -> None:
        """See `Source.require`. Raises as `root`."""
        self.root()[1].close()

    def close(self) -> None:
        """See `Source.close`. Its folders hold their own descriptors."""

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

    ahead: ReadAhead | None = None

    def __init__(
        self,
        source: DirectorySource,
        fd: int,
        path: _Path,
        *,
        block_length: int,
        only: bytes | None = None,
        below: bytes = b"",
    ) -> None:
        self._source = source
        self._fd = fd
        self._below = below
        """Its path, with a slash behind it, where there are patterns."""
        self._path = path
        self._only = only
        self._in_cluster = False
        self.block_length = block_length

    @property
    def is_of_one_file(self) -> bool:
        """Whether the source is one file of this folder."""
        return self._only is not None

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
        patterns = self._source.patterns
        is_root = self._path[1] is None
        if patterns is not None and is_root:
            patterns.begin()
        if patterns is not None and patterns.is_cache(self._fd, names):
            if is_root:
                raise SourceExcluded("the source itself is a cache, which is left out", tag=os.fsdecode(CACHE_TAG))
            return [CACHE_TAG]
        return names

    def rows(self, names: Sequence[bytes], on_problem: ProblemSink) -> Listing:
        """See `SourceDirectory.rows`."""
        rows: list[Row | None] = []
        append, stat, fd = rows.append, os.stat, self._fd
        own = self._path[0][0]
        number = self._source.device_number(own)
        excluded = self._source.excluded
        patterns, below = self._source.patterns, self._below
        if patterns is None and (at_once := self._rows_at_once(names, own, number)) is not None:
            return Listing(at_once)
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
            if patterns is not None and patterns.leave_out(below + name, is_folder=stat_bits.S_ISDIR(status.st_mode)):
                if self._only is not None:
                    raise SourceExcluded("the source is left out by a pattern")
                append(None)
                continue
            append(row_of(status, number if status.st_dev == own else self._source.device_number(status.st_dev)))
        return Listing(rows)

    def _rows_at_once(self, names: Sequence[bytes], own: int, number: int) -> list[Row | None] | None:
        """The rows of names among which there is nothing but this device's, and no folder, in three quarters of the
        time; None for any others.
        """
        stat, fd = os.stat, self._fd
        try:
            found = [stat(name, dir_fd=fd, follow_symlinks=False) for name in names]
        except OSError:
            return None
        if any(stat_bits.S_ISDIR(mode) for mode in {status.st_mode for status in found}):
            return None
        return list(rows_of_files(found, number)) if {status.st_dev for status in found} <= {own} else None

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
            is_mounted = identity[0] != self._path[0][0]
            if self._source.one_file_system and is_mounted and identity not in self._source.entered:
                raise FileProblem(Reason.OTHER_FILE_SYSTEM)
        except BaseException:
            os.close(fd)
            raise
        block_length = self.block_length
        if self._in_cluster and name in {b"base", b"global", b"pg_tblspc"}:
            block_length = POSTGRES_PAGE
        below = b"%s%s/" % (self._below, name) if self._source.patterns is not None else b""
        return Directory(self._source, fd, (identity, self._path), block_length=block_length, below=below)

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
                and (size < SPARSE_FROM or status.st_blocks * 512 >= size)
            ):
                xattrs = xattrs_of(fd)
                return SmallFile(body, row, Extra(xattrs=xattrs) if xattrs else None)
            # Anything out of the ordinary goes the long way: holes, a file that was or is being written, a wrong size.
            file = DirectoryFile(fd, row[8], started_ns)
            fd = -1  # it is the file's now
            return read_whole(file)
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


def _leads_through(path: _Path | None, identity: Identity) -> bool:
    while path is not None:
        if path[0] == identity:
            return True
        path = path[1]
    return False
