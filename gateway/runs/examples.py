"""Examples of runs, and the ids and times that all examples share."""

from datetime import UTC, datetime, timedelta

import msgspec

from contracts import errors
from contracts.configuration import Tier
from contracts.executor_events import ClassTotals, ExecutionState, ExecutionType
from gateway.runs.resources import (
    CompletionDetails,
    Execution,
    Phase,
    TierStanding,
    TierState,
    VerificationStatus,
    Waiting,
)

CONFIGURATION_ID = "019ab4d2-6c1e-7a10-9b5f-3f1d2c4e5a60"


RETENTION_POLICY_ID = "0199a0f2-0000-7000-8000-0000000000f1"
CHANNEL_ID = "019ab4d4-3c8d-7e66-8a21-6d7e8f9a0b1c"
NOTIFICATION_ID = "019ab4d4-4d9e-7f77-9b32-7e8f9a0b1c2d"
EXECUTION_ID = "019ab4d3-0f2a-7c44-8e21-6a7b8c9d0e1f"


CLEANUP_ID = "019ab4d5-3c8d-7e66-8a21-6d7e8f9a0b1c"


OPTIMIZATION_ID = "019ab4db-bef5-70ee-82a7-4f5061728394"


REPAIR_ID = "019ab4da-adf4-7fdd-b196-3e4f50617283"


HOLD_ID = "019ab4d7-7ab1-7caa-8e63-0b1c2d3e4f50"


APPROVAL_ID = "019ab4d8-8bc2-7dbb-9f74-1c2d3e4f5061"


DR_PLAN_ID = "019ab4d9-9cd3-7ecc-a085-2d3e4f506172"


DR_EXECUTION_ID = "019ab4da-ade4-7fdd-a196-3e4f50617283"


AUDIT_ID = "019ab4d6-6fa0-7b99-9d52-9a0b1c2d3e4f"


ATTESTATION_ID = "019ab4dd-d017-72aa-84c9-61728394a5b6"


ERASURE_ID = "019ab4dc-cf06-71ff-93b8-5061728394a5"


OPERATION_ID = "019ab4d4-2b7c-7d55-9f10-5c6d7e8f9a0b"


VALIDATION_ID = "019ab4da-1de4-7fdd-b196-3e4f50617283"


REQUEST_ID = "019ab4d3-0f29-7b13-a0c4-112233445566"


SNAPSHOT_ID = "5f0c2e9b7d3a4c1e8f6b0a9d2c4e7f10"


ACTOR = "user:7d0e2f9c-5a4b-4c3d-9e8f-1a2b3c4d5e6f"


BEGAN = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """The time of an example: seconds after its run began."""
    return BEGAN + timedelta(seconds=seconds)


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
    tiers=[TierState(tier=tier, state=TierStanding.PENDING, verified=False) for tier in Tier],
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


HINDERED = msgspec.structs.replace(
    ACCEPTED,
    version=3,
    attempts=1,
    waiting=Waiting(
        code=errors.KEYS_UNUSABLE.code,
        title=errors.KEYS_UNUSABLE.title,
        hint=errors.KEYS_UNUSABLE.hint,
        since=at(2),
        next_attempt_at=at(4),
    ),
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
    finished_at=at(92.5),
    attempts=1,
    phases=[
        Phase(name=ExecutionState.INITIALIZING, started_at=BEGAN, finished_at=at(0.5), seconds=0.5),
        Phase(name=ExecutionState.PREPARING, started_at=at(0.5), finished_at=at(2.5), seconds=2.0),
        Phase(name=ExecutionState.BACKING_UP, started_at=at(2.5), finished_at=at(82.5), seconds=80.0),
        Phase(name=ExecutionState.VERIFYING, started_at=at(82.5), finished_at=at(92.5), seconds=10.0),
    ],
    tiers=[
        TierState(
            tier=tier,
            state=TierStanding.UPLOADED,
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
        left_out_folders=0,
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
