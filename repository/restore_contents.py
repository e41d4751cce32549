"""The contents of a restore's files: planned in windows, filled by the readers, read back where asked for.

Promise: a file whose content does not add up to its size is not begun; of a file that an interrupted restore left,
only the chunks that are not right are read again. Memory: one window.
"""

import errno
import os
import stat as stat_bits
from collections.abc import Callable
from itertools import groupby
from typing import Final

from repository.errors import Damaged, RepositoryError
from repository.file_attributes import Xattrs
from repository.format import ID_LENGTH
from repository.keys import DomainKeys
from repository.pack_access import ChunkReader
from repository.restore_files import TargetFile, TargetFiles, places_of
from repository.restore_folders import Folder, Folders
from repository.restore_options import Trouble
from repository.restore_plan import Part
from repository.restore_reading import SpanReaders
from repository.tree import Entry, Flag, content_ids, decode_extents, ids_of

_SPARSE: Final = int(Flag.SPARSE)  # an enum's own operators cost more than all else that is done for a small file
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class RestoreContents:
    """Plans and fills files. Used by one thread. `is_resumed`: look at what is there before reading anything.

    `keys`: those of the snapshot's domain.
    """

    def __init__(
        self,
        folders: Folders,
        files: TargetFiles,
        readers: SpanReaders,
        reader: ChunkReader,
        keys: DomainKeys,
        on_trouble: Callable[[bytes, Trouble, str], None],
        *,
        is_resumed: bool,
        verify: bool,
    ) -> None:
        self._folders = folders
        self._files = files
        self._readers = readers
        self._reader = reader
        self._keys = keys
        self._trouble = on_trouble
        self._is_resumed = is_resumed
        self._verify = verify
        self._parts: list[Part] = []
        self._nothing_to_read: list[TargetFile] = []
        self._pack_order: dict[bytes, int] = {}
        self._buffer = bytearray(0)
        self.resumed_files = 0

    def __len__(self) -> int:
        """How much is planned, for the window's bound."""
        return len(self._parts) + len(self._nothing_to_read)

    def plan(self, folder: Folder, name: bytes, entry: Entry, xattrs: Xattrs) -> None:
        """Put a file into the window. Raises `Damaged`, `NotInIndex` or a tier's error."""
        extents, expected = _extents_of(entry)
        file = TargetFile(folder, name, entry, extents, xattrs)
        parts = self._parts_of(file, expected)
        if self._is_resumed:
            missing = self._missing(file, parts, self._files.working_name(file))
            if missing is not None:
                file.parts_left = len(missing)
                self._parts.extend(missing)
                if not missing:
                    self.resumed_files += 1
                    self._nothing_to_read.append(file)
                return
        if not parts:
            self._nothing_to_read.append(file)
        elif parts[0].is_whole_file:
            self._parts.append(parts[0])
        else:
            file.parts_left = len(parts)
            self._parts.extend(parts)

    def is_there(self, folder: Folder, name: bytes, entry: Entry) -> bool:
        """Whether the file of this name is, byte for byte and by its time, the one to be restored."""
        try:
            with self._folders.using(folder) as fd:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if (status.st_size, status.st_mtime_ns) != (entry.stat.size, entry.stat.mtime_ns):
                return False
            extents, expected = _extents_of(entry)
            file = TargetFile(folder, name, entry, extents, ())
            return self._missing(file, self._parts_of(file, expected), name) == []
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
        self._nothing_to_read.clear()
        self._pack_order.clear()

    def _parts_of(self, file: TargetFile, expected: int) -> list[Part]:
        entry = file.entry
        parts: list[Part] = []
        position = 0
        number = len(self._parts)
        order = self._pack_order
        is_whole = len(entry.content or b"") == ID_LENGTH and not entry.extra.depth and file.extents is None
        is_whole = is_whole and not self._is_resumed
        locate = self._readers.locate
        depth, content = entry.extra.depth, entry.content or b""
        for chunk_id in content_ids(content, depth, self._reader.chunk) if depth else ids_of(content):
            location = locate(chunk_id) or self._reader.locate(chunk_id)
            pack_id, frame_offset, frame_length, chunk_offset, length = location
            place = order.setdefault(pack_id, len(order))
            parts.append(
                Part(
                    place,
                    frame_offset,
                    chunk_offset,
                    number,
                    pack_id,
                    frame_length,
                    length,
                    chunk_id,
                    file,
                    position,
                    is_whole,
                )
            )
            number += 1
            position += length
        if position != expected:
            raise Damaged("content does not add up to the file's size", size=expected, content=position)
        return parts

    def _missing(self, file: TargetFile, parts: list[Part], name: bytes) -> list[Part] | None:
        """The parts that the file of this name does not hold; None where there is no such file."""
        try:
            with self._folders.using(file.folder) as folder:
                fd = os.open(name, _READ, dir_fd=folder)
        except OSError:
            return None
        try:
            if not stat_bits.S_ISREG(os.fstat(fd).st_mode):
                return None
            return [part for part in parts if not self._holds(fd, part)]
        finally:
            os.close(fd)

    def _holds(self, fd: int, part: Part) -> bool:
        length = part.chunk_length
        if len(self._buffer) < length:
            self._buffer = bytearray(length)
        view = memoryview(self._buffer)[:length]
        filled = 0
        for offset, count in places_of(part.position, length, part.file.extents):
            end = filled + count
            while filled < end:
                got = os.preadv(fd, [view[filled:end]], offset)
                if got == 0:
                    return False
                filled += got
                offset += got
        return filled == length and self._keys.chunk_id(view) == part.chunk_id

    def _read_back(self, parts: list[Part]) -> None:
        """Prove what is on the medium, not what is in memory: sync, drop the cached pages, read."""
        by_file = sorted(parts, key=lambda part: part.number)
        for _identity, group in groupby(by_file, key=lambda part: id(part.file)):
            written = list(group)
            file = written[0].file
            if file.is_damaged or file.is_given_up:
                continue
            try:
                with self._folders.using(file.folder) as folder:
                    fd = os.open(file.name, _READ, dir_fd=folder)
                try:
                    os.fsync(fd)
                    if hasattr(os, "posix_fadvise"):
                        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                    wrong = [part for part in written if not self._holds(fd, part)]
                finally:
                    os.close(fd)
            except OSError as error:
                self._trouble(file.path, Trouble.DAMAGED, errno.errorcode.get(error.errno or 0, "?"))
            else:
                if wrong:
                    self._trouble(file.path, Trouble.DAMAGED, "read back other bytes than were written")


def _extents_of(entry: Entry) -> tuple[list[tuple[int, int]] | None, int]:
    """What is not a hole, where there are holes, and the bytes of the content. Raises `Damaged`."""
    if not entry.extra.flags & _SPARSE:
        return None, entry.stat.size
    extents = decode_extents(entry.extra.extents, entry.stat.size)
    return extents, sum(length for _offset, length in extents)
