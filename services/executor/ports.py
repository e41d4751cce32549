"""What the executor's inside needs of the outside.

All calls may raise `PlatformError`; those with retry class *later* may be made again.
"""

from collections.abc import Callable, Collection
from typing import Protocol

import msgspec

from chassis.claims.port import Claim, WorkRecord
from chassis.claims.port import ProgressFeed as ProgressFeed
from chassis.claims.port import ProgressReport as ProgressReport
from chassis.context import Context
from chassis.deciding import Things
from chassis.handling import Handling
from chassis.life.signs import Signs
from contracts.configuration import ConfigurationBody, Tier
from contracts.executor_events import RunTotals, TierRoom
from contracts.gateway_events import LastRunSeen
from contracts.trial import CostEstimate, Finding
from services.executor.domain import BackupRun, ConfigurationTest
from services.executor.kept import Replica


class SealedReport(msgspec.Struct, frozen=True):
    """A sealed report, and the BLAKE3 digest in hex of what was sealed."""

    digest: str
    body: bytes


class Runs(Things[BackupRun], WorkRecord[BackupRun], Protocol):
    """The record of backup runs. What becomes of the claim of a run is recorded with the answer."""

    async def record_accepted(self, run: BackupRun, handling: Handling, configuration: Replica) -> None:
        """Record that a run is taken on, the message as handled, and open the claim of the run: all or none.

        `configuration`: what it is performed by. Raises `ConfigurationBusy` where that has an open run, and
        CONCURRENT_CHANGE.
        """
        ...

    async def record_end(
        self, run: BackupRun, *, claim: Claim, context: Context, report: SealedReport | None = None
    ) -> None:
        """Record the end of a run, keep its report and close its claim: all or none.

        Raises CLAIM_LOST where the fence was passed.
        """
        ...


class TrialTask(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that is to be tested, as it was when that was asked for."""

    configuration_id: str
    version: int
    body: ConfigurationBody
    last_run: LastRunSeen | None = None


class Trials(Things[ConfigurationTest], Protocol):
    """The record of tests. One that waits for a worker is a claim alone."""

    async def record_asked(self, request_id: str, handling: Handling, task: TrialTask) -> None:
        """Have a configuration tested, and the message as handled: both or none. Raises `TestOpen`."""
        ...

    def task_of(self, claim: Claim) -> TrialTask:
        """What is to be tested. Raises CONFIGURATION_UNREADABLE."""
        ...

    async def record_end(self, test: ConfigurationTest, *, claim: Claim, context: Context) -> None:
        """Record its answer and close its claim: both or none. Raises CLAIM_LOST."""
        ...


class Places(Protocol):
    """Source, keys and tiers, as a worker sees them."""

    def look(self, organisation: str, task: TrialTask) -> tuple[tuple[Finding, ...], CostEstimate]:
        """A finding for each check, and what a backup would cost. Blocking, for a minute at most; leaves nothing."""
        ...


class Registry(Protocol):
    """The locations that operators have registered."""

    async def lacking(self, organisation: str, body: ConfigurationBody) -> Collection[str]:
        """Which locations of a configuration are none of its organisation's; none where that is not known now."""
        ...


class Configurations(Protocol):
    """Copies of the configurations, fed by the config service's facts."""

    async def find(self, configuration_id: str) -> Replica | None:
        """The newest version seen here, or None. Raises CONFIGURATION_UNREADABLE."""
        ...

    async def remember(self, replica: Replica, handling: Handling) -> None:
        """Keep a version; an older one than what is here changes nothing. Durable, once per message."""
        ...


class TierOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended for one tier: an entry in its commit log, or the code of what failed."""

    tier: Tier
    required: bool
    location: str = ""
    log_entry: int | None = None
    uploaded_bytes: int = 0
    objects: int = 0
    seconds: float = 0.0
    room: TierRoom | None = None
    code: str | None = None
    hint: str = ""


class BackupOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the data plane has done. `report` is JSON with the details that do not belong in an event, or None.

    `is_emptied`: nothing was there of a source that held files before.
    """

    snapshot_id: str
    totals: RunTotals
    tiers: tuple[TierOutcome, ...]
    report: bytes | None = None
    is_emptied: bool = False


class OpenBackup(Protocol):
    """A run whose source, tiers and keys were found usable. Blocking calls; made in a thread."""

    def copy(
        self,
        *,
        on_begin: Callable[[], None],
        on_progress: Callable[[ProgressReport], None],
        is_cancelled: Callable[[], bool],
    ) -> BackupOutcome:
        """Read the source once and bring it to all tiers. Idempotent per run: a snapshot is committed once per tier.

        `on_begin` is called when there is memory for it and reading begins; not where it was committed before. What it
        raises ends the call.
        """
        ...

    def verify(self, outcome: BackupOutcome, tier: Tier) -> str | None:
        """Read manifest and a sample back from a tier that has it: None, or the code of what differs."""
        ...

    def close(self) -> None:
        """Give back connections and threads."""
        ...


class DataPlane(Protocol):
    """The repository, seen from a run."""

    def open(self, claim: Claim, configuration: Replica, signs: Signs, on_leased: Callable[[], None]) -> OpenBackup:
        """Check source, tiers and keys. Raises the code that keeps the run from beginning.

        `signs`: told of what is being waited for, here and by what is opened; once left, nothing is begun any more.
        `on_leased`: called where other runs of the organisation may open before this has returned; else they may then.
        """
        ...


class Reports(Protocol):
    """Details of a run that do not belong in an event."""

    async def seal(self, organisation: str, report: bytes, *, subject: str | None = None) -> SealedReport:
        """Seal a report, under a data subject's key where it is of theirs; it is kept with the run's end, by whoever
        may record that. Raises KEYS_….
        """
        ...
