"""Rules of the audit log: what of the events tells of somebody's access. Pure."""

import re
from functools import cache

import msgspec

from contracts.event import pinned_events
from contracts.gateway_events import AccessDenied

ALLOWED = "allowed"
DENIED = "denied"
_TYPE = re.compile(r"([a-z][a-z0-9-]*\.[a-z][a-z0-9-]*)\.v[1-9][0-9]{0,5}")

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


@cache
def _known() -> dict[str, bool]:
    """Whether people ask for something by an event, by its name without the version: they say with which evidence."""
    return {name.rpartition(".")[0]: "evidence" in event.__struct_fields__ for name, event in pinned_events().items()}


def access_of(type_name: str, data: bytes | msgspec.Raw) -> str | None:
    """Whether an event tells that somebody was let in or was not; None where it tells of nobody's access.

    What is written into the log is never written anew, and services of two builds run beside each other: so events and
    versions that this build does not know are judged as well, by whether they say with which evidence.
    """
    named = _TYPE.fullmatch(type_name)
    if named is None:
        return None
    if type_name.rpartition(".")[0] == AccessDenied.NAME.rpartition(".")[0]:
        return DENIED
    asks = _known().get(named.group(1))
    if asks or (type_name not in pinned_events() and _says_evidence(data)):
        return ALLOWED
    return None


def _says_evidence(data: bytes | msgspec.Raw) -> bool:
    try:
        return "evidence" in _FIELDS.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
