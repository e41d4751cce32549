"""The folders that a restore writes below, each reached from the target's root without following a link.

Promise: every file is made relative to the descriptor of its folder, and every folder is opened relative to
the one above it with O_NOFOLLOW: nothing outside the target is ever written, whatever names and links the
snapshot or the target hold. At most `OPEN_MAX` folders are open at a time; others are opened again when needed.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from repository.tree import Entry

OPEN_MAX: Final = 128
FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE_WHILE_RESTORING: Final = 0o700


class Folder:
    """A folder of the target. `path` is that in the snapshot, relative to its root; `name` is that on disk."""

    __slots__ = ("above", "entry", "fd", "is_new", "name", "path", "users")

    def __init__(self, above: "Folder | None", name: bytes, path: bytes, entry: Entry, *, is_new: bool) -> None:
        self.above = above
        self.name = name
        self.path = path
        self.entry = entry
        self.is_new = is_new
        self.fd = -1
        self.users = 0


class Folders:
    """Opens and closes folders. Thread-safe."""

    def __init__(self, root_fd: int, entry: Entry, *, is_new: bool) -> None:
        self.root = Folder(None, b"", b"", entry, is_new=is_new)
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
                is_new = True
            except FileExistsError:
                try:
                    os.close(os.open(name, FOLDER_FLAGS, dir_fd=fd))
                except OSError as error:
                    raise FileExistsError(error.errno, "not a folder") from error
                is_new = False
        return Folder(above, name, path, entry, is_new=is_new)

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
