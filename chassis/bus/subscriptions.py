"""Events in: durable consumers whose handlers get decoded events, and what happens when one fails.

Promise: at least once, nothing lost, nothing blocked for ever. A handler that returns (or raises
`AlreadyHandled`) acknowledges. A message that cannot be taken goes to the dead letters with its cause, where it is a
request is refused in its owner's record, and is only then taken from its queue. `chassis.bus.delivery` has the
verdicts. Deliveries are looked at before the handler is called, so that a message that kills the process each time is
buried as well.

FastStream runs the subscriptions. Its defaults would lose events: a message whose handler raises is
dropped, and a consumer that differs from what is declared is used as it is. Hence `NACK_ON_ERROR`, streams
and consumers that are only ever bound (`chassis.bus.topology` declares them), and the middleware below.
"""

import asyncio
import contextlib
import functools
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from opentelemetry.trace import SpanKind

from chassis.bus.broker import EnvelopeCodec, KeepAlive, Received, SharedBroker
from chassis.bus.connection import Connection
from chassis.bus.consumer_watch import LOOK_SECONDS, STILL_SECONDS, ConsumerWatch
from chassis.bus.delivery import Acknowledge, Again, Bury, chance, verdict
from chassis.bus.failing import Failing
from chassis.bus.faststream_names import AckPolicy, BaseMiddleware, JStream, NackMessage, NatsMessage, PullSub
from chassis.bus.giving_up import GivingUp
from chassis.bus.topology import replay_consumer
from chassis.clock import Clock, SystemClock
from chassis.life.health import Health
from chassis.record.unanswered import GiveUp
from chassis.telemetry.instruments import Telemetry, current_traceparent
from chassis.telemetry.logging import describe, log_context
from contracts import errors
from contracts.envelope import MalformedEvent, UnknownEventType
from contracts.errors import ErrorCode, PlatformError
from contracts.streams import ConsumerSpec

if TYPE_CHECKING:
    from types import TracebackType

    from faststream._internal.context.repository import ContextRepo

__all__ = ["SLOTS", "Bus", "Handler", "Received"]

_log = logging.getLogger(__name__)

SLOTS = 16
PULL_SECONDS = 10.0
HANDLER_SECONDS = 300.0
STOP_SECONDS = 4.0
_FIRST_HOLD_SECONDS = 0.1
_LONGEST_HOLD_SECONDS = 5.0
# From this delivery on a message is suspected of killing the process, unless it was seen to fail at the one before, and
# is handled by itself: what is handled beside it would die with it, be delivered as often, and be buried with it.
_SUSPECT_FROM = 3
_SUSPECT_WAIT_SECONDS = 0.05

Handler = Callable[[Received], Awaitable[None]]


class Bus:
    """A part (see `chassis.life.runtime`): consumes on the process's connection once started.

    A handler may take `handler_seconds`; while it runs, the server is told that it does, so that nobody else gets
    the message meanwhile. Up to sixteen messages of one consumer are handled at the same time, in no order, and no
    more are fetched, so that a slow one holds up none of the others.
    """

    name = "bus"

    def __init__(
        self,
        connection: Connection,
        service: str,
        *,
        telemetry: Telemetry,
        health: Health,
        clock: Clock | None = None,
        handler_seconds: float = HANDLER_SECONDS,
        stop_seconds: float = STOP_SECONDS,
        look_seconds: float = LOOK_SECONDS,
        still_seconds: float = STILL_SECONDS,
    ) -> None:
        self.connection = connection
        self.service = service
        self.telemetry = telemetry
        self.health = health
        self.clock = clock or SystemClock()
        self.handler_seconds = handler_seconds
        self.stopping = asyncio.Event()
        self.suspects = asyncio.Lock()
        self.held: Counter[str] = Counter()
        self.failing = Failing(health)
        self.giving_up = GivingUp(connection, health=health, telemetry=telemetry, clock=self.clock)
        self._bindings: dict[str, _Binding] = {}
        self._broker = SharedBroker(
            connection,
            middlewares=(functools.partial(_Delivery, self),),
            codec=EnvelopeCodec(self._declared),
            stop_seconds=stop_seconds,
        )
        self._watch = ConsumerWatch(
            connection,
            service,
            telemetry=telemetry,
            health=health,
            look_seconds=look_seconds,
            still_seconds=still_seconds,
            failing=self.failing,
        )

    def handle(self, consumer: ConsumerSpec, handler: Handler, give_up: GiveUp | None = None) -> None:
        """Bind a handler to a declared durable consumer, before the start. One handler for each consumer.

        The handler gets the replays of its dead letters as well. `give_up` refuses what a message asks for that is
        given up, once its dead letter is written.
        """
        if consumer.service != self.service:
            raise ValueError(f"{consumer.durable_name} belongs to {consumer.service}, not to {self.service}")
        if consumer.durable_name in self._bindings:
            raise ValueError(f"{consumer.durable_name} has a handler already")
        for spec in (consumer, replay_consumer(consumer)):
            binding = self._bindings[spec.durable_name] = _Binding(spec, consumer, handler, give_up)
            self._watch.add(spec, is_replay=spec is not consumer)
            subscriber = self._broker.subscriber(
                spec.subjects[0],
                stream=JStream(spec.stream, declare=False),
                durable=spec.durable_name,
                pull_sub=PullSub(batch_size=SLOTS, timeout=PULL_SECONDS),
                max_workers=SLOTS,
                ack_policy=AckPolicy.NACK_ON_ERROR,
                inbox_prefix=f"{self.connection.inbox_prefix}.".encode(),
                no_reply=True,
            )
            subscriber(functools.partial(self._call, binding))

    def _declared(self, durable_name: str) -> ConsumerSpec:
        return self._bindings[durable_name].base

    def binding(self, durable_name: str) -> "_Binding":
        """What was bound to a consumer."""
        return self._bindings[durable_name]

    def release(self, message: Msg) -> None:
        """A message was dealt with; another may be fetched in its place."""
        pull = self._broker.pulls.get(message.metadata.consumer)
        if pull is not None:
            pull.done(message)

    async def start(self) -> None:
        """Begin to consume. A consumer that is not on the server yet is waited for, and keeps `check` from passing."""
        await self._broker.start()
        await self._watch.loop.start()

    async def stop(self) -> None:
        """Take no more; let handlers finish, bounded; give back at once what was fetched and not handled."""
        # In this order: what is given back while this process stops must not be fetched by it again.
        for pull in self._broker.pulls.values():
            await pull.close()
        self.stopping.set()
        await self._watch.loop.stop()
        await self._broker.stop()

    async def check(self) -> PlatformError | str | None:
        """None while every consumer is being read, and delivers what it has."""
        for durable, pull in self._broker.pulls.items():
            if (trouble := pull.found()) is not None:
                return PlatformError(
                    errors.STREAM_MISSING,
                    f"{durable}: {trouble}",
                    hint="Run wedsync-backup topology apply; where that does not help, start this process anew.",
                )
        return self._watch.check() or await self._watch.loop.check()

    async def _call(self, binding: "_Binding", received: Received) -> None:
        """The handler in its span. FastStream calls this with what the codec has decoded."""
        envelope = received.envelope
        attributes: dict[str, str | int | float | bool] = {
            "messaging.system": "nats",
            "messaging.consumer.group.name": binding.spec.durable_name,
            "cloudevents.event_type": envelope.type,
            "cloudevents.event_id": envelope.id,
            "messaging.nats.deliveries": received.deliveries,
        }
        with self.telemetry.span(
            binding.spec.durable_name,
            traceparent=envelope.traceparent,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
        ):
            async with asyncio.timeout(self.handler_seconds):
                await binding.handler(msgspec.structs.replace(received, traceparent=current_traceparent()))


class _Binding(msgspec.Struct, frozen=True):
    """A handler and the consumer that it is bound to. `base` is the declared one, also for its replays."""

    spec: ConsumerSpec
    base: ConsumerSpec
    handler: Handler
    give_up: GiveUp | None


class _Delivery(BaseMiddleware[Any, Msg]):
    """One delivered message: counts, calls, decides."""

    def __init__(self, bus: Bus, msg: Msg, /, *, context: "ContextRepo") -> None:
        super().__init__(msg, context=context)
        self._bus = bus
        self._metrics = bus.telemetry.metrics

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: NatsMessage) -> None:  # type: ignore[override]
        """Call the handler and act on the verdict; FastStream acknowledges, returns or terminates as it is told."""
        metadata = msg.raw_message.metadata
        binding = self._bus.binding(metadata.consumer)
        durable = binding.spec.durable_name
        with log_context(consumer=durable, deliveries=metadata.num_delivered), KeepAlive(msg, binding.spec):
            if metadata.num_delivered > binding.spec.max_deliveries:
                # Neither acknowledged nor given back: the process died over it, or it was cut off, every time.
                cause = f"delivered {metadata.num_delivered - 1} times and never answered"
                await self._give_up(binding, msg, errors.HANDLER_FAILED, cause)
            try:
                received: Received = await msg.decode()  # type: ignore[assignment]  # by our codec
            except (MalformedEvent, UnknownEventType) as error:
                await self._act(binding, msg, "unknown", error)
                return
            envelope = received.envelope
            with log_context(eventId=envelope.id, event=envelope.type, correlationId=envelope.correlationid):
                if received.deliveries == 1:
                    age = (self._bus.clock.now() - envelope.time).total_seconds()
                    self._metrics.age_seconds.labels(durable).observe(max(age, 0.0))
                is_known = self._bus.failing.has_failed(binding.spec, metadata.sequence.stream, received.deliveries)
                if received.deliveries < _SUSPECT_FROM or is_known:
                    failure = await self._outcome(binding, call_next, msg, envelope.type)
                else:
                    failure = await self._outcome_alone(binding, call_next, msg, envelope.type)
                await self._act(binding, msg, envelope.type, failure)

    async def _outcome(
        self, binding: _Binding, call_next: Callable[[Any], Awaitable[Any]], msg: NatsMessage, name: str
    ) -> Exception | None:
        """What the handler raised, or None."""
        try:
            with self._metrics.handler_seconds.labels(binding.spec.durable_name).time():
                await self._call(binding, functools.partial(call_next, msg), name)
        except Exception as error:  # noqa: BLE001  # whatever it is, the message must get a verdict
            return error
        return None

    async def _outcome_alone(
        self, binding: _Binding, call_next: Callable[[Any], Awaitable[Any]], msg: NatsMessage, name: str
    ) -> Exception | None:
        """The same for a suspect: after those that came for the first time, one at a time, in another order each
        time, and acknowledged for certain before the next one begins.
        """
        metadata = msg.raw_message.metadata
        await asyncio.sleep(
            _SUSPECT_WAIT_SECONDS * (1 + 4 * chance(f"{metadata.sequence.stream}", metadata.num_delivered))
        )
        async with self._bus.suspects:
            failure = await self._outcome(binding, call_next, msg, name)
            if failure is None:
                # A lost confirmation is made good by FastStream's own acknowledgement, which follows.
                with contextlib.suppress(NatsError, OSError):
                    await msg.ack_sync()
        return failure

    async def _call(self, binding: _Binding, call: Callable[[], Awaitable[Any]], name: str) -> None:
        """Call the handler, or what refuses; while a part of the platform is away, hold the message and call again.

        An outage of our own database must not use up the deliveries of every message that comes meanwhile.
        """
        durable = binding.spec.durable_name
        finding, pause, is_held = f"held:{durable}", _FIRST_HOLD_SECONDS, False
        try:
            while True:
                try:
                    await call()
                    return
                except PlatformError as error:
                    if error.code is not errors.UNAVAILABLE:
                        raise
                    self._metrics.handled.labels(durable, name, "held").inc()
                    if not is_held:
                        self._bus.held[durable] += 1
                        is_held = True
                    self._bus.health.degrade(finding, error)
                    _log.warning("held until the platform's part is back", exc_info=error)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._bus.stopping.wait()
                    raise NackMessage  # Another process may reach what this one does not.
                pause = min(pause * 2, _LONGEST_HOLD_SECONDS)
        finally:
            self._bus.held[durable] -= is_held
            if not self._bus.held[durable]:
                # Not earlier: those that go well beside one that is held say nothing of it.
                self._bus.health.restore(finding)

    async def after_processed(
        self,
        exc_type: type[BaseException] | None = None,  # noqa: ARG002
        exc_val: BaseException | None = None,  # noqa: ARG002
        exc_tb: "TracebackType | None" = None,  # noqa: ARG002
    ) -> bool:
        """The message's slot is free, whatever became of it."""
        self._bus.release(self.msg)
        return False

    async def _act(self, binding: _Binding, msg: NatsMessage, name: str, error: Exception | None) -> None:
        if isinstance(error, NackMessage):
            raise error
        durable = binding.spec.durable_name
        metadata = msg.raw_message.metadata
        sequence, deliveries = metadata.sequence.stream, metadata.num_delivered
        decided = verdict(
            error,
            identity=f"{durable}:{sequence}",
            deliveries=deliveries,
            max_deliveries=binding.spec.max_deliveries,
        )
        match decided:
            case Acknowledge(repeated=repeated):
                self._bus.failing.settled(binding.spec, sequence)
                self._metrics.handled.labels(durable, name, "repeated" if repeated else "acknowledged").inc()
            case Again(delay_seconds=seconds, code=code):
                if error is not None:
                    self._bus.failing.failed(binding.spec, sequence, deliveries, error)
                seconds = self._bus.failing.pause(binding.spec, deliveries, seconds)
                self._metrics.handled.labels(durable, name, "again").inc()
                _log.warning(
                    "to be delivered again", exc_info=error, extra={"code": code.code, "delaySeconds": seconds}
                )
                raise NackMessage(delay=seconds)
            case Bury(code=code):
                self._bus.failing.settled(binding.spec, sequence)
                self._metrics.handled.labels(durable, name, "dead").inc()
                await self._give_up(binding, msg, code, describe(error) if error is not None else code.title)

    async def _give_up(self, binding: _Binding, msg: NatsMessage, code: ErrorCode, cause: str) -> None:
        await self._bus.giving_up.give_up(
            binding.spec,
            binding.base,
            msg.raw_message,
            code,
            cause,
            refuse=binding.give_up,
            patiently=functools.partial(self._call, binding),
        )
