"""What is wrong with one tier, as those who may see the run are told; no event of its own."""

import msgspec

from contracts.configuration import Tier


class TierFailure(msgspec.Struct, frozen=True):
    """What is wrong with a tier that ended a run, or took no part in it. An error has them as `failures`."""

    tier: Tier
    code: str
    hint: str


def at_location(hint: str, location: str) -> str:
    """A hint about a tier with the name of its location, by which an operator finds it and gives his commands."""
    named = hint.replace("LOCATION", location)
    return named if location in named else f"{named} The location is {location}."
