"""What the API takes and gives: bodies of requests and resources, in camelCase.

Times are RFC 3339 in UTC, sizes are bytes, ids UUIDs. A sealed field whose key was destroyed is null.
"""

from datetime import date
from enum import StrEnum
from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from contracts.configuration import BackupType, LocationName, SourceType, StorageDestinations, Tier
from contracts.executor_events import ClassTotals, ExecutionType
from contracts.progress import Progress
from contracts.reading import Growing
from gateway.http.fields import Printable, SourcePath, TagText, Timestamp, Uuid
from gateway.http.problems import Problem

T = TypeVar("T")


class Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A body that a client sends. What it does not know is refused."""


class Resource(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A body that the API answers with."""


class ListPage(Resource, Generic[T], frozen=True, kw_only=True):
    """One page of a list. `nextCursor` continues it; null on the last page."""

    items: list[T]
    next_cursor: str | None = None


class NewConfiguration(Body, frozen=True, kw_only=True):
    """What is to be backed up, and where to.

    `sourceLocation`, a destination's `location`: names of registered locations. `sourceIdentifier`: a path below the
    source location, empty for all of it. `weddingDate` makes a backup urgent; it is sealed, as name and path are.
    """

    name: Printable
    source_type: SourceType
    source_location: LocationName
    source_identifier: SourcePath = ""
    backup_type: BackupType = BackupType.INCREMENTAL
    storage_destinations: StorageDestinations
    compression_enabled: bool = True
    is_wedding_critical: bool = False
    wedding_date: date | None = None
    tags: Annotated[tuple[TagText, ...], Meta(max_length=50)] = ()


class LastRunState(StrEnum):
    """By which state of their latest run configurations are found."""

    NEVER_RUN = "never-run"
    INITIALIZING = "initializing"
    PREPARING = "preparing"
    BACKING_UP = "backing_up"
    VERIFYING = "verifying"
    COMPLETED = "completed"
    FAILED = "failed"


class LastRun(Resource, frozen=True, kw_only=True):
    """The latest run of a configuration, whatever became of it."""

    execution_id: str
    state: str
    degraded: bool
    started_at: Timestamp
    finished_at: Timestamp | None
    error_code: str | None


class LastRecoveryPoint(Resource, frozen=True, kw_only=True):
    """The latest snapshot that is on every required tier and was verified there."""

    execution_id: str
    snapshot_id: str
    completed_at: Timestamp
    tiers: list[Tier]


class ConfigurationHealth(StrEnum):
    """How a configuration is doing: by its latest run that has ended."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    FAILING = "failing"
    NEVER_RUN = "never-run"


class Configuration(Resource, frozen=True, kw_only=True):
    """A configuration in force, with its runs; `version` is its ETag. `unreadableFields` are null for want of a key."""

    id: str
    version: int
    name: str | None
    source_type: SourceType
    source_location: str
    source_identifier: str | None
    backup_type: BackupType
    storage_destinations: StorageDestinations
    compression_enabled: bool
    is_wedding_critical: bool
    wedding_date: date | None
    tags: list[str]
    created_by: str
    created_at: Timestamp
    next_run: Timestamp | None
    last_run: LastRun | None
    last_recovery_point: LastRecoveryPoint | None
    health: ConfigurationHealth
    unreadable_fields: list[str] = []


class NewExecution(Body, frozen=True, kw_only=True):
    """An immediate backup of a configuration."""

    configuration_id: Uuid


class ExecutionState(Growing):
    """Where a run is. One that a newer build has written is shown as `unknown`."""

    INITIALIZING = "initializing"
    PREPARING = "preparing"
    BACKING_UP = "backing_up"
    VERIFYING = "verifying"
    COMPLETED = "completed"
    FAILED = "failed"


class VerificationStatus(StrEnum):
    """Whether what was written was read back and found equal. `partial`: on some of the tiers."""

    PENDING = "pending"
    VERIFIED = "verified"
    PARTIAL = "partial"
    FAILED = "failed"
    NOT_VERIFIED = "not-verified"


class Phase(Resource, frozen=True, kw_only=True):
    """One phase of a run, with its times. `seconds` once it has ended."""

    name: ExecutionState
    started_at: Timestamp
    finished_at: Timestamp | None
    seconds: float | None


class TierState(Resource, frozen=True, kw_only=True):
    """What one tier has of a run: `pending`, `uploaded` or `failed` (with the code, and a catch-up owed)."""

    tier: Tier
    state: Literal["pending", "uploaded", "failed"]
    verified: bool
    snapshot_id: str | None = None
    log_entry: int | None = None
    uploaded_bytes: int | None = None
    objects: int | None = None
    seconds: float | None = None
    code: str | None = None
    hint: str | None = None


class CompletionDetails(Resource, frozen=True, kw_only=True):
    """What a completed run has produced. `code`, `hint`: what it lacks; `reportDigest`: BLAKE3 of a report of it."""

    snapshot_id: str
    files: int
    unreadable_files: int
    by_class: list[ClassTotals]
    seconds: float
    report_digest: str | None
    code: str | None = None
    hint: str | None = None


class ExecutionError(Resource, frozen=True, kw_only=True):
    """Why a run failed."""

    code: str
    title: str
    hint: str
    tier: Tier | None


class Execution(Resource, frozen=True, kw_only=True):
    """One run of a configuration.

    Sizes are bytes: `sourceBytes` was read, `newBytes` was new after deduplication, `storedBytes` is what one tier
    stores of it, encrypted. `ratio` is storedBytes to newBytes. `version` grows with each fact; it is the ETag.
    """

    id: str
    version: int
    configuration_id: str
    configuration_version: int
    request_id: str
    execution_type: ExecutionType
    state: ExecutionState
    degraded: bool
    is_wedding_critical: bool
    started_by: str
    started_at: Timestamp
    finished_at: Timestamp | None
    attempts: int
    phases: list[Phase]
    tiers: list[TierState]
    size_estimate: int | None
    size_actual: int | None
    source_bytes: int | None
    new_bytes: int | None
    stored_bytes: int | None
    ratio: float | None
    files: int | None
    bytes_per_second: float | None
    verification_status: VerificationStatus
    completion_details: CompletionDetails | None
    error: ExecutionError | None
    error_message: str | None


class RequestState(StrEnum):
    """Whether a request was answered by its owner."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REFUSED = "refused"


class WriteRequest(Resource, frozen=True, kw_only=True):
    """A write that was taken down: it is in the record, and its owner answers it. The body of every 202.

    `resource`: where the result is. `execution`: the run, once accepted and readable; `submittedBy`: once it is known.
    """

    id: str
    kind: str
    state: RequestState
    resource: str
    submitted_by: str | None
    submitted_at: Timestamp
    answered_at: Timestamp | None = None
    problem: Problem | None = None
    execution: Execution | None = None


class ProgressView(Resource, frozen=True, kw_only=True):
    """How far a run is. `progress` is null where no worker has reported yet, or the run has ended."""

    execution_id: str
    state: ExecutionState
    started_at: Timestamp
    finished_at: Timestamp | None
    progress: Progress | None


class LocationView(Resource, frozen=True, kw_only=True):
    """A registered location that the organisation may use, by its name; never where it is.

    `storageClasses`: what a destination there may name as its `storageClass`.
    """

    name: str
    kind: str
    roles: list[str]
    region: str | None
    lock: bool
    storage_classes: list[str]


class Ticket(Resource, frozen=True, kw_only=True):
    """A single-use ticket for `/api/backup/monitoring?ticket=…`, for browsers, which cannot send headers there."""

    ticket: str
    expires_at: Timestamp


class RunCounts(Resource, frozen=True, kw_only=True):
    """How many runs there are in each state. `degraded` ones are among the completed."""

    initializing: int
    preparing: int
    backing_up: int
    verifying: int
    completed: int
    degraded: int
    failed: int


class ConfigurationTotals(Resource, frozen=True, kw_only=True):
    """How many configurations there are, and how they are doing."""

    total: int
    wedding_critical: int
    healthy: int
    degraded: int
    failing: int
    never_run: int


class RunningExecution(Resource, frozen=True, kw_only=True):
    """A run that has not ended."""

    execution_id: str
    configuration_id: str
    state: ExecutionState
    started_at: Timestamp


class Queue(Resource, frozen=True, kw_only=True):
    """Runs that no worker has taken yet."""

    waiting: int
    oldest_since: Timestamp | None


class LastDay(Resource, frozen=True, kw_only=True):
    """What ended within the last 24 hours. Bytes."""

    completed: int
    degraded: int
    failed: int
    files: int
    source_bytes: int
    new_bytes: int
    stored_bytes: int


class TierVerdict(StrEnum):
    """How a tier is doing: `behind` has earlier backups but lacks the latest, `failing` has none or is gone."""

    HEALTHY = "healthy"
    BEHIND = "behind"
    FAILING = "failing"
    UNPROVEN = "unproven"
    UNUSED = "unused"


class TierHealth(Resource, frozen=True, kw_only=True):
    """One tier over all configurations that use it."""

    tier: Tier
    verdict: TierVerdict
    configurations: int
    catch_ups_owed: int
    last_uploaded_at: Timestamp | None
    last_failed_at: Timestamp | None
    last_failure_code: str | None


class Unprotected(Resource, frozen=True, kw_only=True):
    """The source that has gone longest without a recovery point, and since when."""

    configuration_id: str
    since: Timestamp
    last_recovery_point_at: Timestamp | None


class Rule(Resource, frozen=True, kw_only=True):
    """One rule of 3-2-1-1-0, and how many configurations do not keep it."""

    rule: str
    satisfied: bool
    failing_configurations: int


class Verdict(Resource, frozen=True, kw_only=True):
    """Whether every configuration keeps 3-2-1-1-0: three copies, two media, one offsite, one immutable, no errors."""

    satisfied: bool
    rules: list[Rule]


class Status(Resource, frozen=True, kw_only=True):
    """The state of an organisation's backups. `asOf`: when this was read; never more than a second old."""

    as_of: Timestamp
    configurations: ConfigurationTotals
    executions: RunCounts
    running: list[RunningExecution]
    queue: Queue
    last24_hours: LastDay
    tiers: list[TierHealth]
    oldest_unprotected_source: Unprotected | None
    verdict: Verdict


class Liveness(Resource, frozen=True, kw_only=True):
    """How the gateway is: `live`; or `ready`, `degraded` (works, but somebody should look), `not-ready`."""

    status: str
