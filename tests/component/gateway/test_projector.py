"""The projector: each event applied once, whatever happens to streams, servers and processes."""

import asyncio
import signal
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from chassis.clock import SystemClock
from chassis.ids import new_id
from chassis.life.health import Health
from chassis.postgres.database import advisory_key, connection_arguments
from chassis.telemetry.instruments import Telemetry
from contracts.configuration import Tier
from contracts.envelope import encode
from contracts.executor_events import BackupAccepted, BackupPreparing, ExecutionType
from contracts.streams import stream_of
from contracts.subjects import event_subject
from gateway.bootstrap import assemble, connection_of, projector_of
from gateway.monitoring import projection as fact_log
from gateway.projections import intake, state
from gateway.projections.rebuild import rebuild
from tests.support.eventually import eventually
from tests.support.gateway import ORGANISATION, Facts, RunningGateway, started

pytestmark = pytest.mark.stack

TABLES = ("requests", "configurations", "configuration_runs", "executions", "execution_counts", "facts")


async def _database(gateway: RunningGateway) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(
        gateway.access.dsn, **connection_arguments(gateway.access.dsn, gateway.access.schema)
    )


async def _contents(gateway: RunningGateway) -> dict[str, list[tuple[Any, ...]]]:
    """Every read model, as text, in a fixed order; facts without their numbers, which follow the streams' order."""
    found = {}
    async with await _database(gateway) as database:
        for table in TABLES:
            # A count that has gone back to nothing is the same as one that never was.
            only = " WHERE runs <> 0" if table == "execution_counts" else ""
            rows = await (await database.execute(f"SELECT t::text FROM {table} t{only}".encode())).fetchall()
            found[table] = sorted(row[0].partition(",")[2] if table == "facts" else row[0] for row in rows)
    return found


async def _applied(gateway: RunningGateway, owner: str, position: int) -> None:
    async def is_there() -> bool:
        async with await _database(gateway) as database:
            return (await state.read(database)).place_of(stream_of(owner)).position >= position

    await eventually(is_there)


async def _some_history(gateway: RunningGateway, runs: int = 5) -> None:
    async with gateway.http("owner") as http:
        configuration = await gateway.create_configuration(http)
    for _ in range(runs):
        run = await gateway.facts.accepted(configuration_id=configuration["id"])
        await gateway.facts.complete(run, configuration["id"])
    await gateway.facts.accepted(configuration_id=configuration["id"])
    await _applied(gateway, "executor", runs * 9 + 1)


async def test_rebuild_gives_the_same_read_models(gateway: RunningGateway) -> None:
    """Read models are derived: emptied and made again from the streams they are what they were."""
    await _some_history(gateway)
    before = await _contents(gateway)
    async with await _database(gateway) as database:
        epoch = (await state.read(database)).epoch
    done = await rebuild(gateway.settings)
    assert done.events >= 47
    assert await _contents(gateway) == before
    async with await _database(gateway) as database:
        assert (await state.read(database)).epoch != epoch


async def test_rebuild_works_without_a_running_gateway(gateway: RunningGateway) -> None:
    """With no gateway at work the command applies the events itself."""
    await _some_history(gateway)
    before = await _contents(gateway)
    for part in reversed(gateway.process.parts):
        await part.stop()
    done = await rebuild(gateway.settings)
    assert done.here is True
    assert done.events >= 47
    assert await _contents(gateway) == before


async def test_rebuild_takes_over_from_one_that_was_killed(gateway: RunningGateway) -> None:
    """With nobody else there to do it, it is done by the one that waits."""
    await gateway.facts.accepted()
    for part in reversed(gateway.process.parts):
        await part.stop()
    settings = gateway.settings
    rival = await psycopg.AsyncConnection.connect(settings.postgres_dsn, autocommit=True)
    async with rival:
        await rival.execute("SELECT pg_advisory_lock(%s)", (advisory_key(f"shadow/{settings.postgres_schema}"),))
        rebuilding = asyncio.create_task(rebuild(settings))

        async def is_wanted() -> bool:
            async with await _database(gateway) as database:
                return bool(state.due(await state.made(database)))

        await eventually(is_wanted)
    assert (await rebuilding).here


async def test_backup_of_a_clock_that_was_ahead_counts_from_its_arrival(gateway: RunningGateway) -> None:
    """It would protect in the future, and for as long nobody would miss the backups that fail."""
    now = SystemClock().now()
    run = await gateway.facts.accepted()
    await gateway.facts.complete(run, "configuration", time=now + timedelta(days=400))
    async with gateway.http("owner") as http:

        async def finished_at() -> str | None:
            answer = await http.get(f"/api/backup/executions/{run}")
            found: str | None = answer.json().get("finishedAt")
            return found

        told = await eventually(finished_at)
    assert datetime.fromisoformat(told) < now + timedelta(days=1)


async def test_refilled_stream_is_applied_once(gateway: RunningGateway) -> None:
    """After the store was deleted and filled again, everything is there once and new events follow."""
    await _some_history(gateway)
    before = await _contents(gateway)
    await asyncio.to_thread(gateway.nats.kill)
    gateway.nats.wipe()
    await asyncio.to_thread(gateway.nats.start)
    await eventually(lambda: gateway.client.is_connected)
    await gateway.nats.apply()
    await gateway.facts.publish_again()
    run = await gateway.facts.accepted()
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)
    after = await _contents(gateway)
    assert after["configurations"] == before["configurations"]
    for table in ("executions", "configuration_runs", "requests", "facts"):
        assert set(before[table]) < set(after[table]), table
        assert len(after[table]) == len(before[table]) + 1, table


async def test_shorter_stream_is_waited_for(gateway: RunningGateway) -> None:
    """A stream that is being filled again applies nothing until it is past what was applied."""
    await _some_history(gateway)
    before = await _contents(gateway)
    await asyncio.to_thread(gateway.nats.kill)
    gateway.nats.wipe()
    await asyncio.to_thread(gateway.nats.start)
    await eventually(lambda: gateway.client.is_connected)
    await gateway.nats.apply()
    published = gateway.facts.published
    executor = [entry for entry in published if entry[1].owner == "executor"]
    for position, envelope in executor[:20]:
        await gateway.facts.send(position, envelope)
    report = await gateway.process.health.report()
    assert await _contents(gateway) == before
    for position, envelope in executor[20:]:
        await gateway.facts.send(position, envelope)
    run = await gateway.facts.accepted()
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)
    assert report.service == "gateway"


async def test_missing_stream_is_shown_and_reads_go_on(gateway: RunningGateway) -> None:
    """Without its stream the gateway is degraded, answers reads, and recovers by itself once the stream is back."""
    await _some_history(gateway, runs=1)
    js = gateway.client.jetstream()
    config = (await js.stream_info(stream_of("executor"))).config
    await js.delete_stream(stream_of("executor"))

    async def is_degraded() -> bool:
        checks = (await gateway.process.health.report()).checks
        return any(check.name == "read-models" and check.code == "stream-missing" for check in checks)

    await eventually(is_degraded)
    async with gateway.http("viewer") as http:
        assert len((await http.get("/api/backup/executions")).json()["items"]) == 2
    await js.add_stream(config)
    await gateway.nats.apply()
    for position, envelope in gateway.facts.published:
        if envelope.owner == "executor":
            await gateway.facts.send(position, envelope)
    run = await gateway.facts.accepted()
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)

    async def is_well() -> bool:
        return not await is_degraded()

    await eventually(is_well)


async def test_another_log_replaces_what_was_made_from_the_old_one(gateway: RunningGateway) -> None:
    """A record that was restored to an earlier point is published under a new log: only what it holds is shown."""
    lost = await gateway.facts.accepted()
    await gateway.shows(f"/api/backup/executions/{lost}", lambda body: True)
    restored = Facts(gateway.client.jetstream(), log="log-2")
    await gateway.say_record("executor", "log-2")
    kept = await restored.accepted()
    await gateway.shows(f"/api/backup/executions/{kept}", lambda body: True)
    async with gateway.http("viewer") as http:

        async def is_gone() -> bool:
            listed = (await http.get("/api/backup/executions")).json()["items"]
            return [run["id"] for run in listed] == [kept]

        await eventually(is_gone)
        assert (await http.get(f"/api/backup/executions/{lost}")).status_code == 404


async def test_unknown_version_is_shown_and_passed_over(gateway: RunningGateway) -> None:
    """An event of a newer build, or one that cannot be read, stops nothing and is seen until a rebuild."""
    envelope = gateway.facts.envelope(BackupPreparing(execution_id=new_id(), fence=1, worker="w"))
    subject = event_subject(envelope)
    newer = subject.replace("backup-preparing.v1", "backup-preparing.v9")
    from contracts.envelope import encode

    await gateway.facts.send_raw("executor", newer, encode(envelope).replace(b"preparing.v1", b"preparing.v9"))
    await gateway.facts.send_raw("executor", subject, b"not json")
    run = await gateway.facts.accepted()
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)

    async def is_shown() -> bool:
        checks = (await gateway.process.health.report()).checks
        return any(check.code == "unknown-event-version" and "2 events" in (check.reason or "") for check in checks)

    await eventually(is_shown)
    async with await _database(gateway) as database:
        assert sorted(each.reason for each in await intake.passed_over(database)) == ["malformed", "unknown"]


async def test_two_gateways_apply_everything_once(gateway: RunningGateway) -> None:
    """A second gateway stands by, serves the same reads, and takes over when the first one is gone."""
    second = assemble(gateway.settings)
    async with started(second):
        await _some_history(gateway, runs=2)
        first_parts = {part.name: part for part in gateway.process.parts}
        before = await _contents(gateway)
        await first_parts["http"].stop()
        await first_parts["projector"].stop()
        run = await gateway.facts.accepted()
        gateway.process = second
        await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)
        after = await _contents(gateway)
    assert len(after["facts"]) == len(before["facts"]) + 1
    assert len(set(after["facts"])) == len(after["facts"])


async def test_two_projectors_at_once_apply_nothing_twice(gateway: RunningGateway) -> None:
    """Even where both believe to lead, the locked position lets one of them apply a batch."""
    parts = {part.name: part for part in gateway.process.parts}
    await parts["projector"].stop()
    for _ in range(30):
        run = await gateway.facts.accepted()
        await gateway.facts.complete(run, new_id())
    connection = connection_of(gateway.settings, Telemetry("t"), Health("t"))
    await connection.start()
    try:
        projectors = [projector_of(gateway.settings, connection, Telemetry("t"), None, batch=7) for _ in range(2)]
        for projector in projectors:
            projector._take_lead = _always  # type: ignore[method-assign]  # the fault: the lock did not hold
        await asyncio.gather(*(projector.catch_up() for projector in projectors))
    finally:
        await connection.stop()
    async with await _database(gateway) as database:
        epoch = (await state.read(database)).epoch
        everything = await fact_log.after(database, 0, 10_000, epoch=epoch, organisation=ORGANISATION)
    assert len(everything) == 270
    assert len({fact.event_id for fact in everything}) == 270
    assert [fact.sequence for fact in everything] == list(range(1, 271))


async def _always(database: object) -> bool:
    return True


async def test_postgres_restart_is_survived(gateway: RunningGateway) -> None:
    """After a crash of Postgres the projector goes on where the last commit was, and gives no number twice."""
    await _some_history(gateway, runs=1)
    async with await _database(gateway) as database:
        before = await state.read(database)
    await gateway.postgres.restart(signal.SIGQUIT)
    run = await gateway.facts.accepted()

    async def is_there() -> bool:
        async with gateway.http("viewer") as http:
            return (await http.get(f"/api/backup/executions/{run}")).status_code == 200

    await eventually(is_there)

    async def is_ready() -> bool:
        return (await gateway.process.health.report()).status == "ready"

    await eventually(is_ready)
    async with await _database(gateway) as database:
        after = await state.read(database)
    assert after.epoch == before.epoch
    assert after.sequence > before.sequence + 1
    async with gateway.http("viewer") as http:
        assert len((await http.get("/api/backup/executions")).json()["items"]) == 3


async def test_value_of_a_newer_build_is_taken_in_by_the_build_that_knows_it(gateway: RunningGateway) -> None:
    """What was stored as `unknown` is told, and is made anew once the member is known."""
    accepted = BackupAccepted(
        request_id=new_id(),
        execution_id=new_id(),
        configuration_id=new_id(),
        configuration_version=1,
        execution_type=ExecutionType.MANUAL,
        tiers=(Tier.LOCAL,),
    )
    envelope = gateway.facts.envelope(accepted)
    body = encode(envelope).replace(b'"local"', b'"tape"')
    await gateway.facts.send_raw("executor", event_subject(envelope), body)
    await gateway.shows(f"/api/backup/executions/{accepted.execution_id}", lambda body: True)

    async def is_told() -> bool:
        checks = (await gateway.process.health.report()).checks
        return any(check.name == "read-models" and check.status == "degraded" for check in checks)

    await eventually(is_told)
    part = next(part for part in gateway.process.parts if part.name == "projector")
    await part.stop()
    async with await _database(gateway) as database:
        before = (await state.read(database)).swaps
        # As if the next build knew what it was.
        await database.execute("UPDATE passed_over SET type = 'Tier:local' WHERE type = 'Tier:tape'")
        await part.start()

        async def is_made_anew() -> bool:
            return (await state.read(database)).swaps > before

        await eventually(is_made_anew)
