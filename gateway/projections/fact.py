"""One fact as the WebSocket tells it, with its number."""

from datetime import datetime

import msgspec


class Fact(msgspec.Struct, frozen=True):
    """One fact with its number. `type` and `fields` are those of the newest version: the event's own fields, JSON."""

    sequence: int
    organisation: str
    execution_id: str | None
    configuration_id: str | None
    request_id: str | None
    type: str
    event_id: str
    time: datetime
    fields: msgspec.Raw
