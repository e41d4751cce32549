"""Byte layouts of a pack, and the constants that all stored objects share.

Promise: what `encode_*` writes, `decode_*` of this and of every later version reads; a byte that is
reserved or out of range raises `Damaged` or `UnsupportedFormat`, never a wrong value. All integers are
little endian. The layouts and the reasons for each field are in docs/repository-format.md.

    pack    = header(96) frame* footer trailer(24)
    frame   = sealed frame header(48) ciphertext tag(16)
    footer  = ciphertext tag(16), see `encode_footer`
"""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from repository.errors import Damaged, LimitExceeded, UnsupportedFormat

Buffer: TypeAlias = bytes | bytearray | memoryview

FORMAT_VERSION: Final = 1
ID_LENGTH: Final = 32
REPOSITORY_ID_LENGTH: Final = 16
KEY_ID_LENGTH: Final = 16
SALT_LENGTH: Final = 32
TAG_LENGTH: Final = 16
NONCE_LENGTH: Final = 12

PACK_MAGIC: Final = b"WSBPACK1"
TRAILER_MAGIC: Final = b"WSBPEND1"
PACK_HEADER_LENGTH: Final = 96
FRAME_HEADER_LENGTH: Final = 32
SEALED_HEADER_LENGTH: Final = FRAME_HEADER_LENGTH + TAG_LENGTH
TRAILER_LENGTH: Final = 24
FOOTER_PREFIX_LENGTH: Final = 8
FOOTER_FRAME_LENGTH: Final = 4 + FRAME_HEADER_LENGTH

CHUNK_LENGTH_MAX: Final = 16 << 20
"""Bytes of plaintext in one chunk, at most."""
SHARED_FRAME_LENGTH_MAX: Final = 1 << 20
"""Raw bytes in a frame of several small files, at most: what has to be read to restore one of them."""
STREAM_FRAME_LENGTH_MAX: Final = 8 << 20
"""Raw bytes in a frame of several chunks of large files, at most: the longer, the more of a database is saved."""
CHUNKS_PER_FRAME_MAX: Final = 0xFFFF
PACK_LENGTH_MAX: Final = 1 << 30
"""Bytes of one pack, at most; writers aim at 32 MiB."""

_PACK_HEADER = struct.Struct("<8sHHB3s16s16s32s16s")
_FRAME_HEADER = struct.Struct("<IIHBB16s4s")
_TRAILER = struct.Struct("<QI4s8s")
_FOOTER_PREFIX = struct.Struct("<II")
_FOOTER_OFFSET = struct.Struct("<I")
_NONCE = struct.Struct("<IQ")


class Purpose(IntEnum):
    """What a nonce is used for under one key; the first four bytes of the nonce."""

    FRAME = 1
    FOOTER = 2
    OBJECT = 3
    FRAME_HEADER = 4


class PackKind(IntEnum):
    """What the chunks of a pack are: contents of files, or pages of trees."""

    DATA = 0
    TREE = 1


class ContentClass(IntEnum):
    """What a chunk holds, as far as compression and statistics care."""

    GENERIC = 0
    PHOTO = 1
    TEXT = 2
    DOCUMENT = 3
    TREE = 4


class Compression(IntEnum):
    """How a frame's raw bytes are compressed before they are encrypted."""

    NONE = 0
    ZSTD = 1


class PackHeader(NamedTuple):
    """The first 96 bytes of a pack, in the clear and authenticated with every frame and the footer."""

    kind: PackKind
    repository_id: bytes
    key_id: bytes
    salt: bytes


class FrameHeader(NamedTuple):
    """The 32 bytes before a frame's ciphertext, themselves encrypted, and authenticated with it.

    `stored_length` counts the ciphertext and its tag, without the sealed header. `chunks_digest` is
    `chunks_digest(concatenated chunk ids)`.
    """

    raw_length: int
    stored_length: int
    chunk_count: int
    content_class: ContentClass
    compression: Compression
    chunks_digest: bytes


class ChunkEntry(NamedTuple):
    """One chunk within a frame: its id (32 bytes) and its length in bytes of plaintext."""

    id: bytes
    length: int


class FrameEntry(NamedTuple):
    """What the footer, and so the index, says of one frame.

    `offset` is where the frame's sealed header starts, in bytes from the start of the pack. `chunk_ids` are
    the 32-byte ids of its chunks one after the other in the order of the plaintext, `chunk_lengths` their
    lengths; the lengths sum up to `header.raw_length`.
    """

    offset: int
    header: FrameHeader
    chunk_ids: bytes
    chunk_lengths: tuple[int, ...]

    @property
    def length(self) -> int:
        """Bytes of the frame in the pack: sealed header, ciphertext and tag."""
        return SEALED_HEADER_LENGTH + self.header.stored_length

    def chunks(self) -> Iterator[ChunkEntry]:
        """The chunks in the order of the plaintext."""
        for number, length in enumerate(self.chunk_lengths):
            yield ChunkEntry(self.chunk_ids[number * ID_LENGTH : (number + 1) * ID_LENGTH], length)


class Trailer(NamedTuple):
    """The last 24 bytes of a pack, in the clear and authenticated with the footer."""

    footer_offset: int
    footer_length: int


def chunks_digest(chunk_ids: Buffer) -> bytes:
    """The 16 bytes that stand in a frame's header for its chunk ids: truncated, unkeyed BLAKE3."""
    from blake3 import blake3

    return blake3(chunk_ids).digest(16)


def pack_id_of(body: Buffer) -> bytes:
    """The id of a pack: unkeyed BLAKE3-256 of its bytes."""
    from blake3 import blake3

    return blake3(body).digest()


def is_named(pack_id: bytes, body: Buffer) -> bool:
    """Whether these are the bytes of the pack of this id; before ADR 0103 packs were named by SHA-256."""
    return pack_id_of(body) == pack_id or hashlib.sha256(body).digest() == pack_id


def nonce(purpose: Purpose, offset: int) -> bytes:
    """The 96-bit GCM nonce: purpose u32, offset u64. Unique under a key that is used for one object."""
    return _NONCE.pack(purpose, offset)


def encode_pack_header(header: PackHeader) -> bytes:
    """The 96 bytes of a pack's header."""
    return _PACK_HEADER.pack(
        PACK_MAGIC,
        FORMAT_VERSION,
        0,
        header.kind,
        bytes(3),
        header.repository_id,
        header.key_id,
        header.salt,
        bytes(16),
    )


def decode_pack_header(buffer: Buffer) -> PackHeader:
    """Read a pack's first 96 bytes. Raises `Damaged` or `UnsupportedFormat`."""
    if len(buffer) < PACK_HEADER_LENGTH:
        raise Damaged("pack is shorter than its header", length=len(buffer))
    magic, version, flags, kind, reserved, repository_id, key_id, salt, reserved_end = _PACK_HEADER.unpack_from(buffer)
    if magic != PACK_MAGIC:
        raise Damaged("pack does not start with its magic")
    if version != FORMAT_VERSION or flags:
        raise UnsupportedFormat("pack has an unknown format", version=version, flags=flags)
    if any(reserved) or any(reserved_end):
        raise Damaged("reserved bytes of a pack header are not zero")
    try:
        return PackHeader(PackKind(kind), repository_id, key_id, salt)
    except ValueError:
        raise Damaged("pack is of an unknown kind", kind=kind) from None


def encode_frame_header(header: FrameHeader) -> bytes:
    """The 32 bytes of a frame's header. Raises `LimitExceeded`."""
    try:
        return _FRAME_HEADER.pack(*header, bytes(4))
    except struct.error as error:
        raise LimitExceeded("frame header has a field out of range", reason=str(error)) from error


def decode_frame_header(buffer: Buffer, offset: int = 0) -> FrameHeader:
    """Read the frame header at `offset`. It was authenticated. Raises `Damaged`."""
    if offset < 0 or len(buffer) - offset < FRAME_HEADER_LENGTH:
        raise Damaged("frame is shorter than its header", offset=offset, length=len(buffer))
    raw, stored, count, content_class, compression, digest, reserved = _FRAME_HEADER.unpack_from(buffer, offset)
    try:
        header = FrameHeader(raw, stored, count, ContentClass(content_class), Compression(compression), digest)
    except ValueError:
        raise Damaged("frame has an unknown class or compression") from None
    if count == 0 or stored < TAG_LENGTH or raw > CHUNK_LENGTH_MAX or any(reserved):
        raise Damaged("frame header is out of range")
    return header


def encode_footer(frames: Sequence[FrameEntry]) -> bytes:
    """The footer's plaintext: counts, frame table, chunk ids, chunk lengths, column by column.

    frames u32 · chunks u32 · frames × (offset u32 · frame header 32) · chunks × id 32 · chunks × length u32
    """
    chunk_count = sum(len(frame.chunk_lengths) for frame in frames)
    parts = [_FOOTER_PREFIX.pack(len(frames), chunk_count)]
    for frame in frames:
        parts.append(_FOOTER_OFFSET.pack(frame.offset))
        parts.append(encode_frame_header(frame.header))
    parts.extend(frame.chunk_ids for frame in frames)
    parts.extend(struct.pack(f"<{len(frame.chunk_lengths)}I", *frame.chunk_lengths) for frame in frames)
    return b"".join(parts)


def decode_footer(buffer: Buffer) -> list[FrameEntry]:
    """Read a footer's plaintext. Raises `Damaged` when counts, ids and lengths do not agree."""
    view = memoryview(buffer)
    if len(view) < FOOTER_PREFIX_LENGTH:
        raise Damaged("pack footer is shorter than its counts")
    frame_count, chunk_count = _FOOTER_PREFIX.unpack_from(view)
    ids_at = FOOTER_PREFIX_LENGTH + frame_count * FOOTER_FRAME_LENGTH
    lengths_at = ids_at + chunk_count * ID_LENGTH
    if len(view) != lengths_at + 4 * chunk_count:
        raise Damaged("pack footer has another length than its counts say", frames=frame_count, chunks=chunk_count)
    lengths = struct.unpack_from(f"<{chunk_count}I", view, lengths_at)
    frames: list[FrameEntry] = []
    first = 0
    end = PACK_HEADER_LENGTH
    for number in range(frame_count):
        at = FOOTER_PREFIX_LENGTH + number * FOOTER_FRAME_LENGTH
        (offset,) = _FOOTER_OFFSET.unpack_from(view, at)
        header = decode_frame_header(view, at + 4)
        last = first + header.chunk_count
        entry = FrameEntry(
            offset, header, bytes(view[ids_at + first * ID_LENGTH : ids_at + last * ID_LENGTH]), lengths[first:last]
        )
        if last > chunk_count or offset != end:
            raise Damaged("pack footer has frames out of order", frame=number)
        if sum(entry.chunk_lengths) != header.raw_length or chunks_digest(entry.chunk_ids) != header.chunks_digest:
            raise Damaged("pack footer contradicts a frame header", frame=number)
        frames.append(entry)
        first = last
        end = offset + entry.length
    if first != chunk_count:
        raise Damaged("pack footer has chunks that belong to no frame", chunks=chunk_count)
    return frames


def encode_trailer(trailer: Trailer) -> bytes:
    """The last 24 bytes of a pack."""
    return _TRAILER.pack(*trailer, bytes(4), TRAILER_MAGIC)


def decode_trailer(buffer: Buffer, pack_length: int) -> Trailer:
    """Read a pack's last 24 bytes; `pack_length` is the whole pack's. Raises `Damaged`."""
    if len(buffer) < TRAILER_LENGTH:
        raise Damaged("pack is shorter than its trailer", length=pack_length)
    offset, length, reserved, magic = _TRAILER.unpack_from(buffer, len(buffer) - TRAILER_LENGTH)
    if magic != TRAILER_MAGIC or any(reserved):
        raise Damaged("pack does not end with its magic", length=pack_length)
    if offset < PACK_HEADER_LENGTH or length < TAG_LENGTH or offset + length + TRAILER_LENGTH != pack_length:
        raise Damaged("pack trailer points outside the pack", length=pack_length)
    return Trailer(offset, length)


def footer_associated_data(pack_header: Buffer, trailer: Buffer) -> bytes:
    """What is authenticated with a footer: pack header ‖ trailer. Its nonce: FOOTER, offset 0."""
    return bytes(pack_header) + bytes(trailer)


def pack_object_key(pack_id: bytes) -> str:
    """Where a pack lives below a tier's prefix."""
    name = pack_id.hex()
    return f"packs/{name[:2]}/{name}"


def pack_id_in(object_key: str) -> bytes | None:
    """The id of the pack that lives under this key; None where it is not a pack's."""
    name = object_key[-2 * ID_LENGTH :]
    try:
        pack_id = bytes.fromhex(name)
    except ValueError:
        return None
    return pack_id if object_key == pack_object_key(pack_id) else None
