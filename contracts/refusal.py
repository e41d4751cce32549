"""What every refusal of an owner says, whoever it is and whatever was asked for."""

from typing import Self

import msgspec

from contracts.errors import ErrorCode, PlatformError
from contracts.event import Event


class Objection(msgspec.Struct, frozen=True):
    """Why something is refused: a code of the catalogue, what to do about it, and the JSON path of the field if any."""

    code: ErrorCode
    field: str | None = None
    hint: str = ""


class Refusal(Event, frozen=True, kw_only=True):
    """The base of what answers a request with no. `code` is an entry of the error catalogue.

    `field`: the JSON path of what is wrong in the request, where it is one field's fault.
    """

    request_id: str
    code: str
    field: str | None = None
    hint: str = ""

    @classmethod
    def of(cls, request: Event, why: Objection | PlatformError) -> Self:
        """No to a request: what it is about is told as the request tells it."""
        about = {name: getattr(request, name) for name in cls.__struct_fields__ if hasattr(request, name)}
        return cls(**about | {"code": why.code.code, "field": why.field, "hint": why.hint})
