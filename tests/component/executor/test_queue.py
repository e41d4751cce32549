"""What is taken on, and who comes next: one open run per configuration, organisations in turn, a bounded queue."""

import asyncio

import pytest

from chassis.claims.port import Claim, QueueLimits
from chassis.claims.table import ClaimTable
from chassis.claims.work import Bounds
from chassis.clock import SystemClock
from contracts.config_events import BackupFellDue
from contracts.configuration import Destination
from contracts.executor_events import BackupAccepted, BackupCompleted
from services.executor.adapters.runs import RUNS
from tests.component.executor.test_runs import perform_next
from tests.support.eventually import eventually
from tests.support.executor import ORGANISATION, SILENCE_SECONDS, ExecutorBench

pytestmark = pytest.mark.stack


@pytest.fixture
async def bench(configured_bench: ExecutorBench) -> ExecutorBench:
    return configured_bench


async def test_second_run_of_a_configuration_is_refused_while_the_first_is_open(bench: ExecutorBench) -> None:
    """The refusal names the open run; once that has ended the next is taken on."""
    await bench.request("run-1")
    await bench.request("run-2")
    refused = await bench.refusal("run-2")
    assert refused.code == "run-already-open"
    assert "/api/backup/executions/run-1 " in refused.hint
    await perform_next(bench)
    await bench.request("run-3")
    assert await bench.names("run-3") == ["backup-accepted"]


async def test_deciders_at_one_instant_take_one_run_on(bench: ExecutorBench) -> None:
    """The database sees to it, however many deciders there are."""
    runs = [f"run-{number}" for number in range(8)]
    await asyncio.gather(*(bench.request(run) for run in runs))
    told = [(await bench.names(run))[0] for run in runs]
    assert sorted(told) == ["backup-accepted", *["backup-refused"] * 7]
    (accepted,) = [run for run, name in zip(runs, told, strict=True) if name == "backup-accepted"]
    for run in runs:
        assert run == accepted or f"/{accepted} " in (await bench.refusal(run)).hint


async def test_same_request_by_another_message_is_not_refused(bench: ExecutorBench) -> None:
    """A replay finds its own run open, which is no objection to it."""
    await bench.request("run-1")
    await bench.request("run-1")
    assert await bench.names("run-1") == ["backup-accepted"]


@pytest.mark.parametrize(("per_organisation", "in_all"), [(1, 9), (9, 1)])
async def test_request_beyond_the_queue_is_refused(bench: ExecutorBench, per_organisation: int, in_all: int) -> None:
    """Before it is recorded as accepted; a run that a worker has taken makes room."""
    limits = QueueLimits(per_organisation=per_organisation, in_all=in_all)
    await bench.configure(configuration_id="other", local=Destination(location="local"))
    await bench.request("run-1", limits=limits)
    await bench.request("run-2", configuration_id="other", limits=limits)
    refused = await bench.refusal("run-2")
    assert refused.code == "queue-full"
    assert await bench.claims.take("w1") is not None
    await bench.request("run-3", configuration_id="other", limits=limits)
    assert await bench.names("run-3") == ["backup-accepted"]


async def _taken(bench: ExecutorBench, claims: ClaimTable | None = None) -> list[str]:
    """All runs in the order in which a worker takes them, who is heard meanwhile however slow the machine is."""
    claims = claims or bench.claims
    taken: list[Claim] = []
    while (claim := await claims.take("w1")) is not None:
        taken.append(claim)
        await claims.opened(claim)
        await claims.beat(taken)
    return [each.work_id for each in taken]


async def test_organisations_are_served_in_turn(bench: ExecutorBench) -> None:
    """Thirty runs of one organisation do not go before another's only one; each one's oldest comes first."""
    async with bench.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO run_claims (run_id, organisation, correlation_id, asked_at)"
            " SELECT 'a-' || lpad(n::text, 2, '0'), 'org-a', 'c', now() + n * interval '1 ms'"
            " FROM generate_series(1, 30) n UNION ALL SELECT 'b-1', 'org-b', 'c', now() + interval '1 hour'"
            " UNION ALL SELECT 'c-1', 'org-c', 'c', now() + interval '2 hours'"
        )
    assert await _taken(bench) == ["a-01", "b-1", "c-1", *[f"a-{number:02}" for number in range(2, 31)]]


async def test_run_of_a_near_wedding_goes_before_its_organisations_others_and_nobody_elses(
    bench: ExecutorBench,
) -> None:
    """As a schedule knows it, and for whoever asks for a run of a critical one himself."""
    for name in ("plain", "due", "critical"):
        await bench.configure(
            configuration_id=name, is_wedding_critical=name == "critical", local=Destination(location="local")
        )
    await bench.request("run-plain", configuration_id="plain")
    due = BackupFellDue(
        request_id="run-due",
        execution_id="run-due",
        configuration_id="due",
        configuration_version=1,
        due_at=SystemClock().now(),
        is_urgent=True,
    )
    await bench.hear(due)
    await bench.request("run-critical", configuration_id="critical")
    async with bench.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO run_claims (run_id, organisation, correlation_id, asked_at)"
            " VALUES ('other', 'org-b', 'c', now() + interval '1 hour')"
        )
    assert await _taken(bench) == ["run-due", "other", "run-critical", "run-plain"]


async def test_a_database_is_read_by_two_runs_at_a_time(bench: ExecutorBench) -> None:
    """Each takes several connections. What waits for that holds up no other run, and is taken when one is over."""
    local = Destination(location="local")
    for name in ("db-1", "db-2", "db-3"):
        await bench.configure(configuration_id=name, database="photos", local=local)
        await bench.request(f"run-{name}", configuration_id=name)
    await bench.configure(configuration_id="folder", local=local)
    await bench.request("run-folder", configuration_id="folder")
    assert await _taken(bench) == ["run-db-1", "run-db-2", "run-folder"]
    assert await bench.claims.close(
        Claim(work_id="run-db-1", organisation=ORGANISATION, correlation_id="", worker="w1", fence=1)
    )
    assert await _taken(bench) == ["run-db-3"]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (Bounds(per_organisation=2), ["run-1", "other", "run-2"]),
        (Bounds(per_kind={"source": 1}), ["run-1", "other", "run-elsewhere"]),
        (Bounds(per_kind={"tier": 2}), ["run-1", "other"]),
        (Bounds(), ["run-1", "other", "run-2", "run-elsewhere"]),
    ],
)
async def test_no_more_runs_than_may_be_are_performed_at_a_time(
    bench: ExecutorBench, bounds: Bounds, expected: list[str]
) -> None:
    """Of an organisation, at a source, at a tier; it holds up no others, and a dead worker's counts not."""
    local = Destination(location="local")
    await bench.configure(configuration_id="c1", local=local)
    await bench.configure(configuration_id="c2", local=local)
    for run, configuration in (("run-1", "c1"), ("run-2", "c2")):
        await bench.request(run, configuration_id=configuration)
    async with bench.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO run_claims (run_id, organisation, correlation_id, asked_at, places)"
            " VALUES ('other', 'org-b', 'c', now() + interval '1 hour', ARRAY['source:theirs', 'tier:local']),"
            " ('run-elsewhere', %s, 'c', now() + interval '1 minute', ARRAY['source:elsewhere', 'tier:local'])",
            (ORGANISATION,),
        )
    claims = ClaimTable(RUNS, bench.pool, bench.beats, bounds=bounds, silence_seconds=SILENCE_SECONDS)
    assert await _taken(bench, claims) == expected
    silent = await eventually(lambda: claims.take("w2"))
    assert silent is not None
    assert silent.work_id in expected, "whoever held it has fallen silent, and keeps nobody from it"


async def test_run_is_performed_by_the_version_that_was_accepted(bench: ExecutorBench) -> None:
    """What has changed since counts for the next run."""
    await bench.request("run-1")
    await bench.configure(version=2, local=Destination(location="second"))
    await perform_next(bench)
    accepted, *_, completed = await bench.told("run-1")
    assert isinstance(accepted, BackupAccepted)
    assert accepted.configuration_version == 1
    assert isinstance(completed, BackupCompleted)
    assert bench.tier("local").exists()
    assert not bench.tier("second").exists()
