"""Whether a tier has what was last seen of its log: there is an older state to accept only where it has not."""

import os
import shlex
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from chassis.disk import Disk
from chassis.location import Location
from contracts import errors
from contracts.errors import PlatformError
from deploy.locations.check import ANSWER_SECONDS
from repository.errors import ObjectMissing, RepositoryError
from repository.keys.key_file import KeyFile
from repository.opened.open_tier import TierState
from repository.opened.opening import Patience
from repository.opened.repository import Repository
from repository.stored.config import CONFIG_KEY
from repository.stored.log_entry import entry_object_key
from services.executor.adapters.tier_watch import S3_PATIENCE_SECONDS
from vault.key_files import name_of
from vault.stores import credentials_file, folder_of, location_store, repository_url

OPEN_SECONDS = 10.0
"""How long the other tiers have to answer, once one of them has."""


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


def require_unwitnessed(location: Location, others: Sequence[Location], keys_dir: Path, owner: str) -> str | None:
    """Raise LOCATION_IN_USE where other tiers' logs bear witness to a newer state: theirs has to be answered first.

    Why that is unknown; None where none of them does.
    """
    if not others:
        return None
    file = keys_dir / name_of(owner)

    def look() -> bool:
        stores = [
            location_store(keys_dir, each, owner, name=each.name, patience_seconds=S3_PATIENCE_SECONDS)
            for each in (location, *others)
        ]
        with Repository.open(stores, KeyFile.load(file), patience=Patience(seconds=OPEN_SECONDS)) as repository:
            return repository.tier(location.name).state is TierState.REPLAYED

    try:
        is_witnessed = Disk(keys_dir).answer(look, seconds=3 * OPEN_SECONDS)
    except (RepositoryError, OSError) as error:
        return error.message if isinstance(error, RepositoryError) else error.strerror or "no answer"
    if not is_witnessed:
        return None
    names = ", ".join(each.name for each in others)
    raise PlatformError(
        errors.LOCATION_IN_USE,
        f"the other tiers of {owner} ({names}) have seen a newer state of {location.name}, and its runs go by them",
        hint="Nothing was accepted. What follows comes first (docs/operations.md, section 6), then this again: "
        + repair_command(location, others, keys_dir, owner),
    )


def repair_command(location: Location, others: Sequence[Location], keys_dir: Path, owner: str) -> str:
    """The command that answers what other tiers have seen of a location, as a shell takes it. No secret is in it."""
    words = ["wedsync-backup", "repo", "repair", "--accept-history", location.name]
    words += ["--key-file", str(keys_dir / name_of(owner))]
    for each in (location, *others):
        words += ["--tier", f"{each.name}={repository_url(each, owner)}"]
    for each in (location, *others):
        if each.kind == "s3" and (kept := credentials_file(keys_dir, each)) is not None:
            words += ["--credentials", f"{each.name}=file:{kept}"]
    return shlex.join(words)


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
