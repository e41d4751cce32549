"""The key that signs the audit log: 32 random bytes in a file of the keys folder, mode 0600.

Promise: it is made once, before anything was ever signed, and never again. Where the file is missing or is another
key than the one that the record names, nothing is signed.
"""

import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chassis.auditlog.note import public_bytes
from chassis.key_errors import KEY_BYTES, unreadable, unwritable
from chassis.key_files import read_regular, write_new
from services.compliance.errors import SignerUnknown

FILE = "audit-log.key"


class SigningKey:
    """The file. Asked on a thread: its disk may not answer."""

    def __init__(self, keys_dir: Path) -> None:
        self.path = keys_dir / FILE

    def open(self, known: bytes | None) -> Ed25519PrivateKey:
        """The key. `known`: the public key that the record names; None where nothing was ever signed: then it is made.

        Raises SignerUnknown, and KEYS_UNREACHABLE, KEYS_UNUSABLE or NO_SPACE where the disk says no.
        """
        if known is None:
            self._make()
        try:
            found = read_regular(self.path)
        except FileNotFoundError as error:
            raise SignerUnknown(FILE, "is missing") from error
        except OSError as error:
            raise unreadable(error, file=FILE) from error
        if len(found) != KEY_BYTES:
            raise SignerUnknown(FILE, f"has {len(found)} bytes in place of {KEY_BYTES}")
        key = Ed25519PrivateKey.from_private_bytes(found)
        if known is not None and public_bytes(key.public_key()) != known:
            raise SignerUnknown(FILE, "is another one than has signed it so far")
        return key

    def _make(self) -> None:
        try:
            write_new(self.path, secrets.token_bytes(KEY_BYTES))
        except FileExistsError:
            return
        except OSError as error:
            raise unwritable(error, file=FILE) from error
