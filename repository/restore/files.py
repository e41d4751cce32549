"""The files of a restore: made, filled in any order by several threads, finished by the one that fills the last part.

Promise: in a fresh target a file has its own name from the start, and a mode of its own (`MODE_WHILE_RESTORING`) until
it is finished; elsewhere it is filled under a temporary name in its folder and takes its own name, in one
step, when all of it is there: what was in the way is whole until then. A file of which no tier has everything ends
as `<name>.incomplete-<snapshot>`. At most `OPEN_MAX` are open at a time; attributes are set when a file is finished.
"""

import contextlib
import errno
import os
import stat as stat_bits
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from repository.restore.bytes import Extents, places_of, write_all, write_sparsely
from repository.restore.file_attributes import Losses, Xattrs, set_attributes
from repository.restore.folders import Folder, Folders, change_mode
from repository.restore.names import TEMPORARY_PREFIX
from repository.restore.options import Conflict, Trouble
from repository.stored.tree import Entry
from repository.tiers.folder.disk import rename_if_absent

OPEN_MAX: Final = 256
NAME_LENGTH_MAX: Final = 255
_WRITE: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Without O_NONBLOCK a FIFO that lies where a file belongs would hold the restore for ever."""
MODE_WHILE_RESTORING: Final = 0o1600
"""The sticky bit, which means nothing on a file, tells one that is being filled from one that is finished."""

FATAL: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE))


class Place(NamedTuple):
    """Where an entry goes in its folder: `working` is the name that it is filled under, `name` the one it gets.

    `may_be_there`: an interrupted restore may have left the working name; else nothing that has it is touched.
    """

    name: bytes
    working: bytes
    may_be_there: bool = False


class TargetFile:
    """One file on its way to its `Place`. `parts_left` counts the chunks that are not written yet.

    `told`: the kinds of trouble by which bytes of it were not to be had.
    """

    __slots__ = (
        "entry",
        "extents",
        "fd",
        "folder",
        "given",
        "is_begun",
        "is_begun_anew",
        "is_given_up",
        "may_be_there",
        "name",
        "parts_left",
        "told",
        "users",
        "working",
        "xattrs",
    )

    def __init__(
        self,
        folder: Folder,
        name: bytes,
        entry: Entry,
        extents: Extents | None,
        xattrs: Xattrs,
        *,
        working: bytes,
        may_be_there: bool,
    ) -> None:
        self.folder = folder
        self.name = name
        self.working = working
        self.may_be_there = may_be_there
        self.entry = entry
        self.extents = extents
        self.xattrs = xattrs
        self.parts_left = 0
        self.fd = -1
        self.users = 0
        self.is_begun = False
        self.is_begun_anew = False
        self.told: frozenset[Trouble] = frozenset()
        self.is_given_up = False
        self.given: bytes | None = None
        """The name under which all of it is there, once it is."""

    @property
    def path(self) -> bytes:
        """The path in the snapshot."""
        return self.folder.path + b"/" + self.entry.name if self.folder.path else self.entry.name


class TargetFiles:
    """Makes and fills files. Thread-safe. `on_trouble(path, trouble, detail)` hears of what concerns one file alone.

    Where `OSError` is raised, `give_up` says whether it concerns one file or the whole target.
    """

    def __init__(
        self,
        folders: Folders,
        *,
        conflict: Conflict,
        suffix: bytes,
        sparse: bool,
        on_trouble: Callable[[bytes, Trouble, str], None],
        clears_incomplete: bool = False,
    ) -> None:
        """`clears_incomplete`: what the same restore has kept of a file goes when all of the file is there."""
        self._folders = folders
        self._clears_incomplete = clears_incomplete
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
        fd = self._create(file, folder)
        try:
            write_all(fd, body, 0)
            losses = set_attributes(fd, file.entry.stat, file.xattrs)
        finally:
            os.close(fd)
        if file.working != file.name:
            self._give_name(file, folder)
        else:
            file.given = file.name
        self._count(file, len(body), losses)

    def write_part(self, file: TargetFile, part: memoryview | bytes, position: int) -> None:
        """Write chunks that start at `position` of the content, holes not counted. Raises `OSError`."""
        if file.is_given_up:
            return
        fd = self._acquire(file)
        try:
            written = 0
            for offset, length in places_of(position, len(part), file.extents):
                piece = memoryview(part)[written : written + length]
                if file.extents is not None and self._sparse:
                    write_sparsely(fd, piece, offset, may_hold_others=file.may_be_there)
                else:
                    write_all(fd, piece, offset)
                written += length
        finally:
            self._release(file)
        with self._lock:
            self.bytes_done += len(part)

    def parts_done(self, file: TargetFile, count: int) -> None:
        """Chunks are written, or will never be (`told`); finishes the file after the last. Raises `OSError`."""
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
            losses = set_attributes(fd, file.entry.stat, file.xattrs)
        finally:
            self._release(file)
            self._close(file)
        with self._folders.using(file.folder) as folder:
            self._give_name(file, folder)
            if self._clears_incomplete and not file.told:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._tailed(file.name, b".incomplete-" + self._suffix), dir_fd=folder)
        self._count(file, 0, losses)

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
                os.unlink(file.working, dir_fd=folder)

    def _count(self, file: TargetFile, length: int, losses: Losses) -> None:
        with self._lock:
            self.files_done += 1
            self.bytes_done += length
        for trouble, detail in losses:
            self._on_trouble(file.path, trouble, detail)

    def temporary_name(self, entry: Entry) -> bytes:
        """The name under which a file is filled where its own may be somebody's."""
        # The name may be as long as the system allows: its digest stands for it.
        from blake3 import blake3

        return TEMPORARY_PREFIX + blake3(self._suffix + b"\0" + entry.name).hexdigest(16).encode()

    def _give_name(self, file: TargetFile, folder: int) -> None:
        working = file.working
        if file.told:
            os.replace(working, self._beside(folder, file.name, b".incomplete"), src_dir_fd=folder, dst_dir_fd=folder)
            return
        name = file.name
        if working != name and self._conflict is Conflict.OVERWRITE:
            os.replace(working, name, src_dir_fd=folder, dst_dir_fd=folder)
        elif working != name:
            try:
                if not _renamed(working, name, folder):
                    os.unlink(working, dir_fd=folder)
            except FileExistsError:
                # It was not there when the restore looked.
                if self._conflict is Conflict.SKIP:
                    self._on_trouble(file.path, Trouble.SKIPPED, "")
                    os.unlink(working, dir_fd=folder)
                    return
                name = self._beside(folder, name, b"")
                os.replace(working, name, src_dir_fd=folder, dst_dir_fd=folder)
        file.given = name

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

    def _create(self, file: TargetFile, folder: int) -> int:
        """Make the file; nothing that is there is opened, unless it is what an interrupted restore left."""
        if not file.may_be_there:
            fd = os.open(file.working, _WRITE | os.O_CREAT | os.O_EXCL, MODE_WHILE_RESTORING, dir_fd=folder)
            file.is_begun = True
            return fd
        with contextlib.suppress(FileNotFoundError):
            _check_is_left(os.stat(file.working, dir_fd=folder, follow_symlinks=False), file)
            # It may be finished already, and read-only since; nobody takes it for finished from here on.
            change_mode(folder, file.working, MODE_WHILE_RESTORING)
        fd = os.open(file.working, _WRITE | os.O_CREAT, MODE_WHILE_RESTORING, dir_fd=folder)
        try:
            _check_is_left(os.fstat(fd), file)
            file.is_begun = True
            if file.is_begun_anew:
                os.ftruncate(fd, 0)
        except OSError:
            os.close(fd)
            raise
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
            if file.is_begun:
                file.fd = os.open(file.working, _WRITE, dir_fd=folder)
            else:
                file.fd = self._create(file, folder)
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


def _renamed(working: bytes, name: bytes, folder: int) -> bool:
    """Give a file a name that nothing has; whether it has the working one no more. Raises `FileExistsError`.

    Where the file system knows no second names (exFAT, some shares), it is renamed in one step.
    """
    try:
        os.link(working, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        place = os.fsencode(f"/proc/self/fd/{folder}/")
        rename_if_absent(os.fsdecode(place + working), os.fsdecode(place + name))
        return True
    return False


def _check_is_left(status: os.stat_result, file: TargetFile) -> None:
    """Raises `FileExistsError` unless it can be what an interrupted restore left of the file."""
    if not stat_bits.S_ISREG(status.st_mode) or status.st_nlink > max(1, file.entry.stat.links):
        raise FileExistsError(errno.EEXIST, "not what a restore leaves")
