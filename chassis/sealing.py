"""Sealing of fields that may carry personal data: AES-256-GCM under the organisation's or the subject's key.

Keys are files of 32 random bytes, mode 0600, in a folder that lives apart from the event store and is in no
backup of it. Destroying a key erases what was sealed with it from history everywhere.
"""

from pathlib import Path

from contracts.sealed import Sealed


def prepare_keys_folder(path: Path) -> None:
    """Make a folder for keys, mode 0700, or recognise one. Only the installation calls this.

    A `Sealer` refuses a folder that was not prepared: an empty mount point must not grow new keys.
    """
    raise NotImplementedError


def normalised(text: str) -> str:
    """A name as it is compared: NFKC, case folded, runs of white space as one blank, trimmed."""
    raise NotImplementedError


class Sealer:
    """Seals and opens fields, and makes keyed digests. Thread-safe; several processes may share a folder.

    Raises KEYS_UNUSABLE where the folder was not prepared or a key is missing that was not destroyed.
    """

    def __init__(self, keys_dir: Path) -> None:
        raise NotImplementedError

    def seal(self, organisation: str, field: str, text: str, *, subject: str | None = None) -> Sealed:
        """Encrypt a text for one field, such as `configuration.name`; the same field name opens it again.

        `subject` (an id, never a name) gives the text a key of its own that can be destroyed by itself.
        """
        raise NotImplementedError

    def open(self, organisation: str, field: str, sealed: Sealed) -> str:
        """Decrypt a field. Raises SEALING_KEY_MISSING where its key was destroyed, KEYS_UNUSABLE where it was altered.

        A box of another organisation or field does not open.
        """
        raise NotImplementedError

    def digest(self, organisation: str, purpose: str, text: str) -> str:
        """A keyed digest (HMAC-SHA-256, 64 hex digits): equal texts are found equal without being known."""
        raise NotImplementedError

    def destroy(self, organisation: str, *, subject: str | None = None) -> None:
        """Destroy the keys of an organisation (its subjects' and digests' included) or of one subject. Idempotent."""
        raise NotImplementedError
