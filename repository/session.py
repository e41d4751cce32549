"""What the workers of one backup share: deduplication, the open packs, and the counts.

Promise: of two threads that meet the same new chunk only one stores it; a chunk that was claimed is in a
pack when the session has been flushed, or the backup fails. Memory: ids in packs that are not sealed yet.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from repository.compression import Compressor
from repository.format import CHUNKS_PER_FRAME_MAX, SHARED_FRAME_LENGTH_MAX, Buffer, ContentClass, PackKind
from repository.index import Index
from repository.keys import DomainKeys
from repository.pack_builder import BufferPool, PackWriter, RawFrame, SealedPack
from repository.ports import Randomness
from repository.tree import ids_of


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


def new_counts() -> dict[ContentClass, ClassCount]:
    """A zero for each class."""
    return {content_class: ClassCount() for content_class in ContentClass}


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
            self._tree, Compressor(), ContentClass.TREE, self.tree_counts[ContentClass.TREE]
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

    def store_tree_chunk(self, body: bytes) -> bytes:
        """Keep a page or a list; returns its id."""
        chunk_id = self.keys.chunk_id(body)
        count = self.tree_counts[ContentClass.TREE]
        is_new = self.claim(chunk_id)
        with self._tree_lock:
            count.chunks += 1
            count.source_bytes += len(body)
            if is_new:
                self._tree_gatherer.add(chunk_id, body)
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
    """Puts small new chunks of one class together into shared frames. For one thread."""

    def __init__(
        self, writer: PackWriter, compressor: Compressor, content_class: ContentClass, count: ClassCount
    ) -> None:
        self._writer = writer
        self._compressor = compressor
        self._class = content_class
        self._count = count
        self._pieces: list[Buffer] = []
        self._ids: list[bytes] = []
        self._lengths: list[int] = []
        self._raw_length = 0

    def add(self, chunk_id: bytes, body: Buffer) -> None:
        """Take a claimed chunk. `body` must stay as it is until the frame is written (`flush`)."""
        length = len(body)
        if self._raw_length + length > SHARED_FRAME_LENGTH_MAX or len(self._ids) == CHUNKS_PER_FRAME_MAX:
            self.flush()
        self._pieces.append(body)
        self._ids.append(chunk_id)
        self._lengths.append(length)
        self._raw_length += length

    def flush(self) -> None:
        """Compress, encrypt and forget what was gathered."""
        if not self._ids:
            return
        raw: Buffer = b"".join(self._pieces) if len(self._pieces) > 1 else self._pieces[0]
        self.write(b"".join(self._ids), tuple(self._lengths), raw)
        self._pieces.clear()
        self._ids.clear()
        self._lengths.clear()
        self._raw_length = 0

    def write(self, chunk_ids: bytes, lengths: tuple[int, ...], raw: Buffer) -> None:
        """One frame of claimed chunks at once; `raw` may be reused afterwards."""
        compression, payload = self._compressor.compress(raw, self._class)
        count = self._count
        count.stored_bytes += self._writer.add(
            RawFrame(chunk_ids, lengths, len(raw), self._class, compression, payload)
        )
        count.new_bytes += len(raw)
        count.new_chunks += len(lengths)
