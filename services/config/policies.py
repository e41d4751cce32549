"""Rules of configurations: a submitted one in, the first objection out. Pure."""

import re
from collections.abc import Callable

import msgspec

from contracts import errors
from contracts.configuration import ConfigurationBody, Destination, SourceType, Tier
from contracts.errors import ErrorCode
from services.config.ports import SOURCE, TIER, KnownLocation

Find = Callable[[str], KnownLocation | None]

# As providers name their classes; what is in force is a word in requests to them and nothing else.
_STORAGE_CLASS = re.compile(r"[A-Za-z0-9_-]*")
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
    if source is None:
        return Objection(errors.UNKNOWN_LOCATION, "sourceLocation")
    if SOURCE not in source.roles or source.kind != _KIND_OF_SOURCE[body.source_type]:
        return Objection(errors.LOCATION_KIND_MISMATCH, "sourceLocation")
    taken: set[str] = set()
    for tier, destination in destinations.items():
        field = f"storageDestinations.{tier.value}"
        objection = _against(tier, destination, find(destination.location), taken)
        if objection is not None:
            return Objection(objection.code, f"{field}.{objection.field}")
        taken.add(destination.location)
    return None


def _against(tier: Tier, destination: Destination, location: KnownLocation | None, taken: set[str]) -> Objection | None:
    if location is None:
        return Objection(errors.UNKNOWN_LOCATION, "location")
    if TIER not in location.roles or (tier is Tier.LOCAL and location.kind != "directory"):
        return Objection(errors.LOCATION_KIND_MISMATCH, "location")
    if destination.location in taken:
        # Two tiers in one place are one tier: the loss of the place would be the loss of both.
        return Objection(errors.DESTINATION_TWICE, "location")
    if destination.lock_days and not location.lock:
        return Objection(errors.LOCK_NOT_SUPPORTED, "lockDays")
    if not _STORAGE_CLASS.fullmatch(destination.storage_class):
        return Objection(errors.INVALID_FIELD, "storageClass")
    return None
