"""Which locations of a configuration are registered, as the deciding process asks before it takes a run on."""

import logging
from collections.abc import Collection

from chassis.locations import Locations
from contracts.configuration import ConfigurationBody
from contracts.errors import PlatformError

_log = logging.getLogger(__name__)


class RegisteredLocations:
    """`Registry` on the file of locations."""

    def __init__(self, locations: Locations) -> None:
        self._locations = locations

    async def lacking(self, organisation: str, body: ConfigurationBody) -> Collection[str]:
        """What is not registered. Where the registry cannot be read, the run is taken on, and waits for it."""
        destinations = body.storage_destinations.by_tier().values()
        wanted = [(body.source_location, "source"), *((each.location, "tier") for each in destinations)]
        try:
            return await self._locations.not_open(wanted, organisation)
        except PlatformError as error:
            _log.warning("which locations are registered is not known", extra={"code": error.code.code})
            return ()
