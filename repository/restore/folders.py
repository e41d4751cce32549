"""The folders that a restore writes below, each reached from the target's root without following a link.

Promise: every file is made relative to the descriptor of its folder, and every folder is opened relative to
the one above it with O_NOFOLLOW: nothing outside the target is ever written, whatever names and links the
snapshot or the target hold. At most `OPEN_MAX` folders are open at a time; others are opened again when needed.
"""

import errno
import os
import stat as stat_bits
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from repository.stored.tree import Entry

OPEN_MAX: Final = 128
FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE_WHILE_RESTORING: Final = 0o1700
"""Only its owner goes in; the sticky bit, which means nothing then, tells it from a folder that is finished."""


class Folder:
    """A folder of the target. `path` is that in the snapshot, relative to its root; `name` is that on disk.

    `is_own`: a restore made it. `mode_before`: of one that somebody else made, where it had to be opened for writing.
    """

    __slots__ = ("above", "entry", "fd", "is_own", "mode_before", "name", "path", "users")

    def __init__(self, above: "Folder | None", name: bytes, path: bytes, entry: Entry, *, is_own: bool) -> None:
        self.above = above
        self.name = name
        self.path = path
        self.entry = entry
        self.is_own = is_own
        self.mode_before: int | None = None
        self.fd = -1
        self.users = 0


class Folders:
    """Opens and closes folders. Thread-safe."""

    def __init__(self, root_fd: int, entry: Entry, *, in_place: bool) -> None:
        """`in_place`: whether whatever is below the root is a restore's own."""
        self._in_place = in_place
        self.root = Folder(None, b"", b"", entry, is_own=in_place)
        self.root.fd = root_fd
        self._lock = threading.Lock()
        self._open: OrderedDict[int, Folder] = OrderedDict()

    @contextmanager
    def using(self, folder: Folder) -> Iterator[int]:
        """The folder's descriptor, for the length of the block. Raises `OSError`."""
        fd = self.pin(folder)
        try:
            yield fd
        finally:
            self.unpin(folder)

    def make(self, above: Folder, name: bytes, path: bytes, entry: Entry) -> Folder:
        """A new folder, or the one that is there. Raises `FileExistsError` when something else has the name."""
        with self.using(above) as fd:
            try:
                os.mkdir(name, _MODE_WHILE_RESTORING, dir_fd=fd)
                return Folder(above, name, path, entry, is_own=True)
            except FileExistsError:
                mode = _mode_of_folder(fd, name)
            folder = Folder(above, name, path, entry, is_own=self._in_place or mode == _MODE_WHILE_RESTORING)
            if mode & 0o700 != 0o700:
                # Read-only, perhaps because it was finished before the restore was interrupted.
                folder.mode_before = None if folder.is_own else mode
                with suppress(OSError):
                    change_mode(fd, name, mode | 0o700)
            return folder

    def close(self) -> None:
        """Close everything but the root."""
        with self._lock:
            for folder in self._open.values():
                os.close(folder.fd)
                folder.fd = -1
            self._open.clear()

    def unpin(self, folder: Folder) -> None:
        """Give back what `pin` gave."""
        with self._lock:
            folder.users -= 1

    def pin(self, folder: Folder) -> int:
        """The folder's descriptor, open until `unpin`. Raises `OSError`."""
        with self._lock:
            folder.users += 1
            if folder.fd >= 0:
                if folder.above is not None:
                    self._open.move_to_end(id(folder))
                return folder.fd
            try:
                self._open_chain(folder)
            except BaseException:
                folder.users -= 1
                raise
            return folder.fd

    def _open_chain(self, folder: Folder) -> None:
        """Open the folder, and those above it that are closed, from the top; under the lock."""
        chain = []
        one: Folder | None = folder
        while one is not None and one.fd < 0:
            chain.append(one)
            one = one.above
        for link in reversed(chain):
            assert link.above is not None  # noqa: S101 - the root is always open
            link.fd = os.open(link.name, FOLDER_FLAGS, dir_fd=link.above.fd)
            self._open[id(link)] = link
            link.users += 1
            self._close_unused()
            link.users -= 1

    def _close_unused(self) -> None:
        """Close the folders that were not used for longest, as far as nobody uses them now."""
        for key, folder in list(self._open.items()):
            if len(self._open) <= OPEN_MAX:
                return
            if folder.users == 0:
                os.close(folder.fd)
                folder.fd = -1
                del self._open[key]


def _mode_of_folder(above: int, name: bytes) -> int:
    status = os.stat(name, dir_fd=above, follow_symlinks=False)
    if not stat_bits.S_ISDIR(status.st_mode):
        raise FileExistsError(errno.ENOTDIR, "not a folder")
    return stat_bits.S_IMODE(status.st_mode)


def change_mode(folder: int, name: bytes, mode: int) -> None:
    """Change the mode of a file or folder that cannot be opened as it is; no link is followed. Raises `OSError`."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if stat_bits.S_ISLNK(os.fstat(fd).st_mode):
            raise OSError(errno.ELOOP, "a link")
        # What was opened for its path alone has its mode changed by its name in /proc.
        os.chmod(b"/proc/self/fd/%d" % fd, mode)  # noqa: PTH101  # a path here is bytes
    finally:
        os.close(fd)
