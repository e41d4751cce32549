"""Claims of runs, on real Postgres, whatever restarts, is full or away meanwhile."""

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import LiteralString

import psycopg
import pytest

from chassis.claims.performance import ATTEMPTS_BEFORE_FAILURE
from chassis.claims.table import ClaimTable
from chassis.clock import SystemClock
from chassis.postgres.database import open_pool
from chassis.record.eventstore import EventStore
from contracts import errors
from contracts.configuration import Destination
from contracts.errors import PlatformError
from contracts.executor_events import BackupFailed
from services.executor.adapters.runs import RUNS
from services.executor.adapters.schema import STATEMENTS
from services.executor.bootstrap import WORKER_CONNECTIONS_MAX
from tests.support.eventually import eventually
from tests.support.executor import ORGANISATION, SILENCE_SECONDS, ExecutorBench
from tests.support.postgres_server import FAST, PostgresServer, SchemaAccess, running_postgres

pytestmark = pytest.mark.stack


async def _perform_next(bench: ExecutorBench) -> None:
    claim = await eventually(lambda: bench.claims.take("w1"))
    assert claim is not None
    await bench.performance().perform(claim, lambda: False)


async def _change_claims(bench: ExecutorBench, change: LiteralString) -> None:
    async with bench.pool.connection() as connection:
        await connection.execute("UPDATE run_claims SET " + change)


async def test_run_that_kills_its_workers_is_failed_in_the_end(bench: ExecutorBench) -> None:
    """A run does not go round for ever."""
    for _ in range(ATTEMPTS_BEFORE_FAILURE):
        await eventually(lambda: bench.claims.take("mortal"))
        await _change_claims(bench, "heartbeat_at = now() - interval '1 hour'")
    await _perform_next(bench)
    failed = (await bench.told("run-1"))[-1]
    assert isinstance(failed, BackupFailed)
    assert failed.code == "run-abandoned"


@pytest.mark.parametrize("body", [b"{", b'{"name": 3}', b"\xff"])
async def test_run_whose_kept_configuration_cannot_be_read_ends_and_keeps_nobody_waiting(
    bench: ExecutorBench, body: bytes
) -> None:
    """It is claimed once, fails with a code, and the organisation's next run is performed."""
    async with bench.pool.connection() as connection:
        await connection.execute("UPDATE run_claims SET configuration = %s", (body,))
    await _perform_next(bench)
    failed = (await bench.told("run-1"))[-1]
    assert isinstance(failed, BackupFailed)
    assert failed.code == "configuration-unreadable"
    await bench.request("run-2")
    await _perform_next(bench)
    assert (await bench.names("run-2"))[-1] == "backup-completed"


async def test_run_that_is_given_back_again_and_again_is_not_abandoned(bench: ExecutorBench) -> None:
    """Restarts of workers and outages, however many, are no fault of the run."""
    for _ in range(ATTEMPTS_BEFORE_FAILURE + 1):
        claim = await bench.claims.take("restarted")
        assert claim is not None
        # Nor does a stop count as trouble, after twelve of which what keeps it from being done ends the run.
        assert (claim.silenced, claim.troubles) == (0, 0)
        await bench.claims.release(claim)
    claim = await bench.claims.take("troubled")
    assert claim is not None
    await bench.claims.release(claim, in_trouble=True)
    claim = await bench.claims.take("next")
    assert claim is not None
    assert (claim.silenced, claim.troubles) == (0, 1)
    await bench.claims.release(claim)
    await _perform_next(bench)
    assert (await bench.names("run-1"))[-1] == "backup-completed"


async def test_claim_of_a_run_that_has_ended_is_closed(bench: ExecutorBench) -> None:
    """A claim that says otherwise than the record is put right, instead of going round for ever."""
    await _perform_next(bench)
    told = await bench.names("run-1")
    await _change_claims(bench, "state = 'waiting'")
    await _perform_next(bench)
    assert await bench.claims.take("w2") is None
    assert await bench.names("run-1") == told


async def test_claim_without_a_run_keeps_no_other_run_waiting(bench: ExecutorBench) -> None:
    """What cannot be performed at all is closed; the only slot is there for the next run of the organisation."""
    async with bench.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO run_claims (run_id, organisation, correlation_id, asked_at)"
            " VALUES ('nowhere', %s, 'c', now() - interval '1 day')",
            (ORGANISATION,),
        )
    loop = bench.loop("w1")
    await loop.start()
    await eventually(lambda: _has_ended(bench))
    await loop.stop()
    assert await bench.claims.take("w2") is None


async def test_runs_are_not_taken_over_because_postgres_was_away(bench: ExecutorBench) -> None:
    """Who could not ask all the time while a worker was silent does not take it for dead."""
    assert await bench.claims.take("w1") is not None
    await _change_claims(bench, "heartbeat_at = now() - interval '100 years'")
    newcomer = ClaimTable(RUNS, bench.pool, bench.beats, silence_seconds=SILENCE_SECONDS)
    assert await newcomer.take("w2") is None
    claim = await eventually(lambda: newcomer.take("w2"))
    assert claim is not None
    await _change_claims(bench, "heartbeat_at = now() - interval '100 years'")
    with pytest.raises(psycopg.Error):
        await newcomer.take("what Postgres refuses \0")
    assert await newcomer.take("w2") is None, "what lay before the failure counts no more"
    assert await eventually(lambda: newcomer.take("w2"))


async def test_workers_are_not_dead_while_no_connection_is_to_be_had() -> None:
    """A worker whose connection broke and is refused anew lives, and cannot say so."""
    with running_postgres(settings=(*FAST, "max_connections=16")) as server:
        access, others_access = server.fresh(statements=STATEMENTS, prefix="executor"), server.fresh()
        async with AsyncExitStack() as stack:
            pool = open_pool(access.dsn, access.schema, name="judge", max_size=1)
            await pool.open(wait=True)
            stack.push_async_callback(pool.close)
            claims = ClaimTable(RUNS, pool, pool, silence_seconds=0.2)
            async with pool.connection() as connection:
                await connection.execute(
                    "INSERT INTO run_claims (run_id, organisation, correlation_id, state, fence, heartbeat_at)"
                    " VALUES ('run-1', 'org-a', 'c', 'running', 1, now() - interval '1 hour')"
                )
            async with AsyncExitStack() as others:
                with suppress(psycopg.OperationalError):
                    for _ in range(16):
                        other = await psycopg.AsyncConnection.connect(others_access.dsn)
                        others.push_async_callback(other.close)
                began = time.monotonic()
                while time.monotonic() < began + 1.0:
                    assert await claims.take("judge") is None
                await _refused(access, "postgres has 0 connections left, and this process takes up to 6")
            async with AsyncExitStack() as others:
                for _ in range(9):
                    other = await psycopg.AsyncConnection.connect(others_access.dsn)
                    others.push_async_callback(other.close)
                await _refused(access, "postgres has 3 connections left, and this process takes up to 6")
            assert await eventually(lambda: claims.take("judge"))


async def _refused(access: SchemaAccess, why: str) -> None:
    """A worker more would take the connections that the others need to say that they live: it does not start."""
    store = EventStore(dsn=access.dsn, schema=access.schema, service="executor", connections=WORKER_CONNECTIONS_MAX)
    try:
        with pytest.raises(PlatformError, match=why) as refused:
            await store.start()
    finally:
        await store.stop()
    assert refused.value.code is errors.UNAVAILABLE
    assert "max_connections" in refused.value.hint


async def test_worker_without_a_free_slot_goes_on_watching(bench: ExecutorBench) -> None:
    """Its heartbeats look as well, so that a dead worker's run is found as soon as a slot is free."""
    await bench.configure(configuration_id="other", local=Destination(location="local"))
    await bench.request("run-2", configuration_id="other")
    busy = ClaimTable(RUNS, bench.pool, bench.beats, silence_seconds=SILENCE_SECONDS, gap_seconds=SILENCE_SECONDS / 2)
    own = await busy.take("w1")
    assert own is not None
    assert await busy.opened(own)
    assert await bench.claims.take("dead") is not None

    async def looks_after_a_long_run() -> object:
        began = time.monotonic()
        while time.monotonic() < began + 2 * SILENCE_SECONDS:
            assert await busy.beat([own]) == {own.work_id}
        return await busy.take("w1")

    # A machine that stands still for longer than the gap makes it watch anew, rightly.
    assert await eventually(looks_after_a_long_run)


async def test_one_run_of_an_organisation_opens_the_repository_at_a_time(bench: ExecutorBench) -> None:
    """Nobody claims a run only to wait: what would have to wait is left in the queue, where it says so."""
    await bench.configure(configuration_id="other", local=Destination(location="local"))
    await bench.request("run-2", configuration_id="other")
    first = await bench.claims.take("w1")
    assert first is not None
    assert await bench.claims.take("w2") is None
    assert await bench.names("run-2") == ["backup-accepted"]
    assert await bench.claims.opened(first)
    second = await bench.claims.take("w2")
    assert second is not None
    assert second.work_id == "run-2"
    async with bench.pool.connection() as connection:
        with pytest.raises(psycopg.errors.UniqueViolation):
            await connection.execute("UPDATE run_claims SET opening = true WHERE run_id = 'run-1'")


async def test_workers_that_take_at_one_instant_open_one_repository(bench: ExecutorBench) -> None:
    """Eight workers and eight runs of one organisation: one is claimed, and the others find nothing."""
    for number in range(2, 9):
        await bench.configure(configuration_id=f"c{number}", local=Destination(location="local"))
        await bench.request(f"run-{number}", configuration_id=f"c{number}")
    workers = [ClaimTable(RUNS, bench.pool, bench.beats) for _ in range(8)]
    found = await asyncio.gather(*(each.take(f"w{number}") for number, each in enumerate(workers)))
    assert len([claim for claim in found if claim is not None]) == 1


async def _has_ended(bench: ExecutorBench) -> bool:
    return (await bench.names("run-1"))[-1] == "backup-completed"


def test_table_has_all_that_the_claims_of_any_work_have(postgres: PostgresServer) -> None:
    """It grew step by step, before there was a room for claims: its columns and rules are the room's, and more."""

    def shape(claims: str, statements: tuple[LiteralString, ...]) -> set[tuple[object, ...]]:
        access = postgres.fresh(statements=statements)
        with psycopg.connect(access.admin_dsn) as database:
            where = (access.schema, claims)
            columns = database.execute(
                "SELECT column_name, data_type, is_nullable, column_default FROM information_schema.columns"
                " WHERE table_schema = %s AND table_name = %s",
                where,
            ).fetchall()
            indexes = database.execute(
                "SELECT substr(indexdef, strpos(indexdef, ' USING')), indexdef LIKE 'CREATE UNIQUE%%' FROM pg_indexes"
                " WHERE schemaname = %s AND tablename = %s",
                where,
            ).fetchall()
        postgres.drop(access)
        return {*columns, *indexes}

    assert shape(RUNS.claims, (*RUNS.schema(), *RUNS.later_schema())) <= shape(RUNS.claims, STATEMENTS)


async def test_clock_of_the_database_that_is_put_back_strands_no_work(bench: ExecutorBench) -> None:
    """What a worker that has died wrote before lies ahead of the clock by then, and keeps nobody from its run."""
    assert await bench.claims.take("dead") is not None
    await _change_claims(bench, "heartbeat_at = heartbeat_at + interval '1 hour'")
    claim = await eventually(lambda: bench.claims.take("w2"))
    assert (claim.work_id, claim.fence) == ("run-1", 2)


async def test_watching_begins_anew_where_the_clock_of_the_database_is_put_back(bench: ExecutorBench) -> None:
    """What it began by lies ahead of the clock by then."""
    assert await bench.claims.take("dead") is not None
    bench.claims._since = bench.claims._looked_at = SystemClock().now() + timedelta(hours=1)
    claim = await eventually(lambda: bench.claims.take("w2"))
    assert claim.fence == 2


async def test_turns_go_on_where_the_clock_of_the_database_is_put_back(bench: ExecutorBench) -> None:
    """Who was served before is not passed over for as long as the clock was put back."""
    ahead = "INSERT INTO organisation_turns (organisation, served_at) VALUES ('other', now() + interval '1 hour')"
    async with bench.pool.connection() as connection:
        await connection.execute(ahead)
    assert await bench.claims.take("w1") is not None
    async with bench.pool.connection() as connection:
        turns = await connection.execute("SELECT organisation FROM organisation_turns ORDER BY served_at")
        assert await turns.fetchall() == [("other",), (ORGANISATION,)]
