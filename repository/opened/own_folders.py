"""The folders that a tier has of its own, and what else lies in their places.

A file there hides all that belongs below it, and a link keeps it elsewhere: two tiers that are linked to one another
are one copy that is counted as two.
"""

from typing import Final

from repository.errors import PlaceBlocked
from repository.stored.log_entry import entry_object_key
from repository.tiers.port import ObjectStore

_OF_EVERY_TIER: Final = (
    "keys", "pending", "log", "index", "packs", "snapshots", "checkpoints", "streams", "quarantine",
)  # fmt: skip
_ANY_NAME: Final = "_"
_ENTRIES_OF_A_FOLDER: Final = 1000


def why_blocked(store: ObjectStore) -> PlaceBlocked | None:
    """What is wrong where one of the folders that every tier has is none. Raises what the store raises."""
    for folder in _OF_EVERY_TIER:
        if store.is_blocked(f"{folder}/{_ANY_NAME}"):
            return PlaceBlocked(
                "something that is no folder lies in the place of one of the tier's", tier=store.name, object_key=folder
            )
    return None


def blocked_folders(store: ObjectStore, entries: int) -> list[str]:
    """In whose places something else lies, of a tier with so many log entries; none that is below another one."""
    found: list[str] = []
    of_log = {_folder_of_entry(number) for number in (*range(1, entries + 2, _ENTRIES_OF_A_FOLDER), entries + 1)}
    for folder in (*_OF_EVERY_TIER, *(f"packs/{number:02x}" for number in range(256)), *sorted(of_log)):
        if folder.partition("/")[0] not in found and store.is_blocked(f"{folder}/{_ANY_NAME}"):
            found.append(folder)
    return found


def _folder_of_entry(number: int) -> str:
    return entry_object_key(number).rpartition("/")[0]
