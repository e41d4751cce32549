"""Making the read models anew from the streams.

Promise: nothing of the record is touched; while it runs, reads show what is applied so far. A running gateway does
the work itself; without one it is done here.
"""

import asyncio
import time

import msgspec
import psycopg

from chassis.health import Health
from chassis.postgres import connection_arguments, translated
from chassis.telemetry import Telemetry
from contracts import errors
from contracts.errors import PlatformError
from contracts.streams import SERVICES, stream_of
from gateway.bootstrap import SERVICE, connection_of, projector_of
from gateway.projections import state
from gateway.projections.applied import Database
from gateway.projections.projector import Projector
from gateway.settings import GatewaySettings

BATCH = 2_000
LOOK_SECONDS = 0.25


class Rebuilt(msgspec.Struct, frozen=True):
    """How a rebuild went. `events` and `here` say how many were applied by this process, and whether it did."""

    events: int
    seconds: float
    here: bool


async def rebuild(settings: GatewaySettings) -> Rebuilt:
    """Empty the read models, and return once they are made anew. Raises PlatformError."""
    telemetry = Telemetry(SERVICE)
    connection = connection_of(settings, telemetry, Health(SERVICE))
    await connection.start()
    try:
        began = time.perf_counter()
        dsn, schema = settings.postgres_dsn, settings.postgres_schema
        with translated():
            async with await psycopg.AsyncConnection.connect(dsn, **connection_arguments(dsn, schema)) as database:
                await state.reset(database)
                projector = projector_of(settings, connection, telemetry, None, batch=BATCH)
                events, here = await _apply(database, projector)
        return Rebuilt(events, time.perf_counter() - began, here)
    finally:
        await connection.stop()
        telemetry.close()


async def _apply(database: Database, projector: Projector) -> tuple[int, bool]:
    try:
        return await projector.catch_up(), True
    except PlatformError as error:
        if error.code is not errors.CONCURRENT_CHANGE:
            raise
    ends = await projector.ends()
    while True:
        stand = await state.read(database)
        if all(stand.place_of(stream_of(owner)).position >= ends[owner] for owner in SERVICES):
            return 0, False
        await asyncio.sleep(LOOK_SECONDS)
