"""What a program prints as a source: one file, whose name is given, in a folder that is nowhere else.

Promise: all that comes before the end is read, once. How the program ended is nowhere to be seen in a pipe: what one
that failed has printed looks like all of it. `bytes_read` is 0 where nothing came.
"""

import errno
import os
import stat as stat_bits
import threading
from collections.abc import Sequence

from repository.backup.source import (
    FileProblem,
    Listing,
    ProblemSink,
    ReadAhead,
    Reason,
    SmallFile,
    SourceDirectory,
    SourceUnreachable,
)
from repository.format import ContentClass
from repository.stored.tree import Extra, Row
from sources.attributes import kernel_now_ns


class StandardInput:
    """A descriptor that is read to its end. It can be read once: a second reading raises `SourceUnreachable`."""

    def __init__(self, name: bytes, descriptor: int = 0) -> None:
        self.name = name
        self.descriptor = descriptor
        self.bytes_read = 0
        self.now_ns = kernel_now_ns()
        self.is_taken = False
        self.lock = threading.Lock()

    def row(self, mode: int, size: int) -> Row:
        """Of the folder or of the file: the time is when reading began, and no other run has the same."""
        return mode, os.geteuid(), os.getegid(), size, self.now_ns, 0, 0, 1, 0

    def require(self) -> None:
        """See `Source.require`. What has come is there."""

    def close(self) -> None:
        """See `Source.close`. The descriptor is the process's own."""

    def root(self) -> tuple[Row, SourceDirectory]:
        """See `Source.root`."""
        return self.row(stat_bits.S_IFDIR | 0o700, 0), _Folder(self)


class _Folder:
    """See `SourceDirectory`."""

    ahead: ReadAhead | None = None
    block_length = 0

    def __init__(self, source: StandardInput) -> None:
        self._source = source

    def names(self) -> list[bytes]:
        """See `SourceDirectory.names`."""
        return [self._source.name]

    def rows(self, names: Sequence[bytes], _on_problem: ProblemSink) -> Listing:
        """See `SourceDirectory.rows`. How long it is nobody knows."""
        return Listing([self._source.row(stat_bits.S_IFREG | 0o600, -1) for _ in names])

    def enter(self, _name: bytes) -> SourceDirectory:
        """See `SourceDirectory.enter`. There is no folder."""
        raise FileProblem(Reason.VANISHED)

    def extra(self) -> Extra | None:
        """See `SourceDirectory.extra`."""
        return None

    def describe(self, _name: bytes, _row: Row) -> Extra | None:
        """See `SourceDirectory.describe`."""
        return None

    def read_small(self, _name: bytes, _row: Row) -> SmallFile:
        """See `SourceDirectory.read_small`. What is as long as nobody knows is not small."""
        raise FileProblem(Reason.CHANGED)

    def open(self, _name: bytes, _row: Row) -> "_Stream":
        """See `SourceDirectory.open`."""
        with self._source.lock:
            if self._source.is_taken:
                raise SourceUnreachable(
                    "standard input was read already, and the backup has to begin again",
                    hint="Run the program and the backup once more.",
                )
            self._source.is_taken = True
        return _Stream(self._source)

    def close(self) -> None:
        """See `SourceDirectory.close`."""


class _Stream:
    """See `SourceFile`."""

    head_class: ContentClass | None = None

    def __init__(self, source: StandardInput) -> None:
        self._source = source

    def read_into(self, view: memoryview) -> int:
        """See `SourceFile.read_into`."""
        try:
            count = os.readv(self._source.descriptor, [view])
        except OSError as error:
            reason = errno.errorcode.get(error.errno or 0)
            raise SourceUnreachable("standard input cannot be read", reason=reason) from error
        self._source.bytes_read += count
        return count

    def finish(self) -> tuple[Row, Extra | None]:
        """See `SourceFile.finish`."""
        return self._source.row(stat_bits.S_IFREG | 0o600, self._source.bytes_read), None

    def close(self) -> None:
        """See `SourceFile.close`."""
