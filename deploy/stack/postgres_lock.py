"""The lock file of a Postgres that was killed, where nobody reaps its process.

Postgres itself removes a lock file whose process is gone. Where process 1 reaps no orphans (a container without an init
of its own), the process of a killed server stays as a zombie for as long as the container lives: it does nothing, holds
nothing, and Postgres takes it for a server that runs.
"""

import os
from pathlib import Path

from deploy.stack.process_identity import is_zombie

_PROC = Path("/proc")


def remove_stale_lock(folder: Path) -> None:
    """Remove the lock file of a zombie, unless a process of that server is left. Raises OSError."""
    lock = folder / "postmaster.pid"
    try:
        first = lock.read_bytes().partition(b"\n")[0].strip()
    except FileNotFoundError:
        return
    if first.isdigit() and is_zombie(int(first)) and not _is_anybody_in(folder):
        lock.unlink()


def _is_server_of(entry: Path, uid: int) -> bool:
    """Whether a process is a Postgres's of the account that owns the folder."""
    try:
        return entry.stat().st_uid == uid and (entry / "comm").read_text().strip() == "postgres"
    except OSError:
        return False


def _is_anybody_in(folder: Path) -> bool:
    """Whether a process works in the folder, as all of Postgres's do. A server that cannot be looked at may be one."""
    own = folder.stat()
    for entry in _PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            found = (entry / "cwd").stat()
        except PermissionError:
            if _is_server_of(entry, own.st_uid):
                return True
        except OSError:
            continue
        else:
            if os.path.samestat(found, own):
                return True
    return False
