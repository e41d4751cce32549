"""What is told of a recovery that has failed, or waits: codes and hints for people of the organisation."""

from chassis.life.standstills import StandsStill
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from services.recovery.errors import TiersUnusable

_OVER_BY_ITSELF = frozenset({errors.UNAVAILABLE, errors.CONCURRENT_CHANGE})
_OPEN_HINTS = frozenset(
    {
        errors.TARGET_UNUSABLE,
        errors.TARGET_NOT_EMPTY,
        errors.TARGET_EXCLUDED,
        errors.TARGET_FULL,
        errors.LOCATION_SILENT,
        errors.RECOVERY_POINT_MISSING,
    }
)
"""Codes whose errors say what to do by the names of locations, which the organisation knows."""
_STOOD_STILL = "Look at its disk, its mount or its server, then ask for the same recovery again: it goes on there."


def told_code(code: ErrorCode) -> ErrorCode:
    """The code that whoever may see the recovery is told: the names of settings are the operator's."""
    if code is errors.NO_WORKER:
        return errors.NO_RECOVERY_WORKER
    return errors.LOCATION_UNUSABLE if code is errors.INVALID_SETTING else code


def told_hint(error: PlatformError) -> str:
    """What to do, in words without paths and settings."""
    if isinstance(error, StandsStill):
        # The catalogue speaks of tiers as a run does, which may do without one.
        return f"What gave no answer for too long: {error.context['place']}. {_STOOD_STILL}"
    if isinstance(error, TiersUnusable):
        return error.hint
    return error.hint if error.code in _OPEN_HINTS else told_code(error.code).hint


def waiting_hint(error: PlatformError) -> str:
    """What to do about what a recovery waits for, which is tried again in any case."""
    if error.code in _OVER_BY_ITSELF:
        return "Nothing is to be done: the recovery is tried again by itself."
    return told_hint(error)
