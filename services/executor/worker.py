"""`python -m services.executor.worker`: a worker process."""

import os
import sys

from chassis import logging, runtime
from chassis.settings import load
from services.executor.bootstrap import WORKER_IDENTITY, run_worker
from services.executor.settings import WorkerSettings


async def main() -> int:
    """Read the settings and run."""
    settings = load(WorkerSettings, os.environ)
    logging.configure(WORKER_IDENTITY, level=settings.log_level)
    return await run_worker(settings)


if __name__ == "__main__":
    sys.exit(runtime.run(main))
