"""Runs that somebody has stopped: at every point of their life, by whoever performs them, racing their end."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from chassis.claims.loop import ClaimLoop
from chassis.claims.port import Claim
from chassis.claims.table import BEAT_SECONDS
from chassis.life import blocking
from contracts import errors
from contracts.errors import PlatformError
from contracts.executor_events import BackupCancellationRefused, BackupCancelled
from contracts.subjects import event_subject, once_stored
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.tiers.location import open_tier
from services.executor.domain import BackupRun
from tests.component.executor.test_runs import Meanwhile, perform_next
from tests.component.executor.test_worker import Opening
from tests.support.eventually import eventually
from tests.support.executor import ORGANISATION, ExecutorBench
from tests.support.nats_server import NatsServer

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]


def _snapshots(bench: ExecutorBench) -> list[str]:
    """Which runs have a snapshot on the tier."""
    key = KeyFile.load(bench.keys / "repositories" / f"{ORGANISATION}.key")
    with Repository.open([open_tier(f"file://{bench.tier('local')}")], key) as repository:
        return [snapshot.manifest.run_token for snapshot in repository.snapshots()]


@asynccontextmanager
async def _held_up(
    bench: ExecutorBench, plane: type[Meanwhile | Opening]
) -> AsyncIterator[tuple[ClaimLoop, threading.Event]]:
    """A worker whose first call of the data plane has begun, and comes back when the event is set, or at the end."""
    entered, goes_on = threading.Event(), threading.Event()

    def happens() -> None:
        if not entered.is_set():
            entered.set()
            goes_on.wait(100)

    loop = bench.loop("w1", data_plane=plane(bench, happens))
    await loop.start()
    try:
        await eventually(entered.is_set)
        yield loop, goes_on
    finally:
        goes_on.set()
        await loop.stop()


async def _has_completed(bench: ExecutorBench, run_id: str) -> bool:
    return (await bench.names(run_id))[-1] == "backup-completed"


async def test_cancelled_run_is_left_by_its_worker_and_commits_nothing(bench: ExecutorBench) -> None:
    """The next run of the configuration is taken on at once, and the same worker performs it."""
    async with _held_up(bench, Meanwhile) as (loop, goes_on):
        held = loop._held["run-1"]
        await bench.cancel("run-1")
        await bench.request("run-2")
        await eventually(held.lost.is_set)
        goes_on.set()
        await eventually(lambda: _has_completed(bench, "run-2"))
    assert (await bench.names("run-1"))[-1] == "backup-cancelled"
    assert _snapshots(bench) == ["run-2"]


async def test_snapshot_that_was_committed_by_then_is_whole(bench: ExecutorBench) -> None:
    """Between the last pack and the word of the worker a run can be cancelled: the tier has all of it, or nothing."""
    loop = asyncio.get_running_loop()
    claim = await bench.claims.take("w1")
    assert claim is not None

    def cancel() -> None:
        asyncio.run_coroutine_threadsafe(bench.cancel("run-1"), loop).result(60)

    with pytest.raises(PlatformError) as left:
        await bench.performance(Meanwhile(bench, cancel)).perform(claim, lambda: False)
    assert left.value.code in {errors.CONCURRENT_CHANGE, errors.CLAIM_LOST}
    assert (await bench.names("run-1"))[-1] == "backup-cancelled"
    assert _snapshots(bench) == ["run-1"]
    await bench.request("run-2", retry_of="run-1")
    await perform_next(bench)
    assert await _has_completed(bench, "run-2")
    assert sorted(_snapshots(bench)) == ["run-1", "run-2"]


async def test_run_whose_tier_hangs_is_left_and_commits_nothing_when_it_answers(bench: ExecutorBench) -> None:
    """Nobody waits for the call that hangs; what it finds out when it comes back is that it is not wanted."""
    async with _held_up(bench, Meanwhile) as (_loop, answers):
        await bench.cancel("run-1")
        await bench.request("run-2")
        await eventually(lambda: _has_completed(bench, "run-2"))
        assert not answers.is_set()
        answers.set()
        await eventually(lambda: all(thread.name != "run-call" for thread in threading.enumerate()))
    assert (await bench.names("run-1"))[-1] == "backup-cancelled"
    assert _snapshots(bench) == ["run-2"]


async def test_run_that_hangs_while_it_opens_keeps_the_others_waiting_only_until_it_is_silent(
    bench: ExecutorBench,
) -> None:
    """What was left behind may still be creating the repository: no other run opens it before that is over."""
    async with _held_up(bench, Opening) as (_loop, answers):
        await bench.cancel("run-1")
        await bench.request("run-2")
        assert await bench.claims.take("w2") is None
        await eventually(lambda: _has_completed(bench, "run-2"))
        assert not answers.is_set()
    assert (await bench.names("run-1"))[-1] == "backup-cancelled"


async def test_worker_is_told_without_waiting_for_its_heartbeat(
    bench: ExecutorBench, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the record's relay publishes is heard by every worker, which then asks for its claims."""
    monkeypatch.setattr("tests.support.executor.BEAT_SECONDS", 3600.0)
    await nats_server.apply()
    async with _held_up(bench, Meanwhile) as (loop, goes_on):
        await bench.cancel("run-1")
        envelope = (await bench.store.history("run-1"))[-1]
        async with nats_server.connected() as client:
            await client.publish(once_stored(event_subject(envelope)), b"")
            await client.flush()

            async def is_left() -> bool:
                return not loop._held

            await eventually(is_left)
        assert not goes_on.is_set()


async def test_cancellation_whose_message_is_lost_is_found_by_the_next_heartbeat(
    bench: ExecutorBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first that begins after the cancellation: beats, and what a call has to end in, are two seconds in all."""
    assert BEAT_SECONDS + blocking.LOOK_SECONDS + blocking.LEAVE_SECONDS < 2.0
    still_its_own: list[bool] = []
    beat, is_cancelled = bench.claims.beat, False

    async def noted(claims: Sequence[Claim]) -> frozenset[str]:
        is_after = is_cancelled
        own = await beat(claims)
        if is_after:
            still_its_own.append("run-1" in own)
        return own

    async with _held_up(bench, Meanwhile) as (loop, goes_on):
        monkeypatch.setattr(bench.claims, "beat", noted)
        held = loop._held["run-1"]
        await bench.cancel("run-1")  # nobody publishes it
        is_cancelled = True
        await eventually(held.lost.is_set)
        await eventually(lambda: not loop._held)
        assert not goes_on.is_set()
    assert still_its_own[0] is False
    assert (await bench.names("run-1"))[-1] == "backup-cancelled"


async def test_run_that_nobody_has_claimed_is_cancelled_at_once(bench: ExecutorBench) -> None:
    """No worker ever takes it, and it is in nobody's way."""
    await bench.cancel("run-1")
    assert await bench.claims.take("w1") is None
    assert await bench.names("run-1") == ["backup-accepted", "backup-cancelled"]
    await bench.request("run-2")
    await perform_next(bench)
    assert await _has_completed(bench, "run-2")


async def test_run_whose_worker_is_dead_is_cancelled_at_once(bench: ExecutorBench) -> None:
    """Whoever finds the silent claim closes it; the configuration is free before."""
    assert await bench.claims.take("w1") is not None
    await bench.cancel("run-1")
    await bench.request("run-2")
    assert await bench.names("run-2") == ["backup-accepted"]
    loop = bench.loop("w2")
    await loop.start()
    try:
        await eventually(lambda: _has_completed(bench, "run-2"))
    finally:
        await loop.stop()
    assert await bench.names("run-1") == ["backup-accepted", "backup-cancelled"]


async def test_run_that_has_ended_is_not_cancelled(bench: ExecutorBench) -> None:
    """The refusal says how it has ended, be it by another cancellation."""
    await perform_next(bench)
    await bench.cancel("run-1")
    refused = (await bench.told("run-1"))[-1]
    assert isinstance(refused, BackupCancellationRefused)
    assert (refused.request_id, refused.code) == ("cancel-1", errors.RUN_FINISHED.code)
    assert "completed" in refused.hint
    await bench.request("run-2")
    await bench.cancel("run-2")
    await bench.cancel("run-2", request_id="cancel-2")
    refused = (await bench.told("run-2"))[-1]
    assert isinstance(refused, BackupCancellationRefused)
    assert "cancelled" in refused.hint


async def test_cancellation_that_races_the_end_has_one_winner(bench: ExecutorBench) -> None:
    """Either the run has ended and the cancellation is refused, or it is cancelled and does not end otherwise."""
    runs = [f"run-{number}" for number in range(1, 7)]
    for number, run in enumerate(runs):
        if number:
            await bench.request(run)
        claim = await bench.claims.take("w1")
        assert claim is not None

        async def cancel(run: str = run, turns: int = 60 * number) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await bench.cancel(run, request_id=f"cancel {run}")

        ended, answered = await asyncio.gather(
            bench.performance().perform(claim, lambda: False), cancel(), return_exceptions=True
        )
        assert answered is None
        names = await bench.names(run)
        if "backup-cancelled" in names:
            if ended is not None:  # else it was cancelled before its worker had looked at it
                assert isinstance(ended, PlatformError)
                assert ended.code in {errors.CONCURRENT_CHANGE, errors.CLAIM_LOST}
            assert names[-1] == "backup-cancelled"
            await bench.claims.close(claim)
        else:
            assert names[-2:] == ["backup-completed", "backup-cancellation-refused"]


@pytest.mark.parametrize(("run", "organisation"), [("run-x", ORGANISATION), ("run-1", "org-b")])
async def test_run_that_the_organisation_has_not_is_not_found(
    bench: ExecutorBench, run: str, organisation: str
) -> None:
    """Another organisation's run is none, and hears nothing of it."""
    await bench.cancel(run, organisation=organisation)
    (refused,) = await bench.told("cancel-1")
    assert isinstance(refused, BackupCancellationRefused)
    assert (refused.execution_id, refused.code) == (run, errors.NOT_FOUND.code)
    assert await bench.names("run-1") == ["backup-accepted"]


async def test_step_that_is_recorded_meanwhile_does_not_stop_a_cancellation(
    bench: ExecutorBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is decided anew on what is there by then."""
    run = await bench.store.load(BackupRun, "run-1")
    run.prepare(fence=1, worker="w1")
    find = bench.store.find

    async def find_then_go_on(cls: type[BackupRun], run_id: str) -> BackupRun | None:
        found = await find(cls, run_id)
        if run.pending:
            await bench.store.save(run, context=bench.context())
        return found

    monkeypatch.setattr(bench.store, "find", find_then_go_on)
    await bench.cancel("run-1")
    assert await bench.names("run-1") == ["backup-accepted", "backup-preparing", "backup-cancelled"]
    assert isinstance((await bench.told("run-1"))[-1], BackupCancelled)


async def test_refused_request_is_nothing_that_could_be_cancelled(bench: ExecutorBench) -> None:
    """A refusal is kept under the id of its request: who asks about that id finds nothing, and changes nothing."""
    await bench.cancel("nothing-of-the-kind", request_id="q1")
    await bench.cancel("q1", request_id="q2")
    for request in ("q1", "q2"):
        (refused,) = await bench.told(request)
        assert isinstance(refused, BackupCancellationRefused)
        assert refused.code == "not-found"
