"""What an operation takes and gives, beside its route: bodies, answers, errors, examples."""

from typing import Any

import msgspec

from contracts.errors import ErrorCode
from gateway.writes.resources import WriteRequest

ETAG = {"ETag": "Version of the resource"}


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
    """One operation. `errors`: those of its own, beside the ones that all have."""

    group: str
    answers: tuple[Answer, ...]
    body: Any = None
    body_examples: dict[str, Any] = {}
    errors: tuple[ErrorCode, ...] = ()


def taken_down(**of_request: WriteRequest) -> Answer:
    """The one 202 that every write may answer with."""
    return Answer(
        status=202,
        description="In the record. `state` says whether it is accepted; Location is where the answer is or will be",
        body=WriteRequest,
        examples=dict(of_request),
        headers={"Location": "Where the request is", "Retry-After": "When to ask there, where it is pending"},
    )
