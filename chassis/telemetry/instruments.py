"""Traces and metrics of one process.

Promise: every event handled, every request answered and everything published by them belongs to one
W3C trace, whether or not spans are exported; metric labels come from closed sets (consumers, pinned
names, error codes), never from subjects, ids or anything that grows with use.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from chassis.telemetry.figures import Figures
from contracts.errors import PlatformError

_PROPAGATOR = TraceContextTextMapPropagator()
_CLOSE_MILLISECONDS = 2_000
HANDLER_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Telemetry:
    """The tracer and the metrics registry of a process; one of each.

    `otlp_endpoint`: base URL of an OTLP/HTTP receiver; spans are exported only where it is given (or an
    `exporter`, which a test does). `sample_ratio`: the share of new traces that is exported, 0 to 1; a
    trace that came from elsewhere is exported where it was exported there.
    """

    def __init__(
        self,
        service: str,
        *,
        otlp_endpoint: str | None = None,
        sample_ratio: float = 1.0,
        exporter: SpanExporter | None = None,
    ) -> None:
        self.service = service
        self.registry = CollectorRegistry()
        self.metrics = BusMetrics(self.registry)
        self.figures = Figures(self.registry)
        ProcessCollector(registry=self.registry)
        if exporter is None and otlp_endpoint is not None:
            # Imported here: a process that exports nothing does not pay for it.
            from chassis.telemetry.otlp import OtlpJsonExporter

            exporter = OtlpJsonExporter(otlp_endpoint, self.registry)
        # Without an exporter spans only carry ids: they cost microseconds and record nothing.
        sampler = ALWAYS_OFF if exporter is None else ParentBased(TraceIdRatioBased(sample_ratio))
        self._provider = TracerProvider(
            sampler=sampler, resource=Resource({SERVICE_NAME: service}), shutdown_on_exit=False
        )
        if exporter is not None:
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("wedsync-backup")

    @contextmanager
    def span(
        self,
        name: str,
        *,
        traceparent: str | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, str | int | float | bool] | None = None,
    ) -> Iterator[Span]:
        """A span that is current inside the block: a child of `traceparent`, else of the current span, else a root.

        An exception that leaves the block marks the span as failed, by its code or type alone.
        """
        parent = None if traceparent is None else _PROPAGATOR.extract({"traceparent": traceparent}, context=Context())
        with self._tracer.start_as_current_span(
            name,
            context=parent,
            kind=kind,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                code = error.code.code if isinstance(error, PlatformError) else type(error).__name__
                span.set_attribute("error.type", code)
                span.set_status(Status(StatusCode.ERROR, code))
                raise

    def close(self) -> None:
        """Export what is left, within two seconds."""
        self._provider.force_flush(_CLOSE_MILLISECONDS)
        self._provider.shutdown()


class BusMetrics:
    """What the bus counts. Labels: consumers are declared, event names are pinned, codes are in the catalogue."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.handled = Counter(
            "wedsync_events_handled",
            "Deliveries by what became of them: acknowledged, repeated, held, again, dead.",
            ("consumer", "event", "outcome"),
            registry=registry,
        )
        self.handler_seconds = Histogram(
            "wedsync_handler_seconds",
            "How long a handler took, its retries while a part of the platform was away included.",
            ("consumer",),
            buckets=HANDLER_BUCKETS,
            registry=registry,
        )
        self.age_seconds = Histogram(
            "wedsync_event_age_seconds",
            "From the recording of an event to its first delivery.",
            ("consumer",),
            buckets=HANDLER_BUCKETS,
            registry=registry,
        )
        self.dead = Counter(
            "wedsync_dead_letters", "Messages given up, by cause.", ("consumer", "code"), registry=registry
        )
        self.waiting = Gauge(
            "wedsync_consumer_waiting",
            "Messages that the consumer has not been given yet.",
            ("consumer",),
            registry=registry,
        )
        self.unanswered = Gauge(
            "wedsync_consumer_unanswered",
            "Messages that were delivered and not yet acknowledged.",
            ("consumer",),
            registry=registry,
        )
        self.refused = Counter(
            "wedsync_nats_refusals",
            "What the server refused for want of permission. Anything above zero wants a look.",
            ("kind",),
            registry=registry,
        )
        self.connected = Gauge("wedsync_nats_connected", "1 while the NATS connection stands.", registry=registry)
        self.reconnects = Counter("wedsync_nats_reconnects", "Reconnections to NATS.", registry=registry)
        self.restarts = Counter(
            "wedsync_loop_restarts",
            "How often a loop of the process broke off and was begun anew.",
            ("loop",),
            registry=registry,
        )


def current_traceparent() -> str | None:
    """The W3C traceparent of the current span, for a `Context`; None outside of any span."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def current_trace_id() -> str | None:
    """The trace id (32 hex digits) of the current span, for logs and problem bodies; None outside of any span."""
    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None
