"""The record of one service: append, load and read in order. Async facade over `eventsourcing`'s Postgres recorder.

Promise: what `save` returned is on disk (`synchronous_commit=on`), whole or not at all, in one transaction
with the inbox row and the extra statements; the bytes stored are the bytes that the relay publishes.
Notification ids rise in the order of commits; a rolled-back transaction leaves a gap, never a late arrival.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString, TypeVar

from chassis.clock import Clock
from chassis.context import Context
from chassis.domain import Aggregate
from chassis.ids import Ids
from chassis.upcasting import UPCASTERS, Upcasters
from contracts.envelope import Envelope
from contracts.errors import PlatformError

A = TypeVar("A", bound=Aggregate)


@dataclass(frozen=True, slots=True)
class Handled:
    """The message whose effect is being recorded: the durable consumer's name and the event's id."""

    consumer: str
    event_id: str


class AlreadyHandled(Exception):
    """The message's effect is in the record already: acknowledge it and do nothing."""


@dataclass(frozen=True, slots=True)
class Statement:
    """An SQL statement of the service's own schema, executed in the transaction of a save, before the events.

    `parameters` as psycopg takes them. `rows`: how many rows it must touch; where it touches another number, or
    breaks a unique constraint, nothing is saved and `StatementRefused` is raised with `name`.
    """

    query: LiteralString
    parameters: Sequence[object] | dict[str, object] = ()
    rows: int | None = None
    name: str = ""


class StatementRefused(PlatformError):
    """An extra statement did not touch what it must, or broke a unique constraint; nothing was saved.

    `name` is the statement's. The code is CONCURRENT_CHANGE; whoever knows what it means raises something better.
    """

    name: str


class EventStore:
    """A part (see `chassis.runtime`): one per service and process.

    `dsn` is that of the service's own role, `schema` its own schema, `service` the owner's name in the envelopes.
    At most `pool_size` connections (at least 2: one writes, the others read).
    """

    name = "record"

    def __init__(
        self,
        *,
        dsn: str,
        schema: str,
        service: str,
        clock: Clock | None = None,
        ids: Ids | None = None,
        upcasters: Upcasters = UPCASTERS,
        pool_size: int = 3,
    ) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Connect. Raises UNAVAILABLE, or INVALID_SETTING where the schema is not installed or not ours to use."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Finish what is under way and close the connections."""
        raise NotImplementedError

    async def check(self) -> PlatformError | str | None:
        """UNAVAILABLE while Postgres does not answer."""
        raise NotImplementedError

    async def load(self, cls: type[A], id: str) -> A:  # noqa: A002  # as the aggregate names it
        """Read an aggregate from its history. Raises AGGREGATE_NOT_FOUND, also where the id is another kind's."""
        raise NotImplementedError

    async def find(self, cls: type[A], id: str) -> A | None:  # noqa: A002  # as the aggregate names it
        """As `load`, but None where there is no such aggregate."""
        raise NotImplementedError

    async def save(
        self, *aggregates: Aggregate, context: Context, handled: Handled | None = None, also: Sequence[Statement] = ()
    ) -> list[Envelope]:
        """Make what is pending history, in one transaction with the inbox row and the statements.

        An empty save with `handled` writes the inbox row alone. Returns the envelopes in their order. Raises
        `AlreadyHandled`; CONCURRENT_CHANGE where an aggregate has changed since it was loaded (load it anew);
        `StatementRefused`; UNAVAILABLE. Unless it returns, the aggregates are as they were, still pending.
        A connection that breaks during the commit is looked into: what was committed is not reported as failed.
        """
        raise NotImplementedError

    async def was_handled(self, handled: Handled) -> bool:
        """Whether a message's effect is in the record."""
        raise NotImplementedError

    async def history(self, id: str, *, after: int = 0) -> list[Envelope]:  # noqa: A002  # as the aggregate names it
        """The envelopes of one aggregate after a version, as they were stored."""
        raise NotImplementedError

    async def events(self, after: int = 0, limit: int = 1000) -> list[tuple[int, Envelope]]:
        """The notification log after a notification id: ids with the envelopes as they were stored."""
        raise NotImplementedError

    async def incarnation(self) -> str:
        """The id of this log: a new one when the record was restored to an earlier point."""
        raise NotImplementedError
