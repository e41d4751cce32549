"""Answering requests about things that are there: the same for every guard of every aggregate. Pure.

A guard is a method of the aggregate that takes the request, and records the fact that answers it or raises why not.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar

from chassis.domain import Aggregate
from chassis.handling import Handling, UseCase
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from contracts.refusal import Refusal

A = TypeVar("A", bound=Aggregate)


Beside = Callable[[A, Any], Awaitable[Any]]


class Things(Protocol[A]):
    """The record of the things of one kind (`chassis.record.answers`)."""

    async def find(self, id: str, organisation: str) -> A | None:  # noqa: A002  # as the aggregate names it
        """One of an organisation's, or None where it has none of this id. Raises EVENT_UNREADABLE."""
        ...

    async def record_answer(self, thing: A, handling: Handling) -> None:
        """Record an answer and the message as handled: both or none. Raises CONCURRENT_CHANGE."""
        ...


class Deciding(Generic[A]):
    """Makes use cases of guards. `about`: the field of the requests that has the thing's id.

    `missing`: the code where there is none; the same that the API tells of such a thing.
    """

    def __init__(self, kind: type[A], things: Things[A], *, about: str, missing: ErrorCode = errors.NOT_FOUND) -> None:
        self._kind = kind
        self._things = things
        self._about = about
        self._missing = missing

    def by(self, guard: Callable[..., None], refused: type[Refusal], *, beside: Beside[A] | None = None) -> UseCase:
        """What answers a request as a guard says, and with `refused` where it raises.

        `beside`: finds out what the guard takes as well. What that raises refuses nothing: it is asked again later.
        """

        async def decide(request: Any, handling: Handling) -> None:
            found = await self._things.find(getattr(request, self._about), handling.context.organisation)
            thing = found or self._kind(request.request_id)  # A refusal has to be in some history.
            more = () if beside is None or found is None else (await beside(found, request),)
            try:
                if found is None:
                    raise PlatformError(self._missing, "there is nothing of this id")
                guard(thing, request, *more)
            except PlatformError as error:
                thing.record(refused.of(request, error))
            await self._things.record_answer(thing, handling)

        return decide
