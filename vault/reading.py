"""An organisation's repository, opened to be read: nothing is begun, joined, noted or judged by what was seen before.

What is read is authenticated by the repository's keys and hashes to the ids of the snapshot that is named: a tier that
shows an older state either has that snapshot whole, or is passed over.
"""

from collections.abc import Sequence
from pathlib import Path

from chassis.key_errors import unreadable
from chassis.life.signs import Signs
from chassis.locations import Locations
from contracts import errors
from contracts.configuration import Destination
from contracts.errors import PlatformError
from repository.keys.key_file import KeyFile
from repository.opened.opening import Patience
from repository.opened.repository import Repository
from repository.tiers.port import ObjectStore
from vault.key_files import name_of
from vault.places import Place, without_silent
from vault.stores import patience_of, tier_folder, tier_store


def reading_place(locations: Locations, keys_dir: Path, organisation: str, name: str, location: str) -> Place:
    """A place that is read under a name of its own. Raises LOCATIONS_UNREADABLE."""
    destination = Destination(location=location)

    def store_of(organisation: str) -> ObjectStore:
        return tier_store(locations, keys_dir, organisation, name, destination)

    return Place(
        store=store_of(organisation),
        location=location,
        folder=tier_folder(locations, organisation, location),
        patience_seconds=patience_of(destination),
        store_of=store_of,
    )


def open_to_read(organisation: str, places: Sequence[Place], keys_dir: Path, signs: Signs) -> Repository:
    """The repository on those places that answer. Raises KEYS_UNUSABLE and the repository's errors."""
    path = keys_dir / name_of(organisation)
    try:
        has_key = path.exists()
    except OSError as error:
        raise unreadable(error, file=name_of(organisation)) from error
    if not has_key:
        raise PlatformError(errors.KEYS_UNUSABLE, f"the repository's key file {name_of(organisation)} is gone")
    key = KeyFile.load(path)
    answering = without_silent(places)
    signs.moved()
    patience = Patience(seconds_of={place.store.name: place.patience_seconds for place in answering})
    return Repository.open([place.store for place in answering], key, patience=patience)
