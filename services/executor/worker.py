"""`python -m services.executor.worker`: a worker process."""

from chassis.life import runtime
from services.executor.bootstrap import WORKER_IDENTITY, run_worker
from services.executor.settings import WorkerSettings


async def main() -> int:
    """Read the settings and run."""
    return await run_worker(runtime.begin(WorkerSettings, WORKER_IDENTITY))


if __name__ == "__main__":
    runtime.leave(runtime.run(main))
