"""Where each entry goes in a target that is not empty: by what is there, and by what the caller said.

Promise: nothing is replaced but what this restore left itself when it was interrupted, or what the caller gave leave to
overwrite. Left by a restore is what is unfinished by its mode, or finished by its time and its bytes: a
file that somebody has written to since is somebody's.
"""

import os
import stat as stat_bits
from collections.abc import Callable

from repository.restore.contents import RestoreContents
from repository.restore.file_attributes import has_time
from repository.restore.files import Place, TargetFiles
from repository.restore.folders import Folder, Folders
from repository.restore.options import Conflict, Trouble
from repository.restore.snapshot_walk import Step
from repository.restore.target import RestoreTarget
from repository.stored.tree import Entry


class Places:
    """Decides for one target. Used by one thread."""

    def __init__(
        self,
        folders: Folders,
        files: TargetFiles,
        contents: RestoreContents,
        target: RestoreTarget,
        conflict: Conflict,
        on_trouble: Callable[[bytes, Trouble, str], None],
    ) -> None:
        self._folders = folders
        self._files = files
        self._contents = contents
        self._target = target
        self._conflict = conflict
        self._trouble = on_trouble
        self._is_fresh = target.is_in_place and not target.is_resumed

    def of(self, folder: Folder, step: Step) -> Place | None:
        """The place of a file, link or special file, or None where it stays away. Raises `OSError`."""
        name, entry = step.entry.name, step.entry
        if self._is_fresh:
            return Place(name, name)
        if not self._is_there(folder, name):
            return self._working(name, entry)
        if self._target.is_in_place:
            for candidate in self._candidates(name):
                if self._is_there(folder, candidate) and self._is_left(folder, candidate, entry):
                    return Place(candidate, candidate, may_be_there=True)
        if self._conflict is Conflict.OVERWRITE and not self._is_folder(folder, name):
            # What is in the way goes when what takes its name is there: the system may refuse to make it.
            return Place(name, self._files.temporary_name(entry), may_be_there=self._target.is_resumed)
        free = self.make_way(folder, name, step.path)
        return None if free is None else self._working(free, entry)

    def found_again(self, folder: Folder, step: Step) -> bytes | None:
        """The name under which an interrupted restore, in a place that others use, has finished the entry."""
        if not self._target.is_resumed or self._target.is_in_place:
            return None
        entry = step.entry
        for candidate in self._candidates(entry.name):
            if entry.is_file:
                if self._contents.is_there(folder, candidate, entry):
                    return candidate
            else:
                with self._folders.using(folder) as fd:
                    if _is_same_other(fd, candidate, entry, with_time=True):
                        return candidate
        return None

    def is_same(self, first: Folder, first_name: bytes, folder: Folder, name: bytes) -> bool:
        """Whether the name, or the one that is tried beside it, is another name of the first one's file."""
        with self._folders.using(first) as one, self._folders.using(folder) as other:
            return any(_is_same(one, first_name, other, each) for each in self._candidates(name))

    def make_way(self, folder: Folder, name: bytes, path: bytes) -> bytes | None:
        """The name to use where something is in the way; None where it is to stay."""
        if self._conflict is Conflict.SKIP:
            self._trouble(path, Trouble.SKIPPED, "")
            return None
        if self._conflict is Conflict.REFUSE:
            self._trouble(path, Trouble.IN_THE_WAY, "was changed, or put there, since the restore was interrupted")
            return None
        if self._conflict is Conflict.RENAME:
            return self._files.free_name(folder, name)
        with self._folders.using(folder) as fd:
            os.unlink(name, dir_fd=fd)
        return name

    def _working(self, name: bytes, entry: Entry) -> Place:
        if self._target.is_in_place or not entry.is_file:
            return Place(name, name)
        return Place(name, self._files.temporary_name(entry), may_be_there=self._target.is_resumed)

    def _candidates(self, name: bytes) -> tuple[bytes, ...]:
        if self._target.is_resumed and self._conflict is Conflict.RENAME:
            return name, self._files.name_beside(name)
        return (name,)

    def _is_there(self, folder: Folder, name: bytes) -> bool:
        with self._folders.using(folder) as fd:
            try:
                os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                return False
        return True

    def _is_left(self, folder: Folder, name: bytes, entry: Entry) -> bool:
        if entry.is_file:
            return self._contents.is_left(folder, name, entry)
        with self._folders.using(folder) as fd:
            return _is_same_other(fd, name, entry, with_time=False)

    def _is_folder(self, folder: Folder, name: bytes) -> bool:
        with self._folders.using(folder) as fd:
            return stat_bits.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)


def _is_same_other(folder: int, name: bytes, entry: Entry, *, with_time: bool) -> bool:
    """Whether what has the name is the very symlink or special file that the entry describes."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat_bits.S_IFMT(status.st_mode) != stat_bits.S_IFMT(entry.stat.mode):
            return False
        if with_time and not has_time(status.st_mtime_ns, entry.stat):
            return False
        if entry.is_symlink:
            return os.readlink(name, dir_fd=folder) == entry.extra.target
    except OSError:
        return False
    return status.st_rdev == os.makedev(*entry.extra.device)


def _is_same(left: int, left_name: bytes, right: int, right_name: bytes) -> bool:
    try:
        one = os.stat(left_name, dir_fd=left, follow_symlinks=False)
        other = os.stat(right_name, dir_fd=right, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
