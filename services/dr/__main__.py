"""`python -m services.dr`."""

from chassis.life import runtime
from services.dr.bootstrap import SERVICE, run
from services.dr.settings import DrSettings


async def main() -> int:
    """Read the settings and run."""
    return await run(runtime.begin(DrSettings, SERVICE))


if __name__ == "__main__":
    runtime.leave(runtime.run(main))
