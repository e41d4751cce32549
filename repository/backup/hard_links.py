"""Hard links during a backup: of several names of one file only the first is read.

Promise: all names of a file get the same content; if reading the first name fails, the next one is read.
Names count as one file's while their rows are equal, times included: a number that the file system gave to another
file meanwhile, or a file that was written to between two listings, is another one and is read for itself.
Memory: one record for each file that has names that were not met yet.
"""

import threading
from dataclasses import dataclass, field

from repository.backup.source import SourceDirectory
from repository.stored.tree import Extra, Row
from repository.stored.tree_builder import OpenPage, TreeBuilder

Waiting = tuple[SourceDirectory, OpenPage, int]


@dataclass(slots=True)
class _Links:
    names_left: int
    row: Row | None = None
    content: bytes = b""
    extra: Extra | None = None
    waiting: list[Waiting] = field(default_factory=list)


class HardLinks:
    """The files with several names that a backup has met. Thread-safe."""

    def __init__(self, tree: TreeBuilder) -> None:
        self._tree = tree
        self._lock = threading.Lock()
        self.names_filled = 0
        self.bytes_filled = 0
        self._files: dict[Row, _Links] = {}

    def is_first(self, directory: SourceDirectory, page: OpenPage, number: int, row: Row) -> bool:
        """Whether the caller has to read this name. If not, the page will get what the first name gives.

        The page already waits for this entry.
        """
        with self._lock:
            links = self._files.get(row)
            if links is None:
                self._files[row] = _Links(row[7] - 1)
                return True
            links.names_left -= 1
            if links.row is None:
                links.waiting.append((directory, page, number))
                return False
            if links.names_left <= 0:
                del self._files[row]
        self._fill((directory, page, number), links.row, links.content, links.extra)
        return False

    def resolve(self, listed: Row, row: Row, content: bytes, extra: Extra | None) -> None:
        """The first name, of which `listed` was said, was read; `row` is what was true then."""
        with self._lock:
            links = self._files.get(listed)
            if links is None:
                return
            links.row, links.content, links.extra = row, content, extra
            waiting, links.waiting = links.waiting, []
            if links.names_left <= 0:
                del self._files[listed]
        for one in waiting:
            self._fill(one, row, content, extra)

    def abandon(self, listed: Row) -> Waiting | None:
        """The first name could not be read: the name to try instead, if one waits."""
        with self._lock:
            links = self._files.get(listed)
            if links is not None and links.waiting:
                return links.waiting.pop(0)
            self._files.pop(listed, None)
        return None

    def _fill(self, waiting: Waiting, row: Row, content: bytes, extra: Extra | None) -> None:
        _directory, page, number = waiting
        page.rows[number] = row
        page.contents[number] = content
        if extra is not None:
            page.extras[number] = extra
        with self._lock:
            self.names_filled += 1
            self.bytes_filled += row[3]
        self._tree.done(page)
