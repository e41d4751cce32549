"""Disaster recovery plans as the API takes and gives them. A text whose key was destroyed is null."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.configuration import LocationName
from contracts.disaster import (
    CONFIGURATIONS_MAX,
    STEPS_MAX,
    BackupSource,
    Minutes,
    PlanNotifications,
    PlanScope,
    PlanType,
    RecoveryObjectives,
    RoleName,
    StepId,
    StepKind,
    TestingSchedule,
)
from gateway.http.fields import Printable, Timestamp, Uuid
from gateway.http.resources import Body, Resource

_READABLE = "Visible characters alone: no controls, line separators, bidirectional or zero-width marks."
Instructions = Annotated[
    str,
    Meta(
        max_length=300,
        description=f"{_READABLE} Kept in NFC, without white space around it.",
        extra_json_schema={"pattern": r"^[^\x00-\x1f\x7f]*$"},
    ),
]
TargetPath = Annotated[
    str,
    Meta(
        max_length=500,
        description=f"A relative path without `..`; empty for the location itself. {_READABLE}",
        extra_json_schema={"pattern": r"^(?!/)[^\x00-\x1f\x7f]*$"},
    ),
]


class NewStep(Body, frozen=True, kw_only=True):
    """One step. It begins when all steps that `after` names have ended.

    `owner`: the role that looks after it, in small letters. `timeLimitMinutes`: what takes longer has failed. `restore`
    takes `configurationId`, `targetLocation`, `targetPath`, and at most one of `recoveryPointId` (this very point) and
    `moment` (the newest that is not younger); `check` takes `ofStep`, a restore before it; `wait` takes `waitMinutes`;
    `notify` takes `channelIds`; `approve` (somebody else says that it may go on) and `manual` need no more.
    """

    id: StepId
    kind: StepKind
    owner: RoleName
    after: Annotated[tuple[StepId, ...], Meta(max_length=10)] = ()
    time_limit_minutes: Minutes = 60
    configuration_id: Uuid | None = None
    recovery_point_id: Uuid | None = None
    moment: Timestamp | None = None
    target_location: LocationName | None = None
    of_step: StepId | None = None
    wait_minutes: Minutes | None = None
    channel_ids: Annotated[tuple[Uuid, ...], Meta(max_length=5)] = ()
    instructions: Instructions = ""
    target_path: TargetPath = ""


class NewPlan(Body, frozen=True, kw_only=True):
    """What is brought back after a disaster, how fast, and by which steps (`procedures`).

    `scope.configurationIds`: each is restored by a step. `recoveryObjectives`: `rtoMinutes` until it works again,
    `rpoMinutes` whose changes may be lost, and at most `maximumDataLoss` bytes of them (null: no bound of its own).
    `backupSources`: which recovery point of a configuration is taken where its step names none, the `freshest` or the
    newest `proven` one. `testingSchedule.everyDays`: how often it is to be tested at least. `automatedExecution` is
    false: nothing begins a plan by itself yet.
    """

    plan_name: Printable
    plan_type: PlanType
    scope: PlanScope
    recovery_objectives: RecoveryObjectives
    procedures: Annotated[tuple[NewStep, ...], Meta(min_length=1, max_length=STEPS_MAX)]
    backup_sources: Annotated[tuple[BackupSource, ...], Meta(max_length=CONFIGURATIONS_MAX)] = ()
    notifications: PlanNotifications = PlanNotifications()
    testing_schedule: TestingSchedule | None = None
    is_wedding_critical: bool = False
    automated_execution: bool = False


class PlannedStep(Resource, frozen=True, kw_only=True):
    """One step, as it is in force."""

    id: str
    kind: StepKind
    owner: str
    after: list[str]
    time_limit_minutes: int
    configuration_id: str | None
    recovery_point_id: str | None
    moment: datetime | None
    target_location: str | None
    of_step: str | None
    wait_minutes: int | None
    channel_ids: list[str]
    instructions: str | None
    target_path: str | None


class DisasterRecoveryPlan(Resource, frozen=True, kw_only=True):
    """A plan as it is in force; `version` is its ETag. `unreadableFields` are null for want of a key."""

    id: str
    version: int
    plan_name: str | None
    plan_type: PlanType
    scope: PlanScope
    recovery_objectives: RecoveryObjectives
    procedures: list[PlannedStep]
    backup_sources: list[BackupSource]
    notifications: PlanNotifications
    testing_schedule: TestingSchedule | None
    is_wedding_critical: bool
    automated_execution: bool
    created_by: str
    created_at: Timestamp
    changed_at: Timestamp
    unreadable_fields: list[str] = msgspec.field(default_factory=list)


class Runbook(Resource, frozen=True, kw_only=True):
    """A plan as a document for people, of its version `version`."""

    id: str
    version: int
    format: Literal["markdown"]
    text: str


class ReadinessCheck(StrEnum):
    """What is looked at.

    `point-fresh`: the latest recovery point is no older than the RPO allows; `configuration-active`: its configuration
    has runs; `point-there`: the point that a step names is not gone; `target-open`: the target of a step is registered
    and open; `channel-active`: a channel that is told is there; `tested`: a test has proven the plan.
    """

    POINT_FRESH = "point-fresh"
    CONFIGURATION_ACTIVE = "configuration-active"
    POINT_THERE = "point-there"
    TARGET_OPEN = "target-open"
    CHANNEL_ACTIVE = "channel-active"
    TESTED = "tested"


class ReadinessVerdict(StrEnum):
    """What a check found, or all of a plan's: `unknown` is never a pass."""

    PASS = "pass"  # noqa: S105  # a verdict
    FAIL = "fail"
    UNKNOWN = "unknown"


class ReadinessFinding(Resource, frozen=True, kw_only=True):
    """What one check found. `about`: the configuration, step or channel; null for the plan. `hint`: what to do."""

    check: ReadinessCheck
    verdict: ReadinessVerdict
    about: str | None
    hint: str


class PlanStatus(Resource, frozen=True, kw_only=True):
    """How a plan stands at `judgedAt`: what it says, what a test has proven, and what stands in its way.

    `provenRtoMinutes`, `provenRpoMinutes`, `lastTestAt`, `nextTestAt` are null: nothing tests a plan yet.
    `lostNowMinutes`: how old the oldest of its configurations' latest points is, null where one has none. `verdict`:
    `fail` where a finding is one, else `unknown` where one is. `unknown`: what is not looked at.
    """

    plan_id: str
    version: int
    plan_name: str | None
    is_wedding_critical: bool
    configured: RecoveryObjectives
    proven_rto_minutes: int | None
    proven_rpo_minutes: int | None
    last_test_at: Timestamp | None
    next_test_at: Timestamp | None
    lost_now_minutes: int | None
    verdict: ReadinessVerdict
    findings: list[ReadinessFinding]
    unknown: list[str]
    judged_at: Timestamp
