"""The registry of locations, as far as the rules look at it."""

from chassis.locations import Locations
from contracts.configuration_rules import KnownLocation


class RegisteredLocations:
    """`LocationRegistry` on the operators' file."""

    def __init__(self, locations: Locations) -> None:
        self._locations = locations

    def find(self, name: str, organisation: str) -> KnownLocation | None:
        """A location that the organisation may use, or None."""
        found = self._locations.find(name, organisation)
        return None if found is None else found.known()
