"""Streams and durable consumers, declared as data.

`chassis.bus.topology` makes the server equal to this and readiness compares the two. One stream per
service holds all its events for good (no age limit, deletion and purge denied). Progress keeps
the last value per run and may lose the latest when the server crashes. A dead letter keeps the message and its cause.
"""

import msgspec

from contracts import (  # noqa: F401  # they declare who takes them
    approval_events,
    cleanup_events,
    compliance_events,
    compliance_requests,
    config_events,
    dr_events,
    dr_execution_events,
    erasure_events,
    executor_events,
    gateway_events,
    hold_events,
    optimization_events,
    recovery_events,
    repair_events,
    storage_requests,
    validation_events,
)
from contracts.choosing import ASK_POINTS
from contracts.event import pinned_events
from contracts.looking import ASK_CONTENT, ASK_ENTRIES
from contracts.subjects import DEAD_LETTERS, PROGRESS, SERVICES, events_named, events_of, once_stored


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One stream. `durable`: synced before it is acknowledged, kept for good, deletion and purge denied.

    `max_age_seconds`: 0 for no limit. `is_announced`: what it has stored is told on `once_stored(subject)`: of a
    durable stream's messages the headers.
    """

    name: str
    subjects: tuple[str, ...]
    durable: bool
    owner: str | None = None
    max_messages_per_subject: int = -1
    max_bytes: int = -1
    max_age_seconds: float = 0.0
    is_announced: bool = False


class ConsumerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One durable pull consumer, named `<service>--<handler>`. Seconds; deliveries are counted in all.

    `max_pending`: how many may be without an answer, those that wait for another try included: more than one tenant can
    have there, whose messages all fail (ADR 0079).
    """

    service: str
    handler: str
    stream: str
    subjects: tuple[str, ...]
    ack_wait_seconds: float = 30.0
    max_deliveries: int = 12
    max_pending: int = 4096

    @property
    def durable_name(self) -> str:
        """The consumer's name on the server."""
        return f"{self.service}--{self.handler}"


def stream_of(owner: str) -> str:
    """The name of a service's event stream."""
    return f"BACKUP_{owner.upper()}"


def owner_of(stream: str) -> str | None:
    """The service whose record a stream holds; None for one that holds no record."""
    return next((owner for owner in SERVICES if stream_of(owner) == stream), None)


PROGRESS_STREAM = "BACKUP_PROGRESS"
PROGRESS_KEPT_SECONDS = 900.0
"""A run that goes on reports far more often; what is older is of one that has ended."""
DEAD_LETTER_STREAM = "BACKUP_DEADLETTERS"

STREAMS: tuple[StreamSpec, ...] = (
    *(
        StreamSpec(name=stream_of(owner), subjects=(events_of(owner),), durable=True, owner=owner, is_announced=True)
        for owner in SERVICES
    ),
    StreamSpec(
        name=PROGRESS_STREAM,
        subjects=(f"{PROGRESS}.>",),
        durable=False,
        max_messages_per_subject=1,
        max_bytes=64 * 1024 * 1024,
        max_age_seconds=PROGRESS_KEPT_SECONDS,
        is_announced=True,
    ),
    StreamSpec(name=DEAD_LETTER_STREAM, subjects=(f"{DEAD_LETTERS}.>",), durable=True),
)


def _consumer(durable_name: str, event: str) -> ConsumerSpec:
    service, _, handler = durable_name.partition("--")
    owner = event.partition(".")[0]
    return ConsumerSpec(service=service, handler=handler, stream=stream_of(owner), subjects=(events_named(event),))


CONSUMERS: tuple[ConsumerSpec, ...] = tuple(
    _consumer(durable_name, event)
    for durable_name, event in sorted(
        (taker, name) for name, event in pinned_events().items() for taker in event.TAKEN_BY
    )
)
"""As the events declare who takes them (`contracts.event.pinned`), by name."""

WAKE_WORKERS = once_stored(events_named(executor_events.BackupAccepted.NAME))
STOP_WORKERS = once_stored(events_named(executor_events.BackupCancelled.NAME))
WAKE_CLEANUPS = once_stored(events_named(cleanup_events.RetentionCleanupAccepted.NAME))
WAKE_OPTIMIZATIONS = once_stored(events_named(optimization_events.StorageOptimizationAccepted.NAME))
WAKE_REPAIRS = once_stored(events_named(repair_events.StorageRepairAccepted.NAME))
WAKE_ERASURES = once_stored(events_named(erasure_events.ErasureAccepted.NAME))
WAKE_RECOVERIES = once_stored(events_named(recovery_events.RecoveryAccepted.NAME))
STOP_RECOVERIES = once_stored(events_named(recovery_events.RecoveryCancelled.NAME))
WAKE_VALIDATIONS = once_stored(events_named(validation_events.RecoveryValidationAccepted.NAME))
STOP_VALIDATIONS = once_stored(events_named(validation_events.RecoveryValidationCancelled.NAME))
WORKERS_HEAR = {
    "executor": (WAKE_WORKERS, STOP_WORKERS, WAKE_CLEANUPS, WAKE_REPAIRS, WAKE_OPTIMIZATIONS, WAKE_ERASURES),
    "recovery": (WAKE_RECOVERIES, STOP_RECOVERIES, WAKE_VALIDATIONS, STOP_VALIDATIONS),
}
"""What the workers of a service hear, whose identity is `<service>-worker`."""

ANSWERS = {
    "recovery-worker": {ASK_ENTRIES: "gateway", ASK_CONTENT: "gateway"},
    "gateway": {ASK_POINTS: "dr"},
}
"""What an identity is asked, on which subject and by whom. Nothing of it is kept."""


def consumer_named(durable_name: str) -> ConsumerSpec:
    """A declared consumer. Raises KeyError."""
    return {spec.durable_name: spec for spec in CONSUMERS}[durable_name]
