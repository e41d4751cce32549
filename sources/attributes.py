"""What a POSIX file system tells of a file beyond its bytes, as the tree keeps it.

Promise: reading attributes changes nothing but perhaps an access time. Times are in nanoseconds.
Everything works on open descriptors, or on a name within one, so that no path is resolved twice.
"""

import errno
import os
import stat as stat_bits
import time
from collections.abc import Iterable
from operator import attrgetter
from typing import Final, cast

from repository.backup.source import FileProblem, Reason, SourceUnreachable
from repository.errors import RepositoryError
from repository.stored.tree import EXTENTS_MAX, Row

_FIELDS = attrgetter("st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_ctime_ns", "st_ino", "st_nlink")

_KIND: Final = stat_bits.S_IFMT(0xFFFF)

RACY_NS: Final = 20_000_000
"""The kernel stamps files with a clock that ticks every 1 to 10 ms: two writes within one tick look alike."""

COARSE_NS: Final = 2_000_000_000 + RACY_NS
"""Some file systems keep stamps in whole seconds, or in two: so long, where a stamp has no fraction of one."""

_SECOND_NS: Final = 1_000_000_000

_NO_XATTRS = frozenset((errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENOENT, errno.ENODATA))
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
_GONE = frozenset((errno.ENOENT, errno.ESTALE))


def row_of(status: os.stat_result, device: int) -> Row:
    """The row of one `stat`; a directory's size and links say nothing that the tree does not, and are left out."""
    row = cast(Row, (*_FIELDS(status), device))
    if row[0] & _KIND == stat_bits.S_IFDIR:
        mode, uid, gid, _size, mtime_ns, ctime_ns, inode, _links, _device = row
        return mode, uid, gid, 0, mtime_ns, ctime_ns, inode, 1, device
    return row


def rows_of_files(statuses: Iterable[os.stat_result], device: int) -> list[Row]:
    """`row_of` each of them, of which none is a directory's."""
    return [cast(Row, (*_FIELDS(status), device)) for status in statuses]


_KERNEL_CLOCK: Final = getattr(time, "CLOCK_REALTIME_COARSE", time.CLOCK_REALTIME)


def kernel_now_ns() -> int:
    """The clock that the kernel stamps files with: not the time of day for any rule, only for `is_racy`."""
    return time.clock_gettime_ns(_KERNEL_CLOCK)


def is_racy(ctime_ns: int, started_ns: int) -> bool:
    """Whether a write just after reading could carry the same stamp: reading began at `started_ns`."""
    return ctime_ns >= started_ns - (RACY_NS if ctime_ns % _SECOND_NS else COARSE_NS)


def problem_of(error: OSError) -> RepositoryError:
    """What an operating system's error means for one entry; for the whole source when the system has run out."""
    name = errno.errorcode.get(error.errno or 0, "?")
    if error.errno in _EXHAUSTED:
        return SourceUnreachable(
            "system has no descriptors or memory left to read with",
            hint="Raise the limit of open files (`ulimit -n`), or free memory; then run again.",
            reason=name,
        )
    return FileProblem(Reason.VANISHED if error.errno in _GONE else Reason.UNREADABLE, name)


def xattrs_of(target: int | bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Extended attributes (POSIX ACLs are among them), sorted; of a path, without following a symlink.

    File systems without them, and attributes that may not be read, give none.
    """
    follow = isinstance(target, int)
    try:
        names = os.listxattr(target, follow_symlinks=follow)
        if not names:
            return ()
        found = [(os.fsencode(name), os.getxattr(target, name, follow_symlinks=follow)) for name in names]
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return ()
        raise problem_of(error) from error
    return tuple(sorted(found))


def extents_of(fd: int, size: int) -> list[tuple[int, int]] | None:
    """Offsets and lengths of what is not a hole, or None for a file without holes.

    At most `EXTENTS_MAX`: the smallest holes are taken as data (they read as zeros) until that holds.
    """
    extents: list[tuple[int, int]] = []
    at = 0
    try:
        while at < size:
            start = os.lseek(fd, at, os.SEEK_DATA)
            if start >= size:
                break
            at = min(os.lseek(fd, start, os.SEEK_HOLE), size)
            extents.append((start, at - start))
            if len(extents) > 4 * EXTENTS_MAX:
                extents = _coarser(extents)
    except OSError as error:
        # ENXIO: nothing but a hole from here on. Anything else: this file system has no holes to tell.
        if error.errno != errno.ENXIO:
            return None
    if len(extents) > EXTENTS_MAX:
        extents = _coarser(extents)
    return None if extents == [(0, size)] else extents


def _coarser(extents: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """`EXTENTS_MAX` extents that cover the given ones, with only the largest holes between them."""
    ends = [start + length for start, length in extents]
    by_size = sorted(range(1, len(extents)), key=lambda number: ends[number - 1] - extents[number][0])
    first = 0
    kept: list[tuple[int, int]] = []
    for number in sorted(by_size[: EXTENTS_MAX - 1]):
        kept.append((extents[first][0], ends[number - 1] - extents[first][0]))
        first = number
    kept.append((extents[first][0], ends[-1] - extents[first][0]))
    return kept
