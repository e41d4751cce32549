"""Lays out a data folder: the members of a base backup, and what makes a server begin where it is to.

Promise: no member leaves the folder, and none is written over another; `PG_VERSION`, without which no server starts on
a folder, is written last: what was left in the middle is never taken for a cluster.
"""

import os
import shutil
import stat as stat_bits
import tarfile
from collections.abc import Callable, Iterator, Mapping
from io import RawIOBase
from pathlib import Path
from typing import IO, Final, cast

from repository.errors import Damaged, RestoreRefused, TargetFailed

MARK: Final = "PG_VERSION"
_PIECE: Final = 1 << 20
_LEFT_OUT: Final = frozenset({"standby.signal", "recovery.signal", "postmaster.pid", "postmaster.opts"})
_SETTINGS: Final = """
# Written by the restore: the log that leads to the wanted place lies in pg_wal, and nothing is fetched from elsewhere.
# What the cluster did for others (archiving, replication) is off, so that it does not write into their places.
restore_command = 'false'
recovery_target_timeline = 'current'
recovery_target = ''
recovery_target_name = ''
recovery_target_time = ''
recovery_target_xid = ''
recovery_target_lsn = ''
archive_cleanup_command = ''
recovery_end_command = ''
archive_mode = 'off'
primary_conninfo = ''
primary_slot_name = ''
"""


class DataFolder:
    """The folder that becomes a cluster. `check` raises where the restore is to end."""

    def __init__(self, path: str, *, check: Callable[[], None]) -> None:
        self.path = Path(path)
        self._check = check
        self._mark = b""
        self._folders: dict[Path, int] = {}
        self.files = 0
        self.bytes = 0

    def refuse_unless_free(self) -> None:
        """Raise `RestoreRefused` where anything is there already."""
        try:
            is_free = not any(self.path.iterdir())
        except FileNotFoundError:
            is_free = True
        except OSError as error:
            raise RestoreRefused("the target is no folder that can be written to") from error
        if not is_free:
            raise RestoreRefused(
                "the target is not empty", hint="A cluster is restored into a folder of its own: give another one."
            )

    def unpack(self, pieces: Iterator[bytes]) -> None:
        """Write the members of the archive. Raises `TargetFailed`, `Damaged`, and what reading raises."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
            with tarfile.open(fileobj=cast("IO[bytes]", _Pieces(pieces)), mode="r|", bufsize=_PIECE) as archive:
                for member in archive:
                    self._check()
                    self._member(archive, member)
        except tarfile.TarError as error:
            raise Damaged("the base backup is no archive") from error
        except OSError as error:
            raise _failed(error) from error

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = os.path.normpath(member.name)
        if name.startswith(("/", "..")) or "\0" in name:
            raise Damaged("a name in the base backup leads out of it")
        path = self.path / name
        if member.isdir():
            if name != ".":
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            return
        body = archive.extractfile(member) if member.isreg() else None
        if body is None:
            raise Damaged("the base backup holds what is neither file nor folder")
        if name == MARK:
            self._mark = body.read()
        elif name not in _LEFT_OUT:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _new(path) as file:
                shutil.copyfileobj(body, file, _PIECE)
        self.files += 1
        self.bytes += member.size

    def finish(self, settings: Mapping[str, str], *, owner: tuple[int, int] | None = None) -> None:
        """Say how a server begins, and let one. `settings`: what else it needs for that. `owner`: user and group that
        everything is given to.
        """
        if not self._mark:
            raise Damaged("the base backup holds no cluster")
        try:
            with (self.path / "postgresql.auto.conf").open("a") as file:
                file.write(_SETTINGS)
                file.writelines(f"{name} = {int(value)}\n" for name, value in settings.items())
            for name, body in (("recovery.signal", b""), (MARK, self._mark)):
                if name == MARK:
                    os.sync()
                with _new(self.path / name) as made:
                    made.write(body)
            if owner is not None:
                for folder, _, names in os.walk(self.path):
                    for each in (folder, *(os.path.join(folder, name) for name in names)):
                        os.chown(each, *owner, follow_symlinks=False)
            os.sync()
        except OSError as error:
            raise _failed(error) from error


class _Pieces(RawIOBase):
    """Pieces, as a file that is read from its beginning to its end."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        """So much, or what there is."""
        found: list[memoryview] = []
        while size > 0:
            if not self._held:
                self._held = memoryview(next(self._pieces, b""))
                if not self._held:
                    break
            found.append(self._held[:size])
            self._held = self._held[len(found[-1]) :]
            size -= len(found[-1])
        return b"".join(found)


def _new(path: Path) -> IO[bytes]:
    """A file that was not there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return open(os.open(path, flags, stat_bits.S_IRUSR | stat_bits.S_IWUSR), "wb")


def _failed(error: OSError) -> TargetFailed:
    return TargetFailed("the target cannot be written", reason=os.strerror(error.errno or 0))
