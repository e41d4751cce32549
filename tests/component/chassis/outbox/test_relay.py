"""The relay between a real Postgres and a real NATS: the stream is the log, message for message."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from chassis.life.health import Health
from chassis.outbox import relay as outbox
from chassis.outbox.relay import Relay, message_id
from chassis.record.eventstore import EventStore
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.envelope import CONTENT_TYPE
from contracts.errors import PlatformError
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
from tests.support.sample_runs import CONTEXT, SampleRun

__all__ = ["nats", "store"]

pytestmark = pytest.mark.stack


@pytest.fixture
async def relay(record_access: SchemaAccess, nats: NatsServer) -> AsyncIterator[Relay]:
    """A running relay."""
    async with open_relay(record_access, nats) as opened:
        yield opened


async def test_stream_is_the_log_byte_for_byte(store: EventStore, relay: Relay, nats: NatsServer) -> None:
    """What was recorded before and while the relay runs is published in order, once, as it was stored."""
    await append(store, 30)
    run = SampleRun("long")
    for _ in range(200):
        run.fail()
    await store.save(run, context=CONTEXT)
    await caught_up(relay, store)
    await append(store, 5, "later")
    await caught_up(relay, store)
    assert await stored_messages(nats) == await expected(store)
    assert (relay.state.lag, relay.state.published, relay.state.refused) == (0, 235, None)
    assert await relay.check() is None


async def test_message_carries_subject_and_headers(store: EventStore, relay: Relay, nats: NatsServer) -> None:
    """Subject, attributes and position can be read without the body."""
    (envelope,) = await store.save(SampleRun("a").fail(), context=CONTEXT)
    await caught_up(relay, store)
    async with nats.connected() as client:
        raw = await client.jetstream().get_msg(STREAM, seq=1)
    headers = raw.headers or {}
    assert raw.subject == f"backup.executor.{CONTEXT.organisation}.tier-failed.v1"
    assert headers["content-type"] == CONTENT_TYPE
    assert headers["ce-id"] == envelope.id
    assert headers["Wedsync-Log"] == await store.incarnation()
    assert headers["Wedsync-Position"] == "1"
    assert headers["Nats-Msg-Id"] == message_id(await store.incarnation(), 1)


async def test_relay_goes_on_where_the_stream_ends(
    store: EventStore, record_access: SchemaAccess, nats: NatsServer
) -> None:
    """A new process reads its position from the stream, and publishes nothing again."""
    for round_ in range(3):
        async with open_relay(record_access, nats) as relay:
            await append(store, 20, str(round_))
            await caught_up(relay, store)
            assert relay.state.published == 20
        await append(store, 0)
    assert await stored_messages(nats) == await expected(store)


async def test_stop_publishes_what_is_in_the_log(
    store: EventStore, record_access: SchemaAccess, nats: NatsServer
) -> None:
    """A graceful stop leaves nothing behind for the next start."""
    async with open_relay(record_access, nats):
        await append(store, 50)
    assert await stored_messages(nats) == await expected(store)


async def test_two_relays_do_not_repeat_or_reorder(
    store: EventStore, record_access: SchemaAccess, nats: NatsServer, relay: Relay
) -> None:
    """The chain fences off a second publisher: between them they publish each event once."""
    async with open_relay(record_access, nats, window=7) as second:
        await append(store, 200)
        await caught_up(second, store)
        await caught_up(relay, store)
        assert await relay.check() is None
        assert await second.check() is None
    assert await stored_messages(nats) == await expected(store)


async def test_ids_that_a_rolled_back_change_has_used_are_passed_over(
    store: EventStore, relay: Relay, nats: NatsServer
) -> None:
    """A gap in the notification ids is no missing event."""
    await store.save(SampleRun("a").fail(), context=CONTEXT)
    for _ in range(3):
        with pytest.raises(PlatformError):
            await store.save(SampleRun("a").fail(), context=CONTEXT)
    await store.save(SampleRun("b").fail(), context=CONTEXT)
    await caught_up(relay, store)
    assert relay.state.position > 2
    assert await stored_messages(nats) == await expected(store)


async def test_append_wakes_the_relay_before_its_next_look(
    store: EventStore, record_access: SchemaAccess, nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event is on the stream although the relay would not look by itself for an hour."""
    monkeypatch.setattr(outbox, "POLL_SECONDS", 3600.0)
    async with open_relay(record_access, nats, look_seconds=3600.0) as relay:
        for number in range(9):
            await store.save(SampleRun(str(number)).fail(), context=CONTEXT)
            await caught_up(relay, store)


async def test_relay_without_its_listening_connection_polls_and_listens_again(
    store: EventStore, relay: Relay, record_access: SchemaAccess
) -> None:
    """A connection that is cut costs a moment, and never an event."""
    await append(store, 1, "first")
    await caught_up(relay, store)
    for number in range(3):
        with psycopg.connect(record_access.admin_dsn, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s AND query LIKE 'LISTEN%%'",
                (record_access.role,),
            )
        await append(store, 3, str(number))
        await caught_up(relay, store)


async def test_metrics_show_what_is_published_and_what_is_behind(
    store: EventStore, record_access: SchemaAccess, nats: NatsServer
) -> None:
    """An operator sees the lag and whether anything is refused."""
    telemetry = Telemetry(SERVICE)
    connection = nats.connection(SERVICE, telemetry, Health(SERVICE))
    await connection.start()
    relay = Relay(
        dsn=record_access.dsn,
        schema=record_access.schema,
        nats=connection,
        owner=SERVICE,
        look_seconds=0.3,
        telemetry=telemetry,
    )
    await append(store, 3)
    await relay.start()
    await caught_up(relay, store)
    assert telemetry.registry.get_sample_value("wedsync_relay_published_total") == 3
    assert telemetry.registry.get_sample_value("wedsync_relay_lag_events") == 0
    assert telemetry.registry.get_sample_value("wedsync_relay_refused") == 0
    await asyncio.to_thread(nats.stop)
    await eventually(lambda: telemetry.registry.get_sample_value("wedsync_relay_refused") == 1)
    await relay.stop()
    await connection.stop()


async def test_relay_without_nats_is_not_ready_after_a_while_and_recovers(
    store: EventStore, relay: Relay, nats: NatsServer
) -> None:
    """A short interruption is no alarm; one that lasts is, with the part that is away."""
    await append(store, 1)
    await caught_up(relay, store)
    await asyncio.to_thread(nats.stop)
    await append(store, 5, "meanwhile")
    finding = await eventually(relay.check)
    assert isinstance(finding, PlatformError)
    assert finding.code is errors.UNAVAILABLE
    assert finding.context["part"] == "nats"
    await asyncio.to_thread(nats.start)
    await caught_up(relay, store)
    assert await relay.check() is None
    assert await stored_messages(nats) == await expected(store)


async def test_relay_that_meets_what_nobody_foresaw_says_so_and_goes_on(record_access: SchemaAccess) -> None:
    """A relay neither ends nor falls silent: its check says what it met."""

    class NoConnection:
        @property
        def client(self) -> object:
            raise RuntimeError("not started")

    relay = Relay(
        dsn=record_access.dsn,
        schema=record_access.schema,
        nats=NoConnection(),  # type: ignore[arg-type]
        owner=SERVICE,
        telemetry=Telemetry(SERVICE),
    )
    assert "not running" in str(await relay.ended())
    await relay.start()
    # Nothing is known yet, and that is not *ready*.
    assert "has not looked at its stream yet" in str(await relay.check())

    async def broke_off() -> bool:
        return "relay broke off: RuntimeError" in str(await relay.check())

    await eventually(broke_off)
    await relay.stop()
