"""`python -m services.executor`: the deciding process."""

from chassis.life import runtime
from services.executor.bootstrap import SERVICE, run
from services.executor.settings import ExecutorSettings


async def main() -> int:
    """Read the settings and run."""
    return await run(runtime.begin(ExecutorSettings, SERVICE))


if __name__ == "__main__":
    runtime.leave(runtime.run(main))
