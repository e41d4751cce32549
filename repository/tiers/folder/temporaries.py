"""The files that a folder tier writes before they get an object's name, and the end of those whose writer is dead."""

import os
import re
from contextlib import suppress
from typing import Final

from repository.tiers.folder.disk import Disk, locked_by_us

TEMPORARY: Final = ".tmp-"
_TEMPORARIES: Final = re.compile(r"\.tmp-[0-9a-f]{24}")  # Only such a name is ours to remove.


def sweep_dead(disk: Disk, folder: str) -> tuple[list[str], bool]:
    """Remove the temporary files in a folder whose writers are dead; the names of the others, and whether any was
    removed, which the caller makes durable.
    """
    with os.scandir(folder) as entries:
        strays = [entry.name for entry in entries if _TEMPORARIES.fullmatch(entry.name)]
    left = list[str]()
    for name in strays:
        path = os.path.join(folder, name)
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if locked_by_us(descriptor):
                    disk.unlink(path)
            finally:
                os.close(descriptor)
        if os.path.lexists(path):
            left.append(name)
    return left, len(left) < len(strays)
