"""The lock file of a killed Postgres."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from deploy.stack.postgres_lock import remove_stale_lock


@pytest.mark.parametrize("is_somebody_left", [False, True])
def test_lock_of_a_zombie_is_removed(tmp_path: Path, *, is_somebody_left: bool) -> None:
    """Nobody reaps it, and Postgres takes it for a server that runs; while one of its processes is left, one does."""
    lock = tmp_path / "postmaster.pid"
    with subprocess.Popen(["sleep", "600"]) as child:
        lock.write_text(f"{child.pid}\n{tmp_path}\n")
        remove_stale_lock(tmp_path)
        assert lock.exists(), "its server runs"
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        folder = tmp_path if is_somebody_left else tmp_path.parent
        with subprocess.Popen(["sleep", "600"], cwd=folder) as other:
            remove_stale_lock(tmp_path)
            other.kill()
        assert lock.exists() is is_somebody_left
    lock.unlink(missing_ok=True)
    remove_stale_lock(tmp_path)
