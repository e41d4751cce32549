"""Stores and relays over real servers, for the tests of the record."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from nats.js.errors import NotFoundError

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
        registry=telemetry.registry,
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


@pytest.fixture
async def store(record_access: SchemaAccess) -> AsyncIterator[EventStore]:
    """A store over a fresh schema."""
    async with open_store(record_access) as opened:
        yield opened
