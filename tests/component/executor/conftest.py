"""What the tests of the executor share: one configuration of one tier, and one run of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.configuration import Destination
from tests.support.executor import ExecutorBench, executor_bench
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer


@pytest.fixture
async def configured_bench(
    tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer
) -> AsyncIterator[ExecutorBench]:
    """A bench with a file in its source and a configuration; nothing was asked for."""
    async with executor_bench(tmp_path, postgres, nats_server) as bench:
        (bench.source / "contract.txt").write_text("between A and B " * 1000)
        await bench.configure(local=Destination(location="local"))
        yield bench


@pytest.fixture
async def bench(configured_bench: ExecutorBench) -> ExecutorBench:
    """The same, with an accepted run `run-1`."""
    await configured_bench.request("run-1")
    return configured_bench
