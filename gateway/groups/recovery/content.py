"""One file of a recovery, sent to who asked for the recovery: pieces from a recovery worker, as fast as they are taken.

Promise: what is sent are bytes of the recovery point, each proven; where one cannot be read the answer ends before its
length is reached, so that no client takes it for whole. The next piece is asked for when the one before was taken: a
client that goes costs nothing more, and a slow one no memory.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, NamedTuple, cast
from urllib.parse import quote

from litestar import Request, get
from litestar.params import HeaderParameter
from litestar.response import Stream
from msgspec.structs import replace

from contracts import errors
from contracts.errors import PlatformError
from contracts.looking import PIECE_BYTES, ContentAsked
from gateway.auth.guards import deny, needs
from gateway.auth.rights import Right
from gateway.groups.recovery import looking, queries
from gateway.groups.recovery.parameters import PathBytes, PathIn
from gateway.http.parameters import ASKED_METHOD, Id, checked_id
from gateway.parts import parts_of, principal_of
from gateway.reading.asking import Asking

AGAIN_AFTER_SECONDS = (1.0, 4.0, 15.0)

_RANGE = re.compile(r"bytes=(?:(?P<first>\d{1,18})-(?P<last>\d{1,18})?|-(?P<tail>\d{1,18}))", re.ASCII)

RangeAsked = Annotated[
    str | None,
    HeaderParameter(name="Range", description="One range of bytes (`bytes=0-1048575`); several are not given"),
]
IfRange = Annotated[
    str | None, HeaderParameter(name="If-Range", description="The `ETag` that the range is of; else all of it is sent")
]


class Span(NamedTuple):
    """Bytes from `first` on, up to `end`. `is_part`: a range was asked for, and is given."""

    first: int
    end: int
    is_part: bool


@get(
    "/recovery/operations/{operation_id:str}/content",
    **needs(Right.RECOVER, second_factor=True),
    summary="Get one file of a recovery",
    media_type="application/octet-stream",
)
async def get_content(
    request: Request[Any, Any, Any],
    operation_id: Id,
    path: PathIn = "",
    path_bytes: PathBytes = None,
    span: RangeAsked = None,
    if_range: IfRange = None,
) -> Stream:
    """One file of a recovery's point, within its scope, as it lies on the tiers; for who asked for the recovery."""
    gateway, principal = parts_of(request), principal_of(request)
    wanted = looking.path_asked(path, path_bytes)
    one = queries.OperationQueries(gateway.sealer).one
    shown = await one(gateway.reading, principal.organisation, checked_id(operation_id))
    if shown.initiated_by != principal.actor:
        error = PlatformError(
            errors.FORBIDDEN, "somebody else has asked for this recovery", hint="Ask for one yourself."
        )
        await deny(request, principal, error)
    if shown.scope is None:
        raise PlatformError(errors.KEYS_UNUSABLE, "what the recovery is of cannot be read")
    asked = ContentAsked(
        organisation=principal.organisation,
        recovery_point_id=shown.recovery_point_id,
        path=wanted,
        scope=tuple(shown.scope),
    )
    # How large it is, and its first bytes or those of the range, where that says where it begins.
    found = _RANGE.fullmatch(span or "")
    asked = replace(asked, offset=int(found["first"]) if found is not None and found["first"] else 0)
    entry, piece = await gateway.asking.content(asked)
    etag = f'"{entry.content}"'
    given = span_of(span if if_range is None or if_range == etag else None, entry.size)
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-store",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(wanted.rpartition(b'/')[2], safe='')}",
        "Content-Length": str(given.end - given.first),
        "ETag": etag,
    }
    if given.is_part:
        headers["Content-Range"] = f"bytes {given.first}-{given.end - 1}/{entry.size}"
    # Of a HEAD nothing is sent, and nothing more is read.
    is_sent = cast("dict[str, Any]", request.scope).get(ASKED_METHOD) != "HEAD"
    pieces = _pieces(gateway.asking, replace(asked, content=entry.content), given, asked.offset, piece)
    return Stream(
        pieces if is_sent else iter(()),
        status_code=206 if given.is_part else 200,
        media_type="application/octet-stream",
        headers=headers,
    )


def span_of(asked: str | None, size: int) -> Span:
    """What of a file of this size a `Range` means; all of it where it cannot be read (RFC 9110, 14.2).

    Raises RANGE_NOT_THERE where the file has no byte of it.
    """
    found = _RANGE.fullmatch(asked or "")
    if found is None:
        return Span(0, size, False)
    if found["tail"] is not None:
        first, end = max(0, size - int(found["tail"])), size
    else:
        first = int(found["first"])
        end = size if found["last"] is None else min(size, int(found["last"]) + 1)
        if found["last"] is not None and int(found["last"]) < first:
            return Span(0, size, False)
    if first >= end:
        raise PlatformError(errors.RANGE_NOT_THERE, "the file has no such bytes", field="Range", size=size)
    return Span(first, end, True)


async def _asked_again(asking: Asking, asked: ContentAsked) -> bytes:
    """A piece, asked for anew where nobody answered or others were asking: what was sent is not to be sent again."""
    for pause in AGAIN_AFTER_SECONDS:
        try:
            return (await asking.content(asked))[1]
        except PlatformError as error:
            if error.code not in (errors.LOOK_UNANSWERED, errors.TOO_MANY_REQUESTS):
                raise
            await asyncio.sleep(pause)
    return (await asking.content(asked))[1]


async def _pieces(asking: Asking, asked: ContentAsked, given: Span, offset: int, piece: bytes) -> AsyncIterator[bytes]:
    """The bytes of the range. `piece`: what was read already, from `offset` on."""
    at = given.first
    while at < given.end:
        if not offset <= at < offset + len(piece):
            offset = at
            length = min(PIECE_BYTES, given.end - at)
            piece = await _asked_again(asking, replace(asked, offset=offset, length=length))
        taken = piece[at - offset : given.end - offset]
        at += len(taken)
        yield taken
