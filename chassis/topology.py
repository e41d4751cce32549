"""The server's streams and durable consumers, made equal to what `contracts.streams` declares.

Promise: `apply` creates what is missing (also after the store was deleted in the middle) and updates
what differs, never deletes and never purges; `compare` names every difference, so that a consumer that
somebody changed by hand, which clients ignore in silence, makes its service not ready.
"""

from collections.abc import Sequence

import msgspec
from nats.js import JetStreamContext

from chassis.connection import Connection
from contracts.errors import PlatformError
from contracts.streams import CONSUMERS, STREAMS, ConsumerSpec, StreamSpec


class Difference(msgspec.Struct, frozen=True):
    """One setting of the server that is not as declared. `actual` is None where the thing does not exist."""

    subject: str
    setting: str
    declared: object
    actual: object


class Change(msgspec.Struct, frozen=True):
    """What `apply` did: `created` or `updated`, and to what."""

    what: str
    action: str


def replay_consumer(spec: ConsumerSpec) -> ConsumerSpec:
    """The consumer through which a handler gets replayed dead letters."""
    raise NotImplementedError


def specs_of(service: str) -> tuple[tuple[StreamSpec, ...], tuple[ConsumerSpec, ...]]:
    """What a service needs: its own stream, those that it reads or writes, and its consumers."""
    raise NotImplementedError


async def apply(
    js: JetStreamContext,
    streams: Sequence[StreamSpec] = STREAMS,
    consumers: Sequence[ConsumerSpec] = CONSUMERS,
    *,
    replicas: int = 1,
) -> list[Change]:
    """Make the server equal to the declaration, as the topology identity. Raises PlatformError TOPOLOGY_DRIFT
    where the server refuses a change (a stream's storage or retention cannot be changed), UNAVAILABLE where it does
    not answer.
    """
    raise NotImplementedError


async def compare(
    js: JetStreamContext,
    streams: Sequence[StreamSpec] = STREAMS,
    consumers: Sequence[ConsumerSpec] = CONSUMERS,
) -> list[Difference]:
    """Every difference between the declaration and the server. Empty where all is as declared."""
    raise NotImplementedError


class TopologyCheck:
    """A part whose check compares what one service needs, at most every `every_seconds`."""

    name = "topology"

    def __init__(self, connection: Connection, service: str, *, every_seconds: float = 15.0) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Nothing is to be started: a service comes up not ready where the topology is not there yet."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Nothing is to be stopped."""
        raise NotImplementedError

    async def check(self) -> PlatformError | None:
        """STREAM_MISSING or TOPOLOGY_DRIFT, naming every difference; None where all is as declared."""
        raise NotImplementedError
