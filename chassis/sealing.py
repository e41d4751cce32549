"""Sealing of fields that may carry personal data: AES-256-GCM under the organisation's or the subject's key.

Keys are files of 32 random bytes, mode 0600, in a folder that lives apart from the event store and is in no
backup of it. Destroying a key erases what was sealed with it from history everywhere:

    <keys folder>/SEALING-KEYS                                        marks a folder that was prepared
    <keys folder>/MADE                                                each key that was ever made, and its check
    <keys folder>/organisations/<id>/organisation/<generation>.key    fields of the organisation
    <keys folder>/organisations/<id>/digest/<generation>.key          keyed digests
    <keys folder>/organisations/<id>/subjects/<id>/<generation>.key   fields of one data subject

A key is written to a scratch file, synced and then linked to its name, so that a key is there whole or not at
all, on disk before anything is sealed with it, and two processes agree on one. `<generation>.destroyed` stays
where a key was: a destroyed key is told apart from a lost one, and a generation is never used twice. Nor is a key
that `MADE` names made a second time: a new one would open nothing of what was sealed. Nobody makes one by sealing:
`make_keys` alone does, whose caller has asked the record first (`gateway.writes.book`). Nor does one seal that
`MADE` does not name, before it has opened what it sealed: `MADE` was lost or cut, and nobody knows whose key it is.
That the whole folder was lost, `SEALING-KEYS` shows; that another organisation's key lies in a key's place, its check
in `MADE`; that an older copy of the folder was put back, only what was sealed meanwhile can (`has_keys`).
What the storage keeps of an unlinked file (snapshots, backups of the folder) is beyond this module: see docs/adr/0006.
"""

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chassis.clock import SystemClock
from chassis.disk import SECONDS, Disk
from chassis.key_errors import KEY_BYTES, MADE, asked, is_key, mark_of, unknown_key, unreadable, unwritable
from chassis.key_files import append, make_folders, read_regular, sync_folder, write_new
from chassis.key_names import bound_to, checked, name_of, parts_of
from chassis.key_notes import ANEW, INTENDED, MARK, MARK_TEXT, KeyNotes, check_of, parse, unnoted
from contracts.errors import KEYS_UNREACHABLE, KEYS_UNUSABLE, SEALING_KEY_MISSING, PlatformError
from contracts.sealed import Sealed

T = TypeVar("T")

NONCE_BYTES = 12
SETTLED_SECONDS = 60.0
"""A key of this age has its line in `MADE`, or has lost it: it gets one as soon as it is made."""
_KEY_NAME = re.compile(r"([1-9][0-9]{0,8})\.(?:key|destroyed)", re.ASCII)
"""What else lies in a folder of keys (`1 (copy).key`) is no key, and is left alone."""


def prepare_keys_folder(path: Path) -> None:
    """Make a folder for keys, mode 0700. A `Sealer` refuses one that was not prepared: an empty mount point must not
    grow new keys. Only the installation calls this.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    with contextlib.suppress(FileExistsError):
        write_new(path / MARK, MARK_TEXT)


def is_prepared_keys_folder(path: Path) -> bool:
    """Whether a folder was."""
    return (path / MARK).is_file()


def normalised(text: str) -> str:
    """A name as it is compared: NFKC, case folded, runs of white space as one blank, trimmed."""
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


class Sealer:
    """Seals and opens fields, and makes keyed digests. Thread-safe; several processes may share a folder.

    Raises KEYS_UNUSABLE where the folder was not prepared, cannot be read, or lacks a key that was not destroyed.
    """

    def __init__(self, keys_dir: Path) -> None:
        self.folder = keys_dir
        self.disk = Disk(keys_dir)
        """Through which an event loop asks for what reads the keys: their disk may never answer."""
        self._cache: dict[Path, tuple[tuple[int, int], bytes]] = {}
        self._usable: dict[str, tuple[tuple[int, ...], int]] = {}
        """By its name, when a key was seen to be well: thousands are looked at again and again."""
        self._notes: tuple[tuple[int, int, int], KeyNotes] = ((0, 0, 0), KeyNotes())
        self.check_folder()

    async def ask(self, question: Callable[[], T], *, seconds: float = SECONDS) -> T:
        """What a question to this sealer answers, on an event loop, which a silent disk must not hold.

        Raises what the question raises, and KEYS_UNREACHABLE where no answer comes in time. The question goes on then.
        """
        return await asked(self.disk, question, seconds=seconds)

    def unusable(self) -> list[str]:
        """The files, below the keys folder, of keys that were made, were not destroyed, and are missing or damaged.

        So are those in the place of which another key lies, and `MADE` itself where it lacks keys that are there.
        Raises KEYS_UNUSABLE where the folder is gone.
        """
        self.check_folder()
        notes = self._read_notes()
        found = [MADE] if self.unnoted(settled_for=SETTLED_SECONDS) else []
        for name, number in [(each, number) for each, newest in notes.made.items() for number in range(1, newest + 1)]:
            file, lineage = f"{name}/{number}.key", self.folder / name
            mark = mark_of(f"{self.folder}/{file}"), len(notes.checks.get((name, number), ()))
            if self._usable.get(file) == mark:
                continue
            if not (lineage / f"{number}.destroyed").exists() and not self._is_usable(lineage, number):
                found.append(file)
            elif mark[0]:
                self._usable[file] = mark
        return found

    def unnoted(self, *, settled_for: float = 0.0) -> list[Path]:
        """The keys, so many seconds old, whose lines `MADE` has lost. Raises KEYS_UNUSABLE."""
        before = SystemClock().now().timestamp() - settled_for
        return unnoted(self.folder, self._read_notes(), before=before)

    def note_found(self) -> None:
        """Begin `MADE` anew, for who has no copy: a key seals nothing before it has opened what it sealed, as ever."""
        found = unnoted(self.folder, self._read_notes(), before=SystemClock().now().timestamp())
        lines = [f"{self._name_in_folder(path.parent)} {path.stem} {INTENDED}\n" for path in found]
        self._append("".join(lines) or f"{ANEW}\n")

    def written_at(self) -> list[float]:
        """When the files of the newest keys that are there were written, in seconds since 1970."""
        times = []
        for lineage, newest in self._read_notes().made.items():
            with contextlib.suppress(OSError):
                times.append((self.folder / lineage / f"{newest}.key").stat().st_mtime)
        return times

    def has_keys(self, organisation: str) -> tuple[bool, bool]:
        """Whether an organisation's own key, and the one of its digests, are there or were destroyed.

        One that `MADE` does not name counts as none: nobody knows whose it is, and the record is to be asked.
        """
        folder = self._organisation_folder(organisation)
        own, digest = folder / "organisation", folder / "digest"
        return self._is_known(own, self._newest(own)), self._is_known(digest, self._newest(digest))

    def make_keys(self, organisation: str, *, subject: str | None = None) -> None:
        """Make an organisation's own key and that of its digests, or a subject's, where there is none not destroyed.

        To be called where the record was asked, and tells of nothing that was sealed under keys that are gone. Raises
        KEYS_UNUSABLE where one was made before and is not there, NO_SPACE on a full disk.
        """
        folder = self._organisation_folder(organisation)
        own = (folder / "organisation", folder / "digest")
        for lineage in own if subject is None else (self._lineage(organisation, subject),):
            self._make(lineage)

    def seal(self, organisation: str, field: str, text: str, *, subject: str | None = None) -> Sealed:
        """Encrypt a text for one field, such as `configuration.name`; the same field name opens it again.

        Raises KEYS_UNUSABLE where no key is there: none is made for it.
        `subject` (an id, never a name) gives the text a key of its own that can be destroyed by itself.
        """
        lineage = self._lineage(organisation, subject)
        generation, key = self._current(lineage)
        if not self._is_known(lineage, generation):
            raise unknown_key(self._name_in_folder(lineage / f"{generation}.key"))
        name = name_of(organisation, subject, generation)
        nonce = os.urandom(NONCE_BYTES)
        return Sealed(key=name, box=nonce + AESGCM(key).encrypt(nonce, text.encode(), bound_to(name, field)))

    def open(self, organisation: str, field: str, sealed: Sealed) -> str:
        """Decrypt a field. Raises SEALING_KEY_MISSING where its key was destroyed, KEYS_UNUSABLE where it was altered.

        A box of another organisation or field does not open.
        """
        subject, generation = parts_of(sealed.key, organisation)
        key = self._read(self._lineage(organisation, subject), generation)
        nonce, ciphertext = sealed.box[:NONCE_BYTES], sealed.box[NONCE_BYTES:]
        try:
            text = AESGCM(key).decrypt(nonce, ciphertext, bound_to(sealed.key, field)).decode()
        except (InvalidTag, ValueError) as error:
            raise PlatformError(
                KEYS_UNUSABLE,
                "a sealed field does not open with its key: it was altered or moved, or the key was replaced",
                field=field,
                key=sealed.key,
            ) from error
        # A folder that cannot be written to is no reason not to read: the next process notes it.
        with contextlib.suppress(PlatformError):
            self._note_check(self._lineage(organisation, subject), generation, key)
        return text

    def digest(self, organisation: str, purpose: str, text: str) -> str:
        """A keyed digest (HMAC-SHA-256, 64 hex digits): equal texts are found equal without being known.

        Raises KEYS_UNUSABLE where no key is there: none is made for it.
        """
        _, key = self._current(self._organisation_folder(organisation) / "digest")
        message = len(purpose.encode()).to_bytes(4, "big") + purpose.encode() + text.encode()
        return hmac.new(key, message, hashlib.sha256).hexdigest()

    def destroy(self, organisation: str, *, subject: str | None = None) -> None:
        """Destroy the keys of an organisation (its subjects' and digests' included) or of one subject. Idempotent."""
        folder = self._organisation_folder(organisation) if subject is None else self._lineage(organisation, subject)
        # Scratch files that a crash has left may hold a key, so everything but the marks goes.
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".destroyed"):
            if path.suffix == ".key":
                # The mark first: a crash in between leaves a key that is refused, never one that is thought lost.
                with contextlib.suppress(FileExistsError):
                    write_new(path.with_suffix(".destroyed"), b"")
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
            self._cache.pop(path, None)

    def check_folder(self) -> None:
        """Raise KEYS_UNUSABLE where the folder is gone or was never prepared, KEYS_UNREACHABLE where nobody knows."""
        try:
            is_prepared = is_prepared_keys_folder(self.folder)
        except OSError as error:
            raise unreadable(error) from error
        if not is_prepared:
            raise PlatformError(
                KEYS_UNUSABLE,
                "the folder of the sealing keys is missing, or was never prepared",
                field="WEDSYNC_KEYS_DIR",
                hint="Mount the folder that WEDSYNC_KEYS_DIR names, or put it back from its copy.",
            )

    def _organisation_folder(self, organisation: str) -> Path:
        return self.folder / "organisations" / checked(organisation, "organisation")

    def _lineage(self, organisation: str, subject: str | None) -> Path:
        folder = self._organisation_folder(organisation)
        return folder / "organisation" if subject is None else folder / "subjects" / checked(subject, "subject")

    def _current(self, lineage: Path) -> tuple[int, bytes]:
        """The newest generation and its key. Raises KEYS_UNUSABLE where there is none that was not destroyed."""
        generation = self._newest(lineage)
        if self._needs_one(lineage, generation):
            self.check_folder()
            raise self._missing(lineage, generation + 1)
        key = self._read(lineage, generation)
        if not self._is_its_own(lineage, generation, key):
            raise self._exchanged(lineage, generation)
        return generation, key

    def _is_known(self, lineage: Path, generation: int) -> bool:
        """Whether `MADE` names a key, or it was destroyed. That of digests, which opens nothing, lies beside one."""
        made = self._read_notes().made
        own = self._name_in_folder(lineage.with_name("organisation"))
        return generation > 0 and (
            made.get(self._name_in_folder(lineage), 0) >= generation
            or (lineage.name == "digest" and own in made)
            or (lineage / f"{generation}.destroyed").exists()
        )

    def _make(self, lineage: Path) -> None:
        """Have a first key, or a next one after one that was destroyed."""
        for _ in range(8):
            generation = self._newest(lineage)
            if not self._needs_one(lineage, generation):
                # It is in `MADE` before anything is sealed with it.
                self._note_made(lineage, generation, self._read(lineage, generation))
                self._current(lineage)
                return
            self.check_folder()
            self._check_never_made(lineage, generation)
            path = lineage / f"{generation + 1}.key"
            name = self._name_in_folder(lineage)
            if (name, generation + 1) not in self._read_notes().intended:  # see `unnoted`
                self._append(f"{name} {generation + 1} {INTENDED}\n")
            try:
                make_folders(lineage, self.folder)
                with contextlib.suppress(FileExistsError):
                    write_new(path, secrets.token_bytes(KEY_BYTES))
            except OSError as error:
                raise unwritable(error, file=self._name_in_folder(path)) from error
        raise PlatformError(KEYS_UNUSABLE, "a sealing key is destroyed as fast as it is made")

    @staticmethod
    def _needs_one(lineage: Path, generation: int) -> bool:
        return not generation or (lineage / f"{generation}.destroyed").exists()

    def _check_never_made(self, lineage: Path, generation: int) -> None:
        """Raise KEYS_UNUSABLE where a key that follows this generation was made before."""
        is_known = self._read_notes().made.get(self._name_in_folder(lineage), 0) > generation
        # A key has its name before its line: one that another process has just made is there by now.
        if self._newest(lineage) <= generation and is_known:
            raise self._missing(lineage, generation + 1)

    def _missing(self, lineage: Path, generation: int) -> PlatformError:
        return PlatformError(
            KEYS_UNUSABLE,
            "a sealing key is missing, and is not made anew beside what it sealed",
            file=f"{self._name_in_folder(lineage)}/{generation}.key",
        )

    def _note_made(self, lineage: Path, generation: int, key: bytes) -> None:
        """Have a line for a key, before anything is sealed with it, and its check: it is new, and nobody else's."""
        name, notes = self._name_in_folder(lineage), self._read_notes()
        if notes.made.get(name, 0) >= generation:
            return
        if notes.whose(key) not in (None, (name, generation)):
            raise self._exchanged(lineage, generation)
        self._append(f"{name} {generation}\n{name} {generation} {check_of(key, name, generation)}\n")

    def _note_check(self, lineage: Path, generation: int, key: bytes) -> None:
        """Have the check of a key that has opened what was sealed under its name, and the line that it was made."""
        name, notes = self._name_in_folder(lineage), self._read_notes()
        check = check_of(key, name, generation)
        made = f"{name} {generation}\n" if notes.made.get(name, 0) < generation else ""
        if made or check not in notes.checks.get((name, generation), ()):
            beside = lineage.parent / "digest"  # What opens nothing can prove nothing, and lies beside one that did.
            found = (number for number in [self._newest(beside)] if made and lineage.name == "organisation" and number)
            made += "".join(f"{self._name_in_folder(beside)} {number} {INTENDED}\n" for number in found)
            self._append(f"{made}{name} {generation} {check}\n")

    def _append(self, lines: str) -> None:
        try:
            append(self.folder / MADE, lines.encode())
        except OSError as error:
            raise unwritable(error, file=MADE) from error

    def _is_usable(self, lineage: Path, generation: int) -> bool:
        """Whether a key is whole and, where its check is known, itself. Raises KEYS_UNREACHABLE."""
        if not is_key(lineage / f"{generation}.key"):
            return False
        try:
            return self._is_its_own(lineage, generation, self._read(lineage, generation))
        except PlatformError as error:
            if error.code is KEYS_UNREACHABLE:
                raise
            # One that was destroyed at this moment is missing no more than one that was before.
            return error.code is SEALING_KEY_MISSING

    def _is_its_own(self, lineage: Path, generation: int, key: bytes) -> bool:
        """Whether a key is the one that was made under its name; so is one of which no check is known."""
        name = self._name_in_folder(lineage)
        checks = self._read_notes().checks.get((name, generation))
        return not checks or check_of(key, name, generation) in checks

    def _exchanged(self, lineage: Path, generation: int) -> PlatformError:
        return PlatformError(
            KEYS_UNUSABLE,
            "another key lies in the place of a sealing key: two organisations' folders were exchanged, most likely",
            file=f"{self._name_in_folder(lineage)}/{generation}.key",
        )

    def _read_notes(self) -> KeyNotes:
        """What was noted of the keys, read anew where the file has changed."""
        path = self.folder / MADE
        try:
            found = path.stat()
            version = (found.st_ino, found.st_size, found.st_mtime_ns)
            if self._notes[0] != version:
                self._notes = (version, parse(read_regular(path)))
        except FileNotFoundError:
            return KeyNotes()
        except OSError as error:
            raise unreadable(error) from error
        return self._notes[1]

    def _name_in_folder(self, lineage: Path) -> str:
        return str(lineage.relative_to(self.folder))

    @staticmethod
    def _newest(lineage: Path) -> int:
        try:
            names = os.listdir(lineage)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise unreadable(error) from error
        return max((int(found[1]) for found in map(_KEY_NAME.fullmatch, names) if found), default=0)

    def _read(self, lineage: Path, generation: int) -> bytes:
        path = lineage / f"{generation}.key"
        try:
            if (lineage / f"{generation}.destroyed").exists():
                raise PlatformError(SEALING_KEY_MISSING, "the key of a sealed field was destroyed")
            found = path.stat()
            cached = self._cache.get(path)
            # The file is looked at each time, so that a key that another process destroyed is gone here, too.
            if cached is not None and cached[0] == (found.st_ino, found.st_mtime_ns):
                return cached[1]
            if found.st_mode & 0o077:
                raise PlatformError(
                    KEYS_UNUSABLE,
                    "a sealing key can be read by others",
                    hint="Give the key files the mode 0600 again.",
                    file=self._name_in_folder(path),
                )
            key = read_regular(path)
        except OSError as error:
            raise unreadable(error, file=self._name_in_folder(path)) from error
        if len(key) != KEY_BYTES:
            message = f"a sealing key has {len(key)} bytes instead of {KEY_BYTES}"
            raise PlatformError(KEYS_UNUSABLE, message, file=self._name_in_folder(path))
        self._cache[path] = ((found.st_ino, found.st_mtime_ns), key)
        return key
