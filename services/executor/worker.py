"""`python -m services.executor.worker`: a worker process."""

import os
import sys
import threading

from chassis.life import runtime
from services.executor.bootstrap import WORKER_IDENTITY, run_worker
from services.executor.settings import WorkerSettings


async def main() -> int:
    """Read the settings and run."""
    return await run_worker(runtime.begin(WorkerSettings, WORKER_IDENTITY))


def leave(code: int) -> None:
    """End the process with this code, also where a run that was given back still waits for a tier in some thread."""
    left = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]
    if left:
        # The interpreter would wait for them. What they do is what a worker does that was killed.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    leave(runtime.run(main))
