"""Whether a part's disk takes what the part writes: a small write that is really made, and figures where it fails.

A server on a full disk goes on answering what it can answer from memory; runs wait for it, for minutes, behind a report
that says *ready*. So its folder is written to every now and then, whatever the server itself says. (How much is free
before that, `deploy.stack.places` tells.)
"""

import os
import time
from pathlib import Path

from chassis.disk import Disk, DiskSilent
from deploy.stack.probes import Grade, Probe, Trouble

WRITE_SECONDS = 30.0
"""How often a write is tried while all is well."""
AGAIN_SECONDS = 2.0
"""How often where something is wrong."""
WRITTEN_SECONDS = 5.0
"""How long a write may take."""
_WRITTEN_BYTES = 64 << 10
_NAME = ".wedsync-room"


def with_room(probe: Probe, disk: Disk) -> Probe:
    """The probe, and behind it a write into the part's folder; where that fails or hangs, it says why."""
    tried_at = float("-inf")
    full: Trouble | None = None

    async def ask() -> Trouble | None:
        nonlocal tried_at, full
        trouble = await probe()
        if trouble is not None and trouble.grade is Grade.LOST:
            return trouble
        if time.monotonic() - tried_at >= (WRITE_SECONDS if full is None and trouble is None else AGAIN_SECONDS):
            full = await _trouble_of(disk)
            tried_at = time.monotonic()
        return full or trouble

    return ask


async def _trouble_of(disk: Disk) -> Trouble | None:
    try:
        return await disk.ask(lambda: _write_trouble(disk.folder), seconds=WRITTEN_SECONDS)
    except DiskSilent as error:
        return Trouble(f"{disk.folder} cannot be written to: {error.strerror}: look at its disk (dmesg)")


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


def _figures(folder: Path) -> str:
    try:
        found = os.statvfs(folder)
    except OSError:
        return "its size is unknown"
    free, total = (blocks * found.f_frsize >> 20 for blocks in (found.f_bavail, found.f_blocks))
    return f"{free} of {total} MiB are free"
