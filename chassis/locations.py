"""Locations: the endpoints, buckets and directories that an operator has registered.

Tenants never name hosts or paths; a configuration refers to a location by its name. The registry is one JSON file,
written by the operator or by the embedded stack, read again when it has changed:

    {"locations": [{"name": "local", "kind": "directory", "roles": ["tier"], "organisations": ["*"],
                    "url": "file:///srv/backup"},
                   {"name": "offsite", "kind": "s3", "roles": ["tier"], "organisations": ["*"],
                    "url": "s3://bucket/prefix?endpoint=https://…&region=…", "credentials": "offsite", "lock": true}]}

`credentials` names a file `<name>.json` in the folder `credentials` of the keys folder, with `accessKeyId` and
`secretAccessKey`; the values are never in the registry.
"""

from pathlib import Path
from typing import Literal

import msgspec

from contracts import errors
from contracts.configuration import LocationName
from contracts.errors import PlatformError

ANY_ORGANISATION = "*"


class Location(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One registered place. `lock`: the store promises object locks. `region` is for people to read."""

    name: LocationName
    kind: Literal["directory", "s3"]
    roles: tuple[Literal["source", "tier"], ...]
    organisations: tuple[str, ...]
    url: str
    credentials: str | None = None
    region: str | None = None
    lock: bool = False

    def is_open_to(self, organisation: str) -> bool:
        """Whether an organisation may use this location."""
        return ANY_ORGANISATION in self.organisations or organisation in self.organisations


class _Registry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    locations: tuple[Location, ...]


class Locations:
    """The registry, as it is in its file now. Thread-safe: readers see one whole version or another."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[tuple[int, int, int], dict[str, Location]] | None = None

    def of_organisation(self, organisation: str) -> list[Location]:
        """What an organisation may use, by name. Raises INVALID_SETTING where the file cannot be read."""
        return sorted(
            (location for location in self._read().values() if location.is_open_to(organisation)),
            key=lambda location: location.name,
        )

    def tiers(self) -> list[Location]:
        """Every location that holds tiers, whoever may use it, by name. Raises INVALID_SETTING."""
        found = (location for location in self._read().values() if "tier" in location.roles)
        return sorted(found, key=lambda location: location.name)

    def find(self, name: str, organisation: str) -> Location | None:
        """A location by its name; None also where it is not the organisation's to use."""
        location = self._read().get(name)
        return location if location is not None and location.is_open_to(organisation) else None

    def _read(self) -> dict[str, Location]:
        try:
            stat = self._path.stat()
            mark = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            seen = self._seen
            if seen is not None and seen[0] == mark:
                return seen[1]
            registry = msgspec.json.decode(self._path.read_bytes(), type=_Registry)
        except (OSError, msgspec.MsgspecError) as error:
            raise PlatformError(
                errors.INVALID_SETTING,
                f"the registry of locations cannot be read: {error}",
                field="WEDSYNC_LOCATIONS_FILE",
                hint="Point WEDSYNC_LOCATIONS_FILE at a JSON file as chassis/locations.py describes it.",
            ) from error
        by_name = {location.name: location for location in registry.locations}
        self._seen = (mark, by_name)
        return by_name
