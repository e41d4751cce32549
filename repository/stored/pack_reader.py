"""Reads packs: the footer, single frames, and everything for a check.

Promise: whatever comes out was written by a holder of the key, for this repository, at this place of
this pack, and each chunk's plaintext hashes to its id; anything else raises `Damaged`, `UnknownKey` or
`UnsupportedFormat`. A `PackReader` needs the pack's header only; frames come as bytes from wherever.
Frames are opened by one `FrameOpener` per thread, which keeps its buffers.
"""

from collections.abc import Iterator
from typing import NamedTuple

from cryptography.exceptions import InvalidTag

from repository.errors import Damaged
from repository.format import (
    CHUNK_LENGTH_MAX,
    PACK_HEADER_LENGTH,
    SEALED_HEADER_LENGTH,
    TAG_LENGTH,
    TRAILER_LENGTH,
    Buffer,
    Compression,
    FrameEntry,
    FrameHeader,
    PackHeader,
    Purpose,
    decode_footer,
    decode_frame_header,
    decode_pack_header,
    decode_trailer,
    footer_associated_data,
    is_named,
    nonce,
)
from repository.keys import crypto
from repository.keys.key_ring import DomainKeys, KeyRing
from repository.stored.compression import Decompressor


class PackReader:
    """The keys of one pack, from its first 96 bytes. Thread-safe."""

    def __init__(self, header: Buffer, ring: KeyRing, pack_id: bytes) -> None:
        self.id = pack_id
        self.header_bytes = bytes(header[:PACK_HEADER_LENGTH])
        self.header: PackHeader = decode_pack_header(self.header_bytes)
        self.keys: DomainKeys = ring.by_id(self.header.key_id)
        if self.header.repository_id != self.keys.repository_id:
            raise Damaged("pack belongs to another repository", pack=pack_id.hex())
        self.cipher = crypto.aead(self.keys.pack_key(self.header.salt))

    def footer(self, tail: Buffer, pack_length: int) -> list[FrameEntry]:
        """The frame table. `tail` is the end of the pack and covers footer and trailer."""
        view = memoryview(tail)
        trailer = decode_trailer(view, pack_length)
        start = len(view) - TRAILER_LENGTH - trailer.footer_length
        if start < 0:
            raise Damaged("tail of the pack does not hold its footer", pack=self.id.hex())
        end = start + trailer.footer_length
        try:
            plain = self.cipher.decrypt(
                nonce(Purpose.FOOTER, 0), view[start:end], footer_associated_data(self.header_bytes, view[end:])
            )
        except InvalidTag:
            raise Damaged("pack footer is not authentic", pack=self.id.hex()) from None
        frames = decode_footer(plain)
        last = frames[-1].offset + frames[-1].length if frames else PACK_HEADER_LENGTH
        if last != trailer.footer_offset:
            raise Damaged("pack footer and trailer do not agree", pack=self.id.hex())
        return frames

    def frame_header(self, sealed: Buffer, offset: int) -> bytes:
        """The 32 bytes of the header of the frame at `offset`. Raises `Damaged`."""
        try:
            return self.cipher.decrypt(nonce(Purpose.FRAME_HEADER, offset), sealed, self.header_bytes)
        except InvalidTag:
            raise Damaged("frame header is not authentic", pack=self.id.hex(), offset=offset) from None


class OpenedFrame(NamedTuple):
    """A frame in plaintext. `raw` is valid until the opener opens the next one."""

    header: FrameHeader
    raw: memoryview


class FrameOpener:
    """Decrypts and decompresses frames on one thread, into buffers that it uses again."""

    def __init__(self) -> None:
        self._decompressor = Decompressor()
        self._plain = bytearray(1 << 20)

    def open(self, pack: PackReader, stored: Buffer, offset: int, *, in_place: bool = False) -> OpenedFrame:
        """The frame that lies at `offset` of the pack, and `stored` from there on; what follows it is left alone.

        `in_place`: it is decrypted where it lies, and spoilt where it is not authentic. Half as much memory is touched.
        Authenticates the frame; whether the plaintext is that of the chunk ids is for `verified`.
        """
        view = memoryview(stored)
        clear = pack.frame_header(view[:SEALED_HEADER_LENGTH], offset)
        header = decode_frame_header(clear)
        if header.stored_length > CHUNK_LENGTH_MAX + TAG_LENGTH:
            raise Damaged("frame header is out of range", pack=pack.id.hex(), offset=offset)
        end = SEALED_HEADER_LENGTH + header.stored_length
        if len(view) < end:
            raise Damaged("frame is cut off", pack=pack.id.hex(), offset=offset)
        length = header.stored_length - TAG_LENGTH
        # OpenSSL takes the same memory for both (EVP_EncryptInit(3)), as long as both begin with the same byte.
        plain = view[SEALED_HEADER_LENGTH : SEALED_HEADER_LENGTH + length] if in_place else self._room(length)
        try:
            pack.cipher.decrypt_into(
                nonce(Purpose.FRAME, offset),
                view[SEALED_HEADER_LENGTH:end],
                pack.header_bytes + clear,
                plain,
            )
        except InvalidTag:
            raise Damaged("frame is not authentic", pack=pack.id.hex(), offset=offset) from None
        if header.compression is Compression.NONE and length != header.raw_length:
            raise Damaged("frame has another length than its header says", pack=pack.id.hex(), offset=offset)
        raw = self._decompressor.decompress(plain, header.compression, header.raw_length)
        return OpenedFrame(header, memoryview(raw))

    def _room(self, length: int) -> memoryview:
        if len(self._plain) < length:
            self._plain = bytearray(max(length, 2 * len(self._plain)))
        return memoryview(self._plain)[:length]

    def verified(self, pack: PackReader, stored: Buffer, entry: FrameEntry) -> OpenedFrame:
        """Open a frame and prove that it is the one of the footer and holds the chunks with these ids."""
        frame = self.open(pack, stored, entry.offset)
        if frame.header != entry.header:
            raise Damaged("frame is another one than the footer says", pack=pack.id.hex(), offset=entry.offset)
        at = 0
        for chunk in entry.chunks():
            if pack.keys.chunk_id(frame.raw[at : at + chunk.length]) != chunk.id:
                raise Damaged("chunk is not the one of its id", pack=pack.id.hex(), offset=entry.offset)
            at += chunk.length
        return frame


def read_footer(body: Buffer, ring: KeyRing, pack_id: bytes) -> tuple[PackReader, list[FrameEntry]]:
    """Header and frame table of a whole pack. Raises `Damaged` when the bytes are not the ones of the id."""
    if not is_named(pack_id, body):
        raise Damaged("pack is not the one of its name", pack=pack_id.hex())
    pack = PackReader(memoryview(body)[:PACK_HEADER_LENGTH], ring, pack_id)
    return pack, pack.footer(body, len(body))


def read_frames(body: Buffer, ring: KeyRing, pack_id: bytes) -> Iterator[tuple[FrameEntry, memoryview]]:
    """Every frame of a whole pack with its proven plaintext, each valid until the next is asked for."""
    pack, frames = read_footer(body, ring, pack_id)
    opener = FrameOpener()
    view = memoryview(body)
    for entry in frames:
        yield entry, opener.verified(pack, view[entry.offset : entry.offset + entry.length], entry).raw
