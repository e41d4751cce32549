"""Gives restored entries their owner, extended attributes, times and mode.

Promise: works on a descriptor, or on a path whose last name is not followed. What the system refuses (an owner that
only root may set, an attribute that the file system does not know) is returned by kind, not raised. What was refused
never makes an entry more open than it was: without its owner it runs with nobody else's rights, without its ACL
its group gets no more than the ACL gave it, and no ACL of the folder that it was made in stays on it.
"""

import errno
import os
import stat as stat_bits
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, TypeAlias

from repository.restore.options import Trouble
from repository.stored.tree import Stat

Xattrs: TypeAlias = Sequence[tuple[bytes, bytes]]
Losses: TypeAlias = list[tuple[Trouble, str]]
"""What was refused, each with the system's word."""

_TARGET_FAILS: Final = frozenset((errno.EIO, errno.EROFS, errno.ENOENT, errno.ESTALE, errno.EBADF))
_PRIVILEGES: Final = stat_bits.S_ISUID | stat_bits.S_ISGID
_CAPABILITY: Final = b"security.capability"
_ACL: Final = b"system.posix_acl_"
_ACCESS_ACL: Final = b"system.posix_acl_access"
_ACL_TEXT: Final = _ACL.decode()
_GROUP: Final = 0o070
_FURTHEST_NS: Final = (1 << 63) - 1
"""What a snapshot has of a time further from 1970, some 292 years."""
_ACL_GROUP_OBJ: Final = 4
_SECOND_NS: Final = 1_000_000_000


def set_attributes(target: int | bytes, stat: Stat, xattrs: Xattrs) -> Losses:
    """Everything, in the order in which nothing undoes what came before.

    The mode is last: whoever may not write to an entry may not give it attributes either, and a mode that is right
    says that the rest was done. Raises `OSError` when the target fails, or the entry is gone.
    """
    follow = isinstance(target, int)
    losses: Losses = []
    if abs(stat.mtime_ns) == _FURTHEST_NS:
        losses.append((Trouble.TIMES, "lay beyond what a snapshot keeps"))
    mode = stat_bits.S_IMODE(stat.mode)
    has_owner = True
    try:
        # Before the mode and the capabilities: a change of owner clears them.
        os.chown(target, stat.uid, stat.gid, follow_symlinks=follow)
    except OSError as error:
        has_owner = _give_group(target, stat, error, losses)
        if not has_owner and mode & _PRIVILEGES and not stat_bits.S_ISLNK(stat.mode):
            losses.append((Trouble.PRIVILEGES, "setuid and setgid are not set without the owner"))
            mode &= ~_PRIVILEGES
    if not stat_bits.S_ISLNK(stat.mode):
        mode = _without_other_acls(target, xattrs, mode, losses)
    for name, value in xattrs:
        if name == _CAPABILITY and not has_owner:
            losses.append((Trouble.PRIVILEGES, "capabilities are not set without the owner"))
            continue
        try:
            os.setxattr(target, name, value, follow_symlinks=follow)
        except OSError as error:
            is_acl = name.startswith(_ACL)
            losses.append((Trouble.ACL if is_acl else Trouble.XATTR, f"{_word(error)} {_shown(name)}"))
            if name == _ACCESS_ACL:
                # With an ACL the group's bits are its mask: alone they would open the entry to the whole group.
                mode = mode & ~_GROUP | _group_bits(value) & mode
    try:
        os.utime(target, ns=(stat.mtime_ns, stat.mtime_ns), follow_symlinks=follow)
        losses += _other_time(os.stat(target, follow_symlinks=follow).st_mtime_ns, stat)
    except OSError as error:
        losses.append((Trouble.TIMES, _word(error)))
    if not stat_bits.S_ISLNK(stat.mode):
        try:
            os.chmod(target, mode)  # noqa: PTH101  # a path here is bytes
        except OSError as error:
            losses.append((Trouble.MODE, f"{_word(error)} {mode:04o}"))
    return losses


def has_time(found_ns: int, stat: Stat) -> bool:
    """Whether a time of a last change is the entry's, as far as the file system keeps it: some keep (even) seconds."""
    return found_ns == stat.mtime_ns or (not found_ns % _SECOND_NS and 0 < stat.mtime_ns - found_ns < 2 * _SECOND_NS)


def _other_time(found_ns: int, stat: Stat) -> Losses:
    """What is to be told of the time that the file system has kept. It may say nothing and keep another one."""
    if found_ns == stat.mtime_ns or abs(stat.mtime_ns) == _FURTHEST_NS:
        return []
    return [(Trouble.TIMES, "kept in whole seconds" if has_time(found_ns, stat) else "the file system keeps another")]


def missing_attributes(path: bytes, stat: Stat, xattrs: Xattrs) -> Losses:
    """What an entry that was restored before lacks; nothing is set. Raises `OSError` when it is gone."""
    found = os.stat(path, follow_symlinks=False)
    losses: Losses = []
    if (found.st_uid, found.st_gid) != (stat.uid, stat.gid):
        losses.append((Trouble.OWNER, f"{stat.uid}:{stat.gid}, is {found.st_uid}:{found.st_gid}"))
    if found.st_mode != stat.mode and not stat_bits.S_ISLNK(stat.mode):
        losses.append((Trouble.MODE, f"{stat_bits.S_IMODE(stat.mode):04o}, is {stat_bits.S_IMODE(found.st_mode):04o}"))
    losses += _other_time(found.st_mtime_ns, stat)
    for name, value in xattrs:
        try:
            is_there = os.getxattr(path, name, follow_symlinks=False) == value
        except OSError:
            is_there = False
        if not is_there:
            losses.append((Trouble.ACL if name.startswith(_ACL) else Trouble.XATTR, f"is not there: {_shown(name)}"))
    return losses


def _give_group(target: int | bytes, stat: Stat, refused: OSError, losses: Losses) -> bool:
    """The group alone, which its members may give; whether owner and group are as they were."""
    follow = isinstance(target, int)
    word = _word(refused)
    with suppress(OSError):
        os.chown(target, -1, stat.gid, follow_symlinks=follow)
    found = os.stat(target, follow_symlinks=follow)
    if (found.st_uid, found.st_gid) == (stat.uid, stat.gid):
        return True
    losses.append((Trouble.OWNER, f"{word} {stat.uid}:{stat.gid}, is {found.st_uid}:{found.st_gid}"))
    return False


def _without_other_acls(target: int | bytes, xattrs: Xattrs, mode: int, losses: Losses) -> int:
    """Take away the ACLs that the entry has from the folder it was made in; the mode that is safe then."""
    follow = isinstance(target, int)
    try:
        names = os.listxattr(target, follow_symlinks=follow)
    except OSError:
        return mode  # a file system without any
    if not names:
        return mode
    wanted = {name for name, _value in xattrs}
    for name in names:
        # One that is to be replaced goes as well: should its replacement be refused, it must not stay.
        if not name.startswith(_ACL_TEXT):
            continue
        try:
            os.removexattr(target, name, follow_symlinks=follow)
        except OSError as error:
            if os.fsencode(name) not in wanted:
                losses.append((Trouble.ACL, f"{_word(error)} an inherited ACL stays"))
            mode &= ~_GROUP  # its mask: then it opens the entry to nobody
    return mode


def _group_bits(acl: bytes) -> int:
    """What an ACL gives the owning group, as bits of a mode; nothing where it cannot be read."""
    try:
        entries = list(struct.iter_unpack("<HHI", acl[4:]))
    except struct.error:
        return 0
    return next((permissions << 3 for tag, permissions, _id in entries if tag == _ACL_GROUP_OBJ), 0)


def _word(error: OSError) -> str:
    if error.errno in _TARGET_FAILS:
        raise error
    return errno.errorcode.get(error.errno or 0, "?")


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
