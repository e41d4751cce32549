"""Several folders and files as one source: the tree has each at its own absolute path.

Promise: what lies beside them is not looked at. The folders on the way to them are kept with their own attributes; a
link on the way, or at the end of a path, is followed, as it is where one path is the source. One that is not there is
told as an entry that is missing, and the rest is saved; a source of which nothing is there is none. A path below
another one is part of that one's tree; where it would not be, it is refused. Of the paths that a program has listed,
a link is a link, and what is neither folder nor file is kept as what it is, as it is within a folder.
"""

import errno
import os
import stat as stat_bits
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from repository.backup.source import (
    FileProblem,
    Listing,
    ProblemSink,
    ReadAhead,
    Reason,
    SmallFile,
    SourceDirectory,
    SourceExcluded,
    SourceFile,
    SourceUnreachable,
)
from repository.errors import LocationInvalid
from repository.stored.tree import Extra, Flag, Row
from sources.attributes import problem_of, row_of, xattrs_of
from sources.descriptors import OpenFolder
from sources.directory import Devices, DirectorySource
from sources.exclusion import Identity
from sources.patterns import Patterns


class _Entry(NamedTuple):
    """An entry of a folder that is no folder, and is kept as it is."""

    folder: DirectorySource
    name: bytes


_Below: TypeAlias = "dict[bytes, _Below | DirectorySource | _Entry]"
"""What lies below a folder that is on the way: others, and what was asked for."""


class SeveralSources:
    """What lies at these absolute paths. `listed`: those of them whose links are kept, not followed. `patterns_of`:
    what is left out below a path. Raises `LocationInvalid`, `SourceExcluded`.
    """

    def __init__(
        self,
        paths: Iterable[bytes],
        *,
        listed: Collection[bytes] = (),
        excluded: Iterable[bytes | str] = (),
        one_file_system: bool = False,
        patterns_of: Callable[[bytes], Patterns | None] = lambda _path: None,
    ) -> None:
        self.devices = Devices()
        self.paths: list[bytes] = []
        left_out = list(excluded)
        outer: dict[bytes, Patterns | None] = {}
        entered: dict[bytes, set[Identity]] = {}
        for path in sorted(map(os.path.normpath, paths), key=lambda path: path.split(b"/")):
            above = next((each for each in reversed(self.paths) if _is_below(path, each)), None)
            if above is None:
                self.paths.append(path)
                outer[path], entered[path] = patterns_of(path), set()
            elif path != above:
                entered[above].add(_part_of(path, above, outer[above], is_link_kept=path in listed))
        self.below: _Below = {}
        for path in self.paths:
            is_kept = path in listed and _is_special(path)
            source = DirectorySource(
                os.path.dirname(path) if is_kept else path,
                excluded=left_out,
                one_file_system=one_file_system,
                patterns=outer[path],
                devices=self.devices,
                entered=frozenset(entered[path]),
            )
            self._add(path, _Entry(source, os.path.basename(path)) if is_kept else source)

    def _add(self, path: bytes, source: DirectorySource | _Entry) -> None:
        *folders, name = filter(None, path.split(b"/"))
        below = self.below
        for folder in folders:
            found = below.setdefault(folder, {})
            assert isinstance(found, dict)  # noqa: S101 - what lies below another path was left to that one
            below = found
        below[name] = source

    def require(self) -> None:
        """See `Source.require`."""
        if not any(os.path.lexists(path) for path in self.paths):
            raise SourceUnreachable("none of the paths is there", reason="ENOENT", paths=len(self.paths))

    def close(self) -> None:
        """See `Source.close`."""

    def root(self) -> tuple[Row, SourceDirectory]:
        """See `Source.root`."""
        self.require()
        return row_of(os.stat(b"/"), self.devices.number(os.stat(b"/").st_dev)), _Way(self, b"/", self.below)


def _is_below(path: bytes, other: bytes) -> bool:
    return (path + b"/").startswith(other.rstrip(b"/") + b"/")


def _is_special(path: bytes) -> bool:
    """Whether it is neither folder nor file, nor absent."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return not (stat_bits.S_ISDIR(mode) or stat_bits.S_ISREG(mode))


def _part_of(path: bytes, above: bytes, patterns: Patterns | None, *, is_link_kept: bool) -> Identity:
    """Device and inode of a path that lies below another one. Raises where that one's tree would not have it."""
    relative = os.path.relpath(path, above)
    folder, name = os.path.split(path)
    real = os.path.join(os.path.realpath(folder), name) if is_link_kept else os.path.realpath(path)
    if real != os.path.join(os.path.realpath(above), relative):
        raise LocationInvalid(
            "a path lies below another one, and is a link, or behind one, that leads elsewhere",
            hint="Give what it leads to, or back it up by itself.",
            path=os.fsdecode(path),
        )
    names = relative.split(b"/")
    for count in range(1, len(names) + 1):
        part = b"/".join(names[:count])
        if patterns and patterns.leave_out(part, is_folder=os.path.isdir(os.path.join(above, part))):
            raise SourceExcluded("a path is left out by a pattern", path=os.fsdecode(path))
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0  # it is told when it is read, unless it is there by then
    return status.st_dev, status.st_ino


def _row_of(directory: SourceDirectory, names: list[bytes]) -> Row:
    """The row of one entry of a folder. Raises `FileProblem`."""
    problems: list[FileProblem] = []
    try:
        listing = directory.rows(names, lambda _name, problem: problems.append(problem))
    except SourceExcluded as error:
        raise FileProblem(Reason.EXCLUDED) from error
    if not listing.rows or listing.rows[0] is None:
        raise next(iter(problems), FileProblem(Reason.VANISHED, "ENOENT"))
    return listing.rows[0]


class _Way:
    """A folder on the way to what was asked for. See `SourceDirectory`."""

    ahead: ReadAhead | None = None
    block_length = 0

    def __init__(self, source: SeveralSources, path: bytes, below: _Below) -> None:
        self._source = source
        self._path = path
        self._below = below

    def names(self) -> list[bytes]:
        """See `SourceDirectory.names`."""
        return sorted(self._below)

    def rows(self, names: Sequence[bytes], on_problem: ProblemSink) -> Listing:
        """See `SourceDirectory.rows`. What cannot be opened is told here: it was asked for by its name."""
        rows: list[Row | None] = []
        for name in names:
            try:
                rows.append(self._row(name))
            except FileProblem as problem:
                on_problem(name, problem)
                rows.append(None)
        return Listing(rows)

    def _row(self, name: bytes) -> Row:
        below = self._below[name]
        if isinstance(below, dict):
            try:
                status = os.stat(os.path.join(self._path, name))
            except OSError as error:
                raise problem_of(error) from error
            return row_of(status, self._source.devices.number(status.st_dev))
        try:
            row, directory = (below.folder if isinstance(below, _Entry) else below).root()
        except SourceUnreachable as error:
            reason = str(error.context.get("reason", ""))
            gone = reason in {errno.errorcode[errno.ENOENT], errno.errorcode[errno.ENOTDIR]}
            raise FileProblem(Reason.VANISHED if gone else Reason.UNREADABLE, reason) from error
        except SourceExcluded as error:
            raise FileProblem(Reason.EXCLUDED) from error
        try:
            if isinstance(below, _Entry):
                return _row_of(directory, [below.name])
            return _row_of(directory, directory.names()) if directory.is_of_one_file else row
        finally:
            directory.close()

    def enter(self, name: bytes) -> SourceDirectory:
        """See `SourceDirectory.enter`."""
        below = self._below[name]
        if isinstance(below, dict):
            return _Way(self._source, os.path.join(self._path, name), below)
        if isinstance(below, _Entry):
            raise FileProblem(Reason.CHANGED, "is a folder now")
        try:
            return below.root()[1]
        except (SourceUnreachable, SourceExcluded) as error:
            raise FileProblem(Reason.UNREADABLE, str(error.context.get("reason", error.message))) from error

    def extra(self) -> Extra | None:
        """See `SourceDirectory.extra`. What lies beside the way was not asked for."""
        xattrs: tuple[tuple[bytes, bytes], ...] = ()
        try:
            xattrs = xattrs_of(b"/proc/self/fd/%d/." % (folder := OpenFolder(self._path)).fd)
            del folder
        except OSError as error:
            raise problem_of(error) from error
        return Extra(xattrs=xattrs, flags=int(Flag.NOT_ENTERED))

    def describe(self, name: bytes, row: Row) -> Extra | None:
        """See `SourceDirectory.describe`."""
        below = self._below[name]
        if not isinstance(below, _Entry):
            raise FileProblem(Reason.CHANGED, "is neither folder nor file any more")
        try:
            return below.folder.root()[1].describe(below.name, row)
        except (SourceUnreachable, SourceExcluded) as error:
            raise FileProblem(Reason.VANISHED, str(error.context.get("reason", ""))) from error

    def read_small(self, name: bytes, row: Row) -> SmallFile:
        """See `SourceDirectory.read_small`."""
        directory, own = self._file(name)
        return directory.read_small(own, row)

    def open(self, name: bytes, row: Row) -> SourceFile:
        """See `SourceDirectory.open`."""
        directory, own = self._file(name)
        return directory.open(own, row)

    def _file(self, name: bytes) -> tuple[SourceDirectory, bytes]:
        """The folder of a file that was asked for, and its name there: the path may be a link."""
        below = self._below[name]
        assert isinstance(below, DirectorySource)  # noqa: S101 - a folder on the way is no file
        try:
            directory = below.root()[1]
        except (SourceUnreachable, SourceExcluded) as error:
            raise FileProblem(Reason.VANISHED, str(error.context.get("reason", ""))) from error
        names = directory.names()
        if not directory.is_of_one_file or not names:
            raise FileProblem(Reason.CHANGED, "is no file any more")
        return directory, names[0]

    def close(self) -> None:
        """See `SourceDirectory.close`."""
