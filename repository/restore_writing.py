"""Turns the walk of a snapshot into folders, files, links and special files of the target.

Promise: a folder is made when something in it is wanted, and gets its attributes (its times above all) when everything
below it is done; contents go through windows (`restore_contents`). Memory: one window, and one record for each
file of several names.
"""

import errno
import os
import stat as stat_bits
from collections.abc import Callable
from typing import Final, TypeAlias

from repository.crypto import sha256
from repository.errors import RepositoryError
from repository.file_attributes import Xattrs, set_on_descriptor, set_on_name
from repository.format import ID_LENGTH
from repository.pack_access import ChunkReader
from repository.path_filter import Match
from repository.restore_contents import RestoreContents
from repository.restore_files import FATAL, TargetFiles
from repository.restore_folders import Folder, Folders
from repository.restore_options import Conflict, RestoreResult, Trouble
from repository.restore_plan import WINDOW_PARTS
from repository.restore_target import RestoreTarget
from repository.snapshot_walk import SnapshotWalk, Step
from repository.tree import Entry, Flag, decode_xattrs

_UNREADABLE: Final = int(Flag.UNREADABLE)
_SPECIAL: Final = (stat_bits.S_IFIFO, stat_bits.S_IFCHR, stat_bits.S_IFBLK, stat_bits.S_IFSOCK)


_LinkKey: TypeAlias = tuple[int, int, int, int, bytes]
_NO_LINK: Final[_LinkKey] = (0, 0, 0, 0, b"")


class _Level:
    """One folder on the path of the walk; `step` is None for the target itself."""

    __slots__ = ("folder", "is_refused", "step")

    def __init__(self, step: Step | None, folder: Folder | None) -> None:
        self.step = step
        self.folder = folder
        self.is_refused = False


class RestoreWriting:
    """The writing half of a restore. Used by one thread. Raises `OSError` when the target fails as a whole."""

    def __init__(
        self,
        folders: Folders,
        files: TargetFiles,
        contents: RestoreContents,
        reader: ChunkReader,
        target: RestoreTarget,
        conflict: Conflict,
        on_trouble: Callable[[bytes, Trouble, str], None],
        result: RestoreResult,
    ) -> None:
        self._folders = folders
        self._files = files
        self._contents = contents
        self._reader = reader
        self._target = target
        self._conflict = conflict
        self._trouble = on_trouble
        self._result = result
        self._is_fresh = target.is_in_place and not target.is_resumed
        self._path: list[_Level] = [_Level(None, folders.root)]
        self._left: list[Folder] = []
        self._links: dict[_LinkKey, tuple[Folder, bytes]] = {}
        self._links_waiting: list[tuple[Folder, bytes, bytes, _LinkKey]] = []
        self.files_found = 0
        self.bytes_found = 0
        self.is_complete = False

    def take(self, step: Step, walk: SnapshotWalk) -> None:
        """One step of the walk."""
        if step.is_leaving:
            self._leave()
        elif step.entry.is_directory:
            self._enter(step, walk)
        else:
            try:
                self._take_entry(step)
            except OSError as error:
                self._refused(step.path, error)
        if len(self._contents) + len(self._left) + len(self._links_waiting) >= WINDOW_PARTS:
            self._drain_window()

    def drain(self) -> None:
        """Finish everything that was taken."""
        self.is_complete = True
        self._drain_window()

    def finish_root(self, root: Entry) -> None:
        """Give the target's root the attributes of the source's, where the target is this restore's own."""
        if self._target.is_in_place:
            self._set_attributes(self._folders.root, root)

    def _refused(self, path: bytes, error: OSError) -> None:
        if error.errno in FATAL:
            raise error
        self._trouble(path, Trouble.NOT_CREATED, errno.errorcode.get(error.errno or 0, "?"))

    # Folders

    def _enter(self, step: Step, walk: SnapshotWalk) -> None:
        self._path.append(_Level(step, None))
        # A folder of which only something below is wanted is made when that turns up.
        if step.match is Match.WANTED and self._folder() is None:
            self._path.pop()
            walk.skip()

    def _folder(self) -> Folder | None:
        """The folder that the walk is in, made with those above it where needed; None where it cannot be made."""
        innermost = self._path[-1].folder
        if innermost is not None:
            return innermost
        above = self._path[0].folder
        for level in self._path[1:]:
            if level.folder is None and level.step is not None and above is not None and not level.is_refused:
                level.folder = self._make_folder(above, level.step)
                level.is_refused = level.folder is None
            above = level.folder
        return above

    def _make_folder(self, above: Folder, step: Step) -> Folder | None:
        name = step.entry.name
        try:
            try:
                folder = self._folders.make(above, name, step.path, step.entry)
            except FileExistsError:
                folder_beside = self._folder_beside(above, step)
                if folder_beside is None:
                    return None
                folder = folder_beside
        except OSError as error:
            self._refused(step.path, error)
            return None
        if step.entry.extra.flags & _UNREADABLE:
            self._trouble(step.path, Trouble.NOT_SAVED, "")
        self._result.folders += 1
        return folder

    def _folder_beside(self, above: Folder, step: Step) -> Folder | None:
        """The folder in place of, or beside, something else of its name; None where that is to stay."""
        name = step.entry.name
        if self._target.is_resumed and self._conflict is Conflict.RENAME:
            try:
                return self._folders.make(above, self._files.name_beside(name), step.path, step.entry)
            except FileExistsError:
                pass
        free = self._make_way(above, name, step.path)
        return None if free is None else self._folders.make(above, free, step.path, step.entry)

    def _make_way(self, folder: Folder, name: bytes, path: bytes) -> bytes | None:
        """The name to use where something is in the way; None where it is to stay."""
        if self._conflict is Conflict.SKIP:
            self._trouble(path, Trouble.SKIPPED, "")
            return None
        if self._conflict is Conflict.RENAME:
            return self._files.free_name(folder, name)
        with self._folders.using(folder) as fd:
            os.unlink(name, dir_fd=fd)
        return name

    def _leave(self) -> None:
        folder = self._path[-1].folder
        if len(self._path) > 1:
            self._path.pop()
            if folder is not None:
                self._left.append(folder)

    def _set_attributes(self, folder: Folder, entry: Entry) -> None:
        if not folder.is_new and self._conflict is Conflict.SKIP:
            return
        xattrs = self._xattrs(entry, folder.path)
        try:
            with self._folders.using(folder) as fd:
                refused = set_on_descriptor(fd, entry.stat, xattrs)
        except OSError as error:
            self._refused(folder.path, error)
            return
        if refused:
            self._trouble(folder.path, Trouble.ATTRIBUTES, refused)

    # Files and the rest

    def _take_entry(self, step: Step) -> None:
        entry = step.entry
        is_file = entry.is_file
        self.files_found += is_file
        if entry.extra.flags & _UNREADABLE:
            self._trouble(step.path, Trouble.NOT_SAVED, "")
            return
        folder = self._folder()
        if folder is None:
            return
        is_linked = is_file and entry.stat.links > 1
        key = _link_key(entry) if is_linked else _NO_LINK
        if is_linked and key in self._links:
            self._links_waiting.append((folder, entry.name, step.path, key))
            return
        there = None if self._is_fresh else self._found_again(folder, step)
        name = there or (entry.name if self._is_fresh else self._name_for(folder, step))
        if name is None:
            return
        if is_linked:
            self._links[key] = (folder, name)
        if there is not None:
            self._result.resumed_files += is_file
            return
        if not is_file:
            self._make_other(folder, name, step)
            return
        self.bytes_found += entry.stat.size
        try:
            self._contents.plan(folder, name, entry, self._xattrs(entry, step.path))
        except RepositoryError as error:
            self._links.pop(key, None)
            self._trouble(step.path, Trouble.DAMAGED, str(error))

    def _found_again(self, folder: Folder, step: Step) -> bytes | None:
        """The name under which an interrupted restore, in a place that others use, has finished the entry."""
        if not self._target.is_resumed or self._target.is_in_place:
            return None
        name, entry = step.entry.name, step.entry
        for candidate in (name, self._files.name_beside(name)):
            if entry.is_file:
                if self._contents.is_there(folder, candidate, entry):
                    return candidate
            else:
                with self._folders.using(folder) as fd:
                    if _is_same_other(fd, candidate, entry):
                        return candidate
        return None

    def _name_for(self, folder: Folder, step: Step) -> bytes | None:
        """The name under which an entry goes to its folder, or None where it stays away."""
        name, is_file = step.entry.name, step.entry.is_file
        with self._folders.using(folder) as fd:
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                return name
            if self._target.is_in_place:
                # What is there is this restore's own, as far as it got; only files are gone on with.
                if not is_file:
                    os.unlink(name, dir_fd=fd)
                return name
        if is_file and self._conflict is Conflict.OVERWRITE and not stat_bits.S_ISDIR(found.st_mode):
            return name
        return self._make_way(folder, name, step.path)

    def _xattrs(self, entry: Entry, path: bytes) -> Xattrs:
        if not entry.extra.xattrs_chunk:
            return entry.extra.xattrs
        try:
            return decode_xattrs(self._reader.chunk(entry.extra.xattrs_chunk))
        except RepositoryError as error:
            self._trouble(path, Trouble.ATTRIBUTES, str(error))
            return ()

    def _make_other(self, folder: Folder, name: bytes, step: Step) -> None:
        """A symlink, FIFO, socket or device."""
        entry = step.entry
        kind = stat_bits.S_IFMT(entry.stat.mode)
        if not entry.is_symlink and kind not in _SPECIAL:
            self._trouble(step.path, Trouble.NOT_CREATED, "unknown kind")
            return
        xattrs = self._xattrs(entry, step.path)
        with self._folders.using(folder) as fd:
            if entry.is_symlink:
                os.symlink(entry.extra.target, name, dir_fd=fd)
            else:
                os.mknod(name, kind | 0o600, os.makedev(*entry.extra.device), dir_fd=fd)
            refused = set_on_name(fd, name, entry.stat, xattrs)
        self._result.others += 1
        if refused:
            self._trouble(step.path, Trouble.ATTRIBUTES, refused)

    # Windows

    def _drain_window(self) -> None:
        self._contents.drain()
        for waiting in self._links_waiting:
            self._link(*waiting)
        self._links_waiting.clear()
        for folder in self._left:
            self._set_attributes(folder, folder.entry)
        self._left.clear()

    def _link(self, folder: Folder, name: bytes, path: bytes, key: _LinkKey) -> None:
        """Give a file that was restored another of its names."""
        first_folder, first_name = self._links[key]
        try:
            with self._folders.using(first_folder) as first, self._folders.using(folder) as fd:
                try:
                    os.link(first_name, name, src_dir_fd=first, dst_dir_fd=fd, follow_symlinks=False)
                except FileExistsError:
                    beside = (name, self._files.name_beside(name)) if self._target.is_resumed else (name,)
                    if not any(_is_same(first, first_name, fd, each) for each in beside):
                        free: bytes | None = name
                        if self._target.is_in_place:
                            os.unlink(name, dir_fd=fd)
                        else:
                            free = self._make_way(folder, name, path)
                        if free is None:
                            return
                        os.link(first_name, free, src_dir_fd=first, dst_dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            self._refused(path, error)
            return
        self._result.files += 1


def _is_same_other(folder: int, name: bytes, entry: Entry) -> bool:
    """Whether what has the name is the very symlink or special file that the entry describes."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat_bits.S_IFMT(status.st_mode) != stat_bits.S_IFMT(entry.stat.mode):
            return False
        if status.st_mtime_ns != entry.stat.mtime_ns:
            return False
        if entry.is_symlink:
            return os.readlink(name, dir_fd=folder) == entry.extra.target
    except OSError:
        return False
    return status.st_rdev == os.makedev(*entry.extra.device)


def _link_key(entry: Entry) -> _LinkKey:
    """What the names of one file have in common.

    The inode alone is not enough: the file may have been written to, or its number given to another one, between
    the listings of two names.
    """
    stat, content = entry.stat, entry.content or b""
    return stat.device, stat.inode, stat.size, stat.mtime_ns, content if len(content) <= ID_LENGTH else sha256(content)


def _is_same(left: int, left_name: bytes, right: int, right_name: bytes) -> bool:
    try:
        one = os.stat(left_name, dir_fd=left, follow_symlinks=False)
        other = os.stat(right_name, dir_fd=right, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
