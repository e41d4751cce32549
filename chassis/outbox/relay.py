"""The relay: publishes a service's record to its JetStream stream, each event once, in order, without gaps.

The position is the last message of the stream itself. Each message carries `Wedsync-Log` (the log's
incarnation), `Wedsync-Position` (the notification id) and `Nats-Msg-Id` = `<incarnation>:<notification id>`,
and is chained to the one before (`chassis.outbox.chained`): a second relay, or a message lost on the way, breaks the
chain instead of the order. On any failure the line is stopped and the position read again.

A stream that does not continue this log is never filled by surprise (`chassis.outbox.continuity`): the relay refuses
with STREAM_MISSING or STREAM_OF_ANOTHER_LOG until `request_refill`.

The relays of a service's replicas agree by a lock in Postgres who publishes. The others stand by, and one of them
takes over within a second when the first one's connection is gone.

While there is something to publish, only what the stream has taken is progress: a relay that joins a full stream again
and again is not ready, and says why. It is woken by NOTIFY and looks every second besides, since a wake-up may be lost
with its connection.
"""

import asyncio
import logging
import time
from typing import Protocol

import msgspec
from nats.aio.client import Client
from prometheus_client import CollectorRegistry, Counter, Gauge
from psycopg.sql import SQL, Identifier

from chassis.life.tasks import Supervised, until_set
from chassis.outbox.chained import LOG_HEADER, POSITION_HEADER, ChainedPublisher, Message, NotTaken
from chassis.outbox.continuity import Published, message_id, position_in
from chassis.outbox.tables import (
    Connection,
    connect,
    last_id,
    log_view,
    prepare,
    read_published,
    read_rows,
    refilled,
    request_refill,
    standing,
    take_lead,
    write_published,
)
from chassis.postgres.database import channel_of, translated
from chassis.postgres.listening import listening
from chassis.telemetry.instruments import Telemetry
from contracts.envelope import Envelope, decode, headers_of
from contracts.errors import EVENT_TOO_LARGE, EVENT_UNREADABLE, UNAVAILABLE, PlatformError
from contracts.streams import stream_of
from contracts.subjects import event_subject

__all__ = ["LOG_HEADER", "POSITION_HEADER", "Relay", "RelayState", "message_id", "refilled", "request_refill"]

POLL_SECONDS = 1.0
LISTEN_SECONDS = 10.0
STOP_SECONDS = 5.0
LOOK_SECONDS = 15.0
"""How often a relay looks whether the stream still is what it left, holes included."""
REMEMBER_SECONDS = 0.5
STALL_SECONDS = 30.0
STAND_BY_SECONDS = 0.5
STEADY_SECONDS = 3.0
"""For how long another relay must have held the lock before what was wrong here counts as over."""
MUCH_OWED = 1000
"""From so many events behind the record on, a stream that is joined is said to be filled."""
IDLE_LEADER_SECONDS = 10.0
"""How long another relay may hold the lock and publish nothing of what there is."""
_HEADER_BYTES = 512
"""More than the chain adds to a message's headers."""
_REJOINS = 3

_log = logging.getLogger(__name__)


class NatsConnection(Protocol):
    """What the relay needs of `chassis.bus.connection.Connection`."""

    @property
    def client(self) -> Client:
        """The raw client, connected."""
        ...

    def refusal(self, subject: str, *, since: float) -> PlatformError | None:
        """Why the server refused a publish to such a subject since a moment, if it did."""
        ...


class RelayState(msgspec.Struct, frozen=True, kw_only=True):
    """How the relay stands. `lag`: by how many notification ids the stream is behind the log.

    `refused`: why nothing is published, or None. `leads`: whether it is this one of all replicas that publishes.
    """

    position: int = 0
    lag: int = 0
    published: int = 0
    refused: PlatformError | None = None
    leads: bool = False


class _Line(msgspec.Struct):
    """The stream, joined at a position, and what the record remembers of it."""

    publisher: ChainedPublisher
    incarnation: str
    position: int
    published: Published
    looked_at: float
    remembered_at: float = 0.0


class Relay:
    """A part (see `chassis.life.runtime`): follows one service's log while it runs.

    `dsn` and `schema` as for the event store; `nats` is the process's connection; `owner` the service whose stream
    and subjects these are. `window`: how many messages are on their way at most. `look_seconds`: how often the whole
    stream is looked at.
    """

    name = "relay"

    def __init__(
        self,
        *,
        dsn: str,
        schema: str,
        nats: NatsConnection,
        owner: str,
        telemetry: Telemetry,
        window: int = 256,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._dsn = dsn
        self._schema = schema
        self._nats = nats
        self._owner = owner
        self._stream = stream_of(owner)
        self._window = window
        self._look_seconds = look_seconds
        self._state = RelayState()
        self._has_looked = False
        self._filling_to = 0
        self._line: _Line | None = None
        self._wake = asyncio.Event()
        self._loop = Supervised(self.name, self._publish_log, telemetry=telemetry, stall_seconds=STALL_SECONDS)
        self._listener = Supervised("relay-listener", self._listen, telemetry=telemetry, every_seconds=POLL_SECONDS / 2)
        self._metrics = _Metrics(telemetry.registry)
        self._metrics.refused.set_function(lambda: 0 if self._loop.trouble is None else 1)
        self._metrics.lag.set_function(lambda: self._state.lag)

    @property
    def state(self) -> RelayState:
        """How the relay stands, as of its last look."""
        return msgspec.structs.replace(self._state, refused=self._loop.trouble)

    async def start(self) -> None:
        """Begin to follow the log."""
        await self._loop.start()
        await self._listener.start()

    async def stop(self) -> None:
        """Publish what is in the log by now, bounded, and stop."""
        self._wake.set()
        await self._loop.stop(wait_seconds=STOP_SECONDS)
        await self._listener.stop()

    async def ended(self) -> BaseException:
        """Wait until it ends without having been stopped, and say why (see `chassis.life.runtime.Mortal`)."""
        return await self._loop.ended()

    async def check(self) -> PlatformError | str | None:
        """Why nothing is published although there is something to publish, or None. A short interruption is none.

        A relay that cannot listen publishes by its poll alone, up to a second late: that is told as well.
        """
        found = await self._loop.check() or await self._listener.check()
        if found is None and not self._has_looked:
            return PlatformError(UNAVAILABLE, "the relay has not looked at its stream yet", part="nats")
        return found

    async def unfinished(self) -> str | None:
        """How far the stream is filled that was lost or is far behind; None where nobody reads too little of it."""
        if self._filling_to <= self._state.position or not self._state.leads:
            return None
        return f"still filling {self._stream}: {self._state.position} of {self._filling_to}"

    async def _listen(self) -> None:
        """Wake the relay at each append, as long as there is a connection; it polls besides."""
        with translated():
            async with await listening(self._dsn, self._schema) as connection:
                await connection.execute(SQL("LISTEN {}").format(Identifier(channel_of(self._schema))))
                # What was appended before the LISTEN took effect was not announced to it.
                self._wake.set()
                self._listener.progressed()
                while True:
                    async for _ in connection.notifies(timeout=LISTEN_SECONDS):
                        self._wake.set()
                    # Silence is no news: that there is somebody to announce anything is asked.
                    await connection.execute("SELECT 1")
                    self._listener.progressed()

    async def _publish_log(self) -> None:
        """Follow the log until something fails, or until stopped and at its end."""
        try:
            with translated():
                async with await connect(self._dsn, self._schema) as connection:
                    await prepare(connection)
                    if not await self._lead(connection):
                        return
                    self._state = msgspec.structs.replace(self._state, leads=True)
                    publisher = ChainedPublisher(self._nats.client, self._stream)
                    try:
                        await self._follow(connection, publisher)
                    finally:
                        await publisher.close()
        except PlatformError as error:
            raise self._named(error) from error
        finally:
            self._state = msgspec.structs.replace(self._state, leads=False)

    def _named(self, error: PlatformError) -> PlatformError:
        """The same, and of which stream, behind what: several services have a relay each."""
        where = f"the stream {self._stream}"
        at: dict[str, object] = {"stream": self._stream}
        if self._line is not None:
            sequence, position = self._line.publisher.last_sequence, self._line.position
            where += f" stands behind its sequence {sequence}, number {position} of the record"
            at |= {"stream_sequence": sequence, "log_position": position}
        # What it raised knows the end of the stream, and nobody's name.
        named = PlatformError(error.code, error.message, field=error.field, hint=error.hint, service=self._owner)
        return named.told_as(f"{where}: {error.message}", **{**error.context, **at})

    async def _lead(self, connection: Connection) -> bool:
        """Stand by until this relay is the one that publishes; False where it was stopped before."""
        began = moved_at = time.monotonic()
        before = -1
        while not await take_lead(connection, self._schema):
            if self._loop.is_stopping:
                return False
            now = time.monotonic()
            published, last = await standing(connection)
            if published >= last or published != before:
                before, moved_at = published, now
                # Replicas that fail in turn hold the lock for a moment each: that is no progress.
                if now - began > STEADY_SECONDS:
                    self._loop.progressed()
            elif now - moved_at > IDLE_LEADER_SECONDS:
                self._loop.failed(
                    PlatformError(
                        UNAVAILABLE,
                        "the relay of another replica has the lead and publishes nothing",
                        hint="Start that replica anew; this one takes over as soon as the lead is free.",
                        published=published,
                        last=last,
                    )
                )
            self._state = msgspec.structs.replace(self._state, position=published, lag=max(0, last - published))
            self._has_looked = True
            await asyncio.sleep(STAND_BY_SECONDS)
        return True

    async def _follow(self, connection: Connection, publisher: ChainedPublisher) -> None:
        line = await self._join(connection, publisher)
        rejoins = 0
        while True:
            self._wake.clear()
            rows = await self._read(connection, line)
            try:
                if rows:
                    await self._publish(line, rows)
                    rejoins = 0
            except NotTaken as error:
                # What a relay that is gone had on its way arrives after this one has looked. That is no trouble.
                if not error.is_chain or rejoins == _REJOINS:
                    raise
                rejoins += 1
                line = await self._join(connection, publisher)
                continue
            if not rows:
                self._loop.progressed()
            await self._remember(connection, line, now=self._loop.is_stopping)
            if not rows:
                if self._loop.is_stopping:
                    return
                await until_set(self._wake, min(POLL_SECONDS, self._look_seconds))
            if time.monotonic() - line.looked_at > self._look_seconds:
                await self._remember(connection, line, now=True)
                line = await self._join(connection, publisher)

    async def _join(self, connection: Connection, publisher: ChainedPublisher) -> _Line:
        """Find the position in the stream. Raises STREAM_MISSING, STREAM_OF_ANOTHER_LOG or UNAVAILABLE."""
        view = await publisher.look()
        log = await log_view(connection, view)
        published, granted, used = await read_published(connection)
        position, remembered = position_in(log, published, view, may_refill=granted > used)
        if remembered != published or granted > used:
            await write_published(connection, remembered, granted)
            if granted > used:
                _log.warning("filling the stream by permission", extra={"stream": self._stream, "position": position})
        line = self._line = _Line(publisher, log.incarnation, position, remembered, time.monotonic())
        self._settle(line, log.last - position)
        if granted > used or log.last - position > MUCH_OWED:
            self._filling_to = log.last
        self._has_looked = True
        return line

    async def _read(self, connection: Connection, line: _Line) -> list[tuple[int, bytes]]:
        rows = await read_rows(connection, line.position, self._window)
        if len(rows) == self._window:
            self._settle(line, await last_id(connection) - line.position)
        return rows

    async def _publish(self, line: _Line, rows: list[tuple[int, bytes]]) -> None:
        messages: list[Message] = []
        failure: PlatformError | None = None
        began = time.monotonic()
        for notification_id, state in rows:
            try:
                messages.append(self._message(line, notification_id, state))
            except PlatformError as error:
                failure = error
                break
        taken, refused = await line.publisher.append(messages) if messages else (0, None)
        if taken:
            line.position = rows[taken - 1][0]
            self._metrics.published.inc(taken)
            self._state = msgspec.structs.replace(self._state, published=self._state.published + taken)
            self._loop.progressed()
        if refused is not None:
            raise self._nats.refusal(messages[taken].subject, since=began) or refused
        if failure is not None:
            raise failure
        self._settle(line, max(0, self._state.lag - taken) if len(rows) == self._window else 0)

    def _message(self, line: _Line, notification_id: int, state: bytes) -> Message:
        """What is published of an event. Raises EVENT_UNREADABLE or EVENT_TOO_LARGE where it cannot be."""
        try:
            envelope = decode(state)
        except ValueError as error:
            # The decoder's words may quote the event: they stay with the cause.
            raise PlatformError(
                EVENT_UNREADABLE,
                f"number {notification_id} of the record cannot be read, and what is behind it waits",
            ) from error
        headers = headers_of(envelope)
        headers[LOG_HEADER] = line.incarnation
        headers[POSITION_HEADER] = str(notification_id)
        message = Message(message_id(line.incarnation, notification_id), event_subject(envelope), state, headers)
        size = len(state) + sum(len(name) + len(value.encode()) + 4 for name, value in headers.items()) + _HEADER_BYTES
        limit = self._nats.client.max_payload
        if size > limit:
            raise _unfit(envelope, notification_id, size, limit)
        return message

    async def _remember(self, connection: Connection, line: _Line, *, now: bool = False) -> None:
        """Keep the high-water mark, every now and then."""
        if line.position <= line.published.high_water:
            return
        if now or time.monotonic() - line.remembered_at > REMEMBER_SECONDS:
            line.published = msgspec.structs.replace(line.published, high_water=line.position, foreign_tail=None)
            line.remembered_at = time.monotonic()
            await write_published(connection, line.published)

    def _settle(self, line: _Line, lag: int) -> None:
        self._state = msgspec.structs.replace(self._state, position=line.position, lag=lag)


def _unfit(envelope: Envelope, notification_id: int, size: int, limit: int) -> PlatformError:
    """An event that was recorded before there was a limit, and is larger than any message may be."""
    return PlatformError(
        EVENT_TOO_LARGE,
        f"event {envelope.id}, number {notification_id} of the record, makes a message of {size} bytes;"
        f" nats takes {limit}, and what is behind it waits",
        hint=f"Raise max_payload of the NATS servers above {size} (64 MiB at most) and start them anew: a reload is"
        " told to new connections alone. Publishing goes on by itself.",
        event_id=envelope.id,
        size_bytes=size,
        limit_bytes=limit,
    )


class _Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.published = Counter(
            "wedsync_relay_published", "Events that the stream has acknowledged.", registry=registry
        )
        self.lag = Gauge(
            "wedsync_relay_lag_events", "By how many notification ids the stream is behind the log.", registry=registry
        )
        self.refused = Gauge("wedsync_relay_refused", "1 while the relay does not publish.", registry=registry)
