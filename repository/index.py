"""The index: where each chunk is.

Rows live in sorted column segments (`index_segment.py`), 52 bytes a chunk, without a Python object per
chunk. A lookup costs a microsecond or two. All methods may be called from several threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from repository.format import FrameEntry


class Location(NamedTuple):
    """Where one chunk's plaintext is: `frame_length` bytes at `frame_offset` of the pack are the whole
    frame (header, ciphertext, tag); the chunk is `chunk_length` bytes at `chunk_offset` of its raw bytes.
    """

    pack_id: bytes
    frame_offset: int
    frame_length: int
    chunk_offset: int
    chunk_length: int


class Index:
    """Segments of committed chunks and the session's new ones."""

    def lookup(self, chunk_id: bytes) -> Location | None:
        """Where the chunk is, or None. Packs that are marked for deletion do not count."""
        raise NotImplementedError

    def contains(self, chunk_id: bytes) -> bool:
        """Whether the chunk is known, without telling where."""
        raise NotImplementedError

    def lookup_any(self, chunk_id: bytes) -> Location | None:
        """As `lookup`, but packs that are marked count too (for restore)."""
        raise NotImplementedError

    def add_pack(self, pack_id: bytes, frames: Sequence[FrameEntry]) -> None:
        """Make the chunks of a pack of this session known."""
        raise NotImplementedError

    def pack_ids(self) -> set[bytes]:
        """The packs that rows point at, the session's included."""
        raise NotImplementedError

    def take_new_segments(self) -> list[bytes]:
        """The session's rows since the last call, as encoded segments (plaintext) of bounded size."""
        raise NotImplementedError

    def load_segment(self, body: bytes) -> None:
        """Add an encoded segment (plaintext)."""
        raise NotImplementedError

    def exclude_packs(self, pack_ids: Iterable[bytes]) -> None:
        """Rows that point at these packs no longer count in `lookup` and `contains`."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError
