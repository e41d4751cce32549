"""How a worker's process begins."""

import pytest

from chassis.life import runtime
from services.executor import worker


async def test_worker_gives_way_to_who_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that all share, who asks for something does not wait for the runs that were asked for."""
    given: list[int] = []

    async def run_worker(_settings: object) -> int:
        return len(given)

    monkeypatch.setattr("os.nice", given.append)
    monkeypatch.setattr(runtime, "begin", lambda *_: None)
    monkeypatch.setattr(worker, "run_worker", run_worker)
    assert await worker.main() == 1, "before it does anything"
    assert given == [worker.NICE]
