"""The relay: publishes a service's record to its JetStream stream, each event once, in order, without gaps.

The position is the last message of the stream itself. Each message carries `Wedsync-Log` (the log's
incarnation), `Wedsync-Position` (the notification id) and `Nats-Msg-Id` = `<incarnation>:<notification id>`,
and is chained to the one before by `Nats-Expected-Last-Msg-Id`: a second relay, or a message lost on the way,
breaks the chain instead of the order. On any failure the line is stopped and the position read again.

A stream that is gone, empty, shorter than what was published, from another log or ahead of this one is never
filled by surprise: the relay refuses with STREAM_MISSING or STREAM_OF_ANOTHER_LOG until `request_refill`.
"""

import msgspec
from nats.aio.client import Client

from contracts.errors import PlatformError

LOG_HEADER = "Wedsync-Log"
POSITION_HEADER = "Wedsync-Position"


def message_id(incarnation: str, notification_id: int) -> str:
    """The `Nats-Msg-Id` of an event."""
    return f"{incarnation}:{notification_id}"


class RelayState(msgspec.Struct, frozen=True, kw_only=True):
    """How the relay stands. `lag` is the number of events that the stream does not have yet, by notification ids.

    `refused`: why nothing is published, or None.
    """

    position: int
    lag: int
    published: int
    refused: PlatformError | None = None


class Relay:
    """A part (see `chassis.runtime`): follows one service's log while it runs.

    `dsn` and `schema` as for the event store; `nats` gives the connected client of the process, once it is asked.
    """

    name = "relay"

    def __init__(self, *, dsn: str, schema: str, nats: "NatsConnection", owner: str, window: int = 256) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Begin to follow the log."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Wait for what is under way, bounded, and stop."""
        raise NotImplementedError

    async def run(self) -> None:
        """Follow the log until cancelled."""
        raise NotImplementedError

    async def check(self) -> PlatformError | str | None:
        """Why nothing is published, or None."""
        raise NotImplementedError

    @property
    def state(self) -> RelayState:
        """How the relay stands, as of its last look."""
        raise NotImplementedError


class NatsConnection:
    """What the relay needs of `chassis.connection.Connection`."""

    @property
    def client(self) -> Client:
        """The raw client."""
        raise NotImplementedError


async def request_refill(dsn: str, schema: str, *, new_incarnation: bool = False) -> None:
    """Allow the relay to publish into a stream that does not continue this log.

    An empty stream is filled from the beginning and a short one from its end, under the same message ids; behind
    messages of another log the whole record is published again. `new_incarnation` is for a record that was
    restored to an earlier point (the stream is ahead of it): it begins a new log, so that no identity is used twice.
    `dsn` is the administrator's: a service cannot permit this to itself.
    """
    raise NotImplementedError
