"""The workers of a backup: read → cut → identify → deduplicate → compress → encrypt.

Promise: everything that the walker hands over is read once, and its page is told; what concerns one file
alone ends up in the problems, never in an exception. Native calls on big buffers do the work and release
the GIL; Python touches chunks and batches, never bytes.

A large file is a *stream*: a worker reads and cuts the next block, lets go of the stream so that another
worker may go on with it, and works on the chunks of its block. Small files come in batches.
"""

import threading
from collections.abc import Callable
from typing import Final

from blake3 import blake3

from repository.buffers import BoundedPool
from repository.chunker import ChunkerParameters, Cutter, FastCdcCutter, FixedCutter, chunker_seed
from repository.compression import Compressor, class_of_content, class_of_name
from repository.format import ContentClass
from repository.hard_links import HardLinks
from repository.problems import ProblemLog
from repository.session import ChunkSession, ClassCount, FrameGatherer, new_counts
from repository.source import FileProblem, GrownLarge, Reason, SourceDirectory, SourceFile
from repository.tree import INLINE_XATTRS_MAX, ContentList, Extra, Flag, Row, encode_xattrs
from repository.tree_builder import OpenPage, TreeBuilder
from repository.work_queue import WorkQueue

BLOCK_LENGTH: Final = 8 << 20
"""Bytes that are read and cut at a time."""
OWN_FRAME_FROM: Final = 128 << 10
"""Bytes from which on a chunk is a frame of its own."""
HEAD_LENGTH: Final = 512
"""Bytes at the start of a file that its class is judged by."""


class SmallFiles:
    """A batch of small files: for each page, the numbers of its entries."""

    __slots__ = ("parts",)

    def __init__(self) -> None:
        self.parts: list[tuple[SourceDirectory, OpenPage, list[int]]] = []


class LargeFile:
    """A file (or anything of unknown length) that is not open yet."""

    __slots__ = ("directory", "number", "page")

    def __init__(self, directory: SourceDirectory, page: OpenPage, number: int) -> None:
        self.directory = directory
        self.page = page
        self.number = number


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


class Pipeline:
    """Threads, queue and shared state of one backup's reading half. `check` may raise to end it."""

    def __init__(
        self,
        session: ChunkSession,
        tree: TreeBuilder,
        problems: ProblemLog,
        *,
        workers: int,
        parameters: ChunkerParameters,
        levels: dict[ContentClass, int] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.session = session
        self.check = check
        self.tree = tree
        self.problems = problems
        self.levels = levels
        self.queue: WorkQueue[Task] = WorkQueue(4 * workers)
        self.links = HardLinks(tree)
        self.parameters = parameters
        self.seed = chunker_seed(session.keys)
        self.blocks = BoundedPool(workers + 1, BLOCK_LENGTH + parameters.maximum)
        self.size_changes = 0
        """Bytes by which files turned out longer (or shorter, or unreadable) than the walker was told."""
        self._lock = threading.Lock()
        self.turn = threading.Lock()
        """Held by who goes through many small steps. Two such threads take the interpreter from each other at every
        system call, and both take several times as long; one alone leaves it to the threads with long native calls."""
        self.workers = [Worker(self) for _ in range(workers)]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the workers."""
        for number, worker in enumerate(self.workers):
            thread = threading.Thread(target=self._run, args=(worker,), name=f"backup-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def finish(self) -> None:
        """No new work will come: wait until everything is done. Raises what failed."""
        self.queue.close()
        self.join()
        if self.queue.error is not None:
            raise self.queue.error

    def fail(self, error: BaseException) -> None:
        """End all threads with this error."""
        self.queue.fail(error)
        self.blocks.close(error)

    def join(self) -> None:
        """Wait for the threads to end."""
        for thread in self._threads:
            thread.join()

    def counts(self) -> list[ClassCount]:
        """The counts of all workers and of the tree, summed up, by class."""
        total = new_counts()
        for counts in (*(worker.counts for worker in self.workers), self.session.tree_counts):
            for sum_, count in zip(total, counts, strict=True):
                sum_.add(count)
        return total

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

    def _run(self, worker: "Worker") -> None:
        try:
            while (task := self.queue.get()) is not None:
                worker.do(task)
                self.queue.task_done()
            worker.flush()
        except BaseException as error:  # noqa: BLE001 - whatever it was, it ends the backup on all threads
            self.fail(error)


class Worker:
    """One thread's compressors, buffers and counts."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._session = pipeline.session
        self._compressor = Compressor(pipeline.levels)
        self._cdc = FastCdcCutter(pipeline.parameters, pipeline.seed)
        self.counts = new_counts()
        self.files_done = 0
        self.bytes_done = 0
        self._gatherers = [
            FrameGatherer(self._session.data, self._compressor, content_class, self.counts[content_class])
            for content_class in ContentClass
        ]

    def do(self, task: Task) -> None:
        """One piece of work. Raises what `check` raises: a cancellation."""
        self._pipeline.check()
        if isinstance(task, SmallFiles):
            with self._pipeline.turn:
                for directory, page, numbers in task.parts:
                    self._read_small(directory, page, numbers)
            for gatherer in self._gatherers:
                gatherer.write_full()
        elif isinstance(task, FileStream):
            self._read_block(task)
        else:
            self._open(task)

    def flush(self) -> None:
        """Store what was gathered for shared frames."""
        for gatherer in self._gatherers:
            gatherer.flush()

    def _read_small(self, directory: SourceDirectory, page: OpenPage, numbers: list[int]) -> None:
        pipeline = self._pipeline
        names, rows, contents = page.names, page.rows, page.contents
        key, claim = self._session.keys.chunk_id_key, self._session.claim
        plain = 0
        for number in numbers:
            name = names[number]
            row = rows[number]
            assert row is not None  # noqa: S101 - the walker queues only what it has examined
            try:
                body, after, extra = directory.read_small(name, row)
            except GrownLarge:
                pipeline.queue.put_first(LargeFile(directory, page, number))
                self.files_done -= 1  # it is counted when it has been read
                continue
            except FileProblem as problem:
                pipeline.give_up(page, number, problem)
                continue
            content = b""
            if body:
                content_class = class_of_name(name)
                if content_class is None:
                    content_class = class_of_content(body[:HEAD_LENGTH])
                content = blake3(body, key=key).digest()
                count = self.counts[content_class]
                count.chunks += 1
                count.source_bytes += len(body)
                self.bytes_done += len(body)
                if claim(content):
                    self._gatherers[content_class].gather(content, body)
            if extra is None and after is row and row[7] == 1:
                contents[number] = content
                plain += 1
            else:
                pipeline.complete(page, number, after, content, extra)
        self.files_done += len(numbers)
        if plain:
            pipeline.tree.done(page, plain)

    def _open(self, task: LargeFile) -> None:
        pipeline = self._pipeline
        name, row = task.page.names[task.number], task.page.rows[task.number]
        assert row is not None  # noqa: S101 - the walker queues only what it has examined
        try:
            file = task.directory.open(name, row)
        except FileProblem as problem:
            self.files_done += 1
            pipeline.give_up(task.page, task.number, problem)
            return
        # A longer block would not fit behind the room that a worker's buffer has for an unfinished chunk.
        block = min(task.directory.block_length, pipeline.parameters.maximum)
        cutter: Cutter = FixedCutter(block) if block else self._cdc
        stream = FileStream(task, file, cutter, ContentList(self._session.store_tree_chunk))
        stream.content_class = file.head_class or class_of_name(name)
        self._read_block(stream)

    def _read_block(self, stream: FileStream) -> None:
        """Read and cut one block, let go of the stream, and store the block's chunks."""
        pipeline = self._pipeline
        buffer = pipeline.blocks.acquire()
        try:
            view = memoryview(buffer)
            filled = len(stream.tail)
            view[:filled] = stream.tail
            limit = filled + BLOCK_LENGTH
            lengths: list[int] = []
            is_last = False
            while not lengths and not is_last:
                try:
                    while filled < limit and (count := stream.file.read_into(view[filled:limit])):
                        filled += count
                except FileProblem as problem:
                    stream.failure = problem
                    is_last = True
                    break
                is_last = filled < limit
                lengths = stream.cutter.cut(view[:filled], final=is_last)
                limit = len(view)
            if stream.content_class is None:
                stream.content_class = class_of_content(bytes(view[: min(filled, HEAD_LENGTH)]))
            cut = sum(lengths)
            stream.tail = bytes(view[cut:filled])
            number = stream.block_read(is_last=is_last)
            if not is_last:
                pipeline.queue.put_first(stream)
            ids = self._store_block(view, lengths, stream.content_class)
        finally:
            pipeline.blocks.release(buffer)
        if stream.block_done(number, ids):
            self._complete(stream)

    def _store_block(self, view: memoryview, lengths: list[int], content_class: ContentClass) -> bytes:
        key, claim = self._session.keys.chunk_id_key, self._session.claim
        gatherer = self._gatherers[content_class]
        count = self.counts[content_class]
        ids: list[bytes] = []
        at = 0
        for length in lengths:
            chunk = view[at : at + length]
            at += length
            identity = blake3(chunk, key=key).digest()
            ids.append(identity)
            count.chunks += 1
            count.source_bytes += length
            if claim(identity):
                if length >= OWN_FRAME_FROM:
                    gatherer.write(identity, (length,), chunk)
                else:
                    gatherer.gather(identity, bytes(chunk))
                    gatherer.write_full()
            self.bytes_done += length
        return b"".join(ids)

    def _complete(self, stream: FileStream) -> None:
        pipeline, task = self._pipeline, stream.task
        self.files_done += 1
        if stream.failure is not None:
            stream.file.close()
            pipeline.give_up(task.page, task.number, stream.failure)
            return
        try:
            row, extra = stream.file.finish()
        except FileProblem as problem:
            pipeline.give_up(task.page, task.number, problem)
            return
        content, depth = stream.content()
        if depth:
            from msgspec.structs import replace

            extra = replace(extra or Extra(), depth=depth)
        pipeline.complete(task.page, task.number, row, content, extra)
