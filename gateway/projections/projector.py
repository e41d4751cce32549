"""The projector: follows the streams of all services and keeps the read models up to date.

Promise: position and views change in one transaction, so that an event is applied exactly once, whatever is killed
when; streams need no order among each other, since each writes tables and columns of its own. One projector works at
a time, by an advisory lock; others stand by. Where the record has become another log, the read models are made anew.

An event of a version that this build does not know is noted, shown by the readiness report, and passed over: reads go
on, and after an update a rebuild takes it in.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence

import msgspec
import psycopg
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from prometheus_client import Counter, Gauge

from chassis.health import Health
from chassis.logging import describe
from chassis.outbox import POSITION_HEADER
from chassis.postgres import advisory_key, connection_arguments, translated
from chassis.telemetry import Telemetry
from chassis.upcasting import read_event
from contracts import errors
from contracts.envelope import MalformedEvent, UnknownEventType, decode
from contracts.errors import PlatformError
from contracts.event import event_class
from contracts.streams import SERVICES, stream_of
from contracts.subjects import EVENTS, events_of, once_stored
from gateway.projections import configurations, executions, facts, requests, state
from gateway.projections.applied import Applied, Database
from gateway.projections.state import Stand
from gateway.projections.stream_reader import LogChanged, Place, StoredMessage, StreamReader

LOG = logging.getLogger(__name__)

BATCH = 250
"""Few enough that requests on the same event loop do not wait long for a batch."""
POLL_SECONDS = 0.5
"""How often each stream is looked at although nobody announced anything: bounds the age of an answer."""
STORED_PAUSE_SECONDS = 0.0015
"""An announcement is heard before the stream has stored the event; this is about how long storing takes."""
ANNOUNCED_SECONDS = 2.0
RETRY_SECONDS = 0.5
STANDBY_SECONDS = 2.0
FORGET_EVERY = 20_000
PIPELINED_MAX = 100
"""Up to this many messages are written in a pipeline, with three waits in all; more of them are copied."""
HEALTH_NAME = "read-models"

PROJECTED = tuple({*configurations.EVENTS, *executions.EVENTS, *requests.EVENTS, *facts.EVENTS})


class ProjectorMetrics:
    """How the projector stands."""

    def __init__(self, telemetry: Telemetry) -> None:
        registry = telemetry.registry
        self.applied = Counter(
            "wedsync_projector_events", "Events applied to the read models", ("stream",), registry=registry
        )
        self.skipped = Counter(
            "wedsync_projector_skipped", "Events passed over, of unknown versions", ("stream",), registry=registry
        )
        self.behind = Gauge(
            "wedsync_projector_behind_seconds", "Time since all streams were last found applied", registry=registry
        )
        self.rebuilds = Counter("wedsync_projector_rebuilds", "Rebuilds of the read models", registry=registry)


class Round(msgspec.Struct):
    """What one look at the streams has found: events applied, whether there are more, and what failed."""

    applied: int = 0
    is_behind: bool = False
    trouble: PlatformError | None = None


class Projector:
    """Applies what the streams hold. `nats` gives the connected client once it is asked.

    `run` works until it is cancelled; `catch_up` returns once everything is applied, for a rebuild.
    """

    def __init__(
        self,
        *,
        dsn: str,
        schema: str,
        nats: Callable[[], Client],
        telemetry: Telemetry,
        health: Health | None = None,
        batch: int = BATCH,
    ) -> None:
        self._dsn = dsn
        self._schema = schema
        self._nats = nats
        self._health = health
        self._batch = batch
        self._metrics = ProjectorMetrics(telemetry)
        self._wake = asyncio.Event()
        self._announced: dict[str, tuple[int, float]] = {}
        self._caught_up_at = float("-inf")
        self._trouble: PlatformError | None = None
        self._noted: PlatformError | None = None
        self._stand: Stand | None = None
        self._standing_by = False
        self._skipped = 0
        self._since_forget = 0

    async def run(self) -> None:
        """Follow the streams until cancelled; a lost connection or server is waited for."""
        while True:
            try:
                await self._lead()
            except (PlatformError, psycopg.Error, NatsError, OSError) as error:
                self._trouble = (
                    error
                    if isinstance(error, PlatformError)
                    else PlatformError(errors.UNAVAILABLE, f"the projector stopped: {type(error).__name__}")
                )
                LOG.warning("projector stopped, begins again", extra={"cause": describe(error)})
                await asyncio.sleep(RETRY_SECONDS)

    async def check(self) -> PlatformError | str | None:
        """What keeps it from working at all, or None. A stream that cannot be read degrades the gateway only."""
        behind = 0.0 if self._standing_by else time.monotonic() - self._caught_up_at
        self._metrics.behind.set(behind)
        return self._trouble

    async def catch_up(self) -> int:
        """Apply everything that the streams hold now, and return how many events that were."""
        total = 0
        async with await psycopg.AsyncConnection.connect(
            self._dsn, **connection_arguments(self._dsn, self._schema)
        ) as database:
            if not await self._take_lead(database):
                raise PlatformError(errors.CONCURRENT_CHANGE, "another projector is at work; it applies the events")
            await state.lead(database)
            readers = self._readers()
            try:
                while True:
                    looked = await self._round(database, readers, SERVICES)
                    if looked.trouble is not None:
                        raise looked.trouble
                    if not looked.applied:
                        return total
                    total += looked.applied
            finally:
                for reader in readers.values():
                    await reader.close()

    async def ends(self) -> dict[str, int]:
        """The position of the last event in each owner's stream, 0 where there is none."""
        readers = self._readers()
        try:
            return {owner: await reader.end() for owner, reader in readers.items()}
        finally:
            for reader in readers.values():
                await reader.close()

    async def _lead(self) -> None:
        with translated():
            database = await psycopg.AsyncConnection.connect(self._dsn, **connection_arguments(self._dsn, self._schema))
        async with database:
            while not await self._take_lead(database):
                self._standing_by, self._trouble = True, None
                await asyncio.sleep(STANDBY_SECONDS)
            self._standing_by, self._trouble = False, None
            await state.lead(database)
            self._stand = None
            self._skipped = await state.count_skipped(database)
            readers = self._readers()
            subscriptions = [
                await self._nats().subscribe(once_stored(events_of(owner)), cb=self._announce) for owner in SERVICES
            ]
            try:
                await self._follow(database, readers)
            finally:
                with contextlib.suppress(NatsError):
                    for subscription in subscriptions:
                        await subscription.unsubscribe()
                for reader in readers.values():
                    await reader.close()

    def _readers(self) -> dict[str, StreamReader]:
        return {owner: StreamReader(self._nats(), stream_of(owner)) for owner in SERVICES}

    async def _follow(self, database: Database, readers: dict[str, StreamReader]) -> None:
        looked_at = float("-inf")
        while True:
            now = time.monotonic()
            due = now - looked_at >= POLL_SECONDS
            self._wake.clear()
            looked = await self._round(database, readers, SERVICES if due else self._awaited(now))
            if due:
                self._take_note(looked.trouble)
            if due and not looked.is_behind:
                looked_at = now
                if looked.trouble is None:
                    self._caught_up_at = now
            if not looked.applied:
                await self._pause(looked_at)

    def _take_note(self, trouble: PlatformError | None) -> None:
        """Reads go on while a stream cannot be read: it is shown, and not a reason to take the gateway away."""
        if trouble is None and self._skipped:
            trouble = PlatformError(
                errors.UNKNOWN_EVENT_VERSION,
                f"{self._skipped} events of unknown versions are missing from the read models",
                hint="Update the gateway, then run python -m gateway rebuild.",
            )
        if trouble is not None and (self._noted is None or self._noted.code is not trouble.code):
            LOG.warning("read models are not up to date", extra={"cause": describe(trouble), **trouble.context})
        self._noted = trouble
        if self._health is not None and trouble is not None:
            self._health.degrade(HEALTH_NAME, trouble)
        elif self._health is not None:
            self._health.restore(HEALTH_NAME)

    async def _pause(self, looked_at: float) -> None:
        """Wait for the next announcement; for a moment only while one is known that is not stored yet."""
        now = time.monotonic()
        awaited = [heard_at for _, heard_at in self._announced.values()]
        if awaited:
            # The longer it takes, the less often is looked: an announced event may never be stored.
            await asyncio.sleep(min(0.02, max(STORED_PAUSE_SECONDS, (now - min(awaited)) / 4)))
            return
        # Not `wait_for`: in Python 3.11 it swallows a cancellation that comes together with what it waits for.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, looked_at + POLL_SECONDS - now)):
                await self._wake.wait()
            await asyncio.sleep(STORED_PAUSE_SECONDS)

    def _awaited(self, now: float) -> Sequence[str]:
        """The owners whose announced events are not applied yet; an announcement that never came true is forgotten."""
        self._announced = {
            owner: heard for owner, heard in self._announced.items() if now - heard[1] <= ANNOUNCED_SECONDS
        }
        return tuple(self._announced)

    async def _announce(self, message: Msg) -> None:
        """An event is on its way into a stream. Only a hint: what is applied is what the stream has stored."""
        owner = message.subject.removeprefix(once_stored(f"{EVENTS}.")).partition(".")[0]
        position = int((message.headers or {}).get(POSITION_HEADER, "0"))
        known = self._announced.get(owner)
        if known is None or position > known[0]:
            self._announced[owner] = (position, time.monotonic())
        self._wake.set()

    async def _round(self, database: Database, readers: dict[str, StreamReader], owners: Sequence[str]) -> Round:
        """One batch of each stream, in turn."""
        looked = Round()
        if not owners:
            return looked
        if self._stand is None or len(owners) == len(readers):
            # Looked at now and then, since a rebuild may be asked for elsewhere; what is applied is checked anyway.
            self._stand = await state.read(database)
        stand = self._stand
        for owner in owners:
            reader = readers[owner]
            try:
                messages = await reader.after(stand.place_of(reader.stream), self._batch)
            except LogChanged:
                LOG.warning("the record is another log now, read models are made anew", extra={"stream": reader.stream})
                await self._start_over(database)
                return Round(applied=1, is_behind=True)
            except PlatformError as error:
                looked.trouble = error
                continue
            if len(messages) == self._batch:
                looked.is_behind = True
                reader.read_ahead(messages[-1].place, self._batch)
            if messages:
                stand = self._stand = await self._apply(database, stand, reader.stream, messages)
                looked.applied += len(messages)
            if owner in self._announced and self._announced[owner][0] <= stand.place_of(reader.stream).position:
                del self._announced[owner]
        return looked

    async def _start_over(self, database: Database) -> None:
        self._metrics.rebuilds.inc()
        self._skipped = 0
        self._stand = await state.reset(database)

    async def _apply(self, database: Database, stand: Stand, stream: str, messages: list[StoredMessage]) -> Stand:
        """Take messages that follow `stand` into the read models; where they stand then."""
        events, skipped = self._decode(stream, messages)
        async with contextlib.AsyncExitStack() as stack:
            if len(messages) <= PIPELINED_MAX:
                await stack.enter_async_context(database.pipeline())
            await stack.enter_async_context(database.transaction())
            locked = await state.lock(database)
            if locked.epoch != stand.epoch or locked.place_of(stream) != stand.place_of(stream):
                # Somebody has emptied the read models, or applied more: what was read does not follow any longer.
                return locked
            await configurations.project(database, events)
            await requests.project(database, events)
            configuration_of = await executions.project(database, events)
            new = await facts.project(database, events, locked.sequence, configuration_of)
            after = await state.advance(database, locked, stream, messages[-1].place, len(new))
            await state.note_skipped(database, stream, skipped)
            await self._forget_old(database, after.sequence, len(new))
        self._metrics.applied.labels(stream).inc(len(messages))
        self._metrics.skipped.labels(stream).inc(len(skipped))
        self._skipped += len(skipped)
        return after

    async def _forget_old(self, database: Database, sequence: int, new: int) -> None:
        self._since_forget += new
        if self._since_forget >= FORGET_EVERY:
            self._since_forget = 0
            await facts.forget_old(database, sequence)

    def _decode(self, stream: str, messages: list[StoredMessage]) -> tuple[list[Applied], list[tuple[Place, str]]]:
        events: list[Applied] = []
        skipped: list[tuple[Place, str]] = []
        for message in messages:
            name = "malformed"
            try:
                envelope = decode(message.body)
                name = envelope.type
                known = event_class(name)
                if known is None or known in PROJECTED:
                    events.append(Applied(envelope, read_event(envelope)))
            except (UnknownEventType, MalformedEvent) as error:
                LOG.error("event passed over", extra={"stream": stream, "type": name[:100], "cause": describe(error)})
                skipped.append((message.place, name[:200]))
        return events, skipped

    async def _take_lead(self, database: Database) -> bool:
        key = advisory_key(f"projector/{self._schema}")
        rows = await (await database.execute("SELECT pg_try_advisory_lock(%s)", (key,))).fetchall()
        return bool(rows[0][0])
