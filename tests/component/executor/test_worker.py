"""A worker among troubles: errors that nobody foresaw, calls that never return, a stop in the middle, slots."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

import msgspec
import psycopg
import pytest

from chassis.claims.aside import PAUSE_SECONDS, PAUSE_SECONDS_MAX, SetAside
from chassis.claims.port import GIVEN_BACK_MAX, Claim
from chassis.claims.table import ClaimTable
from chassis.claims.unclaimed import UnclaimedWork
from chassis.claims.unclaimed_teller import UnclaimedTeller
from chassis.clock import SystemClock
from chassis.life.health import Health
from chassis.life.runtime import EXIT_OK, run_service
from chassis.life.signs import Signs
from contracts import errors
from contracts.configuration import Destination, Tier
from contracts.errors import ErrorCode, PlatformError
from contracts.executor_events import BackupFailed, BackupRequeued
from contracts.sealed import Sealed
from services.executor.adapters.runs import RUNS, RecordedRuns
from services.executor.adapters.tables import REPORT_FIELD
from services.executor.bootstrap import WORKER_CONNECTIONS_MAX
from services.executor.failures import told_code
from services.executor.kept import Replica
from services.executor.ports import OpenBackup
from tests.component.executor.test_runs import Meanwhile, perform_next
from tests.support.eventually import eventually
from tests.support.executor import CONFIGURATION, ORGANISATION, SILENCE_SECONDS, ExecutorBench

pytestmark = pytest.mark.stack


@pytest.fixture
async def bench(configured_bench: ExecutorBench) -> ExecutorBench:
    return configured_bench


class FailingClaims(ClaimTable):
    """Claims in a database that is damaged for the first few looks and heartbeats."""

    looks = beats = 0
    is_damaged = True

    async def take(self, worker: str, *, aside: Collection[str] = ()) -> Claim | None:
        self.looks += 1
        if self.is_damaged:
            raise psycopg.errors.DataCorrupted("invalid page in block 3")
        return await super().take(worker, aside=aside)


class Opening:
    """A data plane whose opening does `happens` first, as a tier that does not answer would."""

    def __init__(self, bench: ExecutorBench, happens: Callable[[], None]) -> None:
        self._plane = bench.data_plane()
        self._happens = happens

    def open(self, claim: Claim, configuration: Replica, signs: Signs, on_leased: Callable[[], None]) -> OpenBackup:
        self._happens()
        return self._plane.open(claim, configuration, signs, on_leased)


async def _has_ended(bench: ExecutorBench, run_id: str) -> bool:
    return (await bench.names(run_id))[-1] in {"backup-completed", "backup-failed"}


async def test_claim_loop_outlives_what_nobody_foresaw_and_says_so_meanwhile(bench: ExecutorBench) -> None:
    """Not ready while it gets nowhere, with the cause; afterwards it claims as before."""
    claims = FailingClaims(RUNS, bench.pool, bench.beats, silence_seconds=SILENCE_SECONDS)
    loop = bench.loop("w1", claims=claims)
    await bench.request("run-1")
    health, stop = Health("worker"), asyncio.Event()
    process = asyncio.create_task(run_service([loop], health=health, stop=stop))

    async def trouble() -> str | None:
        return next((each.reason for each in (await health.report()).checks if each.name == "claim-loop"), None)

    assert "DataCorrupted" in str(await eventually(trouble))
    await eventually(lambda: claims.looks > 2)
    claims.is_damaged = False
    await eventually(lambda: _has_ended(bench, "run-1"))
    assert await trouble() is None
    stop.set()
    assert await process == EXIT_OK


async def test_stop_gives_back_a_run_whose_tier_does_not_answer(bench: ExecutorBench) -> None:
    """The worker does not wait for the tier, and the run is another's at once, without having cost a life."""
    entered, answers = threading.Event(), threading.Event()

    def happens() -> None:
        entered.set()
        answers.wait(60)
        raise RuntimeError("the process has ended by now")

    loop = bench.loop("w1", data_plane=Opening(bench, happens))
    await bench.request("run-1")
    stop = asyncio.Event()
    process = asyncio.create_task(run_service([loop], health=Health("worker"), stop=stop))
    await eventually(entered.is_set)
    stop.set()
    assert await asyncio.wait_for(process, 60) == EXIT_OK
    assert not answers.is_set()
    assert await bench.names("run-1") == ["backup-accepted", "backup-preparing", "backup-requeued"]
    claim = await eventually(lambda: bench.claims.take("w2"))
    given_back = (await bench.store.history("run-1"))[-1].time
    assert claim is not None
    waited = (SystemClock().now() - given_back).total_seconds()
    assert waited >= SILENCE_SECONDS, "what was left behind may still be creating the repository"
    assert (claim.fence, claim.silenced) == (2, 0)
    answers.set()
    await bench.performance().perform(claim, lambda: False)
    assert (await bench.names("run-1"))[-1] == "backup-completed"


async def test_worker_that_could_do_no_work_claims_none(bench: ExecutorBench) -> None:
    """It would end everybody's runs, one after the other, while others could perform them; it says what it lacks."""
    trouble: list[PlatformError] = [PlatformError(errors.KEYS_UNUSABLE, "the folder of the keys is gone")]

    async def require_means() -> None:
        if trouble:
            raise trouble[0]

    loop = bench.loop("w1", require_means=require_means)
    await bench.request("run-1")
    await loop.start()
    try:

        async def told() -> PlatformError | str | None:
            return await loop.check()

        assert await eventually(told) is trouble[0]
        assert await bench.names("run-1") == ["backup-accepted"]
        trouble.clear()
        await eventually(lambda: _has_ended(bench, "run-1"))
        assert (await bench.names("run-1"))[-1] == "backup-completed"
        assert await loop.check() is None
    finally:
        await loop.stop()


@asynccontextmanager
async def _looking(
    bench: ExecutorBench, *, bound_seconds: float = 3600.0, is_troubled: bool = False
) -> AsyncIterator[UnclaimedWork]:
    """A deciding process that looks at runs which no worker can take."""
    teller = UnclaimedTeller(RecordedRuns(bench.store), told_code, actor="service:executor")
    unclaimed = UnclaimedWork(
        RUNS, bench.pool, teller, bound_seconds=bound_seconds, look_seconds=0.05, told_seconds=0.0
    )
    await unclaimed.start()
    try:
        yield unclaimed
        assert is_troubled or await unclaimed.check() is None
    finally:
        await unclaimed.stop()


async def _is_last_told(bench: ExecutorBench, code: str | None) -> bool:
    last = (await bench.told("run-1"))[-1]
    return isinstance(last, BackupRequeued) and last.code == code


async def test_run_that_no_worker_can_take_says_why_and_is_taken_once_one_can(bench: ExecutorBench) -> None:
    """Whoever asked for it need not guess: none runs, or all lack something; each is told once, and taken back."""
    trouble = [PlatformError(errors.KEYS_UNUSABLE, "the folder of the keys is gone")]

    async def require_means() -> None:
        if trouble:
            raise trouble[0]

    await bench.request("run-1")
    loop = bench.loop("w1", require_means=require_means)
    async with _looking(bench), _looking(bench):
        await eventually(lambda: _is_last_told(bench, "no-worker"))
        await bench.claims.present("busy", None)
        await eventually(lambda: _is_last_told(bench, None))
        async with bench.pool.connection() as connection:
            await connection.execute("DELETE FROM run_workers")
        await eventually(lambda: _is_last_told(bench, "no-worker"))
        await loop.start()
        try:
            await eventually(lambda: _is_last_told(bench, "keys-unusable"))
            trouble.clear()
            await eventually(lambda: _has_ended(bench, "run-1"))
        finally:
            await loop.stop()
    told = await bench.told("run-1")
    assert told[-1].NAME == "executor.backup-completed.v1"
    codes = [event.code for event in told if isinstance(event, BackupRequeued)]
    assert codes[:4] == ["no-worker", None, "no-worker", "keys-unusable"]
    assert codes[4:] in ([], [None]), "once each, whoever of the two was first"


async def test_claim_of_which_nobody_can_be_told_keeps_no_others_uninformed(bench: ExecutorBench) -> None:
    """It costs itself, and is named by the readiness."""
    async with bench.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO run_claims (run_id, organisation, correlation_id, asked_at)"
            " VALUES ('orphan', 'org-a', 'c', now() - interval '1 hour')"
        )
    await bench.request("run-1")
    async with _looking(bench, is_troubled=True) as unclaimed:
        await eventually(lambda: _is_last_told(bench, "no-worker"))

        async def names_it() -> bool:
            return "orphan" in str(await unclaimed.check())

        await eventually(names_it)


@pytest.mark.parametrize("heard", [None, "-1 hour", "1 hour"])
async def test_run_that_no_worker_takes_ends_with_that_after_a_bound(bench: ExecutorBench, heard: str | None) -> None:
    """Nothing waits for ever, also not for a worker that has died over it; what it stood in the way of is free.

    Where the database's clock was put back, its last signs of life are of the future.
    """
    await bench.request("run-1")
    if heard is not None:
        claim = await eventually(lambda: bench.claims.take("mortal"))
        assert claim is not None
        await bench.claims.present("mortal", None)
        async with bench.pool.connection() as connection:
            await connection.execute("UPDATE run_claims SET heartbeat_at = now() + %s::interval", (heard,))
            await connection.execute("UPDATE run_workers SET looked_at = now() + %s::interval", (heard,))
    async with _looking(bench, bound_seconds=0.0):
        await eventually(lambda: _has_ended(bench, "run-1"))
    *_, told, failed = await bench.told("run-1")
    assert isinstance(told, BackupRequeued)
    assert isinstance(failed, BackupFailed)
    assert (told.code, failed.code, failed.configuration_id) == ("no-worker", "no-worker", CONFIGURATION)
    await bench.request("run-2")
    assert await bench.names("run-2") == ["backup-accepted"]


async def test_run_that_no_build_here_can_read_ends_with_that(bench: ExecutorBench) -> None:
    """Its history is continued unread, so that it does not keep its configuration from having runs for ever."""
    await bench.request("run-1")
    replace = (
        f"UPDATE {bench.access.schema}.stored_events"
        " SET state = convert_to(replace(convert_from(state, 'UTF8'), %s, %s), 'UTF8') WHERE originator_id = 'run-1'"
    )
    loop = bench.loop("w1")
    with psycopg.connect(bench.access.admin_dsn, autocommit=True) as admin:
        admin.execute(replace, ("backup-accepted.v1", "backup-accepted.v9"))
        admin.execute(f"UPDATE {bench.access.schema}.run_claims SET troubles = %s", (GIVEN_BACK_MAX,))
        await loop.start()
        try:
            await eventually(lambda: _state_of(bench, "done"))
        finally:
            await loop.stop()
        admin.execute(replace, ("backup-accepted.v9", "backup-accepted.v1"))
    _, failed = await bench.told("run-1")
    assert isinstance(failed, BackupFailed)
    assert (failed.code, failed.configuration_id) == ("event-unreadable", CONFIGURATION)


def _raising(code: ErrorCode) -> Callable[[], None]:
    def happens() -> None:
        raise PlatformError(code, "this worker cannot")

    return happens


@pytest.mark.parametrize("code", [errors.KEYS_UNUSABLE, errors.LOCATIONS_UNREADABLE, errors.UNAVAILABLE])
async def test_what_may_be_wrong_with_one_worker_is_given_back_to_another(
    bench: ExecutorBench, code: ErrorCode
) -> None:
    """The run is the next one's at once, and the worker that could not says which it has set aside."""
    health = Health("bad")
    bad = bench.loop("bad", data_plane=Opening(bench, _raising(code)), set_aside=SetAside(health, noun="run"))
    good = bench.loop("good")
    await bench.request("run-1")
    await bad.start()
    try:

        async def is_given_back() -> bool:
            return "backup-requeued" in await bench.names("run-1")

        await eventually(is_given_back)
        (finding,) = (await health.report()).checks
        assert (finding.status, finding.code) == ("degraded", code.code)
        given_back = next(event for event in await bench.told("run-1") if isinstance(event, BackupRequeued))
        assert (given_back.code, bool(given_back.hint)) == (code.code, True), "whoever asked for it is told as well"
        assert given_back.next_attempt_at is not None
        assert f"The next one is at {given_back.next_attempt_at:%H:%M:%S}" in (finding.reason or "")
        await good.start()
        await eventually(lambda: _has_ended(bench, "run-1"))
    finally:
        await bad.stop()
        await good.stop()
    assert (await bench.names("run-1"))[-1] == "backup-completed"


async def test_trouble_that_stays_ends_the_run_and_not_in_a_storm_of_events(bench: ExecutorBench) -> None:
    """After a number of tries with growing pauses what keeps it from being done is the run's end, and its cause."""
    await bench.request("run-1")
    async with bench.pool.connection() as connection:
        # All but the last time that it may be given back, each of which takes longer than the one before.
        await connection.execute(
            "UPDATE run_claims SET given_back = %s, fence = %s, troubles = %s", (GIVEN_BACK_MAX - 1,) * 3
        )
    aside, began = SetAside(Health("w1"), noun="run"), time.monotonic()
    loop = bench.loop("w1", data_plane=Opening(bench, _raising(errors.KEYS_UNREACHABLE)), set_aside=aside)
    await loop.start()
    try:
        await eventually(aside.ids)
        await eventually(lambda: _state_of(bench, "waiting"))
        (each,) = aside._aside.values()
        assert each.until >= began + min(PAUSE_SECONDS * 2.0 ** (GIVEN_BACK_MAX - 1), PAUSE_SECONDS_MAX)
        aside._aside.clear()
        await eventually(lambda: _has_ended(bench, "run-1"))
    finally:
        await loop.stop()
    *before, failed = await bench.told("run-1")
    assert isinstance(failed, BackupFailed)
    assert failed.code == "keys-unreachable"
    assert len(before) == 4


async def test_stop_gives_back_a_run_that_waits_for_the_record(bench: ExecutorBench) -> None:
    """A run that can only wait looks at the stop, too."""
    loop = bench.loop("w1", data_plane=Opening(bench, lambda: None), runs=_AwayRuns(bench))
    await bench.request("run-1")
    await loop.start()
    await eventually(lambda: _state_of(bench, "running"))
    await asyncio.wait_for(loop.stop(), 15)
    assert await _state_of(bench, "waiting")


class _AwayRuns:
    """A record that is away."""

    def __init__(self, bench: ExecutorBench) -> None:
        self._bench = bench

    async def load(self, _run_id: str) -> None:
        raise PlatformError(errors.UNAVAILABLE, "postgres did not answer")

    async def at_hand(self, claim: Claim) -> None:
        await self.load(claim.work_id)


async def _state_of(bench: ExecutorBench, state: str) -> bool:
    async with bench.pool.connection() as connection:
        row = await (await connection.execute("SELECT state FROM run_claims WHERE run_id = 'run-1'")).fetchone()
    return row is not None and row[0] == state


async def test_as_many_runs_are_performed_at_once_as_there_are_slots(bench: ExecutorBench) -> None:
    """A dozen runs meet in the middle of their copies, on however few processors."""
    slots = 12
    connections: list[int] = []

    def count() -> None:
        with psycopg.connect(bench.pool.conninfo) as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()"
            connections.extend(number for (number,) in connection.execute(query))

    meeting = threading.Barrier(slots, action=count)
    for number in range(slots):
        await bench.configure(configuration_id=f"c{number}", local=Destination(location="local"))
        await bench.request(f"run-{number}", configuration_id=f"c{number}")
    loop = bench.loop("w1", slots=slots, data_plane=Meanwhile(bench, lambda: meeting.wait(60) and None))
    await loop.start()
    for number in range(slots):
        await eventually(lambda number=number: _has_ended(bench, f"run-{number}"))  # type: ignore[misc]
        assert (await bench.names(f"run-{number}"))[-1] == "backup-completed"
    await loop.stop()
    assert connections[0] <= WORKER_CONNECTIONS_MAX, "however many slots"


async def _failure(bench: ExecutorBench, run_id: str) -> tuple[BackupFailed, dict[str, object]]:
    failed = (await bench.told(run_id))[-1]
    assert isinstance(failed, BackupFailed)
    async with bench.pool.connection() as connection:
        row = await (await connection.execute("SELECT digest, body FROM run_reports")).fetchone()
    assert row is not None
    assert row[0] == failed.report_digest
    report = bench.sealer.open(ORGANISATION, REPORT_FIELD, msgspec.json.decode(bytes(row[1]), type=Sealed))
    return failed, msgspec.json.decode(report)["failure"]


async def test_run_that_breaks_off_ends_with_its_cause_under_seal(bench: ExecutorBench) -> None:
    """It does not cost five more workers their time, and what it was is not lost."""

    def happens() -> None:
        raise RuntimeError("nobody foresaw this")

    await bench.request("run-1")
    await perform_next(bench, data_plane=Opening(bench, happens))
    failed, failure = await _failure(bench, "run-1")
    assert failed.code == "internal"
    assert "RuntimeError" in str(failure["cause"])
    assert failure["sourceLocation"] == "photos"


async def test_failure_by_a_setting_names_it_under_seal_alone(bench: ExecutorBench) -> None:
    """Whoever may see the run learns what to do; settings and paths are the operator's."""

    def happens() -> None:
        raise PlatformError(
            errors.INVALID_SETTING,
            "the credentials /srv/keys/cloud.json cannot be read",
            field="WEDSYNC_KEYS_DIR",
            hint="Put a JSON file into WEDSYNC_KEYS_DIR.",
            tier=Tier.LOCAL,
        )

    await bench.request("run-1")
    await perform_next(bench, data_plane=Opening(bench, happens))
    failed, failure = await _failure(bench, "run-1")
    assert (failed.code, failed.tier) == ("location-unusable", Tier.LOCAL)
    assert "WEDSYNC" not in failed.hint
    assert "/srv" not in failed.hint
    assert "/srv/keys/cloud.json" in str(failure["reason"])
    assert failure["tierLocation"] == "local"
