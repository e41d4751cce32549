"""What keeps the read models from going on is told for as long as it lasts, by every gateway that shows them."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from chassis.bus import topology
from chassis.ids import new_id
from chassis.postgres.database import connection_arguments
from contracts.event import Event
from contracts.executor_events import BackupCompleted, BackupRefused, RunTotals
from contracts.streams import stream_of
from gateway.projections import session
from gateway.projections.rebuild import rebuild
from tests.support.eventually import eventually
from tests.support.gateway import Facts, RunningGateway, environment_of

pytestmark = pytest.mark.stack


@pytest.fixture
def losing_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams from which a message can be taken, as a server's fault does."""
    declared = topology.stream_config

    def deletable(spec: Any) -> dict[str, Any]:
        return {**declared(spec), "deny_delete": False, "deny_purge": False}

    monkeypatch.setattr(topology, "stream_config", deletable)


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
                return found is not None and found.hint is not None and "holds a lock" in found.message

            await eventually(is_told)

            async def is_ready() -> bool:
                return await projector.check() is None

            with pytest.raises(AssertionError):
                await eventually(is_ready, within=3)
    await eventually(is_ready)
    await gateway.shows(f"/api/backup/executions/{late}", lambda body: True)


async def test_leader_that_hangs_is_told_by_who_stands_by_and_loses_the_lead(gateway: RunningGateway) -> None:
    """A process that is stopped keeps its session: what is not applied is told, and Postgres ends the session."""
    projector = _part(gateway, "projector")
    await projector.stop()
    other = subprocess.Popen(
        [sys.executable, "-m", "gateway"],
        env=environment_of(gateway),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        known = await gateway.facts.accepted()

        async def other_leads() -> bool:
            async with gateway.http("owner") as http:
                return (await http.get(f"/api/backup/executions/{known}")).status_code == 200

        await eventually(other_leads)
        await projector.start()

        async def is_ready() -> bool:
            return (await gateway.process.health.report()).status == "ready"

        await eventually(is_ready)
        other.send_signal(signal.SIGSTOP)
        late = await gateway.facts.accepted()

        async def is_told() -> bool:
            report = await gateway.process.health.report()
            reasons = [each.reason or "" for each in report.checks if each.name == "read-models"]
            return report.status == "not-ready" and any("another gateway holds the lead" in each for each in reasons)

        await eventually(is_told)
        await eventually(is_ready)
        await gateway.shows(f"/api/backup/executions/{late}", lambda body: True)
    finally:
        other.kill()
        other.wait()


async def test_restored_record_that_no_rebuild_takes_in_is_not_ready(
    losing_streams: None, gateway: RunningGateway
) -> None:
    """What the restored record holds is not shown, since another stream cannot be read from its beginning: told so."""
    js = gateway.client.jetstream()
    async with gateway.http("owner") as http:
        for number in range(3):
            await gateway.create_configuration(http, name=f"Number {number}")
    run = await gateway.facts.accepted()
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)
    await js.delete_msg(stream_of("config"), 2)
    await gateway.say_record("executor", "log-2")
    kept = await Facts(js, log="log-2").accepted()

    async def is_told() -> bool:
        report = await gateway.process.health.report()
        return any(each.status == "not-ready" and "refill config" in (each.hint or "") for each in report.checks)

    await eventually(is_told)
    async with gateway.http("owner") as http:
        assert (await http.get(f"/api/backup/executions/{kept}")).status_code == 404


def _too_large(run: str, _: str) -> Event:
    totals = RunTotals(files=2**63, source_bytes=1, new_bytes=1, stored_bytes=1)
    return BackupCompleted(
        execution_id=run,
        configuration_id=new_id(),
        snapshot_id="a" * 32,
        degraded=False,
        totals=totals,
        verified=(),
        seconds=1.0,
    )


def _with_nul(_: str, request: str) -> Event:
    return BackupRefused(
        request_id=request, execution_id=new_id(), configuration_id=new_id(), code="internal", hint="a\0b"
    )


@pytest.mark.parametrize("unfit", [_too_large, _with_nul])
async def test_event_that_the_tables_do_not_take_costs_itself_alone(
    gateway: RunningGateway, unfit: Callable[[str, str], Event]
) -> None:
    """Everything before and behind it is applied, in every organisation, and by a rebuild as well; it is told of."""
    projector = _part(gateway, "projector")
    run = await gateway.facts.accepted()
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)
    await projector.stop()
    before = await gateway.facts.accepted()
    await gateway.facts.publish(unfit(run, new_id()))
    after = await gateway.facts.accepted(organisation="other-weddings")
    await projector.start()

    async def are_shown() -> bool:
        async with gateway.http("owner") as http, gateway.http("owner", organisation="other-weddings") as other:
            mine, theirs = await http.get("/api/backup/executions"), await other.get("/api/backup/executions")
            listed = [each["id"] for each in mine.json()["items"]]
            return listed == [before, run] and [each["id"] for each in theirs.json()["items"]] == [after]

    async def is_told() -> bool:
        report = await gateway.process.health.report()
        reasons = [each.reason for each in report.checks if each.name == "read-models-unfit"]
        return report.status == "degraded" and reasons == [
            "1 events with a value that the read models cannot hold are missing from them "
            f"({stream_of('executor')} up to sequence 3)"
        ]

    await eventually(are_shown)
    await eventually(is_told)
    await rebuild(gateway.settings)
    assert await are_shown()
    await eventually(is_told)


async def test_session_lasts_while_a_long_stream_is_looked_through(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for something else than Postgres is not taken for one that hangs."""
    monkeypatch.setattr(session, "SILENCE_SECONDS", 3)
    async with _database(gateway) as database:
        await session.end_when_silent(database)
        assert await session.heard_while(database, asyncio.sleep(5, "found")) == "found"
        await database.execute("SELECT 1")
