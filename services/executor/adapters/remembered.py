"""An organisation's repository, opened at all locations where it is remembered: what cleanups and repairs work on.

It begins nothing, and joins nothing: a location that is gone or shows an older state is told, and not written to. It is
opened for itself, beside runs that have it open: what forgets, prunes and repairs needs no locks (ADR 0056).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from chassis.life.signs import Signs
from chassis.locations import Locations
from contracts import errors
from repository.opened.repository import Repository
from services.executor.adapters.begun import BegunRepositories
from vault.places import Place
from vault.reading import reading_place
from vault.repositories import Repositories
from vault.translation import code_of, hint_of, translated


class Remembered(NamedTuple):
    """An open repository, whose tiers are called by their locations. `note`: remembers how far its logs go."""

    repository: Repository
    places: Mapping[str, Place]
    note: Callable[[], None]


class RememberedRepositories:
    """Opens them. Blocking."""

    def __init__(self, *, locations: Locations, keys_dir: Path, begun: BegunRepositories) -> None:
        self._locations = locations
        self._keys_dir = keys_dir
        self._begun = begun
        self._repositories = Repositories(begun, keys_dir, place_at=self._place)

    def _place(self, organisation: str, location: str) -> Place:
        return reading_place(self._locations, self._keys_dir, organisation, location, location)

    def open(self, organisation: str, signs: Signs) -> Remembered | None:
        """Open what is remembered; None where nothing is. Raises what keeps it from that."""
        places = {location: self._place(organisation, location) for location in self._begun.of(organisation)}
        if not places:
            return None
        signs.at("opening", f"the tiers at {', '.join(places)}", errors.TIER_UNREACHABLE)
        try:
            with translated(places):
                repository = self._repositories.open(organisation, list(places.values()), signs)
        except BaseException:
            for place in places.values():
                place.store.close()
            raise

        def note() -> None:
            self._repositories.remember(organisation, repository, list(places.values()))

        return Remembered(repository, places, note)


def why_not(error: Exception | None, place: Place) -> tuple[str, str]:
    """The code and the hint of what kept a location from taking part."""
    found = code_of(error)
    found = errors.TIER_UNUSABLE if found is errors.INTERNAL else found
    return found.code, hint_of(found, error, place)
