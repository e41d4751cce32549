"""What the API takes and gives is made of: bodies of requests and resources, in camelCase.

Times are RFC 3339 in UTC, sizes are bytes, ids UUIDs.
"""

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A body that a client sends. What it does not know is refused."""


class Resource(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A body that the API answers with."""


class ListPage(Resource, Generic[T], frozen=True, kw_only=True):
    """One page of a list. `nextCursor` continues it; null on the last page."""

    items: list[T]
    next_cursor: str | None = None
