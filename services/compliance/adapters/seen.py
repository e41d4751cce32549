"""What was signed last, known outside of the database too: a file beside the key, and the memory of the process.

It proves nothing, and is no entry of the log. By it a database is known that was put back to an earlier time: to go on
there under the same name would be a second history, which the same key has signed.
"""

from pathlib import Path

from chassis.auditlog.files import SEEN
from chassis.auditlog.note import read_note
from chassis.auditlog.origins import since_of
from chassis.disk import Disk
from chassis.key_errors import asked, unreadable, unwritable
from chassis.key_files import read_regular, write_over
from contracts import errors
from contracts.errors import PlatformError

_BYTES_MAX = 4096


class SignedLast:
    """The newest note of the platform's log. `trouble`: why the file does not have it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / SEEN
        self._disk = Disk(folder)
        self._own: str | None = None
        self._filed: str | None = None
        self.trouble: PlatformError | None = None

    async def notes(self) -> list[str]:
        """What this process has signed last, and what the file says. Raises KEYS_UNREACHABLE and KEYS_UNUSABLE."""
        self._filed = await asked(self._disk, self._read)
        return list(dict.fromkeys(note for note in (self._own, self._filed) if note is not None))

    async def keep(self, note: str) -> None:
        """Remember what was signed, once that is committed. What keeps it from the file is told, and stops nobody."""
        self._own = note
        try:
            await asked(self._disk, lambda: self._write(note))
        except PlatformError as error:
            self.trouble = error
        else:
            self.trouble, self._filed = None, note

    async def keep_again(self, latest: str | None) -> None:
        """Write what the file lacks: it is gone, could not be written, or an older one was put back.

        `latest`: what the database has as the last, once that is known to be the platform's.
        """
        if latest is not None and (self._filed is None or order_of(self._filed) < order_of(latest)):
            await self.keep(latest)

    def _read(self) -> str | None:
        try:
            found = read_regular(self._path)[:_BYTES_MAX].decode()
            read_note(found)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unreadable(error, file=SEEN) from error
        except ValueError as error:
            raise PlatformError(
                errors.KEYS_UNUSABLE,
                f"{SEEN} in the folder of WEDSYNC_KEYS_DIR does not say what of the audit log was signed last: {error}",
                hint=f"Put {SEEN} back from the copy of the folder. Without one, and where the database was not put "
                "back to an earlier time since: delete it, and it is written anew.",
                file=SEEN,
            ) from error
        return found

    def _write(self, note: str) -> None:
        try:
            if (there := self._read()) is None or order_of(there) < order_of(note):
                write_over(self._path, note.encode())
        except OSError as error:
            raise unwritable(error, file=SEEN) from error


def order_of(note: str) -> tuple[str, int]:
    """By which notes of one log come after each other. Raises ValueError where it is none."""
    told = read_note(note)
    return since_of(told.origin), told.size
