"""What a configuration must keep so that a run of it can succeed: a submitted one in, every objection out. Pure.

Two look at it: the gateway, before anything is recorded, so that whoever submits it learns of all wrong fields at
once; and the config service, whose word is the record's.
"""

import re
from collections.abc import Callable, Iterator

import msgspec

from contracts import errors
from contracts.configuration import ConfigurationBody, Destination, SourceType, StorageDestinations, Tier
from contracts.errors import ErrorCode
from contracts.refusal import Objection

SOURCE = "source"
TIER = "tier"
S3 = "s3"
DIRECTORY = "directory"
POSTGRES = "postgres"

STORAGE_CLASSES = (
    "STANDARD",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "REDUCED_REDUNDANCY",
)
"""Classes of S3 whose objects are read at once. Those that must be thawed (GLACIER, DEEP_ARCHIVE) are not among them:
a run reads back what it has written, and each later one reads the repository's log."""
NAME_BYTES_MAX = 255
"""The longest name that a file system keeps."""

KIND_OF_SOURCE = {SourceType.DIRECTORY: DIRECTORY, SourceType.S3: S3, SourceType.POSTGRES: POSTGRES}
_PARENT = re.compile(r"(?:^|/)\.\.(?:/|\Z)")


class KnownLocation(msgspec.Struct, frozen=True, kw_only=True):
    """A registered location, as far as the rules look at it.

    `roles` are of `SOURCE` and `TIER`; `lock`: its store promises object locks; `place`: where it is, in one spelling,
    so that two names of one place are found out; `answers`: that could be told in time; `storage_classes`: those that
    its provider has; `against_source`: why what its disk shows can be no source, by the field that is to blame;
    `is_excluded_tier`: it lies in a folder that is never a tier.
    """

    name: str
    kind: str
    roles: tuple[str, ...]
    lock: bool = False
    place: str = ""
    answers: bool = True
    storage_classes: tuple[str, ...] = STORAGE_CLASSES
    against_source: Objection | None = None
    is_excluded_tier: bool = False


Find = Callable[[str], KnownLocation | None]


def names_in(source_location: str, storage_destinations: StorageDestinations) -> set[str]:
    """The locations that a configuration names."""
    return {source_location, *(each.location for each in storage_destinations.by_tier().values())}


def objections(
    *,
    source_type: SourceType,
    source_location: str,
    storage_destinations: StorageDestinations,
    leaves_out: bool = False,
    find: Find,
) -> Iterator[Objection]:
    """All that speaks against a configuration, in the order of the form. `find` gives an organisation's locations.

    `leaves_out`: something of the source is not to be backed up.

    That a location does not answer comes last: it can be otherwise at the next attempt, which all else cannot.
    """
    source = find(source_location)
    if source is None:
        yield objection(errors.UNKNOWN_LOCATION, "sourceLocation")
    elif SOURCE not in source.roles or source.kind != KIND_OF_SOURCE[source_type]:
        yield objection(
            errors.LOCATION_KIND_MISMATCH,
            "sourceLocation",
            f"Use a location of the kind {KIND_OF_SOURCE[source_type]} that has the role {SOURCE}.",
        )
    elif source.against_source is not None:
        yield source.against_source
    destinations = storage_destinations.by_tier()
    if not destinations:
        yield objection(errors.NO_DESTINATION, "storageDestinations")
    taken: dict[str, Tier] = {}
    for tier, destination in destinations.items():
        location = find(destination.location)
        for against in _against(tier, destination, location, source, taken):
            yield msgspec.structs.replace(against, field=f"storageDestinations.{tier.value}.{against.field}")
        if location is not None:
            taken.setdefault(_place(location), tier)
    if leaves_out and source_type is not SourceType.DIRECTORY:
        yield objection(errors.INVALID_FIELD, "exclude", "Of a bucket or a database nothing is left out.")
    if source is not None and not source.answers:
        yield _unusable(source, "sourceLocation")
    for tier, destination in destinations.items():
        location = find(destination.location)
        if location is not None and not location.answers:
            yield _unusable(location, f"storageDestinations.{tier.value}.location")


def _against(
    tier: Tier,
    destination: Destination,
    location: KnownLocation | None,
    source: KnownLocation | None,
    taken: dict[str, Tier],
) -> Iterator[Objection]:
    if location is None:
        yield objection(errors.UNKNOWN_LOCATION, "location")
        return
    if TIER not in location.roles:
        yield objection(errors.LOCATION_KIND_MISMATCH, "location", f"Use a location that has the role {TIER}.")
    elif tier is Tier.LOCAL and location.kind != DIRECTORY:
        yield objection(errors.LOCATION_KIND_MISMATCH, "location", f"Use a location of the kind {DIRECTORY}.")
    elif location.is_excluded_tier:
        yield objection(errors.DESTINATION_EXCLUDED, "location")
    if (other := taken.get(_place(location))) is not None:
        # Two tiers in one place are one tier: the loss of the place would be the loss of both.
        yield objection(errors.DESTINATION_TWICE, "location", f"The tier {other.value} is there; use another place.")
    if source is not None and _place(location) == _place(source):
        yield objection(errors.DESTINATION_IS_SOURCE, "location")
    if destination.lock_days and not location.lock:
        yield objection(errors.LOCK_NOT_SUPPORTED, "lockDays")
    if destination.storage_class and location.kind != S3:
        yield objection(
            errors.INVALID_FIELD,
            "storageClass",
            f"A location of the kind {location.kind} has no classes; leave it out.",
        )
    elif destination.storage_class and destination.storage_class not in location.storage_classes:
        known = ", ".join(location.storage_classes)
        yield objection(errors.INVALID_FIELD, "storageClass", f"Use one of {known}, or leave it out.")


def path_objection(path: str, field: str) -> Objection | None:
    """What speaks against a path below a location, as it is written; where it leads is told by `KnownLocation`."""
    if path.startswith("/") or _PARENT.search(path):
        return objection(errors.PATH_OUTSIDE_LOCATION, field)
    if any(len(name.encode()) > NAME_BYTES_MAX for name in path.split("/")):
        return objection(errors.INVALID_FIELD, field, f"No folder's name is longer than {NAME_BYTES_MAX} bytes.")
    return None


def _place(location: KnownLocation) -> str:
    return location.place or location.name


def _unusable(location: KnownLocation, field: str) -> Objection:
    hint = f"The disk of the location {location.name} does not answer. Ask the operator to mend it, then submit again."
    return Objection(errors.LOCATION_UNUSABLE, field, hint)


def objection(code: ErrorCode, field: str, hint: str = "") -> Objection:
    """An objection with the catalogue's hint, where there is no better one."""
    return Objection(code, field, hint or code.hint)


def taken_away(before: ConfigurationBody, after: ConfigurationBody) -> Iterator[str]:
    """What a change leaves unprotected that was protected, by the fields that say so, the form's first first.

    A tier's other place is one: the old one gets nothing any more.
    """
    for field, was, becomes in (
        ("sourceType", before.source_type, after.source_type),
        ("sourceLocation", before.source_location, after.source_location),
        ("sourceIdentifier", before.source_identifier, after.source_identifier),
    ):
        if was != becomes:
            yield field
    # Sealed: whether other patterns leave out less is not known here.
    if after.exclude is not None and after.exclude != before.exclude:
        yield "exclude"
    if after.exclude_caches and not before.exclude_caches:
        yield "excludeCaches"
    kept = after.storage_destinations.by_tier()
    for tier, had in before.storage_destinations.by_tier().items():
        field, has = f"storageDestinations.{tier.value}", kept.get(tier)
        if has is None:
            yield field
        elif has.location != had.location:
            yield f"{field}.location"
        elif has.lock_days < had.lock_days:
            yield f"{field}.lockDays"
        if has is not None and had.required and not has.required:
            yield f"{field}.required"
    # Around a critical wedding a schedule has a run each hour, and retention keeps every point, without one too.
    if before.is_wedding_critical and before.wedding_date is not None:
        if not after.is_wedding_critical:
            yield "isWeddingCritical"
        if after.wedding_date != before.wedding_date:
            yield "weddingDate"
