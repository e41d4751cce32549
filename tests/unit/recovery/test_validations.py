"""What the end of a validation says, however much is damaged."""

from chassis.record.mapper import EVENT_BYTES_MAX
from contracts.envelope import encode_data
from contracts.gateway_events import Evidence
from contracts.storage_requests import RecoveryValidationRequested
from contracts.validation_events import ObjectDamaged, RecoveryPointCorrupted, ValidationDepth
from services.recovery.kept import KeptPoint
from services.recovery.validating.domain import RecoveryValidation
from services.recovery.validating.found import Affected, Found


def test_end_of_a_validation_fits_into_an_event_however_many_places_a_point_had() -> None:
    """All that is damaged is counted, and as much of it named as there is room for."""
    validation = RecoveryValidation("validation-1")
    request = RecoveryValidationRequested(
        request_id="r",
        validation_id=validation.id,
        recovery_point_id="point-1",
        depth=ValidationDepth.WHOLE,
        evidence=Evidence(assurance="aal1"),
    )
    point = KeptPoint(
        recovery_point_id="point-1", organisation="a", configuration_id="c", snapshot_id="0" * 64, places=()
    )
    validation.accept(request, point)
    validation.prepare(fence=1, worker="w1")
    places = tuple(f"the one at location-{number}" for number in range(60))
    objects = [
        ObjectDamaged(
            tier="local", problem="pack-damaged", object_key=f"packs/00/{number:064x}", repairable_from=places
        )
        for number in range(900)
    ]
    affected = Affected.of([(f"point-{number}", places) for number in range(500)], unnamed=1)
    validation.complete(Found(tiers=(), objects=objects), affected, fence=1, seconds=1.0)
    end = validation.pending[-1]
    assert isinstance(end, RecoveryPointCorrupted)
    assert len(encode_data(end)) < EVENT_BYTES_MAX
    assert (end.damages, end.affected_points) == (900, 500)
    assert 0 < len(end.objects) < 400
