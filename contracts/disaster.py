"""Disaster recovery plans: what requests and facts say of them.

A plan says what is brought back, how fast, and by which steps. Two look at it (`contracts.disaster_rules`): the
gateway, before anything is recorded, and the disaster recovery service, whose word is the record's.
"""

from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import Meta

from contracts.configuration import LocationName
from contracts.event import Value
from contracts.reading import Growing
from contracts.schedule import Schedule
from contracts.sealed import Sealed

# The names under which a plan's texts are sealed (`chassis.sealing`). Pinned: every box is bound to its field's.
PLAN_NAME_FIELD = "dr-plan.name"
INSTRUCTIONS_FIELD = "dr-plan.instructions"
STEP_PATH_FIELD = "dr-plan.target-path"

RETRIES_MAX = 5
STEPS_MAX = 30
"""So many steps fit into an event, with the longest texts."""
CONFIGURATIONS_MAX = 200
_YEAR = 366 * 24 * 60

Minutes = Annotated[int, Meta(ge=1, le=_YEAR)]
StepId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$", max_length=40)]
RoleName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", max_length=63)]
"""Who does it, by role and never by name: `on-call`, `owner`."""


class PlanType(Growing):
    """Which disaster a plan is for."""

    SUPPLIER_LOSS = "supplier-loss"
    REGION_LOSS = "region-loss"
    RANSOMWARE = "ransomware"
    PLATFORM_LOSS = "platform-loss"
    ACCIDENTAL_DELETION = "accidental-deletion"
    OTHER = "other"


class StepKind(Growing):
    """What a step does.

    `restore`: a recovery point to a target; `check`: what a step before has restored is whole and was read back;
    `wait`: so many minutes; `notify`: channels; `approve`: somebody else says that it may go on; `manual`: a person
    does what the instructions say.
    """

    RESTORE = "restore"
    CHECK = "check"
    WAIT = "wait"
    NOTIFY = "notify"
    APPROVE = "approve"
    MANUAL = "manual"


class SourcePreference(Growing):
    """Of several recovery points, which is taken: the newest, or the newest that was read back and found whole."""

    FRESHEST = "freshest"
    PROVEN = "proven"


class RecoveryObjectives(Value, frozen=True, kw_only=True):
    """What is to be reached: minutes until it works again, minutes whose changes may be lost, and bytes of them.

    `maximum_data_loss`: None for no bound beside `rpo_minutes`.
    """

    rto_minutes: Minutes
    rpo_minutes: Minutes
    maximum_data_loss: Annotated[int, Meta(ge=0, le=2**53)] | None = None


class PlanScope(Value, frozen=True, kw_only=True):
    """What a plan brings back: what these configurations save."""

    configuration_ids: Annotated[tuple[str, ...], Meta(min_length=1, max_length=CONFIGURATIONS_MAX)]


class BackupSource(Value, frozen=True, kw_only=True):
    """Which point of a configuration is taken, where its step names none."""

    configuration_id: str
    prefer: SourcePreference = SourcePreference.FRESHEST


class PlanNotifications(Value, frozen=True, kw_only=True):
    """The notification channels that are told where an execution or a test of a plan fails."""

    channel_ids: Annotated[tuple[str, ...], Meta(max_length=20)] = ()


class TestingSchedule(Value, frozen=True, kw_only=True):
    """How often a plan is tested, at least: a test begins by itself, so many days after the one before.

    `schedule`: when it begins, in place of that; never further apart than `every_days`.
    """

    __test__: ClassVar[bool] = False  # no test of ours

    every_days: Annotated[int, Meta(ge=1, le=366)]
    schedule: Schedule | None = None


class StepRules(Value, frozen=True, kw_only=True):
    """One step of a plan, without its texts. It begins when all steps that `after` names have ended.

    `owner`: the role that looks after it. `time_limit_minutes`: what takes longer has failed. Of `restore`:
    `configuration_id` and `target_location`, and at most one of `recovery_point_id` (this very point) and `moment`
    (the newest that is not younger); with neither, the one that `backup_sources` prefers; and `retries`: how often it
    is tried again. Of `check`: `of_step`, a restore before it. Of `wait`: `wait_minutes`. Of `notify`: `channel_ids`.
    Of `manual`: `compensates`, a step whose work this one undoes where an execution fails or is aborted after that had
    begun; otherwise it is never begun. Those that have begun last are undone first, one after the other.
    """

    id: StepId
    kind: StepKind
    owner: RoleName
    after: Annotated[tuple[StepId, ...], Meta(max_length=10)] = ()
    time_limit_minutes: Minutes = 60
    configuration_id: str | None = None
    recovery_point_id: str | None = None
    moment: datetime | None = None
    target_location: LocationName | None = None
    of_step: StepId | None = None
    wait_minutes: Minutes | None = None
    channel_ids: Annotated[tuple[str, ...], Meta(max_length=5)] = ()
    retries: Annotated[int, Meta(ge=0, le=RETRIES_MAX)] = 0
    compensates: StepId | None = None


class PlanStep(StepRules, frozen=True, kw_only=True):
    """One step of a plan. What people wrote, and the path below a target, may be personal, so they are sealed."""

    instructions: Sealed | None = None
    target_path: Sealed | None = None


class PlanRules(Value, frozen=True, kw_only=True):
    """What a plan says, without name and steps.

    `automated_execution`: whether it may begin by itself; nothing begins one yet, so that this is refused.
    """

    plan_type: PlanType
    scope: PlanScope
    recovery_objectives: RecoveryObjectives
    backup_sources: Annotated[tuple[BackupSource, ...], Meta(max_length=CONFIGURATIONS_MAX)] = ()
    notifications: PlanNotifications = PlanNotifications()
    testing_schedule: TestingSchedule | None = None
    is_wedding_critical: bool = False
    automated_execution: bool = False


class PlanBody(PlanRules, frozen=True, kw_only=True):
    """All that a plan says."""

    name: Sealed
    procedures: Annotated[tuple[PlanStep, ...], Meta(min_length=1, max_length=STEPS_MAX)]


class StepPoint(Value, frozen=True, kw_only=True):
    """The recovery point that a restore of an execution takes. `read_at`: when its run began to read the source."""

    step_id: StepId
    recovery_point_id: str
    read_at: datetime


class StepTarget(Value, frozen=True, kw_only=True):
    """Where a restore of an execution writes to. `path`: below the location, sealed as a recovery's."""

    step_id: StepId
    location: LocationName
    path: Sealed


class SourceLoss(Value, frozen=True, kw_only=True):
    """What is missing of a configuration: what changed in so many seconds, from its point until the execution began."""

    configuration_id: str
    recovery_point_id: str
    lost_seconds: Annotated[float, Meta(ge=0.0)]


class StepNotice(Value, frozen=True, kw_only=True):
    """One channel that a step tells, and the id of the notification by which it is told."""

    channel_id: str
    notification_id: str


class StepOutcome(Growing):
    """How an attempt of a step has ended. `withdrawn`: the execution was aborted before it had."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    WITHDRAWN = "withdrawn"


class DrExecutionState(Growing):
    """Where an execution is: `initializing` until its first restore, `verifying` once all restores have ended."""

    INITIALIZING = "initializing"
    RECOVERING = "recovering"
    VERIFYING = "verifying"
    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"


DR_ENDED = (DrExecutionState.COMPLETED, DrExecutionState.FAILED, DrExecutionState.ABORTED)
