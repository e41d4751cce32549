"""Events in: durable consumers whose handlers get decoded events, and what happens when one fails.

Promise: at least once, nothing lost, nothing blocked for ever. A handler that returns (or raises
`AlreadyHandled`) acknowledges. A message that cannot be taken goes to the dead letters with its cause
and is only then taken from the queue. See `chassis.delivery` for the verdicts.
"""

from collections.abc import Awaitable, Callable

import msgspec

from chassis.connection import Connection
from chassis.health import Health
from chassis.telemetry import Telemetry
from contracts.envelope import Envelope
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.streams import ConsumerSpec


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """A delivered event.

    `deliveries` counts from 1, this one included. `last`: after this delivery there is no other; a handler that
    waits for a fact refuses now. `traceparent` is that of the handler's span, for the `Context` of what follows.
    """

    envelope: Envelope
    event: Event
    deliveries: int
    last: bool
    traceparent: str | None = None


Handler = Callable[[Received], Awaitable[None]]


class Bus:
    """A part (see `chassis.runtime`): consumes on the process's connection once started.

    What a handler raises decides: nothing, or `AlreadyHandled` → acknowledged; PlatformError `UNAVAILABLE` → held and
    tried again until the platform's part is back; other PlatformErrors with retry `later` or `after-operator` → again
    after a growing delay, bounded by the consumer's `max_deliveries`, then dead letter; `never` → dead letter at once;
    anything else → like `later`. Unknown version → like `later`; malformed → dead letter at once.
    """

    name = "bus"

    def __init__(self, connection: Connection, service: str, *, telemetry: Telemetry, health: Health) -> None:
        raise NotImplementedError

    def handle(self, consumer: ConsumerSpec, handler: Handler) -> None:
        """Bind a handler to a declared durable consumer, before the start. One handler for each consumer."""
        raise NotImplementedError

    async def start(self) -> None:
        """Begin to consume. Raises PlatformError STREAM_MISSING where a consumer is not on the server."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Take no more; let handlers finish, bounded; give back at once what was fetched and not handled."""
        raise NotImplementedError

    async def check(self) -> PlatformError | str | None:
        """None while every consumer is being read."""
        raise NotImplementedError
