"""`python -m services.executor.worker`: a worker process."""

import os

from chassis.life import runtime
from services.executor.bootstrap import WORKER_IDENTITY, run_worker
from services.executor.settings import WorkerSettings

NICE = 5
"""Where all share a machine, whoever asks for something goes before the runs that were asked for: three to one."""


async def main() -> int:
    """Read the settings and run."""
    os.nice(NICE)
    return await run_worker(runtime.begin(WorkerSettings, WORKER_IDENTITY))


if __name__ == "__main__":
    runtime.leave(runtime.run(main))
