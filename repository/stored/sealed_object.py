"""Sealed objects: a small header, then one AES-256-GCM message. Log bodies and index segments are sealed.

Promise: what `unseal_object` returns was sealed by a holder of the root key, for this repository, as this
kind and in this context; anything else raises `Damaged`, `UnknownKey` or `UnsupportedFormat`. Layout
(little endian):

    magic 8 · format u16 · kind u8 · compression u8 · raw length u32 · key id 16 · salt 32 · ciphertext · tag 16

The key is derived from the root's object key and the salt, so each object has its own and the nonce is constant. The
salt is random; of a piece of a stream it is a keyed digest of all that is sealed. Authenticated with the message: the
label, the header, the repository id and the context.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from repository.errors import Damaged, LimitExceeded, UnsupportedFormat
from repository.format import FORMAT_VERSION, SALT_LENGTH, TAG_LENGTH, Buffer, Compression, Purpose, nonce
from repository.keys import crypto
from repository.keys.key_ring import DomainKeys, KeyRing
from repository.ports import Randomness
from repository.stored.buffers import Memory, new_memory

SEALED_MAGIC: Final = b"WSBSEAL1"
SEALED_HEADER_LENGTH: Final = 64
COMPRESSION_LEVEL: Final = 3
SEGMENT_LEVEL: Final = -5
"""Of index segments, which are large and mostly ids that do not compress: 7% larger, and opened in half the time."""
_STEP: Final = 1 << 20
_LARGE_FROM: Final = 4 << 20
"""Bytes from which on memory is got in large pages: page by page, getting it takes longer than filling it."""
RAW_LENGTH_MAX: Final = 1 << 30
"""Bytes of plaintext in one sealed object, at most."""

_HEADER = struct.Struct("<8sHBBI16s32s")


class ObjectKind(IntEnum):
    """What a sealed object holds."""

    INDEX_SEGMENT = 1
    LOG_BODY = 2
    PENDING_MARKER = 3
    CHECKPOINT = 5
    STREAM_PIECE = 6
    PART = 7
    PIN = 8


class SealedHeader(NamedTuple):
    """The 64 bytes before the ciphertext, in the clear and authenticated with it."""

    kind: ObjectKind
    compression: Compression
    raw_length: int
    key_id: bytes
    salt: bytes


def _associated_data(header: bytes, repository_id: bytes, context: bytes) -> bytes:
    return crypto.LABEL + b"sealed\0" + header + repository_id + context


def seal_object(
    plaintext: Buffer, keys: DomainKeys, kind: ObjectKind, randomness: Randomness, *, context: bytes = b""
) -> bytes:
    """Compress (where that pays) and encrypt. `context`: what the object is bound to, beside its kind."""
    packed, compression = _packed(plaintext, kind)
    return _sealed(packed, compression, len(plaintext), keys, kind, randomness.token_bytes(SALT_LENGTH), context)


def seal_repeatably(plaintext: Buffer, keys: DomainKeys, kind: ObjectKind, *, context: bytes) -> bytes:
    """As `seal_object`, without chance: the same plaintext in the same context gives the same bytes.

    The salt, from which the key derives, is a keyed digest of what is encrypted under it, so that two messages never
    share a key: not even where another version of the compressor packs the same plaintext otherwise.
    """
    packed, compression = _packed(plaintext, kind)
    header = _HEADER.pack(
        SEALED_MAGIC, FORMAT_VERSION, kind, compression, len(plaintext), keys.key_id, bytes(SALT_LENGTH)
    )
    bound = _associated_data(header, keys.repository_id, context)
    salt = crypto.keyed_digest(keys.salt_key(kind), b"".join((bound, packed)))
    return _sealed(packed, compression, len(plaintext), keys, kind, salt, context)


def _packed(plaintext: Buffer, kind: ObjectKind) -> tuple[Buffer, Compression]:
    import zstandard

    if len(plaintext) > RAW_LENGTH_MAX:
        raise LimitExceeded("sealed object would be too long", length=len(plaintext))
    level = SEGMENT_LEVEL if kind is ObjectKind.INDEX_SEGMENT else COMPRESSION_LEVEL
    packed: Buffer = zstandard.ZstdCompressor(level=level).compress(plaintext)
    compression = Compression.ZSTD
    if len(packed) >= len(plaintext):
        packed, compression = plaintext, Compression.NONE
    return packed, compression


def _sealed(
    packed: Buffer,
    compression: Compression,
    raw_length: int,
    keys: DomainKeys,
    kind: ObjectKind,
    salt: bytes,
    context: bytes,
) -> bytes:
    header = _HEADER.pack(SEALED_MAGIC, FORMAT_VERSION, kind, compression, raw_length, keys.key_id, salt)
    ciphertext = crypto.seal(
        keys.object_key(salt, kind),
        nonce(Purpose.OBJECT, 0),
        packed,
        _associated_data(header, keys.repository_id, context),
    )
    return header + ciphertext


def decode_sealed_header(buffer: Buffer) -> SealedHeader:
    """Read the header of a sealed object. Raises `Damaged`, `UnsupportedFormat`."""
    if len(buffer) < SEALED_HEADER_LENGTH + TAG_LENGTH:
        raise Damaged("sealed object is too short", length=len(buffer))
    magic, version, kind, compression, raw_length, key_id, salt = _HEADER.unpack_from(buffer)
    if magic != SEALED_MAGIC:
        raise Damaged("sealed object does not start with its magic")
    if version != FORMAT_VERSION:
        raise UnsupportedFormat("sealed object has an unknown format", version=version)
    try:
        return SealedHeader(ObjectKind(kind), Compression(compression), raw_length, key_id, salt)
    except ValueError:
        raise Damaged("sealed object is of an unknown kind", kind=kind) from None


def key_id_in(buffer: Buffer, start: int = 0) -> bytes:
    """The key id of the sealed object that begins there, unproven; what is too short for one has an empty one."""
    view = memoryview(buffer)[start : start + SEALED_HEADER_LENGTH]
    return _HEADER.unpack(view)[5] if len(view) == SEALED_HEADER_LENGTH else b""


def unseal_object(buffer: Buffer, ring: KeyRing, kind: ObjectKind, *, context: bytes = b"") -> bytes:
    """The plaintext. Raises `Damaged`, `UnknownKey`, `UnsupportedFormat`."""
    header, packed = _opened(buffer, ring, kind, context)
    if header.compression is Compression.NONE:
        plain = bytes(packed)  # which it is
    else:
        import zstandard

        try:
            plain = zstandard.ZstdDecompressor().decompress(packed, max_output_size=header.raw_length)
        except zstandard.ZstdError as error:
            raise Damaged(f"{_name(header)} cannot be decompressed", reason=str(error)) from None
    _expect_length(header, len(plain))
    return plain


def unseal_to_memory(buffer: Buffer, ring: KeyRing, kind: ObjectKind) -> bytes | Memory:
    """The same; what is large in memory of its own, whose large pages are cheaper to get and to search."""
    if decode_sealed_header(buffer).raw_length < _LARGE_FROM:
        return unseal_object(buffer, ring, kind)
    header, packed = _opened(buffer, ring, kind, b"")
    memory = new_memory(header.raw_length)
    with memoryview(memory) as room:
        if header.compression is Compression.NONE:
            _expect_length(header, len(packed))
            room[:] = packed
        else:
            _expect_length(header, _decompressed(header, packed, room))
    return memory


def _decompressed(header: SealedHeader, packed: Buffer, room: memoryview) -> int:
    """Decompress into `room`, of the length that the header says; the number of bytes that came out, one too many at
    most.
    """
    import zstandard

    reader = zstandard.ZstdDecompressor().stream_reader(packed)
    length = 0
    try:
        while length < len(room) and (read := reader.readinto(room[length:])):
            length += read
        return length + len(reader.read(1))
    except zstandard.ZstdError as error:
        raise Damaged(f"{_name(header)} cannot be decompressed", reason=str(error)) from None


def unseal_in_steps(buffer: Buffer, ring: KeyRing, kind: ObjectKind) -> Iterator[Buffer]:
    """The same in pieces, each of which is good until the next is asked for: nothing large is made in memory.

    All of it was authentic once the first piece is there.
    """
    header, packed = _opened(buffer, ring, kind, b"")
    if header.compression is Compression.NONE:
        _expect_length(header, len(packed))
        yield packed
        return
    import zstandard

    reader = zstandard.ZstdDecompressor().stream_reader(packed)
    piece, length = bytearray(_STEP), 0
    try:
        while read := reader.readinto(piece):
            length += read
            if length > header.raw_length:
                break
            yield memoryview(piece)[:read]
    except zstandard.ZstdError as error:
        raise Damaged(f"{_name(header)} cannot be decompressed", reason=str(error)) from None
    _expect_length(header, length)


def _opened(buffer: Buffer, ring: KeyRing, kind: ObjectKind, context: bytes) -> tuple[SealedHeader, Buffer]:
    """The header, and what it says of the authentic bytes that are returned; they may still be compressed."""
    view = memoryview(buffer)
    header = decode_sealed_header(view)
    if header.kind is not kind:
        raise Damaged(f"{_name(header)} lies where another kind belongs")
    keys = ring.by_id(header.key_id)
    message = (
        keys.object_key(header.salt, header.kind),
        nonce(Purpose.OBJECT, 0),
        view[SEALED_HEADER_LENGTH:],
        _associated_data(bytes(view[:SEALED_HEADER_LENGTH]), keys.repository_id, context),
        _name(header),
    )
    if header.compression is Compression.NONE or len(view) < _LARGE_FROM:
        return header, crypto.unseal(*message)
    room = memoryview(new_memory(len(view) - SEALED_HEADER_LENGTH - TAG_LENGTH))
    crypto.unseal_into(room, *message)
    return header, room


def _name(header: SealedHeader) -> str:
    return f"sealed object ({header.kind.name.lower().replace('_', ' ')})"


def _expect_length(header: SealedHeader, length: int) -> None:
    if length != header.raw_length:
        raise Damaged(f"{_name(header)} has another length than its header says", length=length)
