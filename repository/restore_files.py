"""The files of a restore: made, filled in any order by several threads, finished by the one that fills the last part.

Promise: in a fresh target a file has its own name from the start; elsewhere it is filled under a temporary name in its
folder and takes its own name, in one step, when all of it is there: what was in the way is whole until
then. A file of which no tier has everything ends as `<name>.incomplete-<snapshot>`. At most `OPEN_MAX` are
open at a time; attributes are set when a file is finished.
"""

import contextlib
import errno
import os
import stat as stat_bits
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from repository.file_attributes import Xattrs, set_on_descriptor
from repository.restore_folders import Folder, Folders
from repository.restore_options import Conflict, Trouble
from repository.tree import Entry

OPEN_MAX: Final = 256
NAME_LENGTH_MAX: Final = 255
TEMPORARY_PREFIX: Final = b".wedsync-restoring-"
_WRITE: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Without O_NONBLOCK a FIFO that lies where a file belongs would hold the restore for ever."""
_MODE_WHILE_RESTORING: Final = 0o600

FATAL: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE))

Extents = Sequence[tuple[int, int]]


class TargetFile:
    """One file on its way. `parts_left` counts the chunks that are not written yet."""

    __slots__ = (
        "entry",
        "extents",
        "fd",
        "folder",
        "is_begun",
        "is_damaged",
        "is_given_up",
        "name",
        "parts_left",
        "users",
        "xattrs",
    )

    def __init__(self, folder: Folder, name: bytes, entry: Entry, extents: Extents | None, xattrs: Xattrs) -> None:
        self.folder = folder
        self.name = name
        self.entry = entry
        self.extents = extents
        self.xattrs = xattrs
        self.parts_left = 0
        self.fd = -1
        self.users = 0
        self.is_begun = False
        self.is_damaged = False
        self.is_given_up = False

    @property
    def path(self) -> bytes:
        """The path in the snapshot."""
        return self.folder.path + b"/" + self.entry.name if self.folder.path else self.entry.name


class TargetFiles:
    """Makes and fills files. Thread-safe. `on_trouble(path, trouble, detail)` hears of what concerns one file alone.

    `in_place`: whether files have their own names from the start. Where `OSError` is raised, `give_up` says
    whether it concerns one file or the whole target.
    """

    def __init__(
        self,
        folders: Folders,
        *,
        in_place: bool,
        is_resumed: bool,
        conflict: Conflict,
        suffix: bytes,
        sparse: bool,
        on_trouble: Callable[[bytes, Trouble, str], None],
    ) -> None:
        self._folders = folders
        self._in_place = in_place
        self._is_resumed = is_resumed
        self._conflict = conflict
        self._suffix = suffix
        self._sparse = sparse
        self._on_trouble = on_trouble
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._open: OrderedDict[int, TargetFile] = OrderedDict()
        self.files_done = 0
        self.bytes_done = 0
        self.renamed = 0

    def write_whole(self, files: Iterable[tuple[TargetFile, memoryview | bytes]]) -> None:
        """Make, fill and finish files that are one chunk each. Raises `OSError` when the target fails as a whole."""
        # One thread at a time: two that go from one short call to the next take the interpreter from each other.
        with self._turn:
            pinned: Folder | None = None
            folder = -1
            try:
                for file, body in files:
                    try:
                        if file.folder is not pinned:
                            if pinned is not None:
                                self._folders.unpin(pinned)
                                pinned = None
                            folder = self._folders.pin(file.folder)
                            pinned = file.folder
                        self._write_one(file, folder, body)
                    except OSError as error:
                        self.give_up(file, error)
            finally:
                if pinned is not None:
                    self._folders.unpin(pinned)

    def _write_one(self, file: TargetFile, folder: int, body: memoryview | bytes) -> None:
        working = file.name if self._in_place else self.working_name(file)
        fd = self._create(file, working, folder)
        try:
            if self._is_resumed:
                os.ftruncate(fd, 0)
            _write_all(fd, body, 0)
            refused = set_on_descriptor(fd, file.entry.stat, file.xattrs)
        finally:
            os.close(fd)
        if not self._in_place:
            self._give_name(file, folder, working)
        self._count(file, len(body), refused)

    def write_part(self, file: TargetFile, part: memoryview | bytes, position: int) -> None:
        """Write chunks that start at `position` of the content, holes not counted. Raises `OSError`."""
        if file.is_given_up:
            return
        fd = self._acquire(file)
        try:
            written = 0
            for offset, length in places_of(position, len(part), file.extents):
                _write_all(fd, memoryview(part)[written : written + length], offset)
                written += length
        finally:
            self._release(file)
        with self._lock:
            self.bytes_done += len(part)

    def parts_done(self, file: TargetFile, count: int) -> None:
        """Chunks are written, or will never be (`is_damaged`); finishes the file after the last. Raises `OSError`."""
        with self._lock:
            file.parts_left -= count
            if file.parts_left:
                return
        self.finish(file)

    def finish(self, file: TargetFile) -> None:
        """Give a file its size, attributes and name. Raises `OSError`."""
        if file.is_given_up:
            self._close(file)
            self._remove(file)
            return
        fd = self._acquire(file)
        try:
            size = file.entry.stat.size
            os.ftruncate(fd, size)
            if size and file.extents is not None and not self._sparse:
                os.posix_fallocate(fd, 0, size)
            refused = set_on_descriptor(fd, file.entry.stat, file.xattrs)
        finally:
            self._release(file)
            self._close(file)
        with self._folders.using(file.folder) as folder:
            self._give_name(file, folder, self.working_name(file))
        self._count(file, 0, refused)

    def give_up(self, file: TargetFile, error: OSError) -> None:
        """The system refused the file: record it, once. Raises the error when it concerns the whole target."""
        if error.errno in FATAL:
            raise error
        with self._lock:
            was_given_up, file.is_given_up = file.is_given_up, True
        if not was_given_up:
            self._on_trouble(file.path, Trouble.NOT_CREATED, errno.errorcode.get(error.errno or 0, "?"))
        if file.fd < 0:
            self._remove(file)

    def _remove(self, file: TargetFile) -> None:
        """Leave nothing of a file that was given up: half a file would look like one."""
        if file.is_begun:
            with contextlib.suppress(OSError), self._folders.using(file.folder) as folder:
                os.unlink(self.working_name(file), dir_fd=folder)

    def _count(self, file: TargetFile, length: int, refused: str) -> None:
        with self._lock:
            self.files_done += 1
            self.bytes_done += length
        if refused:
            self._on_trouble(file.path, Trouble.ATTRIBUTES, refused)

    def working_name(self, file: TargetFile) -> bytes:
        """The name under which the file is filled."""
        if self._in_place:
            return file.name
        # The name may be as long as the system allows: its digest stands for it.
        from blake3 import blake3

        return TEMPORARY_PREFIX + blake3(self._suffix + b"\0" + file.entry.name).hexdigest(16).encode()

    def _give_name(self, file: TargetFile, folder: int, working: bytes) -> None:
        if file.is_damaged:
            os.replace(working, self._beside(folder, file.name, b".incomplete"), src_dir_fd=folder, dst_dir_fd=folder)
        elif not self._in_place:
            if self._conflict is Conflict.OVERWRITE:
                os.replace(working, file.name, src_dir_fd=folder, dst_dir_fd=folder)
                return
            name = file.name
            try:
                os.link(working, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            except FileExistsError:
                # It was not there when the restore looked.
                if self._conflict is Conflict.SKIP:
                    self._on_trouble(file.path, Trouble.SKIPPED, "")
                else:
                    os.replace(working, self._beside(folder, name, b""), src_dir_fd=folder, dst_dir_fd=folder)
                    return
            os.unlink(working, dir_fd=folder)

    def name_beside(self, name: bytes) -> bytes:
        """The first name that is tried for what cannot have its own."""
        return self._tailed(name, b".restored-" + self._suffix)

    def free_name(self, folder: Folder, name: bytes) -> bytes:
        """A name beside one that is taken."""
        with self._folders.using(folder) as fd:
            found = self._beside(fd, name, b"")
        with self._lock:
            self.renamed += 1
        return found

    def _beside(self, folder: int, name: bytes, kind: bytes) -> bytes:
        ending = (kind or b".restored") + b"-" + self._suffix
        candidate = self._tailed(name, ending)
        for number in range(1, 1000):
            try:
                os.stat(candidate, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                break
            candidate = self._tailed(name, ending + b"-%d" % number)
        return candidate

    @staticmethod
    def _tailed(name: bytes, ending: bytes) -> bytes:
        return name[: NAME_LENGTH_MAX - len(ending)] + ending

    def _create(self, file: TargetFile, working: bytes, folder: int) -> int:
        """Make the file; nothing that is there is opened, unless it is what an interrupted restore left."""
        if self._is_resumed:
            fd = os.open(working, _WRITE | os.O_CREAT, _MODE_WHILE_RESTORING, dir_fd=folder)
            status = os.fstat(fd)
            if not stat_bits.S_ISREG(status.st_mode) or status.st_nlink > max(1, file.entry.stat.links):
                os.close(fd)
                raise FileExistsError(errno.EEXIST, "not what a restore leaves")
        else:
            fd = os.open(working, _WRITE | os.O_CREAT | os.O_EXCL, _MODE_WHILE_RESTORING, dir_fd=folder)
        file.is_begun = True
        return fd

    def _acquire(self, file: TargetFile) -> int:
        """The file's descriptor, kept open until `_release`."""
        with self._lock:
            if file.fd < 0:
                self._open_file(file)
            else:
                self._open.move_to_end(id(file))
            file.users += 1
            return file.fd

    def _open_file(self, file: TargetFile) -> None:
        """Open a file, making it the first time; closes one that is not in use if too many are open."""
        with self._folders.using(file.folder) as folder:
            working = self.working_name(file)
            if file.is_begun:
                file.fd = os.open(working, _WRITE, dir_fd=folder)
            else:
                file.fd = self._create(file, working, folder)
        self._open[id(file)] = file
        if len(self._open) > OPEN_MAX:
            for key, other in self._open.items():
                if other.users == 0 and other is not file:
                    os.close(other.fd)
                    other.fd = -1
                    del self._open[key]
                    break

    def _release(self, file: TargetFile) -> None:
        with self._lock:
            file.users -= 1

    def _close(self, file: TargetFile) -> None:
        with self._lock:
            if file.fd >= 0:
                os.close(file.fd)
                file.fd = -1
                self._open.pop(id(file), None)

    def close(self) -> None:
        """Close what is open: after a failure, files are left as far as they got."""
        with self._lock:
            for file in self._open.values():
                os.close(file.fd)
                file.fd = -1
            self._open.clear()


def places_of(position: int, length: int, extents: Extents | None) -> list[tuple[int, int]]:
    """Where in a file `length` bytes of its content from `position` on are: offsets and lengths."""
    if extents is None:
        return [(position, length)]
    places = []
    before = 0
    for offset, extent_length in extents:
        if length and position < before + extent_length:
            start = position - before
            count = min(extent_length - start, length)
            places.append((offset + start, count))
            position += count
            length -= count
        before += extent_length
    return places


def _write_all(fd: int, body: memoryview | bytes, offset: int) -> None:
    written = os.pwrite(fd, body, offset)
    while written < len(body):
        body = memoryview(body)[written:]
        offset += written
        written = os.pwrite(fd, body, offset)
