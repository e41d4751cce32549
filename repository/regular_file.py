"""Files that people name: opened without waiting for anybody, and nothing but files.

Promise: what lies there may be a pipe to which nobody writes. It is refused, where an open that waits would hang
without a word, as early as before the first byte.
"""

import errno
import os
import stat
from typing import BinaryIO


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """The file, to be read. Raises OSError, of what is no regular file with a reason of its own."""
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115  # the caller's
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "it is not a regular file", os.fspath(path))
