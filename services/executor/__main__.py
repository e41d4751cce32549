"""`python -m services.executor`: the deciding process."""

import os
import sys

from chassis.life import runtime
from chassis.settings import load
from chassis.telemetry import logging
from services.executor.bootstrap import SERVICE, run
from services.executor.settings import ExecutorSettings


async def main() -> int:
    """Read the settings and run."""
    settings = load(ExecutorSettings, os.environ)
    logging.configure(SERVICE, level=settings.log_level)
    return await run(settings)


if __name__ == "__main__":
    sys.exit(runtime.run(main))
