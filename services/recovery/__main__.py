"""`python -m services.recovery`: the deciding process."""

from chassis.life import runtime
from services.recovery.bootstrap import SERVICE, run
from services.recovery.settings import RecoverySettings


async def main() -> int:
    """Read the settings and run."""
    return await run(runtime.begin(RecoverySettings, SERVICE))


if __name__ == "__main__":
    runtime.leave(runtime.run(main))
