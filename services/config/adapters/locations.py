"""The registry of locations, as far as the rules look at it."""

from chassis.locations import Locations
from services.config.ports import KnownLocation


class RegisteredLocations:
    """`LocationRegistry` on the operators' file."""

    def __init__(self, locations: Locations) -> None:
        self._locations = locations

    def find(self, name: str, organisation: str) -> KnownLocation | None:
        """A location that the organisation may use, or None."""
        found = self._locations.find(name, organisation)
        if found is None:
            return None
        return KnownLocation(name=found.name, kind=found.kind, roles=found.roles, lock=found.lock)
