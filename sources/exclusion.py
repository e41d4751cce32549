"""Folders that are never a source, such as the platform's own keys and data, under whatever name they are reached.

They are compared by device and inode, so that symlinks and bind mounts of them count as what they lead to.
"""

import errno
import os
from collections.abc import Iterable

from repository.backup.source import SourceExcluded, SourceUnreachable
from sources.descriptors import FOLDER_FLAGS

Identity = tuple[int, int]
"""Device and inode."""


def identities(paths: Iterable[bytes | str]) -> frozenset[Identity]:
    """The folders at these paths; one that is not there excludes nothing. Raises `SourceUnreachable`.

    One that is there and cannot be looked at would be found nowhere: nothing is read as long as it may be a source.
    """
    found = set()
    for path in paths:
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise SourceUnreachable(
                "a folder that is never backed up cannot be told apart from the source",
                hint="See that the platform may look at its own folders; the log says why it could not.",
                reason=errno.errorcode.get(error.errno or 0),
            ) from error
        found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def require_outside(fd: int, excluded: frozenset[Identity]) -> None:
    """Raise `SourceExcluded` where an open folder is one of these, or lies below one. Raises OSError.

    The way up is gone from the folder itself, never by its path, which may lead through symlinks.
    """
    if not excluded:
        return
    at = os.dup(fd)
    try:
        status = os.fstat(at)
        while True:
            own = status.st_dev, status.st_ino
            if own in excluded:
                raise SourceExcluded("the source lies within a folder that is never backed up")
            above = os.open(b"..", FOLDER_FLAGS, dir_fd=at)
            os.close(at)
            at = above
            status = os.fstat(at)
            if (status.st_dev, status.st_ino) == own:
                return
    finally:
        os.close(at)
