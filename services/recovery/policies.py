"""Rules of the recovery service: a fact in, a decision out. Pure."""

from contracts import errors
from contracts.gateway_events import RecoveryRequested
from contracts.recovery_events import ConflictPolicy
from contracts.refusal import Objection
from services.recovery.kept import KeptPoint
from services.recovery.ports import Restored

# A point that has not arrived after so many deliveries (about a minute) is not going to.
DELIVERIES_BEFORE_REFUSAL = 8


def when_recovery_requested(
    request: RecoveryRequested, point: KeptPoint | None, *, deliveries: int
) -> Objection | None:
    """What speaks against a recovery, apart from its target; NOT_SEEN_YET to be asked again."""
    if not request.evidence.second_factor:
        return Objection(errors.SECOND_FACTOR_NEEDED, hint=errors.SECOND_FACTOR_NEEDED.hint)
    if point is not None and point.is_gone:
        return Objection(errors.RECOVERY_POINT_GONE, "recoveryPointId", errors.RECOVERY_POINT_GONE.hint)
    if request.conflict_policy not in set(ConflictPolicy):
        return Objection(errors.EVENT_UNREADABLE, hint=errors.EVENT_UNREADABLE.hint)
    if point is None or not point.places:
        late = deliveries >= DELIVERIES_BEFORE_REFUSAL
        code = errors.RECOVERY_POINT_UNKNOWN if late else errors.RECOVERY_POINT_NOT_SEEN_YET
        return Objection(code, "recoveryPointId", code.hint)
    return None


def when_restored(restored: Restored) -> tuple[bool, errors.ErrorCode | None]:
    """Whether all that was asked for is there, and the code of what is less than it was."""
    if not restored.is_whole:
        return False, errors.RECOVERY_INCOMPLETE
    if restored.asked and restored.unmatched == restored.asked:
        return False, errors.RECOVERY_MATCHES_NOTHING
    if restored.unmatched:
        return True, errors.RECOVERY_SCOPE_UNMATCHED
    less = restored.has_losses or restored.missing_in_point > 0
    return True, errors.RECOVERY_INCOMPLETE if less else None
