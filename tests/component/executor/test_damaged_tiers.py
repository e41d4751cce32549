"""Tiers whose packs are damaged: told by every run until the very pack was read whole, whatever a sample meets."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chassis.ids import new_id
from contracts.configuration import Destination
from contracts.executor_events import BackupCompleted, BackupFailed
from tests.component.executor.test_runs import perform_next
from tests.support.executor import ExecutorBench, executor_bench
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

RUNS = 12


@pytest.fixture
async def bench(tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer) -> AsyncIterator[ExecutorBench]:
    async with executor_bench(tmp_path, postgres, nats_server) as bench:
        (bench.source / "photo").write_bytes(os.urandom(100_000))
        await bench.configure(local=Destination(location="local", required=True))
        yield bench


async def _code(bench: ExecutorBench) -> str | None:
    """The code that a run of something new failed with."""
    run = new_id()
    (bench.source / "changing").write_bytes(os.urandom(1000))
    await bench.request(run)
    await perform_next(bench)
    last = (await bench.told(run))[-1]
    assert isinstance(last, BackupCompleted | BackupFailed)
    return last.code if isinstance(last, BackupFailed) else None


async def test_pack_that_was_found_damaged_is_read_by_every_run_until_it_is_whole(bench: ExecutorBench) -> None:
    """Of many packs a run reads two: without a memory the next one would most likely say that all is well."""
    for _ in range(RUNS):
        assert await _code(bench) is None
    pack = max((bench.tier("local") / "packs").glob("*/*"), key=lambda path: path.stat().st_size)
    body = pack.read_bytes()
    pack.chmod(0o600)
    # By its size it shows at once, whichever packs are read.
    pack.write_bytes(b"")
    assert await _code(bench) == "verification-failed"
    # By its size it is whole again, and by its bytes it is not.
    pack.write_bytes(bytes(len(body)))
    for _ in range(3):
        assert await _code(bench) == "verification-failed"
    pack.write_bytes(body)
    assert await _code(bench) is None
    async with bench.pool.connection() as connection:
        (row,) = await (await connection.execute("SELECT damaged_packs FROM begun_repositories")).fetchall()
    assert row == (b"",)
