"""One file of a directory that is a source, read once from its start to its end."""

import os
import stat as stat_bits
from typing import Final

from repository.backup.source import FileProblem, GrownLarge, Reason, SmallFile
from repository.format import ContentClass
from repository.stored.chunker import SMALL_FILE_MAX
from repository.stored.tree import Extra, Flag, Row, encode_extents
from sources.attributes import extents_of, is_racy, problem_of, row_of, xattrs_of

SPARSE_FROM: Final = 4096
"""Bytes from which on a file may have a hole worth keeping."""


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
        if status.st_blocks * 512 < self._size and self._size >= SPARSE_FROM:
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


def read_whole(file: DirectoryFile) -> SmallFile:
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
