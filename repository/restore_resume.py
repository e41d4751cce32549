"""What an interrupted restore left, chunk by chunk.

Promise: only bytes that hash to the wanted chunk's id are kept; everything else is written again.
"""

import os
import stat as stat_bits
from collections.abc import Sequence

from repository.keys import DomainKeys
from repository.restore_files import TargetFile, TargetFiles, places_of
from repository.restore_folders import Folders
from repository.restore_plan import Part


class ExistingFiles:
    """Looks at files that a restore finds in its target. `keys`: those of the snapshot's domain."""

    def __init__(self, folders: Folders, files: TargetFiles, keys: DomainKeys) -> None:
        self._folders = folders
        self._files = files
        self._keys = keys
        self._buffer = bytearray(0)

    def missing(self, file: TargetFile, parts: Sequence[Part]) -> list[Part] | None:
        """The parts that are not in the file as far as it got; None where there is no such file."""
        name = self._files.working_name(file)
        try:
            with self._folders.using(file.folder) as folder:
                fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except OSError:
            return None
        try:
            status = os.fstat(fd)
            if not stat_bits.S_ISREG(status.st_mode):
                return None
            return [part for part in parts if not self._is_there(fd, file, part)]
        finally:
            os.close(fd)

    def _is_there(self, fd: int, file: TargetFile, part: Part) -> bool:
        length = part.chunk_length
        if len(self._buffer) < length:
            self._buffer = bytearray(length)
        view = memoryview(self._buffer)[:length]
        filled = 0
        for offset, count in places_of(part.position, length, file.extents):
            while count:
                got = os.preadv(fd, [view[filled : filled + count]], offset)
                if got == 0:
                    return False
                filled += got
                offset += got
                count -= got
        return filled == length and self._keys.chunk_id(view) == part.chunk_id
