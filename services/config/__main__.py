"""`python -m services.config`: the config service."""

from chassis.life import runtime
from services.config.bootstrap import SERVICE, run
from services.config.settings import ConfigSettings


async def main() -> int:
    """Read the settings and run."""
    return await run(runtime.begin(ConfigSettings, SERVICE))


if __name__ == "__main__":
    runtime.leave(runtime.run(main))
