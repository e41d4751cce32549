"""What no application is asked, and what none has answered: told by a problem like everything else.

Promise: a request that says two things at once is refused before anybody looks at either; whatever fails within, at
whichever layer, is answered as `application/problem+json` with a code and the trace id, never as plain text.
"""

import logging
from collections import Counter
from typing import Any, cast

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import PlatformError
from gateway.http.problems import MEDIA_TYPE, headers_of, problem_of
from gateway.wire.outermost import RATE_LIMITED

LOG = logging.getLogger(__name__)

SINGLE = {
    name.lower().encode(): name
    for name in (
        "Authorization",
        "Content-Length",
        "Content-Type",
        "Host",
        "Idempotency-Key",
        "If-Match",
        "Origin",
    )
}
"""Headers that a request has once: of two, each part of the way may believe another one."""


def check_headers(scope: Scope) -> None:
    """Raise MALFORMED_REQUEST, with the header as field, where one is there twice or HTTP/1.1 names no host."""
    counts = Counter(name for name, _ in scope["headers"])
    for name, shown in SINGLE.items():
        if counts[name] > 1:
            raise PlatformError(
                errors.MALFORMED_REQUEST, "the header is given more than once", field=shown, hint="Send it once."
            )
    if scope.get("http_version") == "1.1" and not counts[b"host"]:
        raise PlatformError(
            errors.MALFORMED_REQUEST,
            "an HTTP/1.1 request names its host",
            field="Host",
            hint="Send a Host header.",
        )


def faults_told(app: ASGIApp) -> ASGIApp:
    """An ASGI layer around the application's own handlers of errors; of WebSockets, `gateway.wire.handshake` is it."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        is_begun = is_replaced = False

        async def telling(message: Message) -> None:
            nonlocal is_begun, is_replaced
            if message["type"] == "http.response.start" and _is_plain(message):
                is_replaced = True
                await _answer(scope, send, _error_of(scope, message["status"]))
            if not is_replaced:
                await send(message)
            is_begun = True

        try:
            check_headers(scope)
            await app(scope, receive, telling)
            if not is_begun:
                raise PlatformError(errors.INTERNAL, "nothing was answered")
        except Exception as error:
            if is_begun:
                raise
            if not isinstance(error, PlatformError):
                LOG.error("request failed outside of its handler", extra={"cause": describe(error)})
                error = PlatformError(errors.INTERNAL, "something unexpected happened")
            # It may be what has failed.
            cast("dict[str, Any]", scope).pop(RATE_LIMITED, None)
            await _answer(scope, send, error)

    return layer


def _is_plain(message: Any) -> bool:
    """Whether an error is told by a library's words."""
    kinds = [value for name, value in message["headers"] if name.lower() == b"content-type"]
    return message["status"] >= 400 and all(kind.startswith(b"text/") for kind in kinds)


def _error_of(scope: Scope, status: int) -> PlatformError:
    if status == 400 and scope.get("method") == "OPTIONS":
        return PlatformError(
            errors.FORBIDDEN,
            "the page's origin, or the method or headers that it asks for, are not allowed",
            field="Origin",
            hint="Ask an operator to allow the origin.",
        )
    code = errors.INTERNAL if status >= 500 else errors.MALFORMED_REQUEST
    return PlatformError(code, "something unexpected happened" if status >= 500 else "the request cannot be read")


async def _answer(scope: Scope, send: Send, error: PlatformError) -> None:
    body = msgspec.json.encode(problem_of(error, instance=scope["path"]))
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **headers_of(error)}
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.code.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body, "more_body": False})
