"""Examples of the group's requests and answers: typed, so that they cannot drift from what the API takes and gives."""

import msgspec

from contracts import errors
from contracts.configuration import SourceType, Tier
from contracts.executor_events import CatchUp
from contracts.recovery_events import ConflictPolicy, RecoveryState, RecoveryTotals, RecoveryType, TierBytes
from gateway.groups.recovery.resources import (
    EntryKindShown,
    NewRecovery,
    PointEntries,
    PointEntry,
    PointVersion,
    RecoveryOperation,
    RecoveryOperationView,
    RecoveryPhase,
    RecoveryPoint,
    RecoveryResult,
)
from gateway.http.resources import ListPage
from gateway.runs.examples import ACTOR, CONFIGURATION_ID, EXECUTION_ID, OPERATION_ID, REQUEST_ID, SNAPSHOT_ID, at
from gateway.runs.resources import VerificationStatus

NEW_RECOVERY = NewRecovery(
    recovery_point_id=EXECUTION_ID, target_location="restored", target_path="meyer", scope=("2027/meyer",)
)

POINT = RecoveryPoint(
    id=EXECUTION_ID,
    configuration_id=CONFIGURATION_ID,
    snapshot_id=SNAPSHOT_ID,
    completed_at=at(120),
    source_type=SourceType.DIRECTORY,
    source_location="demo-photos",
    is_wedding_critical=True,
    tiers=[Tier.LOCAL, Tier.CLOUD_PRIMARY, Tier.CLOUD_SECONDARY],
    lacking=[CatchUp(tier=Tier.OFFSITE, code=errors.TIER_UNREACHABLE.code)],
    files=2412,
    source_bytes=8_589_934_592,
    unreadable_files=0,
)

POINTS = ListPage[RecoveryPoint](items=[POINT])

ENTRIES = PointEntries(
    recovery_point_id=EXECUTION_ID,
    path="2027/meyer",
    entry=PointEntry(name="meyer", kind=EntryKindShown.FOLDER, size=None, modified_at=at(60), content_id=None),
    items=[
        PointEntry(name="album", kind=EntryKindShown.FOLDER, size=None, modified_at=at(50), content_id=None),
        PointEntry(
            name="IMG_4711.jpg",
            kind=EntryKindShown.FILE,
            size=8_388_608,
            modified_at=at(40),
            content_id="5f0c3b9e8a7d6c1b2a3948576f6e5d4c",
        ),
    ],
    next_cursor=None,
    is_whole=True,
)

VERSIONS = ListPage[PointVersion](
    items=[
        PointVersion(
            recovery_point_id=EXECUTION_ID,
            completed_at=at(120),
            is_there=True,
            kind=EntryKindShown.FILE,
            size=8_388_608,
            modified_at=at(40),
            content_id="5f0c3b9e8a7d6c1b2a3948576f6e5d4c",
            is_changed=None,
            code=None,
        )
    ]
)

CONTENT = "between A and B\n"

_PHASES = (
    (RecoveryState.INITIALIZING, 3600, 3600.2),
    (RecoveryState.PREPARING, 3600.2, 3601),
    (RecoveryState.RECOVERING, 3601, 3660),
)

COMPLETED = RecoveryOperation(
    id=OPERATION_ID,
    version=5,
    recovery_point_id=EXECUTION_ID,
    configuration_id=CONFIGURATION_ID,
    snapshot_id=SNAPSHOT_ID,
    recovery_type=RecoveryType.PARTIAL,
    request_id=REQUEST_ID,
    initiated_by=ACTOR,
    target_location="restored",
    target_path="meyer",
    scope=["2027/meyer"],
    conflict_policy=ConflictPolicy.REFUSE,
    state=RecoveryState.COMPLETED,
    degraded=False,
    started_at=at(3600),
    finished_at=at(3660),
    attempts=1,
    phases=[
        RecoveryPhase(name=name, started_at=at(began), finished_at=at(ended), seconds=round(ended - began, 3))
        for name, began, ended in _PHASES
    ],
    verification_status=VerificationStatus.VERIFIED,
    result=RecoveryResult(
        totals=RecoveryTotals(
            files=412,
            folders=9,
            bytes=1_288_490_188,
            read_from=(TierBytes(tier=Tier.LOCAL.value, bytes=1_288_501_000),),
        ),
        missing_in_point=0,
        seconds=59.4,
        code=None,
        hint=None,
    ),
    error=None,
    waiting=None,
    unreadable_fields=[],
)

SHOWN = RecoveryOperationView(**{name: getattr(COMPLETED, name) for name in COMPLETED.__struct_fields__}, progress=None)

OPERATIONS = ListPage[RecoveryOperation](items=[msgspec.structs.replace(COMPLETED)])
