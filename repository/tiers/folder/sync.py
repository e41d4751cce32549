"""Making folder entries durable together: many writers, one round of fsyncs at a time.

A new file is only durable once its folder is synced. Writers that finish while a round is under way
wait for the next one, in which each folder is synced once for all of them.
"""

import errno
import os
import threading
from collections.abc import Callable, Collection, Iterable


class _Round:
    """The folders that are synced together, and how it ended."""

    def __init__(self) -> None:
        self.folders: set[str] = set()
        self.is_done = False
        self.error = errno.EINTR  # until it ends well: an interrupted round has synced nothing for sure


class FolderSync:
    """Syncs folders for any number of threads; `sync_folder(path)` does one and raises `OSError`."""

    def __init__(self, sync_folder: Callable[[str], None]) -> None:
        self._sync_folder = sync_folder
        self._condition = threading.Condition()
        self._next = _Round()
        self._is_running = False
        self._owed: set[str] = set()
        # Held while paying: a second payer must not return before the first has synced its folders.
        self._paying = threading.Lock()

    def sync(self, folders: Iterable[str]) -> None:
        """Return when the entries that these folders have now are durable; raises `OSError`."""
        with self._condition:
            ours = self._next
            ours.folders.update(folders)
            while not ours.is_done and (self._is_running or ours is not self._next):
                self._condition.wait()
            if not ours.is_done:
                self._is_running = True
                self._next = _Round()
        if not ours.is_done:
            self._run(ours)
        if ours.error:
            raise OSError(ours.error, os.strerror(ours.error))

    def owe(self, folders: Iterable[str]) -> None:
        """Remember the folders for the next `pay`."""
        with self._condition:
            self._owed.update(folders)

    def pay(self) -> set[str]:
        """Sync all folders that are owed, and return them. After an error they are owed still."""
        with self._paying:
            with self._condition:
                owed, self._owed = self._owed, set()
            try:
                self.sync(owed)
            except BaseException:
                self.owe(owed)
                raise
        return owed

    def _run(self, ours: _Round) -> None:
        try:
            for folder in sorted(ours.folders):
                self._sync_folder(folder)
            ours.error = 0
        except OSError as error:
            ours.error = error.errno or errno.EIO
        finally:
            with self._condition:
                ours.is_done = True
                self._is_running = False
                self._condition.notify_all()


def with_unsynced_above(folder: str, durable: Collection[str]) -> set[str]:
    """The folder, and those above it that must be synced for its own name to be durable.

    Up to a folder whose own name is durable, at most to the root of the file system: which of these
    folders are new, and whether somebody synced them, cannot be known.
    """
    unsynced, path = {folder}, folder
    while path not in durable and not os.path.ismount(path):
        path = os.path.dirname(path)
        if not os.access(path, os.R_OK):
            break
        unsynced.add(path)
    return unsynced
