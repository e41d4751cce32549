"""The walker of a backup: goes through the source, recognises what is unchanged, and hands out the rest.

Promise: a file is handed out unless its row (size, times, inode, mode, owner, links) and its identity equal
what the parent snapshot has for the same path, content and all; a page of which this is true as a
whole costs no work per entry. Memory: the pages on the path of the walk, and the names of their directories.
"""

import stat as stat_bits
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from repository.backup.parent_pages import OldEntry, ParentPages
from repository.backup.pipeline import Pipeline
from repository.backup.source import FileProblem, Reason, Source, SourceDirectory, SourceUnreachable
from repository.backup.tasks import LargeFile, SmallFiles, Task
from repository.stored.chunker import SMALL_FILE_MAX
from repository.stored.tree import ROOT_NAME, Extra, Flag, Row, columns_of, page_boundaries
from repository.stored.tree_builder import OpenDirectory, OpenPage

BATCH_FILES: Final = 256
BATCH_BYTES: Final = 2 << 20
BATCH_PARTS: Final = 16
"""Directories in one batch, at most: each keeps a descriptor open until the batch is read."""

_SIZE = itemgetter(3)
_DIRECTORY = stat_bits.S_IFDIR
_FILE = stat_bits.S_IFREG
_SYMLINK = stat_bits.S_IFLNK
_KIND = 0o170000


@dataclass(slots=True)
class WalkCounts:
    """What the walker has met; others read it as a gauge."""

    files: int = 0
    folders: int = 0
    others: int = 0
    bytes: int = 0
    unchanged_files: int = 0
    unchanged_bytes: int = 0
    is_complete: bool = False


class _Visit:
    """One directory on the path of the walk."""

    __slots__ = ("below", "building", "ends", "names", "parent", "path", "source", "start")

    def __init__(
        self, source: SourceDirectory, building: OpenDirectory, names: list[bytes], parent: ParentPages
    ) -> None:
        self.source = source
        self.building = building
        self.path = building.path
        self.names = names
        self.ends = deque(page_boundaries(names))
        self.start = 0
        self.parent = parent
        self.below: deque[tuple[OpenPage, int, ParentPages]] = deque()


class Walker:
    """Walks one source into one pipeline. `check` is called for every page and may raise to cancel."""

    def __init__(
        self,
        source: Source,
        pipeline: Pipeline,
        *,
        parent: ParentPages,
        paranoid: bool,
        use_content: Callable[[bytes, int], bool],
        check: Callable[[], None],
    ) -> None:
        self._source = source
        self._pipeline = pipeline
        self._tree = pipeline.tree
        self._parent = parent
        self._paranoid = paranoid
        self._use_content = use_content
        self._check = check
        self.counts = WalkCounts()
        self._outbox: list[Task] = []
        self._batch = SmallFiles()
        self._batch_files = 0
        self._batch_bytes = 0

    def run(self) -> None:
        """Walk all of it. Raises `SourceUnreachable`, and what the pipeline or `check` raised."""
        row, directory = self._source.root()
        root = self._tree.open_page(None, [ROOT_NAME], [row])
        self._tree.wait_for(root)
        root_parent = self._parent
        root_parent.advance([ROOT_NAME])
        above = root_parent.directory(ROOT_NAME)
        self.counts.folders += 1
        path: list[_Visit] = []
        self._enter(path, directory, root, 0, b"", above)
        if not path:
            raise SourceUnreachable("source cannot be listed", reason=self._pipeline.problems.kept[0].detail)
        self._tree.done(root)
        while path:
            visit = path[-1]
            if visit.below:
                page, number, parent = visit.below.popleft()
                self._descend(path, visit, page, number, parent)
                if not visit.below:
                    self._tree.done(page)
            elif visit.ends:
                self._check()
                with self._pipeline.turn:
                    self._take_page(visit)
                self._send()
            else:
                path.pop()
                self._tree.left(visit.building)
        self._emit()
        self._send()
        self.counts.is_complete = True

    def _descend(self, path: list[_Visit], visit: _Visit, page: OpenPage, number: int, parent: ParentPages) -> None:
        name = page.names[number]
        try:
            directory = visit.source.enter(name)
        except FileProblem as problem:
            self._problem(page, number, problem)
            if problem.reason is Reason.VANISHED:
                page.rows[number] = None
            else:
                left_out = problem.reason in (Reason.LOOP, Reason.OTHER_FILE_SYSTEM)
                page.extras[number] = Extra(flags=int(Flag.NOT_ENTERED if left_out else Flag.UNREADABLE))
            self._tree.done(page)
            return
        self._enter(path, directory, page, number, page.path_of(number), parent)

    def _enter(
        self,
        path: list[_Visit],
        directory: SourceDirectory,
        page: OpenPage,
        number: int,
        own_path: bytes,
        parent: ParentPages,
    ) -> None:
        try:
            extra = directory.extra()
            names = directory.names()
        except FileProblem as problem:
            directory.close()
            self._problem(page, number, problem)
            page.extras[number] = Extra(flags=int(Flag.UNREADABLE))
            self._tree.done(page)
            return
        building = OpenDirectory(page, number, directory, own_path, self._pipeline.extra_kept(extra))
        path.append(_Visit(directory, building, names, parent))

    def _problem(self, page: OpenPage, number: int, problem: FileProblem) -> None:
        self._pipeline.problems.add_entry(page, number, problem)

    def _take_page(self, visit: _Visit) -> None:
        """Examine the next page of a directory and hand out what is new."""
        start, end = visit.start, visit.ends.popleft()
        visit.start = end
        names = visit.names[start:end]
        listing = visit.source.rows(
            names, lambda name, problem: self._pipeline.problems.add(_joined(visit.path, name), problem)
        )
        rows = listing.rows
        if None in rows:
            names = [name for name, row in zip(names, rows, strict=True) if row is not None]
        known: list[Row] = [row for row in rows if row is not None]
        identities = listing.identities
        if identities is not None and len(known) != len(rows):
            identities = [one for one, row in zip(identities, rows, strict=True) if row is not None]
        columns = columns_of(known)
        page = self._tree.open_page(visit.building, names, list(known))
        old = visit.parent.advance(names)
        if old is not None and old.page.columns == columns and identities is None and not self._paranoid:
            page.reused = (old.id, old.page)
            if self._is_settled(old.plain_files, known, page):
                return
        self._take_entries(visit, page, known, identities)

    def _is_settled(self, plain_files: bool, rows: list[Row], page: OpenPage) -> bool:
        """Take over a page of nothing but unchanged files with content; False where there is more to it."""
        if not plain_files or page.reused is None:
            return False
        old = page.reused[1]
        if not self._use_content(b"".join(content for content in old.contents if content), 0):
            return False
        page.contents = old.contents
        counts = self.counts
        size = sum(map(_SIZE, rows))
        counts.files += len(rows)
        counts.bytes += size
        counts.unchanged_files += len(rows)
        counts.unchanged_bytes += size
        self._tree.done(page)
        return True

    def _take_entries(self, visit: _Visit, page: OpenPage, rows: list[Row], identities: list[bytes] | None) -> None:
        counts = self.counts
        small: list[int] = []
        is_small = not visit.source.block_length
        is_new = self._paranoid or visit.parent.is_empty
        unchanged = {} if is_new else self._unchanged(visit, page, rows, identities)
        for number, row in enumerate(rows):
            kind = row[0] & _KIND
            if kind == _DIRECTORY:
                counts.folders += 1
                self._tree.wait_for(page)
                visit.below.append((page, number, visit.parent.directory(page.names[number])))
                continue
            if kind == _FILE:
                counts.files += 1
                counts.bytes += max(row[3], 0)
            else:
                counts.others += 1
            if kind not in (_FILE, _SYMLINK):
                self._problem(page, number, FileProblem(Reason.SPECIAL))
            if number in unchanged:
                self._take_over(page, number, row, unchanged[number])
                continue
            if kind != _FILE:
                self._describe(visit, page, number, row)
                continue
            if row[7] > 1:
                self._tree.wait_for(page)
                if not self._pipeline.links.is_first(visit.source, page, number, row):
                    continue
                self._tree.done(page)
            if 0 <= row[3] <= SMALL_FILE_MAX and is_small:
                small.append(number)
            else:
                self._tree.wait_for(page)
                self._outbox.append(LargeFile(visit.source, page, number))
        if small:
            self._tree.wait_for(page, len(small))
            self._hand_out(visit, page, small, rows)
        if not visit.below:
            self._tree.done(page)

    def _unchanged(
        self, visit: _Visit, page: OpenPage, rows: list[Row], identities: list[bytes] | None
    ) -> dict[int, OldEntry]:
        """What the parent has of the entries that are as they were, and whose content is there for sure.

        A page's contents are looked up together, and one by one only where one of them is not there.
        """
        find = visit.parent.find
        found = {
            number: old
            for number, row in enumerate(rows)
            if row[0] & _KIND != _DIRECTORY
            and (old := find(page.names[number])) is not None
            and _is_as_before(old, row, None if identities is None else identities[number])
        }
        plain = [old.content for old in found.values() if old.content and (old.extra is None or not old.extra.depth)]
        are_there = self._use_content(b"".join(plain), 0)
        return {number: old for number, old in found.items() if self._is_there(old, are_plain_there=are_there)}

    def _is_there(self, old: OldEntry, *, are_plain_there: bool) -> bool:
        extra = old.extra
        depth = extra.depth if extra is not None else 0
        if old.content and (depth or not are_plain_there) and not self._use_content(old.content, depth):
            return False
        return extra is None or not extra.xattrs_chunk or self._use_content(extra.xattrs_chunk, 0)

    def _take_over(self, page: OpenPage, number: int, row: Row, old: OldEntry) -> None:
        if old.extra is not None:
            page.extras[number] = old.extra
        if row[0] & _KIND == _FILE:
            self.counts.unchanged_files += 1
            self.counts.unchanged_bytes += row[3]
        page.contents[number] = old.content

    def _describe(self, visit: _Visit, page: OpenPage, number: int, row: Row) -> None:
        try:
            extra = visit.source.describe(page.names[number], row)
        except FileProblem as problem:
            self._problem(page, number, problem)
            if problem.reason is Reason.VANISHED:
                page.rows[number] = None
            else:
                page.extras[number] = Extra(flags=int(Flag.UNREADABLE))
            return
        kept = self._pipeline.extra_kept(extra)
        if kept is not None:
            page.extras[number] = kept

    def _hand_out(self, visit: _Visit, page: OpenPage, numbers: list[int], rows: list[Row]) -> None:
        """Put small files into the batch, and the batch into the queue whenever it is full."""
        start = 0
        for position, number in enumerate(numbers, 1):
            self._batch_files += 1
            self._batch_bytes += rows[number][3]
            if self._batch_files >= BATCH_FILES or self._batch_bytes >= BATCH_BYTES:
                self._batch.parts.append((visit.source, page, numbers[start:position]))
                self._emit()
                start = position
        if start < len(numbers):
            self._batch.parts.append((visit.source, page, numbers[start:]))
            if len(self._batch.parts) >= BATCH_PARTS:
                self._emit()

    def _emit(self) -> None:
        if self._batch.parts:
            self._outbox.append(self._batch)
            self._batch = SmallFiles()
        self._batch_files = 0
        self._batch_bytes = 0

    def _send(self) -> None:
        """Put what was found into the queue: apart, because that may have to wait for those who wait for the turn."""
        for task in self._outbox:
            self._pipeline.queue.put(task)
        self._outbox.clear()


def _is_as_before(old: OldEntry, row: Row, identity: bytes | None) -> bool:
    """Whether the parent's entry tells that nothing has changed. `identity`: where the source knows contents by it."""
    if old.row != row:
        return False
    extra = old.extra
    if extra is not None and (extra.flags & (Flag.UNREADABLE | Flag.CHANGED) or (extra.identity and identity is None)):
        return False
    if identity is not None and identity != (extra.identity if extra is not None else b""):
        return False
    return row[0] & _KIND != _FILE or (old.content is not None and (row[5] != 0 or identity is not None))


def _joined(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name
