"""Stores and relays over real servers, for the tests of the record."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from nats.js.api import ConsumerConfig, DeliverPolicy

from chassis.eventstore import EventStore
from chassis.health import Health
from chassis.outbox import Relay
from chassis.telemetry import Telemetry
from contracts.streams import stream_of
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import SchemaAccess

SERVICE = "executor"
STREAM = stream_of(SERVICE)


@asynccontextmanager
async def open_store(access: SchemaAccess, *, pool_size: int = 3) -> AsyncIterator[EventStore]:
    """A started store over a schema."""
    store = EventStore(dsn=access.dsn, schema=access.schema, service=SERVICE, pool_size=pool_size)
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


@asynccontextmanager
async def open_relay(access: SchemaAccess, server: NatsServer, *, window: int = 64) -> AsyncIterator[Relay]:
    """A started relay with the identity of production."""
    telemetry = Telemetry(SERVICE)
    connection = server.connection(SERVICE, telemetry, Health(SERVICE))
    await connection.start()
    relay = Relay(
        dsn=access.dsn, schema=access.schema, nats=connection, owner=SERVICE, window=window, registry=telemetry.registry
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
        found: list[tuple[str, bytes]] = []
        state = (await js.stream_info(STREAM)).state
        if state.messages == 0:
            return found
        subscription = await js.pull_subscribe(
            "", stream=STREAM, config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL, mem_storage=True)
        )
        while len(found) < state.messages:
            batch = await subscription.fetch(500, timeout=5)
            found += [((message.headers or {}).get("Nats-Msg-Id", ""), message.data) for message in batch]
        return found


@pytest.fixture
async def store(record_access: SchemaAccess) -> AsyncIterator[EventStore]:
    """A store over a fresh schema."""
    async with open_store(record_access) as opened:
        yield opened
