"""Parameters that several routes take."""

import re
from datetime import datetime
from typing import Annotated

from litestar.params import HeaderParameter, PathParameter, QueryParameter

from chassis.ids import is_id
from contracts import errors
from contracts.errors import PlatformError

ASKED_METHOD = "wedsync.asked-method"
"""In the scope of a request: its method as it was sent, for who need not make what a HEAD throws away."""
LIMIT_MAX = 200
LIMIT_DEFAULT = 50

Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=LIMIT_MAX, description="Items on a page")]
CursorText = Annotated[
    str | None, QueryParameter(name="cursor", max_length=300, description="`nextCursor` of the page before")
]
WeddingCritical = Annotated[
    bool | None,
    QueryParameter(name="weddingCritical", description="Of configurations that are wedding-critical, or not"),
]
From = Annotated[datetime | None, QueryParameter(name="from", description="At this time or later (RFC 3339)")]
Before = Annotated[datetime | None, QueryParameter(name="before", description="Before this time (RFC 3339)")]
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="A new UUID for each new write; the same key and body again is the same write. Required.",
    ),
]
IfMatch = Annotated[
    str | None, HeaderParameter(name="If-Match", description="The `ETag` of the resource as it was read. Required.")
]
Id = Annotated[str, PathParameter(description="A UUID")]


def checked_id(text: str, *, code: errors.ErrorCode = errors.NOT_FOUND) -> str:
    """An id that could exist. Raises NOT_FOUND otherwise: what is no id names nothing."""
    if not is_id(text):
        raise PlatformError(code, "the id is not one of ours")
    return text


_ETAG = re.compile(r'"(0|[1-9][0-9]{0,8})(?:-[0-9a-f]{16}(?:-gzip)?)?"')
"""As it is written, or as it was read (`gateway.wire.sparing`): a change is of a version, whatever was shown beside it.
A weak one (`W/"1"`) never matches here (RFC 9110, 13.1.1: the strong comparison)."""


def checked_version(if_match: str | None) -> int:
    """The version that an `If-Match` names. Raises IF_MATCH_MISSING, or INVALID_FIELD."""
    if if_match is None:
        raise PlatformError(errors.IF_MATCH_MISSING, "the write names no version", field="If-Match")
    named = _ETAG.fullmatch(if_match)
    if named is None:
        raise PlatformError(
            errors.INVALID_FIELD,
            "this is no ETag of ours",
            field="If-Match",
            hint='Send one ETag as it was read, such as "3". One that a proxy has made weak (W/"3") says too little.',
        )
    return int(named[1])


def checked_period(start: datetime | None, before: datetime | None) -> tuple[datetime | None, datetime | None]:
    """Both times of a list's filter. Raises INVALID_FIELD where one has no offset, or no time can be between them."""
    start, before = checked_time(start, "from"), checked_time(before, "before")
    if start is not None and before is not None and start > before:
        raise PlatformError(
            errors.INVALID_FIELD,
            "the period ends before it begins",
            field="before",
            hint="Give `before` a later time than `from`.",
        )
    return start, before


def checked_time(time: datetime | None, field: str) -> datetime | None:
    """A time with its offset. Raises INVALID_FIELD where it has none: it would be guessed."""
    if time is not None and time.tzinfo is None:
        raise PlatformError(
            errors.INVALID_FIELD, "the time has no offset", field=field, hint="Write it as 2026-11-24T10:00:00Z."
        )
    return time
