"""Rules of the audit log: what of the events tells of somebody's access. Pure."""

from functools import cache

from contracts.event import pinned_events
from contracts.gateway_events import AccessDenied

ALLOWED = "allowed"
DENIED = "denied"


@cache
def _asked() -> frozenset[str]:
    """The events by which people ask for something: they say with which evidence."""
    return frozenset(name for name, event in pinned_events().items() if "evidence" in event.__struct_fields__)


def access_of(type_name: str) -> str | None:
    """Whether an event tells that somebody was let in or was not; None where it tells of nobody's access."""
    if type_name == AccessDenied.NAME:
        return DENIED
    return ALLOWED if type_name in _asked() else None
