"""What the workers of one backup share: deduplication, the open packs, and the counts.

Promise: of two threads that meet the same new chunk only one stores it; a chunk that was claimed is in a
pack when the session has been flushed, or the backup fails. Memory: ids in packs that are not sealed yet.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from repository.format import CHUNKS_PER_FRAME_MAX, SHARED_FRAME_LENGTH_MAX, Buffer, ContentClass, PackKind
from repository.index.index import Index
from repository.keys.key_ring import DomainKeys
from repository.ports import Randomness
from repository.stored.compression import Compressor
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

    def add(self, other: "ClassCount") -> None:
        """Sum up."""
        self.chunks += other.chunks
        self.new_chunks += other.new_chunks
        self.source_bytes += other.source_bytes
        self.new_bytes += other.new_bytes
        self.stored_bytes += other.stored_bytes


def new_counts() -> list[ClassCount]:
    """A zero for each class, at the class's number: a list, because an enum's hash costs more than the counting."""
    return [ClassCount() for _ in ContentClass]


class ChunkSession:
    """Deduplication and packs of one backup. Thread-safe."""

    def __init__(
        self,
        keys: DomainKeys,
        index: Index,
        *,
        data_pool: BufferPool,
        tree_pool: BufferPool,
        randomness: Randomness,
        on_pack: Callable[[SealedPack, BufferPool], None],
        on_known: Callable[[bytes], object] = lambda _chunk_id: None,
    ) -> None:
        self.keys = keys
        self.index = index
        self.new_packs: set[bytes] = set()
        self.tree_counts = new_counts()
        self._on_pack = on_pack
        self._on_known = on_known
        self._claims = threading.Lock()
        self._unsealed: set[bytes] = set()
        self.data = PackWriter(keys, PackKind.DATA, data_pool, randomness, lambda pack: self._take(pack, data_pool))
        self._tree = PackWriter(keys, PackKind.TREE, tree_pool, randomness, lambda pack: self._take(pack, tree_pool))
        self._tree_lock = threading.Lock()
        self._tree_gatherer = FrameGatherer(
            self._tree,
            Compressor(),
            ContentClass.TREE,
            self.tree_counts[ContentClass.TREE],
            length_max=SHARED_FRAME_LENGTH_MAX,
        )

    def claim(self, chunk_id: bytes) -> bool:
        """Whether the caller is the first to meet this chunk, and so has to store it."""
        with self._claims:
            if chunk_id in self._unsealed:
                return False
            if not self.index.contains(chunk_id):
                self._unsealed.add(chunk_id)
                return True
        self._on_known(chunk_id)
        return False

    def claim_all(self, chunk_ids: list[bytes]) -> list[bool]:
        """As `claim`, for many ids; an empty one is nobody's to store."""
        claimed: list[bool] = []
        known: list[bytes] = []
        with self._claims:
            unsealed, contains = self._unsealed, self.index.contains
            for chunk_id in chunk_ids:
                is_new = bool(chunk_id) and chunk_id not in unsealed
                if is_new and contains(chunk_id):
                    known.append(chunk_id)
                    is_new = False
                if is_new:
                    unsealed.add(chunk_id)
                claimed.append(is_new)
        for chunk_id in known:
            self._on_known(chunk_id)
        return claimed

    def store_tree_chunk(self, body: bytes) -> bytes:
        """Keep a page or a list; returns its id."""
        chunk_id = self.keys.chunk_id(body)
        count = self.tree_counts[ContentClass.TREE]
        is_new = self.claim(chunk_id)
        with self._tree_lock:
            count.chunks += 1
            count.source_bytes += len(body)
            if is_new:
                self._tree_gatherer.gather(chunk_id, body)
                self._tree_gatherer.write_full()
        return chunk_id

    def flush(self) -> None:
        """Seal everything. No other thread stores anything meanwhile."""
        self._tree_gatherer.flush()
        self.data.flush()
        self._tree.flush()

    def discard(self) -> None:
        """Give up the open packs."""
        self.data.discard()
        self._tree.discard()

    def _take(self, pack: SealedPack, pool: BufferPool) -> None:
        self.index.add_pack(pack.id, pack.frames)
        with self._claims:
            self.new_packs.add(pack.id)
            for frame in pack.frames:
                self._unsealed.difference_update(ids_of(frame.chunk_ids))
        self._on_pack(pack, pool)


class FrameGatherer:
    """Puts new chunks of one class together into shared frames of at most `length_max` raw bytes. For one thread.

    `gather` only collects, so that a caller may do it where it must not be long; `write_full` and `flush` do
    the work.
    """

    def __init__(
        self,
        writer: PackWriter,
        compressor: Compressor,
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


class _Gathered:
    """The chunks of one shared frame."""

    __slots__ = ("ids", "lengths", "pieces", "raw_length")

    def __init__(self) -> None:
        self.pieces: list[Buffer] = []
        self.ids: list[bytes] = []
        self.lengths: list[int] = []
        self.raw_length = 0
