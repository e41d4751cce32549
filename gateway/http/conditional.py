"""Answers that are not sent again to who has them already (RFC 9110, section 13.1.2)."""

from hashlib import sha256
from typing import Annotated, TypeVar

import msgspec
from litestar import Response
from litestar.params import HeaderParameter
from litestar.status_codes import HTTP_304_NOT_MODIFIED

T = TypeVar("T")

_DIGITS = 16

IfNoneMatch = Annotated[
    str | None, HeaderParameter(name="If-None-Match", description="An `ETag`; 304 where it is still the same")
]


def unless_known(shown: T, version: int, if_none_match: str | None) -> Response[T]:
    """What is shown, with an `ETag`; 304 without it where that is the one that the caller has.

    The tag is of all that is shown: what is joined to a thing changes without a version of the thing itself.
    """
    etag = f'"{version}-{sha256(msgspec.json.encode(shown)).hexdigest()[:_DIGITS]}"'
    # `*` is whatever there is.
    if if_none_match is not None and {etag, "*"} & {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}:
        return Response(None, status_code=HTTP_304_NOT_MODIFIED, headers={"ETag": etag})  # type: ignore[arg-type]  # a 304 has no body
    return Response(shown, headers={"ETag": etag})
