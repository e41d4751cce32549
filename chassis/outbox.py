"""The relay: publishes a service's record to its JetStream stream, each event once, in order, without gaps.

The position is the last message of the stream itself. Each message carries `Wedsync-Log` (the log's
incarnation), `Wedsync-Position` (the notification id) and `Nats-Msg-Id` = `<incarnation>:<notification id>`,
and is chained to the one before (`chassis.chained`): a second relay, or a message lost on the way, breaks the
chain instead of the order. On any failure the line is stopped and the position read again.

A stream that does not continue this log is never filled by surprise (`chassis.continuity`): the relay refuses
with STREAM_MISSING or STREAM_OF_ANOTHER_LOG until `request_refill`.

It is woken by NOTIFY and looks every second besides, since a wake-up may be lost with its connection.
"""

import asyncio
import contextlib
import logging
import time
from typing import Any, Protocol

import msgspec
from nats.aio.client import Client
from prometheus_client import CollectorRegistry, Counter, Gauge
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier

from chassis.chained import LOG_HEADER, POSITION_HEADER, ChainedPublisher, Message
from chassis.continuity import LogView, Published, StreamView, message_id, position_in
from chassis.postgres import channel_of, connection_arguments, translated
from contracts.envelope import decode, headers_of
from contracts.errors import UNAVAILABLE, PlatformError
from contracts.streams import stream_of
from contracts.subjects import event_subject

__all__ = ["LOG_HEADER", "POSITION_HEADER", "Relay", "RelayState", "message_id", "request_refill"]

POLL_SECONDS = 1.0
STOP_SECONDS = 5.0
LOOK_SECONDS = 15.0
"""How often a relay looks whether the stream still is what it left, holes included."""
REMEMBER_SECONDS = 0.5
TROUBLE_SECONDS = 3.0
"""How long publishing may fail, with tries every second or sooner, before the relay counts as not ready."""

_log = logging.getLogger(__name__)

_Connection = AsyncConnection[tuple[Any, ...]]


class NatsConnection(Protocol):
    """What the relay needs of `chassis.connection.Connection`."""

    @property
    def client(self) -> Client:
        """The raw client, connected."""
        ...


class RelayState(msgspec.Struct, frozen=True, kw_only=True):
    """How the relay stands. `lag`: by how many notification ids the stream is behind the log.

    `refused`: why nothing is published, or None.
    """

    position: int = 0
    lag: int = 0
    published: int = 0
    refused: PlatformError | None = None


class _Line(msgspec.Struct):
    """The stream, joined at a position, and what the record remembers of it."""

    publisher: ChainedPublisher
    incarnation: str
    position: int
    published: Published
    looked_at: float
    remembered_at: float = 0.0


class Relay:
    """A part (see `chassis.runtime`): follows one service's log while it runs.

    `dsn` and `schema` as for the event store; `nats` is the process's connection; `owner` the service whose stream
    and subjects these are. `window`: how many messages are on their way at most. `look_seconds`: how often the whole
    stream is looked at. `registry` gets the metrics.
    """

    name = "relay"

    def __init__(
        self,
        *,
        dsn: str,
        schema: str,
        nats: NatsConnection,
        owner: str,
        window: int = 256,
        look_seconds: float = LOOK_SECONDS,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._dsn = dsn
        self._schema = schema
        self._nats = nats
        self._stream = stream_of(owner)
        self._window = window
        self._look_seconds = look_seconds
        self._metrics = _Metrics(registry or CollectorRegistry())
        self._state = RelayState()
        self._trouble_since = 0.0
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> RelayState:
        """How the relay stands, as of its last look."""
        return self._state

    async def start(self) -> None:
        """Begin to follow the log."""
        self._task = asyncio.create_task(self.run(), name=self.name)

    async def stop(self) -> None:
        """Publish what is in the log by now, bounded, and stop."""
        if self._task is not None:
            self._stopping = True
            self._wake.set()
            await asyncio.wait({self._task}, timeout=STOP_SECONDS)
            self._task.cancel()
            await asyncio.wait({self._task})

    async def ended(self) -> BaseException:
        """Wait until it ends without having been stopped, and say why (see `chassis.runtime.Mortal`)."""
        if self._task is None:
            return RuntimeError("the relay was not started")
        await asyncio.wait({self._task})
        failure = None if self._task.cancelled() else self._task.exception()
        return failure or RuntimeError("the relay ended by itself")

    async def check(self) -> PlatformError | str | None:
        """Why nothing is published, or None. A short interruption is none."""
        refused = self._state.refused
        if refused is None or refused.code is not UNAVAILABLE:
            return refused
        return refused if time.monotonic() - self._trouble_since > TROUBLE_SECONDS else None

    async def run(self) -> None:
        """Follow the log until cancelled, or until stopped and at its end (or unable to reach it)."""
        listener = asyncio.create_task(self._listen(), name=f"{self.name} listener")
        pause = 0.0
        try:
            while True:
                before = self._state.published
                try:
                    with translated():
                        await self._connect_and_follow()
                    return
                except PlatformError as error:
                    self._refuse(error)
                if self._stopping:
                    return
                pause = 0.0 if self._state.published > before else min(pause * 2 + 0.05, POLL_SECONDS)
                await asyncio.sleep(pause)
        finally:
            listener.cancel()
            await asyncio.wait({listener})

    async def _listen(self) -> None:
        """Wake the relay at each append, as long as there is a connection; it polls besides."""
        while True:
            with contextlib.suppress(PlatformError), translated():
                async with await self._connect() as connection:
                    await connection.execute(SQL("LISTEN {}").format(Identifier(channel_of(self._schema))))
                    # What was appended before the LISTEN took effect was not announced to it.
                    self._wake.set()
                    async for _ in connection.notifies():
                        self._wake.set()
            await asyncio.sleep(POLL_SECONDS / 2)

    async def _connect(self) -> _Connection:
        return await AsyncConnection.connect(self._dsn, **connection_arguments(self._dsn, self._schema))

    async def _connect_and_follow(self) -> None:
        async with await self._connect() as connection:
            # The one table that is written here is a memory of what was published. When a crash loses the last
            # of it, less is noticed for a moment; a commit on disk for each window would be dear.
            await connection.execute("SET synchronous_commit = off")
            publisher = ChainedPublisher(self._nats.client, self._stream)
            try:
                await self._follow(connection, publisher)
            finally:
                await publisher.close()

    async def _follow(self, connection: _Connection, publisher: ChainedPublisher) -> None:
        line = await self._join(connection, publisher)
        while True:
            self._wake.clear()
            rows = await self._read(connection, line)
            if rows:
                await self._publish(line, rows)
            await self._remember(connection, line, now=self._stopping)
            if not rows:
                if self._stopping:
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), min(POLL_SECONDS, self._look_seconds))
            if time.monotonic() - line.looked_at > self._look_seconds:
                await self._remember(connection, line, now=True)
                line = await self._join(connection, publisher)

    async def _join(self, connection: _Connection, publisher: ChainedPublisher) -> _Line:
        """Find the position in the stream. Raises STREAM_MISSING, STREAM_OF_ANOTHER_LOG or UNAVAILABLE."""
        view = await publisher.look()
        log = await _log_view(connection, view)
        published, granted, used = await _published(connection)
        position, remembered = position_in(log, published, view, may_refill=granted > used)
        if remembered != published or granted > used:
            await _write_published(connection, remembered, granted)
            if granted > used:
                _log.warning("filling the stream by permission", extra={"stream": self._stream, "position": position})
        line = _Line(publisher, log.incarnation, position, remembered, time.monotonic())
        self._settle(line, log.last - position)
        return line

    async def _read(self, connection: _Connection, line: _Line) -> list[tuple[int, bytes]]:
        cursor = await connection.execute(
            "SELECT notification_id, state FROM stored_events WHERE notification_id > %s"
            " ORDER BY notification_id LIMIT %s",
            (line.position, self._window),
        )
        rows = [(int(notification_id), bytes(state)) for notification_id, state in await cursor.fetchall()]
        if len(rows) == self._window:
            self._settle(line, await _last(connection) - line.position)
        return rows

    async def _publish(self, line: _Line, rows: list[tuple[int, bytes]]) -> None:
        messages = []
        for notification_id, state in rows:
            envelope = decode(state)
            headers = headers_of(envelope)
            headers[LOG_HEADER] = line.incarnation
            headers[POSITION_HEADER] = str(notification_id)
            identity = message_id(line.incarnation, notification_id)
            messages.append(Message(identity, event_subject(envelope), state, headers))
        taken, failure = await line.publisher.append(messages)
        if taken:
            line.position = rows[taken - 1][0]
            self._metrics.published.inc(taken)
            self._state = msgspec.structs.replace(self._state, published=self._state.published + taken)
        if failure is not None:
            raise PlatformError(UNAVAILABLE, f"the stream did not take an event: {failure}", part="nats")
        self._settle(line, max(0, self._state.lag - taken) if len(rows) == self._window else 0)

    async def _remember(self, connection: _Connection, line: _Line, *, now: bool = False) -> None:
        """Keep the high-water mark, every now and then."""
        if line.position <= line.published.high_water:
            return
        if now or time.monotonic() - line.remembered_at > REMEMBER_SECONDS:
            line.published = msgspec.structs.replace(line.published, high_water=line.position, foreign_tail=None)
            line.remembered_at = time.monotonic()
            await _write_published(connection, line.published)

    def _settle(self, line: _Line, lag: int) -> None:
        if self._state.refused is not None:
            _log.info("publishing again", extra={"stream": self._stream, "position": line.position})
        self._state = msgspec.structs.replace(self._state, position=line.position, lag=lag, refused=None)
        self._metrics.lag.set(lag)
        self._metrics.refused.set(0)

    def _refuse(self, error: PlatformError) -> None:
        before = self._state.refused
        if before is None:
            self._trouble_since = time.monotonic()
        if before is None or before.code is not error.code:
            _log.error("not publishing", exc_info=error, extra={"stream": self._stream, "hint": error.hint})
        self._state = msgspec.structs.replace(self._state, refused=error)
        self._metrics.refused.set(1)


class _Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.published = Counter(
            "wedsync_relay_published", "Events that the stream has acknowledged.", registry=registry
        )
        self.lag = Gauge(
            "wedsync_relay_lag_events", "By how many notification ids the stream is behind the log.", registry=registry
        )
        self.refused = Gauge("wedsync_relay_refused", "1 while the relay does not publish.", registry=registry)


async def _last(connection: _Connection) -> int:
    rows = await (await connection.execute("SELECT max(notification_id) FROM stored_events")).fetchall()
    return int(rows[0][0] or 0)


async def _log_view(connection: _Connection, stream: StreamView) -> LogView:
    cursor = await connection.execute("SELECT incarnation FROM log_incarnations ORDER BY number DESC LIMIT 1")
    incarnation = str((await cursor.fetchall())[0][0])
    has_tail = False
    if stream.tail is not None and stream.tail.incarnation == incarnation and stream.tail.position is not None:
        found = await connection.execute(
            "SELECT 1 FROM stored_events WHERE notification_id = %s AND state = %s",
            (stream.tail.position, stream.tail.body),
        )
        has_tail = await found.fetchone() is not None
    return LogView(incarnation=incarnation, last=await _last(connection), has_tail=has_tail)


async def _published(connection: _Connection) -> tuple[Published, int, int]:
    """What is remembered, the number of the last permission that was granted, and of the last that was used."""
    cursor = await connection.execute(
        "SELECT incarnation, high_water, foreign_tail, first_sequence, lost, permission_used,"
        " (SELECT coalesce(max(number), 0) FROM refill_permissions) FROM outbox_state"
    )
    ((incarnation, high_water, foreign_tail, first_sequence, lost, used, granted),) = await cursor.fetchall()
    published = Published(
        incarnation=incarnation,
        high_water=high_water,
        foreign_tail=foreign_tail,
        first_sequence=first_sequence,
        lost=lost,
    )
    return published, granted, used


async def _write_published(connection: _Connection, published: Published, permission: int | None = None) -> None:
    await connection.execute(
        "UPDATE outbox_state SET incarnation = %s, high_water = %s, foreign_tail = %s, first_sequence = %s, lost = %s,"
        " permission_used = coalesce(%s, permission_used)",
        (
            published.incarnation,
            published.high_water,
            published.foreign_tail,
            published.first_sequence,
            published.lost,
            permission,
        ),
    )


async def request_refill(dsn: str, schema: str, *, new_incarnation: bool = False) -> None:
    """Allow the relay to publish into a stream that does not continue this log.

    An empty stream is filled from the beginning and a short one from its end, under the same message ids; behind
    messages of another log the whole record is published again. `new_incarnation` is for a record that was
    restored to an earlier point (the stream is ahead of it): it begins a new log, so that no identity is used twice.
    `dsn` is the administrator's: a service cannot permit this to itself. Raises UNAVAILABLE.
    """
    with translated():
        async with await AsyncConnection.connect(dsn, **connection_arguments(dsn, schema)) as connection:
            async with connection.transaction():
                if new_incarnation:
                    await connection.execute("INSERT INTO log_incarnations DEFAULT VALUES")
                await connection.execute("INSERT INTO refill_permissions DEFAULT VALUES")
            await connection.execute(SQL("NOTIFY {}").format(Identifier(channel_of(schema))))
