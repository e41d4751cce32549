"""Whether the tiers that a run cannot do without take anything."""

from collections.abc import Mapping

from contracts import errors
from contracts.configuration import Destination, Tier
from contracts.errors import PlatformError
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from vault.places import Place
from vault.translation import failure_of


def require_tiers(
    repository: Repository, destinations: Mapping[Tier, Destination], places: Mapping[str, Place]
) -> None:
    """Raise for the first required tier that takes nothing, and say so of every tier."""
    away = {
        tier: opened
        for tier in destinations
        if not ((opened := repository.tier(tier.value)).is_ready or opened.state is TierState.EMPTY)
    }
    for tier, opened in away.items():
        if destinations[tier].required:
            failure = failure_of(tier, opened.error, places[tier.value])
            hint = f"The tier {tier.value} takes nothing [{failure.code}]: {failure.hint}"
            found = f": {opened.error.message}" if opened.error is not None else ""
            raise PlatformError(
                errors.REQUIRED_TIER_FAILED,
                f"a required tier cannot be written to{found}",
                hint=hint,
                tier=tier,
                failures=[failure_of(each, lacking.error, places[each.value]) for each, lacking in away.items()],
            )
