"""Answers that are not sent again to who has them already (RFC 9110, section 13.1.2)."""

from typing import Annotated, TypeVar

from litestar import Response
from litestar.params import HeaderParameter
from litestar.status_codes import HTTP_304_NOT_MODIFIED

T = TypeVar("T")

IfNoneMatch = Annotated[
    str | None, HeaderParameter(name="If-None-Match", description="An `ETag`; 304 where it is still the same")
]


def unless_known(shown: T, version: int, if_none_match: str | None) -> Response[T]:
    """What is shown with its version as `ETag`; 304 without it where that is the one that the caller has."""
    etag = f'"{version}"'
    # `*` is whatever there is.
    if if_none_match is not None and {etag, "*"} & {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}:
        return Response(None, status_code=HTTP_304_NOT_MODIFIED, headers={"ETag": etag})  # type: ignore[arg-type]  # a 304 has no body
    return Response(shown, headers={"ETag": etag})
