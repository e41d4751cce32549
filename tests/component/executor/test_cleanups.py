"""Cleanups over real repositories: what goes by a policy, what protects, and what a crash at any step leaves."""

import shutil
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chassis.claims.progress import NatsProgress
from chassis.claims.table import ClaimTable
from chassis.clock import SystemClock
from chassis.ids import new_id
from chassis.life.health import Health, HealthServer, answer
from chassis.life.standstills import Standstills
from chassis.telemetry.instruments import Telemetry
from chassis.timers.table import TimerTable
from contracts import errors
from contracts.cleanup_events import (
    RecoveryPointsForgotten,
    RetentionCleanedUp,
    RetentionCleanupAccepted,
    RetentionCleanupFailed,
    RetentionCleanupRefused,
)
from contracts.config_events import RetentionPolicyCreated
from contracts.configuration import Destination
from contracts.gateway_events import Evidence, RetentionCleanupRequested, SeenVersion
from contracts.recovery_events import RecoveryAccepted, RecoveryCancelled
from contracts.retention import RetentionPolicyBody
from contracts.samples import sample_event
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.retention.orders import forget, place_hold
from repository.retention.pins import pinned
from repository.tiers.folder.store import DirectoryObjectStore
from repository.tiers.location import open_tier
from services.executor.adapters.begun import BegunRepositories
from services.executor.adapters.cleanup_plane import RepositoryCleanups
from services.executor.adapters.cleanups import CLEANUPS, RecordedCleanups, ScheduledCleanups
from services.executor.adapters.overdue import OverdueFigures
from services.executor.adapters.points import SCHEDULED, SCHEMA, KnownToTheRecord
from services.executor.errors import ConfigurationNotSeenYet
from services.executor.retention.performance import CleanupPerformance
from tests.component.executor.test_runs import perform_next
from tests.support.alerts import firing
from tests.support.executor import CONFIGURATION, ORGANISATION, SILENCE_SECONDS, ExecutorBench, executor_bench
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer
from tests.support.promql import Scrapes

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

PROVEN = Evidence(assurance="aal2", second_factor=True)
BOTH: dict[str, Any] = {"local": Destination(location="local"), "cloud_primary": Destination(location="second")}


class Died(BaseException):
    """What is raised where a worker is killed: nothing of it is recorded."""


@pytest.fixture
async def bench(tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer) -> AsyncIterator[ExecutorBench]:
    """Three points of a configuration that keeps the last one, on two tiers; each has a file of its own."""
    async with executor_bench(tmp_path, postgres, nats_server) as bench:
        await _policy(bench, keep_last=1)
        await bench.configure(retention_policy_id="policy", **BOTH)
        for run in ("run-1", "run-2", "run-3"):
            await _back_up(bench, run)
        yield bench


async def _policy(bench: ExecutorBench, policy: str = "policy", version: int = 1, **rules: Any) -> None:
    body = RetentionPolicyBody(name=bench.sealer.seal(ORGANISATION, "retention-policy.name", "p"), **rules)
    made = RetentionPolicyCreated(request_id=new_id(), retention_policy_id=policy, version=version, body=body)
    await bench.hear(made)


async def _back_up(bench: ExecutorBench, run: str) -> None:
    for old in bench.source.iterdir():
        old.unlink()
    (bench.source / run).write_bytes(run.encode() * 50_000)
    await bench.request(run)
    await perform_next(bench)


async def _ask(bench: ExecutorBench, cleanup: str, *, evidence: Evidence = PROVEN, **said: Any) -> None:
    request = RetentionCleanupRequested(
        request_id=f"request of {cleanup}", cleanup_id=cleanup, evidence=evidence, **said
    )
    await bench.hear(request)


async def _clean(bench: ExecutorBench, cleanup: str, *, plane: Any = None, portion: int = 500, **said: Any) -> Any:
    """A cleanup from its request to its end; the end."""
    await _ask(bench, cleanup, **said)
    await _perform(bench, plane=plane, portion=portion)
    return (await bench.told(cleanup))[-1]


async def _perform(bench: ExecutorBench, *, plane: Any = None, portion: int = 500, worker: str = "w1") -> None:
    claims = ClaimTable(CLEANUPS, bench.pool, bench.beats, silence_seconds=SILENCE_SECONDS)
    claim = None
    while claim is None:  # A worker that died is taken for that after its silence.
        claim = await claims.take(worker)
    performance = CleanupPerformance(
        cleanups=RecordedCleanups(bench.store),
        knowing=KnownToTheRecord(bench.pool, bench.store),
        claims=claims,
        plane=plane or _plane(bench),
        progress=NatsProgress(bench.connection, "executor", SystemClock()),
        standstills=Standstills(Health("worker"), noun="cleanup"),
        clock=SystemClock(),
        portion=portion,
    )
    await performance.perform(claim, lambda: False)


def _plane(bench: ExecutorBench) -> RepositoryCleanups:
    return RepositoryCleanups(
        locations=bench.locations, sealer=bench.sealer, keys_dir=bench.keys, begun=BegunRepositories(bench.pool)
    )


def _opened(bench: ExecutorBench, *names: str) -> Repository:
    key = KeyFile.load(bench.keys / "repositories" / f"{ORGANISATION}.key")
    return Repository.open([open_tier(f"file://{bench.tier(name)}", name=name) for name in names], key)


def _snapshots(bench: ExecutorBench, name: str) -> int:
    with _opened(bench, name) as repository:
        return len(repository.snapshots(CONFIGURATION))


def _packs(bench: ExecutorBench, name: str) -> int:
    return sum(each.stat().st_size for each in (bench.tier(name) / "packs").rglob("*") if each.is_file())


async def _gone(bench: ExecutorBench) -> list[str]:
    async with bench.pool.connection() as connection:
        query = "SELECT recovery_point_id FROM recovery_points WHERE gone_at IS NOT NULL ORDER BY 1"
        return [each for (each,) in await (await connection.execute(query)).fetchall()]


async def test_what_no_rule_keeps_goes_from_every_tier_and_what_it_freed_is_measured(bench: ExecutorBench) -> None:
    """First told, then done, then nothing is left to be done."""
    before = _packs(bench, "second")
    told = await _clean(bench, "dry", dry_run=True)
    assert isinstance(told, RetentionCleanedUp)
    assert (told.gone, told.kept, told.places, told.dry_run) == (2, 1, (), True)
    assert [(each.recovery_point_id, each.rules) for each in told.going] == [
        ("run-2", ("not-kept",)),
        ("run-1", ("not-kept",)),
    ]
    assert (_snapshots(bench, "local"), await _gone(bench), _packs(bench, "second")) == (3, [], before)

    done = await _clean(bench, "first", portion=1)
    assert isinstance(done, RetentionCleanedUp)
    assert (done.gone, done.kept, done.degraded, done.is_partial_measure) == (2, 1, False, False)
    assert [event.NAME.split(".")[1] for event in await bench.told("first")] == [
        "retention-cleanup-accepted",
        "retention-cleanup-preparing",
        *["recovery-points-going", "recovery-points-forgotten"] * 2,
        "retention-cleaned-up",
    ]
    assert (_snapshots(bench, "local"), _snapshots(bench, "second"), await _gone(bench)) == (1, 1, ["run-1", "run-2"])
    assert {each.location: each.freed_bytes for each in done.places} == {
        "local": before - _packs(bench, "local"),
        "second": before - _packs(bench, "second"),
    }
    assert before > _packs(bench, "second") > 0

    again = await _clean(bench, "second")
    assert (again.gone, again.kept, [each.freed_bytes for each in again.places]) == (0, 1, [0, 0])
    await _back_up(bench, "run-4")  # Runs go on over what a cleanup has left.
    assert (await bench.names("run-4"))[-1] == "backup-completed"


async def test_policy_that_says_so_is_cleaned_up_by_itself_and_no_other_one(
    bench: ExecutorBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its days, one cleanup after the other where there are many configurations, and beside none."""
    monkeypatch.setattr("services.executor.adapters.cleanups.CONFIGURATIONS_AT_ONCE", 1)
    scheduled = ScheduledCleanups(bench.store, KnownToTheRecord(bench.pool, bench.store))

    async def fired() -> tuple[float, str] | None:
        """Have the timer fire, as if its time had come: in how many days it is due again, and behind what."""
        async with bench.pool.connection() as connection:
            await connection.execute("UPDATE timers SET due_at = now(), held_until = NULL")
        timer = await TimerTable(bench.pool).take([SCHEDULED])
        if timer is not None:
            await scheduled.begin(timer)
        return await due()

    async def due() -> tuple[float, str] | None:
        async with bench.pool.connection() as connection:
            found = await connection.execute("SELECT due_at - now(), body FROM timers WHERE kind = %s", (SCHEDULED,))
            row = await found.fetchone()
        return None if row is None else (round(row[0] / timedelta(days=1), 2), bytes(row[1]).decode())

    async def open_cleanups() -> list[str]:
        async with bench.pool.connection() as connection:
            found = await connection.execute("SELECT id FROM cleanup_claims WHERE state <> 'done'")
            return [each for (each,) in await found.fetchall()]

    assert await due() is None  # Its policy does not say so.
    await _policy(bench, policy="daily", keep_last=1, cleanup_days=2)
    assert await due() == (2.0, "")
    assert (await fired(), await open_cleanups()) == ((2.0, ""), [])  # Nothing names it yet.
    await bench.configure(version=2, retention_policy_id="daily", **BOTH)
    await bench.configure(configuration_id="another", retention_policy_id="daily", **BOTH)
    await bench.configure(configuration_id="other", retention_policy_id="policy", **BOTH)
    assert await fired() == (0.0, "another")
    (first,) = await open_cleanups()
    assert await fired() == (0.0, "another")  # That one has not ended.
    await _perform(bench)
    assert await fired() == (0.0, CONFIGURATION)
    (second,) = await open_cleanups()
    await _perform(bench)
    accepted = [(await bench.told(each))[0] for each in (first, second)]
    assert [event.configuration_ids for event in accepted if isinstance(event, RetentionCleanupAccepted)] == [
        ("another",),
        (CONFIGURATION,),
    ]
    done = (await bench.told(second))[-1]
    assert isinstance(done, RetentionCleanedUp)
    assert (done.gone, await _gone(bench)) == (2, ["run-1", "run-2"])
    assert (await fired(), await open_cleanups()) == ((2.0, ""), [])

    async with bench.pool.connection() as connection:
        ((kept,),) = await (
            await connection.execute("SELECT body FROM retention_policy_replicas WHERE retention_policy_id = 'policy'")
        ).fetchall()
    assert b"cleanupDays" not in bytes(kept)  # What an older build does not know it is not given.
    await _policy(bench, policy="daily", version=2, keep_last=1)
    assert await fired() is None


async def test_points_of_runs_that_ended_before_there_was_a_plan_are_taken_from_the_record(
    bench: ExecutorBench,
) -> None:
    """An upgraded home has all of its points, as its runs have made them."""
    query = (
        "SELECT recovery_point_id, organisation, configuration_id, snapshot_id, is_proven, gone_at FROM recovery_points"
    )
    async with bench.pool.connection() as connection:
        before = sorted(await (await connection.execute(query)).fetchall())
        await connection.execute("DELETE FROM recovery_points")
        (filled,) = (statement for statement in SCHEMA if "stored_events" in statement)
        await connection.execute(filled)
        assert sorted(await (await connection.execute(query)).fetchall()) == before
        assert [is_proven for *_, is_proven, _ in before] == [True] * 3


async def test_what_is_held_or_read_stays_and_what_somebody_forgot_is_told(bench: ExecutorBench) -> None:
    """Holds and pins of the command line count; so does `repo forget`."""
    with _opened(bench, "local", "second") as repository:
        by_token = {each.manifest.run_token: each for each in repository.snapshots(CONFIGURATION)}
        place_hold(repository, "court", [by_token["run-1"].id])
        with pinned(repository, "a restore", [by_token["run-2"].id]):
            stayed = await _clean(bench, "first")
            assert (stayed.gone, stayed.kept) == (0, 3)
    reads = msgspec.structs.replace(sample_event(RecoveryAccepted), recovery_point_id="run-2", operation_id="op-1")
    over = msgspec.structs.replace(sample_event(RecoveryCancelled), operation_id="op-1")
    await bench.hear(msgspec.structs.replace(over, operation_id="op-2"))  # Told before it was said to begin.
    await bench.hear(msgspec.structs.replace(reads, operation_id="op-2"))
    await bench.hear(reads)
    await bench.hear(over, organisation="org-b")
    stayed = await _clean(bench, "reading")
    assert (stayed.gone, stayed.kept) == (0, 3)
    await bench.hear(over)
    with _opened(bench, "local", "second") as repository:
        forget(repository, [by_token["run-2"].id])
    done = await _clean(bench, "second")
    assert (done.gone, done.kept) == (1, 2)
    told = [event for event in await bench.told("second") if isinstance(event, RecoveryPointsForgotten)]
    assert [(each.recovery_point_id, each.rules) for event in told for each in event.points] == [
        ("run-2", ("forgotten-elsewhere",))
    ]


async def test_a_tier_that_is_away_is_told_as_not_cleaned_and_follows_when_it_is_back(bench: ExecutorBench) -> None:
    """It comes back with everything, and nothing of that is a point again."""
    shutil.move(bench.tier("second"), bench.home / "away")
    # What it has locked nobody can ask it: it is taken to be what the configuration asks for.
    locking = {**BOTH, "cloud_primary": Destination(location="second", lock_days=30)}
    await bench.configure(version=2, retention_policy_id="policy", **locking)
    waiting = await _clean(bench, "waiting")
    assert (waiting.gone, waiting.kept, waiting.waiting, _snapshots(bench, "local")) == (0, 1, 2, 3)
    await bench.configure(version=3, retention_policy_id="policy", **BOTH)
    dry = await _clean(bench, "dry", dry_run=True)
    assert (dry.gone, dry.degraded) == (2, True)
    assert [(each.location, each.code) for each in dry.places] == [("second", errors.TIER_VANISHED.code)]
    done = await _clean(bench, "first")
    assert (done.gone, done.degraded) == (2, True)
    assert {each.location: (each.code, bool(each.freed_bytes)) for each in done.places} == {
        "local": (None, True),
        "second": (errors.TIER_VANISHED.code, False),
    }
    shutil.move(bench.home / "away", bench.tier("second"))
    assert _snapshots(bench, "second") == 3
    back = await _clean(bench, "second")
    assert (back.gone, back.degraded, [bool(each.freed_bytes) for each in back.places]) == (0, False, [False, True])
    assert _snapshots(bench, "second") == 1


@pytest.mark.parametrize("step", ["before forgetting", "after forgetting", "before pruning", "after pruning"])
async def test_killed_at_any_step_the_next_worker_goes_on_and_says_why_each_went(
    bench: ExecutorBench, step: str
) -> None:
    plane = _plane(bench)
    await _ask(bench, "killed")
    with pytest.raises(Died):
        await _perform(bench, plane=_Dying(plane, step), portion=1)
    await _perform(bench, plane=plane, worker="w2")
    told = await bench.told("killed")
    done = told[-1]
    assert isinstance(done, RetentionCleanedUp)
    assert (done.gone, done.kept, done.is_partial_measure) == (2, 1, True)
    forgotten = [each for event in told if isinstance(event, RecoveryPointsForgotten) for each in event.points]
    assert sorted((each.recovery_point_id, each.rules) for each in forgotten) == [
        ("run-1", ("not-kept",)),
        ("run-2", ("not-kept",)),
    ]
    assert (_snapshots(bench, "local"), await _gone(bench)) == (1, ["run-1", "run-2"])
    with _opened(bench, "local") as repository:
        (left,) = repository.snapshots(CONFIGURATION)
        assert left.manifest.run_token == "run-3"  # an id


class _Dying:
    """A plane whose cleanup dies at a step."""

    def __init__(self, plane: RepositoryCleanups, step: str, why: Exception | None = None) -> None:
        self._plane = plane
        self._step = step
        self._why = why or Died()

    def open(self, *arguments: Any) -> Any:
        """Open the real one, to die."""
        opened: Any = self._plane.open(*arguments)
        when, _, name = self._step.partition(" ")
        method = {"forgetting": "forget", "pruning": "prune"}[name]
        real: Callable[..., Any] = getattr(opened, method)

        def dying(*given: Any) -> Any:
            if when == "after":
                real(*given)
            raise self._why

        setattr(opened, method, dying)
        return opened


async def test_a_clock_that_jumped_lets_nothing_go_and_is_told(bench: ExecutorBench) -> None:
    """A point of tomorrow, of whichever configuration: its clock was ahead, or ours is behind."""
    async with bench.pool.connection() as connection:
        ahead = "INSERT INTO recovery_points VALUES ('other', %s, 'other', 'snapshot', now() + interval '1 day', true)"
        await connection.execute(ahead, (ORGANISATION,))
    failed = await _clean(bench, "first", configuration_ids=(CONFIGURATION,))
    assert isinstance(failed, RetentionCleanupFailed)
    assert (failed.code, failed.gone, _snapshots(bench, "local")) == (errors.RETENTION_CLOCK_IN_DOUBT.code, 0, 3)


async def test_clock_of_a_tier_that_says_otherwise_lets_nothing_go(
    bench: ExecutorBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours, the database's and the tiers' have to agree before anything is judged to be old."""
    monkeypatch.setattr(DirectoryObjectStore, "now", lambda _: SystemClock().now() - timedelta(days=1))
    failed = await _clean(bench, "first")
    assert isinstance(failed, RetentionCleanupFailed)
    assert (failed.code, failed.gone, _snapshots(bench, "local")) == (errors.RETENTION_CLOCK_IN_DOUBT.code, 0, 3)


async def test_one_cleanup_at_a_time_with_a_second_factor_and_of_known_configurations(bench: ExecutorBench) -> None:
    await _ask(bench, "unproven", evidence=Evidence(assurance="aal1"))
    await _ask(bench, "open")
    await _ask(bench, "open")  # The same message once more.
    await _ask(bench, "second")
    for cleanup, code in (("unproven", errors.SECOND_FACTOR_NEEDED), ("second", errors.RETENTION_CLEANUP_OPEN)):
        (refused,) = await bench.told(cleanup)
        assert isinstance(refused, RetentionCleanupRefused)
        assert refused.code == code.code
    assert len(await bench.told("open")) == 1
    await _perform(bench)
    request = RetentionCleanupRequested(
        request_id="r", cleanup_id="strange", evidence=PROVEN, configuration_ids=(CONFIGURATION, "of-nobody")
    )
    await bench.hear(request, deliveries=8)
    (unknown,) = await bench.told("strange")
    assert isinstance(unknown, RetentionCleanupRefused)
    assert (unknown.code, unknown.field) == (errors.CONFIGURATION_UNKNOWN.code, "configurationIds[1]")
    # What was shown to be kept longer is let go by nothing older.
    newer = RetentionCleanupRequested(
        request_id="r", cleanup_id="newer", evidence=PROVEN, seen=(SeenVersion(id="policy", version=2),)
    )
    with pytest.raises(ConfigurationNotSeenYet):
        await bench.hear(newer, deliveries=1)
    await bench.hear(newer, deliveries=8)
    (behind,) = await bench.told("newer")
    assert isinstance(behind, RetentionCleanupRefused)
    assert (behind.code, "policy" in behind.hint) == (errors.CONCURRENT_CHANGE.code, True)
    of_another = msgspec.structs.replace(request, cleanup_id="another", configuration_ids=(CONFIGURATION,))
    await bench.hear(of_another, organisation="org-b", deliveries=8)
    (unknown,) = await bench.told("another")
    assert isinstance(unknown, RetentionCleanupRefused)


async def test_point_that_is_there_a_day_after_its_maximum_pages_somebody_until_it_is_gone(
    bench: ExecutorBench,
) -> None:
    """Also where nobody has asked for a cleanup; what was protected by nothing goes by the next."""
    telemetry, health, scrapes = Telemetry("executor"), Health("executor"), Scrapes()
    HealthServer(health, telemetry)
    telemetry.figures.add("overdue-points", OverdueFigures(bench.pool).read)

    async def scrape() -> bytes:
        _, _, body = await answer(health, telemetry, "/metrics")
        scrapes.add(SystemClock().now().timestamp(), {"executor": body.decode()})
        return body

    async with bench.pool.connection() as connection:
        await connection.execute(
            "UPDATE recovery_points SET at = at - interval '9 days 1 hour' WHERE recovery_point_id = 'run-1'"
        )
    assert b"wedsync_recovery_points_overdue 0.0" in await scrape()
    await _policy(bench, version=2, keep_last=2, maximum_days=9)
    assert b"wedsync_recovery_points_overdue 1.0" in await scrape()
    assert not firing(scrapes, "WedsyncPointsOverdue")
    assert firing(scrapes, "WedsyncPointsOverdue", in_seconds=86_400)
    assert (await _clean(bench, "first")).gone == 1
    assert b"wedsync_recovery_points_overdue 0.0" in await scrape()
    assert not firing(scrapes, "WedsyncPointsOverdue", in_seconds=86_400)
