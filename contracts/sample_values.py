"""The ids and values that the examples of events share (`contracts.samples`)."""

from datetime import UTC, datetime, timedelta

from contracts import cleanup_events as cleanup
from contracts import errors
from contracts import gateway_events as gateway
from contracts.approval_events import ApprovedOperation
from contracts.attestations import AttestationKind
from contracts.compliance_events import ControlFinding
from contracts.configuration import BackupType, ConfigurationBody, Destination, SourceType, StorageDestinations
from contracts.controls import ControlVerdict, Framework
from contracts.disaster import (
    BackupSource,
    PlanBody,
    PlanNotifications,
    PlanScope,
    PlanStep,
    PlanType,
    RecoveryObjectives,
    SourceLoss,
    SourcePreference,
    StepKind,
    StepNotice,
    StepOutcome,
    StepPoint,
    StepTarget,
    TestingSchedule,
)
from contracts.erasure_events import Obstacle, PlaceErased, PrivacyLaw
from contracts.holds import HoldBody, HoldScope
from contracts.notifications import ChannelBody, ChannelKind, NotificationEvent
from contracts.optimization_events import PlaceOptimized
from contracts.repair_events import DamagedObject, PlaceRepaired, RepairedObject
from contracts.retention import LegalBasis, RetentionPolicyBody
from contracts.sealed import Sealed
from contracts.validation_events import ObjectDamaged, PointAffected, TierValidated, TierWholeness, ValidationDepth

ORGANISATION = "0199a0f2-0000-7000-8000-0000000000a1"
RETENTION_POLICY = "0199a0f2-0000-7000-8000-0000000000f1"
CONFIGURATION = "0199a0f2-0000-7000-8000-0000000000c1"
EXECUTION = "0199a0f2-0000-7000-8000-0000000000e1"
CLEANUP = "0199a0f2-0000-7000-8000-0000000000d2"
OPTIMIZATION = "0199a0f2-0000-7000-8000-0000000000d4"
ERASURE = "0199a0f2-0000-7000-8000-0000000000d5"
DATA_SUBJECT = "9a1b" * 16
REPAIR = "0199a0f2-0000-7000-8000-0000000000d3"
OPERATION = "0199a0f2-0000-7000-8000-0000000000f1"
VALIDATION = "0199a0f2-0000-7000-8000-0000000000f8"
CHANNEL = "0199a0f2-0000-7000-8000-0000000000f2"
NOTIFICATION = "0199a0f2-0000-7000-8000-0000000000f3"
CONFIGURATION_REQUEST = "0199a0f2-0000-7000-8000-000000000001"
BACKUP_REQUEST = "0199a0f2-0000-7000-8000-000000000002"
SNAPSHOT = "5f0c3a9b8d7e6f5041322314051627384950a1b2c3d4e5f60718293a4b5c6d7e"
BEGIN = datetime(2026, 6, 13, 9, 30, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"


def sealed(byte: int) -> Sealed:
    """What no key opens."""
    return Sealed(key=f"organisation/{ORGANISATION}/1", box=bytes([byte]) * 12 + bytes(range(32)))


BODY = ConfigurationBody(
    name=sealed(0x11),
    name_digest="9b74c9897bac770ffc029102a200c5de",
    source_type=SourceType.DIRECTORY,
    source_location="studio-photos",
    source_identifier=sealed(0x22),
    backup_type=BackupType.INCREMENTAL,
    storage_destinations=StorageDestinations(
        local=Destination(location="local", required=True),
        cloud_primary=Destination(location="cloud-primary", required=True),
        cloud_secondary=Destination(location="cloud-secondary"),
        offsite=Destination(location="offsite", lock_days=30, storage_class="GLACIER_IR"),
    ),
    is_wedding_critical=True,
    wedding_date=sealed(0x33),
    tags=("photos", "2026"),
)
POLICY = RetentionPolicyBody(
    name=sealed(0x44),
    keep_daily=30,
    keep_monthly=24,
    keep_within="90d",
    minimum_days=30,
    maximum_days=3650,
    lock_days=30,
    data_categories=("photos",),
    legal_basis=LegalBasis.CONTRACT,
)
CHANNEL_BODY = ChannelBody(
    name=sealed(0x66),
    kind=ChannelKind.WEBHOOK,
    address=sealed(0x77),
    secret="studio-alarms",  # noqa: S106  # its name
    events=(NotificationEvent.FAILED, NotificationEvent.MISSED),
)
EVIDENCE = gateway.Evidence(
    assurance="aal2",
    factors=("password", "totp"),
    roles=("owner",),
    token_id="jti-0199a0f2",  # noqa: S106  # an id
    second_factor=True,
)
_LATER = BEGIN + timedelta(days=30)
_GOING = cleanup.GoingPoint(recovery_point_id=EXECUTION, configuration_id=CONFIGURATION, rules=("not-kept",))
CLEANED_UP: dict[str, object] = {
    "cleanup_id": CLEANUP,
    "configuration_ids": (CONFIGURATION,),
    "points": (_GOING,),
    "going": (_GOING,),
    "waits": (cleanup.WaitingPoint(recovery_point_id=EXECUTION, configuration_id=CONFIGURATION, until=_LATER),),
    "locations": ("local", "offsite"),
    "purpose": cleanup.CleanupPurpose.LET_GO,
    "held": (cleanup.PlaceHeld(location="local", points=52), cleanup.PlaceHeld(location="offsite", on_objects=True)),
    "places": (
        cleanup.PlaceCleaned(location="local", freed_bytes=9_663_676_416),
        cleanup.PlaceCleaned(location="offsite", locked_bytes=4_294_967_296, locked_until=_LATER),
        cleanup.PlaceCleaned(location="second", code=errors.TIER_UNREACHABLE.code, hint=errors.TIER_UNREACHABLE.hint),
    ),
}
"""What the fields of cleanups' events hold, by their names."""
VALIDATED: dict[str, object] = {
    "validation_id": VALIDATION,
    "depth": ValidationDepth.WHOLE,
    "damages": 1,
    "objects": (
        ObjectDamaged(
            tier="local",
            problem="pack-damaged",
            object_key="packs/5f/5f0c3a9b8d7e6f50",
            repairable_from=("offsite",),
            not_read_on=("offsite",),
        ),
    ),
    "affected_points": 1,
    "affected": (PointAffected(recovery_point_id=EXECUTION, tiers=("local",)),),
}
"""What the fields of validations' events hold, by their names."""
TIERS_VALIDATED = (
    TierValidated(
        tier="local",
        location="local",
        verdict=TierWholeness.DAMAGED,
        damages=1,
        harms_point=True,
        read_bytes=9_663_676_416,
        stored_bytes=9_663_676_416,
    ),
    TierValidated(
        tier="offsite",
        location="offsite",
        verdict=TierWholeness.NOT_LOOKED_AT,
        code=errors.TIER_UNREACHABLE.code,
        hint=errors.TIER_UNREACHABLE.hint,
    ),
)
HOLD = "0199a0f2-0000-7000-8000-0000000000f5"
APPROVAL = "0199a0f2-0000-7000-8000-0000000000f6"
HOLD_BODY = HoldBody(
    scope=HoldScope(configuration_ids=(CONFIGURATION,), made_before=BEGIN),
    reason=sealed(0x88),
    matter=sealed(0x99),
    review_at=BEGIN + timedelta(days=365),
)
HELD: dict[str, object] = {
    "hold_id": HOLD,
    "approval_id": APPROVAL,
    "operation": ApprovedOperation.RELEASE_HOLD,
    "subject_id": HOLD,
    "asked_by": "user:0199a0f2-0000-7000-8000-0000000000b1",
    "granted_by": "user:0199a0f2-0000-7000-8000-0000000000b2",
    "denied_by": "user:0199a0f2-0000-7000-8000-0000000000b2",
    "too_late": 1,
    "too_late_points": (EXECUTION,),
}
"""What the fields of events of holds and approvals hold, by their names."""
_LOST_PACK = "packs/1c/1c5f0a7e3d9b24c68e0f15a7b3d2c4e6f80912a4b6c8d0e2f4061728394a5b6c"
REPAIRED_PLACE = PlaceRepaired(
    location="local",
    packs=291,
    packs_read=291,
    damaged=1,
    needed_bytes=33_554_432,
    repaired=1,
    set_aside=1,
    found=(DamagedObject(problem="pack-damaged", object_key=_LOST_PACK, whole_at=("offsite",)),),
    done=(RepairedObject(object_key=_LOST_PACK, source="offsite"),),
)
OF_STORAGE: dict[str, object] = {
    **CLEANED_UP,
    **HELD,
    "repair_id": REPAIR,
    "read_percent": 100,
    "found_place": REPAIRED_PLACE,
    "repaired_place": REPAIRED_PLACE,
    "repaired_places": (REPAIRED_PLACE,),
    "optimization_id": OPTIMIZATION,
    "erasure_id": ERASURE,
    "data_subject": Sealed(key=f"subject/{ORGANISATION}/{DATA_SUBJECT}/1", box=bytes([0xDD]) * 12 + bytes(range(32))),
    "data_subject_id": DATA_SUBJECT,
    "law": PrivacyLaw.GDPR,
    "received_at": BEGIN,
    "deadline_at": BEGIN + timedelta(days=30),
    "obstacles": (Obstacle(code=errors.POINT_HELD.code, about=HOLD),),
    "is_complete": True,
    "erased_places": (PlaceErased(location="local", removed=1), PlaceErased(location="offsite", removed=1)),
    "allowed_bytes": 68_719_476_736,
    "optimized_places": (
        PlaceOptimized(location="local", kept_bytes=9_663_676_416, freed_bytes=1_073_741_824, stored_bytes=104_857_600),
    ),
}
"""What the fields of events of cleanups, holds, repairs and optimisations hold, by their names."""
OF_EXECUTOR = (
    ("cleanup_id", "retention-cleanup", CLEANUP),
    ("hold_id", "hold", HOLD),
    ("approval_id", "approval", APPROVAL),
    ("repair_id", "storage-repair", REPAIR),
    ("optimization_id", "storage-optimization", OPTIMIZATION),
    ("erasure_id", "subject-erasure", ERASURE),
)
"""What the executor's events are of that are of no run: by which field that shows, what it is called, and its id."""
DR_PLAN = "0199a0f2-0000-7000-8000-0000000000f7"
PLAN_BODY = PlanBody(
    name=sealed(0xAA),
    plan_type=PlanType.REGION_LOSS,
    scope=PlanScope(configuration_ids=(CONFIGURATION,)),
    recovery_objectives=RecoveryObjectives(rto_minutes=240, rpo_minutes=60),
    backup_sources=(BackupSource(configuration_id=CONFIGURATION, prefer=SourcePreference.PROVEN),),
    procedures=(
        PlanStep(id="go", kind=StepKind.APPROVE, owner="owner"),
        PlanStep(
            id="photos",
            kind=StepKind.RESTORE,
            owner="on-call",
            after=("go",),
            time_limit_minutes=180,
            configuration_id=CONFIGURATION,
            target_location="restored",
            target_path=sealed(0xBB),
        ),
        PlanStep(id="whole", kind=StepKind.CHECK, owner="on-call", after=("photos",), of_step="photos"),
    ),
    notifications=PlanNotifications(channel_ids=(CHANNEL,)),
    testing_schedule=TestingSchedule(every_days=90),
    is_wedding_critical=True,
)
DISASTERS: dict[str, object] = {
    "plan_id": DR_PLAN,
    "plan_version": 1,
    "step_id": "photos",
    "attempt": 1,
    "rto_seconds": 412.5,
}
"""What the fields of events of disaster recovery hold, by their names."""
AUDITED: dict[str, object] = {
    "attestation_id": "0199a0f2-0000-7000-8000-0000000000fb",
    "attested_by": "user:0199a0f2-0000-7000-8000-0000000000b1",
    "about": ("offsite",),
    "statement": sealed(0xDD),
    "audit_id": "0199a0f2-0000-7000-8000-0000000000f4",
    "frameworks": (Framework.HIPAA,),
    "log_size": 4712,
    "log_root": "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=",
}
"""What the fields of audits' events hold, by their names."""
AUDIT_FINDINGS = (
    ControlFinding(
        control="HIPAA-312d",
        verdict=ControlVerdict.PASS,
        because="3 restores were asked for, each with a second factor",
        evaluator=1,
        query="gateway.recovery-requested.v1, recovery.recovery-accepted.v1",
        examined=3,
        evidence=("0199a0f2-0000-7000-8000-0000000000e9",),
    ),
    ControlFinding(
        control="HIPAA-7B",
        verdict=ControlVerdict.NO_EVIDENCE,
        because="nothing that the platform records decides this yet",
    ),
)
BODIES: dict[object, object] = {
    HoldBody: HOLD_BODY,
    PlanBody: PLAN_BODY,
    tuple[StepPoint, ...]: (StepPoint(step_id="photos", recovery_point_id=EXECUTION, read_at=BEGIN),),
    tuple[StepTarget, ...]: (StepTarget(step_id="photos", location="restored", path=sealed(0xCC)),),
    tuple[SourceLoss, ...]: (
        SourceLoss(configuration_id=CONFIGURATION, recovery_point_id=EXECUTION, lost_seconds=1_260.0),
    ),
    StepOutcome: StepOutcome.COMPLETED,
    AttestationKind: AttestationKind.TRANSFER_ALLOWED,
    tuple[StepNotice, ...]: (StepNotice(channel_id=CHANNEL, notification_id=NOTIFICATION),),
    tuple[ControlFinding, ...]: AUDIT_FINDINGS,
    tuple[TierValidated, ...]: TIERS_VALIDATED,
}
"""What is called a body, as others are, by its own type; and what has a type of its own."""
