"""What the repository's errors are called in the platform's catalogue."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from chassis.life.blocking import RunInterrupted
from contracts import errors
from contracts.configuration import Tier
from contracts.errors import ErrorCode, PlatformError
from contracts.tier_failure import TierFailure, at_location
from repository.errors import BackupCancelled, NoUsableTier, RepositoryError, RestoreCancelled, TiersExchanged
from vault.joining import OfAnotherOwner
from vault.places import Place

_log = logging.getLogger(__name__)

_BY_CODE: dict[str, ErrorCode] = {
    "tier-full": errors.TIER_FULL,
    "place-in-use": errors.PLACE_IN_USE,
    "tier-vanished": errors.TIER_VANISHED,
    "tier-read-only": errors.TIER_READ_ONLY,
    "repository-away": errors.REPOSITORY_AWAY,
    "other-repository": errors.OTHER_REPOSITORY,
    "location-invalid": errors.TIER_UNUSABLE,
    "bucket-missing": errors.TIER_UNUSABLE,
    "location-unusable": errors.LOCATION_UNUSABLE,
    "unknown-location": errors.UNKNOWN_LOCATION,
    "object-archived": errors.TIER_UNUSABLE,
    "place-blocked": errors.TIER_UNUSABLE,
    "object-locked": errors.TIER_UNUSABLE,
    "legal-hold-not-set": errors.LOCK_NOT_PROVEN,
    "lock-not-proven": errors.LOCK_NOT_PROVEN,
    "tier-behind": errors.TIER_BEHIND,
    "log-contended": errors.TIER_BEHIND,
    "pack-marked": errors.TIER_BEHIND,
    "wrong-key": errors.KEYS_UNUSABLE,
    "key-file-invalid": errors.KEYS_UNUSABLE,
    "key-unavailable": errors.KEYS_UNREACHABLE,
    "unknown-key": errors.KEYS_UNUSABLE,
    "keys-not-opened": errors.KEYS_UNUSABLE,
    "damaged": errors.VERIFICATION_FAILED,
    "checksum-mismatch": errors.VERIFICATION_FAILED,
    "object-missing": errors.VERIFICATION_FAILED,
    "object-truncated": errors.VERIFICATION_FAILED,
    "chunk-not-in-index": errors.VERIFICATION_FAILED,
    "replayed-older-state": errors.TIER_ROLLED_BACK,
    "tiers-exchanged": errors.TIER_ROLLED_BACK,
    "repository-exists": errors.TIER_UNUSABLE,
    "not-a-repository": errors.TIER_UNUSABLE,
    "unsupported-format": errors.TIER_UNUSABLE,
    "tier-access-denied": errors.TIER_UNREACHABLE,
    "tier-unreachable": errors.TIER_UNREACHABLE,
    "no-usable-tier": errors.TIER_UNREACHABLE,
    "tier-error": errors.TIER_UNREACHABLE,
    "clock-skewed": errors.TIER_CLOCK_DIFFERS,
    "source-unreachable": errors.SOURCE_UNREACHABLE,
    "source-excluded": errors.SOURCE_EXCLUDED,
    "restore-refused": errors.TARGET_NOT_EMPTY,
    "target-failed": errors.TARGET_UNUSABLE,
    "snapshot-not-found": errors.RECOVERY_POINT_MISSING,
}

_HINTS_BY_NAMES = frozenset({errors.TIER_VANISHED, errors.REPOSITORY_AWAY, errors.OTHER_REPOSITORY})
"""Codes whose hints say what to do by names that the organisation knows: of tiers, locations and itself."""


_LOGGED = frozenset(
    {"tier", "object_key", "key", "id", "snapshot", "number", "pack", "packs", "stream", "size", "length"}
)
"""What a log is told of an error's context: no path of a source, which may name people."""


def code_of(error: BaseException | None) -> ErrorCode:
    """The catalogue's entry for whatever a tier or a source answered."""
    if isinstance(error, PlatformError):
        return error.code
    if isinstance(error, RepositoryError):
        # Where no tier is of use, and all of them for one reason, it is that one.
        reasons = {code_of(cause) for cause in error.causes} if isinstance(error, NoUsableTier) else ()
        return next(iter(reasons)) if len(reasons) == 1 else _BY_CODE.get(error.code, errors.INTERNAL)
    return errors.INTERNAL


@contextmanager
def translated(places: Mapping[str, Place] = MappingProxyType({})) -> Iterator[None]:
    """Turn the repository's errors into the platform's; what was cancelled into `RunInterrupted`.

    `places`: of the tiers, by their names.
    """
    try:
        yield
    except (BackupCancelled, RestoreCancelled) as error:
        raise RunInterrupted from error
    except RepositoryError as error:
        _log.warning("the repository refused", extra={"code": error.code, **facts(error)})
        raise PlatformError(
            code_of(error),
            error.message,
            hint=error.hint,
            repository_code=error.code,
            tier=_tier_of(error),
            failures=[
                failure_of(tier, each, places.get(tier.value))
                for each in error.causes or [error]
                if (tier := _tier_of(each)) and code_of(each) is not errors.KEYS_UNUSABLE
            ],
        ) from error


def failure_of(tier: Tier, error: RepositoryError | None, place: Place | None) -> TierFailure:
    """What is wrong with a tier, as those who may see the run are told."""
    code = code_of(error)
    if code is errors.INTERNAL:
        code = errors.TIER_UNUSABLE
    return TierFailure(tier, code.code, hint_of(code, error, place))


def hint_of(code: ErrorCode, error: BaseException | None, place: Place | None) -> str:
    """What to do about a tier's error, in words for those who may see the run: no path, and its location by name."""
    hint = code.hint
    if isinstance(error, TiersExchanged):
        hint = TiersExchanged.hint
    elif isinstance(error, RepositoryError):
        if code in _HINTS_BY_NAMES or isinstance(error, OfAnotherOwner):
            hint = error.hint
        elif code is errors.TIER_UNREACHABLE and place is not None and place.folder is not None:
            # A folder has no endpoint and no credentials; what is said of it is said in words without a path.
            hint = (
                f"The folder of the location {place.location} cannot be used: {error.message}. Ask the operator to look"
                " whether its disk is mounted, what lies in its place, and who may use it; the next run, or a retry,"
                " goes on."
            )
    return hint if place is None else at_location(hint, place.location)


def facts(error: RepositoryError) -> dict[str, object]:
    """What a log may know of an error: its message, and of its context ids, names of tiers and keys of objects."""
    context = ", ".join(f"{name} {value}" for name, value in error.context.items() if name in _LOGGED)
    return {"reason": error.message, "context": context}


def _tier_of(error: RepositoryError) -> Tier | None:
    name = error.context.get("tier")
    return next((tier for tier in Tier if tier.value == name), None)
