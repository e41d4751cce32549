"""Builds packs: frames are encrypted straight into the pack's buffer, by several threads at once.

Promise: a sealed pack is exactly what docs/repository-format.md says, its id is the BLAKE3 of its bytes,
and no nonce is used twice under its key (the key belongs to the pack, places are given out under a lock).

A frame takes two steps, so that the slow one runs outside any lock: `PackBuilder.reserve` gives it a
place, `PackBuilder.write` encrypts into that place. `PackWriter` moves on to the next pack
when one is full, and hands each finished pack to `on_pack` on the thread that finished it.
"""

import threading
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from repository.errors import LimitExceeded
from repository.format import (
    CHUNK_LENGTH_MAX,
    CHUNKS_PER_FRAME_MAX,
    FOOTER_FRAME_LENGTH,
    FOOTER_PREFIX_LENGTH,
    ID_LENGTH,
    PACK_HEADER_LENGTH,
    SALT_LENGTH,
    SEALED_HEADER_LENGTH,
    TAG_LENGTH,
    TRAILER_LENGTH,
    Buffer,
    Compression,
    ContentClass,
    FrameEntry,
    FrameHeader,
    PackHeader,
    PackKind,
    Purpose,
    Trailer,
    chunks_digest,
    encode_footer,
    encode_frame_header,
    encode_pack_header,
    encode_trailer,
    footer_associated_data,
    nonce,
    pack_id_of,
)
from repository.keys import crypto
from repository.keys.key_ring import DomainKeys
from repository.ports import Randomness
from repository.stored.buffers import Memory

PACK_TARGET: Final = 32 << 20
"""Bytes of a full data pack, at most; fewer by less than one frame."""

_FIXED = PACK_HEADER_LENGTH + FOOTER_PREFIX_LENGTH + TAG_LENGTH + TRAILER_LENGTH
_PER_CHUNK = ID_LENGTH + 4

BUFFER_LENGTH_MIN: Final = CHUNK_LENGTH_MAX + (1 << 20)
"""A pack's buffer takes at least one frame of the longest chunk."""


class RawFrame(NamedTuple):
    """A frame before encryption. `payload` is what `Compressor.compress` made of the raw bytes."""

    chunk_ids: bytes
    chunk_lengths: tuple[int, ...]
    raw_length: int
    content_class: ContentClass
    compression: Compression
    payload: Buffer


class SealedPack(NamedTuple):
    """A finished pack. `body` is valid until the buffer is given back to its pool."""

    id: bytes
    kind: PackKind
    body: memoryview
    frames: list[FrameEntry]
    buffer: Memory


def frame_room(frame: RawFrame) -> int:
    """Bytes that a frame takes of a pack, with its header and what the footer says of it."""
    return (
        SEALED_HEADER_LENGTH
        + len(frame.payload)
        + TAG_LENGTH
        + FOOTER_FRAME_LENGTH
        + len(frame.chunk_lengths) * _PER_CHUNK
    )


class BufferPool(Protocol):
    """Lends the buffers that packs are built in; it is what bounds the memory of a backup."""

    def acquire(self) -> Memory:
        """A buffer, at once or after somebody gave one back. Raises what ended the backup meanwhile."""
        ...

    def release(self, buffer: Memory) -> None:
        """Give a buffer back."""
        ...


class PackBuilder:
    """One pack that is being filled. `reserve` and `finish` are called under the writer's lock."""

    def __init__(self, keys: DomainKeys, kind: PackKind, salt: bytes, buffer: Memory) -> None:
        self._kind = kind
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._cipher = crypto.aead(keys.pack_key(salt))
        self._header = encode_pack_header(PackHeader(kind, keys.repository_id, keys.key_id, salt))
        self._view[:PACK_HEADER_LENGTH] = self._header
        self._end = PACK_HEADER_LENGTH
        self._promised = _FIXED
        self.frames: list[FrameEntry] = []
        self.unwritten = 0
        self.is_closing = False

    @property
    def room(self) -> int:
        """Bytes that are left for frames and what the footer says of them."""
        return len(self._buffer) - self._promised

    def reserve(self, frame: RawFrame) -> FrameEntry | None:
        """A place for the frame, or None when the pack is full. Does not copy or encrypt anything."""
        count = len(frame.chunk_lengths)
        stored = len(frame.payload) + TAG_LENGTH
        promised = frame_room(frame)
        if self._promised + promised > len(self._buffer):
            return None
        header = FrameHeader(
            frame.raw_length,
            stored,
            count,
            frame.content_class,
            frame.compression,
            chunks_digest(frame.chunk_ids),
        )
        entry = FrameEntry(self._end, header, frame.chunk_ids, frame.chunk_lengths)
        self.frames.append(entry)
        self._end += entry.length
        self._promised += promised
        self.unwritten += 1
        return entry

    def write(self, entry: FrameEntry, payload: Buffer) -> None:
        """Encrypt the payload into its reserved place. Releases the GIL; needs no lock."""
        header = encode_frame_header(entry.header)
        start = entry.offset + SEALED_HEADER_LENGTH
        self._cipher.encrypt_into(
            nonce(Purpose.FRAME_HEADER, entry.offset), header, self._header, self._view[entry.offset : start]
        )
        self._cipher.encrypt_into(
            nonce(Purpose.FRAME, entry.offset),
            payload,
            self._header + header,
            self._view[start : start + entry.header.stored_length],
        )

    def seal(self) -> SealedPack:
        """Footer, trailer and id. All reserved frames are written; releases the GIL while hashing."""
        footer = encode_footer(self.frames)
        end = self._end + len(footer) + TAG_LENGTH
        trailer = encode_trailer(Trailer(self._end, len(footer) + TAG_LENGTH))
        self._cipher.encrypt_into(
            nonce(Purpose.FOOTER, 0),
            footer,
            footer_associated_data(self._header, trailer),
            self._view[self._end : end],
        )
        self._view[end : end + TRAILER_LENGTH] = trailer
        body = self._view[: end + TRAILER_LENGTH]
        return SealedPack(pack_id_of(body), self._kind, body, self.frames, self._buffer)

    def discard(self) -> Memory:
        """Give up the pack; its buffer may be used again."""
        self._view.release()
        return self._buffer


class PackWriter:
    """Takes frames from any number of threads and turns them into packs of one kind."""

    def __init__(
        self,
        keys: DomainKeys,
        kind: PackKind,
        pool: BufferPool,
        randomness: Randomness,
        on_pack: Callable[[SealedPack], None],
    ) -> None:
        self._keys = keys
        self._kind = kind
        self._pool = pool
        self._randomness = randomness
        self._on_pack = on_pack
        self._lock = threading.Lock()
        # Opening waits for a buffer. Threads that only have to finish a frame must not wait with it:
        # theirs may be the pack whose upload frees the buffer.
        self._opening = threading.Lock()
        self._open: PackBuilder | None = None

    def add(self, frame: RawFrame) -> int:
        """Encrypt a frame into a pack; returns its stored bytes, header and tag included.

        The payload may be reused when this returns. Raises `LimitExceeded` for a frame that fits no pack.
        """
        longest = max(frame.raw_length, len(frame.payload))
        if not 1 <= len(frame.chunk_lengths) <= CHUNKS_PER_FRAME_MAX or longest > CHUNK_LENGTH_MAX:
            raise LimitExceeded("frame holds too much or nothing", chunks=len(frame.chunk_lengths))
        while True:
            with self._lock:
                builder = self._open
                entry = builder.reserve(frame) if builder is not None else None
                full = None
                if builder is not None and entry is None:
                    if not builder.frames:
                        # A pack of its own is all that it could get: the next one would be as full, and so on.
                        message = "frame is longer than a pack"
                        raise LimitExceeded(message, length=frame_room(frame), room=builder.room)
                    full = self._close_open()
            if builder is not None and entry is not None:
                break
            if full is not None:
                self._on_pack(full.seal())
            self._open_next()
        # A frame that fails to be written keeps its pack unwritten: a pack with a hole is never sealed.
        builder.write(entry, frame.payload)
        with self._lock:
            builder.unwritten -= 1
            finished = builder.is_closing and builder.unwritten == 0
        if finished:
            self._on_pack(builder.seal())
        return entry.length

    def flush(self) -> None:
        """Finish the open pack, full or not. What other threads add meanwhile may go into the next one."""
        with self._lock:
            # One that was just opened is for whoever opened it.
            full = self._close_open() if self._open is not None and self._open.frames else None
        if full is not None:
            self._on_pack(full.seal())

    def discard(self) -> None:
        """Give up the open pack after a failure. No other thread adds meanwhile."""
        with self._lock:
            builder, self._open = self._open, None
        if builder is not None:
            self._pool.release(builder.discard())

    def _close_open(self) -> PackBuilder | None:
        """Close the open pack, under the lock; returns it if nobody else is left to finish it."""
        builder, self._open = self._open, None
        if builder is None:
            return None
        builder.is_closing = True
        return builder if builder.unwritten == 0 else None

    def _open_next(self) -> None:
        with self._opening:
            with self._lock:
                if self._open is not None:
                    return
            buffer = self._pool.acquire()
            if len(buffer) < BUFFER_LENGTH_MIN:
                self._pool.release(buffer)
                raise LimitExceeded("pack buffer is shorter than a chunk can be", length=len(buffer))
            salt = self._randomness.token_bytes(SALT_LENGTH)
            builder = PackBuilder(self._keys, self._kind, salt, buffer)
            with self._lock:
                self._open = builder
