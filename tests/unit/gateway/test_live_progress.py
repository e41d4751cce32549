"""The latest progress of each run: bounded, and gone with the run."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from chassis.bus.topology import stream_config
from contracts.executor_events import BackupCompleted
from contracts.progress import Progress
from contracts.streams import PROGRESS_KEPT_SECONDS, PROGRESS_STREAM, STREAMS
from gateway.monitoring import live_progress
from gateway.monitoring.live_progress import LiveProgress
from gateway.projections.fact import Fact

NOW = datetime(2027, 6, 12, tzinfo=UTC)


class _Time:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def _report(progress: LiveProgress, run: str, **more: object) -> None:
    body = msgspec.json.encode({"executionId": run, "organisation": "acme", "time": NOW, "phase": "backing_up", **more})
    await progress._hear(Msg(Client(), data=body))


def _ended(run: str) -> Fact:
    return Fact(1, "acme", run, None, None, BackupCompleted.NAME, "e", NOW, msgspec.Raw(b"{}"))


async def test_report_of_a_run_that_has_ended_is_not_taken() -> None:
    """The last report may overtake the end on its way: nothing of it stays."""
    progress, heard = LiveProgress(Client), list[Progress]()
    progress.listen(heard.append)
    await _report(progress, "a")
    progress.tell([_ended("a")])
    await _report(progress, "a")
    assert progress.of("acme", "a") is None
    assert len(heard) == 1


async def test_report_counts_by_its_workers_fence_and_never_by_a_clock() -> None:
    """A worker whose clock was put back goes on being heard; one that was passed over does not."""
    progress = LiveProgress(Client)

    def done() -> int:
        found = progress.of("acme", "a")
        assert found is not None
        return found.files_done

    await _report(progress, "a", filesDone=1, fence=2)
    await _report(progress, "a", filesDone=2, fence=2, time=NOW - timedelta(hours=1))
    assert done() == 2
    await _report(progress, "a", filesDone=3, fence=1, time=NOW + timedelta(hours=1))
    assert done() == 2
    await _report(progress, "a", filesDone=4, fence=3, time=NOW - timedelta(hours=2))
    assert done() == 4


async def test_run_that_nothing_is_reported_of_is_forgotten() -> None:
    """Memory does not grow with the runs that there ever were."""
    time = _Time()
    progress = LiveProgress(Client, time)
    await _report(progress, "silent")
    time.seconds = PROGRESS_KEPT_SECONDS / 2
    await _report(progress, "a")
    time.seconds = PROGRESS_KEPT_SECONDS + 1
    await _report(progress, "b")
    assert progress.of("acme", "silent") is None
    assert progress.of("acme", "a") is not None
    assert progress.of("other", "a") is None


async def test_no_more_runs_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was heard of longest ago goes first."""
    monkeypatch.setattr(live_progress, "RUNS_MAX", 2)
    progress = LiveProgress(Client)
    for run in ("a", "b", "a", "c"):
        await _report(progress, run)
    assert [progress.of("acme", run) is not None for run in ("a", "b", "c")] == [True, False, True]
    for run in ("x", "y", "z"):
        progress.tell([_ended(run)])
    assert len(progress._ended) == 2


async def test_report_of_a_newer_worker_is_understood() -> None:
    """A field that was added is left out."""
    progress = LiveProgress(Client)
    await _report(progress, "a", mood="good")
    assert progress.of("acme", "a") is not None


def test_stream_of_progress_lets_go_of_what_is_old() -> None:
    """Reports of runs that have ended do not stay in the store for ever; events do."""
    ages = {spec.name: stream_config(spec)["max_age"] for spec in STREAMS}
    assert ages.pop(PROGRESS_STREAM) == PROGRESS_KEPT_SECONDS
    assert set(ages.values()) == {0.0}
