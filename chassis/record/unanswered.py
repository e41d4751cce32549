"""Requests whose message is given up: refused by their owner, so that nobody waits for ever.

Promise: the refusal takes the path of every refusal, from the record over the outbox, together with the inbox row of
the message. So a request that was carried out is not called refused, and one that was refused is not carried out by a
replay of its dead letter afterwards.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from chassis.context import Context
from chassis.domain import Aggregate
from chassis.handling import Handled
from chassis.record.eventstore import EventStore
from chassis.record.statements import AlreadyHandled
from contracts import errors
from contracts.envelope import MalformedEvent, decode
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.reading import read_plain
from contracts.refusal import Refusal

GiveUp = Callable[[bytes, str], Awaitable[bool]]
"""Takes the body of a message and the name of its consumer; False where the request was answered before.

Raises `MalformedEvent` where the body does not even say what was asked for, UNAVAILABLE to be called again.
"""

_FIELDS = msgspec.json.Decoder(dict[str, Any])


class RefusedAs(msgspec.Struct, frozen=True):
    """What says no to a request. `under`: its field with the id whose history keeps that: of what it would make.

    `kind`: of what that is, where it is another than most of the service's.
    """

    refusal: type[Refusal]
    under: str = "request_id"
    kind: type[Aggregate] | None = None


class Unanswered:
    """Refuses requests in the record of their owner. `refused`: every request that the service takes."""

    def __init__(
        self, store: EventStore, service: str, kind: type[Aggregate], refused: Mapping[type[Event], RefusedAs]
    ) -> None:
        self._store = store
        self._service = service
        self._kind = kind
        self._refused = refused

    def giving_up(self, request: type[Event]) -> GiveUp | None:
        """What refuses a request of this kind; None for what asks for nothing."""
        refused = self._refused.get(request)
        if refused is None:
            return None

        async def give_up(body: bytes, consumer: str) -> bool:
            return await self._give_up(request, refused, body, consumer)

        return give_up

    async def _give_up(self, request: type[Event], refused: RefusedAs, body: bytes, consumer: str) -> bool:
        envelope = decode(body)
        refusal, id = _refusal(request, refused, envelope.data)  # noqa: A001  # as the aggregate names it
        thing = (refused.kind or self._kind)(id)
        thing.record(refusal)
        context = Context.caused_by(envelope, actor=f"service:{self._service}")
        try:
            await self._store.save(thing, context=context, handled=Handled(consumer, envelope.id))
        except AlreadyHandled:
            return False
        except PlatformError as error:
            if error.code is not errors.CONCURRENT_CHANGE:
                raise
            return False  # There is what it would make, or a refusal: another message of the same request was answered.
        return True


def _refusal(request: type[Event], refused: RefusedAs, data: msgspec.Raw) -> tuple[Refusal, str]:
    """The refusal, as far as a request can be read, which may be why it is given up; and the id that keeps it."""
    try:
        said = _FIELDS.decode(data)
        names = {field.name: field.encode_name for field in msgspec.structs.fields(request)}
        about = {
            field.encode_name: said[field.encode_name]
            for field in msgspec.structs.fields(refused.refusal)
            if field.encode_name in said and field.name in names
        }
        hint = f"{errors.NOT_HANDLED.hint} It is the request {said['requestId']}."
        told = {**about, "code": errors.NOT_HANDLED.code, "hint": hint}
        refusal, id = read_plain(told, refused.refusal), said[names[refused.under]]  # noqa: A001  # as above
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError) as error:
        raise MalformedEvent(f"{request.NAME} does not say whom to refuse what") from error
    if not isinstance(id, str):
        raise MalformedEvent(f"{request.NAME} does not say what it is about")
    return refusal, id
