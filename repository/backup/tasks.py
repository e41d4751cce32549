"""The pieces of work of a backup, as they go from the walker through the queue to the workers."""

import threading

from repository.backup.source import FileProblem, SourceDirectory, SourceFile
from repository.format import ContentClass
from repository.stored.chunker import Cutter
from repository.stored.tree import ContentList
from repository.stored.tree_builder import OpenPage


class SmallFiles:
    """A batch of small files: for each page, the numbers of its entries."""

    __slots__ = ("parts",)

    def __init__(self) -> None:
        self.parts: list[tuple[SourceDirectory, OpenPage, list[int]]] = []


class LargeFile:
    """A file (or anything of unknown length) that is not open yet. `readings`: how often it was begun in vain."""

    __slots__ = ("directory", "number", "page", "readings")

    def __init__(self, directory: SourceDirectory, page: OpenPage, number: int) -> None:
        self.directory = directory
        self.page = page
        self.number = number
        self.readings = 0


class FileStream:
    """An open large file between two blocks. One worker reads at a time; blocks may be finished in any order."""

    def __init__(self, task: LargeFile, file: SourceFile, cutter: Cutter, contents: ContentList) -> None:
        self.task = task
        self.file = file
        self.cutter = cutter
        self.tail = b""
        self.content_class: ContentClass | None = None
        self.blocks_read = 0
        self.is_read = False
        self.failure: FileProblem | None = None
        self._contents = contents
        self._lock = threading.Lock()
        self._finished: dict[int, bytes] = {}
        self._blocks_in_order = 0

    def block_read(self, *, is_last: bool) -> int:
        """Count a block that has been read and cut; returns its number.

        The count and `is_read` change together: between the two, a worker that finishes the block before
        would take the file for complete without its last block.
        """
        with self._lock:
            number = self.blocks_read
            self.blocks_read += 1
            self.is_read = is_last
            return number

    def block_done(self, number: int, ids: bytes) -> bool:
        """Take the ids of a block; True for the caller that completes the file."""
        with self._lock:
            self._finished[number] = ids
            while (ready := self._finished.pop(self._blocks_in_order, None)) is not None:
                self._contents.extend(ready)
                self._blocks_in_order += 1
            return self.is_read and self._blocks_in_order == self.blocks_read

    def content(self) -> tuple[bytes, int]:
        """The ids for the entry and the levels of lists below them."""
        return self._contents.finish()


Task = SmallFiles | LargeFile | FileStream
