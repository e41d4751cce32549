"""How an event that was stored by an older version is read today.

Promise: what is stored is never rewritten; an old version is turned into the newest one each time it is
read. An upcaster goes from one pinned name to the next and works on plain JSON values, since the class of
the old version need not exist any more:

    @upcast("executor.tier-uploaded.v1", to="executor.tier-uploaded.v2")
    def count_objects(fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "objects": 0}

It is pure, it never raises for what was valid when it was written, and it stays for good.

All who act on events read through here: the record, the handlers on the bus, the read models.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from contracts.envelope import Envelope, MalformedEvent, UnknownEventType, decode_data
from contracts.event import Event, event_class
from contracts.reading import read_plain, require_in_calendar

Fields = dict[str, Any]
_FIELDS = msgspec.json.Decoder(Fields)
Upcaster = Callable[[Fields], Fields]
U = TypeVar("U", bound=Upcaster)


class Upcasters:
    """A chain of upcasters by pinned name. `find_class` says which class a name is pinned to."""

    def __init__(self, find_class: Callable[[str], type[Event] | None] = event_class) -> None:
        self._find_class = find_class
        self._steps: dict[str, tuple[str, Upcaster]] = {}

    def register(self, old: str, *, to: str) -> Callable[[U], U]:
        """Register the step from one name to the next. Raises ValueError for a second step or a circle."""

        def keep(upcaster: U) -> U:
            if old in self._steps:
                raise ValueError(f"{old} has an upcaster already")
            if self.newest(to) == old:
                raise ValueError(f"{old} would be upcast to itself")
            self._steps[old] = (to, upcaster)
            return upcaster

        return keep

    def newest(self, name: str) -> str:
        """The name that events stored under `name` are read as."""
        while name in self._steps:
            name = self._steps[name][0]
        return name

    def read(self, envelope: Envelope) -> Event:
        """The event that an envelope carries, in its newest version. Raises UnknownEventType or MalformedEvent."""
        if envelope.type not in self._steps:
            return decode_data(envelope)
        cls = self._find_class(self.newest(envelope.type))
        if cls is None:
            raise UnknownEventType(self.newest(envelope.type))
        name = envelope.type
        try:
            fields = _FIELDS.decode(envelope.data)
            while name in self._steps:
                name, upcaster = self._steps[name]
                fields = upcaster(fields)
            event = read_plain(fields, cls)
            require_in_calendar(event, cls)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise MalformedEvent(f"{envelope.type} read as {name}: {error}") from error
        return event


UPCASTERS = Upcasters()
"""The upcasters of the platform."""

upcast = UPCASTERS.register


def read_event(envelope: Envelope) -> Event:
    """The event that an envelope carries, in its newest version. Raises UnknownEventType or MalformedEvent."""
    return UPCASTERS.read(envelope)
