"""A run as the API gives it.

Times are RFC 3339 in UTC, sizes are bytes, ids UUIDs.
"""

from enum import StrEnum

from contracts.configuration import Tier
from contracts.executor_events import ClassTotals, ExecutionState, ExecutionType
from contracts.reading import Growing
from gateway.http.fields import Timestamp
from gateway.http.resources import Resource


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


class TierStanding(Growing):
    """How one tier does in a run. One that a newer build has written is shown as `unknown`."""

    PENDING = "pending"
    UPLOADED = "uploaded"
    FAILED = "failed"


class TierState(Resource, frozen=True, kw_only=True):
    """What one tier has of a run: `pending`, `uploaded` or `failed` (with the code, and a catch-up owed)."""

    tier: Tier
    state: TierStanding
    verified: bool
    snapshot_id: str | None = None
    log_entry: int | None = None
    uploaded_bytes: int | None = None
    objects: int | None = None
    seconds: float | None = None
    code: str | None = None
    hint: str | None = None


class CompletionDetails(Resource, frozen=True, kw_only=True):
    """What a completed run has produced. `code`, `hint`: what it lacks; `reportDigest`: BLAKE3 of a report of it.

    `leftOutFolders`: folders in the source that are never backed up, a tier's or the platform's own.
    """

    snapshot_id: str
    files: int
    unreadable_files: int
    left_out_folders: int
    by_class: list[ClassTotals]
    seconds: float
    report_digest: str | None
    code: str | None = None
    hint: str | None = None


class ExecutionError(Resource, frozen=True, kw_only=True):
    """Why a run failed. `reportDigest`: BLAKE3 of the sealed report that tells the rest, to an operator."""

    code: str
    title: str
    hint: str
    tier: Tier | None
    report_digest: str | None = None


class Waiting(Resource, frozen=True, kw_only=True):
    """What keeps a run from being done, as its last attempt met it. `since`: when the first attempt met it.

    `nextAttemptAt`: when it is tried again at the latest, at once where what was wrong is found to be mended. After a
    number of attempts the run fails with the code.
    """

    code: str
    title: str
    hint: str
    since: Timestamp
    next_attempt_at: Timestamp | None


class Execution(Resource, frozen=True, kw_only=True):
    """One run of a configuration.

    Sizes are bytes: `sourceBytes` was read, `newBytes` was new after deduplication, `storedBytes` is what one tier
    stores of it, encrypted. `ratio` is storedBytes to newBytes. `version` grows with each fact.
    `retryOf`: the run in whose place it is. `waiting`: why it has not been done, where a worker tried and could not.
    `isUrgent`: workers take it before the organisation's others, since a critical wedding is near.
    `followUpAt`: when the platform follows it by another run, a `retry` or `catch-up` with this one as its `retryOf`,
    unless one comes before.
    """

    id: str
    version: int
    configuration_id: str
    configuration_version: int
    request_id: str
    execution_type: ExecutionType
    retry_of: str | None = None
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
    waiting: Waiting | None = None
    is_urgent: bool = False
    follow_up_at: Timestamp | None = None
