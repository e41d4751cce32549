"""The bytes of a file of a snapshot, from its beginning to its end, over whatever tiers have them.

Promise: every piece is proven before it is given; what no tier has whole raises, and nothing stands in for it. Frames
are read ahead, on several threads, in the order in which they are needed. Memory: `AHEAD` frames.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from repository.opened.pack_access import ChunkReader
from repository.stored.tree import Entry, Flag, content_ids, decode_extents

AHEAD: Final = 8
_ZEROS: Final = bytes(1 << 20)


def pieces_of(entry: Entry, reader: ChunkReader) -> Iterator[bytes]:
    """The file's bytes in pieces of at most a chunk; what are holes as zeros. Raises `Damaged` and a tier's errors."""
    chunks = _read_ahead(entry, reader)
    if not entry.extra.flags & Flag.SPARSE:
        yield from chunks
        return
    at = 0
    left = b""
    for start, length in decode_extents(entry.extra.extents, entry.stat.size):
        yield from _zeros(start - at)
        at = start + length
        while length:
            left = left or next(chunks)
            yield left[:length]
            left, length = left[length:], max(0, length - len(left))
    yield from _zeros(entry.stat.size - at)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield _ZEROS[:count]
        count -= len(_ZEROS)


def _read_ahead(entry: Entry, reader: ChunkReader) -> Iterator[bytes]:
    waiting: deque[tuple[bytes, Future[bytes] | None]] = deque()
    ids = content_ids(entry.content or b"", entry.extra.depth, reader.chunk)
    frame: tuple[bytes, int] | None = None
    pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="dump")
    try:
        for chunk_id in ids:
            location = reader.locate(chunk_id)
            # Of chunks in one frame only the first is fetched; the others are found beside it.
            is_new = frame != (frame := (location.pack_id, location.frame_offset))
            waiting.append((chunk_id, pool.submit(reader.chunk, chunk_id) if is_new else None))
            while len(waiting) > AHEAD:
                yield _got(waiting.popleft(), reader)
        while waiting:
            yield _got(waiting.popleft(), reader)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _got(one: tuple[bytes, "Future[bytes] | None"], reader: ChunkReader) -> bytes:
    chunk_id, future = one
    return future.result() if future is not None else reader.chunk(chunk_id)
