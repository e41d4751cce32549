"""What is said of locations: with as many names as there is room for, and with what attempts cut off had begun."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from contracts.repair_events import PlaceRepaired

NAMED_MAX = 100
"""So many objects are named of each kind and location."""
PLACES_MAX = 250
"""Without names and hints an event has room for so many."""


def named(places: Sequence[PlaceRepaired], most: int) -> tuple[PlaceRepaired, ...]:
    """These places, each with so many objects of each kind at most. Without any name also hints go, and places."""
    if not most:
        return tuple(_named(replace(place, hint=""), 0) for place in places[:PLACES_MAX])
    return tuple(_named(place, most) for place in places)


def with_earlier(place: PlaceRepaired, first: PlaceRepaired, interrupted: int) -> PlaceRepaired:
    """A place as the last attempt leaves it, with what the `first` one found there before anything was changed."""
    known = {(each.problem, each.object_key) for each in first.found}
    since = tuple(each for each in place.found if (each.problem, each.object_key) not in known)
    return replace(
        place,
        damaged=max(first.damaged + len(since), place.damaged),
        needed_bytes=max(first.needed_bytes, place.needed_bytes),
        found=first.found + since,
        interrupted=interrupted,
    )


def _named(place: PlaceRepaired, most: int) -> PlaceRepaired:
    found, done, unrepaired = place.found[:most], place.done[:most], place.unrepaired[:most]
    unnamed = _more(place.damaged, found) + _more(place.repaired, done) + _more(place.left, unrepaired)
    return replace(place, found=found, done=done, unrepaired=unrepaired, unnamed=unnamed)


def _more(counted: int, told: Iterable[object]) -> int:
    return max(0, counted - len(tuple(told)))
