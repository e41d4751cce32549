"""`python -m services.config`: the config service."""

import os
import sys

from chassis.life import runtime
from chassis.settings import load
from chassis.telemetry import logging
from services.config.bootstrap import SERVICE, run
from services.config.settings import ConfigSettings


async def main() -> int:
    """Read the settings and run."""
    settings = load(ConfigSettings, os.environ)
    logging.configure(SERVICE, level=settings.log_level)
    return await run(settings)


if __name__ == "__main__":
    sys.exit(runtime.run(main))
