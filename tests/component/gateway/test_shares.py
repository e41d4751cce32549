"""One organisation that asks for much takes its own share, never everybody's; and a full house is not one on fire."""

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest
from psycopg import AsyncConnection

from chassis.ids import new_id
from chassis.postgres.circuit import answering
from chassis.postgres.database import open_pool
from contracts import errors
from contracts.errors import PlatformError
from contracts.event import Event
from gateway.auth.principal import Principal
from gateway.auth.rights import Role
from gateway.reading.shares import READINGS
from gateway.writes.book import Submission
from tests.support.eventually import eventually
from tests.support.gateway import ORGANISATION, RunningGateway, problem_code
from tests.support.postgres_server import SchemaAccess

pytestmark = pytest.mark.stack


async def test_who_fills_his_share_waits_alone(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """An organisation whose reads last is told 429 and when to come again; the others are answered meanwhile."""
    monkeypatch.setattr("chassis.postgres.circuit.PATIENCE_SECONDS", 0.5)
    async with gateway.http("viewer") as busy, gateway.http("viewer", organisation="other-org") as other:
        async with AsyncExitStack() as held:
            for _ in range(READINGS.each):
                await held.enter_async_context(gateway.process.gateway.reading(ORGANISATION))
            for path in ("executions", "configurations", "status"):
                refused = await busy.get(f"/api/backup/{path}")
                assert (refused.status_code, problem_code(refused)) == (429, errors.TOO_MANY_REQUESTS.code), path
                assert int(refused.headers["Retry-After"]) >= 1
                assert (await other.get(f"/api/backup/{path}")).status_code == 200, path
        assert (await busy.get("/api/backup/executions")).status_code == 200


async def test_fourth_organisation_is_answered_beside_three_that_ask_for_all(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places are kept for who holds none; the three are told to come again, the fourth is answered."""
    monkeypatch.setattr("chassis.postgres.circuit.PATIENCE_SECONDS", 0.5)
    async with AsyncExitStack() as held:
        reading, places = gateway.process.gateway.reading, 0
        for organisation in ("org-1", "org-2", "org-3") * READINGS.each:
            with suppress(PlatformError):
                await held.enter_async_context(reading(organisation))
                places += 1
        assert places == READINGS.in_all - READINGS.kept
        with pytest.raises(PlatformError) as refused:
            await held.enter_async_context(reading("org-1"))
        assert refused.value.code is errors.TOO_MANY_REQUESTS
        client = await held.enter_async_context(gateway.http("viewer", organisation="org-4"))
        assert (await client.get("/api/backup/executions")).status_code == 200


async def test_look_ups_of_writes_have_their_share_too(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three organisations whose writes are looked up, and wait for Postgres there, leave room for a fourth one's."""
    monkeypatch.setattr("chassis.postgres.circuit.PATIENCE_SECONDS", 0.5)
    wrong = PlatformError(errors.INVALID_FIELD, "never right", field="name")

    async def look_up(organisation: str) -> None:
        principal = Principal(actor="user:x", organisation=organisation, roles=frozenset(Role), expires_at=2e9)
        submission = Submission(kind="k", route="r", key=new_id(), body={}, event=_none, wrong=[wrong])
        while True:
            with suppress(PlatformError):
                await gateway.process.gateway.book.submit(principal, submission)
            await asyncio.sleep(0.05)  # Who is refused at once lets the others have their turn.

    arguments = {"application_name": "the test", "autocommit": False}
    async with await AsyncConnection.connect(gateway.access.admin_dsn, **arguments) as admin:
        await admin.execute(f'LOCK TABLE "{gateway.access.schema}".idempotency_keys IN ACCESS EXCLUSIVE MODE')
        asking = [asyncio.create_task(look_up(f"org-{number % 3}")) for number in range(12)]

        async def are_held() -> bool:
            waiting = await admin.execute(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass",
                (f"{gateway.access.schema}.idempotency_keys",),
            )
            return (await waiting.fetchall())[0][0] >= READINGS.in_all - READINGS.kept

        try:
            await eventually(are_held)
            async with gateway.http("viewer", organisation="org-4") as client:
                assert (await client.get("/api/backup/executions")).status_code == 200
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)


def _none(_request_id: str, _resource_id: str) -> Event:
    raise AssertionError


async def test_full_pool_is_not_postgres_away(record_access: SchemaAccess) -> None:
    """Who found every connection in use is told so, and whoever comes next is let through."""
    pool = open_pool(record_access.dsn, record_access.schema, name="small", max_size=1)
    await pool.open(wait=True)
    try:
        async with pool.connection():
            with answering(0.0), pytest.raises(PlatformError) as refused:
                await pool.getconn()
            assert refused.value.code is errors.UNAVAILABLE
            assert refused.value.message == "every connection to postgres is in use"
        async with pool.connection() as connection:
            await connection.execute("SELECT 1")
    finally:
        await pool.close()
