"""Cursors of lists: where the next page begins, as opaque text.

A cursor is the sort key of the last item, time and id. It is no secret and grants nothing: the organisation of the
caller is added to each query.
"""

import base64
import binascii
from datetime import datetime

import msgspec

from contracts import errors
from contracts.errors import PlatformError

LENGTH_MAX = 300


class Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The sort key of the last item of a page."""

    time: datetime
    id: str


def encode(cursor: Cursor) -> str:
    """A cursor as text for a query parameter."""
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).rstrip(b"=").decode()


def decode(text: str | None) -> Cursor | None:
    """The cursor of a query parameter. Raises INVALID_FIELD."""
    if text is None:
        return None
    try:
        if len(text) > LENGTH_MAX or not text.isascii():
            raise ValueError
        cursor = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Cursor)
        if "\0" in cursor.id or cursor.time.tzinfo is None:
            raise ValueError
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise PlatformError(
            errors.INVALID_FIELD,
            "the cursor is not one that this list has given",
            field="cursor",
            hint="Send nextCursor of the page before as it is, or begin without a cursor.",
        ) from error
    return cursor
