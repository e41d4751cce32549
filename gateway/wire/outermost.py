"""The layer around the whole application: what every request is counted by, and what no answer leaves without.

Promise: each request has a span and is counted by route, never by path; each answer has the safe headers, the trace id
and, where somebody's rate was looked at, what is left of it; 429 and 503 say when to come back; HEAD is answered like
GET, without the body, wherever GET is.
"""

import re
import time
from collections.abc import Callable
from typing import Any, cast

from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Histogram

from chassis.postgres.circuit import answering
from chassis.telemetry.instruments import Telemetry, current_trace_id
from gateway.http.parameters import ASKED_METHOD
from gateway.http.problems import RETRY_SECONDS

RATE_LIMITED = "rate_limit"
"""The key in the scope under which whoever looks at a rate leaves what tells the caller's allowance."""
Allowance = Callable[[], tuple[int, int, int]]
"""The requests that may come at once, those that are left, and the seconds until all are there again."""

_TRACEPARENT = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_LATENCY_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "cross-origin-resource-policy": "same-origin",
}


class HttpMetrics:
    """Counts and times requests. Labels come from closed sets: route templates, methods, status classes."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.requests = Counter(
            "wedsync_gateway_http_requests",
            "Answered requests",
            ("method", "route", "status"),
            registry=telemetry.registry,
        )
        # Without labels, and so there from the beginning: of a series that begins with 1 nobody sees that it has grown.
        self.failures = Counter(
            "wedsync_gateway_http_failures", "Requests answered with 5xx", registry=telemetry.registry
        )
        self.seconds = Histogram(
            "wedsync_gateway_http_seconds",
            "Time from the request to the first byte of the answer",
            ("method", "route"),
            buckets=_LATENCY_BUCKETS,
            registry=telemetry.registry,
        )


def observed(app: ASGIApp, telemetry: Telemetry, metrics: HttpMetrics) -> ASGIApp:
    """An ASGI layer around everything: a span, the figures, the headers that every answer has, HEAD as GET."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            # What is refused or breaks on a socket is told and logged by an id, too.
            with telemetry.span("WEBSOCKET", traceparent=_traceparent(scope), kind=SpanKind.SERVER):
                await app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        # HEAD is what GET would answer. OPTIONS is what a method that no path has would be told: Litestar's own answer
        # knows one handler of a path alone. A page's question whether it may ask goes to the CORS layer.
        as_method = _AS.get(method)
        if method == "OPTIONS" and any(name == b"origin" for name, _ in scope["headers"]):
            as_method = None
        inner: dict[str, Any] = cast(
            "dict[str, Any]", {**scope, ASKED_METHOD: method, "method": as_method} if as_method else scope
        )

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                if as_method == _NO_METHOD and message["status"] == 405:
                    allow = [(name, value) for name, value in message["headers"] if name.lower() == b"allow"]
                    message = {"type": "http.response.start", "status": 204, "headers": allow}
                status = message["status"]
                _dress(MutableScopeHeaders.from_message(message), status, inner.get(RATE_LIMITED))
            elif method == "HEAD" or status == 204:
                message = cast("Message", {**message, "body": b""})
            await send(message)

        with telemetry.span(f"HTTP {method}", traceparent=_traceparent(scope), kind=SpanKind.SERVER) as span:
            try:
                # Whatever the request waits for in Postgres shares one deadline, which begins with its arrival.
                with answering():
                    await app(cast("Scope", inner), receive, dressed)
            finally:
                route = inner.get("path_template") or "none"
                span.update_name(f"{method} {route}")
                span.set_attribute("http.response.status_code", status)
                metrics.requests.labels(method, route, str(status)).inc()
                if status >= 500:
                    metrics.failures.inc()
                metrics.seconds.labels(method, route).observe(time.perf_counter() - began)

    return layer


def _dress(headers: MutableScopeHeaders, status: int, allowance: Allowance | None) -> None:
    """The headers that no answer leaves without."""
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    if trace_id := current_trace_id():
        headers["x-trace-id"] = trace_id
    if allowance is not None:
        limit, remaining, reset_seconds = allowance()
        headers["ratelimit-limit"] = str(limit)
        headers["ratelimit-remaining"] = str(remaining)
        headers["ratelimit-reset"] = str(reset_seconds)
    if status in (429, 503):
        headers.setdefault("retry-after", RETRY_SECONDS)
    if "allow" in headers:
        methods = {method.strip() for method in headers["allow"].split(",")} | {"OPTIONS"}
        headers["allow"] = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


_NO_METHOD = "NONE"
_AS = {"HEAD": "GET", "OPTIONS": _NO_METHOD}
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


def _traceparent(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"traceparent":
            return value.decode() if _TRACEPARENT.fullmatch(value) else None
    return None
