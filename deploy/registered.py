"""The list of the organisations that an operator has added, as its file has it."""

from datetime import datetime

import msgspec

NAME = "organisations.json"


class Organisation(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant. `name`: what people call it; `added`: None where nobody has added it, and it is there all the same."""

    id: str
    name: str
    added: datetime | None = None


class Registry(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    organisations: list[Organisation] = []


_REGISTRY = msgspec.json.Decoder(Registry)


def organisations_of(body: bytes) -> list[Organisation]:
    """Those that a file's bytes name. Raises `MsgspecError`, ValueError or RecursionError."""
    return _REGISTRY.decode(body).organisations
