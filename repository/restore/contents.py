"""The contents of a restore's files: planned in windows, filled by the readers, read back where asked for.

Promise: a file whose content does not add up to its size is not begun; of a file that an interrupted restore left,
only the chunks that are not right are read again. Memory: one window.
"""

import errno
import os
import stat as stat_bits
from collections.abc import Callable
from itertools import count, groupby
from typing import Final

from repository.errors import Damaged, RepositoryError
from repository.format import ID_LENGTH
from repository.keys.key_ring import DomainKeys
from repository.opened.pack_access import ChunkReader
from repository.restore.bytes import Extents, places_of
from repository.restore.file_attributes import Xattrs, has_time
from repository.restore.files import MODE_WHILE_RESTORING, Place, TargetFile, TargetFiles
from repository.restore.folders import Folder, Folders, change_mode
from repository.restore.options import Trouble
from repository.restore.plan import Part
from repository.restore.reading import SpanReaders
from repository.stored.tree import Entry, Flag, content_ids, decode_extents, ids_of

_SPARSE: Final = int(Flag.SPARSE)  # an enum's own operators cost more than all else that is done for a small file
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class RestoreContents:
    """Plans and fills files. Used by one thread. `keys`: those of the snapshot's domain."""

    def __init__(
        self,
        folders: Folders,
        files: TargetFiles,
        readers: SpanReaders,
        reader: ChunkReader,
        keys: DomainKeys,
        on_trouble: Callable[[bytes, Trouble, str], None],
        *,
        verify: bool,
    ) -> None:
        self._folders = folders
        self._files = files
        self._readers = readers
        self._reader = reader
        self._keys = keys
        self._trouble = on_trouble
        self._verify = verify
        self._parts: list[Part] = []
        self._planned = 0
        self._numbers = count()
        self._nothing_to_read: list[TargetFile] = []
        self._pack_order: dict[bytes, int] = {}
        self._buffer = bytearray(0)
        self._looked: tuple[TargetFile, list[Part]] | None = None
        self.resumed_files = 0

    def __len__(self) -> int:
        """How much is planned, for the window's bound."""
        return self._planned + len(self._nothing_to_read)

    def plan(self, folder: Folder, place: Place, entry: Entry, xattrs: Xattrs) -> TargetFile:
        """Put a file into the window, and return it. Raises `Damaged`, `NotInIndex` or a tier's error."""
        looked, self._looked = self._looked, None
        if looked is not None and (looked[0].folder, looked[0].name) == (folder, place.working):
            file, parts = looked
            file.xattrs = xattrs
        else:
            file = _file_of(folder, place, entry, xattrs)
            parts = self._parts_of(file)
            if place.may_be_there:
                missing = self._missing(file, parts, place.working)
                file.is_begun_anew = missing is None
                parts = parts if missing is None else missing
        if not parts:
            self.resumed_files += place.may_be_there and entry.stat.size > 0
            self._nothing_to_read.append(file)
        elif parts[0].is_whole_file:
            self._planned += 1
            self._parts.append(parts[0])
        else:
            file.parts_left = sum(len(part.ids) for part in parts)
            self._planned += file.parts_left
            self._parts.extend(parts)
        return file

    def is_left(self, folder: Folder, name: bytes, entry: Entry) -> bool:
        """Whether a restore left this file of the target, finished or on its way, and nobody wrote to it since.

        One that is finished has its time. Where it has not its bytes too, a power cut took them: they are not there,
        or zeros.
        """
        with self._folders.using(folder) as fd:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if not stat_bits.S_ISREG(status.st_mode):
            return False
        if stat_bits.S_IMODE(status.st_mode) == MODE_WHILE_RESTORING:
            return True
        if not has_time(status.st_mtime_ns, entry.stat) or status.st_size > entry.stat.size:
            return False
        try:
            file = _file_of(folder, Place(name, name, may_be_there=True), entry, ())
            missing = self._missing(file, self._parts_of(file), name)
        except RepositoryError:
            return False  # what cannot be compared is left alone
        if missing is None:
            return False
        if missing and not self._is_unwritten(file, missing):
            return False
        self._looked = file, missing
        return True

    def is_there(self, folder: Folder, name: bytes, entry: Entry) -> bool:
        """Whether the file of this name is, byte for byte and by its time, the one to be restored."""
        try:
            with self._folders.using(folder) as fd:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if status.st_size != entry.stat.size or not has_time(status.st_mtime_ns, entry.stat):
                return False
            file = _file_of(folder, Place(name, name, may_be_there=True), entry, ())
            return self._missing(file, self._parts_of(file), name) == []
        except (OSError, RepositoryError):
            return False

    def drain(self) -> None:
        """Fill and finish everything in the window. Raises `OSError` when the target fails."""
        parts = self._parts
        self._readers.read(parts)
        for file in self._nothing_to_read:
            self._readers.finish(file)
        if self._verify:
            self._read_back(parts)
        parts.clear()
        self._planned = 0
        self._nothing_to_read.clear()
        self._pack_order.clear()

    def _parts_of(self, file: TargetFile) -> list[Part]:
        entry = file.entry
        expected = entry.stat.size if file.extents is None else sum(length for _offset, length in file.extents)
        parts: list[Part] = []
        position = 0
        order = self._pack_order
        is_whole = len(entry.content or b"") == ID_LENGTH and not entry.extra.depth and file.extents is None
        is_whole = is_whole and not file.may_be_there
        depth, content = entry.extra.depth, entry.content or b""
        ids = list(content_ids(content, depth, self._reader.chunk)) if depth else ids_of(content)
        pack, frame, end = b"", 0, 0
        part_ids: list[bytes] = []
        lengths: list[int] = []
        for chunk_id, found in zip(ids, self._readers.locate(ids), strict=True):
            pack_id, frame_offset, frame_length, chunk_offset, length = found or self._reader.locate(chunk_id)
            if chunk_offset != end or frame_offset != frame or pack_id != pack:
                pack, frame, part_ids, lengths = pack_id, frame_offset, [], []
                place = order.setdefault(pack_id, len(order))
                number = next(self._numbers)
                parts.append(
                    Part(
                        place,
                        frame_offset,
                        chunk_offset,
                        number,
                        pack_id,
                        frame_length,
                        part_ids,
                        lengths,
                        file,
                        position,
                        is_whole,
                    )
                )
            part_ids.append(chunk_id)
            lengths.append(length)
            end = chunk_offset + length
            position += length
        if position != expected:
            raise Damaged("content does not add up to the file's size", size=expected, content=position)
        return parts

    def _missing(self, file: TargetFile, parts: list[Part], name: bytes) -> list[Part] | None:
        """The parts that the file of this name does not hold; None where there is none that can be gone on with."""
        try:
            fd = self._open(file.folder, name)
        except OSError:
            return None
        try:
            status = os.fstat(fd)
            if not stat_bits.S_ISREG(status.st_mode) or not has_holes(fd, status.st_size, file.extents):
                return None
            return [one for part in parts for one in part.chunks() if not self._holds(fd, one)]
        finally:
            os.close(fd)

    def _open(self, folder: Folder, name: bytes) -> int:
        """A descriptor to read from, also of a file of one's own that has no permission for it (and keeps its mode)."""
        with self._folders.using(folder) as above:
            try:
                return os.open(name, _READ, dir_fd=above)
            except PermissionError:
                mode = os.stat(name, dir_fd=above, follow_symlinks=False).st_mode
                if not stat_bits.S_ISREG(mode):
                    raise
                change_mode(above, name, stat_bits.S_IMODE(mode) | 0o400)
                try:
                    return os.open(name, _READ, dir_fd=above)
                finally:
                    change_mode(above, name, stat_bits.S_IMODE(mode))

    def _is_unwritten(self, file: TargetFile, parts: list[Part]) -> bool:
        """Whether the file has nothing but zeros where these parts belong."""
        try:
            fd = self._open(file.folder, file.working)
        except OSError:
            return False
        try:
            for part in parts:
                for offset, wanted in places_of(part.position, part.lengths[0], part.file.extents):
                    if any(os.pread(fd, wanted, offset)):
                        return False
        finally:
            os.close(fd)
        return True

    def _holds(self, fd: int, part: Part) -> bool:
        """Whether the file has the part, of one chunk."""
        length = part.lengths[0]
        if len(self._buffer) < length:
            self._buffer = bytearray(length)
        view = memoryview(self._buffer)[:length]
        filled = 0
        for offset, wanted in places_of(part.position, length, part.file.extents):
            end = filled + wanted
            while filled < end:
                got = os.preadv(fd, [view[filled:end]], offset)
                if got == 0:
                    return False
                filled += got
                offset += got
        return filled == length and self._keys.chunk_id(view) == part.ids[0]

    def _read_back(self, parts: list[Part]) -> None:
        """Prove what is on the medium, not what is in memory: sync, drop the cached pages, read."""
        by_file = sorted(parts, key=lambda part: part.number)
        for _identity, group in groupby(by_file, key=lambda part: id(part.file)):
            written = list(group)
            file = written[0].file
            if file.told or file.is_given_up:
                continue
            try:
                fd = self._open(file.folder, file.name)
                try:
                    os.fsync(fd)
                    if hasattr(os, "posix_fadvise"):
                        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                    wrong = any(not self._holds(fd, one) for part in written for one in part.chunks())
                finally:
                    os.close(fd)
            except OSError as error:
                self._trouble(file.path, Trouble.DAMAGED, errno.errorcode.get(error.errno or 0, "?"))
            else:
                if wrong:
                    self._trouble(file.path, Trouble.DAMAGED, "read back other bytes than were written")


def has_holes(fd: int, size: int, extents: Extents | None) -> bool:
    """Whether a file has nothing but zeros between the extents, which no chunk proves."""
    at = 0
    for offset, length in () if extents is None else [*extents, (size, 0)]:
        while at < min(offset, size):
            try:
                at = max(at, os.lseek(fd, at, os.SEEK_DATA))
            except OSError:
                return True  # no data from here on
            piece = os.pread(fd, min(1 << 20, max(0, offset - at)), at)
            if any(piece):
                return False
            if not piece:
                return True  # cut off meanwhile
            at += len(piece)
        at = offset + length
    return True


def _file_of(folder: Folder, place: Place, entry: Entry, xattrs: Xattrs) -> TargetFile:
    """The file with what is not a hole, where there are holes. Raises `Damaged`."""
    extents = decode_extents(entry.extra.extents, entry.stat.size) if entry.extra.flags & _SPARSE else None
    return TargetFile(
        folder, place.name, entry, extents, xattrs, working=place.working, may_be_there=place.may_be_there
    )
