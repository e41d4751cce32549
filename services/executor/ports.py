"""What the executor's inside needs of the outside.

All calls may raise `PlatformError`; those with retry class *later* may be made again.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from chassis.context import Context
from contracts.configuration import ConfigurationBody, Tier
from contracts.executor_events import RunTotals
from services.executor.domain import BackupRun


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """The newest version of a configuration that has arrived here."""

    configuration_id: str
    organisation: str
    version: int
    body: ConfigurationBody


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's right to one run, until somebody holds a higher fence.

    `silenced`: how many workers have fallen silent over it; who gave it back is not counted.
    """

    run_id: str
    organisation: str
    correlation_id: str
    worker: str
    fence: int
    silenced: int = 0
    traceparent: str | None = None


class Handled(msgspec.Struct, frozen=True, kw_only=True):
    """The message whose effect is being recorded, so that its redelivery is recognised."""

    consumer: str
    event_id: str


class Runs(Protocol):
    """The record of backup runs."""

    async def load(self, run_id: str) -> BackupRun:
        """Read a run from its history. Raises AGGREGATE_NOT_FOUND."""
        ...

    async def record_decision(self, run: BackupRun, *, context: Context, handled: Handled) -> None:
        """Record an acceptance with an open claim, or a refusal, and the message as handled: all or none."""
        ...

    async def record(self, run: BackupRun, *, context: Context) -> None:
        """Record what has happened to a run. Raises CONCURRENT_CHANGE."""
        ...

    async def record_end(self, run: BackupRun, *, claim: Claim, context: Context) -> None:
        """Record the end of a run and close its claim: both or none. Raises CLAIM_LOST where the fence was passed."""
        ...


class Configurations(Protocol):
    """Copies of the configurations, fed by the config service's facts."""

    async def find(self, configuration_id: str) -> Replica | None:
        """The newest version seen here, or None."""
        ...

    async def remember(self, replica: Replica, *, context: Context, handled: Handled) -> None:
        """Keep a version; an older one than what is here changes nothing. Durable, once per message."""
        ...


class Claims(Protocol):
    """Who may work on which run. A claim is a row in Postgres; a heartbeat keeps it."""

    async def take(self, worker: str) -> Claim | None:
        """Claim the run that has waited longest, or one whose worker has fallen silent; its fence grows by one."""
        ...

    async def beat(self, claim: Claim) -> bool:
        """Say that the worker lives. False: the claim is another's."""
        ...

    async def release(self, claim: Claim) -> None:
        """Give the run back unfinished, for another worker to take at once."""
        ...

    async def close(self, claim: Claim) -> bool:
        """Let nobody take the run again, since it has ended. False: the claim is another's."""
        ...

    def alone_with_repository(self, organisation: str) -> AbstractAsyncContextManager[None]:
        """Be the only one who opens, and perhaps creates, an organisation's repository. Waits."""
        ...


class TierOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended for one tier: an entry in its commit log, or the code of what failed."""

    tier: Tier
    required: bool
    log_entry: int | None = None
    uploaded_bytes: int = 0
    objects: int = 0
    seconds: float = 0.0
    code: str | None = None
    hint: str = ""


class BackupOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the data plane has done. `report` is JSON with the details that do not belong in an event, or None."""

    snapshot_id: str
    totals: RunTotals
    tiers: tuple[TierOutcome, ...]
    report: bytes | None = None


class ProgressReport(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of a run under way. `tiers` maps a tier to its state, uploaded and queued bytes."""

    files_done: int
    files_total: int | None
    bytes_done: int
    bytes_total: int | None
    tiers: tuple[tuple[Tier, str, int, int], ...]


class OpenBackup(Protocol):
    """A run whose source, tiers and keys were found usable. Blocking calls; made in a thread."""

    def copy(self, *, on_progress: Callable[[ProgressReport], None], is_cancelled: Callable[[], bool]) -> BackupOutcome:
        """Read the source once and bring it to all tiers. Idempotent per run: a snapshot is committed once per tier."""
        ...

    def verify(self, outcome: BackupOutcome) -> tuple[tuple[Tier, str | None], ...]:
        """Read manifest and a sample back from each tier that has it: None, or the code of what differs."""
        ...

    def close(self) -> None:
        """Give back connections and threads."""
        ...


class DataPlane(Protocol):
    """The repository, seen from a run."""

    def open(self, claim: Claim, configuration: Replica) -> OpenBackup:
        """Check source, tiers and keys. Raises SOURCE_UNREACHABLE, REQUIRED_TIER_FAILED or KEYS_UNUSABLE."""
        ...


class Reports(Protocol):
    """Where details of a run are kept that do not belong in an event."""

    async def keep(self, run_id: str, organisation: str, report: bytes) -> str:
        """Store a report, sealed; returns its BLAKE3 digest in hex. Idempotent per run."""
        ...


class ProgressFeed(Protocol):
    """Where progress goes: not durable, the last value counts."""

    async def tell(self, claim: Claim, phase: str, report: ProgressReport) -> None:
        """Announce; never raises, since progress is not history."""
        ...

    def forget(self, run_id: str) -> None:
        """A run has ended."""
        ...
