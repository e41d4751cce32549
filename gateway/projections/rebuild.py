"""Making the read models anew from the streams, in this process.

Promise: nothing of the record is touched, and the read models that there are answer until the new ones take their
place (`gateway.projections.shadow`).
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import psycopg

from chassis.bus.connection import Connection
from chassis.life.health import Health
from chassis.postgres.database import connection_arguments, translated
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.errors import PlatformError
from gateway.projections import state
from gateway.projections.projection import catalogue
from gateway.projections.shadow import ShadowBuilder
from gateway.settings import SERVICE, GatewaySettings

LOOK_SECONDS = 0.25
WANT = "an operator asked for it"


class Rebuilt(msgspec.Struct, frozen=True):
    """How a rebuild went. `events` and `here` say how many were applied by this process, and whether it did."""

    events: int
    seconds: float
    here: bool


async def rebuild(settings: GatewaySettings) -> Rebuilt:
    """Return once all read models are made anew. Raises PlatformError."""
    began = time.perf_counter()
    async with _builder(settings) as builder:
        try:
            return Rebuilt(await builder.build(want=WANT), time.perf_counter() - began, here=True)
        except PlatformError as error:
            if error.code is not errors.CONCURRENT_CHANGE:
                raise
        # Whoever is building does it once more. Where he ends, or dies, before it is done, it is done here.
        dsn, schema, events = settings.postgres_dsn, settings.postgres_schema, 0
        with translated():
            async with await psycopg.AsyncConnection.connect(dsn, **connection_arguments(dsn, schema)) as database:
                await state.want(database, catalogue(), WANT, again=True)
                while state.due(await state.made(database)):
                    await asyncio.sleep(LOOK_SECONDS)
                    events += await _built_if_free(builder)
        return Rebuilt(events, time.perf_counter() - began, here=events > 0)


async def build_due(settings: GatewaySettings) -> int:
    """Make what is due; how many events were applied. Nothing where somebody else is at it. Raises PlatformError."""
    async with _builder(settings) as builder:
        return await _built_if_free(builder)


async def _built_if_free(builder: ShadowBuilder) -> int:
    try:
        return await builder.build()
    except PlatformError as error:
        if error.code is not errors.CONCURRENT_CHANGE:
            raise
        return 0


@asynccontextmanager
async def _builder(settings: GatewaySettings) -> AsyncIterator[ShadowBuilder]:
    telemetry = Telemetry(SERVICE)
    connection = Connection.of(settings, SERVICE, telemetry, Health(SERVICE))
    await connection.start()
    try:
        yield ShadowBuilder(dsn=settings.postgres_dsn, schema=settings.postgres_schema, nats=lambda: connection.client)
    finally:
        await connection.stop()
        telemetry.close()
