"""The base of every error, and how it is told what it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import ClassVar

_SHOWN_LENGTH_MAX = 200


class Retry(StrEnum):
    """Whether the same call may succeed when it is made again."""

    NEVER = "never"
    LATER = "later"
    AFTER_OPERATOR = "after-operator"


class RepositoryError(Exception):
    """The base of every error that leaves `repository/` or `sources/`.

    `context` holds ids, object keys and figures for a log; never a secret.
    """

    code: ClassVar[str] = "repository-error"
    retry: Retry = Retry.NEVER
    hint: str = "Look at the message and at the context."
    causes: Sequence[RepositoryError] = ()
    """What is wrong with each of several tiers, where that is why."""

    def __init__(self, message: str, *, hint: str | None = None, retry: Retry | None = None, **context: object) -> None:
        super().__init__(message)
        self.message = message
        if hint is not None:
            self.hint = hint
        if retry is not None:
            self.retry = retry
        self.context = context

    def __str__(self) -> str:
        """The message, and what it is about."""
        about = [
            f"{name.replace('_', ' ')} {_shown(value)}"
            for name, value in self.context.items()
            if not isinstance(value, Mapping)
        ]
        return f"{self.message} ({', '.join(about)})" if about else self.message


def _shown(value: object) -> str:
    """A value in one printable line."""
    text = value.hex() if isinstance(value, bytes) else str(value)
    text = "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)
    return text if len(text) <= _SHOWN_LENGTH_MAX else f"{text[:_SHOWN_LENGTH_MAX]}…"


@contextmanager
def about(kind: type[RepositoryError] = RepositoryError, /, **context: object) -> Iterator[None]:
    """Name what the work within is about, in errors of layers that cannot know it: bytes that do not open, say.

    `kind`: only in errors of this one.
    """
    try:
        yield
    except kind as error:
        for name, value in context.items():
            if not (name == "object_key" and error.context.get("key") == value):  # it is named already
                error.context.setdefault(name, value)
        raise
