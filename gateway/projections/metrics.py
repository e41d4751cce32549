"""The projector's figures."""

from prometheus_client import Counter, Gauge

from chassis.telemetry.instruments import Telemetry


class ProjectorMetrics:
    """How the projector stands."""

    def __init__(self, telemetry: Telemetry) -> None:
        registry = telemetry.registry
        self.applied = Counter(
            "wedsync_projector_events", "Events applied to the read models", ("stream",), registry=registry
        )
        self.skipped = Counter(
            "wedsync_projector_skipped",
            "Messages passed over, which nobody could apply",
            ("stream",),
            registry=registry,
        )
        self.behind = Gauge(
            "wedsync_projector_behind_seconds", "Time since all streams were last found applied", registry=registry
        )
        self.rebuilds = Counter(
            "wedsync_projector_rebuilds",
            "Builds of read models in the shadow, begun or gone on with",
            registry=registry,
        )
