"""Spans over OTLP/HTTP in JSON, for any OpenTelemetry receiver (`POST <endpoint>/v1/traces`).

Promise: exporting never disturbs the process: it runs in the SDK's own thread, a receiver that is slow
or away costs at most the spans themselves, and those are counted (`wedsync_spans_dropped_total`). The
JSON encoding of OTLP is part of its specification; the protobuf exporter would add some 15 MB to every
process for the same thing.
"""

import http.client
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, Counter

from contracts.errors import INVALID_SETTING, PlatformError

_KINDS = {SpanKind.INTERNAL: 1, SpanKind.SERVER: 2, SpanKind.CLIENT: 3, SpanKind.PRODUCER: 4, SpanKind.CONSUMER: 5}
_TIMEOUT_SECONDS = 5.0
_ENCODER = msgspec.json.Encoder()


class OtlpJsonExporter(SpanExporter):
    """Sends batches of spans. `endpoint` is the receiver's base URL, such as `http://127.0.0.1:4318`."""

    def __init__(self, endpoint: str, registry: CollectorRegistry) -> None:
        try:
            parts = urlsplit(endpoint)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise _invalid() from None
        # What a receiver would never see, be it a name and a password, is not taken and left out.
        if (
            parts.scheme not in ("http", "https")
            or not host
            or port == 0
            or "@" in parts.netloc
            or set("?#") & set(endpoint)
        ):
            raise _invalid()
        self._connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port = host, port
        self._path = parts.path.rstrip("/") + "/v1/traces"
        self._dropped = Counter("wedsync_spans_dropped", "Spans that the receiver did not take.", registry=registry)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch, once. A failure drops it."""
        connection = self._connect(self._host, self._port, timeout=_TIMEOUT_SECONDS)
        try:
            body = _ENCODER.encode(request_of(spans))
            connection.request("POST", self._path, body, {"Content-Type": "application/json"})
            status = connection.getresponse().status
        except Exception:  # noqa: BLE001  # whatever it is, it is counted and disturbs nobody
            status = 0
        finally:
            connection.close()
        if 200 <= status < 300:
            return SpanExportResult.SUCCESS
        self._dropped.inc(len(spans))
        return SpanExportResult.FAILURE


def _invalid() -> PlatformError:
    return PlatformError(
        INVALID_SETTING,
        "WEDSYNC_OTEL_ENDPOINT is not the base URL of a receiver",
        field="WEDSYNC_OTEL_ENDPOINT",
        hint="Set WEDSYNC_OTEL_ENDPOINT to http:// or https://, a host and perhaps a port and a path, nothing else.",
    )


def request_of(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """The body of an OTLP export request. All spans of a process have one resource and one scope."""
    if not spans:
        return {"resourceSpans": []}
    scope = spans[0].instrumentation_scope
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(spans[0].resource.attributes)},
                "scopeSpans": [
                    {"scope": {"name": scope.name if scope else ""}, "spans": [_span(span) for span in spans]}
                ],
            }
        ]
    }


def _span(span: ReadableSpan) -> dict[str, Any]:
    context = span.get_span_context()
    encoded: dict[str, Any] = {
        "traceId": format(context.trace_id if context else 0, "032x"),
        "spanId": format(context.span_id if context else 0, "016x"),
        "name": span.name,
        "kind": _KINDS[span.kind],
        # 64-bit integers are strings in protobuf's JSON mapping.
        "startTimeUnixNano": str(span.start_time or 0),
        "endTimeUnixNano": str(span.end_time or 0),
        "attributes": _attributes(span.attributes or {}),
        "status": {"code": span.status.status_code.value, "message": span.status.description or ""},
    }
    if span.parent is not None:
        encoded["parentSpanId"] = format(span.parent.span_id, "016x")
    return encoded


def _attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: object) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list() | tuple():
            return {"arrayValue": {"values": [_value(item) for item in value]}}
        case _:
            return {"stringValue": str(value)}
