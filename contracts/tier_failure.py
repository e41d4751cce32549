"""What is wrong with one tier, as those who may see the run are told; no event of its own."""

import re
from collections.abc import Iterable, Sequence

import msgspec

from contracts.configuration import Tier

_AT = re.compile(r"(?P<hint>.*) The location is (?P<location>\S+)\.", re.DOTALL)


class TierFailure(msgspec.Struct, frozen=True):
    """What is wrong with a tier that ended a run, or took no part in it. An error has them as `failures`."""

    tier: Tier
    code: str
    hint: str


def at_location(hint: str, location: str) -> str:
    """A hint about a tier with the name of its location, by which an operator finds it and gives his commands."""
    named = hint.replace("LOCATION", location)
    return named if location in named else f"{named} The location is {location}."


def told_together(hints: Iterable[str]) -> str:
    """Several hints as one: what is to be done at several locations is said once, with all of them."""
    places: dict[str, dict[str, None]] = {}
    for hint in hints:
        found = _AT.fullmatch(hint)
        where = places.setdefault(found["hint"] if found else hint, {})
        if found:
            where[found["location"]] = None
    return " ".join(f"{hint}{_locations(list(where))}" for hint, where in places.items())


def _locations(names: Sequence[str]) -> str:
    if len(names) < 2:
        return f" The location is {names[0]}." if names else ""
    return f" The locations are {', '.join(names[:-1])} and {names[-1]}."
