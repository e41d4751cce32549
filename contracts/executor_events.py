"""What the executor announces about backup runs. Owner: executor.

States: `initializing` (accepted) → `preparing` → `backing_up` → `verifying` →
`completed` (perhaps degraded), `failed` or `cancelled`. A worker that stops gives its run back, to `initializing`.
`STATE_AFTER` says which fact leads to which; whoever tells of runs takes it from there.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from msgspec import Meta

from contracts import errors
from contracts.configuration import Tier
from contracts.event import Event, Value, pinned
from contracts.reading import Growing
from contracts.refusal import Refusal
from contracts.trial import CostEstimate, Finding, Verdict


class ExecutionState(Growing):
    """Where a run is. One that a newer build has written is shown as `unknown`."""

    INITIALIZING = "initializing"
    PREPARING = "preparing"
    BACKING_UP = "backing_up"
    VERIFYING = "verifying"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = (ExecutionState.COMPLETED, ExecutionState.FAILED, ExecutionState.CANCELLED)
UNDER_WAY = tuple(state for state in ExecutionState if state not in ENDED)


class ExecutionType(Growing):
    """Why a run was started."""

    MANUAL = "manual"
    SCHEDULED = "scheduled"
    RETRY = "retry"
    CATCH_UP = "catch-up"
    DRILL = "drill"


class ClassTotals(Value, frozen=True, kw_only=True):
    """Bytes of one content class: as read, after deduplication, and as stored."""

    content_class: str
    source_bytes: int
    new_bytes: int
    stored_bytes: int


class RunTotals(Value, frozen=True, kw_only=True):
    """What a run has read and written. Bytes and counts; `stored_bytes` is per tier, encrypted.

    `files` were saved; `unreadable_files` counts the entries of every kind that are missing in the snapshot, or without
    content in it, although they were asked for; `left_out_folders` those in the source that are never backed up (a
    tier's, the platform's own).
    """

    files: int
    source_bytes: int
    new_bytes: int
    stored_bytes: int
    unreadable_files: int = 0
    left_out_folders: int = 0
    by_class: tuple[ClassTotals, ...] = ()


class CatchUp(Value, frozen=True, kw_only=True):
    """What is owed to a tier that was down."""

    tier: Tier
    code: str


@pinned("executor.backup-accepted.v1", taken_by=("config--tell-start",))
class BackupAccepted(Event, frozen=True, kw_only=True):
    """A run is in the record and waits for a worker (`initializing`). `retry_of`: the run in whose place it is.

    `due_at`: the instant of the schedule that asked for it. `is_urgent`: it goes before the organisation's others.
    `follow_up`: the executor began it by itself, after so many runs in a row that were not whole (`retry_of` is the
    latest); 0: somebody asked for it. `has_point`, `has_proven_point`: one of those runs has made a recovery point, and
    one that is proven.
    """

    request_id: str
    execution_id: str
    configuration_id: str
    configuration_version: int
    execution_type: ExecutionType
    tiers: tuple[Tier, ...]
    size_estimate_bytes: int | None = None
    retry_of: str | None = None
    due_at: datetime | None = None
    is_urgent: bool = False
    follow_up: int = 0
    has_point: bool = False
    has_proven_point: bool = False


@pinned("executor.backup-refused.v1", taken_by=("config--tell-refusal",))
class BackupRefused(Refusal, frozen=True, kw_only=True):
    """A requested backup was refused. `due_at`: the instant of the schedule that asked for it."""

    execution_id: str
    configuration_id: str
    due_at: datetime | None = None


@pinned("executor.backup-preparing.v1")
class BackupPreparing(Event, frozen=True, kw_only=True):
    """A worker has claimed the run and checks source, tiers and keys. `fence` grows with each claim."""

    execution_id: str
    fence: Annotated[int, Meta(ge=1)]
    worker: str


@pinned("executor.backup-requeued.v1")
class BackupRequeued(Event, frozen=True, kw_only=True):
    """A worker gave the run back unfinished, for no fault of the run; it waits for the next (`initializing`).

    Also of a run that no worker can take, which is told once for each cause, with the fence that it had. `code`,
    `hint`: what keeps workers from doing it; None where one was stopped, or where one looks for work again.
    `next_attempt_at`: when the same worker tries it again at the latest; another one may do so at once.
    """

    execution_id: str
    fence: int
    code: str | None = None
    hint: str = ""
    next_attempt_at: datetime | None = None


@pinned("executor.backup-uploading.v1")
class BackupUploading(Event, frozen=True, kw_only=True):
    """The source is being read and its packs go to the tiers (`backing_up`)."""

    execution_id: str
    fence: int


@pinned("executor.backup-verifying.v1")
class BackupVerifying(Event, frozen=True, kw_only=True):
    """The tiers have acknowledged; checksums, manifest and a sample are read back (`verifying`)."""

    execution_id: str
    fence: int


class TierRoom(Value, frozen=True, kw_only=True):
    """What a run found of a tier when it had taken its snapshot: the size of its disk, and what of it is free.

    A bucket says neither. `latency_seconds`: of asking it for one small object.
    """

    capacity_bytes: int | None = None
    free_bytes: int | None = None
    latency_seconds: float | None = None


@pinned("executor.tier-uploaded.v1")
class TierUploaded(Event, frozen=True, kw_only=True):
    """A tier holds the whole snapshot, committed. `log_entry` is its number in that tier's commit log."""

    execution_id: str
    tier: Tier
    snapshot_id: str
    log_entry: int
    uploaded_bytes: int
    objects: int
    seconds: float
    room: TierRoom | None = None


@pinned("executor.tier-failed.v1")
class TierFailed(Event, frozen=True, kw_only=True):
    """A tier does not hold the snapshot; it is owed a catch-up."""

    execution_id: str
    tier: Tier
    code: str
    hint: str = ""


@pinned("executor.backup-completed.v1", taken_by=("recovery--catalogue-backup", "config--tell-completion"))
class BackupCompleted(Event, frozen=True, kw_only=True):
    """The snapshot is on every required tier and was verified there.

    `degraded`: at least one other tier is behind (`catch_ups` names them), or something of the source
    is not in the snapshot (`code` is `source-incomplete`), or nothing is in it of a source that held files before
    (`source-emptied`: no recovery point). `verified` names the tiers that were read back.
    `report_digest` is the BLAKE3 of the report object with the details that do not belong in an event
    (file errors), hex; None where there is nothing to report. `follow_up_at`: when the executor catches up what is
    owed, by another run, unless one comes before. `is_catch_up`: nobody has asked for its point, and one of the runs
    that it follows by itself has made one already, proven where this one is.
    """

    execution_id: str
    configuration_id: str
    snapshot_id: str
    degraded: bool
    totals: RunTotals
    verified: tuple[Tier, ...]
    catch_ups: tuple[CatchUp, ...] = ()
    report_digest: str | None = None
    seconds: float = 0.0
    code: str | None = None
    follow_up_at: datetime | None = None
    is_catch_up: bool = False

    @property
    def is_recovery_point(self) -> bool:
        """Whether there is anything in it to be restored."""
        return self.code != errors.SOURCE_EMPTIED.code

    @property
    def is_proven(self) -> bool:
        """Whether nothing of the source is missing in it, and it was read back."""
        return bool(self.verified) and self.code is None and not self.totals.unreadable_files


@pinned("executor.backup-failed.v1", taken_by=("config--tell-failure",))
class BackupFailed(Event, frozen=True, kw_only=True):
    """The run has ended without a snapshot on every required tier; what was uploaded is reused by the next.

    `report_digest`: as of `BackupCompleted`; the sealed report names what the failure is about. `follow_up_at`: when
    the executor tries again, by another run, unless one comes before.
    """

    execution_id: str
    configuration_id: str
    code: str
    hint: str = ""
    tier: Tier | None = None
    report_digest: str | None = None
    follow_up_at: datetime | None = None


@pinned("executor.backup-cancelled.v1", taken_by=("config--note-cancellation",))
class BackupCancelled(Event, frozen=True, kw_only=True):
    """Somebody had the run stopped. What was uploaded is reused by the next.

    No tier has half a snapshot; one that had committed it by then has all of it, though no `TierUploaded` tells so.
    """

    request_id: str
    execution_id: str
    configuration_id: str


@pinned("executor.backup-cancellation-refused.v1")
class BackupCancellationRefused(Refusal, frozen=True, kw_only=True):
    """A run was not stopped: it has ended, or there is none of this id."""

    execution_id: str


@pinned("executor.configuration-tested.v1")
class ConfigurationTested(Event, frozen=True, kw_only=True):
    """A worker has looked whether a configuration would be backed up. Nothing of the test is left anywhere.

    `verdict`: fail where one of the findings is, else undecided where one is. `seconds`: what the test took.
    """

    request_id: str
    configuration_id: str
    configuration_version: int
    verdict: Verdict
    findings: tuple[Finding, ...]
    seconds: float
    estimate: CostEstimate = CostEstimate()


@pinned("executor.configuration-test-refused.v1")
class ConfigurationTestRefused(Refusal, frozen=True, kw_only=True):
    """A configuration was not tested."""

    configuration_id: str


STATE_AFTER: Mapping[type[Event], ExecutionState] = {
    BackupAccepted: ExecutionState.INITIALIZING,
    BackupPreparing: ExecutionState.PREPARING,
    BackupRequeued: ExecutionState.INITIALIZING,
    BackupUploading: ExecutionState.BACKING_UP,
    BackupVerifying: ExecutionState.VERIFYING,
    BackupCompleted: ExecutionState.COMPLETED,
    BackupFailed: ExecutionState.FAILED,
    BackupCancelled: ExecutionState.CANCELLED,
}
"""Where each fact leaves a run; other facts leave it where it is."""
