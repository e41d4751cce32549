"""Read models are made anew beside those that answer: nobody is told that there is nothing where there is something."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import psycopg
import pytest

from chassis.bus.nats_client import QuickClient
from chassis.ids import new_id
from chassis.life.health import Health
from chassis.life.runtime import EXIT_CRASHED
from chassis.postgres.database import advisory_key, connection_arguments
from chassis.reading import stream_reader
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.errors import PlatformError
from contracts.executor_events import BackupPreparing
from contracts.streams import stream_of
from gateway.bootstrap import assemble, connection_of
from gateway.monitoring import feed
from gateway.monitoring import projection as facts
from gateway.projections import projection, projector, shadow, state
from gateway.projections import rebuild as rebuilding
from gateway.projections.projection import catalogue
from gateway.projections.rebuild import rebuild
from gateway.projections.shadow import ShadowBuilder
from gateway.runs.projection import Executions
from tests.support.eventually import eventually
from tests.support.gateway import NEW_CONFIGURATION, RunningGateway, environment_of, started

pytestmark = pytest.mark.stack


@asynccontextmanager
async def _database(gateway: RunningGateway) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    arguments = connection_arguments(gateway.access.dsn, gateway.access.schema)
    async with await psycopg.AsyncConnection.connect(gateway.access.dsn, **arguments) as database:
        yield database


@asynccontextmanager
async def _builder(gateway: RunningGateway, batch: int) -> AsyncIterator[ShadowBuilder]:
    connection = connection_of(gateway.settings, Telemetry("t"), Health("t"))
    await connection.start()
    try:
        yield ShadowBuilder(
            dsn=gateway.settings.postgres_dsn,
            schema=gateway.settings.postgres_schema,
            nats=lambda: connection.client,
            batch=batch,
        )
    finally:
        await connection.stop()


async def _history(gateway: RunningGateway, runs: int) -> list[str]:
    found = [await gateway.facts.accepted() for _ in range(runs)]
    await gateway.shows(f"/api/backup/executions/{found[-1]}", lambda body: True)
    return found


async def test_reads_and_writes_go_on_while_all_is_made_anew(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During a rebuild what exists is found, an idempotency key is recognised, and new things come in.

    Of the facts it keeps the latest: those that are told once more in the new epoch, and from which one resumes.
    """
    monkeypatch.setattr(facts, "BUILT", 10)
    monkeypatch.setattr(stream_reader, "_SEARCHED", 1)
    key = new_id()
    async with gateway.http("owner") as http:

        async def create() -> Any:
            body, headers = NEW_CONFIGURATION, {"Idempotency-Key": key}
            return await http.post("/api/backup/configurations", json=body, headers=headers)

        first = await create()
        runs = await _history(gateway, 40)
        async with _builder(gateway, batch=1) as builder:
            building = asyncio.create_task(builder.build(want="the test asks for it"))
            looks = 0
            while not building.done():
                looks += 1
                assert (await http.get(f"/api/backup/executions/{runs[0]}")).status_code == 200
                again = await create()
                assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
                late = await gateway.facts.accepted()
                await gateway.shows(f"/api/backup/executions/{late}", lambda body: True)
            assert await building > 40
        assert looks > 0
        assert (await http.get(f"/api/backup/executions/{late}")).status_code == 200
    async with _database(gateway) as database:
        stand = await state.read(database)
        assert await state.is_kept(database, stand.sequence)
        kept = await database.execute("SELECT sequence FROM facts WHERE sequence <= %s", (stand.sequence,))
        numbers = {row[0] for row in await kept.fetchall()}
    assert numbers >= set(range(stand.sequence - 9, stand.sequence + 1))
    assert len(numbers) <= stand.sequence - 20


async def test_pending_request_is_taken_over_though_it_is_not_published(gateway: RunningGateway) -> None:
    """A request that nobody has heard of yet is still found under the address that its sender was given."""
    relay = next(part for part in gateway.process.parts if part.name == "relay")
    await relay.stop()
    async with gateway.http("owner") as http:
        given = await http.post(
            "/api/backup/configurations", json=NEW_CONFIGURATION, headers={"Idempotency-Key": new_id()}
        )
        assert given.status_code == 202
        await rebuild(gateway.settings)
        assert (await http.get(given.headers["Location"])).status_code == 200


def _answering(asked: str, answer: Callable[..., Any]) -> Callable[[QuickClient], Any]:
    """As `every_stream`, of readers that answer one question otherwise."""

    @asynccontextmanager
    async def readers(client: QuickClient) -> AsyncIterator[Any]:
        async with stream_reader.every_stream(client) as made:
            for reader in made.values():
                setattr(reader, asked, partial(answer, reader))
            yield made

    return readers


@pytest.mark.parametrize("asked", ["end", "_read"])
async def test_build_outlives_a_server_that_is_silent_for_a_moment(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """An hour of building is not given up for one question that a busy server did not answer in its time."""
    runs = await _history(gateway, 4)
    real, calls = getattr(stream_reader.StreamReader, asked), 0

    async def silent_once(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise PlatformError(errors.UNAVAILABLE, "the stream does not answer")
        return await real(*arguments, **named)

    monkeypatch.setattr(shadow, "ASK_AGAIN_SECONDS", 0.01)
    # Of the builder alone: what the running gateway reads meanwhile is not counted.
    monkeypatch.setattr(shadow, "every_stream", _answering(asked, silent_once))
    async with _builder(gateway, batch=2) as builder:
        assert await builder.build(want="the test asks for it") >= len(runs)
    assert calls > 2


async def test_build_says_that_a_server_does_not_answer(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience has an end: then whoever asked for it is told."""

    async def silent(*_arguments: Any, **_named: Any) -> Any:
        raise PlatformError(errors.UNAVAILABLE, "the stream does not answer")

    monkeypatch.setattr(shadow, "ASK_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(shadow, "SILENT_SECONDS_MAX", 0.05)
    monkeypatch.setattr(shadow, "every_stream", _answering("_read", silent))
    async with _builder(gateway, batch=2) as builder, asyncio.timeout(30):
        with pytest.raises(PlatformError, match="does not answer"):
            await builder.build(want="the test asks for it")


@pytest.mark.parametrize("at", ["project", "advance_shadow", "swap", "lock_tables"])
async def test_killed_build_is_gone_on_with(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """Wherever a build is cut off, the tables that answer are whole, and the next build ends what was begun."""
    runs = await _history(gateway, 12)
    where = Executions if at == "project" else state
    real, calls = getattr(where, at), 0

    async def cut_off(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        await real(*arguments)
        if calls == (1 if at in {"swap", "lock_tables"} else 5):
            raise asyncio.CancelledError

    with monkeypatch.context() as fault:
        fault.setattr(projector.state, "due", lambda found: [])  # the running gateway builds nothing
        async with _builder(gateway, batch=2) as builder:
            with monkeypatch.context() as cut:
                cut.setattr(projector.state, "due", _all_due)
                cut.setattr(where, at, cut_off)
                with contextlib.suppress(asyncio.CancelledError):
                    await builder.build(want="the test asks for it")
        async with gateway.http("viewer") as http:
            assert [(await http.get(f"/api/backup/executions/{run}")).status_code for run in runs] == [200] * 12
    # What is due is found by the gateway at its next look.

    async def is_built() -> bool:
        async with _database(gateway) as database:
            return not state.due(await state.made(database))

    await eventually(is_built)
    async with gateway.http("viewer") as http:
        listed = (await http.get("/api/backup/executions", params={"limit": 50})).json()["items"]
    assert sorted(run["id"] for run in listed) == sorted(runs)


def _all_due(found: Any) -> list[str]:
    return list(found) if any(made.wanted or made.building for made in found.values()) else []


_HOLD = 4711
_HELD_AT = {
    "build": "BEFORE INSERT ON executions_shadow FOR EACH STATEMENT",
    "swap": "BEFORE UPDATE ON projection_state FOR EACH ROW WHEN (OLD.swaps <> NEW.swaps)",
}
"""Where a process is held: while it writes a shadow, and after the first tables have changed their names."""


@contextlib.asynccontextmanager
async def _held(gateway: RunningGateway, when: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Whoever comes there waits until this ends; gives a connection that sees who waits."""
    schema = gateway.access.schema
    held = await psycopg.AsyncConnection.connect(
        gateway.access.admin_dsn, autocommit=True, options=f"-c search_path={schema}"
    )
    async with held:
        await held.execute(
            f"CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS"
            f" 'BEGIN PERFORM pg_advisory_xact_lock_shared({_HOLD}); RETURN NEW; END'".encode()
        )
        await held.execute(f"CREATE TRIGGER hold {when} EXECUTE FUNCTION hold()".encode())
        await held.execute("SELECT pg_advisory_lock(%s)", (_HOLD,))
        yield held


@pytest.mark.parametrize("at", _HELD_AT)
async def test_process_that_is_killed_in_the_middle_leaves_what_answers(gateway: RunningGateway, at: str) -> None:
    """`kill -9` of a builder within its transaction: nothing of it is there, and the gateway ends what was begun."""
    runs = await _history(gateway, 3)
    async with _database(gateway) as database:
        epoch = (await state.read(database)).epoch

        async def answers() -> list[int]:
            async with gateway.http("viewer") as http:
                return [(await http.get(f"/api/backup/executions/{run}")).status_code for run in runs]

        async with _held(gateway, _HELD_AT[at]) as held:
            builder = subprocess.Popen(
                [sys.executable, "-m", "gateway", "rebuild"], env=environment_of(gateway), stderr=subprocess.DEVNULL
            )
            try:

                async def waits() -> bool:
                    asked = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
                    return await (await held.execute(asked, (_HOLD,))).fetchone() is not None

                await eventually(waits)
                if at == "build":
                    assert await answers() == [200] * 3
            finally:
                builder.kill()
                builder.wait()
            assert (await state.read(database)).epoch == epoch

        async def is_done() -> bool:
            return not state.due(await state.made(database)) and (await state.read(database)).epoch != epoch

        await eventually(is_done)
        assert await answers() == [200] * 3
        assert await (await database.execute("SELECT count(*) FROM executions")).fetchone() == (3,)


async def test_builder_does_not_outlive_the_gateway_that_started_it(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that is killed closes its builder's input: it ends with a code, and what answers stays."""
    await _history(gateway, 3)
    monkeypatch.setattr(projector.ShadowBuilder, "build", _refused)
    async with _database(gateway) as reader, _database(gateway) as database:
        await state.want(database, catalogue(), rebuilding.WANT)
        async with reader.transaction():
            await reader.execute("SELECT 1 FROM executions")
            builder = subprocess.Popen(
                [sys.executable, "-m", "gateway", "build"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            assert builder.stdin is not None
            try:
                builder.stdin.write(msgspec.json.encode(gateway.settings, enc_hook=str) + b"\n")
                builder.stdin.flush()

                async def is_at_work() -> bool:
                    return (await state.made(database))["executions"].building is not None

                await eventually(is_at_work)
                builder.stdin.close()
                assert await asyncio.to_thread(builder.wait, 30) == EXIT_CRASHED
            finally:
                builder.kill()
                builder.wait()


async def test_what_was_never_made_is_not_told_to_be_nothing(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first build nobody knows what there is: reads and writes are told to come again, never 404."""
    (run,) = await _history(gateway, 1)
    monkeypatch.setattr(projector.ShadowBuilder, "build", _refused)
    monkeypatch.setattr(feed, "FIRST_BUILD_SECONDS", 0.1)
    async with _database(gateway) as database:
        await database.execute("UPDATE projections SET version = 0")
    second = assemble(gateway.settings)
    async with started(second):
        gateway.process = second
        async with gateway.http("owner") as http:
            for path in (f"executions/{run}", "executions", "configurations", "status"):
                answer = await http.get(f"/api/backup/{path}")
                assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), path
            answer = await http.post(
                "/api/backup/configurations", json=NEW_CONFIGURATION, headers={"Idempotency-Key": new_id()}
            )
            assert answer.status_code == 503
        monkeypatch.undo()
        await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)


async def test_read_model_that_is_built_slowly_holds_up_those_alone_who_read_it(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version brings one, and its build does not end: who reads it is told to come again, all others are answered."""
    (run,) = await _history(gateway, 1)
    monkeypatch.setattr(projector.ShadowBuilder, "build", _refused)
    async with _database(gateway) as database:
        await database.execute("UPDATE projections SET version = 0 WHERE name = 'requests'")
    second = assemble(gateway.settings)
    async with started(second):
        gateway.process = second
        async with gateway.http("owner") as http:
            assert (await http.get("/api/backup/status")).status_code == 200
            answer = await http.get(f"/api/backup/requests/{new_id()}")
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert "retry-after" in answer.headers
            # Whether the organisation has ever written anything is not known either: its keys may be lost.
            answer = await http.post(
                "/api/backup/configurations", json=NEW_CONFIGURATION, headers={"Idempotency-Key": new_id()}
            )
            assert answer.status_code == 503

        async def is_told() -> bool:
            report = await second.health.report()
            found = next((check for check in report.checks if check.name == "read-models-rebuild"), None)
            return report.status == "degraded" and found is not None and "requests" in (found.reason or "")

        await eventually(is_told)
        monkeypatch.undo()
        await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)


async def test_view_that_cannot_be_read_costs_itself_and_is_made_anew(gateway: RunningGateway) -> None:
    """A row of another build's shape stops neither the projector nor other reads, and is mended by itself."""
    broken, other = await _history(gateway, 2)
    async with _database(gateway) as database:
        await database.execute(
            "UPDATE executions SET view = (view::jsonb - 'phases')::json WHERE execution_id = %s", (broken,)
        )
    await gateway.facts.publish(BackupPreparing(execution_id=broken, fence=1, worker="w"))
    await gateway.facts.publish(BackupPreparing(execution_id=other, fence=1, worker="w"))
    await gateway.shows(f"/api/backup/executions/{other}", lambda body: body["state"] == "preparing")
    await gateway.shows(f"/api/backup/executions/{broken}", lambda body: body["state"] == "preparing")


async def test_reader_of_a_view_that_cannot_be_read_has_it_made_anew(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any new fact: who asks is told to come again, the report says what is wrong, and then it is there."""
    (run,) = await _history(gateway, 1)
    monkeypatch.setattr(projector.ShadowBuilder, "build", _refused)
    async with _database(gateway) as database:
        await database.execute("UPDATE executions SET view = '{}'")
    async with gateway.http("viewer") as http:
        answer = await http.get(f"/api/backup/executions/{run}")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "retry-after" in answer.headers

        async def is_told() -> bool:
            checks = (await gateway.process.health.report()).checks
            found = next((check for check in checks if check.name == "read-models-rebuild"), None)
            return found is not None and found.status == "degraded" and "executions" in (found.reason or "")

        await eventually(is_told)
    monkeypatch.undo()
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)


async def _refused(self: ShadowBuilder) -> int:
    raise RuntimeError("no build yet")


async def test_changed_projection_is_made_anew_by_itself(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new version of one projection is built beside the old one, and only that one; facts keep their numbers."""
    (run,) = await _history(gateway, 1)
    async with _database(gateway) as database:
        before = await state.read(database)
    monkeypatch.setattr(Executions, "VERSION", Executions.VERSION + 1)

    async def is_built() -> bool:
        async with _database(gateway) as database:
            made = await state.made(database)
        return made["executions"].version == Executions.VERSION and made["executions"].building is None

    await eventually(is_built)
    async with _database(gateway) as database:
        after = await state.read(database)
    assert (after.epoch, after.sequence) == (before.epoch, before.sequence)
    assert after.swaps == before.swaps + 1
    await gateway.facts.publish(BackupPreparing(execution_id=run, fence=1, worker="w"))
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: body["state"] == "preparing")


async def test_emptied_stream_takes_nothing_from_the_read_models(gateway: RunningGateway) -> None:
    """A rebuild from streams that hold less than what is shown is refused, with the reason; what was there answers."""
    runs = await _history(gateway, 3)
    js = gateway.client.jetstream()
    await js.delete_stream(stream_of("executor"))
    await gateway.nats.apply()
    with pytest.raises(Exception, match="hold less than"):
        await rebuild(gateway.settings)
    async with gateway.http("viewer") as http:
        assert (await http.get(f"/api/backup/executions/{runs[0]}")).status_code == 200


async def test_long_history_is_built_in_a_process_of_its_own(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is done elsewhere, with the gateway's settings, and takes its place here; nobody else's build is raced."""
    runs = await _history(gateway, 5)
    monkeypatch.setattr(projector, "BUILT_HERE_MAX", 0)
    due, pending, looks, begun = state.due, projector.pending, 0, 0

    def seen(found: Any) -> list[str]:
        nonlocal looks
        looks += 1
        return due(found)

    async def counted(*arguments: Any) -> int:
        nonlocal begun
        begun += 1
        return await pending(*arguments)

    async with _database(gateway) as database:
        epoch = (await state.read(database)).epoch
        with monkeypatch.context() as spied:
            spied.setattr(projector.state, "due", seen)
            spied.setattr(projector, "pending", counted)
            async with _database(gateway) as rival:
                key = advisory_key(f"shadow/{gateway.access.schema}")
                await rival.execute("SELECT pg_advisory_lock(%s)", (key,))
                await state.want(database, catalogue(), rebuilding.WANT)
                looks = 0
                await eventually(lambda: looks >= 3)
                assert begun == 0

        async def is_built() -> bool:
            return not state.due(await state.made(database)) and (await state.read(database)).epoch != epoch

        await eventually(is_built)
    async with gateway.http("viewer") as http:
        assert (await http.get(f"/api/backup/executions/{runs[-1]}")).status_code == 200


async def test_shadows_are_of_the_shape_of_the_tables_that_answer(gateway: RunningGateway) -> None:
    """Columns, indexes and constraints are equal, so that nothing is lost when they change places."""
    columns = """
        SELECT attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid) FROM pg_attribute
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attname
    """
    indexes = """
        SELECT regexp_replace(pg_get_indexdef(indexrelid), '^.* USING ', ''), indisunique
        FROM pg_index WHERE indrelid = %s::regclass ORDER BY 1, 2
    """
    async with _database(gateway) as database:
        for table in (table for cls in catalogue().values() for table in cls.TABLES):
            for query in (columns, indexes):
                live = await (await database.execute(query.encode(), (table,))).fetchall()
                shadow = await (await database.execute(query.encode(), (f"{table}_shadow",))).fetchall()
                assert live
                assert live == shadow, table


async def test_what_a_leader_of_another_version_has_left_out_is_made_anew(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older gateway leads for a while, and goes on without the read models that it lacks: nothing is lost."""
    before = await gateway.facts.accepted()
    await gateway.shows(f"/api/backup/executions/{before}", lambda body: True)
    part = next(part for part in gateway.process.parts if part.name == "projector")
    await part.stop()
    meanwhile = await gateway.facts.accepted()
    connection = connection_of(gateway.settings, Telemetry("t"), Health("t"))
    await connection.start()
    known_then = {name: cls for name, cls in catalogue().items() if name not in {"executions", "facts"}}
    with monkeypatch.context() as older:
        for module in (projection, projector, state):
            older.setattr(module, "catalogue", lambda: known_then)
        settings = gateway.settings
        older_one = projector.Projector(
            dsn=settings.postgres_dsn,
            schema=settings.postgres_schema,
            nats=lambda: connection.client,
            telemetry=Telemetry("t"),
        )
        assert await older_one.catch_up() == 1
    await connection.stop()
    await part.start()
    await gateway.shows(f"/api/backup/executions/{meanwhile}", lambda body: True)
    await gateway.shows(f"/api/backup/executions/{before}", lambda body: True)
    async with _database(gateway) as database:
        made = await state.made(database)
    assert not state.due(made)
