"""Making read models anew beside those that answer.

Promise: a projection that is new, was changed, cannot be read, or is asked for is built in its shadow from the
beginning of the streams, while the one that answers goes on; then the two change places in one transaction, once the
shadow stands where the other stands. Killed at any moment, a build goes on where its last commit was. One build at a
time, by an advisory lock.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, TypeVar

import psycopg

from chassis.bus.nats_client import QuickClient
from chassis.life.patience import patiently
from chassis.postgres.database import advisory_key, connection_arguments, translated
from chassis.reading.stored import START, Place
from chassis.reading.stream_reader import Found, StreamReader, contradicted, every_stream
from contracts import errors
from contracts.errors import PlatformError
from contracts.lost_streams import streams_lost
from contracts.streams import stream_of
from contracts.subjects import SERVICES
from gateway.projections import intake, state
from gateway.projections.applied import Database
from gateway.projections.intake import Intake
from gateway.projections.projection import Batch, Projection, Side, catalogue, instances, with_needs
from gateway.projections.session import end_when_silent, heard_while
from gateway.projections.state import Stand

T = TypeVar("T")

BATCH = 2_000
SILENT_SECONDS_MAX = 60.0
ASK_AGAIN_SECONDS = 1.0
RETRY_SECONDS = 0.02
RETRY_SECONDS_MAX = 2.0
IDLE_MAX = 200
"""How often a swap is tried in vain, while nothing is left to apply, before the streams count as too short."""
FORGET_EVERY = 50_000
PIPELINED_MAX = 100


class LogChanged(Exception):
    """The record is another log than the one that was applied: what was made from it must be made anew."""


class ShadowBuilder:
    """Builds what is due. `nats` gives the connected client once it is asked."""

    def __init__(self, *, dsn: str, schema: str, nats: Callable[[], QuickClient], batch: int = BATCH) -> None:
        self._dsn = dsn
        self._schema = schema
        self._nats = nats
        self._batch = batch
        self._places: dict[str, Place] = {}
        self._ends: dict[str, Place] = {}
        self._sequence = 0
        self._forgotten_at = 0

    async def build(self, *, want: str | None = None) -> int:
        """Build what is due; everything, where `want` says why. How many events were applied.

        Raises CONCURRENT_CHANGE where another build is at work, and what reading the streams raises.
        """
        arguments = connection_arguments(self._dsn, self._schema)
        with translated():
            async with await psycopg.AsyncConnection.connect(self._dsn, **arguments) as database:
                if not await _take(database, self._schema):
                    raise PlatformError(errors.CONCURRENT_CHANGE, "the read models are being made anew already")
                await database.execute("SET synchronous_commit = off")
                await end_when_silent(database)
                if want is not None:
                    await state.want(database, catalogue(), want, again=True)
                async with every_stream(self._nats()) as readers:
                    return await self._build(database, {reader.stream: reader for reader in readers.values()})

    async def _build(self, database: Database, readers: Mapping[str, StreamReader]) -> int:
        total = 0
        while names := await self._begin(database):
            projections = instances(names, Side.SHADOW)
            try:
                total += await self._build_one(database, readers, projections)
            except LogChanged:
                # What was built is of a log that is not the record any more.
                await state.want(database, catalogue(), "the record is another log", again=True)
        return total

    async def _build_one(
        self, database: Database, readers: Mapping[str, StreamReader], projections: list[Projection]
    ) -> int:
        total, idle, pause = 0, 0, RETRY_SECONDS
        for stream, reader in readers.items():
            self._ends[stream] = await _answered(database, reader.end)
        while True:
            filled = await self._fill(database, readers, projections)
            total += filled
            try:
                if await self._swap(database, readers, projections):
                    return total
                idle = 0 if filled else idle + 1
            except psycopg.errors.LockNotAvailable:
                # Somebody reads for long. Whoever asks meanwhile waits for each try, so there are fewer and fewer.
                pause = min(pause * 2, RETRY_SECONDS_MAX)
            if idle > IDLE_MAX:
                raise await self._short_of(database, readers)
            await asyncio.sleep(pause)

    async def _begin(self, database: Database) -> list[str]:
        """What is to be built, with its shadow emptied or taken over from a build that was interrupted."""
        async with database.transaction():
            found = await state.made(database)
            names = with_needs(state.due(found))
            begun = [found[name] for name in names]
            is_under_way = bool(begun) and all(
                each.wanted is None and each.building == catalogue()[name].VERSION and each.places == begun[0].places
                for name, each in zip(names, begun, strict=True)
            )
            if not is_under_way and names:
                await state.begin_shadow(database, names)
        self._places = dict(begun[0].places) if is_under_way else {}
        self._sequence = begun[0].sequence if is_under_way else 0
        return names

    async def _fill(
        self, database: Database, readers: Mapping[str, StreamReader], projections: list[Projection]
    ) -> int:
        """Apply what the streams hold, as far as the tables that answer hold it."""
        total, is_behind = 0, True
        while is_behind:
            is_behind = False
            stand = await state.read(database)
            for stream, reader in readers.items():
                place, log = self._places.get(stream, START), stand.log_of(stream)
                if log and place.log not in ("", log):
                    raise LogChanged
                read = await _answered(database, partial(reader.after, place, self._batch, log=log))
                found = self._up_to(stand, stream, read, projections)
                if found.has_more:
                    reader.read_ahead(found.place, self._batch)
                is_behind = is_behind or found.has_more
                if found.events or found.strays:

                    async def apply(part: Found, taken: Intake, *, stream: str = stream) -> bool:
                        await self._apply(database, stream, part, taken, projections)
                        return True

                    await intake.apply_what_fits(stream, found, apply)
                    total += len(found.events)
        return total

    def _up_to(self, stand: Stand, stream: str, found: Found, projections: list[Projection]) -> Found:
        """What was found, as far as the tables that answer hold it: a part of them must not run ahead of the others."""
        live = stand.place_of(stream)
        if any(message.position == live.position and message.place.differs_from(live) for message in found.events):
            raise contradicted(stream, live)
        if len(projections) == len(catalogue()):
            return found
        events = [message for message in found.events if message.position <= live.position]
        if len(events) == len(found.events):
            return found
        place = events[-1].place if events else self._places.get(stream, START)
        return Found(events, [stray for stray in found.strays if stray.sequence < place.sequence], place)

    async def _apply(
        self, database: Database, stream: str, found: Found, taken: Intake, projections: list[Projection]
    ) -> None:
        batch = Batch(taken.events, self._sequence, self._behind(stream, found.place))
        places = {**self._places, stream: found.place}
        async with contextlib.AsyncExitStack() as stack:
            if len(found.events) <= PIPELINED_MAX:
                await stack.enter_async_context(database.pipeline())
            await stack.enter_async_context(database.transaction())
            for projection in projections:
                await projection.project(database, batch)
            sequence = batch.sequence + batch.numbered
            await state.advance_shadow(database, [projection.NAME for projection in projections], places, sequence)
            await intake.note(database, Side.SHADOW, taken.passed)
            if sequence - self._forgotten_at >= FORGET_EVERY:
                self._forgotten_at = sequence
                for projection in projections:
                    await projection.forget_old(database, sequence)
        self._places, self._sequence = places, sequence

    def _behind(self, stream: str, place: Place) -> int:
        """How many messages follow a place at least; what another log has put behind it does not count."""
        end = self._ends[stream]
        if end.log != place.log:
            return 0
        return max(0, min(end.position - place.position, end.sequence - place.sequence))

    async def _swap(
        self, database: Database, readers: Mapping[str, StreamReader], projections: list[Projection]
    ) -> bool:
        """Let the shadows answer, if they stand where the others stand; whether they do.

        Raises LockNotAvailable where somebody reads the tables for longer than a moment.
        """
        names = [projection.NAME for projection in projections]
        is_whole = len(names) == len(catalogue())
        async with database.transaction():
            # From here on nobody applies anything: what is left to be done is little.
            stand = await state.lock(database)
            if not (self._is_ahead(readers, stand) if is_whole else self._stands_as(stand)):
                return False
            await state.lock_tables(database, names)
            for projection in projections:
                await projection.take_over(database)
            await state.swap(database, names, self._places, self._sequence)
        return True

    async def _short_of(self, database: Database, readers: Mapping[str, StreamReader]) -> PlatformError:
        """Which streams hold less than the read models show."""
        stand = await state.read(database)
        short = [stream for stream in readers if self._places.get(stream, START).position < _shown(stand, stream)]
        return streams_lost(
            f"{', '.join(short)} hold less than the read models show, which are therefore not made anew from them",
            short,
        )

    def _stands_as(self, stand: Stand) -> bool:
        return all(
            place.is_at(live)
            for place, live in (
                (self._places.get(stream, START), stand.place_of(stream)) for stream in map(stream_of, SERVICES)
            )
        )

    def _is_ahead(self, readers: Mapping[str, StreamReader], stand: Stand) -> bool:
        """Whether nothing that is told already would be missing.

        Of a log that an operator has said to be the record, what it held then is enough, be it nothing.
        """
        for stream in readers:
            place = self._places.get(stream, START)
            if place.log not in ("", stand.log_of(stream) or place.log):
                return False
            if place.position < _shown(stand, stream):
                return False
        return True


async def _answered(database: Database, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What a stream answers. A long build is not given up because a busy server was silent for a moment."""
    return await patiently(
        lambda: heard_while(database, ask()), seconds=SILENT_SECONDS_MAX, pause_seconds=ASK_AGAIN_SECONDS
    )


def _shown(stand: Stand, stream: str) -> int:
    """Up to which position of a stream's record the tables that answer hold it."""
    return (stand.records[stream] if stand.is_left_behind(stream) else stand.place_of(stream)).position


async def pending(nats: QuickClient, found: Mapping[str, state.Made]) -> int:
    """About how many messages are to be read until everything that is due is built."""
    due = [found[name] for name in with_needs(state.due(found))]
    left = 0
    async with every_stream(nats) as readers:
        for reader in readers.values():
            end = (await reader.end()).sequence
            read = min((each.places.get(reader.stream, START).sequence for each in due), default=end)
            left += max(0, end - read)
    return left


async def is_at_work(database: Database, schema: str) -> bool:
    """Whether somebody builds. Looked at, not tried: for a moment a try keeps from it whoever begins to."""
    asked = """
        SELECT EXISTS (
            SELECT FROM pg_locks
            WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND objsubid = 1 AND classid::bigint << 32 | objid::bigint = %s
        )
    """
    return bool((await (await database.execute(asked, (_key(schema),))).fetchall())[0][0])


async def _take(database: Database, schema: str) -> bool:
    rows = await (await database.execute("SELECT pg_try_advisory_lock(%s)", (_key(schema),))).fetchall()
    return bool(rows[0][0])


def _key(schema: str) -> int:
    return advisory_key(f"shadow/{schema}")
