"""Claims of runs, and being alone with a repository: on real Postgres, whatever restarts and hangs meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import LiteralString

import pytest
from psycopg.conninfo import make_conninfo

from chassis.postgres import open_pool
from contracts.configuration import Destination
from contracts.executor_events import BackupFailed
from services.executor.adapters.tables import ClaimTable
from services.executor.policies import ATTEMPTS_BEFORE_FAILURE
from tests.support.eventually import eventually
from tests.support.executor import ORGANISATION, ExecutorBench, executor_bench
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer

pytestmark = pytest.mark.stack


@pytest.fixture
async def bench(tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer) -> AsyncIterator[ExecutorBench]:
    async with executor_bench(tmp_path, postgres, nats_server) as bench:
        (bench.source / "contract.txt").write_text("between A and B " * 1000)
        await bench.configure(local=Destination(location="local"))
        await bench.request("run-1")
        yield bench


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


async def test_run_that_is_given_back_again_and_again_is_not_abandoned(bench: ExecutorBench) -> None:
    """Restarts of workers and outages, however many, are no fault of the run."""
    for _ in range(ATTEMPTS_BEFORE_FAILURE + 1):
        claim = await bench.claims.take("restarted")
        assert claim is not None
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
    """What cannot be performed at all falls silent; the only slot is there for the next run."""
    async with bench.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO run_claims (run_id, organisation, correlation_id, asked_at)"
            " VALUES ('nowhere', %s, 'c', now() - interval '1 day')",
            (ORGANISATION,),
        )
    loop = bench.loop("w1")
    await loop.start()
    await eventually(lambda: _has_ended(bench), within=10)
    await loop.stop()


async def test_runs_are_not_taken_over_because_postgres_was_away(bench: ExecutorBench) -> None:
    """While the database has been back for a shorter time than a worker may be silent, silence says nothing."""
    assert await bench.claims.take("w1") is not None
    await _change_claims(bench, "heartbeat_at = now() - interval '100 years'")
    ten_years = 10 * 365 * 86400.0
    assert await ClaimTable(bench.pool, silence_seconds=ten_years).take("w2") is None
    await eventually(lambda: bench.claims.take("w2"))


async def test_repository_may_take_longer_to_open_than_a_transaction_may_be_idle(bench: ExecutorBench) -> None:
    """Who opens a repository is alone with it to the end, and who waits for that is not turned away."""
    dsn = make_conninfo(
        bench.pool.conninfo, options="-c idle_in_transaction_session_timeout=200ms -c lock_timeout=200ms"
    )
    async with bench.pool.connection() as connection:
        ((schema,),) = await (await connection.execute("SELECT current_schema()")).fetchall()
    pool = open_pool(dsn, schema, name="impatient", max_size=2)
    await pool.open()
    claims = ClaimTable(pool)
    entered = asyncio.Event()

    async def wait_for_it() -> None:
        async with claims.alone_with_repository(ORGANISATION):
            entered.set()

    try:
        async with claims.alone_with_repository(ORGANISATION):
            waiting = asyncio.create_task(wait_for_it())
            await asyncio.wait({waiting}, timeout=1.0)
            assert not waiting.done()
            assert not entered.is_set()
        await asyncio.wait_for(waiting, 5)
        assert entered.is_set()
    finally:
        await pool.close()


async def _has_ended(bench: ExecutorBench) -> bool:
    return (await bench.names("run-1"))[-1] == "backup-completed"
