"""Which requested validations are taken on."""

from chassis.handling import Handling
from contracts import errors
from contracts.errors import PlatformError
from contracts.reading import written_as
from contracts.refusal import Objection
from contracts.storage_requests import RecoveryValidationRequested
from contracts.validation_events import RecoveryValidationRefused, ValidationDepth
from services.recovery.errors import PointNotSeenYet
from services.recovery.kept import KeptPoint
from services.recovery.policies import DELIVERIES_BEFORE_REFUSAL
from services.recovery.ports import Points
from services.recovery.validating.domain import RecoveryValidation
from services.recovery.validating.found import ValidationOrder
from services.recovery.validating.ports import Validations


class ValidationDecisions:
    """Takes requested validations on, or refuses them."""

    def __init__(self, validations: Validations, points: Points) -> None:
        self._validations = validations
        self._points = points

    async def decide(self, request: RecoveryValidationRequested, handling: Handling) -> None:
        """Accept or refuse a request. Raises RECOVERY_POINT_NOT_SEEN_YET to be asked again later."""
        organisation = handling.context.organisation
        point = await self._points.find(request.recovery_point_id, organisation)
        objection = when_validation_requested(request, point, deliveries=handling.deliveries)
        if objection is not None and objection.code is errors.RECOVERY_POINT_NOT_SEEN_YET:
            raise PointNotSeenYet(request.recovery_point_id)
        if objection is not None or point is None:
            await self._refuse(request, objection or Objection(errors.RECOVERY_POINT_UNKNOWN), handling)
            return
        asked = {written_as(tier) for tier in request.tiers}
        order = ValidationOrder(
            snapshot_id=point.snapshot_id,
            places=tuple(place for place in point.places if not asked or place.tier in asked),
            depth=request.depth,
        )
        validation = RecoveryValidation(request.validation_id)
        validation.accept(request, point)
        try:
            await self._validations.record_accepted(validation, handling, order=order)
        except PlatformError as busy:
            if busy.code is not errors.VALIDATION_OPEN:
                raise
            if await self._validations.find(request.validation_id, organisation) is None:
                await self._refuse(request, Objection(busy.code, busy.field, busy.hint), handling)

    async def _refuse(self, request: RecoveryValidationRequested, objection: Objection, handling: Handling) -> None:
        validation = RecoveryValidation(request.validation_id)
        validation.record(RecoveryValidationRefused.of(request, objection))
        await self._validations.record_answer(validation, handling)


def when_validation_requested(
    request: RecoveryValidationRequested, point: KeptPoint | None, *, deliveries: int
) -> Objection | None:
    """What speaks against a validation; NOT_SEEN_YET to be asked again. Pure."""
    if point is not None and point.is_gone:
        return Objection(errors.RECOVERY_POINT_GONE, "recoveryPointId", errors.RECOVERY_POINT_GONE.hint)
    if request.depth not in set(ValidationDepth):
        return Objection(errors.EVENT_UNREADABLE, hint=errors.EVENT_UNREADABLE.hint)
    if point is None or not point.places:
        late = deliveries >= DELIVERIES_BEFORE_REFUSAL
        code = errors.RECOVERY_POINT_UNKNOWN if late else errors.RECOVERY_POINT_NOT_SEEN_YET
        return Objection(code, "recoveryPointId", code.hint)
    had = {place.tier for place in point.places}
    for number, tier in enumerate(request.tiers):
        if written_as(tier) not in had:
            code = errors.VALIDATION_TIER_UNKNOWN
            return Objection(code, f"tiers[{number}]", code.hint)
    return None
