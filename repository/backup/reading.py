"""What the threads of a backup's reading half share: the queue, the open pages, links, problems and counts.

Promise: a file that was read, or could not be, is in its page, and what it changes for others is done.
"""

import threading
from collections.abc import Callable
from typing import Final

from repository.backup.hard_links import HardLinks
from repository.backup.problems import ProblemLog
from repository.backup.session import ChunkSession, FrameCompressor
from repository.backup.source import FileProblem, Reason
from repository.backup.tasks import LargeFile, Task
from repository.backup.work_queue import WorkQueue
from repository.stored.chunker import ChunkerParameters, chunker_seed
from repository.stored.memory_budget import SharePool
from repository.stored.tree import INLINE_XATTRS_MAX, Extra, Flag, Row, encode_xattrs
from repository.stored.tree_builder import OpenPage, TreeBuilder

BLOCK_LENGTH: Final = 8 << 20
"""Bytes that are read and cut at a time."""


class Reading:
    """Queue and shared state of one backup's reading half. `check` may raise to end it."""

    def __init__(
        self,
        session: ChunkSession,
        tree: TreeBuilder,
        problems: ProblemLog,
        *,
        workers: int,
        blocks: SharePool,
        parameters: ChunkerParameters,
        compressor: FrameCompressor,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.session = session
        self.check = check
        self.tree = tree
        self.problems = problems
        self.compressor = compressor
        self.queue: WorkQueue[Task] = WorkQueue(4 * workers)
        self.links = HardLinks(tree)
        self.parameters = parameters
        self.seed = chunker_seed(session.keys)
        self.blocks = blocks
        """Buffers of `BLOCK_LENGTH` and the longest chunk."""
        self.size_changes = 0
        """Bytes by which files turned out longer (or shorter, or unreadable) than the walker was told."""
        self.files_lost = 0
        """Files that the walker has counted and of which nothing was saved."""
        self._lock = threading.Lock()
        self.turn = threading.Lock()
        """Held by who goes through many small steps. Two such threads take the interpreter from each other at every
        system call, and both take several times as long; one alone leaves it to the threads with long native calls."""

    def fail(self, error: BaseException) -> None:
        """End all threads with this error."""
        self.queue.fail(error)
        self.blocks.fail(error)

    def complete(self, page: OpenPage, number: int, row: Row, content: bytes, extra: Extra | None) -> None:
        """A file has been read: put it into its page."""
        if extra is not None:
            if extra.flags & Flag.CHANGED:
                self.problems.add_entry(page, number, FileProblem(Reason.CHANGED))
            extra = self.extra_kept(extra)
        listed = page.rows[number]
        if listed is not None and listed[7] > 1:
            if (row[6], row[8]) == (listed[6], listed[8]):
                self.links.resolve(listed, row, content, extra)
            else:
                # The name had been given to another file: the names that wait are still those of the first one.
                self._read_another_name(listed)
        self._note_size(listed, row[3])
        page.rows[number] = row
        page.contents[number] = content
        if extra is not None:
            page.extras[number] = extra
        self.tree.done(page)

    def give_up(self, page: OpenPage, number: int, problem: FileProblem) -> None:
        """A file could not be read: record it, and keep its entry unless it is gone."""
        self.problems.add_entry(page, number, problem)
        row = page.rows[number]
        if row is not None and row[7] > 1:
            self._read_another_name(row)
        self._note_size(row, 0)
        with self._lock:
            self.files_lost += 1
        if problem.reason is Reason.VANISHED:
            page.rows[number] = None
        else:
            page.extras[number] = Extra(flags=int(Flag.UNREADABLE))
        self.tree.done(page)

    def _read_another_name(self, listed: Row) -> None:
        instead = self.links.abandon(listed)
        if instead is not None:
            self.queue.put_first(LargeFile(*instead))

    def _note_size(self, announced: Row | None, size: int) -> None:
        change = size - max(announced[3], 0) if announced is not None else size
        if change:
            with self._lock:
                self.size_changes += change

    def extra_kept(self, extra: Extra | None) -> Extra | None:
        """The extra as it goes into a page: many extended attributes become a chunk of their own."""
        if extra is None or not extra.xattrs:
            return extra
        if sum(len(name) + len(value) for name, value in extra.xattrs) <= INLINE_XATTRS_MAX:
            return extra
        from msgspec.structs import replace

        return replace(extra, xattrs=(), xattrs_chunk=self.session.store_tree_chunk(encode_xattrs(extra.xattrs)))
