"""Stores and relays over real servers, for the tests of the record."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from nats.js.errors import NotFoundError

from chassis.clock import Clock
from chassis.life.health import Health
from chassis.outbox.relay import Relay, message_id
from chassis.record.eventstore import EventStore
from chassis.telemetry.instruments import Telemetry
from contracts.envelope import encode
from contracts.streams import stream_of
from tests.support.eventually import eventually
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import SchemaAccess
from tests.support.sample_runs import CONTEXT, SampleRun

SERVICE = "executor"
STREAM = stream_of(SERVICE)


@asynccontextmanager
async def open_store(
    access: SchemaAccess, *, pool_size: int = 3, health: Health | None = None, clock: Clock | None = None
) -> AsyncIterator[EventStore]:
    """A started store over a schema."""
    store = EventStore(
        dsn=access.dsn, schema=access.schema, service=SERVICE, pool_size=pool_size, health=health, clock=clock
    )
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


@asynccontextmanager
async def open_relay(
    access: SchemaAccess, server: NatsServer, *, window: int = 64, look_seconds: float = 15.0
) -> AsyncIterator[Relay]:
    """A started relay with the identity of production."""
    telemetry = Telemetry(SERVICE)
    connection = server.connection(SERVICE, telemetry, Health(SERVICE))
    await connection.start()
    relay = Relay(
        dsn=access.dsn,
        schema=access.schema,
        nats=connection,
        owner=SERVICE,
        window=window,
        look_seconds=look_seconds,
        telemetry=telemetry,
    )
    await relay.start()
    try:
        yield relay
    finally:
        await relay.stop()
        await connection.stop()
        telemetry.close()


async def stored_messages(server: NatsServer) -> list[tuple[str, bytes]]:
    """Every message of the stream in its order: message id and body."""
    async with server.connected() as client:
        js = client.jetstream()
        state = (await js.stream_info(STREAM)).state
        found = []
        for sequence in range(max(1, state.first_seq), state.last_seq + 1):
            with contextlib.suppress(NotFoundError):
                message = await js.get_msg(STREAM, seq=sequence)
                found.append(((message.headers or {}).get("Nats-Msg-Id", ""), message.data or b""))
        return found


async def append(store: EventStore, count: int, name: str = "run") -> None:
    """Record so many runs with one event each."""
    for number in range(count):
        await store.save(SampleRun(f"{name}-{number}").fail(), context=CONTEXT)


async def expected(store: EventStore) -> list[tuple[str, bytes]]:
    """What the stream has to hold: ids and bytes of the log."""
    incarnation = await store.incarnation()
    log = await store.events(limit=100_000)
    return [(message_id(incarnation, notification_id), encode(envelope)) for notification_id, envelope in log]


async def caught_up(relay: Relay, store: EventStore) -> None:
    """Wait until all that is in the log by now is on the stream."""
    last = (await store.events(limit=100_000))[-1][0]
    await eventually(lambda: relay.state.position == last)


@pytest.fixture
async def store(record_access: SchemaAccess) -> AsyncIterator[EventStore]:
    """A store over a fresh schema."""
    async with open_store(record_access) as opened:
        yield opened


@pytest.fixture
async def nats(own_nats: NatsServer) -> NatsServer:
    """A server with the topology."""
    await own_nats.apply()
    return own_nats
