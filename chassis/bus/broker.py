"""FastStream, as the bus uses it: a broker on a shared connection, and a codec for envelopes.

FastStream's own ways are replaced where they would open a second connection, close the shared one, guess at
the content of a message, log its subject, or create a consumer that is not there (`chassis.bus.pull`).
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError

from chassis.bus.connection import Connection
from chassis.bus.faststream_names import NatsBroker, NatsMessage
from chassis.bus.pull import BoundJetStream, PacedPull
from chassis.upcasting import read_event
from contracts.envelope import Envelope, MalformedEvent, decode
from contracts.event import Event
from contracts.streams import ConsumerSpec

_JETSTREAM_SECONDS = 5.0
_LONGEST_TRACEPARENT = 128


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """A delivered event.

    `deliveries` counts from 1, this one included. `last`: after this delivery there is no other; a handler that
    waits for a fact refuses now. `traceparent` is that of the handler's span, for the `Context` of what follows.
    `consumer` is the durable consumer's name, for the inbox; a replayed message has that of the first delivery.
    """

    envelope: Envelope
    event: Event
    deliveries: int
    last: bool
    consumer: str
    traceparent: str | None = None


class EnvelopeCodec:
    """Bytes to `Received`, in one step; FastStream's own decoding would guess from the content type."""

    def __init__(self, declared: Callable[[str], ConsumerSpec]) -> None:
        self._declared = declared

    async def decode(self, msg: Any) -> Any:
        """Read the envelope and the event in its newest version. Raises `MalformedEvent` or `UnknownEventType`."""
        metadata = msg.raw_message.metadata
        declared = self._declared(metadata.consumer)
        envelope = decode(msg.body)
        if envelope.traceparent is not None and len(envelope.traceparent) > _LONGEST_TRACEPARENT:
            raise MalformedEvent("traceparent is too long")
        return Received(
            envelope=envelope,
            event=read_event(envelope),
            deliveries=metadata.num_delivered,
            last=metadata.num_delivered >= declared.max_deliveries,
            consumer=declared.durable_name,
        )

    async def encode(self, msg: Any, serializer: Any = None) -> tuple[bytes, str | None]:
        """Events are published by the relay alone, from the record."""
        raise NotImplementedError("the bus publishes nothing")


class SharedBroker(NatsBroker):
    """A broker on the process's connection, which it neither opens nor closes."""

    def __init__(self, connection: Connection, *, middlewares: Any, codec: EnvelopeCodec, stop_seconds: float) -> None:
        # No logger: FastStream would log subjects and the text of errors. No FastDepends: nothing is injected.
        super().__init__(
            middlewares=middlewares, codec=codec, graceful_timeout=stop_seconds, logger=None, apply_types=False
        )
        self._shared = connection
        self._bound: BoundJetStream | None = None

    @property
    def pulls(self) -> dict[str, PacedPull]:
        """The pull subscriptions by the names of their consumers, once started."""
        return {} if self._bound is None else self._bound.pulls

    async def _connect(self) -> Client:
        client = self._shared.client
        self.config.connect(client)
        self._bound = BoundJetStream(client, timeout=_JETSTREAM_SECONDS)
        self._shared.when_back(self._bound.ask_again)
        self.config.connection_state.connect(client, self._bound)
        return client

    async def stop(self, exc_type: Any = None, exc_val: Any = None, exc_tb: Any = None) -> None:
        """Stop consuming. Not as NatsBroker does, which drains the connection: relay and worker still need it."""
        await super(NatsBroker, self).stop(exc_type, exc_val, exc_tb)
        self._connection = None
        self.config.disconnect()


class KeepAlive:
    """Tells the server every third of the acknowledgement time that the message is being worked on."""

    def __init__(self, msg: NatsMessage, spec: ConsumerSpec) -> None:
        self._msg = msg
        self._every = spec.ack_wait_seconds / 3
        self._loop = asyncio.get_running_loop()
        self._told: set[asyncio.Task[None]] = set()
        self._timer = self._loop.call_later(self._every, self._tell)

    def _tell(self) -> None:
        task = self._loop.create_task(_in_progress(self._msg))
        self._told.add(task)
        task.add_done_callback(self._told.discard)
        self._timer = self._loop.call_later(self._every, self._tell)

    def __enter__(self) -> None:
        """Begun with its making."""

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


async def _in_progress(msg: NatsMessage) -> None:
    # While the server is away it cannot be told; then it delivers the message again, and the inbox knows it.
    with contextlib.suppress(NatsError, OSError):
        await msg.in_progress()
