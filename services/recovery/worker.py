"""`python -m services.recovery.worker`: a worker process."""

from chassis.life import runtime
from services.recovery.bootstrap import WORKER_IDENTITY, run_worker
from services.recovery.settings import RecoveryWorkerSettings


async def main() -> int:
    """Read the settings and run."""
    return await run_worker(runtime.begin(RecoveryWorkerSettings, WORKER_IDENTITY))


if __name__ == "__main__":
    runtime.leave(runtime.run(main))
