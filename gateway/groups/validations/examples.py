"""Examples of the group's requests and answers: typed, so that they cannot drift from what the API takes and gives."""

import msgspec

from contracts import errors
from contracts.validation_events import (
    ObjectDamaged,
    PointAffected,
    TierValidated,
    TierWholeness,
    ValidationDepth,
    ValidationState,
)
from gateway.groups.validations.resources import (
    NewValidation,
    RecoveryValidation,
    RecoveryValidationView,
    ValidationResult,
    ValidationVerdict,
)
from gateway.http.resources import ListPage
from gateway.runs.examples import ACTOR, CONFIGURATION_ID, EXECUTION_ID, REQUEST_ID, VALIDATION_ID, at

NEW_VALIDATION = NewValidation(recovery_point_id=EXECUTION_ID, depth=ValidationDepth.WHOLE)

DAMAGED = RecoveryValidation(
    id=VALIDATION_ID,
    version=4,
    recovery_point_id=EXECUTION_ID,
    configuration_id=CONFIGURATION_ID,
    depth=ValidationDepth.WHOLE,
    tiers=[],
    request_id=REQUEST_ID,
    initiated_by=ACTOR,
    state=ValidationState.COMPLETED,
    degraded=True,
    started_at=at(7200),
    finished_at=at(7290),
    attempts=1,
    result=ValidationResult(
        verdict=ValidationVerdict.DAMAGED,
        tiers=[
            TierValidated(
                tier="local",
                location="local",
                verdict=TierWholeness.DAMAGED,
                damages=1,
                harms_point=True,
                read_bytes=5_368_709_120,
                stored_bytes=5_368_709_120,
            ),
            TierValidated(
                tier="cloudPrimary",
                location="cloud-primary",
                verdict=TierWholeness.WHOLE,
                harms_point=False,
                read_bytes=5_368_709_120,
                stored_bytes=5_368_709_120,
            ),
            TierValidated(
                tier="offsite",
                location="offsite",
                verdict=TierWholeness.NOT_LOOKED_AT,
                code=errors.TIER_UNREACHABLE.code,
                hint=errors.TIER_UNREACHABLE.hint,
            ),
        ],
        damages=1,
        objects=[
            ObjectDamaged(
                tier="local",
                problem="pack-damaged",
                object_key="packs/5f/5f0c3b9e8a7d6c1b2a3948576f6e5d4c",
                repairable_from=("cloudPrimary",),
            )
        ],
        affected_points=1,
        affected=[PointAffected(recovery_point_id=EXECUTION_ID, tiers=("local",))],
        unnamed_snapshots=0,
        read_bytes=10_737_418_240,
        seconds=89.4,
    ),
    error=None,
    waiting=None,
)

SHOWN = RecoveryValidationView(**{name: getattr(DAMAGED, name) for name in DAMAGED.__struct_fields__}, progress=None)

VALIDATIONS = ListPage[RecoveryValidation](items=[msgspec.structs.replace(DAMAGED)])
