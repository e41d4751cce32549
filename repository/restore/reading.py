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


class _Turn:
    """What one thread is at: the span that it reads, and what is to be taken from another place."""

    def __init__(self, *, is_last_first: bool) -> None:
        self.is_last_first = is_last_first
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

    def locate(self, ids: Sequence[bytes]) -> list[Location | None]:
        """Where the tier that is asked first has these chunks."""
        return self._tiers[0].index.lookup_each(ids)

    def read(self, parts: list[Part]) -> None:
        """Fill the files of a window. Raises `OSError` when the target fails."""
        tier = self._tiers[0]
        self._spans.extend(spans_of(parts, self._span_length))
        count = min(self._workers, len(self._spans))
        self._wait([self._pool.submit(self._fill_from, tier, is_last_first=bool(n % 2)) for n in range(count)])
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

    def _write_from_anywhere(self, part: Part) -> None:
        """Take a part of one chunk from whichever tier has it."""
        try:
            chunk = self._reader.chunk(part.ids[0])
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
            self._write(part.file, chunk, part.position, 1)

    def _fill_from(self, tier: OpenTier, *, is_last_first: bool) -> None:
        """Fill files until no span is left. Whoever a silent tier holds up does nothing more: this one goes on.

        Half of the threads begin at the other end: what is compressed keeps the processor busy, and what is not the
        disks, and the one rarely lies beside the other.
        """
        while self._spans:
            turn = _Turn(is_last_first=is_last_first)
            try:
                tier.store.while_reading(partial(self._read_spans, tier, turn))
            except TierUnreachable:
                turn.span = turn.span or self._next(turn)
                self._missed(turn, has_failed=turn.span is not None)
            for part in turn.missing:
                self._write_from_anywhere(part)

    def _next(self, turn: _Turn) -> Span | None:
        try:
            return self._spans.pop() if turn.is_last_first else self._spans.popleft()
        except IndexError:
            return None

    def _missed(self, turn: _Turn, *, has_failed: bool) -> None:
        """The tier could not give the span."""
        with self._lock:
            self._failures += has_failed
        if turn.span is not None:
            turn.missing.extend(one for part in turn.span.parts for one in part.chunks())

    def _read_spans(self, tier: OpenTier, turn: _Turn) -> None:
        while not turn.missing and (span := self._next(turn)) is not None:
            self._check()
            turn.span = span
            self._read_span(tier, span, turn)
            turn.span = None

    def _read_span(self, tier: OpenTier, span: Span, turn: _Turn) -> None:
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
            missing.extend(one for part in parts for one in part.chunks())
            return
        key = pack.keys.chunk_id_key
        proven: set[tuple[int, int, bytes]] = set()  # what several files want is hashed once
        is_wanted_once = len(parts) == 1
        whole: list[tuple[TargetFile, memoryview | bytes]] = []
        for part in parts:
            if part.is_whole_file:
                chunk = raw[part.chunk_offset : part.chunk_offset + part.lengths[0]]
                if len(chunk) == part.lengths[0] and blake3(chunk, key=key).digest() == part.ids[0]:
                    whole.append((part.file, chunk))
                else:
                    missing.append(part)
                continue
            first = start = part.chunk_offset
            count = 0  # chunks between `first` and `start`, which are proven and not written yet
            for chunk_id, length in zip(part.ids, part.lengths, strict=True):
                end = start + length
                place = (start, end, chunk_id)
                if is_wanted_once or place not in proven:
                    chunk = raw[start:end]
                    if len(chunk) != length or blake3(chunk, key=key).digest() != chunk_id:
                        at = part.position + start - part.chunk_offset
                        missing.append(part._replace(chunk_offset=start, ids=[chunk_id], lengths=[length], position=at))
                        self._write_run(part, raw, first, start, count)
                        first, count = end, -1
                    elif not is_wanted_once:
                        proven.add(place)
                count += 1
                start = end
            self._write_run(part, raw, first, start, count)
        if whole:
            self._files.write_whole(whole)

    def _write_run(self, part: Part, raw: memoryview | bytes, first: int, end: int, count: int) -> None:
        """Write chunks of a part, which lie from `first` to `end` in the frame."""
        if count:
            self._write(part.file, raw[first:end], part.position + first - part.chunk_offset, count)

    def _write(self, file: TargetFile, content: memoryview | bytes, position: int, count: int) -> None:
        try:
            self._files.write_part(file, content, position)
        except OSError as error:
            self._files.give_up(file, error)
        self._parts_done(file, count)

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
