"""Examples of every request and response: typed, so that they cannot drift from what the API takes and gives."""

from datetime import UTC, date, datetime, timedelta

from contracts import errors
from contracts.configuration import BackupType, Destination, SourceType, StorageDestinations, Tier
from contracts.configuration_rules import STORAGE_CLASSES
from contracts.executor_events import ClassTotals, ExecutionType
from contracts.progress import Progress, TierProgress
from gateway.groups.configurations.templates import TEMPLATES
from gateway.http.problems import error_of_code, problem_of
from gateway.runs.resources import (
    CompletionDetails,
    Configuration,
    ConfigurationHealth,
    ConfigurationTotals,
    Execution,
    ExecutionState,
    LastDay,
    LastRecoveryPoint,
    LastRun,
    ListPage,
    Liveness,
    LocationView,
    NewConfiguration,
    NewExecution,
    Phase,
    ProgressView,
    Queue,
    RequestState,
    Rule,
    RunCounts,
    RunningExecution,
    Status,
    Ticket,
    TierHealth,
    TierState,
    TierVerdict,
    Unprotected,
    Verdict,
    VerificationStatus,
    WriteRequest,
)

CONFIGURATION_ID = "019ab4d2-6c1e-7a10-9b5f-3f1d2c4e5a60"
EXECUTION_ID = "019ab4d3-0f2a-7c44-8e21-6a7b8c9d0e1f"
REQUEST_ID = "019ab4d3-0f29-7b13-a0c4-112233445566"
SNAPSHOT_ID = "5f0c2e9b7d3a4c1e8f6b0a9d2c4e7f10"
ACTOR = "user:7d0e2f9c-5a4b-4c3d-9e8f-1a2b3c4d5e6f"
BEGAN = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


def _at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


DESTINATIONS = StorageDestinations(
    local=Destination(location="local", required=True),
    cloud_primary=Destination(location="cloud-primary", required=True),
    cloud_secondary=Destination(location="cloud-secondary"),
    offsite=Destination(location="offsite", lock_days=365),
)

NEW_CONFIGURATION = NewConfiguration(
    name="Photos of the Meyer wedding",
    source_type=SourceType.DIRECTORY,
    source_location="demo-photos",
    source_identifier="2027/meyer",
    backup_type=BackupType.INCREMENTAL,
    storage_destinations=DESTINATIONS,
    compression_enabled=False,
    is_wedding_critical=True,
    wedding_date=date(2027, 6, 12),
    tags=("photos", "2027"),
)

CONFIGURATION = Configuration(
    id=CONFIGURATION_ID,
    version=1,
    name=NEW_CONFIGURATION.name,
    source_type=NEW_CONFIGURATION.source_type,
    source_location=NEW_CONFIGURATION.source_location,
    source_identifier=NEW_CONFIGURATION.source_identifier,
    backup_type=NEW_CONFIGURATION.backup_type,
    storage_destinations=DESTINATIONS,
    compression_enabled=False,
    is_wedding_critical=True,
    wedding_date=NEW_CONFIGURATION.wedding_date,
    tags=["photos", "2027"],
    created_by=ACTOR,
    created_at=_at(-3600),
    next_run=None,
    last_run=LastRun(
        execution_id=EXECUTION_ID,
        state="completed",
        degraded=False,
        started_at=BEGAN,
        finished_at=_at(92.5),
        error_code=None,
    ),
    last_recovery_point=LastRecoveryPoint(
        execution_id=EXECUTION_ID,
        snapshot_id=SNAPSHOT_ID,
        completed_at=_at(92.5),
        tiers=[Tier.LOCAL, Tier.CLOUD_PRIMARY, Tier.CLOUD_SECONDARY, Tier.OFFSITE],
    ),
    health=ConfigurationHealth.HEALTHY,
)

NEW_EXECUTION = NewExecution(configuration_id=CONFIGURATION_ID)

ACCEPTED = Execution(
    id=EXECUTION_ID,
    version=1,
    configuration_id=CONFIGURATION_ID,
    configuration_version=1,
    request_id=REQUEST_ID,
    execution_type=ExecutionType.MANUAL,
    state=ExecutionState.INITIALIZING,
    degraded=False,
    is_wedding_critical=True,
    started_by=ACTOR,
    started_at=BEGAN,
    finished_at=None,
    attempts=0,
    phases=[Phase(name=ExecutionState.INITIALIZING, started_at=BEGAN, finished_at=None, seconds=None)],
    tiers=[TierState(tier=tier, state="pending", verified=False) for tier in Tier],
    size_estimate=None,
    size_actual=None,
    source_bytes=None,
    new_bytes=None,
    stored_bytes=None,
    ratio=None,
    files=None,
    bytes_per_second=None,
    verification_status=VerificationStatus.PENDING,
    completion_details=None,
    error=None,
    error_message=None,
)

COMPLETED = Execution(
    id=EXECUTION_ID,
    version=9,
    configuration_id=CONFIGURATION_ID,
    configuration_version=1,
    request_id=REQUEST_ID,
    execution_type=ExecutionType.MANUAL,
    state=ExecutionState.COMPLETED,
    degraded=False,
    is_wedding_critical=True,
    started_by=ACTOR,
    started_at=BEGAN,
    finished_at=_at(92.5),
    attempts=1,
    phases=[
        Phase(name=ExecutionState.INITIALIZING, started_at=BEGAN, finished_at=_at(0.5), seconds=0.5),
        Phase(name=ExecutionState.PREPARING, started_at=_at(0.5), finished_at=_at(2.5), seconds=2.0),
        Phase(name=ExecutionState.BACKING_UP, started_at=_at(2.5), finished_at=_at(82.5), seconds=80.0),
        Phase(name=ExecutionState.VERIFYING, started_at=_at(82.5), finished_at=_at(92.5), seconds=10.0),
    ],
    tiers=[
        TierState(
            tier=tier,
            state="uploaded",
            verified=True,
            snapshot_id=SNAPSHOT_ID,
            log_entry=4,
            uploaded_bytes=8_400_000_000,
            objects=262,
            seconds=78.25,
        )
        for tier in Tier
    ],
    size_estimate=8_500_000_000,
    size_actual=8_589_934_592,
    source_bytes=8_589_934_592,
    new_bytes=8_410_000_000,
    stored_bytes=8_400_000_000,
    ratio=0.9988,
    files=2412,
    bytes_per_second=92_863_157.8,
    verification_status=VerificationStatus.VERIFIED,
    completion_details=CompletionDetails(
        snapshot_id=SNAPSHOT_ID,
        files=2412,
        unreadable_files=0,
        by_class=[
            ClassTotals(
                content_class="photo",
                source_bytes=8_589_934_592,
                new_bytes=8_410_000_000,
                stored_bytes=8_400_000_000,
            )
        ],
        seconds=92.5,
        report_digest=None,
    ),
    error=None,
    error_message=None,
)

PENDING_REQUEST = WriteRequest(
    id=REQUEST_ID,
    kind="execute-backup",
    state=RequestState.PENDING,
    resource=f"/api/backup/executions/{EXECUTION_ID}",
    submitted_by=ACTOR,
    submitted_at=BEGAN,
)

PENDING_CONFIGURATION = WriteRequest(
    id=REQUEST_ID,
    kind="create-configuration",
    state=RequestState.PENDING,
    resource=f"/api/backup/configurations/{CONFIGURATION_ID}",
    submitted_by=ACTOR,
    submitted_at=BEGAN,
)

ACCEPTED_REQUEST = WriteRequest(
    id=REQUEST_ID,
    kind="execute-backup",
    state=RequestState.ACCEPTED,
    resource=f"/api/backup/executions/{EXECUTION_ID}",
    submitted_by=ACTOR,
    submitted_at=BEGAN,
    answered_at=_at(0.02),
    execution=ACCEPTED,
)

REFUSED_REQUEST = WriteRequest(
    id=REQUEST_ID,
    kind="create-configuration",
    state=RequestState.REFUSED,
    resource=f"/api/backup/configurations/{CONFIGURATION_ID}",
    submitted_by=ACTOR,
    submitted_at=BEGAN,
    answered_at=_at(0.25),
    problem=problem_of(error_of_code(errors.CONFIGURATION_NAME_TAKEN.code, field="name")),
)

PROGRESS = ProgressView(
    execution_id=EXECUTION_ID,
    state=ExecutionState.BACKING_UP,
    started_at=BEGAN,
    finished_at=None,
    progress=Progress(
        execution_id=EXECUTION_ID,
        organisation="acme-weddings",
        time=_at(30),
        phase="backing_up",
        files_done=820,
        files_total=2412,
        bytes_done=2_900_000_000,
        bytes_total=8_589_934_592,
        bytes_per_second=105_454_545.5,
        eta_seconds=54.0,
        tiers=tuple(TierProgress(tier=tier, state="uploading", uploaded_bytes=2_800_000_000) for tier in Tier),
    ),
)

STATUS = Status(
    as_of=_at(30),
    configurations=ConfigurationTotals(total=3, wedding_critical=1, healthy=2, degraded=0, failing=0, never_run=1),
    executions=RunCounts(initializing=0, preparing=0, backing_up=1, verifying=0, completed=41, degraded=2, failed=1),
    running=[
        RunningExecution(
            execution_id=EXECUTION_ID,
            configuration_id=CONFIGURATION_ID,
            state=ExecutionState.BACKING_UP,
            started_at=BEGAN,
        )
    ],
    queue=Queue(waiting=0, oldest_since=None),
    last24_hours=LastDay(
        completed=3,
        degraded=0,
        failed=0,
        files=7236,
        source_bytes=25_769_803_776,
        new_bytes=130_000_000,
        stored_bytes=110_000_000,
    ),
    tiers=[
        TierHealth(
            tier=tier,
            verdict=TierVerdict.HEALTHY,
            configurations=3,
            catch_ups_owed=0,
            last_uploaded_at=_at(-7200),
            last_failed_at=None,
            last_failure_code=None,
        )
        for tier in Tier
    ],
    oldest_unprotected_source=Unprotected(
        configuration_id=CONFIGURATION_ID, since=_at(-86_400), last_recovery_point_at=_at(-86_400)
    ),
    verdict=Verdict(
        satisfied=False,
        rules=[
            Rule(rule="three-copies", satisfied=False, failing_configurations=1),
            Rule(rule="two-media", satisfied=False, failing_configurations=1),
            Rule(rule="one-offsite", satisfied=False, failing_configurations=1),
            Rule(rule="one-immutable", satisfied=False, failing_configurations=1),
            Rule(rule="zero-errors", satisfied=False, failing_configurations=1),
        ],
    ),
)

CONFIGURATIONS = ListPage[Configuration](items=[CONFIGURATION])
EXECUTIONS = ListPage[Execution](
    items=[COMPLETED],
    next_cursor="WyIyMDI2LTExLTI0VDEwOjAwOjAwWiIsIjAxOWFiNGQzLTBmMmEtN2M0NC04ZTIxLTZhN2I4YzlkMGUxZiJd",
)
LOCATIONS = ListPage[LocationView](
    items=[
        LocationView(
            name="demo-photos", kind="directory", roles=["source"], region=None, lock=False, storage_classes=[]
        ),
        LocationView(name="local", kind="directory", roles=["tier"], region=None, lock=False, storage_classes=[]),
        LocationView(
            name="offsite",
            kind="s3",
            roles=["tier"],
            region="eu-north-1",
            lock=True,
            storage_classes=list(STORAGE_CLASSES),
        ),
    ]
)
TEMPLATE_LIST = ListPage(items=list(TEMPLATES))
TICKET = Ticket(ticket="mZ3r0dQx1kq9J1b5m8vVfV2wT0nqJ6s4l7c8a9b0d1E", expires_at=_at(30))
LIVE = Liveness(status="live")
READY = Liveness(status="ready")
