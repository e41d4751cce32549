"""Whether the keys and lists that are there can be read as what they are.

One that was cut off, emptied, or replaced by something else is as lost as one that is gone (`deploy.stack.begun`), and
is found by whoever needs it first: a part that cannot be started, a command of an hour later. So the start is refused
by its name before anything runs, and the platform that runs says of it what it says of what is gone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from chassis.key_errors import KEY_BYTES
from chassis.key_files import read_regular
from chassis.key_notes import MARK, MARK_TEXT, parse
from chassis.location import entries_of
from chassis.sealing import Sealer, is_prepared_keys_folder
from contracts import errors
from contracts.errors import PlatformError
from deploy.misread import misread
from deploy.nats.subscribers import subscribers_of
from deploy.registered import organisations_of
from deploy.stack.begun import (
    AUDIT_KEY,
    IDENTITY,
    KEYS_MADE,
    LOCATIONS,
    MAY_BE_BEGUN_ANEW,
    ORGANISATIONS,
    SEEDS,
    SUBSCRIBERS,
)
from deploy.stack.identity_provider import signing_key
from deploy.stack.layout import Layout
from deploy.stack.nats import public_key
from deploy.stack.secrets import secrets_of

_UNREADABLE = (OSError, ValueError, RecursionError, msgspec.MsgspecError, PlatformError)
"""What a reader raises of bytes that are not what they should be."""


def _mark(content: bytes) -> None:
    if content != MARK_TEXT:
        raise PlatformError(errors.KEYS_UNUSABLE, "it is not what the platform wrote")


def _notes(content: bytes) -> None:
    if not parse(content):
        raise PlatformError(errors.KEYS_UNUSABLE, "it names none of the keys that were made")


def _audit_key(content: bytes) -> None:
    if len(content) != KEY_BYTES:
        raise PlatformError(errors.KEYS_UNUSABLE, f"it has {len(content)} bytes in place of {KEY_BYTES}")


_READERS: dict[str, Callable[[bytes], object]] = {
    "keys/secrets.json": secrets_of,
    IDENTITY: signing_key,
    f"keys/platform/{MARK}": _mark,
    KEYS_MADE: _notes,
    AUDIT_KEY: _audit_key,
    LOCATIONS: entries_of,
    ORGANISATIONS: organisations_of,
    SUBSCRIBERS: subscribers_of,
}


@dataclass
class Reader:
    """Reads the keys and lists of one home, and one that has not changed once only."""

    home: Path
    _read: dict[str, tuple[tuple[int, ...], str | None]] = field(default_factory=dict)

    def damaged(self) -> dict[str, str]:
        """Which of those that are there cannot be read, and what is wrong with each, by their names below the home."""
        seeds = (str(path.relative_to(self.home)) for path in self.home.glob(SEEDS))
        readers = {**_READERS, **dict.fromkeys(seeds, public_key)}
        found = {name: self._trouble(name, read) for name, read in sorted(readers.items())}
        return {name: what for name, what in found.items() if what is not None}

    def _trouble(self, name: str, read: Callable[[bytes], object]) -> str | None:
        path = self.home / name
        try:
            status = path.stat()
            version = (status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns)
            if (known := self._read.get(name)) is not None and known[0] == version:
                return known[1]
            what = None
            try:
                read(read_regular(path))
            except _UNREADABLE as error:
                what = _in_words(error)
            self._read[name] = version, what
        except FileNotFoundError:
            return None  # It was never there, or is named among what is gone.
        except OSError as error:
            return misread(error)
        return what


def _in_words(error: Exception) -> str:
    """Our own words of it, or what a decoder has said, told by what stands in the file."""
    if isinstance(error, PlatformError):
        return error.message
    return str(error) if type(error) is ValueError else misread(error)


def require_readable(layout: Layout) -> None:
    """Raise KEYS_UNUSABLE or HOME_UNUSABLE where a key or list that is there cannot be read: nothing has started."""
    found = Reader(layout.home).damaged()
    is_prepared = is_prepared_keys_folder(layout.platform_keys)
    if is_prepared and KEYS_MADE not in found and (unnoted := Sealer(layout.platform_keys).unnoted()):
        found[KEYS_MADE] = f"it does not name {unnoted[0].relative_to(layout.platform_keys)}, which is there"
    if not found:
        return
    kinds = [kind for kind, folder in (("keys", "keys/"), ("lists", "config/")) if any(map(_below(folder), found))]
    raise PlatformError(
        errors.KEYS_UNUSABLE if "keys" in kinds else errors.HOME_UNUSABLE,
        f"{layout.home} has {' and '.join(kinds)} that cannot be read: {named(found)}",
        hint="Put their copies back, or correct what you wrote there, then start again: nothing was changed."
        + anew(found),
    )


def _below(folder: str) -> Callable[[str], bool]:
    return lambda name: name.startswith(folder)


def named(damaged: dict[str, str]) -> str:
    """Each with what is wrong with it."""
    return ", ".join(f"{name} ({what})" for name, what in damaged.items())


def anew(damaged: dict[str, str]) -> str:
    """How to go on without a copy, of those for which there is a way."""
    names = [name for name in damaged if name in MAY_BE_BEGUN_ANEW]
    aside = [name for name in names if name != KEYS_MADE]
    if not names:
        return ""
    first = f"wedsync-backup down, move {' and '.join(aside)} aside, then " if aside else "wedsync-backup down, then "
    command = " ".join(["wedsync-backup up", *(f"--begin-anew {name}" for name in names)])
    return f" Without a copy: {first}{command} (docs/operations.md, section 13, says what is lost then)."
