"""The target folder of a restore: opened, judged fresh or not, marked while it is being filled, made durable.

Promise: a target that holds anything is refused unless the caller said what to do; a restore of the same snapshot
that was interrupted, or lacks something, is recognised by its marker and gone on with. After `make_durable` all of it
survives a power cut; after `require_in_its_place` it is where it was asked for.
"""

import ctypes
import os
import stat as stat_bits
from typing import Final

from repository.errors import RestoreRefused, TargetFailed
from repository.restore.files import FATAL
from repository.restore.names import MARKER_PREFIX
from repository.restore.options import Conflict
from repository.stored.snapshot import Snapshot

_IN_PLACE: Final = b"in-place\n"
_BESIDE: Final = b"beside\n"
TARGET_ELSEWHERE: Final = "its path leads no more to the folder that was restored into (moved, unmounted or covered)"


class RestoreTarget:
    """The root folder. `is_in_place`: nothing but this restore's own files is in it.

    Raises `RestoreRefused`, and `OSError` when the target is full or failing.
    """

    def __init__(self, path: bytes, snapshot: Snapshot, conflict: Conflict) -> None:
        self.marker = MARKER_PREFIX + snapshot.id[:16].encode()
        try:
            self.is_new = not os.path.isdir(path)
            os.makedirs(path, 0o700, exist_ok=True)
            self._path = path
            # A relative one stays so: what is above the working folder may be closed to this user.
            self._real_path = os.path.realpath(path) if path.startswith(b"/") else None
            self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in FATAL:
                raise
            reason = os.strerror(error.errno or 0)
            hint = "Give a folder that you may write to." if isinstance(error, PermissionError) else None
            raise RestoreRefused("target is no folder that can be opened", hint=hint, reason=reason) from error
        try:
            found = set(map(os.fsencode, os.listdir(self.fd)))
            self.is_resumed = self.marker in found
            self.is_in_place = not found or (self.is_resumed and self._read_marker() == _IN_PLACE)
            if not self.is_in_place and conflict is Conflict.REFUSE:
                raise RestoreRefused("target is not empty", entries=len(found))
            if not self.is_resumed:
                self._write_marker()
            elif self.is_in_place and (mode := os.fstat(self.fd).st_mode) & 0o700 != 0o700:
                os.fchmod(
                    self.fd, stat_bits.S_IMODE(mode) | 0o700
                )  # It has the attributes of the source's root already.
        except BaseException:
            os.close(self.fd)
            raise

    def _read_marker(self) -> bytes:
        fd = os.open(self.marker, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
        try:
            return os.read(fd, 64)
        finally:
            os.close(fd)

    def _write_marker(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self.marker, flags, 0o600, dir_fd=self.fd)
        try:
            os.write(fd, _IN_PLACE if self.is_in_place else _BESIDE)
        finally:
            os.close(fd)

    def make_durable(self) -> None:
        """Return when everything that was written is on the medium. Raises `OSError`."""
        call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if call is None:
            os.sync()
        elif call(self.fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def require_in_its_place(self) -> None:
        """Whoever goes by the path finds what was written. Raises `TargetFailed`: its disk was unmounted, say.

        A link that was put there since does not count, wherever it leads: nobody has asked for that.
        """
        try:
            found = os.stat(self._path) if self._real_path is None else os.lstat(self._real_path)
            is_there = os.path.samestat(found, os.fstat(self.fd)) and (
                self._real_path is None or os.path.realpath(self._path) == self._real_path
            )
        except OSError:
            is_there = False
        if not is_there:
            raise TargetFailed("target was moved, unmounted or covered meanwhile", reason=TARGET_ELSEWHERE)

    def remove_marker(self) -> None:
        """All is there: the next restore into this folder is a new one."""
        os.unlink(self.marker, dir_fd=self.fd)
