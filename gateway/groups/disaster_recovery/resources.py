"""Disaster recovery plans as the API takes and gives them. A text whose key was destroyed is null."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.configuration import LocationName
from contracts.disaster import (
    CONFIGURATIONS_MAX,
    RETRIES_MAX,
    STEPS_MAX,
    BackupSource,
    DrExecutionState,
    Minutes,
    PlanNotifications,
    PlanScope,
    PlanType,
    RecoveryObjectives,
    RoleName,
    SourceLoss,
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
    `moment` (the newest that is not younger), and `retries`: how often it is tried again; `check` takes `ofStep`, a
    restore before it; `wait` takes `waitMinutes`;
    `notify` takes `channelIds`; `approve` (somebody else says that it may go on) and `manual` need no more. A `manual`
    step with `compensates` is begun only where an execution fails or is aborted after that step has begun.
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
    retries: Annotated[int, Meta(ge=0, le=RETRIES_MAX)] = 0
    compensates: StepId | None = None
    instructions: Instructions = ""
    target_path: TargetPath = ""


class NewPlan(Body, frozen=True, kw_only=True):
    """What is brought back after a disaster, how fast, and by which steps (`procedures`).

    `scope.configurationIds`: each is restored by a step. `recoveryObjectives`: `rtoMinutes` until it works again,
    `rpoMinutes` whose changes may be lost, and at most `maximumDataLoss` bytes of them (null: no bound of its own).
    `backupSources`: which recovery point of a configuration is taken where its step names none, the `freshest` or the
    newest `proven` one. `testingSchedule.everyDays`: a test begins by itself so many days after the one before, or by
    `schedule`, which is never rarer. `automatedExecution` is false: nothing executes a plan by itself yet.
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


class TemplateNote(Resource, frozen=True, kw_only=True):
    """What a template wants of a field, and the organisation has not, or a person has to decide."""

    field: str
    meaning: str


class PlanTemplate(Resource, frozen=True, kw_only=True):
    """A plan to begin from. `plan` can be sent as it is; null where nothing is there to bring back, or no target.

    `id`: its `planType`. `unmet`: what it lacks, and what is to be decided before it is relied on.
    """

    id: str
    title: str
    description: str
    plan: NewPlan | None
    unmet: list[TemplateNote]


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
    retries: int
    compensates: str | None
    instructions: str | None
    target_path: str | None


class MissedPlanTest(Resource, frozen=True, kw_only=True):
    """The latest instant of a plan's schedule of tests at which no test began, and why."""

    due_at: Timestamp
    code: str
    title: str
    hint: str


class DisasterRecoveryPlan(Resource, frozen=True, kw_only=True):
    """A plan as it is in force; `version` is its ETag. `unreadableFields` are null for want of a key.

    `nextTestAt`: when the next test begins by itself; null without a `testingSchedule`. `lastMissedTest`: null where
    none was missed.
    """

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
    next_test_at: Timestamp | None = None
    last_missed_test: MissedPlanTest | None = None
    unreadable_fields: list[str] = msgspec.field(default_factory=list)


class Runbook(Resource, frozen=True, kw_only=True):
    """A plan as a document for people, of its version `version`."""

    id: str
    version: int
    format: Literal["markdown"]
    text: str


class ReadinessCheck(StrEnum):
    """What is looked at.

    `point-fresh`: the latest recovery point that is not known to be damaged is no older than the RPO allows;
    `configuration-active`: its configuration has runs; `point-there`: the point that a step names is not gone;
    `point-whole`, which is told only where it fails: a validation found the newest point, or the one that a step names,
    damaged, and no tier that has it whole; `target-open`: the target of a step is registered and open;
    `channel-active`: a channel that is told is there; `tested`: an execution or a test has proven the plan as it
    stands, none is overdue, and the last one that fell due has begun; `predicted-rto`, which is told only where it was
    measured: by its last runs the plan takes no longer than the RTO (`unknown` where that lies within the interval, or
    where there was one run alone).
    """

    POINT_FRESH = "point-fresh"
    CONFIGURATION_ACTIVE = "configuration-active"
    POINT_THERE = "point-there"
    POINT_WHOLE = "point-whole"
    TARGET_OPEN = "target-open"
    CHANNEL_ACTIVE = "channel-active"
    TESTED = "tested"
    PREDICTED_RTO = "predicted-rto"


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


class PredictedTime(Resource, frozen=True, kw_only=True):
    """How long it will take, by so many measured `runs`: `seconds` in the middle, none of them below `lowSeconds` or
    above `highSeconds`, which are null after one run alone.
    """

    seconds: float
    low_seconds: float | None
    high_seconds: float | None
    runs: int


class PredictedStep(Resource, frozen=True, kw_only=True):
    """How long a step will take; null where none of the last runs has measured it."""

    step_id: str
    predicted: PredictedTime | None


class PlanStatus(Resource, frozen=True, kw_only=True):
    """How a plan stands at `judgedAt`: what it says, what a test has proven, and what stands in its way.

    `provenRtoMinutes`, `provenRpoMinutes`: what the last execution or test that was completed took and would have lost,
    null where there is none. `nextTestAt`, `lastMissedTest`: as the plan has them.
    `lostNowMinutes`: how old the oldest of its configurations' latest points is, null where one has none. `verdict`:
    `fail` where a finding is one, else `unknown` where one is. `unknown`: what is not looked at. `predictedRto`: how
    long the longest way through the steps will take, by the last ten executions and tests that were completed, null
    where a step was never measured; it knows nothing of what has grown since. `predictedSteps`: the same by step.
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
    last_missed_test: MissedPlanTest | None
    lost_now_minutes: int | None
    predicted_rto: PredictedTime | None
    predicted_steps: list[PredictedStep]
    verdict: ReadinessVerdict
    findings: list[ReadinessFinding]
    unknown: list[str]
    judged_at: Timestamp


class NewPlanExecution(Body, frozen=True, kw_only=True):
    """Which plan, as it is in force."""

    plan_id: Uuid


class NewStepApproval(Body, frozen=True, kw_only=True):
    """Which step of an execution: one of the kind `approve` or `manual` that has begun."""

    step_id: StepId


class StepState(StrEnum):
    """Where a step of an execution is.

    `waiting`: not begun; `running`; `retrying`: its last attempt has failed, and another one follows at `dueAt`;
    `completed`; `failed`; `timed-out`; `withdrawn`: the execution was aborted.
    """

    WAITING = "waiting"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    WITHDRAWN = "withdrawn"
    UNKNOWN = "unknown"


class ExecutedStep(Resource, frozen=True, kw_only=True):
    """A step of an execution. `dueAt`: when it has ended or has failed. `operationId`: of the recovery that it is.

    `by`: who approved it, or said that it is done. `code`, `hint`: why its last attempt was not completed, or of a
    restore what is less than it was.
    """

    id: str
    kind: StepKind
    state: StepState
    attempt: int
    operation_id: str | None
    begun_at: Timestamp | None
    due_at: Timestamp | None
    ended_at: Timestamp | None
    by: str | None
    code: str | None
    hint: str | None


class DisasterRecoveryError(Resource, frozen=True, kw_only=True):
    """Why an execution has failed: the first step that did."""

    step_id: str
    code: str
    title: str
    hint: str


class DisasterRecoveryExecution(Resource, frozen=True, kw_only=True):
    """An execution or a test of a plan.

    `waitsFor`: the steps that wait for somebody's word (`POST …/approve`). `rtoSeconds`: from when it was asked for
    until it worked again, null where it does not; `rtoMet`, `rpoMet`: whether the plan's objectives were. `losses`:
    what is missing, by configuration: what changed between its recovery point and when the execution was asked for.
    `cleanedUpAt`: of a test, when what it had restored was gone. `receiptEventId`: the fact of its end, with what was
    measured, as it stands in the signed audit log: an export of that is verified without the platform.
    """

    id: str
    version: int
    request_id: str
    plan_id: str
    plan_version: int
    is_test: bool
    state: DrExecutionState
    is_paused: bool
    is_aborting: bool
    started_by: str
    started_at: Timestamp
    finished_at: Timestamp | None
    steps: list[ExecutedStep]
    waits_for: list[str]
    rto_seconds: float | None
    rto_met: bool | None
    rpo_met: bool | None
    losses: list[SourceLoss]
    error: DisasterRecoveryError | None
    cleaned_up_at: Timestamp | None
    receipt_event_id: str | None
