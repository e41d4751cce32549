"""The connections of the HTTP server, held to their limits before anybody has said who they are.

Promise: a request's head is bounded in bytes, lines and time, its body in bytes and time, an answer in the time that
it may wait for its reader. Whoever exceeds a limit is told by a problem where a request was begun, and cut off; the
requests before that one, which were within the limits, are answered first.
"""

import asyncio
import logging
import secrets
from enum import Enum
from http import HTTPStatus
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.datastructures import Headers
from websockets.http11 import Response

from contracts import errors
from contracts.errors import PlatformError
from gateway.http.problems import MEDIA_TYPE, headers_of, problem_of
from gateway.http.web import BODY_BYTES_MAX
from gateway.wire.connection_limits import Connections
from gateway.wire.outermost import SECURITY_HEADERS

PIPELINED_MAX = 16

_log = logging.getLogger(__name__)


class _Unread:
    """How long an answer has waited for its reader, who took nothing of it. A slow one takes some between two looks."""

    def __init__(self) -> None:
        self._since = 0.0
        self._waiting = 0

    def seconds(self, transport: asyncio.Transport, now: float) -> float:
        waiting = transport.get_write_buffer_size()
        if waiting == 0 or waiting != self._waiting:
            self._since, self._waiting = now, waiting
        return now - self._since


class _Phase(Enum):
    """What of a request is being received."""

    BETWEEN = "between"
    HEAD = "head"
    BODY = "body"


class HttpConnection(HttpToolsProtocol):
    """uvicorn's connection within the limits. What is refused is answered here, before the application."""

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._all = connections
        self._limits = connections.limits
        self._unread = _Unread()
        self._head_bytes = 0
        self._head_lines = 0
        self._message_bytes = 0
        self._phase = _Phase.BETWEEN
        self._deadline: float | None = None
        self._refusal: PlatformError | None = None
        self._is_refused = False
        self._last_word: PlatformError | None = None
        self._running = self.cycle
        self._idle_since = self.loop.time()

    @property
    def waiting_since(self) -> float | None:
        """Since when no request is under way."""
        return self._idle_since if self._is_idle else None

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    # What asyncio calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Let a connection in, or tell it that it is one too many."""
        super().connection_made(transport)
        self._deadline = self.loop.time() + self._limits.head_seconds
        try:
            self._all.enter(self)
        except PlatformError as error:
            if self._all.is_overrun:
                transport.abort()
            else:
                self._refuse(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._all.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what is within the limits; what follows a refusal is thrown away."""
        self._message_bytes += len(data)
        if self._is_refused:
            if self._message_bytes > self._limits.message_bytes:
                self.transport.abort()
            return
        was_kept_alive = self.timeout_keep_alive_task is not None
        super().data_received(data)
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return
        if self._refusal is None:
            self._refusal = self._excess()
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif was_kept_alive and self._is_idle and self._deadline is None:
            # An empty line between requests has ended the wait for the next one.
            self._deadline = self.loop.time() + self._limits.head_seconds

    def judge(self, now: float) -> None:
        """Cut off what has taken too long."""
        if self._unread.seconds(self.transport, now) > self._limits.answer_seconds:
            self.transport.abort()
        elif self._deadline is not None and now >= self._deadline and not self.transport.is_closing():
            self._deadline = None
            limits = self._limits
            if self._phase is _Phase.BETWEEN or self._is_refused:
                self.transport.close()
            else:
                seconds = limits.head_seconds if self._phase is _Phase.HEAD else limits.body_seconds
                self._refuse(
                    PlatformError(errors.REQUEST_TIMED_OUT, "the request did not arrive in time", limit_seconds=seconds)
                )

    # What the parser calls. A refusal is only noted here: the parser cannot be left in the middle.

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._refusal is not None:
            return
        if len(self.pipeline) >= PIPELINED_MAX:
            self._refusal = PlatformError(
                errors.TOO_MANY_REQUESTS,
                "too many requests were sent at once",
                limit=PIPELINED_MAX,
                retry_after_seconds=1,
            )
            return
        self._head_bytes = self._head_lines = self._message_bytes = 0
        self._phase = _Phase.HEAD
        self._deadline = self.loop.time() + self._limits.head_seconds
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of the path."""
        if self._refusal is None:
            super().on_url(url)
            if len(self.url) > self._limits.path_bytes:
                self._refusal = PlatformError(
                    errors.PATH_TOO_LONG, "the path is too long", limit_bytes=self._limits.path_bytes
                )

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer of the body."""
        if self._refusal is not None:
            return
        self._head_bytes += len(name) + len(value) + 4
        self._head_lines += 1
        if self._head_bytes > self._limits.head_bytes or self._head_lines > self._limits.head_lines:
            self._refusal = self._too_large()
            return
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: the application begins."""
        if self._refusal is not None:
            return
        super().on_headers_complete()
        self._phase = _Phase.BODY
        self._deadline = self.loop.time() + self._limits.body_seconds

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._refusal is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there."""
        if self._refusal is not None:
            return
        super().on_message_complete()
        self._phase = _Phase.BETWEEN
        self._deadline = None

    def on_response_complete(self) -> None:
        """An answer is complete, perhaps before its request: what is left of that is thrown away for a moment."""
        self._idle_since = self.loop.time()
        super().on_response_complete()
        if self._last_word is not None and not self.transport.is_closing():
            if self._is_idle:
                self._tell(self._last_word)
            else:
                self.flow.pause_reading()
        elif self._phase is _Phase.BODY and self._is_idle:
            self._deadline = self._idle_since + self._limits.linger_seconds

    def handle_websocket_upgrade(self) -> None:
        """Go on as a WebSocket, if the head was within the limits."""
        if self._refusal is None:
            super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """What the parser does not understand."""
        del msg
        self._refuse(self._refusal or PlatformError(errors.MALFORMED_REQUEST, "the request is not valid HTTP"))

    # What was found.

    def _excess(self) -> PlatformError | None:
        """Of a message that is not complete: whether it is too large already."""
        if self._phase is _Phase.HEAD and self._message_bytes > self._limits.head_bytes + self._limits.path_bytes:
            return self._too_large()
        if self._message_bytes > self._limits.message_bytes:
            return PlatformError(errors.BODY_TOO_LARGE, "the body is too large", limit_bytes=BODY_BYTES_MAX)
        return None

    def _too_large(self) -> PlatformError:
        limits = self._limits
        return PlatformError(
            errors.HEAD_TOO_LARGE,
            "the headers are too large",
            limit_bytes=limits.head_bytes,
            limit_lines=limits.head_lines,
        )

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _refuse(self, error: PlatformError) -> None:
        """Tell a problem and end the connection: at once, or behind the answers to the requests before this one."""
        if self._is_refused:
            return
        self._is_refused = True
        self._message_bytes = 0
        self._deadline = None
        if self._phase is _Phase.BODY and self.pipeline and self.pipeline[0][0] is self.cycle:
            # The refused request waits for its turn, and is not begun.
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else self._running
            self._phase = _Phase.BETWEEN
        if self._phase is _Phase.BODY or self._is_idle:
            self._tell(error)
        else:
            self._last_word = error

    def _tell(self, error: PlatformError) -> None:
        """Answer with a problem, then close as soon as the client has, or after a moment."""
        can_answer = self._phase is not _Phase.BODY or not self.cycle.response_started
        self._deadline = self.loop.time() + self._limits.linger_seconds
        self._unset_keepalive_if_required()
        if not self._is_idle:
            # The application must not answer after this.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not can_answer:
            self.transport.close()
            return
        self.transport.write(refusal(error))
        self.transport.write_eof()


class SocketConnection(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket within the limits."""

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._all = connections
        self._opened_at = self.loop.time()
        self._closing_since: float | None = None
        # The library tells in plain text what it does not take for a handshake.
        self.conn.reject = _rejected  # type: ignore[method-assign,assignment]

    def data_received(self, data: bytes) -> None:
        """What opens no socket (a request with a body, say) is told: the library would say nothing."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(refusal(NO_HANDSHAKE))
            self.transport.close()

    @property
    def waiting_since(self) -> float | None:
        """A WebSocket makes room for nobody."""
        return None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """An HTTP connection goes on as a WebSocket."""
        super().connection_made(transport)
        self._all.upgrade(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._all.leave(self)
        super().connection_lost(exc)

    def handle_ping(self) -> None:
        """Answer a ping, but to nobody who does not read: the answers would pile up."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.transport.abort()

    def judge(self, now: float) -> None:
        """Cut off a handshake or a farewell that takes too long. Who reads slowly is the application's to judge."""
        limits = self._all.limits
        if self.transport.is_closing():
            self._closing_since = self._closing_since or now
            if now - self._closing_since > limits.linger_seconds:
                self.transport.abort()
        elif not self.handshake_complete and now - self._opened_at > limits.body_seconds:
            self.transport.abort()


NO_HANDSHAKE = PlatformError(
    errors.MALFORMED_REQUEST,
    "the request opens no WebSocket",
    field="Sec-WebSocket-Key",
    hint="Open it with GET and a client that speaks version 13 of the protocol, or leave the header Upgrade out.",
)


def _rejected(status: Any, _words: str) -> Response:
    """What the WebSocket library answers where it opens none."""
    error = NO_HANDSHAKE if int(status) < 500 else PlatformError(errors.INTERNAL, "something unexpected happened")
    headers, body = _told(error)
    code = HTTPStatus(error.code.status)
    return Response(code.value, code.phrase, Headers(headers), body)


def refusal(error: PlatformError) -> bytes:
    """A whole response that tells an error and ends the connection."""
    headers, body = _told(error)
    lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[error.code.status] + lines.encode() + b"\r\n" + body


def _told(error: PlatformError) -> tuple[dict[str, str], bytes]:
    # No request has begun that would have a trace: one of its own, to be found in the log.
    trace_id = secrets.token_hex(16)
    _log.info("refused before the application", extra={"code": error.code.code, "traceId": trace_id})
    body = msgspec.json.encode(msgspec.structs.replace(problem_of(error), trace_id=trace_id))
    headers = {
        "content-type": MEDIA_TYPE,
        "content-length": str(len(body)),
        "connection": "close",
        "x-trace-id": trace_id,
        **SECURITY_HEADERS,
        **headers_of(error),
    }
    return headers, body
