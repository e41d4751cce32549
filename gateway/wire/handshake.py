"""Refusals of a WebSocket before it is opened: a problem like any other, where the server can send one.

Promise: whoever is not let in gets the status, the code and the hint that a request would get. Where the server cannot
answer a handshake, the close code is 4000 and the status, and the reason is the code.
"""

import logging
from typing import Any

import msgspec
from litestar import WebSocket
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import PlatformError
from gateway.http.problems import MEDIA_TYPE, headers_of, problem_of
from gateway.wire.faults import check_headers
from gateway.wire.outermost import SECURITY_HEADERS

LOG = logging.getLogger(__name__)

_EXTENSION = "websocket.http.response"


async def refuse(socket: WebSocket[Any, Any, Any], error: PlatformError) -> None:
    """Answer a handshake with a problem; else close without opening."""
    await socket.receive()
    send: Any = socket.send
    await _answer(socket.scope, send, error)


def refusals_told(app: ASGIApp) -> ASGIApp:
    """An ASGI layer that turns a bare refusal of a handshake (a path that is none, a fault of ours) into a problem."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.WEBSOCKET:
            await app(scope, receive, send)
            return
        is_open = False

        async def telling(message: Message) -> None:
            nonlocal is_open
            if message["type"] == "websocket.close" and not is_open and 4000 <= message["code"] <= 4599:
                is_known = bool(scope.get("path_template"))
                code = errors.INTERNAL if is_known else errors.NOT_FOUND
                await _answer(scope, send, PlatformError(code, code.title[0].lower() + code.title[1:]))
                return
            is_open = is_open or message["type"] != "websocket.close"
            await send(message)

        try:
            check_headers(scope)
            await app(scope, receive, telling)
        except Exception as error:
            if is_open:
                raise
            if not isinstance(error, PlatformError):
                LOG.error("handshake failed outside of its handler", extra={"cause": describe(error)})
                error = PlatformError(errors.INTERNAL, "something unexpected happened")
            await _answer(scope, send, error)

    return layer


async def _answer(scope: Scope, send: Any, error: PlatformError) -> None:
    status = error.code.status
    if _EXTENSION not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 4000 + status, "reason": error.code.code})
        return
    body = msgspec.json.encode(problem_of(error, instance=scope["path"]))
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **SECURITY_HEADERS, **headers_of(error)}
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "websocket.http.response.start", "status": status, "headers": encoded})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})
