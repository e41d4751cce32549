"""Things of one kind in the record: found for an organisation, and answered about (`chassis.deciding.Things`)."""

from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from chassis.domain import Aggregate
from chassis.handling import Handling
from chassis.record.eventstore import EventStore, Statement

A = TypeVar("A", bound=Aggregate)


class Answers(Generic[A]):
    """On an event store. A subclass says the `KIND`, and what goes into the transaction of an answer (`beside`)."""

    KIND: ClassVar[type[Aggregate]]

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def find(self, id: str, organisation: str) -> A | None:  # noqa: A002  # as the aggregate names it
        """A thing of an organisation, or None: refusals are kept under the id of what they refuse, and are no thing."""
        kind: type[A] = self.KIND  # type: ignore[assignment]  # a class variable knows no type variable
        thing = await self._store.find(kind, id)
        is_there = thing is not None and thing.has_begun and thing.organisation == organisation
        return thing if is_there else None

    async def record_answer(self, thing: A, handling: Handling, other: Aggregate | None = None) -> None:
        """Record an answer with the inbox row, and what is beside it, in one transaction.

        `other`: what has something pending by the same decision.
        """
        also = self.beside(thing, handling)
        saved = (thing,) if other is None else (thing, other)
        await self._store.save(*saved, context=handling.context, handled=handling.handled, also=also)

    def beside(self, thing: A, handling: Handling) -> Sequence[Statement]:  # noqa: ARG002  # most have nothing
        """The statements that become true with what is `pending` of a thing."""
        return ()
