"""A passphrase: the key provider that needs nothing but a memory.

Promise: the passphrase itself is stored nowhere and shown by nobody; the KEK is Argon2id of it (RFC 9106, version
0x13), and what it costs stands beside each wrapped key, so that whoever has the passphrase and a tier can open it.
The bytes of `wrapped` (little endian):

    magic 8 `WSBPASS1` · memory u32 (KiB) · passes u32 · lanes u32 · salt 16
    nonce 12 · AES-256-GCM ciphertext · tag 16, bound to what the provider is given and to the 36 bytes above

Anybody may put such an object into a bucket: one that asks for more than `Cost` allows is not derived, and all of
them together cost no more than `WORK_MAX_KIB`.
"""

from __future__ import annotations

import struct
import threading
import unicodedata
from typing import Final, NamedTuple

from repository.errors import Damaged, KeyNotGiven, KeyUnavailable, PassphraseUnfit, WrongKey
from repository.format import NONCE_LENGTH
from repository.keys import crypto
from repository.keys.key_file import kek_id as id_of
from repository.ports import SYSTEM_RANDOMNESS, Randomness

MAGIC: Final = b"WSBPASS1"
SALT_LENGTH: Final = 16
LENGTH_MIN: Final = 8
"""Characters of a new passphrase, at least."""
LENGTH_MAX: Final = 1024
_HEADER = struct.Struct("<8sIII16s")
WORK_MAX_KIB: Final = 16 << 20
"""KiB times passes that opening may cost in all: half a minute, or 85 wrappings of the usual cost."""


class Cost(NamedTuple):
    """What one guess costs. As usual: RFC 9106, section 4, second recommendation."""

    memory_kib: int = 64 << 10
    passes: int = 3
    lanes: int = 4

    @property
    def is_bearable(self) -> bool:
        """Whether a reader pays it: neither next to nothing nor more than a small machine has."""
        return (
            8 << 10 <= self.memory_kib <= 1 << 20
            and 1 <= self.passes <= 64
            and 1 <= self.lanes <= 16
            and self.memory_kib * self.passes <= 4 << 20
        )


USUAL_COST: Final = Cost()


def expect_good(text: str) -> str:
    """A new passphrase, if it may be one. Raises `PassphraseUnfit`; says nothing of what it is."""
    if not LENGTH_MIN <= len(text) <= LENGTH_MAX:
        hint = f"Take {LENGTH_MIN} to {LENGTH_MAX} characters; six words drawn by dice are good."
        raise PassphraseUnfit("the new passphrase is too short or too long", hint=hint)
    return text


class Passphrase:
    """A `KeyProvider` over one passphrase. Thread-safe. The KEK that opened something is the present one."""

    def __init__(self, text: str, cost: Cost | None = None, randomness: Randomness = SYSTEM_RANDOMNESS) -> None:
        """`text`: in whatever composition of its characters it was typed. Raises `KeyNotGiven` where it is empty."""
        if not text:
            raise KeyNotGiven("the passphrase is empty")
        self._secret = unicodedata.normalize("NFC", text).encode("utf-8", "surrogateescape")
        self._randomness = randomness
        self._fresh = _HEADER.pack(MAGIC, *(cost or USUAL_COST), randomness.token_bytes(SALT_LENGTH))
        self._present: bytes | None = None
        self._keks: dict[bytes, bytes] = {}
        self._work_kib = 0
        self._guard = threading.Lock()

    def __repr__(self) -> str:
        return "Passphrase()"

    def kek_id(self) -> bytes:
        """See `KeyProvider`."""
        return id_of(self._derived(self._present or self._fresh))

    def wrap(self, plaintext: bytes, associated_data: bytes) -> bytes:
        """See `KeyProvider`."""
        header = self._present or self._fresh
        nonce = self._randomness.token_bytes(NONCE_LENGTH)
        return header + nonce + crypto.seal(self._derived(header), nonce, plaintext, associated_data + header)

    def unwrap(self, kek_id: bytes, wrapped: bytes, associated_data: bytes) -> bytes:
        """See `KeyProvider`."""
        header, rest = wrapped[: _HEADER.size], wrapped[_HEADER.size :]
        if not header.startswith(MAGIC):
            raise WrongKey("this data key is not wrapped under a passphrase", kek_id=kek_id.hex())
        if len(header) < _HEADER.size or len(rest) < NONCE_LENGTH:
            raise Damaged("wrapped key is too short")
        kek = self._derived(header)
        if not crypto.same(id_of(kek), kek_id):
            raise WrongKey("the passphrase is not the one under which this data key is wrapped", kek_id=kek_id.hex())
        plaintext = crypto.unseal(
            kek, rest[:NONCE_LENGTH], rest[NONCE_LENGTH:], associated_data + header, "wrapped key"
        )
        self._present = self._present or header
        return plaintext

    def _derived(self, header: bytes) -> bytes:
        """The KEK for one cost and salt. Raises `Damaged` (it asks for too much, or too little), `KeyUnavailable`."""
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

        _, memory, passes, lanes, salt = _HEADER.unpack(header)
        cost = Cost(memory, passes, lanes)
        if not cost.is_bearable:
            raise Damaged("wrapped key asks for work that no passphrase is worth", **cost._asdict())
        with self._guard:
            known = self._keks.get(header)
            if known is None:
                self._work_kib += memory * passes
                if self._work_kib > WORK_MAX_KIB:
                    hint = "Somebody put key objects below keys/ that are none: take away those that no log names."
                    raise KeyUnavailable("the tiers ask for more work than opening is worth", hint=hint)
                known = self._keks[header] = Argon2id(
                    salt=salt, length=crypto.KEY_LENGTH, iterations=passes, lanes=lanes, memory_cost=memory
                ).derive(self._secret)
        return known
