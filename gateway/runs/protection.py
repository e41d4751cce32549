"""How well a source is kept: 3-2-1-1-0, rule by rule, and by what.

3 copies (the source and two tiers), on 2 kinds of media (location kinds of source and tiers), 1 of them offsite (any
tier but the local one), 1 that cannot be altered (a tier with an object lock), 0 errors (the latest run that ended was
complete, not degraded, and every tier that holds the recovery point was read back). A tier that is gone, or did not
answer when it was asked last, is no copy; without a recovery point no rule is kept.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from chassis.locations import Locations
from contracts.configuration import Destination, Tier
from contracts.errors import PlatformError
from gateway.runs.standing import SOURCE, Standing

COPIES_MIN: Final = 3
MEDIA_MIN: Final = 2
RULES: Final = ("three-copies", "two-media", "one-offsite", "one-immutable", "zero-errors")


class Judged(NamedTuple):
    """One rule, of one source. `by`: what speaks for it, also where that is not enough."""

    rule: str
    is_kept: bool
    by: tuple[str, ...] = ()


def judged(
    source_type: str, destinations: Mapping[Tier, Destination], standing: Standing, kinds: Mapping[str, str]
) -> list[Judged]:
    """The verdict on each of `RULES`, in their order. `kinds`: of locations, by their names."""
    if standing.held is None:
        return [Judged(rule, is_kept=False) for rule in RULES]
    holding = [tier for tier in standing.held if tier in destinations and tier not in standing.gone]
    media = sorted({source_type, *(kinds.get(destinations[tier].location, "") for tier in holding)} - {""})
    offsite = [tier for tier in holding if tier is not Tier.LOCAL]
    locked = [tier for tier in holding if destinations[tier].lock_days > 0 and tier not in standing.unlocked]
    read_back = holding if standing.is_verified else []
    return [
        Judged(RULES[0], 1 + len(holding) >= COPIES_MIN, (SOURCE, *holding)),
        Judged(RULES[1], len(media) >= MEDIA_MIN, tuple(media)),
        Judged(RULES[2], bool(offsite), tuple(offsite)),
        Judged(RULES[3], bool(locked), tuple(locked)),
        Judged(RULES[4], standing.ended == "completed" and standing.is_verified, (standing.ended, *read_back)),
    ]


async def kinds_of(locations: Locations, organisation: str) -> dict[str, str]:
    """The kinds of an organisation's locations; none where the registry cannot be read: they are not known then."""
    with suppress(PlatformError):
        return {location.name: location.kind for location in await locations.offered_to(organisation)}
    return {}
