"""A source in memory that passes for any kind: files, streams of unknown length, objects of a bucket, failures."""

import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from repository.backup.source import FileProblem, Listing, ProblemSink, ReadAhead, Reason, SmallFile
from repository.format import ContentClass
from repository.stored.tree import Extra, Flag, Row


@dataclass
class MemoryFile:
    """One file. `known_length` False: its row says -1, as of a stream. `problem` is raised when it is read.

    `cut_after`: bytes after which reading fails, with `cut_problem`. `on_read` is called before it is read.
    """

    body: bytes = b""
    mtime_ns: int = 1_000
    inode: int = 1
    links: int = 1
    known_length: bool = True
    identity: bytes = b""
    extra: Extra | None = None
    content_class: ContentClass | None = None
    problem: FileProblem | None = None
    cut_after: int | None = None
    cut_problem: FileProblem = field(default_factory=lambda: FileProblem(Reason.UNREADABLE, "EIO"))
    changes_row: Row | None = None
    on_read: Callable[[], None] = lambda: None
    reads: int = 0

    @property
    def row(self) -> Row:
        """What a listing says."""
        size = len(self.body) if self.known_length else -1
        return (stat.S_IFREG | 0o644, 1, 2, size, self.mtime_ns, self.mtime_ns, self.inode, self.links, 0)

    @property
    def final_row(self) -> Row:
        """What is true after reading."""
        if self.changes_row is not None:
            return self.changes_row
        return (*self.row[:3], len(self.body), *self.row[4:])


@dataclass
class MemoryFolder:
    """A folder. `is_gone`, `problem`: entering it fails; `listing_problem`: listing it does."""

    entries: dict[bytes, "MemoryFile | MemoryFolder | MemorySpecial"] = field(default_factory=dict)
    problem: FileProblem | None = None
    listing_problem: FileProblem | None = None
    block_length: int = 0
    extra: Extra | None = None

    row: Row = (stat.S_IFDIR | 0o755, 1, 2, 0, 500, 500, 9, 1, 0)


@dataclass
class MemorySpecial:
    """A symlink, or anything that is not read."""

    mode: int = stat.S_IFLNK | 0o777
    extra: Extra | None = None
    problem: FileProblem | None = None

    @property
    def row(self) -> Row:
        """What a listing says."""
        return (self.mode, 1, 2, 0, 600, 600, 8, 1, 0)


class MemorySource:
    """The tree below `folder`. `has_identities`: rows come with them, as a bucket's ETags do."""

    def __init__(self, folder: MemoryFolder, *, has_identities: bool = False) -> None:
        self.folder = folder
        self.has_identities = has_identities
        self.unlisted: set[bytes] = set()
        self.open_directories = 0

    def require(self) -> None:
        """See `Source.require`."""

    def close(self) -> None:
        """See `Source.close`."""

    def root(self) -> tuple[Row, "_Directory"]:
        """See `Source.root`."""
        return self.folder.row, _Directory(self, self.folder)


class _Directory:
    ahead: ReadAhead | None = None

    def __init__(self, source: MemorySource, folder: MemoryFolder) -> None:
        self._source = source
        self._folder = folder
        self.block_length = folder.block_length
        self._is_open = True
        source.open_directories += 1

    def names(self) -> list[bytes]:
        if self._folder.listing_problem is not None:
            raise self._folder.listing_problem
        return sorted(self._folder.entries)

    def rows(self, names: Sequence[bytes], on_problem: ProblemSink) -> Listing:
        rows: list[Row | None] = []
        identities = []
        for name in names:
            entry = self._folder.entries[name]
            if name in self._source.unlisted:
                on_problem(name, FileProblem(Reason.VANISHED, "ENOENT"))
                rows.append(None)
            else:
                rows.append(entry.row)
            identities.append(entry.identity if isinstance(entry, MemoryFile) else b"")
        return Listing(rows, identities if self._source.has_identities else None)

    def enter(self, name: bytes) -> "_Directory":
        folder = self._folder.entries[name]
        assert isinstance(folder, MemoryFolder)
        if folder.problem is not None:
            raise folder.problem
        return _Directory(self._source, folder)

    def extra(self) -> Extra | None:
        return self._folder.extra

    def describe(self, name: bytes, row: Row) -> Extra | None:
        entry = self._folder.entries[name]
        assert isinstance(entry, MemorySpecial)
        assert entry.row == row
        if entry.problem is not None:
            raise entry.problem
        return entry.extra

    def read_small(self, name: bytes, row: Row) -> SmallFile:
        file = self._file(name)
        if file.cut_after is not None:
            raise FileProblem(Reason.UNREADABLE, "EIO")
        return SmallFile(file.body, row if file.final_row == row else file.final_row, _kept_extra(file))

    def open(self, name: bytes, row: Row) -> "_File":
        assert row[0] == stat.S_IFREG | 0o644
        return _File(self._file(name))

    def _file(self, name: bytes) -> MemoryFile:
        file = self._folder.entries[name]
        assert isinstance(file, MemoryFile)
        file.reads += 1
        file.on_read()
        if file.problem is not None:
            raise file.problem
        return file

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._source.open_directories -= 1


class _File:
    def __init__(self, file: MemoryFile) -> None:
        self._file = file
        self._at = 0
        self.head_class = file.content_class

    def read_into(self, view: memoryview) -> int:
        body, cut = self._file.body, self._file.cut_after
        if cut is not None and self._at >= cut:
            raise self._file.cut_problem
        end = len(body) if cut is None else cut
        piece = body[self._at : min(end, self._at + len(view))]
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def finish(self) -> tuple[Row, Extra | None]:
        self.close()
        return self._file.final_row, _kept_extra(self._file)

    def close(self) -> None:
        self._at = len(self._file.body)


def _kept_extra(file: MemoryFile) -> Extra | None:
    from msgspec.structs import replace

    extra = file.extra
    if file.identity:
        extra = replace(extra or Extra(), identity=file.identity)
    if file.changes_row is not None:
        extra = replace(extra or Extra(), flags=int(Flag.CHANGED))
    return extra
