"""Turns the walk of a snapshot into folders, files, links and special files of the target.

Promise: what is small in number is made as it is met; contents are planned in windows and filled by the readers; a
folder gets its attributes (its times above all) when everything below it is done. Memory: one window,
and one record for each file of several names.
"""

import errno
import os
import stat as stat_bits
from collections.abc import Callable
from typing import Final

from repository.errors import Damaged, RepositoryError
from repository.file_attributes import Xattrs, set_on_descriptor, set_on_name
from repository.keys import DomainKeys
from repository.pack_access import ChunkReader
from repository.restore_files import TargetFile, TargetFiles
from repository.restore_folders import Folder, Folders
from repository.restore_options import Conflict, RestoreOptions, RestoreResult, Trouble
from repository.restore_plan import WINDOW_PARTS, Part
from repository.restore_reading import SpanReaders
from repository.restore_resume import ExistingFiles
from repository.restore_target import RestoreTarget
from repository.snapshot_walk import SnapshotWalk, Step
from repository.tree import Entry, Flag, content_ids, decode_extents, decode_xattrs

_SPECIAL: Final = (stat_bits.S_IFIFO, stat_bits.S_IFCHR, stat_bits.S_IFBLK, stat_bits.S_IFSOCK)


class RestoreWriting:
    """The writing half of a restore. Used by one thread."""

    def __init__(
        self,
        folders: Folders,
        files: TargetFiles,
        readers: SpanReaders,
        reader: ChunkReader,
        target: RestoreTarget,
        options: RestoreOptions,
        on_trouble: Callable[[bytes, Trouble, str], None],
        result: RestoreResult,
        keys: DomainKeys,
    ) -> None:
        self._folders = folders
        self._files = files
        self._readers = readers
        self._reader = reader
        self._target = target
        self._options = options
        self._trouble = on_trouble
        self._result = result
        self._existing = ExistingFiles(folders, files, keys)
        self._path: list[Folder] = [folders.root]
        self._parts: list[Part] = []
        self._empty: list[TargetFile] = []
        self._pack_order: dict[bytes, int] = {}
        self._left: list[Folder] = []
        self._links: dict[tuple[int, int], tuple[Folder, bytes]] = {}
        self._links_waiting: list[tuple[Folder, bytes, bytes, tuple[int, int]]] = []
        self.files_found = 0
        self.bytes_found = 0
        self.is_complete = False

    def take(self, step: Step, walk: SnapshotWalk) -> None:
        """One step of the walk. Raises `OSError` when the target fails as a whole."""
        if step.is_leaving:
            self._leave()
        elif step.entry.is_directory:
            self._enter(step, walk)
        else:
            try:
                self._take_entry(step)
            except OSError as error:
                self._refused(step.path, error)
        if len(self._parts) + len(self._empty) + len(self._left) >= WINDOW_PARTS:
            self._drain_window()

    def drain(self) -> None:
        """Finish everything that was taken."""
        self.is_complete = True
        self._drain_window()

    def finish_root(self, root: Entry) -> None:
        """Give the target's root the attributes of the source's, where the target is this restore's own."""
        if self._target.is_in_place:
            try:
                refused = set_on_descriptor(self._target.fd, root.stat, self._xattrs(root))
            except OSError as error:
                refused = errno.errorcode.get(error.errno or 0, "?")
            if refused:
                self._trouble(b"", Trouble.ATTRIBUTES, refused)

    def _refused(self, path: bytes, error: OSError) -> None:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
            raise error
        self._trouble(path, Trouble.NOT_CREATED, errno.errorcode.get(error.errno or 0, "?"))

    # Folders

    def _enter(self, step: Step, walk: SnapshotWalk) -> None:
        above = self._path[-1]
        try:
            folder = self._make_folder(above, step)
        except OSError as error:
            self._refused(step.path, error)
            folder = None
        if folder is None:
            walk.skip()
            return
        if step.entry.extra.flags & Flag.UNREADABLE:
            self._trouble(step.path, Trouble.NOT_SAVED, "")
        self._result.folders += 1
        self._path.append(folder)

    def _make_folder(self, above: Folder, step: Step) -> Folder | None:
        name = step.entry.name
        try:
            return self._folders.make(above, name, step.path, step.entry)
        except FileExistsError:
            free = self._make_way(above, name, step.path)
            return self._folders.make(above, free, step.path, step.entry) if free is not None else None

    def _make_way(self, folder: Folder, name: bytes, path: bytes) -> bytes | None:
        """The name to use where something is in the way of something that is not written whole by `TargetFiles`."""
        conflict = self._options.conflict
        if conflict is Conflict.SKIP:
            self._trouble(path, Trouble.SKIPPED, "")
            return None
        if conflict is Conflict.RENAME:
            return self._files.free_name(folder, name)
        with self._folders.using(folder) as fd:
            os.unlink(name, dir_fd=fd)
        return name

    def _leave(self) -> None:
        if len(self._path) > 1:
            self._left.append(self._path.pop())

    def _finish_folder(self, folder: Folder) -> None:
        if not folder.is_new and self._options.conflict is Conflict.SKIP:
            return
        try:
            with self._folders.using(folder) as fd:
                refused = set_on_descriptor(fd, folder.entry.stat, self._xattrs(folder.entry))
        except OSError as error:
            self._refused(folder.path, error)
            return
        if refused:
            self._trouble(folder.path, Trouble.ATTRIBUTES, refused)

    # Files and the rest

    def _take_entry(self, step: Step) -> None:
        entry, folder = step.entry, self._path[-1]
        self.files_found += 1
        if entry.extra.flags & Flag.UNREADABLE:
            self._trouble(step.path, Trouble.NOT_SAVED, "")
            return
        if entry.is_file and entry.stat.links > 1:
            key = (entry.stat.device, entry.stat.inode)
            if key in self._links:
                self._links_waiting.append((folder, entry.name, step.path, key))
                return
        name = self._free_name(folder, step)
        if name is None:
            return
        if not entry.is_file:
            self._make_other(folder, name, step)
            return
        if entry.stat.links > 1:
            self._links[(entry.stat.device, entry.stat.inode)] = (folder, name)
        self._plan(folder, name, step)

    def _free_name(self, folder: Folder, step: Step) -> bytes | None:
        """The name under which the entry goes to its folder, or None where it stays away."""
        name = step.entry.name
        if self._target.is_in_place and not self._target.is_resumed:
            return name
        with self._folders.using(folder) as fd:
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                return name
        if step.entry.is_file and (
            self._target.is_in_place
            or (self._options.conflict is Conflict.OVERWRITE and not stat_bits.S_ISDIR(found.st_mode))
        ):
            return name
        if self._target.is_in_place:
            with self._folders.using(folder) as fd:
                os.unlink(name, dir_fd=fd)
            return name
        return self._make_way(folder, name, step.path)

    def _plan(self, folder: Folder, name: bytes, step: Step) -> None:
        entry = step.entry
        self.bytes_found += entry.stat.size
        try:
            parts = self._parts_of(folder, name, entry)
        except RepositoryError as error:
            self._trouble(step.path, Trouble.DAMAGED, str(error))
            return
        self._parts.extend(parts)

    def _parts_of(self, folder: Folder, name: bytes, entry: Entry) -> list[Part]:
        extents = None
        if entry.extra.flags & Flag.SPARSE:
            extents = decode_extents(entry.extra.extents, entry.stat.size)
        expected = entry.stat.size if extents is None else sum(length for _offset, length in extents)
        file = TargetFile(folder, name, entry, extents, self._xattrs(entry))
        parts: list[Part] = []
        position = 0
        for chunk_id in content_ids(entry.content or b"", entry.extra.depth, self._reader.chunk):
            location = self._readers.locate(chunk_id)
            if location is None:
                location = self._reader.locate(chunk_id)
            pack_id, frame_offset, frame_length, chunk_offset, chunk_length = location
            order = self._pack_order.setdefault(pack_id, len(self._pack_order))
            parts.append(
                Part(
                    order,
                    frame_offset,
                    chunk_offset,
                    len(self._parts) + len(parts),
                    pack_id,
                    frame_length,
                    chunk_length,
                    chunk_id,
                    file,
                    position,
                    False,
                )
            )
            position += chunk_length
        if position != expected:
            raise Damaged("content does not add up to the file's size", size=expected, content=position)
        return self._only_missing(file, parts)

    def _only_missing(self, file: TargetFile, parts: list[Part]) -> list[Part]:
        """The parts that have to be read: what an interrupted restore left and is right stays."""
        if self._target.is_resumed:
            missing = self._existing.missing(file, parts)
            if missing is not None:
                file.parts_left = len(missing)
                if not missing:
                    self._result.resumed_files += 1
                    self._empty.append(file)
                return missing
        if not parts:
            self._empty.append(file)
        elif len(parts) == 1 and file.extents is None:
            return [parts[0]._replace(is_whole_file=True)]
        file.parts_left = len(parts)
        return parts

    def _xattrs(self, entry: Entry) -> Xattrs:
        if not entry.extra.xattrs_chunk:
            return entry.extra.xattrs
        try:
            return decode_xattrs(self._reader.chunk(entry.extra.xattrs_chunk))
        except RepositoryError:
            return ()

    def _make_other(self, folder: Folder, name: bytes, step: Step) -> None:
        """A symlink, FIFO, socket or device."""
        entry = step.entry
        kind = stat_bits.S_IFMT(entry.stat.mode)
        with self._folders.using(folder) as fd:
            if entry.is_symlink:
                os.symlink(entry.extra.target, name, dir_fd=fd)
            elif kind in _SPECIAL:
                os.mknod(name, kind | 0o600, os.makedev(*entry.extra.device), dir_fd=fd)
            else:
                self._trouble(step.path, Trouble.NOT_CREATED, "unknown kind")
                return
            refused = set_on_name(fd, name, entry.stat, self._xattrs(entry))
        self._result.others += 1
        if refused:
            self._trouble(step.path, Trouble.ATTRIBUTES, refused)

    # Windows

    def _drain_window(self) -> None:
        self._readers.read(self._parts)
        self._parts.clear()
        self._pack_order.clear()
        for file in self._empty:
            self._readers.finish(file)
        self._empty.clear()
        for waiting in self._links_waiting:
            self._link(*waiting)
        self._links_waiting.clear()
        for folder in self._left:
            self._finish_folder(folder)
        self._left.clear()

    def _link(self, folder: Folder, name: bytes, path: bytes, key: tuple[int, int]) -> None:
        first_folder, first_name = self._links[key]
        try:
            with self._folders.using(first_folder) as first, self._folders.using(folder) as fd:
                try:
                    os.link(first_name, name, src_dir_fd=first, dst_dir_fd=fd, follow_symlinks=False)
                except FileExistsError:
                    if _is_same(first, first_name, fd, name):
                        pass
                    elif self._target.is_in_place:
                        os.unlink(name, dir_fd=fd)
                        os.link(first_name, name, src_dir_fd=first, dst_dir_fd=fd, follow_symlinks=False)
                    else:
                        free = self._make_way(folder, name, path)
                        if free is None:
                            return
                        os.link(first_name, free, src_dir_fd=first, dst_dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            self._refused(path, error)
            return
        self._files.files_done += 1


def _is_same(left: int, left_name: bytes, right: int, right_name: bytes) -> bool:
    one = os.stat(left_name, dir_fd=left, follow_symlinks=False)
    other = os.stat(right_name, dir_fd=right, follow_symlinks=False)
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
