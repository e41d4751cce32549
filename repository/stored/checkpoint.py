"""A checkpoint: all that a log's entries add up to after one of them, as an object of its own.

Promise: `decode_checkpoint` returns what a holder of the root key sealed and signed for this number; anything else
raises `Damaged`. It is worth what its log says: the reader compares it with the entry that it speaks of. It can be
made anew from the log at any time, so that losing one costs time and nothing else.
Layout: sealed MessagePack (kind CHECKPOINT, bound to the number u64) · signature 64 over label ‖ number ‖ the rest.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from repository.errors import Damaged, UnsupportedFormat
from repository.format import FORMAT_VERSION
from repository.keys import crypto
from repository.keys.key_ring import DomainKeys, KeyRing
from repository.ports import Randomness
from repository.stored.object_reading import check_length_of
from repository.stored.sealed_object import ObjectKind, key_id_in, seal_object, unseal_object

CHECKPOINT_PREFIX: Final = "checkpoints/"
_NUMBER = struct.Struct("<Q")


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """One live snapshot: id (16 bytes), its entry, seconds until which it is locked, run token, manifest."""

    id: bytes
    entry: int
    locked_until: int | None
    run_token: str
    manifest: bytes


class KeptStream(msgspec.Struct, frozen=True, array_like=True):
    """What the log says of one stream last; see `log_entry.StreamAppended`."""

    number: int
    position: int
    digest: bytes
    first: int
    locked_from: int
    locked_until: int | None


class KeptTags(msgspec.Struct, frozen=True, array_like=True, order=True):
    """What the log says of one snapshot's tags last; see `log_entry.SnapshotsTagged`."""

    revision: int
    tags: tuple[str, ...]


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The state after entry `number`, of which `digest` is what the next one names.

    `snapshots`: in the order of their entries. `forgotten`: ids (hex) of forgotten ones, in the order in which
    they were, with their run tokens (empty where they are not known). `segments`: names (hex) and entries. `replaced`,
    `marked`, `swept`: names and packs, 32 bytes each. `streams`: by name. `released_holds`: names of holds that are
    over. `tags`: by snapshot id (hex), where they were changed. Else as in the log.
    """

    format: int = FORMAT_VERSION
    time_ns: int
    number: int
    digest: bytes
    tier_id: bytes
    snapshot_count: int
    snapshots: tuple[Kept, ...]
    forgotten: dict[str, str]
    segments: dict[str, int]
    replaced: bytes
    marked: bytes
    swept: bytes
    key_objects: dict[str, str]
    destroyed_keys: tuple[str, ...]
    holds: dict[str, tuple[str, ...]]
    witnesses: dict[str, tuple[int, bytes]]
    bridged: tuple[int, ...]
    streams: dict[str, KeptStream] = {}
    released_holds: tuple[str, ...] = ()
    tags: dict[str, KeptTags] = {}


class CheckpointAndEnded(Checkpoint, frozen=True, kw_only=True):
    """`ended_keks`: ids (hex) of key-encryption keys that were removed; absent where none was.

    A version that does not know the field passes over it, and makes checkpoints without it.
    """

    ended_keks: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


_CHECKPOINT: Final = msgspec.msgpack.Decoder(CheckpointAndEnded)


def checkpoint_object_key(number: int, digest: bytes) -> str:
    """Where a checkpoint lives below a tier's prefix. `digest`: SHA-256 of its bytes."""
    return f"{CHECKPOINT_PREFIX}{number:016d}-{digest.hex()}"


def checkpoint_of(object_key: str) -> tuple[int, bytes] | None:
    """Number and digest in an object key; None where it is no checkpoint's."""
    number, dash, digest = object_key.removeprefix(CHECKPOINT_PREFIX).partition("-")
    is_number = len(number) == 16 and number.isascii() and number.isdigit()
    if not (is_number and dash and len(digest) == 64 and not set(digest) - set("0123456789abcdef")):
        return None
    return int(number), bytes.fromhex(digest)


def _signed(number: int, sealed: bytes) -> bytes:
    return crypto.LABEL + b"checkpoint\0" + _NUMBER.pack(number) + sealed


def encode_checkpoint(checkpoint: Checkpoint, root: DomainKeys, randomness: Randomness) -> bytes:
    """The object's bytes; no two calls give the same. Raises `LimitExceeded`."""
    bound = _NUMBER.pack(checkpoint.number)
    sealed = seal_object(msgspec.msgpack.encode(checkpoint), root, ObjectKind.CHECKPOINT, randomness, context=bound)
    check_length_of(CHECKPOINT_PREFIX, len(sealed) + crypto.SIGNATURE_LENGTH)
    return sealed + root.signer().sign(_signed(checkpoint.number, sealed))


def decode_checkpoint(buffer: bytes, number: int, ring: KeyRing, *, by_any_root: bool = True) -> CheckpointAndEnded:
    """Authenticate and read the checkpoint of entry `number`. Raises `Damaged`, `UnsupportedFormat`, `UnknownKey`.

    `by_any_root`: False where only the last one that was made is to count: who has an older one could say anything.
    """
    sealed, signature = buffer[: -crypto.SIGNATURE_LENGTH], buffer[-crypto.SIGNATURE_LENGTH :]
    root = ring.signing(key_id_in(sealed))
    if root is None or not root.verifier.verifies(signature, _signed(number, sealed)):
        raise Damaged("checkpoint is not signed by the repository's key", number=number)
    if not by_any_root and root is not ring.newest_root:
        raise Damaged("checkpoint is signed by a root that is not in force any more", number=number)
    plain = unseal_object(sealed, ring, ObjectKind.CHECKPOINT, context=_NUMBER.pack(number))
    try:
        checkpoint = _CHECKPOINT.decode(plain)
    except msgspec.DecodeError as error:
        raise UnsupportedFormat(
            "checkpoint says something that this version does not know", reason=str(error)
        ) from None
    if checkpoint.format != FORMAT_VERSION or checkpoint.number != number:
        raise UnsupportedFormat("checkpoint has an unknown format", version=checkpoint.format)
    return checkpoint
