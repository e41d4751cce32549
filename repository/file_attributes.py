"""Gives restored entries their owner, mode, extended attributes and times.

Promise: works on descriptors, or on a name within one without following it. What the system refuses (an owner
that only root may set, an attribute that the file system does not know) is returned, not raised.
"""

import errno
import os
import stat as stat_bits
from collections.abc import Sequence
from typing import Final

from repository.tree import Stat

Xattrs = Sequence[tuple[bytes, bytes]]
_REFUSALS: Final = frozenset((errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL, errno.ENOSPC, errno.E2BIG))
_OWN_IDS: Final = (os.geteuid(), os.getegid())


def set_on_descriptor(fd: int, stat: Stat, xattrs: Xattrs) -> str:
    """Everything, in the order in which nothing undoes what came before; returns what was refused, or ""."""
    refused = ""
    if (stat.uid, stat.gid) != _OWN_IDS or _OWN_IDS[0] == 0:
        # Before the mode: a change of owner clears setuid and setgid.
        try:
            os.fchown(fd, stat.uid, stat.gid)
        except OSError as error:
            refused = _refused(error, "owner")
    os.fchmod(fd, stat_bits.S_IMODE(stat.mode))
    for name, value in xattrs:
        try:
            os.setxattr(fd, name, value)
        except OSError as error:
            refused = refused or _refused(error, "xattr")
    os.utime(fd, ns=(stat.mtime_ns, stat.mtime_ns))
    return refused


def set_on_name(directory: int, name: bytes, stat: Stat, xattrs: Xattrs) -> str:
    """As `set_on_descriptor` for what is not opened: symlinks (which have no mode) and special files."""
    refused = ""
    try:
        os.chown(name, stat.uid, stat.gid, dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if (stat.uid, stat.gid) != _OWN_IDS:
            refused = _refused(error, "owner")
    if not stat_bits.S_ISLNK(stat.mode):
        os.chmod(name, stat_bits.S_IMODE(stat.mode), dir_fd=directory)
    for key, value in xattrs:
        try:
            os.setxattr(b"/proc/self/fd/%d/%s" % (directory, name), key, value, follow_symlinks=False)
        except OSError as error:
            refused = refused or _refused(error, "xattr")
    os.utime(name, ns=(stat.mtime_ns, stat.mtime_ns), dir_fd=directory, follow_symlinks=False)
    return refused


def _refused(error: OSError, what: str) -> str:
    if error.errno not in _REFUSALS:
        raise error
    return f"{what}: {errno.errorcode.get(error.errno or 0, '?')}"
