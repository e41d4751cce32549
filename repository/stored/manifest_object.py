"""A manifest as an object of its own: the second copy of what a snapshot's log entry says.

Promise: `decode_manifest_object` returns the bytes from which the snapshot's id is derived, as a holder of the root key
sealed and signed them; anything else raises `Damaged`. Should the entry be lost, the snapshot is not.
Layout: sealed body (kind MANIFEST, bound to the id) · signature 64 over label ‖ id ‖ everything before it.
"""

from typing import Final

from repository.errors import Damaged
from repository.keys import crypto
from repository.keys.key_ring import DomainKeys, KeyRing
from repository.ports import Randomness
from repository.stored.object_reading import check_length_of
from repository.stored.sealed_object import ObjectKind, seal_object, unseal_object
from repository.stored.snapshot import snapshot_id

MANIFEST_PREFIX: Final = "snapshots/"


def manifest_object_key(identity: str) -> str:
    """Where the manifest of the snapshot with this id (hex) lives below a tier's prefix."""
    return MANIFEST_PREFIX + identity


def manifest_id(object_key: str) -> str | None:
    """The snapshot's id (hex) in an object key; None where it is no manifest's."""
    digits = object_key.removeprefix(MANIFEST_PREFIX)
    is_id = len(digits) == 32 and not set(digits) - set("0123456789abcdef")
    return digits if is_id and object_key.startswith(MANIFEST_PREFIX) else None


def _signed(identity: bytes, sealed: bytes) -> bytes:
    return crypto.LABEL + b"manifest\0" + identity + sealed


def encode_manifest_object(
    manifest: bytes, identity: bytes, keys: DomainKeys, signer: crypto.Signer, randomness: Randomness
) -> bytes:
    """The object's bytes; no two calls give the same. Raises `LimitExceeded`."""
    sealed = seal_object(manifest, keys, ObjectKind.MANIFEST, randomness, context=identity)
    check_length_of(MANIFEST_PREFIX, len(sealed) + crypto.SIGNATURE_LENGTH)
    return sealed + signer.sign(_signed(identity, sealed))


def decode_manifest_object(buffer: bytes, identity: bytes, ring: KeyRing, verifier: crypto.Verifier) -> bytes:
    """The manifest's bytes. Raises `Damaged`, `UnsupportedFormat`, `UnknownKey`."""
    sealed, signature = buffer[: -crypto.SIGNATURE_LENGTH], buffer[-crypto.SIGNATURE_LENGTH :]
    if not verifier.verifies(signature, _signed(identity, sealed)):
        raise Damaged("manifest is not signed by the repository's key", snapshot=identity.hex())
    manifest = unseal_object(sealed, ring, ObjectKind.MANIFEST, context=identity)
    if snapshot_id(ring.root.repository_id, manifest) != identity:
        raise Damaged("manifest is another snapshot's", snapshot=identity.hex())
    return manifest
