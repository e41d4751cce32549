"""An owner's no, as the read model of requests keeps it."""

from typing import Self

import msgspec

from contracts.errors import PlatformError
from contracts.refusal import WrongField
from gateway.http.problems import WrongFields, error_of_code
from gateway.projections.applied import read_view

_WRONG = msgspec.json.Decoder(tuple[WrongField, ...])


class Refused(msgspec.Struct, frozen=True):
    """A refusal's code, field and hint, and every wrong field where its owner has told them all."""

    code: str
    field: str | None
    hint: str | None
    wrong: tuple[WrongField, ...] = ()

    @classmethod
    def read(cls, code: str, field: str | None, hint: str | None, wrong: str | None) -> Self:
        """One that is stored; `wrong` is JSON. Raises ViewUnreadable."""
        return cls(code, field, hint, read_view(wrong, _WRONG, "requests") if wrong else ())

    def error(self) -> PlatformError:
        """The error that it stands for, with every field that is wrong."""
        if self.wrong:
            return WrongFields([error_of_code(each.code, field=each.field, hint=each.hint) for each in self.wrong])
        error = error_of_code(self.code, field=self.field, hint=self.hint)
        return WrongFields([error]) if self.field else error
