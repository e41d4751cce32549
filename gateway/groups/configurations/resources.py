"""Configurations as the API takes and gives them. A sealed field whose key was destroyed is null."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from contracts.configuration import (
    BackupType,
    BulkMode,
    ConfigurationState,
    LocationName,
    SourceType,
    StorageDestinations,
    Tier,
)
from contracts.executor_events import ExecutionState
from contracts.retention import CategoryName
from contracts.schedule import Schedule
from gateway.http.fields import PatternText, Printable, SourcePath, TagText, Timestamp, Uuid
from gateway.http.resources import Body, Resource

ENCRYPTION: Final = "aes-256-gcm"
"""How everything is stored (docs/repository-format.md)."""


class NewConfiguration(Body, frozen=True, kw_only=True):
    """What is to be backed up, and where to.

    `sourceLocation`, a destination's `location`: names of registered locations. `sourceIdentifier`: a path below the
    source location, empty for all of it, as of a database always. `weddingDate` is sealed, as name and path are: what
    is critical and has a schedule names it; without `isWeddingCritical` it changes no run. `schedule`: when runs are
    due by themselves; around the date of a critical wedding each hour, and before others. `encryption`: may be left
    out, since nothing is ever stored without it. `exclude`: what is left out, patterns as in a `.gitignore`, the last
    that matches decides; sealed as well. `excludeCaches`: leave out what is in folders with a CACHEDIR.TAG.
    `retentionPolicyId`: a retention policy, by which nothing is removed yet; null keeps everything. `purpose` (sealed)
    and `dataCategories`: for the record of processing. `dataSubject` (sealed): the one person whose data it is, by
    whatever you find them again (an address, a customer's number); all that is saved is then under a key of theirs, and
    can be erased by it (`/compliance/erasures`).
    """

    name: Printable
    source_type: SourceType
    source_location: LocationName
    source_identifier: SourcePath = ""
    backup_type: BackupType = BackupType.INCREMENTAL
    storage_destinations: StorageDestinations
    encryption: Literal["aes-256-gcm"] | UnsetType = UNSET
    compression_enabled: bool = True
    is_wedding_critical: bool = False
    wedding_date: date | None = None
    tags: Annotated[tuple[TagText, ...], Meta(max_length=50)] = ()
    schedule: Schedule | None = None
    exclude: Annotated[tuple[PatternText, ...], Meta(max_length=100)] = ()
    exclude_caches: bool = False
    retention_policy_id: Uuid | None = None
    purpose: Printable | None = None
    data_categories: Annotated[tuple[CategoryName, ...], Meta(max_length=50)] = ()
    data_subject: Printable | None = None


class NewConfigurations(Body, frozen=True, kw_only=True):
    """Up to 1,000 configurations at once. Where one is refused, none is created (`atomic`), or the others are."""

    mode: BulkMode = BulkMode.PARTIAL
    items: Annotated[list[NewConfiguration], Meta(min_length=1, max_length=1000)]


class SentConfigurations(Body, frozen=True, kw_only=True):
    """The same as it is taken: each item is read by itself, so that what is wrong with one is told of that one."""

    mode: BulkMode = BulkMode.PARTIAL
    items: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=1000)]


class LastRunState(StrEnum):
    """By which state of their latest run configurations are found."""

    NEVER_RUN = "never-run"
    # The states of runs, whichever there are: Python's enums cannot inherit members.
    vars().update({state.name: state.value for state in ExecutionState})


class LastRun(Resource, frozen=True, kw_only=True):
    """The latest run of a configuration, whatever became of it."""

    execution_id: str
    state: str
    degraded: bool
    started_at: Timestamp
    finished_at: Timestamp | None
    error_code: str | None


class MissedRun(Resource, frozen=True, kw_only=True):
    """The latest instant of the schedule at which no run began, and why."""

    due_at: Timestamp
    code: str
    hint: str


class NextRunReason(StrEnum):
    """Why the next run is when it is, or why there is none."""

    SCHEDULE = "schedule"
    WEDDING = "wedding"
    OVERDUE = "overdue"
    PAUSED = "paused"
    RETIRED = "retired"
    NO_SCHEDULE = "no-schedule"
    SCHEDULE_ENDED = "schedule-ended"


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


class SourceRule(Resource, frozen=True, kw_only=True):
    """One rule of 3-2-1-1-0, of one source. `evidence`: what speaks for it, also where that is not enough.

    Of `three-copies` the source and the tiers that hold its latest recovery point, of `two-media` the kinds of places,
    of `one-offsite` and `one-immutable` tiers; of `zero-errors` how the latest run that ended did, and the tiers that
    were read back.
    """

    rule: str
    satisfied: bool
    evidence: list[str]


class SourceProtection(Resource, frozen=True, kw_only=True):
    """Whether a source is kept by 3-2-1-1-0, rule by rule; the status counts the same over all of them."""

    satisfied: bool
    rules: list[SourceRule]


class ConfigurationContent(Resource, frozen=True, kw_only=True):
    """What a version of a configuration says: the fields of the form. Null: for want of a key, or erased."""

    name: str | None
    source_type: SourceType
    source_location: str
    source_identifier: str | None
    backup_type: BackupType
    storage_destinations: StorageDestinations
    encryption: str = ENCRYPTION
    compression_enabled: bool
    is_wedding_critical: bool
    wedding_date: date | None
    tags: list[str]
    schedule: Schedule | None
    exclude: list[str] | None
    exclude_caches: bool
    retention_policy_id: str | None
    purpose: str | None = None
    data_categories: list[str] = msgspec.field(default_factory=list)
    data_subject: str | None = None


class Configuration(ConfigurationContent, frozen=True, kw_only=True):
    """A configuration with its runs; `version` is its ETag. `unreadableFields` are null for want of a key.

    `changedSince`: what the last good run was not made with, and what counts for nothing before the next one: `source`
    (then there is no recovery point of this one), a tier (`offsite`: another place), a tier's lock (`offsite lock`),
    the excludes (`exclude`: what was left out before is not saved yet).
    `nextRun`: when the schedule lets a run fall due next; `nextRunReason`: why then (`wedding`: one is near), or
    why not at all.
    """

    id: str
    version: int
    state: ConfigurationState
    created_by: str
    created_at: Timestamp
    next_run: Timestamp | None
    next_run_reason: NextRunReason = NextRunReason.NO_SCHEDULE
    last_missed: MissedRun | None = None
    last_run: LastRun | None
    last_recovery_point: LastRecoveryPoint | None
    health: ConfigurationHealth
    protection: SourceProtection
    changed_since: list[str] = msgspec.field(default_factory=list)
    unreadable_fields: list[str] = msgspec.field(default_factory=list)


class ConfigurationVersion(Resource, frozen=True, kw_only=True):
    """One version. `change`: what made it (created, updated, paused, resumed, retired); `changed`: the fields that are
    others than `before`, which is null of the first one.
    """

    version: int
    change: str
    state: ConfigurationState
    changed_by: str
    changed_at: Timestamp
    request_id: str
    changed: list[str]
    before: ConfigurationContent | None
    after: ConfigurationContent


class TestVerdict(StrEnum):
    """How a test or a check of it ended. `unknown`: what could not be found out is no promise."""

    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    UNKNOWN = "unknown"
    UNTESTED = "untested"


class TestFinding(Resource, frozen=True, kw_only=True):
    """One check, of the source, the keys or a tier. `code` and `hint`: where it is not a pass, or may not stay one."""

    check: str
    verdict: TestVerdict
    tier: Tier | None = None
    code: str | None = None
    hint: str = ""


class TestEstimate(Resource, frozen=True, kw_only=True):
    """What a whole backup would read, and for how long; null: unknown. `estimatedFrom`: `look` at all of the source, or
    the `last-run` that completed; `atLeast`: what a look at a part has counted.
    """

    source_bytes: int | None = None
    files: int | None = None
    seconds: float | None = None
    at_least: int | None = None
    estimated_from: str | None = None


class ConfigurationTest(Resource, frozen=True, kw_only=True):
    """What the latest test of a configuration has found, by the version that it had; `untested`: there was none."""

    configuration_id: str
    verdict: TestVerdict
    request_id: str | None = None
    configuration_version: int | None = None
    tested_at: Timestamp | None = None
    seconds: float | None = None
    findings: list[TestFinding] = msgspec.field(default_factory=list)
    estimate: TestEstimate = TestEstimate()
