"""Runs that follow others by themselves: they catch up and try again, once, and only where that is wanted still."""

import shutil
from collections.abc import Callable
from datetime import timedelta

import pytest

from chassis.claims.port import Claim, QueueLimits
from chassis.claims.table import ClaimQueue
from chassis.life.signs import Signs
from chassis.record.statements import StatementRefused
from chassis.timers.table import TIMER, Timer, TimerTable
from contracts import errors
from contracts.config_events import ConfigurationPaused
from contracts.configuration import Destination, Tier
from contracts.executor_events import BackupAccepted, BackupCompleted, BackupFailed, ExecutionType, TierUploaded
from contracts.schedule import Blackout, Schedule, Window
from services.executor.adapters.follow_ups import FOLLOW_UP
from services.executor.adapters.following import WINDOW_SECONDS, FollowingRuns
from services.executor.adapters.points import KnownToTheRecord
from services.executor.adapters.runs import RUNS, RecordedRuns
from services.executor.adapters.tables import ReplicaTable
from services.executor.follow_ups import FollowUps
from services.executor.kept import Replica
from services.executor.ports import BackupOutcome, OpenBackup
from tests.component.executor.test_runs import Interrupted, Meanwhile, perform_next
from tests.support.executor import CONFIGURATION, ORGANISATION, PLENTY, ExecutorBench

pytestmark = pytest.mark.stack

AT_ONCE = FollowUps(0.00001)
"""The timer is due when it is looked for."""


def _following(bench: ExecutorBench, limits: QueueLimits = PLENTY) -> FollowingRuns:
    replicas, queue = ReplicaTable(bench.pool, bench.store), ClaimQueue(RUNS, bench.pool)
    return FollowingRuns(bench.store, RecordedRuns(bench.store), replicas, queue, limits)


async def _due(bench: ExecutorBench) -> Timer | None:
    return await TimerTable(bench.pool).take([FOLLOW_UP])


async def _begun(bench: ExecutorBench, limits: QueueLimits = PLENTY) -> str | None:
    """The run that the timer begins, performed; None where it begins none."""
    timer = await _due(bench)
    assert timer is not None
    await _following(bench, limits).begin(timer)
    claim = await bench.claims.take("w1")
    if claim is not None:
        await bench.performance(follow_ups=AT_ONCE).perform(claim, lambda: False)
    return None if claim is None else claim.work_id


async def _fail(bench: ExecutorBench) -> None:
    """The first run fails, since its source is away."""
    shutil.move(bench.source, bench.home / "away")
    await perform_next(bench, follow_ups=AT_ONCE)


@pytest.mark.parametrize("is_window", [False, True])
async def test_nothing_follows_while_the_schedule_lets_nothing_begin(
    configured_bench: ExecutorBench, *, is_window: bool
) -> None:
    """In a blackout it waits for its end, outside of the window for the window: nobody asks for it by hand."""
    bench = configured_bench
    await bench.request("run-1")
    await _fail(bench)
    timer = await _due(bench)
    assert timer is not None
    away = Blackout(starts_at=timer.now - timedelta(hours=1), ends_at=timer.now + timedelta(minutes=20))
    closed = Window(start=f"{timer.now + timedelta(hours=2):%H:%M}", end=f"{timer.now + timedelta(hours=3):%H:%M}")
    schedule = Schedule(cron="0 * * * *", window=closed) if is_window else Schedule(cron="0 * * * *", blackouts=(away,))
    await bench.configure(version=2, schedule=schedule, local=Destination(location="local"))
    await _following(bench).begin(timer)
    assert await bench.claims.take("w1") is None
    async with bench.pool.connection() as connection:
        rows = await (await connection.execute("SELECT due_at FROM timers WHERE kind = %s", (FOLLOW_UP,))).fetchall()
    assert rows == [(timer.now + timedelta(seconds=WINDOW_SECONDS) if is_window else away.ends_at,)]


async def test_degraded_run_is_caught_up_by_a_run_of_its_own(configured_bench: ExecutorBench) -> None:
    """The tier that was away has all of it afterwards, the run says of which it is, and nothing follows any more."""
    bench = configured_bench
    await bench.configure(version=2, local=Destination(location="local"), offsite=Destination(location="second"))
    second = bench.home / "tiers" / "second"
    second.rmdir()
    await bench.request("run-1", version=2)
    await perform_next(bench, follow_ups=AT_ONCE)
    degraded = (await bench.told("run-1"))[-1]
    assert isinstance(degraded, BackupCompleted)
    assert (degraded.degraded, degraded.follow_up_at is not None) == (True, True)
    second.mkdir()
    run = await _begun(bench)
    assert run is not None
    accepted, *rest, whole = await bench.told(run)
    assert isinstance(accepted, BackupAccepted)
    assert (accepted.execution_type, accepted.retry_of, accepted.follow_up) == (ExecutionType.CATCH_UP, "run-1", 1)
    assert (accepted.has_point, accepted.has_proven_point) == (True, True)
    (brought,) = [event for event in rest if isinstance(event, TierUploaded) and event.tier is Tier.OFFSITE]
    assert (brought.uploaded_bytes > 0, brought.objects > 0) == (True, True), "what was caught up is measured"
    assert isinstance(whole, BackupCompleted)
    assert (whole.degraded, set(whole.verified), whole.follow_up_at) == (False, {Tier.LOCAL, Tier.OFFSITE}, None)
    assert await _due(bench) is None
    known = await KnownToTheRecord(bench.pool, bench.store).of(ORGANISATION, [])
    assert {point.id: point.is_catch_up for point in known.points} == {"run-1": False, run: True}


class _NotReadBack(Interrupted):
    """A backup of which what the tier far away has cannot be read back."""

    def verify(self, outcome: BackupOutcome, tier: Tier) -> str | None:
        return errors.TIER_UNREACHABLE.code if tier is Tier.OFFSITE else super().verify(outcome, tier)


class _NotReadingBack(Meanwhile):
    def open(self, claim: Claim, configuration: Replica, signs: Signs, on_leased: Callable[[], None]) -> OpenBackup:
        return _NotReadBack(super().open(claim, configuration, signs, on_leased), lambda: None)


async def test_tier_that_has_it_all_and_could_not_be_read_back_is_caught_up(configured_bench: ExecutorBench) -> None:
    """What was written there and not seen again is owed as well."""
    bench = configured_bench
    await bench.configure(version=2, local=Destination(location="local"), offsite=Destination(location="second"))
    await bench.request("run-1", version=2)
    await perform_next(bench, follow_ups=AT_ONCE, data_plane=_NotReadingBack(bench, lambda: None))
    degraded = (await bench.told("run-1"))[-1]
    assert isinstance(degraded, BackupCompleted)
    assert [each.tier for each in degraded.catch_ups] == [Tier.OFFSITE]
    assert degraded.follow_up_at is not None
    assert await _due(bench) is not None


async def test_failed_run_is_tried_again_and_the_trial_counts(bench: ExecutorBench) -> None:
    """Each names the one before it; when the source is back the next one is whole."""
    await _fail(bench)
    second = await _begun(bench)
    assert second is not None
    accepted, *_, failed = await bench.told(second)
    assert isinstance(accepted, BackupAccepted)
    assert isinstance(failed, BackupFailed)
    assert (accepted.execution_type, accepted.retry_of, accepted.follow_up) == (ExecutionType.RETRY, "run-1", 1)
    shutil.move(bench.home / "away", bench.source)
    third = await _begun(bench)
    assert third is not None
    accepted, *_, whole = await bench.told(third)
    assert isinstance(accepted, BackupAccepted)
    assert (accepted.retry_of, accepted.follow_up, type(whole)) == (second, 2, BackupCompleted)
    assert await _due(bench) is None
    queue = ClaimQueue(RUNS, bench.pool)
    assert [await queue.latest(CONFIGURATION), await queue.latest("another")] == [third, None]
    async with bench.pool.connection() as connection:
        await connection.execute(
            "UPDATE run_claims SET asked_at = now() + interval '1 hour' WHERE run_id = %s", (third,)
        )
    assert await queue.latest(CONFIGURATION) == second, (
        "what a clock that was put back has asked for counts for nothing"
    )


async def test_nothing_follows_beside_a_run_that_is_under_way_nor_twice(bench: ExecutorBench) -> None:
    """Somebody's own run says at its end what follows; of two replicas with one timer one begins the run."""
    await _fail(bench)
    timer = await _due(bench)
    assert timer is not None
    await bench.request("run-2")
    await _following(bench).begin(timer)
    assert await _due(bench) is None
    await perform_next(bench, follow_ups=AT_ONCE)
    timer = await _due(bench)
    assert timer is not None
    await _following(bench).begin(timer)
    claim = await bench.claims.take("w1")
    assert claim is not None
    await bench.cancel(claim.work_id)
    await bench.claims.close(claim)
    with pytest.raises(StatementRefused) as refused:
        await _following(bench).begin(timer)
    assert refused.value.name == TIMER
    assert await bench.claims.take("w1") is None


async def test_paused_configuration_has_no_run_follow_and_a_full_queue_lets_it_wait(bench: ExecutorBench) -> None:
    """Nothing is begun that nobody may begin; what finds no room comes again."""
    await _fail(bench)
    assert await _begun(bench, QueueLimits(per_organisation=0, in_all=0)) is None
    assert await _due(bench) is None, "later"
    async with bench.pool.connection() as connection:
        await connection.execute("UPDATE timers SET due_at = now()")
    replica = await ReplicaTable(bench.pool, bench.store).find(CONFIGURATION)
    assert replica is not None
    await bench.hear(ConfigurationPaused(request_id="p", configuration_id=CONFIGURATION, version=2, body=replica.body))
    assert await _begun(bench) is None
    assert await _due(bench) is None


async def test_cancelled_run_is_followed_by_nothing(bench: ExecutorBench) -> None:
    """Whoever stops a run of the configuration has none begun by itself afterwards."""
    await _fail(bench)
    await bench.request("run-2")
    await bench.cancel("run-2")
    assert await _due(bench) is None
