"""The key that signs the audit log: 32 random bytes in a file of the keys folder, mode 0600.

Promise: it is made once, before anything was ever signed, and again only where an operator has said so, of which
`audit-log.anew` beside it is the mark (`wedsync-backup up --begin-anew keys/platform/audit-log.key`). Where the file is
missing, open to others, or another key than has signed so far, nothing is signed.
"""

import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chassis.auditlog.files import ANEW, KEY
from chassis.auditlog.note import is_signed, public_bytes, read_note
from chassis.disk import Disk
from chassis.key_errors import KEY_BYTES, asked, unreadable, unwritable
from chassis.key_files import read_regular, write_new
from services.compliance.errors import SignerUnknown


class SigningKey:
    """The file. Its disk may not answer: then KEYS_UNREACHABLE is raised."""

    def __init__(self, keys_dir: Path) -> None:
        self.folder = keys_dir
        self.path = keys_dir / KEY
        self._anew = keys_dir / ANEW
        self._disk = Disk(keys_dir)

    async def open(self, known: bytes | None, seen: Sequence[str] = ()) -> Ed25519PrivateKey:
        """The key. `known`: the public key that the record names; None where it names none. `seen`: notes that the
        platform is known to have signed: where there are none either, or an operator has said so, one is made.

        Raises SignerUnknown, and KEYS_UNREACHABLE, KEYS_UNUSABLE or NO_SPACE where the disk says no.
        """
        return await asked(self._disk, lambda: self._open(known, seen))

    async def check(self, known: bytes | None, seen: Sequence[str]) -> None:
        """Raise what `open` would, and make nothing. One that was never made is none that is missing."""
        if known is not None or seen:
            await asked(self._disk, lambda: self._read(known, seen))

    async def is_begun_anew(self) -> bool:
        """Whether an operator has said that another key is to sign from now on."""
        return await asked(self._disk, self._anew.exists)

    async def begun(self) -> None:
        """Take the mark away: what was said is done."""
        await asked(self._disk, lambda: self._anew.unlink(missing_ok=True))

    def _open(self, known: bytes | None, seen: Sequence[str]) -> Ed25519PrivateKey:
        if self._anew.exists() or (known is None and not seen):
            try:
                write_new(self.path, secrets.token_bytes(KEY_BYTES))
            except FileExistsError:
                pass
            except OSError as error:
                raise unwritable(error, file=KEY) from error
        return self._read(known, seen)

    def _read(self, known: bytes | None, seen: Sequence[str]) -> Ed25519PrivateKey:
        try:
            found, mode = read_regular(self.path), self.path.stat().st_mode
        except FileNotFoundError as error:
            raise SignerUnknown(KEY, "is missing") from error
        except OSError as error:
            raise unreadable(error, file=KEY) from error
        if len(found) != KEY_BYTES:
            raise SignerUnknown(KEY, f"has {len(found)} bytes in place of {KEY_BYTES}")
        if mode & 0o077:
            raise SignerUnknown(
                KEY,
                f"is open to others, by its mode {mode & 0o777:04o}: it has to be 0600",
                hint=f"chmod 600 {KEY}, in the folder of WEDSYNC_KEYS_DIR. Whoever could read it meanwhile can sign as "
                "the platform: is that anybody, begin another as where it was lost (docs/operations.md, section 13).",
            )
        key = Ed25519PrivateKey.from_private_bytes(found)
        public = public_bytes(key.public_key())
        has_signed = known == public or any(is_signed(note, read_note(note), public) for note in seen)
        if not has_signed and (known is not None or seen) and not self._anew.exists():
            raise SignerUnknown(KEY, "is another one than has signed it so far")
        return key
