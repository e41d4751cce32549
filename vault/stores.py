"""From the names in a configuration to a source and to stores: through the registry, never around it.

A tenant names locations and paths below them; hosts, buckets, folders and credentials are the operator's. One
repository per organisation lies below each tier's address.
"""

import os
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from chassis.location import Location
from chassis.locations import Locations
from contracts import errors
from contracts.configuration import Destination
from contracts.errors import PlatformError
from repository.errors import AccessDenied, LocationInvalid, RepositoryError
from repository.tiers.location import open_tier, s3_options
from repository.tiers.port import ObjectStore
from repository.tiers.retry import RetryPolicy
from repository.tiers.s3.credentials import credentials_from_file
from repository.tiers.s3.options import CredentialsProvider, S3Credentials, S3Options
from sources.descriptors import OpenFolder
from sources.postgres.database import Database, secret_of
from vault.unusable import LocationUnknown, LocationUnusable, UnusableStore

# A tier that is not required may be down for days: a run does not wait for it as for one that it cannot do without.
PATIENCE_SECONDS_REQUIRED = 180.0
PATIENCE_SECONDS_OTHER = 20.0


def source_folder(locations: Locations, organisation: str, location_name: str, relative: str) -> OpenFolder:
    """The folder that a configuration means, open.

    Raises UNKNOWN_LOCATION, LOCATIONS_UNREADABLE, LOCATION_KIND_MISMATCH, PATH_OUTSIDE_LOCATION, SOURCE_UNREACHABLE.

    Symlinks are resolved before the look at where the path leads, so that none of them leads out of the location. From
    then on none is followed: a tenant that may write below the location could put one there after the look.
    """
    location = _source(locations, organisation, location_name)
    if location.kind != "directory":
        raise PlatformError(errors.LOCATION_KIND_MISMATCH, "the source's location is not a directory")
    root = os.path.realpath(folder_of(location))
    path = os.path.realpath(os.path.join(root, os.fsencode(relative)))
    if path != root and not path.startswith(root.rstrip(b"/") + b"/"):
        raise PlatformError(errors.PATH_OUTSIDE_LOCATION, "the source's path leaves its location")
    try:
        return OpenFolder(root, os.path.relpath(path, root) if path != root else b"")
    except OSError as error:
        raise PlatformError(errors.SOURCE_UNREACHABLE, "the source's folder is not there") from error


def source_bucket(
    locations: Locations,
    keys_dir: Path,
    organisation: str,
    location_name: str,
    relative: str,
    *,
    patience_seconds: float = PATIENCE_SECONDS_REQUIRED,
) -> S3Options:
    """The part of a bucket that a configuration means: what is below its prefix in the location. Nothing is asked.

    Raises as `source_folder`, and `LocationUnusable` where the location is not set up as it must be.
    """
    location = _source(locations, organisation, location_name)
    if location.kind != "s3":
        raise PlatformError(errors.LOCATION_KIND_MISMATCH, "the source's location is no bucket")
    credentials = _credentials(keys_dir, location, location.name)
    if credentials is not None:
        credentials()
    try:
        options, _ = s3_options(
            location.url, credentials=credentials, retry=RetryPolicy(budget_seconds=patience_seconds)
        )
    except (LocationInvalid, ValueError) as error:
        raise LocationUnusable(f"the address of the location {location.name} is not valid: {error}") from error
    prefix = f"{options.prefix}{relative}"
    return replace(options, prefix=prefix if not prefix or prefix.endswith("/") else f"{prefix}/")


def source_database(
    locations: Locations, keys_dir: Path, organisation: str, location_name: str, relative: str
) -> Database:
    """The database that a configuration means. Nothing is asked.

    Raises as `source_folder`, and `LocationUnusable` where the location is not set up as it must be.
    """
    location = _source(locations, organisation, location_name)
    if location.kind != "postgres":
        raise PlatformError(errors.LOCATION_KIND_MISMATCH, "the source's location is no database")
    if relative:
        raise PlatformError(errors.PATH_OUTSIDE_LOCATION, "a database is saved whole, and a part of it is named")
    try:
        if location.credentials is None:
            return Database(location.url)
        path = _credentials_path(keys_dir, location.credentials)
        read = secret_of(path, owner_only=False)
        return Database(location.url, lambda: read().password, user=read().user)
    except AccessDenied as error:
        raise LocationUnusable(
            f"the credentials of the location {location.name} cannot be read ({error.message}): the folder "
            f"credentials of WEDSYNC_KEYS_DIR needs a file {path.name} with password"
        ) from error
    except LocationInvalid as error:
        raise LocationUnusable(f"the address of the location {location.name} is not valid: {error}") from error


def tier_store(
    locations: Locations, keys_dir: Path, organisation: str, tier: str, destination: Destination
) -> ObjectStore:
    """The store that holds an organisation's repository on one tier, under its name. Nothing is connected to yet.

    An `UnusableStore` where the location is not registered, or not set up as it must be. Raises LOCATIONS_UNREADABLE.
    """
    location = find_location(locations, organisation, destination.location, role="tier")
    if location is None:
        if locations.is_faulty(destination.location, organisation):
            reason = f"the entry of the location {destination.location} in the registry cannot be used"
            return UnusableStore(tier, LocationUnusable(reason, tier=tier))
        reason = "no tier location of this name is open to the organisation"
        return UnusableStore(tier, LocationUnknown(reason, tier=tier, location=destination.location))
    return location_store(
        keys_dir,
        location,
        organisation,
        name=tier,
        patience_seconds=patience_of(destination),
        storage_class=destination.storage_class,
    )


def place_mark(
    locations: Locations, keys_dir: Path, organisation: str, tier: str, destination: Destination
) -> Hashable | None:
    """What `tier_store` makes the store of; None where it is not registered, or its credentials cannot be seen."""
    location = find_location(locations, organisation, destination.location, role="tier")
    if location is None:
        return None
    credentials = None
    if location.kind == "s3" and location.credentials is not None:
        try:
            found = _credentials_path(keys_dir, location.credentials).stat()
        except OSError:
            return None
        credentials = (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
    return (tier, location, destination.storage_class, patience_of(destination), credentials)


def patience_of(destination: Destination) -> float:
    """How long a run waits for a tier that does not answer, in seconds."""
    return PATIENCE_SECONDS_REQUIRED if destination.required else PATIENCE_SECONDS_OTHER


def repository_url(location: Location, organisation: str) -> str:
    """The address of an organisation's repository at a location, as `repo` takes it, too."""
    parts = urlsplit(location.url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{organisation}"))


def location_store(
    keys_dir: Path,
    location: Location,
    organisation: str,
    *,
    name: str,
    patience_seconds: float,
    storage_class: str | None = None,
) -> ObjectStore:
    """The store that holds an organisation's repository at a location, under the name of a tier.

    An `UnusableStore` where the location is not set up as it must be.
    """
    url = repository_url(location, organisation)
    if storage_class and location.kind == "s3":
        separator = "&" if urlsplit(url).query else "?"
        # Written by a tenant: quoted, it can name no option of its own (another server, a weaker lock).
        url += f"{separator}storage-class={quote(storage_class, safe='')}"
    try:
        credentials = _credentials(keys_dir, location, name)
        if credentials is not None:
            credentials()
        return open_tier(
            url,
            name=name,
            credentials=credentials,
            retry=RetryPolicy(budget_seconds=patience_seconds) if location.kind == "s3" else None,
            # The operator's own folder, perhaps a mount point, is never made: the disk may not be mounted.
            within=os.fsdecode(folder_of(location)) if location.kind == "directory" else None,
        )
    except (LocationInvalid, ValueError) as error:
        reason = f"the address of the location {location.name} is not valid: {error}"
        return UnusableStore(name, LocationUnusable(reason, tier=name))
    except RepositoryError as error:
        return UnusableStore(name, error)


def tier_folder(locations: Locations, organisation: str, location_name: str) -> bytes | None:
    """The folder of a location that is a directory; None for any other, or where it is not registered."""
    location = find_location(locations, organisation, location_name, role="tier")
    return folder_of(location) if location is not None and location.kind == "directory" else None


def folder_of(location: Location) -> bytes:
    """The folder that the address of a directory names."""
    return os.fsencode(unquote(urlsplit(location.url).path, errors="surrogateescape"))


def _source(locations: Locations, organisation: str, name: str) -> Location:
    location = find_location(locations, organisation, name, role="source")
    if location is not None:
        return location
    if locations.is_faulty(name, organisation):
        raise PlatformError(errors.LOCATIONS_UNREADABLE, "the entry of the source's location cannot be used")
    raise PlatformError(errors.UNKNOWN_LOCATION, "no source location of this name is open to the organisation")


def find_location(locations: Locations, organisation: str, name: str, *, role: str) -> Location | None:
    """A location that an organisation may use in a role; None where there is none. Raises LOCATIONS_UNREADABLE."""
    location = locations.find(name, organisation)
    return location if location is not None and role in location.roles else None


def credentials_file(keys_dir: Path, location: Location) -> Path | None:
    """Where a location's credentials lie; None where it has none."""
    return None if location.credentials is None else _credentials_path(keys_dir, location.credentials)


def _credentials_path(keys_dir: Path, name: str) -> Path:
    return keys_dir / "credentials" / f"{name}.json"


def _credentials(keys_dir: Path, location: Location, tier: str) -> CredentialsProvider | None:
    if location.kind != "s3" or location.credentials is None:
        return None
    path = _credentials_path(keys_dir, location.credentials)
    read = credentials_from_file(path, owner_only=False)

    def provide() -> S3Credentials:
        try:
            return read()
        except AccessDenied as error:
            raise LocationUnusable(
                f"the credentials of the location {location.name} cannot be read ({error.message}): the folder "
                f"credentials of WEDSYNC_KEYS_DIR needs a file {path.name} with accessKeyId and secretAccessKey",
                tier=tier,
            ) from error

    return provide
