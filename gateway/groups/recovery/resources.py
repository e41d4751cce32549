"""What the API takes to restore something, and what can be and is being restored."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.configuration import LocationName, SourceType, Tier
from contracts.executor_events import CatchUp
from contracts.progress import Progress
from contracts.recovery_events import ConflictPolicy, RecoveryState, RecoveryTotals, RecoveryType
from contracts.validation_events import ValidationDepth
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


class TierProof(Resource, frozen=True, kw_only=True):
    """When a validation looked at a tier of a recovery point, and how deep. `location`: where the tier was then."""

    tier: str
    location: str
    at: Timestamp
    depth: ValidationDepth
    validation_id: str


class RecoveryPoint(Resource, frozen=True, kw_only=True):
    """What a run has saved, and can be restored. It has the run's id.

    `sourceType`, `sourceLocation`: of the configuration as it is now. `tiers`: hold all of it, and a sample was read
    back from each when it was made; `lacking`: did not take it then. `unreadableFiles`: entries of the source that are
    missing in it. `goneAt`: since when it cannot be restored any more; `goneBy`: the cleanup or erasure that let it go,
    by the rules in `goneBecause`. `heldBy`: the holds that keep it (GET /api/backup/retention/holds/ID). `lastProven`:
    of each tier, which validation last found it whole, and how deep; `lastDamaged`: which has found damage there, or
    that it lacks the point, and none since that went as deep has found it whole. A tier in neither was never validated.
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
    last_proven: list[TierProof] = msgspec.field(default_factory=list)
    last_damaged: list[TierProof] = msgspec.field(default_factory=list)


class EntryKindShown(StrEnum):
    """What an entry of a recovery point is. `file`: also a bucket's object, and what a table was saved as."""

    FOLDER = "folder"
    FILE = "file"
    SYMLINK = "symlink"
    OTHER = "other"


class PointEntry(Resource, frozen=True, kw_only=True):
    r"""One folder, file, object or table in a recovery point.

    `name`: what is not printable as `\xNN`; then `nameBytes` has its bytes in base64. `size`: of files.
    `modifiedAt`: as the source had it. `contentId`: equal where the bytes of two files of a configuration are; it tells
    nothing of them. `states`: `changed` (written to while it was read), `unreadable` (its content is missing),
    `not-entered` (a folder that was left out on purpose).
    """

    name: str
    kind: EntryKindShown
    size: int | None
    modified_at: Timestamp | None
    content_id: str | None
    name_bytes: str | None = None
    target: str | None = None
    target_bytes: str | None = None
    states: list[str] = msgspec.field(default_factory=list)


class PointEntries(Resource, frozen=True, kw_only=True):
    """A part of a folder in a recovery point, in the order of the names' bytes. `nextCursor` continues it.

    `entry`: what lies at the path; `items` is empty where that is no folder. `isWhole`: whether this part lacks
    nothing: false where a page of the folder can be read on no tier.
    """

    recovery_point_id: str
    path: str
    entry: PointEntry
    items: list[PointEntry]
    next_cursor: str | None
    is_whole: bool


class PointVersion(Resource, frozen=True, kw_only=True):
    """What one recovery point has at a path. `isThere`: null where nobody could look, then `code` says why.

    `isChanged`: whether it is another than in the next older point of the page (appeared and vanished included); null
    where that is not known: of the last one of a page, or beside one that could not be looked into.
    """

    recovery_point_id: str
    completed_at: Timestamp
    is_there: bool | None
    kind: EntryKindShown | None
    size: int | None
    modified_at: Timestamp | None
    content_id: str | None
    is_changed: bool | None
    code: str | None


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
