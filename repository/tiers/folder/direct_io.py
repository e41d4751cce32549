"""Writing large aligned buffers past the page cache.

Promise: what `write_directly` says that it wrote is written at the descriptor's offset, which has moved by as much;
the caller writes the rest as usual, and syncs. Where the system, the file system or the buffer is not made for it,
nothing is written. A pack is written once and seldom read soon: kept out of the cache it costs no copy (a third of
the processor time of a backup to a disk) and displaces nothing that the machine's other programs need.
"""

import ctypes
import errno
import fcntl
import mmap
import os
from typing import Final

DIRECT_FROM: Final = 1 << 20
"""Bytes from which on it is worth it."""
ALIGNMENT: Final = mmap.PAGESIZE
_DIRECT: Final = getattr(os, "O_DIRECT", 0)
_UNSUPPORTED: Final = frozenset((errno.EINVAL, errno.ENOTSUP))


def write_directly(descriptor: int, view: memoryview) -> int:
    """Write the longest beginning of `view` that is made of whole pages; returns its bytes. Raises `OSError`."""
    length = view.nbytes - view.nbytes % ALIGNMENT
    if not _DIRECT or length < DIRECT_FROM or not _is_aligned(view):
        return 0
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    written = 0
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | _DIRECT)
        while written < length:
            written += os.write(descriptor, view[written:length])
    except OSError as error:
        # Refused at once, or after a part that ended within a page: the rest goes the usual way.
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
    return written


def _is_aligned(view: memoryview) -> bool:
    # Only of a writable buffer does ctypes tell the address; packs are built in such.
    return not view.readonly and ctypes.addressof(ctypes.c_char.from_buffer(view)) % ALIGNMENT == 0
