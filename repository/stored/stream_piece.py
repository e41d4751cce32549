"""One piece of a stream: bytes that were appended at a position, as one small object, the same on every tier.

Promise: `decode_piece` returns what a holder of the root key appended as piece `number` of this stream behind the piece
with the digest `previous`; anything else raises `Damaged`. The same bytes appended at the same place give the same
object: neither clock nor chance has a part in it, so that an append is repeated without harm, by whoever, on whichever
tier. Layout (little endian):

    magic 8 · format u16 · flags u16 · body length u32
    number u64 · repository id 16 · stream id 16 · 0 8 · previous 32
    sealed body (kind STREAM_PIECE, bound to the line above): position u64 · length of the name u16 · name · bytes
    signature 64 over label ‖ everything before it
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from repository.errors import Damaged, LimitExceeded, UnsupportedFormat
from repository.format import FORMAT_VERSION, Buffer
from repository.keys import crypto
from repository.keys.key_ring import DomainKeys, KeyRing, Rank
from repository.stored.object_reading import check_length_of
from repository.stored.sealed_object import ObjectKind, seal_repeatably, unseal_object

STREAM_PREFIX: Final = "streams/"
FOLDER_DIGITS: Final = 13
PIECE_MAGIC: Final = b"WSBPIECE"
PIECE_HEADER_LENGTH: Final = 96
PIECE_LENGTH_MAX: Final = 16 << 20
"""Bytes of one append, at most."""

_HEADER = struct.Struct("<8sHHIQ16s16s8s32s")
_BODY = struct.Struct("<QH")
_BOUND_FROM: Final = 16


class Piece(NamedTuple):
    """A decoded piece. `digest`: SHA-256 of the object's bytes. `position`: of its first byte within the stream."""

    number: int
    previous: bytes
    digest: bytes
    name: str
    position: int
    data: bytes
    signer: Rank = Rank()
    """The root that signed it."""

    @property
    def end(self) -> int:
        """The position behind its last byte."""
        return self.position + len(self.data)


def stream_object_prefix(stream_id: bytes) -> str:
    """Where the pieces of a stream live below a tier's prefix."""
    return f"{STREAM_PREFIX}{stream_id.hex()}/"


def piece_object_key(stream_id: bytes, number: int) -> str:
    """Where a piece lives: a thousand in a folder, as the entries of the log."""
    digits = f"{number:016d}"
    return f"{stream_object_prefix(stream_id)}{digits[:FOLDER_DIGITS]}/{digits}"


def piece_of(object_key: str) -> tuple[bytes, int] | None:
    """Stream id and number in an object key; None where it is no piece's."""
    prefix, _, rest = object_key.partition("/")
    name, digits = rest[:32], object_key.rpartition("/")[2]
    if f"{prefix}/" != STREAM_PREFIX or len(name) != 32 or set(name) - set("0123456789abcdef"):
        return None
    if len(digits) != 16 or not (digits.isascii() and digits.isdigit() and int(digits)):
        return None
    stream_id = bytes.fromhex(name)
    return (stream_id, int(digits)) if object_key == piece_object_key(stream_id, int(digits)) else None


def beginning(repository_id: bytes, stream_id: bytes) -> bytes:
    """What the first piece names as its previous one."""
    return crypto.sha256(crypto.LABEL, b"stream\0", repository_id, stream_id)


def _signed(piece: Buffer) -> bytes:
    return crypto.LABEL + b"stream-piece\0" + bytes(piece)


def encode_piece(
    data: Buffer, *, name: str, number: int, position: int, previous: bytes, keys: DomainKeys, ring: KeyRing
) -> bytes:
    """The bytes of a piece: `keys` seal it, the root in force signs, the first one names the stream.

    Raises `LimitExceeded`.
    """
    text = name.encode()
    if len(data) > PIECE_LENGTH_MAX:
        raise LimitExceeded("an append has too many bytes: cut it", length=len(data), length_max=PIECE_LENGTH_MAX)
    if len(text) > 0xFFFF or not 0 <= position < 1 << 63:
        raise LimitExceeded("a stream's name or position does not fit", length=len(text), position=position)
    root, stream_id = ring.root, ring.first_root.stream_id(name)

    def header_of(length: int) -> bytes:
        place = (number, root.repository_id, stream_id, bytes(8), previous)
        return _HEADER.pack(PIECE_MAGIC, FORMAT_VERSION, 0, length, *place)

    bound = header_of(0)[_BOUND_FROM:]
    plain = b"".join((_BODY.pack(position, len(text)), text, data))
    sealed = seal_repeatably(plain, keys, ObjectKind.STREAM_PIECE, context=bound)
    header = header_of(len(sealed))
    check_length_of(STREAM_PREFIX, len(header) + len(sealed) + crypto.SIGNATURE_LENGTH)
    return header + sealed + root.signer().sign(_signed(header + sealed))


def decode_piece(buffer: bytes, stream_id: bytes, number: int, ring: KeyRing) -> Piece:
    """Authenticate and read piece `number`; whether `previous` fits is for the reader of the stream to say.

    Raises `Damaged`, `UnsupportedFormat`, `UnknownKey`.
    """
    signed_length = len(buffer) - crypto.SIGNATURE_LENGTH
    # The signature first: only what is signed may be taken for the work of a later version.
    signed = _signed(buffer[:signed_length])
    signers = (root for root in ring.roots() if root.verifier.verifies(buffer[signed_length:], signed))
    signer = next(signers, None) if signed_length >= PIECE_HEADER_LENGTH else None
    if signer is None:
        raise Damaged("piece of a stream is not signed by the repository's key", number=number)
    magic, version, flags, length, at, repository_id, stream, reserved, previous = _HEADER.unpack_from(buffer)
    if version != FORMAT_VERSION or flags:
        raise UnsupportedFormat("piece of a stream has an unknown format", version=version, flags=flags)
    if magic != PIECE_MAGIC or any(reserved) or PIECE_HEADER_LENGTH + length != signed_length:
        raise Damaged("piece of a stream is not one", number=number)
    if (at, repository_id, stream) != (number, signer.repository_id, stream_id):
        raise Damaged("piece of a stream lies at another one's place", number=number, says=at)
    plain = unseal_object(
        memoryview(buffer)[PIECE_HEADER_LENGTH:signed_length],
        ring,
        ObjectKind.STREAM_PIECE,
        context=buffer[_BOUND_FROM:PIECE_HEADER_LENGTH],
    )
    if len(plain) < _BODY.size:
        raise Damaged("piece of a stream is too short", number=number)
    position, name_length = _BODY.unpack_from(plain)
    start = _BODY.size + name_length
    name = plain[_BODY.size : start]
    try:
        text = name.decode()
    except UnicodeDecodeError:
        raise Damaged("piece of a stream has a name that is no text", number=number) from None
    if len(name) != name_length or ring.first_root.stream_id(text) != stream_id:
        raise Damaged("piece of a stream is another stream's", number=number)
    return Piece(number, previous, crypto.sha256(buffer), text, position, plain[start:], signer.rank)
