"""The layer that sends nothing to who has it, and nothing large as it is: ETags, 304 and gzip, whatever is read.

Promise: each answer of 200 to a GET has an `ETag` of all that it shows, and a request that names it in `If-None-Match`
is answered by 304 without a body (RFC 9110, 13.1.2). A tag of a route's own, a version, stands before the digest: what
is joined to a thing changes without a version of the thing itself. What has `LARGE_BYTES` or more is compressed for
who takes gzip; under another tag, as it is another representation. Answers in several pieces pass as they are.

That compressed lengths tell of secrets needs somebody who has a victim's browser ask with the victim's sign-in
(BREACH): no browser sends a bearer token by itself.
"""

import asyncio
import gzip
import re
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from typing import cast

from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send

LARGE_BYTES = 8192
BESIDE_BYTES = 128 * 1024
"""What is larger is compressed beside the event loop."""
LEVEL = 1
"""JSON of lists becomes a tenth of it; a higher level takes twice as long for a fifth less."""
OPEN_KEPT = 4
"""Of answers that need no token the latest so many are kept compressed: strangers may ask as often as they like."""
_DIGITS = 16
_SUFFIX = "-gzip"
_QUALITY = re.compile(r"\s*(?P<name>[\w*-]+)\s*(?:;\s*q\s*=\s*(?P<q>[01](?:\.\d{0,3})?)\s*)?", re.ASCII)


def spared(app: ASGIApp) -> ASGIApp:
    """An ASGI layer around the application and its errors, within the one that makes HEAD a GET."""
    kept: OrderedDict[bytes, bytes] = OrderedDict()

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        asked = Headers(scope["headers"])
        is_read = scope["method"] == "GET"
        start: HTTPResponseStartEvent | None = None

        async def sparing(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start is None or message["type"] != "http.response.body" or message.get("more_body"):
                if start is not None:
                    await send(start)
                start = None
                await send(message)
                return
            body = message["body"]
            headers = MutableScopeHeaders.from_message(start)
            is_compressed = False
            if len(body) >= LARGE_BYTES and "content-encoding" not in headers:
                headers.extend_header_value("vary", "Accept-Encoding")
                is_compressed = takes_gzip(asked.get("accept-encoding"))
            if is_read and start["status"] == 200:
                version = headers.get("etag", "").strip('"')
                digest = sha256(body).hexdigest()[:_DIGITS]
                tag = f"{version}-{digest}" if version else digest
                headers["etag"] = f'"{tag}{_SUFFIX if is_compressed else ""}"'
                if is_known(tag, asked.getall("if-none-match", ())):
                    del headers["content-length"]
                    if "content-type" in headers:
                        del headers["content-type"]
                    await send(cast("Message", {**start, "status": 304}))
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    return
            if is_compressed:
                body = await _compressed(body, kept if "authorization" not in asked else None)
                headers["content-encoding"] = "gzip"
                headers["content-length"] = str(len(body))
            await send(start)
            await send(cast("Message", {**message, "body": body}))

        await app(scope, receive, sparing)

    return layer


def is_known(tag: str, named: Sequence[str]) -> bool:
    """Whether an `If-None-Match` names a tag, in whichever encoding, weak or strong; `*` is whatever there is."""
    tags = {each.strip().removeprefix("W/") for line in named for each in line.split(",")}
    return not tags.isdisjoint({"*", f'"{tag}"', f'"{tag}{_SUFFIX}"'})


def takes_gzip(accepted: str | None) -> bool:
    """Whether an `Accept-Encoding` has gzip among what it takes. What cannot be read takes nothing."""
    qualities: dict[str, float] = {}
    for each in (accepted or "").split(","):
        if found := _QUALITY.fullmatch(each):
            qualities[found["name"].lower()] = float(found["q"] or 1)
    return qualities.get("gzip", qualities.get("*", 0.0)) > 0


async def _compressed(body: bytes, kept: OrderedDict[bytes, bytes] | None) -> bytes:
    digest = sha256(body).digest() if kept is not None else b""
    if kept is not None and digest in kept:
        kept.move_to_end(digest)
        return kept[digest]
    # Without a time: the same bytes each time.
    if len(body) < BESIDE_BYTES:
        made = gzip.compress(body, LEVEL, mtime=0)
    else:
        made = await asyncio.to_thread(gzip.compress, body, LEVEL, mtime=0)
    if kept is not None:
        kept[digest] = made
        while len(kept) > OPEN_KEPT:
            kept.popitem(last=False)
    return made
