"""What is told of a run that has failed: in the clear, and in its sealed report."""

from collections.abc import Sequence

import msgspec

from chassis.telemetry.logging import describe
from contracts import errors
from contracts.configuration import Tier
from contracts.errors import ErrorCode, PlatformError
from contracts.tier_failure import TierFailure, told_together
from services.executor.kept import Replica

_OPEN_HINTS = frozenset(
    {
        errors.REQUIRED_TIER_FAILED,
        errors.TIER_FULL,
        errors.TIER_VANISHED,
        errors.REPOSITORY_AWAY,
        errors.OTHER_REPOSITORY,
    }
)
"""Codes whose errors say what to do by the names of tiers and locations, which the organisation knows."""
_OVER_BY_ITSELF = frozenset({errors.UNAVAILABLE, errors.CONCURRENT_CHANGE})
"""Codes whose hints speak to whoever has asked for something: here nobody is to ask again."""


def failure_report(
    error: PlatformError, tier: Tier | None, configuration: Replica | None, found: bytes | None
) -> bytes:
    """All that is known of why a run failed; for the eyes of its organisation, so it is sealed."""
    failure: dict[str, object] = {
        "code": error.code.code,
        "reason": error.message,
        "hint": error.hint,
        "cause": describe(error),
        "context": {name: str(value) for name, value in error.context.items()},
    }
    if configuration is not None:
        body = configuration.body
        failure["configurationVersion"] = configuration.version
        failure["sourceLocation"] = body.source_location
        destination = body.storage_destinations.by_tier().get(tier) if tier is not None else None
        if destination is not None:
            failure["tierLocation"] = destination.location
    if tier is not None:
        failure["tier"] = tier.value
    return msgspec.json.encode({"failure": failure, "found": msgspec.Raw(found) if found is not None else None})


def told_code(code: ErrorCode) -> ErrorCode:
    """The code that whoever may see the run is told: the names of settings are the operator's."""
    return errors.LOCATION_UNUSABLE if code is errors.INVALID_SETTING else code


def told_hint(error: PlatformError, tier: Tier | None) -> str:
    """What to do, in words without paths and settings: the error's own where they are known to be such.

    What was found out about the tiers that it is about says more than the code, by the names of their locations.
    """
    code = told_code(error.code)
    about = [each for each in failures_of(error) if tier in (None, each.tier) and each.code == code.code]
    of_tiers = told_together(each.hint for each in about)
    hint = error.hint if error.code in _OPEN_HINTS else of_tiers or code.hint
    return hint if tier is None or f" {tier.value} " in hint else f"{hint} The tier is {tier.value}."


def waiting_hint(error: PlatformError) -> str:
    """What to do about what a run waits for, which is tried again in any case."""
    if error.code in _OVER_BY_ITSELF:
        return "Nothing is to be done: the run is tried again by itself."
    return told_hint(error, tier_of(error))


def tier_of(error: PlatformError) -> Tier | None:
    """The tier that an error is about."""
    tier = error.context.get("tier")
    return tier if isinstance(tier, Tier) else None


def failures_of(error: PlatformError) -> Sequence[TierFailure]:
    """What is wrong with the tiers that the error is about."""
    failures = error.context.get("failures")
    return failures if isinstance(failures, list) else []
