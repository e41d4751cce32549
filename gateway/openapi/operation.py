"""What an operation takes and gives, beside its route: bodies, answers, errors, examples."""

from typing import Any

import msgspec

from contracts.errors import ErrorCode

ETAG = {"ETag": "Its version"}

LOCATION = {"Location": "Where the result is"}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One successful response."""

    status: int
    description: str
    body: Any = None
    examples: dict[str, Any] = {}
    headers: dict[str, str] = {}
    media_type: str = "application/json"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation. `errors`: those of its own, beside the ones that all have, or that all
    writes have.
    """

    group: str
    answers: tuple[Answer, ...]
    body: Any = None
    body_examples: dict[str, Any] = {}
    errors: tuple[ErrorCode, ...] = ()
    is_write: bool = False
