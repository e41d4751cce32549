"""Runs of a schedule that have waited for a worker beyond their time: missed, as those of which nobody heard."""

from datetime import datetime, timedelta

import msgspec
import pytest

from chassis.clock import SystemClock
from contracts.config_events import BackupFellDue, ConfigurationUpdated
from contracts.executor_events import BackupFailed
from contracts.schedule import Frequency, MissedRuns, Schedule
from services.executor.adapters.tables import ReplicaTable
from tests.support.executor import CONFIGURATION, ExecutorBench

pytestmark = pytest.mark.stack


class At:
    """A clock that stands."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def now(self) -> datetime:
        """Always the same."""
        return self._moment


@pytest.mark.parametrize(
    ("missed_runs", "hours", "end"),
    [
        (MissedRuns.SKIP, 3, "backup-failed"),
        (MissedRuns.SKIP, 0, "backup-completed"),
        (MissedRuns.RUN_ONCE, 3, "backup-completed"),
    ],
)
async def test_run_that_waited_for_a_worker_goes_by_its_schedule(
    configured_bench: ExecutorBench, missed_runs: MissedRuns, hours: int, end: str
) -> None:
    """It begins where its schedule lets it, and else ends as missed, with nothing read."""
    bench = configured_bench
    kept = await ReplicaTable(bench.pool, bench.store).find(CONFIGURATION)
    assert kept is not None
    schedule = Schedule(frequency=Frequency.DAILY, missed_runs=missed_runs)
    body = msgspec.structs.replace(kept.body, schedule=schedule)
    await bench.hear(
        ConfigurationUpdated(request_id="r", configuration_id=CONFIGURATION, version=2, body=body, before=kept.body)
    )
    due_at = SystemClock().now()
    await bench.hear(
        BackupFellDue(
            request_id="run-1",
            execution_id="run-1",
            configuration_id=CONFIGURATION,
            configuration_version=2,
            due_at=due_at,
        )
    )
    claim = await bench.claims.take("w1")
    assert claim is not None
    await bench.performance(clock=At(due_at + timedelta(hours=hours))).perform(claim, lambda: False)
    told = await bench.told("run-1")
    assert told[-1].NAME.split(".")[1] == end
    if isinstance(told[-1], BackupFailed):
        assert told[-1].code == "schedule-missed"
        assert "backup-uploading" not in await bench.names("run-1")
