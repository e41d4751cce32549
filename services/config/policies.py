"""Rules of configurations: a submitted one in, the first objection out. Pure."""

from collections.abc import Callable

import msgspec

from contracts import errors
from contracts.configuration import ConfigurationBody, SourceType, Tier
from contracts.errors import ErrorCode
from services.config.ports import KnownLocation

Find = Callable[[str], KnownLocation | None]

_KIND_OF_SOURCE = {SourceType.DIRECTORY: "directory"}


class Objection(msgspec.Struct, frozen=True):
    """Why a configuration is refused: a code of the catalogue and the JSON path of the field."""

    code: ErrorCode
    field: str


def when_configuration_submitted(body: ConfigurationBody, find: Find) -> Objection | None:
    """What speaks against a configuration, or None. `find` gives the organisation's locations by name."""
    destinations = body.storage_destinations.by_tier()
    if not destinations:
        return Objection(errors.NO_DESTINATION, "storageDestinations")
    source = find(body.source_location)
    if source is None or "source" not in source.roles:
        return Objection(errors.UNKNOWN_LOCATION, "sourceLocation")
    if source.kind != _KIND_OF_SOURCE[body.source_type]:
        return Objection(errors.LOCATION_KIND_MISMATCH, "sourceLocation")
    seen: dict[str, Tier] = {}
    for tier, destination in destinations.items():
        field = f"storageDestinations.{tier.value}"
        location = find(destination.location)
        if location is None or "tier" not in location.roles:
            return Objection(errors.UNKNOWN_LOCATION, f"{field}.location")
        if tier is Tier.LOCAL and location.kind != "directory":
            return Objection(errors.LOCATION_KIND_MISMATCH, f"{field}.location")
        if destination.location in seen:
            # Two tiers in one place are one tier: the loss of the place would be the loss of both.
            return Objection(errors.DESTINATION_TWICE, f"{field}.location")
        if destination.lock_days and not location.lock:
            return Objection(errors.LOCK_NOT_SUPPORTED, f"{field}.lockDays")
        seen[destination.location] = tier
    return None
