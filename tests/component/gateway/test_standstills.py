"""What keeps the read models from going on is told for as long as it lasts, by every gateway that shows them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from chassis.postgres import connection_arguments
from tests.support.eventually import eventually
from tests.support.gateway import RunningGateway

pytestmark = pytest.mark.stack


@asynccontextmanager
async def _database(gateway: RunningGateway) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    arguments = connection_arguments(gateway.access.dsn, gateway.access.schema)
    async with await psycopg.AsyncConnection.connect(gateway.access.dsn, **arguments) as database:
        yield database


def _part(gateway: RunningGateway, name: str) -> Any:
    return next(part for part in gateway.process.parts if part.name == name)


async def test_loop_that_fails_again_and_again_is_not_ready_all_the_while(gateway: RunningGateway) -> None:
    """Between two failures it only tries: no look at the streams came to its end, and so nothing is well."""
    projector = _part(gateway, "projector")
    known = await gateway.facts.accepted()
    await gateway.shows(f"/api/backup/executions/{known}", lambda body: True)
    async with _database(gateway) as database:
        await database.execute("ALTER ROLE CURRENT_USER SET lock_timeout = '2s'")
        await projector.stop()
        await projector.start()
        async with database.transaction():
            await database.execute("LOCK TABLE executions IN SHARE MODE")
            late = await gateway.facts.accepted()

            async def is_told() -> bool:
                found = await projector.check()
                return found is not None and found.hint is not None and "LockNotAvailable" in found.message

            await eventually(is_told, within=20)

            async def is_ready() -> bool:
                return await projector.check() is None

            with pytest.raises(AssertionError):
                await eventually(is_ready, within=3)
    await eventually(is_ready, within=20)
    await gateway.shows(f"/api/backup/executions/{late}", lambda body: True)
