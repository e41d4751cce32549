"""One entry of the commit log: its bytes, and what an entry can say.

Promise: `decode_entry` returns what a holder of the signing key wrote as entry `number` of a log of this
repository behind an entry with the digest `previous`; anything else raises `Damaged`. Layout (little endian):

    magic 8 · format u16 · flags u16 · body length u32 · number u64 · repository id 16 · previous 32
    sealed body (kind LOG_BODY, position = number)
    signature 64 over label ‖ everything before it
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple, TypeAlias

import msgspec

from repository.errors import Damaged, UnsupportedFormat
from repository.format import FORMAT_VERSION, Buffer
from repository.keys import crypto
from repository.keys.key_ring import DomainKeys, KeyRing
from repository.ports import Randomness
from repository.stored.object_reading import check_length_of
from repository.stored.sealed_object import ObjectKind, seal_object, unseal_object

LOG_PREFIX: Final = "log/"
LOG_MAGIC: Final = b"WSBENTRY"
ENTRY_HEADER_LENGTH: Final = 72
DIGEST_LENGTH: Final = 32

_HEADER = struct.Struct("<8sHHIQ16s32s")


class Begun(msgspec.Struct, frozen=True, kw_only=True, tag="begun", tag_field="kind"):
    """The log of a tier begins. Always entry 1, and nowhere else."""

    time_ns: int


class SnapshotCommitted(msgspec.Struct, frozen=True, kw_only=True, tag="snapshot", tag_field="kind"):
    """From now on the tier has this snapshot, and all that it references.

    `id` (hex) is derived from the bytes of `manifest`. `segments`: names (hex) of the index segments that came
    with it. `witnesses`: heads of the other tiers as the writer saw them, by tier id (hex): number and
    digest (hex); a tier that later shows less was rolled back.
    """

    time_ns: int
    id: str
    manifest: msgspec.Raw
    segments: tuple[str, ...] = ()
    witnesses: dict[str, tuple[int, str]] = {}


class IndexChanged(msgspec.Struct, frozen=True, kw_only=True, tag="index", tag_field="kind"):
    """Segments joined the index and others, whose rows they hold, left it."""

    time_ns: int
    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    reason: str = ""


class PacksMarked(msgspec.Struct, frozen=True, kw_only=True, tag="mark", tag_field="kind"):
    """These packs (hex) are to be deleted: no later snapshot references them."""

    time_ns: int
    packs: tuple[str, ...]


class PacksUnmarked(msgspec.Struct, frozen=True, kw_only=True, tag="unmark", tag_field="kind"):
    """These packs (hex) stay after all."""

    time_ns: int
    packs: tuple[str, ...]


class KeysChanged(msgspec.Struct, frozen=True, kw_only=True, tag="keys", tag_field="kind"):
    """The tier's key objects, by object key, with the SHA-256 (hex) of their bytes."""

    time_ns: int
    objects: dict[str, str]


class HistoryAccepted(msgspec.Struct, frozen=True, kw_only=True, tag="accept", tag_field="kind"):
    """An operator took another tier's rolled-back history for good: what was seen of it before is void.

    `number` and `digest` (hex): that tier's head when it was accepted.
    """

    time_ns: int
    tier_id: str
    number: int
    digest: str


class Bridged(msgspec.Struct, frozen=True, kw_only=True, tag="bridge", tag_field="kind"):
    """An entry with this number was lost and could not be had from elsewhere.

    `stands_for`: digest (hex) that the entry behind it names as its previous one; empty when there is none.
    """

    time_ns: int
    stands_for: str


Body: TypeAlias = (
    Begun | SnapshotCommitted | IndexChanged | PacksMarked | PacksUnmarked | KeysChanged | HistoryAccepted | Bridged
)


class EntryHeader(NamedTuple):
    """The 72 bytes before an entry's body, in the clear and signed."""

    number: int
    repository_id: bytes
    previous: bytes
    body_length: int


class Entry(NamedTuple):
    """A decoded entry. `digest` is the SHA-256 of its bytes, which the next one names."""

    number: int
    previous: bytes
    digest: bytes
    body: Body


def entry_object_key(number: int) -> str:
    """Where entry `number` lives below a tier's prefix."""
    return f"{LOG_PREFIX}{number:016d}"


def entry_number(object_key: str) -> int | None:
    """The number of the entry with this object key, or None where it is no entry's."""
    digits = object_key.removeprefix(LOG_PREFIX)
    if len(digits) == 16 and digits.isascii() and digits.isdigit() and int(digits):
        return int(digits)
    return None


def _signed(entry: Buffer) -> bytes:
    return crypto.LABEL + b"log-entry\0" + bytes(entry)


def encode_entry(
    body: Body, number: int, previous: bytes, keys: DomainKeys, signer: crypto.Signer, randomness: Randomness
) -> bytes:
    """The bytes of an entry; no two calls give the same. Raises `LimitExceeded` where it says too much."""
    sealed = seal_object(msgspec.json.encode(body), keys, ObjectKind.LOG_BODY, randomness, position=number)
    header = _HEADER.pack(LOG_MAGIC, FORMAT_VERSION, 0, len(sealed), number, keys.repository_id, previous)
    check_length_of(LOG_PREFIX, len(header) + len(sealed) + crypto.SIGNATURE_LENGTH)
    return header + sealed + signer.sign(_signed(header + sealed))


def decode_entry_header(buffer: Buffer) -> EntryHeader:
    """Read an entry's first 72 bytes. Raises `Damaged`, `UnsupportedFormat`."""
    if len(buffer) < ENTRY_HEADER_LENGTH + crypto.SIGNATURE_LENGTH:
        raise Damaged("log entry is too short", length=len(buffer))
    magic, version, flags, body_length, number, repository_id, previous = _HEADER.unpack_from(buffer)
    if magic != LOG_MAGIC:
        raise Damaged("log entry does not start with its magic")
    if version != FORMAT_VERSION or flags:
        raise UnsupportedFormat("log entry has an unknown format", version=version, flags=flags)
    if len(buffer) != ENTRY_HEADER_LENGTH + body_length + crypto.SIGNATURE_LENGTH:
        raise Damaged("log entry has another length than its header says", length=len(buffer))
    return EntryHeader(number, repository_id, previous, body_length)


def decode_entry(buffer: bytes, number: int, ring: KeyRing, verifier: crypto.Verifier) -> Entry:
    """Authenticate and read entry `number`; whether `previous` fits is for the log to say.

    Raises `Damaged`, `UnsupportedFormat`, `UnknownKey`.
    """
    signed_length = len(buffer) - crypto.SIGNATURE_LENGTH
    # The signature first: only what is signed may be taken for the work of a later version.
    if signed_length < 0 or not verifier.verifies(buffer[signed_length:], _signed(buffer[:signed_length])):
        raise Damaged("log entry is not signed by the repository's key", number=number)
    header = decode_entry_header(buffer)
    if header.number != number or header.repository_id != ring.root.repository_id:
        raise Damaged("log entry lies at another entry's place", number=number, says=header.number)
    body = unseal_object(
        memoryview(buffer)[ENTRY_HEADER_LENGTH:signed_length], ring, ObjectKind.LOG_BODY, position=number
    )
    try:
        decoded: Body = msgspec.json.decode(body, type=Body)
    except msgspec.DecodeError as error:
        # Whoever signed it can encode: this is a kind of entry that a later version writes.
        raise UnsupportedFormat("log entry says something that this version does not know", reason=str(error)) from None
    return Entry(number, header.previous, crypto.sha256(buffer), decoded)
