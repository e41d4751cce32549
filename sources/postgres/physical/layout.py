"""Lays out a data folder: the members of a base backup, and what makes a server begin where it is to.

Promise: no member leaves the folder, and none is written over another; `PG_VERSION`, without which no server starts on
a folder, is written last: what was left in the middle is never taken for a cluster.
"""

import os
import re
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
_SEGMENT: Final = re.compile(r"[0-9A-F]{24}")
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

    def refuse_unless_room(self, size: int) -> None:
        """Raise `RestoreRefused` where there is no room for so many bytes."""
        there = next(each for each in (self.path, *self.path.parents) if each.exists())
        free = shutil.disk_usage(there).free
        if free < size:
            raise RestoreRefused(
                "there is no room for the cluster and its log",
                hint=f"It takes some {size >> 20:,} MiB, and {free >> 20:,} MiB are free: give another place.",
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
            _new(self.path / "recovery.signal").close()
            if owner is not None:
                self._give_to(owner)
            os.sync()
            with _new(self.path / MARK) as mark:
                mark.write(self._mark)
                mark.flush()
                if owner is not None:
                    os.fchown(mark.fileno(), *owner)
                os.fsync(mark.fileno())
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise _failed(error) from error

    def _give_to(self, owner: tuple[int, int]) -> None:
        for folder, _, names in os.walk(self.path):
            for each in (folder, *(os.path.join(folder, name) for name in names)):
                os.chown(each, *owner, follow_symlinks=False)


class Log:
    """The log in the folder, in segments. What lies there of it already is written over."""

    def __init__(self, folder: DataFolder, timeline: int, segment: int) -> None:
        self._folder = folder.path / "pg_wal"
        self._timeline = timeline
        self._segment = segment
        self._open: tuple[int, IO[bytes]] | None = None

    def write(self, position: int, data: bytes) -> None:
        """The next bytes, which belong there. Raises `TargetFailed`."""
        view = memoryview(data)
        try:
            while view:
                number, inside = divmod(position, self._segment)
                file = self._file(number)
                file.seek(inside)
                count = min(self._segment - inside, len(view))
                file.write(view[:count])
                view = view[count:]
                position += count
        except OSError as error:
            raise _failed(error) from error

    def _file(self, number: int) -> IO[bytes]:
        if self._open is not None and self._open[0] == number:
            return self._open[1]
        self.close()
        path = self._folder / self._name(number)
        path.unlink(missing_ok=True)
        self._open = number, _new(path)
        # What is not written is empty, and the log ends there.
        os.truncate(path, self._segment)
        return self._open[1]

    def _name(self, number: int) -> str:
        high, low = divmod(number, (1 << 32) // self._segment)
        return f"{self._timeline:08X}{high:08X}{low:08X}"

    def finish(self, end: int) -> None:
        """No segment behind the end is left. Raises `TargetFailed`."""
        try:
            self.close()
            last = self._name((end - 1) // self._segment)
            for path in self._folder.iterdir():
                if _SEGMENT.fullmatch(path.name) and path.name > last:
                    path.unlink()
        except OSError as error:
            raise _failed(error) from error

    def close(self) -> None:
        """Nothing more is written."""
        if self._open is not None:
            self._open[1].close()
            self._open = None


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
