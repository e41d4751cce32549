"""The key file: the key provider that needs nothing but a file.

Promise: created once (never overwritten), with mode 0600, durable when `create` returns. A line that was
mistyped or damaged is told apart from another repository's key by its check digits. Layout: UTF-8 text, one
key a line, the present one first, older ones (for what is not re-wrapped yet) after it:

    # comment
    wsbkek1-<64 hex: the key>-<8 hex: SHA-256 of "wedsync-backup/v1/kek" ‖ key, first 4 bytes>
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Final

from repository.errors import Damaged, KeyFileInvalid, KeyFileNotMade, WrongKey
from repository.format import KEY_ID_LENGTH, NONCE_LENGTH
from repository.keys import crypto
from repository.ports import SYSTEM_RANDOMNESS, Randomness
from repository.regular_file import open_regular

_LINE = re.compile(r"wsbkek1-([0-9a-f]{64})-([0-9a-f]{8})", re.ASCII | re.IGNORECASE)
_HEADER: Final = """\
# WedSync Backup: key-encryption key. Whoever has this line and one tier can read everything;
# whoever loses it can read nothing. Keep copies apart from the backups. The first key is the present one.
"""
KEY_FILE_LENGTH_MAX: Final = 64 << 10


def check_digits(kek: bytes) -> str:
    """Eight hexadecimal digits by which a mistyped key shows."""
    return crypto.sha256(crypto.LABEL, b"kek", kek)[:4].hex()


def kek_id(kek: bytes) -> bytes:
    """The public id (16 bytes) of a key-encryption key."""
    return crypto.derive(kek, b"", b"kek-id", length=KEY_ID_LENGTH)


class KeyFile:
    """A `KeyProvider` over the keys of one file. Immutable and thread-safe."""

    def __init__(self, keks: list[bytes], randomness: Randomness = SYSTEM_RANDOMNESS) -> None:
        """`keks`: 32 bytes each, the present one first."""
        self._present = kek_id(keks[0])
        self._by_id = {kek_id(kek): kek for kek in keks}
        self._randomness = randomness

    def __repr__(self) -> str:
        return f"KeyFile({self._present.hex()}, {len(self._by_id)} keys)"

    @staticmethod
    def create(path: str | os.PathLike[str], randomness: Randomness = SYSTEM_RANDOMNESS) -> KeyFile:
        """Make a new key and its file. Raises `KeyFileNotMade` where something has this path already."""
        kek = randomness.token_bytes(crypto.KEY_LENGTH)
        write_keys(path, [kek])
        return KeyFile([kek], randomness)

    @staticmethod
    def load(path: str | os.PathLike[str], randomness: Randomness = SYSTEM_RANDOMNESS) -> KeyFile:
        """Read a key file. Raises `KeyFileInvalid`, also when everybody may read it."""
        return KeyFile(_read(path), randomness)

    @staticmethod
    def from_text(text: bytes, source: str) -> KeyFile:
        """The key of what a key file holds. `source`: where it came from, for errors. Raises `KeyFileInvalid`."""
        return KeyFile(_keys_in(text, source))

    @staticmethod
    def rotate(
        path: str | os.PathLike[str], new_path: str | os.PathLike[str], randomness: Randomness = SYSTEM_RANDOMNESS
    ) -> KeyFile:
        """Make `new_path` with a new key in front of the ones of `path`, which stays as it is.

        Afterwards `key_change.rewrap` adds wrappings under the new key; then the older lines can go.
        """
        return KeyFile(_read(path), randomness).successor(new_path)

    def successor(self, new_path: str | os.PathLike[str]) -> KeyFile:
        """As `rotate`, of keys that may lie in no file. One that was made so before, by a call that was interrupted
        perhaps, is the one.
        """
        own = list(self._by_id.values())
        keks = [self._randomness.token_bytes(crypto.KEY_LENGTH), *own]
        try:
            write_keys(new_path, keks)
        except KeyFileNotMade as error:
            try:
                keks = _read(new_path)
            except KeyFileInvalid:
                raise error from None
            if keks[1:] != own:
                raise
        return KeyFile(keks, self._randomness)

    @property
    def present_kek(self) -> bytes:
        """The key that wraps now: secret."""
        return self._by_id[self._present]

    def kek_id(self) -> bytes:
        """See `KeyProvider`."""
        return self._present

    def ids(self) -> list[str]:
        """The public ids of all its keys, in hex, in order."""
        return sorted(each.hex() for each in self._by_id)

    def wrap(self, plaintext: bytes, associated_data: bytes) -> bytes:
        """See `KeyProvider`: nonce 12 ‖ AES-256-GCM ciphertext ‖ tag 16, under a random nonce."""
        nonce = self._randomness.token_bytes(NONCE_LENGTH)
        return nonce + crypto.seal(self._by_id[self._present], nonce, plaintext, associated_data)

    def unwrap(self, kek_id: bytes, wrapped: bytes, associated_data: bytes) -> bytes:
        """See `KeyProvider`."""
        kek = self._by_id.get(kek_id)
        if kek is None:
            raise WrongKey("the key file does not hold the key that wraps this data key", kek_id=kek_id.hex())
        if len(wrapped) < NONCE_LENGTH:
            raise Damaged("wrapped key is too short")
        return crypto.unseal(kek, wrapped[:NONCE_LENGTH], wrapped[NONCE_LENGTH:], associated_data, "wrapped key")


def write_keys(path: str | os.PathLike[str], keks: list[bytes]) -> None:
    """Make a key file of these keys, the present one first. Raises `KeyFileInvalid`, also where the path is taken."""
    text = _HEADER + "".join(f"wsbkek1-{kek.hex()}-{check_digits(kek)}\n" for kek in keks)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise KeyFileNotMade(
            "key file exists already and is not overwritten", hint="Use it or move it away.", file=os.fspath(path)
        ) from None
    except OSError as error:
        raise KeyFileNotMade("key file cannot be created", reason=error.strerror, file=os.fspath(path)) from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        # Half a key is none, and its name must be free for the next attempt.
        with suppress(OSError):
            os.unlink(path)
        raise KeyFileNotMade(
            "key file cannot be written",
            hint="Make room, or give a place on a disk that can be written to.",
            reason=error.strerror,
            file=os.fspath(path),
        ) from error


def _read(path: str | os.PathLike[str]) -> list[bytes]:
    try:
        with open_regular(path) as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(KEY_FILE_LENGTH_MAX + 1)
    except OSError as error:
        hint = None
        if isinstance(error, PermissionError):
            hint = "It is another user's, or has no rights left: become that user, or `chmod 600` it."
        elif isinstance(error, FileNotFoundError):
            hint = "Is the path as it was meant? If the file is gone, make it again from the recovery kit."
        raise KeyFileInvalid(
            "key file cannot be read", hint=hint, reason=error.strerror, file=os.fspath(path)
        ) from error
    if mode & 0o007:
        raise KeyFileInvalid(
            "key file is open to everybody", hint="Take the rights away: chmod 600 FILE.", file=os.fspath(path)
        )
    return _keys_in(text, os.fspath(path))


def _keys_in(text: bytes, source: str) -> list[bytes]:
    keks: list[bytes] = []
    for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or check_digits(kek := bytes.fromhex(match[1])) != match[2].lower():
            raise KeyFileInvalid("line of the key file is no key, or is damaged", file=source, line=number)
        keks.append(kek)
    if not keks or len(text) > KEY_FILE_LENGTH_MAX:
        raise KeyFileInvalid("file holds no key", file=source)
    return keks
