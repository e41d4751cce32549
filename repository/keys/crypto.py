"""The few cryptographic calls that the repository makes, each with its label.

Every key but the key-encryption key is derived with HKDF-SHA256 (RFC 5869) from a data key (the
*master* of a domain), with the repository id as salt, or the salt of one object, and a label that no
other use shares. AES-256-GCM encrypts (one message per nonce, see `format.nonce`), keyed BLAKE3
identifies chunks and authenticates the config, Ed25519 signs log entries.
The native libraries are imported when they are first needed: the command line starts without them.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from repository.errors import Damaged
from repository.format import NONCE_LENGTH, TAG_LENGTH, Buffer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_LENGTH: Final = 32
SIGNATURE_LENGTH: Final = 64
PUBLIC_KEY_LENGTH: Final = 32

LABEL: Final = b"wedsync-backup/v1/"
"""Every derivation's label begins with this."""


def derive(key: bytes, salt: bytes, purpose: bytes, context: bytes = b"", length: int = KEY_LENGTH) -> bytes:
    """HKDF-SHA256 of `key` with info = `wedsync-backup/v1/` ‖ purpose ‖ 0 ‖ context."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), length, salt, LABEL + purpose + b"\0" + context).derive(key)


def aead(key: bytes) -> AESGCM:
    """An AES-256-GCM cipher; its calls release the GIL and may be made from several threads."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def seal(key: bytes, nonce: bytes, plaintext: Buffer, associated_data: bytes) -> bytes:
    """Ciphertext ‖ tag. The caller never uses the same key and nonce for another message."""
    return aead(key).encrypt(nonce, plaintext, associated_data)


def unseal(key: bytes, nonce: bytes, ciphertext: Buffer, associated_data: bytes, what: str) -> bytes:
    """The plaintext of `ciphertext` ‖ tag. Raises `Damaged`, naming `what`."""
    from cryptography.exceptions import InvalidTag

    if len(nonce) != NONCE_LENGTH or len(ciphertext) < TAG_LENGTH:
        raise Damaged(f"{what} is too short to be authentic")
    try:
        return aead(key).decrypt(nonce, ciphertext, associated_data)
    except InvalidTag:
        raise Damaged(f"{what} is not authentic") from None


def unseal_into(
    room: memoryview, key: bytes, nonce: bytes, ciphertext: Buffer, associated_data: bytes, what: str
) -> None:
    """As `unseal`, into memory of exactly the plaintext's length. What is in it counts only when this returns."""
    from cryptography.exceptions import InvalidTag

    try:
        aead(key).decrypt_into(nonce, ciphertext, associated_data, room)
    except InvalidTag:
        raise Damaged(f"{what} is not authentic") from None


def keyed_digest(key: bytes, buffer: Buffer) -> bytes:
    """Keyed BLAKE3-256."""
    from blake3 import blake3

    return blake3(buffer, key=key).digest()


def same(left: bytes, right: bytes) -> bool:
    """Whether two digests are equal, in time that does not depend on where they differ."""
    return hmac.compare_digest(left, right)


def sha256(*parts: Buffer) -> bytes:
    """SHA-256 of the parts one after the other: names segments, chains the log."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


class Signer:
    """An Ed25519 key pair from a 32-byte seed."""

    def __init__(self, seed: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._key: Ed25519PrivateKey = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key: bytes = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message`."""
        return self._key.sign(message)


class Verifier:
    """The public half of a `Signer`."""

    def __init__(self, public_key: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        self._key: Ed25519PublicKey = Ed25519PublicKey.from_public_bytes(public_key)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the key's owner signed `message`."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True
