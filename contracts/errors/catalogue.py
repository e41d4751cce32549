"""The catalogue of error codes, and the error that carries one."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Retry(StrEnum):
    """Whether the same request may succeed when it is made again."""

    NEVER = "never"
    LATER = "later"
    AFTER_OPERATOR = "after-operator"


class ErrorCode(msgspec.Struct, frozen=True):
    """One entry of the catalogue. `status` is the HTTP status that the gateway answers with."""

    code: str
    status: int
    retry: Retry
    title: str
    hint: str


_CATALOGUE: dict[str, ErrorCode] = {}


def entered(code: str, status: int, retry: Retry, title: str, hint: str) -> ErrorCode:
    """A new entry of the catalogue. Raises ValueError where there is one of this name already."""
    if code in _CATALOGUE:
        raise ValueError(f"the code {code} is in the catalogue already")
    entry = _CATALOGUE[code] = ErrorCode(code, status, retry, title, hint)
    return entry


def catalogue() -> Mapping[str, ErrorCode]:
    """Every code by its name."""
    return _CATALOGUE


class PlatformError(Exception):
    """The base of every error that leaves a module.

    `code` is an entry of the catalogue; `message` is lower case without a full stop and carries no
    secret and no personal data; `field` is the JSON path of the offending field, where there is
    one; `context` holds ids and figures for the log. `service`: whose record or stream it is about, where that may be
    another one than the service that tells it; a command in the hint names it in place of SERVICE.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        field: str | None = None,
        hint: str | None = None,
        service: str | None = None,
        **context: object,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.service = service
        self.hint = (hint or code.hint).replace("SERVICE", service or "SERVICE")
        self.context = context

    @property
    def told_code(self) -> ErrorCode:
        """The code by which whoever asked, and the readiness, are told of it."""
        return self.code

    @property
    def retry(self) -> Retry:
        """Whether the same request may succeed when it is made again."""
        return self.code.retry

    def told_as(self, message: str, **context: object) -> "PlatformError":
        """The same in other words: its code, field, hint and service stay, and its context is added to."""
        return PlatformError(
            self.code,
            message,
            field=self.field,
            hint=self.hint,
            service=self.service,
            **{**self.context, **context},
        )
