"""Signed checkpoints of a log, as the C2SP documents `signed-note` and `tlog-checkpoint` have them.

A checkpoint is three lines: the log's origin, its size in decimal, its root in base64. A note is that text, an empty
line, and a line for each signature:

    — <name> <base64(key id || signature)>

The key's name is the log's origin. Its id is the first four bytes of SHA-256(name || 0x0A || 0x01 || public key), its
verifier key the text `<name>+<id in hex>+<base64(0x01 || public key)>`; 0x01 stands for Ed25519.
"""

import base64
import hashlib

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_ED25519 = b"\x01"
_DASH = "\N{EM DASH} "


class Checkpoint(msgspec.Struct, frozen=True):
    """What is signed: that a log has so many entries, with this root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """What is signed, byte for byte in UTF-8."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def public_bytes(key: Ed25519PublicKey) -> bytes:
    """The 32 bytes of a public key."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(name: str, public: bytes) -> bytes:
    """The four bytes by which a signature names its key."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def verifier_key(name: str, public: bytes) -> str:
    """A public key as whoever verifies is given it."""
    return f"{name}+{key_id(name, public).hex()}+{base64.b64encode(_ED25519 + public).decode()}"


def read_note(note: str) -> Checkpoint:
    """The checkpoint that a note says, whoever has signed it. Raises ValueError where it is none."""
    origin, size, root, *_ = note.split("\n")
    found = Checkpoint(origin, int(size), base64.b64decode(root, validate=True))
    if not note.startswith(f"{found.text()}\n{_DASH}{origin} "):
        raise ValueError("it is no checkpoint")
    return found


def is_signed(note: str, checkpoint: Checkpoint, public: bytes) -> bool:
    """Whether a note says this checkpoint, byte for byte, and is signed by the key alone."""
    text, mark, signature = note.partition(f"\n{_DASH}{checkpoint.origin} ")
    if not mark or text != checkpoint.text():
        return False
    try:
        given = base64.b64decode(signature.removesuffix("\n"), validate=True)
        Ed25519PublicKey.from_public_bytes(public).verify(given[4:], text.encode())
    except (ValueError, InvalidSignature):
        return False
    return given[:4] == key_id(checkpoint.origin, public)


def signed(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """A checkpoint as a note with one signature."""
    text = checkpoint.text()
    named = key_id(checkpoint.origin, public_bytes(key.public_key()))
    signature = base64.b64encode(named + key.sign(text.encode())).decode()
    return f"{text}\n{_DASH}{checkpoint.origin} {signature}\n"
