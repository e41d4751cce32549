"""An entry of the audit log: an event as it was published, and what of it is found without reading it."""

from datetime import datetime

import msgspec

UNREADABLE = "unreadable"
"""The type of what is no event: it is in the platform's log, byte for byte, and in no organisation's."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way into the log. `organisation`: empty where nobody can tell whose it is."""

    service: str
    log: str
    position: int
    organisation: str
    event_id: str
    type: str
    happened_at: datetime
    actor: str
    access: str | None
    leaf: bytes
    body: bytes
