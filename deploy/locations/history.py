"""Whether a tier has what was last seen of its log: there is an older state to accept only where it has not."""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from chassis.disk import Disk
from chassis.location import Location
from contracts import errors
from contracts.errors import PlatformError
from deploy.locations.check import ANSWER_SECONDS
from repository.errors import ObjectMissing, RepositoryError
from repository.stored.config import CONFIG_KEY
from repository.stored.log_entry import entry_object_key
from services.executor.adapters.tier_watch import S3_PATIENCE_SECONDS
from vault.stores import folder_of, location_store


def older(location: Location, keys_dir: Path, seen: Sequence[tuple[str, int, bytes]]) -> list[str]:
    """Whose logs lack the latest entry that was seen, of organisations with its number and its digest.

    Raises LOCATION_IN_USE where none does; TIER_UNREACHABLE where the tier does not answer, or does not show a
    repository at all.
    """

    def look() -> list[str]:
        return [owner for owner, number, digest in seen if not _has(location, keys_dir, owner, number, digest)]

    try:
        found = (
            look()
            if location.kind == "s3"
            else Disk(Path(os.fsdecode(folder_of(location)))).answer(look, seconds=ANSWER_SECONDS)
        )
    except (RepositoryError, OSError) as error:
        reason = error.message if isinstance(error, RepositoryError) else error.strerror
        raise PlatformError(
            errors.TIER_UNREACHABLE,
            f"whether {location.name} has an older state is unknown: {reason}",
            hint=f"Nothing was accepted. Bring it back, and try again: wedsync-backup location test {location.name}",
        ) from error
    if not found:
        raise PlatformError(
            errors.LOCATION_IN_USE,
            f"{location.name} has what was last seen there: there is no older state to accept",
            hint="Nothing was forgotten. Put the older state there first, then say that it counts.",
        )
    return found


def _has(location: Location, keys_dir: Path, owner: str, number: int, digest: bytes) -> bool:
    store = location_store(keys_dir, location, owner, name=location.name, patience_seconds=S3_PATIENCE_SECONDS)
    try:
        if store.head(CONFIG_KEY) is None:
            raise OSError(0, f"it does not show the repository of {owner}")
        return sha256(store.get(entry_object_key(number))).digest() == digest
    except ObjectMissing:
        return False
    finally:
        store.close()
