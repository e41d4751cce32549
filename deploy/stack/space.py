"""Whether a part's disk takes what the part writes: free space with figures, and a small write that is really made.

A server on a full disk goes on answering what it can answer from memory; runs wait for it, for minutes, behind a report
that says *ready*. So each one's folder is written to every now and then, whatever the server itself says.
"""

import asyncio
import os
import time
from pathlib import Path

from deploy.stack.probes import Grade, Probe, Trouble

LOW_BYTES = 1 << 30
"""Below so much free space somebody should look."""
WRITE_SECONDS = 30.0
"""How often a write is tried while it works; where it fails, at each question."""
_WRITTEN_BYTES = 64 << 10
_NAME = ".wedsync-room"


def with_room(probe: Probe, folder: Path, *, low_bytes: int = LOW_BYTES) -> Probe:
    """The probe, and behind it the look at the disk of the part's folder; where it has no room, that says why."""
    written_at: float | None = None

    async def ask() -> Trouble | None:
        nonlocal written_at
        trouble = await probe()
        if trouble is not None and trouble.grade is Grade.LOST:
            return trouble
        if trouble is not None or written_at is None or time.monotonic() - written_at > WRITE_SECONDS:
            written_at = None
            full = await asyncio.to_thread(_write_trouble, folder)
            if full is not None:
                return full
            written_at = time.monotonic()
        return trouble or _low(folder, low_bytes)

    return ask


def _write_trouble(folder: Path) -> Trouble | None:
    path = folder / _NAME
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, bytes(_WRITTEN_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return None  # It is not made yet, or gone: that is told elsewhere.
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        return Trouble(
            f"{folder} cannot be written to: {reason} ({_figures(folder)}): free space on its disk, or mend it",
            Grade.NEEDS_OPERATOR,
        )
    return None


def _low(folder: Path, low_bytes: int) -> Trouble | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    if found.f_bavail * found.f_frsize >= low_bytes:
        return None
    return Trouble(f"the disk of {folder} is nearly full ({_figures(folder)}): free space on it", Grade.DEGRADED)


def _figures(folder: Path) -> str:
    try:
        found = os.statvfs(folder)
    except OSError:
        return "its size is unknown"
    free, total = (blocks * found.f_frsize >> 20 for blocks in (found.f_bavail, found.f_blocks))
    return f"{free} of {total} MiB are free"
