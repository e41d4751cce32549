"""The folders that a tier has of its own, and what else lies in their places.

A file there hides all that belongs below it, and a link keeps it elsewhere: two tiers that are linked to one another
are one copy that is counted as two.
"""

from typing import Final

from repository.errors import PlaceBlocked, RepositoryError
from repository.stored.checkpoint import checkpoint_of
from repository.stored.log_entry import LOG_PREFIX, entry_object_key
from repository.tiers.port import ObjectStore

_OF_EVERY_TIER: Final = (
    "keys", "pending", "log", "index", "packs", "snapshots", "checkpoints", "streams", "pins", "quarantine",
)  # fmt: skip
_ANY_NAME: Final = "_"
_ENTRIES_OF_A_FOLDER: Final = 1000


def why_blocked(store: ObjectStore) -> PlaceBlocked | None:
    """What is wrong where one of the folders that every tier has is none. Raises what the store raises."""
    for folder in _OF_EVERY_TIER:
        if (what := store.blocked_by(f"{folder}/{_ANY_NAME}")) is not None:
            return _blocked(store, folder, what)
    return None


def _blocked(store: ObjectStore, folder: str, what: str) -> PlaceBlocked:
    return PlaceBlocked(f"{what} lies in the place of one of the tier's folders", tier=store.name, object_key=folder)


def why_hidden(store: ObjectStore, shown: int, seen: int) -> PlaceBlocked | None:
    """What hides the end of a log that shows so many entries of those that were seen: it lies in the place of the last
    one, or of a folder. What is behind it nobody knows. Raises what the store raises.
    """
    for folder in folders_of_log(max(shown, seen)):
        if (what := store.blocked_by(f"{folder}/{_ANY_NAME}")) is not None:
            return _blocked(store, folder, what)
    last = entry_object_key(max(shown, 1))
    what = store.blocked_by(last)
    if what is None:
        return None
    return PlaceBlocked(f"{what} lies where a log entry belongs", tier=store.name, object_key=last)


def hides_log(error: RepositoryError | None) -> bool:
    """Whether this says that something hides entries of a log."""
    return isinstance(error, PlaceBlocked) and f"{error.context['object_key']}/".startswith(LOG_PREFIX)


def folders_of_log(entries: int) -> list[str]:
    """The folders that a log of so many entries lies in, and its next one."""
    return sorted({_folder_of_entry(number) for number in (*range(1, entries + 2, _ENTRIES_OF_A_FOLDER), entries + 1)})


def blocked_folders(store: ObjectStore, entries: int) -> list[str]:
    """In whose places something else lies, of a tier with so many log entries; none that is below another one.

    Checkpoints in whose places no file lies are among them: they are only ever listed, and no listing shows such a one.
    """
    found: list[str] = []
    for folder in (*_OF_EVERY_TIER, *(f"packs/{number:02x}" for number in range(256)), *folders_of_log(entries)):
        if folder.partition("/")[0] not in found and store.blocked_by(f"{folder}/{_ANY_NAME}") is not None:
            found.append(folder)
    if "checkpoints" not in found:
        found += [key for key in store.no_objects("checkpoints") if checkpoint_of(key) is not None]
    return found


def _folder_of_entry(number: int) -> str:
    return entry_object_key(number).rpartition("/")[0]
