"""One worker of a backup: read → cut → identify → deduplicate → compress → encrypt.

Promise: everything that it is given is read once, and its page is told; what concerns one file alone ends up in the
problems, never in an exception. Native calls on big buffers do the work and release the GIL; Python touches
chunks and batches, never bytes.

A large file is a *stream*: a worker reads and cuts the next block, lets go of the stream so that another
worker may go on with it, and works on the chunks of its block. Small files come in batches.
"""

from typing import Final

from blake3 import blake3

from repository.backup.reading import BLOCK_LENGTH, Reading
from repository.backup.session import FrameGatherer, StreamGatherer, new_counts
from repository.backup.source import FileProblem, GrownLarge, Overwritten, SourceDirectory
from repository.backup.tasks import FileStream, LargeFile, SmallFiles, Task
from repository.format import CHUNK_LENGTH_MAX, SHARED_FRAME_LENGTH_MAX, STREAM_FRAME_LENGTH_MAX, ContentClass
from repository.stored.chunker import Cutter, FastCdcCutter, FixedCutter
from repository.stored.compression import class_of_content, class_of_name
from repository.stored.tree import ContentList, Extra, Flag, decode_extents
from repository.stored.tree_builder import OpenPage

OWN_FRAME_FROM: Final = 128 << 10
"""Bytes from which on a chunk is a frame of its own, but for text."""
READINGS_MAX: Final = 5
"""How often a file that is overwritten again and again is begun anew."""
HEAD_LENGTH: Final = 512
"""Bytes at the start of a file that its class is judged by."""


class Worker:
    """One thread's frames and counts."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._session = reading.session
        self._cdc = FastCdcCutter(reading.parameters, reading.seed)
        self.counts = new_counts()
        self.files_done = 0
        self.bytes_done = 0
        self._gatherers = self._gatherers_of(FrameGatherer, SHARED_FRAME_LENGTH_MAX)
        self._stream_gatherers = self._gatherers_of(StreamGatherer, STREAM_FRAME_LENGTH_MAX)
        self._half = self._session.half_filled([*self._gatherers, *self._stream_gatherers])

    def _gatherers_of(self, kind: type[FrameGatherer], length_max: int) -> list[FrameGatherer]:
        """One for each class."""
        data, compressor = self._session.data, self._reading.compressor
        return [
            kind(data, compressor, content_class, self.counts[content_class], length_max=length_max)
            for content_class in ContentClass
        ]

    def do(self, task: Task) -> None:
        """One piece of work. Raises what `check` raises: a cancellation."""
        self._reading.check()
        if isinstance(task, SmallFiles):
            # Before the turn is taken: others go on while a server answers.
            waits = [
                directory.ahead([page.names[number] for number in numbers])
                for directory, page, numbers in task.parts
                if directory.ahead is not None
            ]
            for wait in waits:
                wait()
            with self._reading.turn:
                for directory, page, numbers in task.parts:
                    self._read_small(directory, page, numbers)
            self._half.write_full()
        elif isinstance(task, FileStream):
            self._read_block(task)
        else:
            self._open(task)

    def flush(self) -> None:
        """Store what was gathered for shared frames."""
        self._half.flush()

    def _read_small(self, directory: SourceDirectory, page: OpenPage, numbers: list[int]) -> None:
        """Read one page's part of a batch, and gather what is new. Every step counts: a file is 15 µs in all."""
        reading = self._reading
        names, rows = page.names, page.rows
        read_small = directory.read_small
        taken: list[int] = []
        bodies: list[bytes] = []
        for number in numbers:
            row = rows[number]
            assert row is not None  # noqa: S101 - the walker queues only what it has examined
            try:
                body, after, extra = read_small(names[number], row)
            except GrownLarge:
                reading.queue.put_first(LargeFile(directory, page, number))
                self.files_done -= 1  # it is counted when it has been read
                continue
            except FileProblem as problem:
                reading.give_up(page, number, problem)
                continue
            if extra is None and after is row and row[7] == 1:
                taken.append(number)
                bodies.append(body)
            else:
                (content,) = self._gather([names[number]], [body])
                reading.complete(page, number, after, content, extra)
        contents = page.contents
        for number, content in zip(taken, self._gather([names[number] for number in taken], bodies), strict=True):
            contents[number] = content
        self.files_done += len(numbers)
        if taken:
            reading.tree.done(page, len(taken))

    def _gather(self, names: list[bytes], bodies: list[bytes]) -> list[bytes]:
        """Gather whole small files for shared frames, as far as they are new; returns the content of each."""
        key = self._session.keys.chunk_id_key
        contents = [blake3(body, key=key).digest() if body else b"" for body in bodies]
        chunks = [0] * len(self.counts)
        lengths = [0] * len(self.counts)
        with self._half.held():
            claimed = self._session.claim_all(contents)
            for name, body, content, is_new in zip(names, bodies, contents, claimed, strict=True):
                if not body:
                    continue
                content_class = class_of_name(name)
                if content_class is None:
                    content_class = class_of_content(body[:HEAD_LENGTH])
                chunks[content_class] += 1
                lengths[content_class] += len(body)
                if is_new:
                    self._gatherers[content_class].gather(content, body)
        for count, chunk_count, length in zip(self.counts, chunks, lengths, strict=True):
            count.chunks += chunk_count
            count.source_bytes += length
        self.bytes_done += sum(lengths)
        return contents

    def _open(self, task: LargeFile) -> None:
        reading = self._reading
        name, row = task.page.names[task.number], task.page.rows[task.number]
        assert row is not None  # noqa: S101 - the walker queues only what it has examined
        try:
            file = task.directory.open(name, row)
        except FileProblem as problem:
            self.files_done += 1
            reading.give_up(task.page, task.number, problem)
            return
        # A longer block would not fit behind the room that a worker's buffer has for an unfinished chunk.
        block = min(task.directory.block_length, reading.parameters.maximum)
        cutter: Cutter = FixedCutter(block) if block else self._cdc
        stream = FileStream(task, file, cutter, ContentList(self._session.store_tree_chunk))
        stream.content_class = file.head_class or class_of_name(name)
        self._read_block(stream)

    def _read_block(self, stream: FileStream) -> None:
        """Read and cut one block, let go of the stream, and store the block's chunks."""
        reading = self._reading
        buffer = reading.blocks.acquire()
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
                reading.queue.put_first(stream)
            ids = self._store_block(view, lengths, stream.content_class)
        finally:
            reading.blocks.release(buffer)
        if stream.block_done(number, ids):
            self._complete(stream)

    def _store_block(self, view: memoryview, lengths: list[int], content_class: ContentClass) -> bytes:
        key = self._session.keys.chunk_id_key
        gatherer = self._stream_gatherers[content_class]
        own_frame_from = CHUNK_LENGTH_MAX if content_class is ContentClass.TEXT else OWN_FRAME_FROM
        chunks: list[memoryview] = []
        at = 0
        for length in lengths:
            chunks.append(view[at : at + length])
            at += length
        ids = [blake3(chunk, key=key).digest() for chunk in chunks]
        count = self.counts[content_class]
        count.chunks += len(chunks)
        count.source_bytes += at
        with self._half.held():
            claimed = self._session.claim_all(ids)
            for chunk, length, identity, is_new in zip(chunks, lengths, ids, claimed, strict=True):
                if is_new and length >= own_frame_from:
                    gatherer.write(identity, (length,), chunk)
                elif is_new:
                    gatherer.gather(identity, chunk)
                self.bytes_done += length
        return b"".join(ids)

    def _complete(self, stream: FileStream) -> None:
        reading, task = self._reading, stream.task
        if isinstance(stream.failure, Overwritten) and task.readings < READINGS_MAX:
            stream.file.close()
            task.readings += 1
            reading.queue.put_first(task)
            return
        self.files_done += 1
        if stream.failure is not None:
            stream.file.close()
            reading.give_up(task.page, task.number, stream.failure)
            return
        try:
            row, extra = stream.file.finish()
        except FileProblem as problem:
            reading.give_up(task.page, task.number, problem)
            return
        if extra is not None and extra.flags & Flag.SPARSE:
            # A hole needs no reading and is of the file's size all the same.
            self.bytes_done += row[3] - sum(length for _, length in decode_extents(extra.extents, row[3]))
        content, depth = stream.content()
        if depth:
            from msgspec.structs import replace

            extra = replace(extra or Extra(), depth=depth)
        reading.complete(task.page, task.number, row, content, extra)
