"""Traces and metrics of one process.

Promise: every event handled, every request answered and everything published by them belongs to one
W3C trace, whether or not spans are exported; metric labels come from closed sets (consumers, pinned
names, error codes), never from subjects, ids or anything that grows with use.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind
from prometheus_client import CollectorRegistry


class Telemetry:
    """The tracer and the metrics registry of a process; one of each.

    `otlp_endpoint`: base URL of an OTLP/HTTP receiver; spans are exported only where it is given.
    `sample_ratio`: the share of new traces that is exported, 0 to 1.
    """

    registry: CollectorRegistry

    def __init__(self, service: str, *, otlp_endpoint: str | None = None, sample_ratio: float = 1.0) -> None:
        raise NotImplementedError

    @contextmanager
    def span(
        self,
        name: str,
        *,
        traceparent: str | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, str | int | float | bool] | None = None,
    ) -> Iterator[Span]:
        """A span that is current inside the block; a child of `traceparent`, else of the current span, else a new trace.

        An exception that leaves the block marks the span as failed, by its code or type alone.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Export what is left, within two seconds."""
        raise NotImplementedError


def current_traceparent() -> str | None:
    """The W3C traceparent of the current span, for a `Context`; None outside of any span."""
    raise NotImplementedError


def current_trace_id() -> str | None:
    """The trace id (32 hex digits) of the current span, for logs and problem bodies; None outside of any span."""
    raise NotImplementedError
