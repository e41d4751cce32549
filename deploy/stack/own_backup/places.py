"""Where the platform saves itself: tiers that can be read when nothing of it runs.

An operator names them; until then they are the home's local tier, and every tier that is registered for all
organisations. The stack's own S3 servers are none: their data is read by their processes alone.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from chassis.location import ANY_ORGANISATION, Location
from contracts import errors
from contracts.errors import PlatformError
from deploy.stack.layout import Layout
from deploy.stack.locations import LOCAL, OWN, directory_url, registered
from deploy.stack.own_backup.memory import Memory
from vault.stores import credentials_file, repository_url

FOLDER = "platform-self-backup"
"""Its repository's own folder at each place, beside those of the organisations."""


class Place(msgspec.Struct, frozen=True):
    """A tier of the platform's own backup, as `repo` takes it. `credentials`: their file, where it needs any."""

    name: str
    url: str
    credentials: Path | None

    def words(self) -> list[str]:
        """The options of `repo`."""
        named = ["--tier", f"{self.name}={self.url}"]
        return [*named, "--credentials", f"{self.name}=file:{self.credentials}"] if self.credentials else named


def places_of(layout: Layout, memory: Memory) -> list[Place]:
    """The tiers that count now. Raises UNKNOWN_LOCATION for a name that is registered no more, HOME_UNUSABLE."""
    found = {each.name: each for each in registered(layout) if "tier" in each.roles and each.kind != "postgres"}
    names = memory.tiers or [name for name, each in found.items() if _is_usual(each)]
    if unknown := [name for name in names if name not in found]:
        raise PlatformError(
            errors.UNKNOWN_LOCATION,
            f"the platform's own backup is to lie on {', '.join(unknown)}, which is no registered tier",
            field="tier",
            hint="Register it again (wedsync-backup location add NAME --role tier --url URL), or name others: "
            f"wedsync-backup self-backup kit --tier NAME. There are: {', '.join(sorted(found))}.",
        )
    return [_place(layout, found[name]) for name in names]


def refuse_useless(names: Sequence[str]) -> None:
    """Raise INVALID_FIELD for tiers that nobody can read once the platform is gone."""
    if useless := sorted(OWN.difference({LOCAL}).intersection(names)):
        raise PlatformError(
            errors.INVALID_FIELD,
            f"{', '.join(useless)} cannot be read when the platform does not run: its server is a part of it",
            field="tier",
            hint="Name a folder on another disk, or a bucket elsewhere.",
        )


def all_within(layout: Layout, places: Sequence[Place]) -> bool:
    """Whether none of the places outlives the home's disk, as far as addresses tell."""
    return all(each.url.startswith(f"{directory_url(layout.data)}/") for each in places)


def _is_usual(location: Location) -> bool:
    return ANY_ORGANISATION in location.organisations and (location.name == LOCAL or location.name not in OWN)


def _place(layout: Layout, location: Location) -> Place:
    credentials = credentials_file(layout.platform_keys, location) if location.kind == "s3" else None
    return Place(location.name, repository_url(location, FOLDER), credentials)
