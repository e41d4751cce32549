"""Turns the walk of a snapshot into folders, files, links and special files of the target.

Promise: a folder is made when something in it is wanted, and gets its attributes (its times above all) when everything
below it is done; contents go through windows (`restore_contents`). Memory: one window, and one record for each
file of several names.
"""

import errno
import os
import stat as stat_bits
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, TypeAlias

from repository.errors import RepositoryError
from repository.format import ID_LENGTH
from repository.keys.crypto import sha256
from repository.opened.pack_access import ChunkReader
from repository.restore.contents import RestoreContents
from repository.restore.file_attributes import Losses, Xattrs, missing_attributes, set_attributes
from repository.restore.files import FATAL, Place, TargetFile, TargetFiles
from repository.restore.folders import Folder, Folders
from repository.restore.options import Conflict, RestoreResult, Trouble, trouble_of
from repository.restore.path_filter import Match
from repository.restore.places import Places
from repository.restore.plan import WINDOW_PARTS
from repository.restore.snapshot_walk import SnapshotWalk, Step
from repository.restore.target import RestoreTarget
from repository.stored.tree import Entry, Flag, decode_xattrs

_UNREADABLE: Final = int(Flag.UNREADABLE)
_CHANGED: Final = int(Flag.CHANGED)
_NOT_ENTERED: Final = int(Flag.NOT_ENTERED)
_DEVICES: Final = (stat_bits.S_IFCHR, stat_bits.S_IFBLK)
_NO_LINKS: Final = frozenset((errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV))
_SPECIAL: Final = (stat_bits.S_IFIFO, stat_bits.S_IFCHR, stat_bits.S_IFBLK, stat_bits.S_IFSOCK)


LinkKey: TypeAlias = tuple[int, int, int, int, int, bytes]
_NO_LINK: Final[LinkKey] = (0, 0, 0, 0, 0, b"")


class _First(NamedTuple):
    """The first of a file's names in the target. `file`: how far it is; None of what is there already, or no file."""

    folder: Folder
    name: bytes
    file: TargetFile | None


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
        self._places = Places(folders, files, contents, target, conflict, on_trouble)
        self._path: list[_Level] = [_Level(None, folders.root)]
        self._left: list[tuple[Folder, Match]] = []
        self._links: dict[LinkKey, _First] = {}
        self._links_waiting: list[tuple[Folder, Step, LinkKey]] = []
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

    def finish_root(self, root: Entry, match: Match) -> None:
        """Give the target the attributes of the source's root, where all of that was wanted and the target was empty.

        Where the source was one file, its folder was not saved but for it, and says nothing about the target.
        """
        if self._target.is_in_place and not root.extra.flags & _NOT_ENTERED:
            self._set_attributes(self._folders.root, match)

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
        free = self._places.make_way(above, name, step.path)
        return None if free is None else self._folders.make(above, free, step.path, step.entry)

    def _leave(self) -> None:
        level = self._path[-1]
        if level.step is not None:
            self._path.pop()
            if level.folder is not None:
                self._left.append((level.folder, level.step.match))

    def _set_attributes(self, folder: Folder, match: Match) -> None:
        """What a folder gets when all below it is done: one that was there keeps its own, unless it was asked for."""
        is_replaced = self._conflict is Conflict.OVERWRITE and match is Match.WANTED
        losses: Losses = []
        try:
            with self._folders.using(folder) as fd:
                if folder.above is None and match is not Match.WANTED:
                    return
                if folder.is_own or is_replaced:
                    losses = set_attributes(fd, folder.entry.stat, self._xattrs(folder.entry, folder.path))
                elif folder.mode_before is not None:
                    os.fchmod(fd, folder.mode_before)
        except OSError as error:
            self._refused(folder.path, error)
            return
        self._tell(folder.path, losses)

    def _tell(self, path: bytes, losses: Losses) -> None:
        for trouble, detail in losses:
            self._trouble(path, trouble, detail)

    # Files and the rest

    def _take_entry(self, step: Step) -> None:
        entry = step.entry
        is_file = entry.is_file
        self.files_found += is_file
        if entry.extra.flags & _UNREADABLE:
            self._trouble(step.path, Trouble.NOT_SAVED, "")
            return
        if entry.extra.flags & _CHANGED:
            self._trouble(step.path, Trouble.CHANGED, "")
        folder = self._folder()
        if folder is None:
            return
        is_linked = entry.stat.links > 1
        key = link_key(entry) if is_linked else _NO_LINK
        if is_linked and key in self._links:
            self._links_waiting.append((folder, step, key))
            return
        name = self._places.found_again(folder, step)
        if name is not None:
            self._result.resumed_files += is_file
            with self._folders.using(folder) as fd:
                place = b"/proc/self/fd/%d/%s" % (fd, name)
                self._tell(step.path, missing_attributes(place, entry.stat, self._xattrs(entry, step.path)))
            first: _First | None = _First(folder, name, None)
        else:
            first = self._make_entry(folder, step)
        if is_linked and first is not None:
            self._links[key] = first

    def _make_entry(self, folder: Folder, step: Step) -> _First | None:
        """Make the entry, or plan it where it is a file; None where there is nothing to link to."""
        entry = step.entry
        place = self._places.of(folder, step)
        if place is None:
            return None
        if not entry.is_file:
            return _First(folder, place.name, None) if self._make_other(folder, place, step) else None
        self.bytes_found += entry.stat.size
        try:
            file = self._contents.plan(folder, place, entry, self._xattrs(entry, step.path))
        except RepositoryError as error:
            self._trouble(step.path, trouble_of(error), str(error))
            return None
        return _First(folder, place.name, file)

    def _xattrs(self, entry: Entry, path: bytes) -> Xattrs:
        if not entry.extra.xattrs_chunk:
            return entry.extra.xattrs
        try:
            return decode_xattrs(self._reader.chunk(entry.extra.xattrs_chunk))
        except RepositoryError as error:
            self._trouble(path, Trouble.XATTR, str(error))
            return ()

    def _make_other(self, folder: Folder, place: Place, step: Step) -> bool:
        """A symlink, FIFO, socket or device; whether it is there."""
        entry = step.entry
        name = place.working
        is_overwriting = name != place.name
        kind = stat_bits.S_IFMT(entry.stat.mode)
        if not entry.is_symlink and kind not in _SPECIAL:
            self._trouble(step.path, Trouble.NOT_CREATED, "unknown kind")
            return False
        xattrs = self._xattrs(entry, step.path)
        with self._folders.using(folder) as fd:
            if is_overwriting:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=fd)  # an interrupted restore's
            if place.may_be_there and not is_overwriting:
                pass  # made before the restore was interrupted, perhaps without its attributes
            elif entry.is_symlink:
                os.symlink(entry.extra.target, name, dir_fd=fd)
            else:
                try:
                    os.mknod(name, kind | 0o600, os.makedev(*entry.extra.device), dir_fd=fd)
                except PermissionError as error:
                    if kind not in _DEVICES:
                        raise
                    self._trouble(step.path, Trouble.DEVICE, errno.errorcode.get(error.errno or 0, "?"))
                    return False
            # There is no `lsetxattrat`; the descriptor's name in /proc keeps it relative to the folder.
            losses = set_attributes(b"/proc/self/fd/%d/%s" % (fd, name), entry.stat, xattrs)
            if is_overwriting:
                _take_name(place, fd)
        self._result.others += 1
        self._tell(step.path, losses)
        return True

    # Windows

    def _drain_window(self) -> None:
        self._contents.drain()
        for waiting in self._links_waiting:
            self._link(*waiting)
        self._links_waiting.clear()
        if len(self._contents):
            self._contents.drain()
        for folder, match in self._left:
            self._set_attributes(folder, match)
        self._left.clear()

    def _link(self, folder: Folder, step: Step, key: LinkKey) -> None:
        """Give what was restored another of its names; where the target knows no such thing, a copy has it."""
        first_folder, first_name, file = self._links[key]
        if file is not None and file.told:
            # What has the first name is not what it should be, and nothing of the target goes for it.
            for trouble in sorted(file.told):
                self._trouble(step.path, trouble, "its bytes are those of another name")
            return
        try:
            if file is not None and file.given is None:
                # The target refused the first name, and may take this one; those behind it are linked to it then.
                if (made := self._make_entry(folder, step)) is not None:
                    self._links[key] = made
                    self._contents.drain()
                return
            first_name = first_name if file is None or file.given is None else file.given
            if self._places.is_same(first_folder, first_name, folder, step.entry.name):
                self._count(step.entry)
                return
            place = self._places.of(folder, step)
            if place is None:
                return
            with self._folders.using(first_folder) as first, self._folders.using(folder) as fd:
                if place.may_be_there and place.working == place.name:
                    # An earlier restore, of less than this one, left it as a file of its own.
                    os.unlink(place.name, dir_fd=fd)
                try:
                    self._link_to(first_name, first, place, fd)
                except OSError as error:
                    if error.errno not in _NO_LINKS:
                        raise
                    self._trouble(step.path, Trouble.LINK, errno.errorcode.get(error.errno or 0, "?"))
                    self._make_entry(folder, step)
                    return
        except OSError as error:
            self._refused(step.path, error)
            return
        self._count(step.entry)

    def _link_to(self, first_name: bytes, first: int, place: Place, folder: int) -> None:
        """What is overwritten goes in the very step in which the link takes its name. Raises `OSError`."""
        is_overwritten = self._conflict is Conflict.OVERWRITE and place.working != place.name
        name = place.working if is_overwritten else place.name
        with suppress(FileNotFoundError):
            if is_overwritten:
                os.unlink(name, dir_fd=folder)  # an interrupted restore's
        os.link(first_name, name, src_dir_fd=first, dst_dir_fd=folder, follow_symlinks=False)
        if is_overwritten:
            _take_name(place, folder)

    def _count(self, entry: Entry) -> None:
        """One more name."""
        if entry.is_file:
            self._result.files += 1
        else:
            self._result.others += 1


def _take_name(place: Place, folder: int) -> None:
    """Give what is there under its working name its own, in place of what has it. Raises `OSError`."""
    try:
        os.replace(place.working, place.name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(place.working, dir_fd=folder)
        raise


def link_key(entry: Entry) -> LinkKey:
    """What the names of one file (or link, or special file) have in common.

    The inode alone is not enough: the file may have been written to, or its number given to another one, between
    the listings of two names.
    """
    stat, content = entry.stat, entry.content or entry.extra.target
    digest = content if len(content) <= ID_LENGTH else sha256(content)
    return stat.mode, stat.device, stat.inode, stat.size, stat.mtime_ns, digest
