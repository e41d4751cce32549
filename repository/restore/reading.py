"""Reads spans of packs on several threads, proves every chunk, and hands it to its files.

Promise: a chunk reaches a file only if it hashes to its id; what the first tier cannot give comes from the
others, chunk by chunk; what no tier can give is reported for each file that wants it. A tier that keeps failing is
no longer asked first.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import groupby
from typing import Final

from blake3 import blake3

from repository.errors import RepositoryError, TierError, TierUnreachable, TooFewDescriptors
from repository.format import pack_object_key
from repository.index.index import Location
from repository.keys.key_ring import KeyRing
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader, PackAccess
from repository.restore.files import TargetFile, TargetFiles
from repository.restore.options import Trouble, trouble_of
from repository.restore.plan import SPAN_LOCAL, SPAN_OF_FILE, SPAN_REMOTE, Part, Span, spans_of
from repository.stored.buffers import Memory, new_memory
from repository.stored.pack_reader import FrameOpener, PackReader
from repository.tiers.folder.disk import OUT_OF_DESCRIPTORS

WORKERS_REMOTE: Final = 6
FAILURES_MAX: Final = 3
"""Spans that a tier may fail to give, one after the other, before the next tier is asked first."""


class _State(threading.local):
    """What each thread keeps."""

    def __init__(self) -> None:
        self.opener = FrameOpener()
        self.buffer: Memory | None = None


class _Run:
    """Chunks that lie side by side in a frame and in one file, and are written with one call."""

    __slots__ = ("count", "end", "first")

    def __init__(self, first: Part | None = None) -> None:
        self.first = first
        self.end = first.chunk_offset + first.chunk_length if first is not None else 0
        self.count = 1

    def takes(self, part: Part) -> bool:
        """Whether the part goes on where the run ends; then it is in it."""
        first = self.first
        if (
            first is None
            or part.file is not first.file
            or part.chunk_offset != self.end
            or part.position - first.position != part.chunk_offset - first.chunk_offset
        ):
            return False
        self.end += part.chunk_length
        self.count += 1
        return True


class _Turn:
    """What one thread is at: the span that it reads, and what is to be taken from another place."""

    def __init__(self) -> None:
        self.span: Span | None = None
        self.missing: list[Part] = []


class SpanReaders:
    """The reading half of a restore. `check` is called for every span and may raise to cancel."""

    def __init__(
        self,
        tiers: Sequence[OpenTier],
        reader: ChunkReader,
        ring: KeyRing,
        files: TargetFiles,
        on_trouble: Callable[[bytes, Trouble, str], None],
        check: Callable[[], None],
        *,
        workers: int = 0,
    ) -> None:
        self._tiers = list(tiers)
        self._accesses = {tier.name: PackAccess(tier, ring) for tier in tiers}
        self._reader = reader
        self._files = files
        self._on_trouble = on_trouble
        self._check = check
        is_local = tiers[0].store.capabilities.local
        self._span_length = SPAN_LOCAL if is_local else SPAN_REMOTE
        count = workers or (min(os.cpu_count() or 1, 8) if is_local else WORKERS_REMOTE)
        self._workers = count
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="restore")
        self._spans: deque[Span] = deque()
        self._state = _State()
        self._lock = threading.Lock()
        self._failures = 0
        self.bytes_by_tier: dict[str, int] = {}
        self.chunks_from_others = 0

    def locate(self, chunk_id: bytes) -> Location | None:
        """Where the tier that is asked first has the chunk."""
        return self._tiers[0].index.lookup_any(chunk_id)

    def read(self, parts: list[Part]) -> None:
        """Fill the files of a window. Raises `OSError` when the target fails."""
        tier = self._tiers[0]
        self._spans.extend(spans_of(parts, self._span_length))
        self._wait([self._pool.submit(self._fill_from, tier) for _ in range(min(self._workers, len(self._spans)))])
        if self._failures >= FAILURES_MAX and len(self._tiers) > 1:
            self._tiers.append(self._tiers.pop(0))
            self._failures = 0

    def close(self) -> None:
        """Stop the threads."""
        self._spans.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _wait(self, futures: Sequence[Future[None]]) -> None:
        done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
        if waiting:
            self._spans.clear()
        wait(waiting)
        for future in done:
            future.result()

    def write_from_anywhere(self, part: Part) -> None:
        """Take a chunk from whichever tier has it."""
        try:
            chunk = self._reader.chunk(part.chunk_id)
        except RepositoryError as error:
            trouble = trouble_of(error)
            with self._lock:
                is_told = trouble in part.file.told
                part.file.told |= {trouble}
            if not is_told:  # of a large file thousands of chunks may be lost in one pack
                self._on_trouble(part.file.path, trouble, str(error))
            self._parts_done(part.file, 1)
            return
        with self._lock:
            self.chunks_from_others += 1
        if part.is_whole_file:
            self._files.write_whole([(part.file, chunk)])
        else:
            self._write_run(_Run(part._replace(chunk_offset=0)), chunk)

    def _fill_from(self, tier: OpenTier) -> None:
        """Fill files until no span is left. Whoever a silent tier holds up does nothing more: this one goes on."""
        while self._spans:
            turn = _Turn()
            try:
                tier.store.while_reading(partial(self._read_spans, tier, turn))
            except TierUnreachable:
                turn.span = turn.span or self._next()
                self._missed(turn, has_failed=turn.span is not None)
            for part in turn.missing:
                self.write_from_anywhere(part)

    def _next(self) -> Span | None:
        try:
            return self._spans.popleft()
        except IndexError:
            return None

    def _missed(self, turn: "_Turn", *, has_failed: bool) -> None:
        """The tier could not give the span."""
        with self._lock:
            self._failures += has_failed
        turn.missing.extend(turn.span.parts if turn.span is not None else ())

    def _read_spans(self, tier: OpenTier, turn: "_Turn") -> None:
        while not turn.missing and (span := self._next()) is not None:
            self._check()
            turn.span = span
            self._read_span(tier, span, turn)
            turn.span = None

    def _read_span(self, tier: OpenTier, span: Span, turn: "_Turn") -> None:
        try:
            pack = self._accesses[tier.name].reader(span.pack_id)
            body = self._room(span.length)
            tier.store.read_into(pack_object_key(span.pack_id), span.offset, body)
        except (RepositoryError, OSError) as error:
            self._state.buffer = None  # a disk that hangs may still fill it
            if isinstance(error, TooFewDescriptors) or getattr(error, "errno", None) in OUT_OF_DESCRIPTORS:
                raise  # no tier is to be blamed, and no file is damaged
            self._missed(turn, has_failed=isinstance(error, TierError | OSError))
            return
        with self._lock:
            self._failures = 0
            self.bytes_by_tier[tier.name] = self.bytes_by_tier.get(tier.name, 0) + len(body)
        for frame_offset, group in groupby(span.parts, key=lambda part: part.frame_offset):
            self._write_frame(pack, body[frame_offset - span.offset :], frame_offset, list(group), turn.missing)

    def _room(self, length: int) -> memoryview:
        """Memory that the thread uses again."""
        buffer = self._state.buffer
        if buffer is None or len(buffer) < length:
            buffer = self._state.buffer = new_memory(max(length, self._span_length, SPAN_OF_FILE))
        return memoryview(buffer)[:length]

    def _write_frame(
        self, pack: PackReader, stored: memoryview, offset: int, parts: Sequence[Part], missing: list[Part]
    ) -> None:
        """Write a frame's chunks; those that are not what they should be are `missing`."""
        try:
            raw = self._state.opener.open(pack, stored, offset, in_place=True).raw
        except RepositoryError:
            missing.extend(parts)
            return
        proven = b""
        key = pack.keys.chunk_id_key
        run = _Run()
        whole: list[tuple[TargetFile, memoryview | bytes]] = []
        for part in parts:
            end = part.chunk_offset + part.chunk_length
            chunk = raw[part.chunk_offset : end]
            if part.chunk_id != proven:
                if len(chunk) != part.chunk_length or blake3(chunk, key=key).digest() != part.chunk_id:
                    missing.append(part)
                    continue
                proven = part.chunk_id
            if part.is_whole_file:
                whole.append((part.file, chunk))
            elif not run.takes(part):
                self._write_run(run, raw)
                run = _Run(part)
        self._write_run(run, raw)
        if whole:
            self._files.write_whole(whole)

    def _write_run(self, run: "_Run", raw: memoryview | bytes) -> None:
        first = run.first
        if first is None:
            return
        try:
            self._files.write_part(first.file, raw[first.chunk_offset : run.end], first.position)
        except OSError as error:
            self._files.give_up(first.file, error)
        self._parts_done(first.file, run.count)

    def finish(self, file: TargetFile) -> None:
        """Finish a file that wants nothing written."""
        try:
            self._files.finish(file)
        except OSError as error:
            self._files.give_up(file, error)

    def _parts_done(self, file: TargetFile, count: int) -> None:
        try:
            self._files.parts_done(file, count)
        except OSError as error:
            self._files.give_up(file, error)
