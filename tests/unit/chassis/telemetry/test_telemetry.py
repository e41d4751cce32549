"""Traces: one trace from the request through every event, exported or not."""

import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from chassis.telemetry.instruments import Telemetry, current_trace_id, current_traceparent
from chassis.telemetry.otlp import OtlpJsonExporter, request_of
from contracts import errors
from contracts.errors import PlatformError

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_span_continues_the_trace_it_was_given() -> None:
    """A handler's span is a child of what the envelope names, whatever else is current."""
    telemetry = Telemetry("executor")
    with telemetry.span("other"), telemetry.span("handler", traceparent=TRACEPARENT):
        assert current_trace_id() == "0af7651916cd43dd8448eb211c80319c"
        current = current_traceparent()
        assert current is not None
        assert current.split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
        assert current.split("-")[2] != "b7ad6b7169203331"


def test_span_without_a_parent_begins_a_trace_and_inner_spans_join_it() -> None:
    """A request without a traceparent begins one; what happens inside belongs to it."""
    telemetry = Telemetry("executor")
    assert current_traceparent() is None
    assert current_trace_id() is None
    with telemetry.span("outer"):
        outer = current_trace_id()
        with telemetry.span("inner"):
            assert current_trace_id() == outer
    assert current_trace_id() is None


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "ff" * 40])
def test_unreadable_traceparent_begins_a_trace(traceparent: str) -> None:
    """A stranger's header never fails a request."""
    with Telemetry("executor").span("request", traceparent=traceparent):
        assert len(current_trace_id() or "") == 32


def test_failed_span_says_its_code_and_not_its_text() -> None:
    """A span leaves the house; the text of an error does not."""
    exporter = InMemorySpanExporter()
    telemetry = Telemetry("executor", exporter=exporter)
    with pytest.raises(PlatformError), telemetry.span("ours"):
        raise PlatformError(errors.RUN_FINISHED, "the run has ended")
    with pytest.raises(ValueError, match="Anna"), telemetry.span("theirs"):
        raise ValueError("Anna")
    telemetry.close()
    ours, theirs = exporter.get_finished_spans()
    assert (ours.status.status_code, ours.status.description) == (StatusCode.ERROR, "run-finished")
    assert (theirs.attributes or {})["error.type"] == "ValueError"
    assert "Anna" not in theirs.to_json()


def test_sampling_decides_for_new_traces_and_respects_those_begun_elsewhere() -> None:
    """A trace is exported whole or not at all."""
    exporter = InMemorySpanExporter()
    telemetry = Telemetry("executor", exporter=exporter, sample_ratio=0.0)
    with telemetry.span("new"):
        pass
    with telemetry.span("sampled elsewhere", traceparent=TRACEPARENT):
        pass
    with telemetry.span("not sampled elsewhere", traceparent=TRACEPARENT[:-1] + "0"):
        pass
    telemetry.close()
    assert [span.name for span in exporter.get_finished_spans()] == ["sampled elsewhere"]


def test_registries_of_two_processes_do_not_meet() -> None:
    """Services that share a process in a test count apart."""
    first, second = Telemetry("config"), Telemetry("executor")
    first.metrics.dead.labels("c", "x").inc()
    assert second.registry.get_sample_value("wedsync_dead_letters_total", {"consumer": "c", "code": "x"}) is None


# Export


class Receiver(http.server.ThreadingHTTPServer):
    """An OTLP receiver that keeps what it gets."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Mapping[str, str], Any]] = []
        self.status = 200

        class Handler(http.server.BaseHTTPRequestHandler):
            server: Receiver

            def do_POST(self) -> None:  # as http.server calls it
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.server.requests.append((self.path, dict(self.headers), json.loads(body)))
                self.send_response(self.server.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver on a free loopback port."""
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_spans_reach_a_receiver_in_the_protocols_json(receiver: Receiver) -> None:
    """Ids, parents, kinds, times and attributes arrive as OTLP/HTTP defines them."""
    telemetry = Telemetry("executor", otlp_endpoint=f"http://127.0.0.1:{receiver.server_port}/")
    attributes = {"text": "a", "count": 3, "share": 0.5, "is": True}
    with telemetry.span("handler", traceparent=TRACEPARENT, kind=SpanKind.CONSUMER, attributes=attributes):
        pass
    telemetry.close()
    ((path, headers, body),) = receiver.requests
    assert (path, headers["Content-Type"]) == ("/v1/traces", "application/json")
    (resource,) = body["resourceSpans"]
    assert {"key": "service.name", "value": {"stringValue": "executor"}} in resource["resource"]["attributes"]
    ((span,),) = (scope["spans"] for scope in resource["scopeSpans"])
    assert (span["traceId"], span["parentSpanId"]) == (TRACEPARENT.split("-")[1], TRACEPARENT.split("-")[2])
    assert (span["name"], span["kind"], len(span["spanId"])) == ("handler", 5, 16)
    assert 0 < int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
    assert span["attributes"] == [
        {"key": "text", "value": {"stringValue": "a"}},
        {"key": "count", "value": {"intValue": "3"}},
        {"key": "share", "value": {"doubleValue": 0.5}},
        {"key": "is", "value": {"boolValue": True}},
    ]


def test_receiver_that_refuses_costs_only_the_spans(receiver: Receiver) -> None:
    """What is not taken is counted; the process goes on."""
    receiver.status = 503
    telemetry = Telemetry("executor", otlp_endpoint=f"http://127.0.0.1:{receiver.server_port}")
    for _ in range(3):
        with telemetry.span("work"):
            pass
    telemetry.close()
    assert telemetry.registry.get_sample_value("wedsync_spans_dropped_total") == 3


def test_receiver_that_is_away_costs_only_the_spans() -> None:
    """A closed port is no error of the process."""
    telemetry = Telemetry("executor", otlp_endpoint="http://127.0.0.1:9")
    with telemetry.span("work"):
        pass
    telemetry.close()
    assert telemetry.registry.get_sample_value("wedsync_spans_dropped_total") == 1


@pytest.mark.parametrize(
    "endpoint",
    [
        "127.0.0.1:4318",
        "ftp://host",
        "http://",
        "file:///etc/passwd",
        "http://host:99999",
        "http://host:0",
        "http://[::1",
        "http://name:secret@host",
        "http://host/?key=1",
    ],
)
def test_wrong_endpoint_is_an_invalid_setting(endpoint: str) -> None:
    """A setting that cannot work is found at the start."""
    with pytest.raises(PlatformError) as caught:
        Telemetry("executor", otlp_endpoint=endpoint)
    assert caught.value.code is errors.INVALID_SETTING
    assert caught.value.field == "WEDSYNC_OTEL_ENDPOINT"
    assert "WEDSYNC_OTEL_ENDPOINT" in caught.value.message
    assert "secret" not in caught.value.message


def test_export_speaks_https_and_lists() -> None:
    """The encoding has no gap for what the SDK may hand over."""
    exporter = OtlpJsonExporter("https://collector.example/base", Telemetry("x").registry)
    assert exporter._path == "/base/v1/traces"
    assert exporter._connect.__name__ == "HTTPSConnection"
    assert request_of([]) == {"resourceSpans": []}
    memory = InMemorySpanExporter()
    telemetry = Telemetry("executor", exporter=memory)
    with telemetry.span("root") as span:
        span.set_attribute("list", ["a", "b"])
    telemetry.close()
    encoded = request_of(memory.get_finished_spans())["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert "parentSpanId" not in encoded
    assert encoded["attributes"] == [
        {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"stringValue": "b"}]}}}
    ]
