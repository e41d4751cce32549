"""Examples of the group's requests and answers: typed, so that they cannot drift from what the API takes and gives."""

from contracts.configuration import Tier
from contracts.executor_events import ExecutionState
from contracts.progress import Progress, TierProgress
from gateway.groups.executions.resources import (
    ConfigurationTotals,
    LastDay,
    NewExecution,
    ProgressView,
    Protection,
    ProtectionRule,
    Queue,
    RunCounts,
    RunningExecution,
    Status,
    TierHealth,
    TierVerdict,
    Unprotected,
)
from gateway.http.resources import ListPage
from gateway.runs.examples import BEGAN, COMPLETED, CONFIGURATION_ID, EXECUTION_ID, at
from gateway.runs.resources import Execution

NEW_EXECUTION = NewExecution(configuration_id=CONFIGURATION_ID)


PROGRESS = ProgressView(
    execution_id=EXECUTION_ID,
    state=ExecutionState.BACKING_UP,
    started_at=BEGAN,
    finished_at=None,
    progress=Progress(
        execution_id=EXECUTION_ID,
        organisation="acme-weddings",
        time=at(30),
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
    as_of=at(30),
    configurations=ConfigurationTotals(
        total=3, wedding_critical=1, healthy=2, degraded=0, failing=0, never_run=1, paused=0
    ),
    executions=RunCounts(
        **dict.fromkeys(map(str, ExecutionState), 0) | {"backing_up": 1, "completed": 41, "degraded": 2, "failed": 1}
    ),
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
            last_uploaded_at=at(-7200),
            last_failed_at=None,
            last_failure_code=None,
        )
        for tier in Tier
    ],
    oldest_unprotected_source=Unprotected(
        configuration_id=CONFIGURATION_ID, since=at(-86_400), last_recovery_point_at=at(-86_400)
    ),
    verdict=Protection(
        satisfied=False,
        rules=[
            ProtectionRule(rule="three-copies", satisfied=False, failing_configurations=1),
            ProtectionRule(rule="two-media", satisfied=False, failing_configurations=1),
            ProtectionRule(rule="one-offsite", satisfied=False, failing_configurations=1),
            ProtectionRule(rule="one-immutable", satisfied=False, failing_configurations=1),
            ProtectionRule(rule="zero-errors", satisfied=False, failing_configurations=1),
        ],
    ),
)


EXECUTIONS = ListPage[Execution](
    items=[COMPLETED],
    next_cursor="WyIyMDI2LTExLTI0VDEwOjAwOjAwWiIsIjAxOWFiNGQzLTBmMmEtN2M0NC04ZTIxLTZhN2I4YzlkMGUxZiJd",
)
