"""What the API takes to restore something, and what can be and is being restored."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.configuration import LocationName, SourceType, Tier
from contracts.executor_events import CatchUp
from contracts.progress import Progress
from contracts.recovery_events import ConflictPolicy, RecoveryState, RecoveryTotals, RecoveryType
from gateway.http.fields import PatternText, SourcePath, Timestamp, Uuid
from gateway.http.resources import Body, Resource
from gateway.runs.resources import VerificationStatus, Waiting

SCOPE_MAX = 100


class NewRecovery(Body, frozen=True, kw_only=True):
    """A restore to a folder of a location that is registered as a target.

    `scope`: paths and patterns of what is wanted; all of it without one. A pattern without a slash is looked for in
    every folder, one with a slash from the root of what was backed up; what lies below a folder that matches is
    wanted too.
    """

    recovery_point_id: Uuid
    target_location: LocationName
    target_path: SourcePath = ""
    conflict_policy: ConflictPolicy = ConflictPolicy.REFUSE
    scope: Annotated[tuple[PatternText, ...], Meta(max_length=SCOPE_MAX)] = ()


class RecoveryPoint(Resource, frozen=True, kw_only=True):
    """What a run has saved, and can be restored. It has the run's id.

    `sourceType`, `sourceLocation`: of the configuration as it is now. `tiers`: hold all of it, and a sample was read
    back from each when it was made; `lacking`: did not take it then. `unreadableFiles`: entries of the source that are
    missing in it. `goneAt`: since when it cannot be restored any more; `goneBy`: the cleanup that let it go, by the
    rules in `goneBecause`. `heldBy`: the holds that keep it (GET /api/backup/retention/holds/ID).
    """

    id: str
    configuration_id: str
    snapshot_id: str
    completed_at: Timestamp
    source_type: SourceType | None
    source_location: str | None
    is_wedding_critical: bool
    tiers: list[Tier]
    lacking: list[CatchUp]
    files: int
    source_bytes: int
    unreadable_files: int
    gone_at: Timestamp | None = None
    gone_by: str | None = None
    gone_because: list[str] = msgspec.field(default_factory=list)
    held_by: list[str] = msgspec.field(default_factory=list)


class RecoveryPhase(Resource, frozen=True, kw_only=True):
    """One phase of a recovery, with its times. `seconds` once it has ended."""

    name: RecoveryState
    started_at: Timestamp
    finished_at: Timestamp | None
    seconds: float | None


class RecoveryResult(Resource, frozen=True, kw_only=True):
    """What was written. `missingInPoint`: entries that the recovery point lacks, since they could not be read then.

    `code`, `hint`: what is less than it was although all bytes are there.
    """

    totals: RecoveryTotals
    missing_in_point: int
    seconds: float
    code: str | None
    hint: str | None


class RecoveryError(Resource, frozen=True, kw_only=True):
    """Why a recovery failed."""

    code: str
    title: str
    hint: str


class RecoveryOperation(Resource, frozen=True, kw_only=True):
    """One recovery. `startedAt`: when it was accepted; `attempts`: how often a worker has claimed it.

    `targetPath` and `scope` are null where their key was destroyed, or is missing (then named in `unreadableFields`).
    """

    id: str
    version: int
    recovery_point_id: str
    configuration_id: str
    snapshot_id: str
    recovery_type: RecoveryType
    request_id: str
    initiated_by: str
    target_location: str
    target_path: str | None
    scope: list[str] | None
    conflict_policy: ConflictPolicy
    state: RecoveryState
    degraded: bool
    started_at: Timestamp
    finished_at: Timestamp | None
    attempts: int
    phases: list[RecoveryPhase]
    verification_status: VerificationStatus
    result: RecoveryResult | None
    error: RecoveryError | None
    waiting: Waiting | None
    unreadable_fields: list[str]


class RecoveryOperationView(RecoveryOperation, frozen=True, kw_only=True):
    """The same with its progress; null where no worker has reported yet, or it has ended."""

    progress: Progress | None
