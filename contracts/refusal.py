"""What every refusal of an owner says, whoever it is and whatever was asked for."""

from collections.abc import Sequence
from typing import Self

import msgspec

from contracts.errors import ErrorCode, PlatformError
from contracts.event import Event, Value


class Objection(msgspec.Struct, frozen=True):
    """Why something is refused: a code of the catalogue, what to do about it, and the JSON path of the field if any."""

    code: ErrorCode
    field: str | None = None
    hint: str = ""


class Objected(PlatformError):
    """Several things speak against what is asked for; as one error it is the first of them."""

    def __init__(self, every: Sequence[Objection]) -> None:
        first = every[0]
        super().__init__(first.code, "a rule is broken", field=first.field, hint=first.hint)
        self.every = tuple(every)


class WrongField(Value, frozen=True, kw_only=True):
    """One wrong field of a request, as a refusal tells it: `field` is its JSON path, `code` of the catalogue."""

    field: str
    code: str
    hint: str = ""


class Refusal(Event, frozen=True, kw_only=True):
    """The base of what answers a request with no. `code` is an entry of the error catalogue.

    `field`: the JSON path of what is wrong in the request, where it is one field's fault.
    `wrong`: every field that is wrong, the first of them the one that the others tell; empty where its owner looked for
    no more than one.
    """

    request_id: str
    code: str
    field: str | None = None
    hint: str = ""
    wrong: tuple[WrongField, ...] = ()

    @classmethod
    def of(cls, request: Event, why: Objection | PlatformError) -> Self:
        """No to a request: what it is about is told as the request tells it."""
        about = {name: getattr(request, name) for name in cls.__struct_fields__ if hasattr(request, name)}
        every = why.every if isinstance(why, Objected) else ()
        wrong = tuple(
            WrongField(field=each.field, code=each.code.code, hint=each.hint)
            for each in every
            if each.field is not None
        )
        return cls(**about | {"code": why.code.code, "field": why.field, "hint": why.hint, "wrong": wrong})
