"""The key files of the organisations' repositories in the worker's readiness.

Whoever has lost one can read no backup of the organisation any more, and is to learn that before it is needed. So is
who has put another one in its place: beside each lies which keys (their public ids) have opened the repository last.
"""

import logging
import os
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from chassis.asking import Questions
from chassis.disk import Disk, says_nothing
from chassis.key_checks import NAMED_MAX, keys_unusable
from chassis.key_errors import asked, unreadable
from chassis.life.health import DEGRADED, Health
from contracts.errors import KEYS_UNUSABLE, UNAVAILABLE, PlatformError
from repository.errors import KeyFileInvalid, UnknownKey, WrongKey
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository

FOLDER = "repositories"
ANSWER_SECONDS = 2.0
"""Postgres and then the disk are asked within one readiness check."""
_SUFFIX = ".key"
_MADE = ".made"

_PRESENT = "present:"
"""Before the key that wraps now: a file without it is an older copy."""

_ID = re.compile("[0-9a-f]+")

_Mark = tuple[int, int, int, int, int]

_log = logging.getLogger(__name__)


def name_of(organisation: str) -> str:
    """An organisation's key file, below the keys folder."""
    return f"{FOLDER}/{organisation}{_SUFFIX}"


def note_made(keys_dir: Path, organisation: str) -> None:
    """Remember beside the keys that an organisation's was made: no other is, be the record of it lost as well.

    Raises OSError.
    """
    folder = keys_dir / FOLDER
    try:
        os.close(os.open(folder / f"{organisation}{_MADE}", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def note_opened(keys_dir: Path, organisation: str, key: KeyFile) -> None:
    """Remember beside the keys that these opened the organisation's repository. What cannot be noted, the log tells."""
    noted = keys_dir / FOLDER / f"{organisation}{_MADE}"
    draft = noted.with_name(f".{organisation}.{os.getpid()}")
    ids = " ".join([*key.ids(), _PRESENT + key.kek_id().hex()])
    try:
        if noted.read_bytes() != ids.encode():
            with os.fdopen(os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600), "w") as file:
                file.write(ids)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(noted)
    except OSError as error:
        _log.warning("which key opened a repository is not noted", extra={"reason": error.strerror})


def ids_of_others(keys_dir: Path, organisation: str) -> set[str]:
    """The ids of keys that have opened other organisations' repositories, as far as that was noted."""
    found: set[str] = set()
    with suppress(OSError):
        for noted in (keys_dir / FOLDER).glob(f"*{_MADE}"):
            if noted.name != f"{organisation}{_MADE}":
                found.update(noted.read_text(errors="replace").split())
    return found


def was_made(keys_dir: Path, organisation: str) -> bool:
    """Whether an organisation's key was made here. Raises OSError."""
    return (keys_dir / FOLDER / f"{organisation}{_MADE}").exists()


class RepositoryKeys:
    """Which key files cannot be used. `organisations`: who has a repository, asked of Postgres; may raise UNAVAILABLE.

    A file that was made and whose repository was not noted yet counts as well.
    """

    def __init__(self, keys_dir: Path, organisations: Callable[[], Awaitable[list[str]]]) -> None:
        self._keys_dir = keys_dir
        self._organisations = organisations
        self._good: dict[str, _Mark] = {}
        self.unproven: set[str] = set()
        """Names of those that are whole, and others than have opened the repository last."""

    def add_to(self, health: Health) -> None:
        """Degraded while one is missing or damaged: other organisations work."""
        disk, questions = Disk(self._keys_dir), Questions()

        async def check() -> PlatformError | None:
            # Not inside the question to the disk: the silence of Postgres is none of the disk's.
            try:
                organisations = await questions.ask("organisations", self._organisations, ANSWER_SECONDS)
            except TimeoutError as error:
                message = "postgres does not say in time who has a repository"
                raise PlatformError(UNAVAILABLE, message, part="postgres") from error
            unusable = await asked(disk, lambda: self.unusable(organisations))
            if unusable:
                return keys_unusable(unusable)
            return _unproven(sorted(self.unproven)) if self.unproven else None

        health.add("repository-keys", check, worst=DEGRADED)

    def unusable(self, organisations: list[str]) -> list[str]:
        """Their names below the keys folder, in order; of these organisations, and of what lies there."""
        names = {name_of(organisation) for organisation in organisations}
        folder = self._keys_dir / FOLDER
        if folder.is_dir():
            found = os.listdir(folder)
            names.update(f"{FOLDER}/{name}" for name in found if name.endswith(_SUFFIX))
            names.update(name_of(name.removesuffix(_MADE)) for name in found if name.endswith(_MADE))
        self.unproven &= names
        return sorted(name for name in names if not self._is_usable(name))

    def _is_usable(self, name: str) -> bool:
        """Each file is read once as long as it stays as it is: there may be thousands of them."""
        path = self._keys_dir / name
        try:
            found = path.stat()
            mark = (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_mode)
            if self._good.get(name) != mark or name in self.unproven:
                ids = set(KeyFile.load(path).ids())
                self.unproven.discard(name)
                known = self._noted(name)
                present = {each.removeprefix(_PRESENT) for each in known if each.startswith(_PRESENT)}
                if known and (known.isdisjoint(ids) or not present <= ids):
                    if self._is_anothers(name, ids):
                        return False
                    self.unproven.add(name)
                self._good[name] = mark
        except (OSError, KeyFileInvalid) as error:
            if isinstance(error, OSError) and says_nothing(error):
                raise unreadable(error, file=name) from error
            self._good.pop(name, None)
            return False
        return True

    def _noted(self, name: str) -> set[str]:
        """Which keys have opened the repository last, where that is known."""
        noted = (self._keys_dir / name).with_suffix(_MADE)
        # A note that is damaged is none: the next opening writes it anew, and the key itself may be whole.
        found = noted.read_text(errors="replace").split() if noted.exists() else []
        return {each for each in found if _ID.fullmatch(each.removeprefix(_PRESENT))}

    def _is_anothers(self, name: str, ids: set[str]) -> bool:
        """Whether a key opens another organisation's repository: the two files were exchanged."""
        others = (f"{FOLDER}/{each}" for each in os.listdir(self._keys_dir / FOLDER) if each.endswith(_MADE))
        own = str(Path(name).with_suffix(_MADE))
        return any(not ids.isdisjoint(self._noted(other)) for other in others if other != own)


def _unproven(names: list[str]) -> PlatformError:
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return PlatformError(
        KEYS_UNUSABLE,
        "whether these keys open what was made here is not proven yet, for they are others than have opened it last: "
        f"{', '.join(names[:NAMED_MAX])}{more}",
        hint="After a rotation nothing is to be done: the organisation's next run proves it. Where nobody has rotated "
        "it, put the newest copy of the file back.",
    )


def expect_newest(organisation: str, repository: Repository) -> None:
    """Raise KEYS_UNUSABLE where no tier can be written to, for want of a key that one of them was written with."""
    unopened = [each.error for each in repository.tiers if isinstance(each.error, WrongKey | UnknownKey)]
    if unopened and not repository.ready_tiers():
        file = name_of(organisation)
        raise PlatformError(
            KEYS_UNUSABLE,
            f"the repository's key file {file} does not open what was written last",
            hint=f"It is an older copy: put the newest copy of {file} into the keys folder.",
        ) from unopened[0]
