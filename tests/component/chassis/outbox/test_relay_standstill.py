"""A relay that cannot publish what there is says so, with the reason and what to do; replicas agree who publishes."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg
import pytest
from nats.js.errors import APIError

from chassis.life.health import Health
from chassis.outbox import relay as outbox
from chassis.outbox.relay import Relay
from chassis.postgres.database import advisory_key
from chassis.record.eventstore import EventStore
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.envelope import SOURCE_PREFIX, Envelope, encode
from contracts.errors import ErrorCode, PlatformError
from contracts.streams import stream_of
from contracts.subjects import JETSTREAM_API
from deploy.nats.permissions import Identity
from tests.component.chassis.record_fixtures import (
    SERVICE,
    STREAM,
    append,
    caught_up,
    expected,
    nats,
    open_relay,
    store,
    stored_messages,
)
from tests.support.eventually import eventually
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import SchemaAccess
from tests.support.sample_runs import CONTEXT

__all__ = ["nats", "store"]

pytestmark = pytest.mark.stack


async def _not_ready(relay: Relay, code: ErrorCode, saying: str = "") -> PlatformError:
    """Wait until the relay is not ready for a reason, and see that it stays so."""

    async def found() -> PlatformError | None:
        finding = await relay.check()
        is_it = isinstance(finding, PlatformError) and finding.code is code and saying in finding.message
        return finding if isinstance(finding, PlatformError) and is_it else None

    error = await eventually(found)
    assert error is not None
    for _ in range(40):
        # It joins the stream anew again and again meanwhile, which is no progress.
        assert await relay.check() is not None
        await asyncio.sleep(0.05)
    return error


async def _limit(nats: NatsServer, max_msgs: int) -> None:
    async with nats.connected() as client:
        js = client.jetstream()
        config = (await js.stream_info(STREAM)).config
        config.max_msgs = max_msgs
        await js.update_stream(config)


async def test_relay_before_a_full_stream_is_not_ready_until_there_is_space(
    store: EventStore, record_access: SchemaAccess, nats: NatsServer
) -> None:
    """A stream that takes nothing more is named as such, and goes on by itself when it has space."""
    await _limit(nats, 3)
    async with open_relay(record_access, nats) as relay:
        await append(store, 6)
        error = await _not_ready(relay, errors.STREAM_FULL)
        assert "maximum messages exceeded" in error.message
        assert f"the stream {STREAM} stands behind its sequence 3, number 3 of the record: " in error.message
        assert "max_bytes" in error.hint
        await _limit(nats, -1)
        await caught_up(relay, store)
        assert await relay.check() is None
    assert await stored_messages(nats) == await expected(store)


async def test_relay_without_permission_is_not_ready_and_names_it(
    tmp_path: Path, store: EventStore, record_access: SchemaAccess
) -> None:
    """What only looks like an answer that never comes is told as the refusal that it is."""
    looks = tuple(f"{JETSTREAM_API}.STREAM.{verb}.{stream_of(SERVICE)}" for verb in ("INFO", "MSG.GET"))
    muted = Identity(name="muted", publish=looks, subscribe=("_INBOX_muted.>",), is_apart=True)
    server = NatsServer(tmp_path / "nats", also=(muted,)).start()
    telemetry = Telemetry(SERVICE)
    connection = server.connection("muted", telemetry, Health(SERVICE))
    try:
        await server.apply()
        await connection.start()
        relay = Relay(
            dsn=record_access.dsn, schema=record_access.schema, nats=connection, owner=SERVICE, telemetry=telemetry
        )
        await append(store, 1)
        await relay.start()
        error = await _not_ready(relay, errors.PUBLISH_REFUSED)
        assert error.context["subject"] == f"backup.{SERVICE}"
        await relay.stop()
    finally:
        await connection.stop()
        server.kill()


def _record(access: SchemaAccess, envelope: Envelope) -> None:
    """Put an event into the record past the store, as an older build did that knew no limit."""
    with psycopg.connect(access.admin_dsn, autocommit=True) as connection:
        connection.execute(
            f"INSERT INTO {access.schema}.stored_events (originator_id, originator_version, topic, state)"
            " VALUES (%s, 1, %s, %s)",
            (envelope.subject.partition("/")[2], envelope.type, encode(envelope)),
        )


async def test_event_that_no_message_can_carry_is_named(
    store: EventStore, record_access: SchemaAccess, nats: NatsServer
) -> None:
    """An oversized event of old stops its stream with its id, its size and what to do; what is before it is out."""
    large = Envelope(
        specversion="1.0",
        id="0199a0f2-0000-7000-8000-00000000beef",
        source=SOURCE_PREFIX + SERVICE,
        type="executor.tier-failed.v1",
        subject="sample-run/large",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        datacontenttype="application/json",
        organisation=CONTEXT.organisation,
        actor=CONTEXT.actor,
        sequence=1,
        correlationid=CONTEXT.correlation_id,
        data=msgspec.Raw(b'{"reason":"' + b"x" * 1_100_000 + b'"}'),
    )
    async with open_relay(record_access, nats) as relay:
        await append(store, 2)
        _record(record_access, large)
        await append(store, 2, "behind")
        error = await _not_ready(relay, errors.EVENT_TOO_LARGE)
        assert large.id in error.message
        assert error.context["size_bytes"] > 1_100_000
        assert "max_payload" in error.hint
        assert f"the stream {STREAM} stands behind its sequence 2, number 2 of the record: " in error.message
        assert len(await stored_messages(nats)) == 2


async def test_event_that_cannot_be_read_is_named(
    store: EventStore, record_access: SchemaAccess, nats: NatsServer
) -> None:
    """What is no envelope is told by its number, with the stream that waits for it, and quoted nowhere."""
    async with open_relay(record_access, nats) as relay:
        await append(store, 2)
        with psycopg.connect(record_access.admin_dsn, autocommit=True) as connection:
            connection.execute(
                f"INSERT INTO {record_access.schema}.stored_events (originator_id, originator_version, topic, state)"
                " VALUES ('odd', 1, 'executor.odd.v9', 'Anna & Ben')"
            )
        error = await _not_ready(relay, errors.EVENT_UNREADABLE)
        assert f"the stream {STREAM} stands behind its sequence 2" in error.message
        assert "number 3 of the record" in error.message
        assert "Anna" not in error.message + error.hint


@asynccontextmanager
async def _replicas(access: SchemaAccess, nats: NatsServer, count: int) -> AsyncIterator[list[Relay]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_relay(access, nats)) for _ in range(count)]


async def test_relays_of_replicas_agree_who_publishes(
    store: EventStore, record_access: SchemaAccess, nats: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """One of three publishes, the others stand by quietly; all are ready, and know how far it has come."""
    with caplog.at_level(logging.WARNING):
        async with _replicas(record_access, nats, 3) as relays:
            await eventually(lambda: any(relay.state.leads for relay in relays))
            for number in range(60):
                await append(store, 1, f"turn-{number}")
                assert [relay.state.refused for relay in relays] == [None, None, None]
                assert sum(relay.state.leads for relay in relays) == 1
            for relay in relays:
                await caught_up(relay, store)
                assert await relay.check() is None
            assert sorted(relay.state.published for relay in relays) == [0, 0, 60]
            assert [record.getMessage() for record in caplog.records if record.name.startswith("chassis")] == []
    assert await stored_messages(nats) == await expected(store)


async def test_relay_that_stands_by_takes_over_when_the_leader_goes(
    store: EventStore, record_access: SchemaAccess, nats: NatsServer
) -> None:
    """Whether it is stopped or its connection dies: another one goes on where it was."""
    async with _replicas(record_access, nats, 2) as relays:
        for round_ in range(2):
            await append(store, 5, str(round_))
            for relay in relays:
                await caught_up(relay, store)
            with psycopg.connect(record_access.admin_dsn, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(l.pid) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
                    " WHERE l.locktype = 'advisory' AND l.granted AND a.usename = %s",
                    (record_access.role,),
                )
            await append(store, 5, f"after-{round_}")
            await eventually(lambda: any(relay.state.leads for relay in relays))
        for relay in relays:
            await caught_up(relay, store)
            await eventually(lambda relay=relay: relay.state.refused is None)
    assert await stored_messages(nats) == await expected(store)


async def test_relay_behind_a_leader_that_publishes_nothing_is_not_ready(
    store: EventStore, record_access: SchemaAccess, nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To stand by is fine only as long as somebody publishes."""
    monkeypatch.setattr(outbox, "IDLE_LEADER_SECONDS", 0.5)
    await append(store, 3)
    with psycopg.connect(record_access.admin_dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (advisory_key(f"relay/{record_access.schema}"),))
        async with open_relay(record_access, nats) as relay:
            await _not_ready(relay, errors.UNAVAILABLE, "another replica has the lead")
            connection.close()
            await caught_up(relay, store)
            assert await relay.check() is None


async def test_stream_that_is_deleted_under_the_relay_is_named(
    store: EventStore, record_access: SchemaAccess, nats: NatsServer
) -> None:
    """A stream that is not there any more is missing, also to a relay that had joined it."""
    async with open_relay(record_access, nats) as relay:
        await append(store, 1)
        await caught_up(relay, store)
        async with nats.connected() as client:
            with contextlib.suppress(APIError):
                await client.jetstream().delete_stream(STREAM)
        await append(store, 1, "after")
        await _not_ready(relay, errors.STREAM_MISSING)
