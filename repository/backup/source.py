"""The port through which a backup reads what it saves: a directory, a bucket, the files of a database.

A source is a tree of directories; a bucket is one directory whose entries' names are whole keys. The
walker asks for names, then for rows (`tree.Row`) of some of them, and compares these with the parent
snapshot; only what differs is opened. All methods may be called from several threads, except that one
`SourceFile` is used by one thread at a time.

Whatever concerns one entry alone is a `FileProblem`: it is recorded, and the rest goes on. Any other
`RepositoryError` means that the source as a whole cannot be read, and ends the backup.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from repository.errors import RepositoryError, Retry
from repository.format import ContentClass
from repository.stored.tree import Extra, Row


class Reason(StrEnum):
    """Why an entry is not, or not faithfully, in the snapshot."""

    VANISHED = "vanished"  # was listed, and gone when it was opened
    UNREADABLE = "unreadable"  # permission, input/output error; `detail` is the system's word
    CHANGED = "changed"  # was written to while it was read: kept, perhaps a mixture of both states
    LOOP = "loop"  # a directory that contains itself, through a mount
    OTHER_FILE_SYSTEM = "other-file-system"  # a mount point, left out because the caller said so
    EXCLUDED = "excluded"  # a folder that is never backed up: the platform's, a tier's, or one that the caller named
    SPECIAL = "special"  # device, FIFO or socket: recorded, not read (this is as it should be)


LOSSES = frozenset((Reason.VANISHED, Reason.UNREADABLE, Reason.LOOP))
"""Reasons that mean: something of the source is not in the snapshot although it was asked for."""


class FileProblem(RepositoryError):
    """One entry of the source could not be taken as it is. `reason` says why, `detail` in the system's words."""

    code = "file-problem"
    retry = Retry.LATER
    hint = "Look at the file's permissions and at what writes to it; the rest of the source was saved."

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"file is {reason.value}", detail=detail)
        self.reason = reason
        self.detail = detail


class GrownLarge(FileProblem):
    """A file is not small any more (`chunker.SMALL_FILE_MAX`): the caller opens it instead, and nothing is lost."""

    def __init__(self) -> None:
        super().__init__(Reason.CHANGED, "has grown since it was listed")


class Overwritten(FileProblem):
    """A file became another one while it was read: the caller opens it anew, and nothing is lost."""

    def __init__(self) -> None:
        super().__init__(Reason.UNREADABLE, "is overwritten faster than it can be read")


class SourceUnreachable(RepositoryError):
    """The source as a whole cannot be read."""

    code = "source-unreachable"
    retry = Retry.LATER
    hint = "See that the source exists, is mounted and may be read."


class SourceExcluded(RepositoryError):
    """The source is, or lies within, a folder that is never backed up: the keys, say, or a tier."""

    code = "source-excluded"
    retry = Retry.NEVER
    hint = "Choose a folder outside the folders of the platform, of its tiers, and of those that you excluded."


class SmallFile(NamedTuple):
    """A whole file of at most `chunker.SMALL_FILE_MAX` bytes. `extra` is None where there is nothing to say.

    `body` leaves out the holes of a sparse file. `row` is what was true of the bytes that were read.
    """

    body: bytes
    row: Row
    extra: Extra | None


class SourceFile(Protocol):
    """A file that is being read from start to end."""

    @property
    def head_class(self) -> ContentClass | None:
        """The content class, where the source knows it (by a content type, say)."""
        ...

    def read_into(self, view: memoryview) -> int:
        """The next bytes, holes left out: how many were put into `view`; 0 only at the end.

        Raises `FileProblem`. Releases the GIL.
        """
        ...

    def finish(self) -> tuple[Row, Extra | None]:
        """What was true of the file after the last byte was read; `Flag.CHANGED` if it was not so before. Closes."""
        ...

    def close(self) -> None:
        """Give up; may be called again."""
        ...


class Listing(NamedTuple):
    """Rows of some names, None for those that are gone or cannot be examined.

    `identities` says by what else a version is recognised (an ETag), b"" for a directory; None where
    there are none.
    """

    rows: list[Row | None]
    identities: list[bytes] | None = None


ProblemSink = Callable[[bytes, FileProblem], None]
"""Takes the name of an entry and what is wrong with it."""


ReadAhead = Callable[[Sequence[bytes]], Callable[[], None]]
"""Begins to fetch the small files of these names, and gives what waits until all have come, for `read_small`."""


class SourceDirectory(Protocol):
    """One directory. It is closed when its own entries have been read."""

    @property
    def block_length(self) -> int:
        """Bytes of the pages that files here are written in, for fixed cuts; 0: content-defined cuts."""
        ...

    @property
    def ahead(self) -> "ReadAhead | None":
        """How small files are asked for before they are read; None where a file is there at once."""
        ...

    def names(self) -> list[bytes]:
        """The names of the entries, ascending, each once. Raises `FileProblem`."""
        ...

    def rows(self, names: Sequence[bytes], on_problem: ProblemSink) -> Listing:
        """What the source says of these entries now. Does not follow symlinks."""
        ...

    def enter(self, name: bytes) -> "SourceDirectory":
        """The directory of this name. Raises `FileProblem` (also for loops and what was to be left out)."""
        ...

    def extra(self) -> Extra | None:
        """What the tree keeps of the directory itself beside its row."""
        ...

    def describe(self, name: bytes, row: Row) -> Extra | None:
        """What the tree keeps of an entry that is neither file nor directory. Raises `FileProblem`."""
        ...

    def read_small(self, name: bytes, row: Row) -> SmallFile:
        """A small file at once. Raises `FileProblem`, and `GrownLarge` where it is large by now."""
        ...

    def open(self, name: bytes, row: Row) -> SourceFile:
        """Begin to read a file. Raises `FileProblem`."""
        ...

    def close(self) -> None:
        """Give back what it holds; directories and files that came from it stay usable."""
        ...


class Source(Protocol):
    """What is backed up."""

    def root(self) -> tuple[Row, SourceDirectory]:
        """The root directory. Raises `SourceUnreachable`."""
        ...

    def require(self) -> None:
        """Raise `SourceUnreachable` where the root is not there, or not any more. Cheaper than `root`."""
        ...

    def close(self) -> None:
        """Give back what it holds; it is read no more."""
        ...
