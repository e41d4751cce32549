"""What the backups of a group share: deduplication and the open packs; and what each of them counts for itself.

Promise: of two threads that meet the same new chunk, of whatever backup, only one stores it; a chunk that was claimed
is in a pack when the `ChunkSession` that met it has been flushed, or no backup of the group goes on. A session knows
every pack that it leans on. Memory: ids in packs that are not sealed yet.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from repository.format import CHUNKS_PER_FRAME_MAX, SHARED_FRAME_LENGTH_MAX, Buffer, Compression, ContentClass, PackKind
from repository.index.index import Index
from repository.keys.key_ring import DomainKeys
from repository.ports import Randomness
from repository.stored.buffers import WAIT_SECONDS, new_memory
from repository.stored.pack_builder import BufferPool, PackWriter, RawFrame, SealedPack
from repository.stored.tree import ids_of


@dataclass(slots=True)
class ClassCount:
    """Counts of one content class on one thread; see `snapshot.ClassTotals`. Others only read them, as gauges."""

    chunks: int = 0
    new_chunks: int = 0
    source_bytes: int = 0
    new_bytes: int = 0
    stored_bytes: int = 0

    def add(self, other: ClassCount) -> None:
        """Sum up."""
        self.chunks += other.chunks
        self.new_chunks += other.new_chunks
        self.source_bytes += other.source_bytes
        self.new_bytes += other.new_bytes
        self.stored_bytes += other.stored_bytes


def new_counts() -> list[ClassCount]:
    """A zero for each class, at the class's number: a list, because an enum's hash costs more than the counting."""
    return [ClassCount() for _ in ContentClass]


class FrameCompressor(Protocol):
    """`compression.Compressor`, or one that is lent for each frame."""

    def compress(self, raw: Buffer, content_class: ContentClass) -> tuple[Compression, Buffer]:
        """The bytes to be stored, and how they were made."""
        ...


class ChunkStore:
    """Claims, index and open packs of all backups of a group. Thread-safe.

    `on_pack` gets each sealed pack, the pool of its buffer, and the session that its bytes are counted for.
    """

    def __init__(
        self,
        keys: DomainKeys,
        index: Index,
        *,
        data_pool: BufferPool,
        tree_pool: BufferPool,
        randomness: Randomness,
        on_pack: Callable[[SealedPack, BufferPool, object], None],
    ) -> None:
        self.keys = keys
        self.index = index
        self.on_broken: Callable[[BaseException], None] = lambda _error: None
        """Called once, with what keeps a claimed chunk from being stored."""
        self._on_pack = on_pack
        # The claims, what sessions wait for, and the error, under one lock.
        self._changed = threading.Condition()
        self._unsealed: dict[bytes, tuple[ChunkSession, ...]] = {}
        """Chunks in no sealed pack yet: who claimed each, and who leans on it."""
        self._error: BaseException | None = None
        self._halves: dict[ChunkSession, list[HalfFilled]] = {}
        self.data = PackWriter(keys, PackKind.DATA, data_pool, randomness, lambda pack: self._take(pack, data_pool))
        self.tree = PackWriter(keys, PackKind.TREE, tree_pool, randomness, lambda pack: self._take(pack, tree_pool))

    def claim_all(self, session: ChunkSession, chunk_ids: Sequence[bytes]) -> tuple[list[bool], list[bytes]]:
        """For each id whether the session is the first to meet it, and has to store it; and the ids in sealed packs."""
        claimed: list[bool] = []
        known: list[bytes] = []
        with self._changed:
            if self._error is not None:
                raise self._error
            unsealed, contains, alone = self._unsealed, self.index.contains, session.alone
            for chunk_id in chunk_ids:
                is_new = False
                owners = unsealed.get(chunk_id)
                if owners is None:
                    if not chunk_id:
                        pass
                    elif contains(chunk_id):
                        known.append(chunk_id)
                    else:
                        unsealed[chunk_id] = alone
                        session.unsealed += 1
                        is_new = True
                elif owners is not alone and session not in owners:
                    unsealed[chunk_id] = (*owners, session)
                    session.unsealed += 1
                claimed.append(is_new)
        return claimed, known

    def keep(self, session: ChunkSession, half: HalfFilled) -> None:
        """Remember frames that a session fills, for whoever leans on what is in them."""
        with self._changed:
            self._halves.setdefault(session, []).append(half)

    def settle(self, session: ChunkSession) -> None:
        """Return when all that the session met is in sealed packs. Raises what keeps it from that."""
        while True:
            with self._changed:
                if self._error is not None:
                    raise self._error
                if not session.unsealed:
                    return
                halves = [half for each in self._halves.values() for half in each]
            for half in halves:
                half.flush()
            self.data.flush()
            self.tree.flush()
            with self._changed:
                # A thread may be at a frame of a pack that was closed here: it seals the pack.
                if session.unsealed and self._error is None:
                    self._changed.wait(WAIT_SECONDS)

    def leave_to_others(self, session: ChunkSession) -> None:
        """A session that ends early leaves what it claimed to the packs. Its own threads have ended."""
        with self._changed:
            halves = self._halves.get(session, [])
            if self._error is not None:
                return
        for half in halves:
            half.flush()

    def forget(self, session: ChunkSession) -> None:
        """The session is over: it has flushed, or left to the others what it claimed."""
        with self._changed:
            self._halves.pop(session, None)

    def break_off(self, error: BaseException) -> None:
        """A claimed chunk will not be stored: nobody can lean on it, and nobody knows who does not."""
        with self._changed:
            is_first = self._error is None
            if is_first:
                self._error = error
            self._changed.notify_all()
        if is_first:
            self.on_broken(error)

    def discard(self) -> None:
        """Give up the open packs. No session stores anything any more."""
        self.data.discard()
        self.tree.discard()

    def _take(self, pack: SealedPack, pool: BufferPool) -> None:
        chunk_ids = [chunk_id for frame in pack.frames for chunk_id in ids_of(frame.chunk_ids)]
        with self._changed:
            first = self._unsealed.get(chunk_ids[0]) if chunk_ids else None
        # In this order: whoever finds a chunk in the index finds its pack on the way to the tiers, and who sees
        # a claim end finds the chunk in the index.
        self._on_pack(pack, pool, first[0] if first else None)
        self.index.add_pack(pack.id, pack.frames)
        with self._changed:
            for chunk_id in chunk_ids:
                for session in self._unsealed.pop(chunk_id, ()):
                    session.unsealed -= 1
                    session.new_packs.add(pack.id)
            self._changed.notify_all()


class ChunkSession:
    """One backup's part in a `ChunkStore`. Thread-safe."""

    def __init__(
        self,
        store: ChunkStore,
        compressor: FrameCompressor,
        on_known: Callable[[bytes], object] = lambda _chunk_id: None,
    ) -> None:
        self.keys = store.keys
        self.data = store.data
        self.tree = store.tree
        self.new_packs: set[bytes] = set()
        """Packs with chunks that the session claimed, or leaned on before they were sealed."""
        self.unsealed = 0
        """Chunks that it met and that are in no sealed pack yet; the store's to count."""
        self.alone = (self,)
        self.tree_counts = new_counts()
        self._store = store
        self._on_known = on_known
        tree = FrameGatherer(
            self.tree,
            compressor,
            ContentClass.TREE,
            self.tree_counts[ContentClass.TREE],
            length_max=SHARED_FRAME_LENGTH_MAX,
        )
        self._tree = tree
        self._tree_half = self.half_filled([tree])

    def half_filled(self, gatherers: Sequence[FrameGatherer]) -> HalfFilled:
        """A place for frames that are being filled. What is claimed is gathered and written while it is held."""
        half = HalfFilled(self._store, gatherers)
        self._store.keep(self, half)
        return half

    def claim_all(self, chunk_ids: Sequence[bytes]) -> list[bool]:
        """Whether the caller is the first to meet each chunk, and so has to store it; an empty id is nobody's."""
        claimed, known = self._store.claim_all(self, chunk_ids)
        for chunk_id in known:
            self._on_known(chunk_id)
        return claimed

    def store_tree_chunk(self, body: bytes) -> bytes:
        """Keep a page or a list; returns its id."""
        chunk_id = self.keys.chunk_id(body)
        count = self.tree_counts[ContentClass.TREE]
        with self._tree_half.held():
            (is_new,) = self.claim_all([chunk_id])
            count.chunks += 1
            count.source_bytes += len(body)
            if is_new:
                self._tree.gather(chunk_id, body)
                self._tree.write_full()
        return chunk_id

    def flush(self) -> None:
        """Return when all that was met is in sealed packs, whoever fills them. No thread of this backup stores more."""
        self._store.settle(self)


class HalfFilled:
    """Frames that one thread fills, and that another flushes when it leans on what is in them."""

    def __init__(self, store: ChunkStore, gatherers: Sequence[FrameGatherer]) -> None:
        self._store = store
        self._gatherers = gatherers
        self._lock = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """From claiming to gathering or writing. What is raised in between is the end of the whole group."""
        with self._lock:
            try:
                yield
            except BaseException as error:
                self._store.break_off(error)
                raise

    def write_full(self) -> None:
        """Compress and encrypt the frames that are full."""
        with self.held():
            for gatherer in self._gatherers:
                gatherer.write_full()

    def flush(self) -> None:
        """Compress and encrypt all that was gathered."""
        with self.held():
            for gatherer in self._gatherers:
                gatherer.flush()


class FrameGatherer:
    """Puts new chunks of one class together into shared frames of at most `length_max` raw bytes. For one thread.

    `gather` only collects, so that a caller may do it where it must not be long; `write_full` and `flush` do
    the work.
    """

    def __init__(
        self,
        writer: PackWriter,
        compressor: FrameCompressor,
        content_class: ContentClass,
        count: ClassCount,
        *,
        length_max: int,
    ) -> None:
        self._length_max = length_max
        self._writer = writer
        self._compressor = compressor
        self._class = content_class
        self._count = count
        self._gathered = _Gathered()
        self._full: list[_Gathered] = []
        self._room: memoryview | None = None

    def gather(self, chunk_id: bytes, body: Buffer) -> None:
        """Take a claimed chunk. `body` must stay as it is until its frame is written."""
        gathered = self._gathered
        length = len(body)
        if (
            gathered.raw_length + length > self._length_max or len(gathered.ids) == CHUNKS_PER_FRAME_MAX
        ) and gathered.ids:
            self._full.append(gathered)
            gathered = self._gathered = _Gathered()
        gathered.pieces.append(body)
        gathered.ids.append(chunk_id)
        gathered.lengths.append(length)
        gathered.raw_length += length

    def write_full(self) -> None:
        """Compress and encrypt the frames that are full."""
        full, self._full = self._full, []
        for gathered in full:
            raw: Buffer = b"".join(gathered.pieces) if len(gathered.pieces) > 1 else gathered.pieces[0]
            self.write(b"".join(gathered.ids), tuple(gathered.lengths), raw)

    def flush(self) -> None:
        """Compress and encrypt all that was gathered."""
        if self._gathered.ids:
            self._full.append(self._gathered)
            self._gathered = _Gathered()
        self.write_full()

    def write(self, chunk_ids: bytes, lengths: tuple[int, ...], raw: Buffer) -> None:
        """One frame of claimed chunks at once; `raw` may be reused afterwards."""
        compression, payload = self._compressor.compress(raw, self._class)
        count = self._count
        count.stored_bytes += self._writer.add(
            RawFrame(chunk_ids, lengths, len(raw), self._class, compression, payload)
        )
        count.new_bytes += len(raw)
        count.new_chunks += len(lengths)


class StreamGatherer(FrameGatherer):
    """As `FrameGatherer`, for chunks whose bytes do not stay: each is copied once, to where its frame is made of, and a
    full frame is written by `gather` itself. Memory: `length_max` bytes until it is flushed.
    """

    def gather(self, chunk_id: bytes, body: Buffer) -> None:
        """Take a claimed chunk. `body` may be reused afterwards."""
        length = len(body)
        if length > self._length_max:
            self.write(chunk_id, (length,), body)
            return
        gathered = self._gathered
        if gathered.raw_length + length > self._length_max or len(gathered.ids) == CHUNKS_PER_FRAME_MAX:
            self._write_gathered()
            gathered = self._gathered
        if self._room is None:
            self._room = memoryview(new_memory(self._length_max))
        end = gathered.raw_length + length
        self._room[gathered.raw_length : end] = body
        gathered.ids.append(chunk_id)
        gathered.lengths.append(length)
        gathered.raw_length = end

    def flush(self) -> None:
        """Compress and encrypt all that was gathered."""
        self._write_gathered()
        self._room = None

    def _write_gathered(self) -> None:
        gathered, self._gathered = self._gathered, _Gathered()
        if self._room is not None and gathered.ids:
            self.write(b"".join(gathered.ids), tuple(gathered.lengths), self._room[: gathered.raw_length])


class _Gathered:
    """The chunks of one shared frame."""

    __slots__ = ("ids", "lengths", "pieces", "raw_length")

    def __init__(self) -> None:
        self.pieces: list[Buffer] = []
        self.ids: list[bytes] = []
        self.lengths: list[int] = []
        self.raw_length = 0
