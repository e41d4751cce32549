"""A gateway for each test, on servers that it may do with what it likes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.gateway import RunningGateway, running_gateway
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer


@pytest.fixture
async def gateway(tmp_path: Path, postgres: PostgresServer, own_nats: NatsServer) -> AsyncIterator[RunningGateway]:
    """A gateway that serves; requests are answered by stand-ins for their owners."""
    async with running_gateway(tmp_path, postgres, own_nats, answer_wait_seconds=2.5) as running:
        yield running
