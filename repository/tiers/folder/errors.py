"""What a system's error means for a tier in a directory, and what to do about it."""

import errno
import os
from typing import Any

from repository.errors import (
    AccessDenied,
    InvalidKey,
    PlaceBlocked,
    Retry,
    TierError,
    TierFull,
    TierReadOnly,
    TierUnreachable,
    TooFewDescriptors,
)
from repository.tiers.folder.disk import OUT_OF_DESCRIPTORS

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PERMISSION = {errno.EACCES, errno.EPERM}
_WRONG_KIND = {errno.EISDIR, errno.ENOTDIR}


def translated(error: OSError, *, tier: str, root: str, key: str | None) -> TierError:
    """The tier's error for one of the system, met at the object with this key (None: at no single one)."""
    context: dict[str, Any] = {"tier": tier, "errno": error.errno} | ({"key": key} if key else {})
    reason = os.strerror(error.errno).lower() if error.errno else "unknown error of the system"
    if error.errno in _NO_SPACE:
        return TierFull(reason, hint=_room(root, error.errno), **context)
    if error.errno in _NO_PERMISSION:
        return AccessDenied(reason, **context)
    if error.errno == errno.EROFS:
        return TierReadOnly(reason, **context)
    if error.errno in _WRONG_KIND:
        return PlaceBlocked(reason, **context)
    if error.errno == errno.ENAMETOOLONG:
        return InvalidKey(reason, **context)
    if error.errno in OUT_OF_DESCRIPTORS:
        return TooFewDescriptors(reason, **context)
    if error.errno == errno.EIO:
        hint = "The disk reports errors: look at the system's log, and replace the disk."
        return TierUnreachable(reason, hint=hint, retry=Retry.AFTER_OPERATOR, **context)
    return TierUnreachable(reason, **context)


def _room(root: str, number: int | None) -> str:
    """What to do about a disk that takes no more, with its figures."""
    if number == errno.EDQUOT:
        return "The quota of this account on the tier is used up: raise it, or free space; then run again."
    try:
        found = os.statvfs(root if os.path.isdir(root) else os.path.dirname(root))
    except OSError:
        return TierFull.hint
    free, total = (blocks * found.f_frsize >> 20 for blocks in (found.f_bavail, found.f_blocks))
    return f"The tier has {free} of {total} MiB and {found.f_favail} files free. {TierFull.hint}"
