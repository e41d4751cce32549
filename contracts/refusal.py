"""What every refusal of an owner says, whoever it is and whatever was asked for."""

import msgspec

from contracts.errors import ErrorCode
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
