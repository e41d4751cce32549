"""Examples of the group's requests and answers: typed, so that they cannot drift from what the API takes and gives."""

from msgspec.structs import replace

from contracts.disaster import (
    BackupSource,
    PlanNotifications,
    PlanScope,
    PlanType,
    RecoveryObjectives,
    SourcePreference,
    StepKind,
    TestingSchedule,
)
from gateway.groups.disaster_recovery.executions import told
from gateway.groups.disaster_recovery.projection import ExecutionView, StepView
from gateway.groups.disaster_recovery.readiness import Seen, status_of
from gateway.groups.disaster_recovery.resources import (
    DisasterRecoveryExecution,
    DisasterRecoveryPlan,
    NewPlan,
    NewPlanExecution,
    NewStep,
    NewStepApproval,
    PlannedStep,
    PlanStatus,
    PlanTemplate,
    Runbook,
)
from gateway.groups.disaster_recovery.runbook import runbook_of
from gateway.groups.disaster_recovery.templates import TEMPLATES, Has, offered
from gateway.http.resources import ListPage
from gateway.runs.examples import (
    ACTOR,
    CONFIGURATION_ID,
    DR_EXECUTION_ID,
    DR_PLAN_ID,
    OPERATION_ID,
    REQUEST_ID,
    at,
)

NEW_PLAN = NewPlan(
    plan_name="The studio's disks are lost",
    plan_type=PlanType.SUPPLIER_LOSS,
    scope=PlanScope(configuration_ids=(CONFIGURATION_ID,)),
    recovery_objectives=RecoveryObjectives(rto_minutes=240, rpo_minutes=60),
    procedures=(
        NewStep(id="go", kind=StepKind.APPROVE, owner="owner", instructions="Look first: are the disks really lost?"),
        NewStep(
            id="photos",
            kind=StepKind.RESTORE,
            owner="on-call",
            after=("go",),
            time_limit_minutes=180,
            configuration_id=CONFIGURATION_ID,
            target_location="restored",
            target_path="after-a-disaster/photos",
        ),
        NewStep(id="whole", kind=StepKind.CHECK, owner="on-call", after=("photos",), of_step="photos"),
    ),
    backup_sources=(BackupSource(configuration_id=CONFIGURATION_ID, prefer=SourcePreference.PROVEN),),
    testing_schedule=TestingSchedule(every_days=90),
    is_wedding_critical=True,
)

PLAN = DisasterRecoveryPlan(
    id=DR_PLAN_ID,
    version=1,
    plan_name=NEW_PLAN.plan_name,
    plan_type=NEW_PLAN.plan_type,
    scope=NEW_PLAN.scope,
    recovery_objectives=NEW_PLAN.recovery_objectives,
    procedures=[
        PlannedStep(
            id=step.id,
            kind=step.kind,
            owner=step.owner,
            after=list(step.after),
            time_limit_minutes=step.time_limit_minutes,
            configuration_id=step.configuration_id,
            recovery_point_id=None,
            moment=None,
            target_location=step.target_location,
            of_step=step.of_step,
            wait_minutes=None,
            channel_ids=[],
            retries=step.retries,
            compensates=step.compensates,
            instructions=step.instructions or None,
            target_path=step.target_path if step.kind is StepKind.RESTORE else None,
        )
        for step in NEW_PLAN.procedures
    ],
    backup_sources=list(NEW_PLAN.backup_sources),
    notifications=PlanNotifications(),
    testing_schedule=NEW_PLAN.testing_schedule,
    is_wedding_critical=True,
    automated_execution=False,
    created_by=ACTOR,
    created_at=at(-3600),
    changed_at=at(-3600),
    next_test_at=at(90 * 86_400 - 3600),
)

PLANS = ListPage[DisasterRecoveryPlan](items=[PLAN])

PLAN_TEMPLATES = ListPage[PlanTemplate](
    items=[offered(template, Has([CONFIGURATION_ID], 0, ["restored"], [])) for template in TEMPLATES]
)

RUNBOOK = Runbook(id=PLAN.id, version=PLAN.version, format="markdown", text=runbook_of(PLAN))

_BEGUN = ExecutionView(
    execution_id=DR_EXECUTION_ID,
    organisation="",
    request_id=REQUEST_ID,
    plan_id=DR_PLAN_ID,
    plan_version=1,
    is_test=False,
    started_by=ACTOR,
    started_at=at(0),
    objectives=NEW_PLAN.recovery_objectives,
    steps=[],
)
COMPLETED = replace(
    _BEGUN,
    state="completed",
    finished_at=at(960),
    rto_seconds=960.0,
    steps=[
        StepView(
            id=step.id,
            kind=step.kind.value,
            configuration_id=step.configuration_id,
            attempt=1,
            begun_at=at(begun),
            ended_at=at(ended),
            outcome="completed",
        )
        for step, begun, ended in zip(NEW_PLAN.procedures, (0, 60, 960), (60, 960, 960), strict=True)
    ],
)
_SEEN = Seen({CONFIGURATION_ID: "active"}, {CONFIGURATION_ID: at(120)}, (), (), ())
_PROVEN = _SEEN._replace(ended={DR_PLAN_ID: COMPLETED}, completed={DR_PLAN_ID: [COMPLETED]})
STATUS = ListPage[PlanStatus](items=[status_of(PLAN, _PROVEN, at(7200))])

NEW_EXECUTION = NewPlanExecution(plan_id=DR_PLAN_ID)
NEW_STEP_APPROVAL = NewStepApproval(step_id="go")
EXECUTION = told(
    replace(
        _BEGUN,
        version=4,
        state="recovering",
        steps=[
            StepView(
                id="go",
                kind="approve",
                attempt=1,
                begun_at=at(0),
                ended_at=at(60),
                outcome="completed",
                by="user:another",
            ),
            StepView(
                id="photos", kind="restore", attempt=1, begun_at=at(60), due_at=at(10_860), operation_id=OPERATION_ID
            ),
            StepView(id="whole", kind="check"),
        ],
    )
)
EXECUTIONS = ListPage[DisasterRecoveryExecution](items=[EXECUTION])
