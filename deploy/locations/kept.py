"""Whether a tier shows what was begun there, as it was last seen: for each organisation by itself.

One may be gone while all others are whole.
"""

import os
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import partial
from hashlib import sha256
from pathlib import Path

import msgspec

from chassis.disk import Disk
from chassis.location import Location
from contracts import errors
from contracts.errors import PlatformError
from deploy.locations.check import ANSWER_SECONDS
from deploy.locations.finding import Finding, Outcome
from repository.errors import BucketMissing, ObjectMissing, RepositoryError
from repository.stored.config import CONFIG_KEY, decode_config
from repository.stored.log_entry import entry_object_key
from repository.stored.object_reading import read_object
from repository.tiers.port import ObjectStore
from services.executor.adapters.tier_watch import S3_PATIENCE_SECONDS, missing_trouble
from vault.stores import folder_of, location_store
from vault.translation import code_of

LOOKED_FOR = 100
"""So many of the repositories that were begun at a location are looked for, the newest first, where nothing is done by
what is found."""
_NAMED = 5


class Begun(msgspec.Struct, frozen=True):
    """A repository that was begun at a location. `repository_id`: empty where nobody noted it.

    `head`: number and digest of the log's last entry that a run saw; None where none has told.
    """

    organisation: str
    repository_id: str = ""
    head: tuple[int, bytes] | None = None


class Shown(StrEnum):
    """What a tier shows of one of them."""

    THERE = "there"
    GONE = "gone"
    ROLLED_BACK = "rolled back"
    ANOTHER = "another"
    UNKNOWN = "unknown"


class Look(msgspec.Struct, frozen=True):
    """What a tier shows, by organisation. `error`: why that of the others is unknown."""

    shown: dict[str, Shown]
    error: RepositoryError | OSError | None

    def of(self, *states: Shown) -> list[str]:
        """Whose are so."""
        return [owner for owner, state in self.shown.items() if state in states]


def look(location: Location, keys_dir: Path, begun: Sequence[Begun]) -> Look:
    """Look for repositories at a location, until a look fails: a server that is silent is not asked again and again."""
    shown: dict[str, Shown] = {}

    def ask(some: Sequence[Begun]) -> None:
        for each in some:
            shown[each.organisation] = _shown(location, keys_dir, each)

    try:
        for start in range(0, len(begun), LOOKED_FOR):
            some = begun[start : start + LOOKED_FOR]
            if location.kind == "s3":
                ask(some)
            else:
                Disk(Path(os.fsdecode(folder_of(location)))).answer(partial(ask, some), seconds=ANSWER_SECONDS)
    except BucketMissing:
        return Look({each.organisation: Shown.GONE for each in begun}, None)
    except (RepositoryError, OSError) as error:
        return Look(dict(shown), error)
    return Look(shown, None)


def _shown(location: Location, keys_dir: Path, begun: Begun) -> Shown:
    owner = begun.organisation
    store = location_store(keys_dir, location, owner, name=location.name, patience_seconds=S3_PATIENCE_SECONDS)
    try:
        if store.head(CONFIG_KEY) is None:
            return Shown.GONE
        if begun.repository_id and _id_of(store) not in (None, begun.repository_id):
            return Shown.ANOTHER
        if begun.head is None:
            return Shown.THERE
        number, digest = begun.head
        is_seen = sha256(store.get(entry_object_key(number))).digest() == digest
        return Shown.THERE if is_seen else Shown.ROLLED_BACK
    except ObjectMissing:
        return Shown.ROLLED_BACK
    finally:
        store.close()


def _id_of(store: ObjectStore) -> str | None:
    """Which repository it is; None where that cannot be read."""
    try:
        return decode_config(read_object(store, CONFIG_KEY)).config.repository_id
    except RepositoryError:
        return None


def kept(location: Location, keys_dir: Path, begun: Sequence[Begun] | None) -> Finding:
    """Whether a tier still has what was begun there. `begun`: None where that is not known now."""
    if begun is None:
        hint = "Start the platform, which remembers it, and test again."
        return Finding("kept", Outcome.UNKNOWN, "whether it was in use cannot be known: nothing runs", hint=hint)
    if not begun:
        return Finding("kept", Outcome.OK, "no run has used it yet")
    looked_for = begun[:LOOKED_FOR]
    found = look(location, keys_dir, looked_for)
    if (trouble := _trouble(location, found, len(looked_for))) is not None:
        return Finding("kept", Outcome.FAILED, trouble.message, trouble.code.code, trouble.hint)
    if isinstance(found.error, RepositoryError):
        return Finding("kept", Outcome.FAILED, found.error.message, code_of(found.error).code, found.error.hint)
    if found.error is not None:
        return Finding("kept", Outcome.UNKNOWN, f"its disk cannot tell: {found.error.strerror}")
    of_all = f" of {len(begun)}" if len(begun) > len(looked_for) else ""
    detail = f"the repositories that were begun there are there ({len(looked_for)}{of_all})"
    if unseen := [each.organisation for each in looked_for if each.head is None]:
        detail += f"; whether they are as they were last seen is unknown of {named(unseen)}"
        return Finding("kept", Outcome.UNKNOWN, detail, hint="Their next run remembers how far the tier's log is.")
    return Finding("kept", Outcome.OK, f"{detail}, as they were last seen")


def _trouble(location: Location, found: Look, looked_for: int) -> PlatformError | None:
    """The worst of what is wrong, and the rest in its words."""
    troubles: list[PlatformError] = []
    if gone := found.of(Shown.GONE):
        trouble = missing_trouble(location, len(gone), looked_for)
        if trouble is not None and len(gone) < looked_for:
            command = f"wedsync-backup tiers begin-anew {location.name} --organisation {gone[0]}"
            hint = f"Bring back what {named(gone)} had there. If it is gone for good: {command}, and so for each."
            trouble = PlatformError(trouble.code, f"{trouble.message} ({named(gone)})", hint=hint)
        if trouble is not None:
            troubles.append(trouble)
    if older := found.of(Shown.ROLLED_BACK):
        message = f"it shows an older state than it had, or another one, of {named(older)}"
        troubles.append(PlatformError(errors.TIER_ROLLED_BACK, message))
    if others := found.of(Shown.ANOTHER):
        message = f"it shows another repository than was begun there of {named(others)}"
        troubles.append(PlatformError(errors.TIER_UNUSABLE, message))
    if not troubles:
        return None
    first = troubles[0]
    return PlatformError(first.code, "; ".join(each.message for each in troubles), hint=first.hint)


def to_begin_anew(location: str, found: Look, owner: str | None, *, is_anyway: bool, option: str = "") -> list[str]:
    """Whose repositories are forgotten of a location that shows some of those that were begun there.

    `owner`: the only one that is meant. Raises LOCATION_IN_USE where nothing of it is gone, or more is meant than is:
    what is there and whole is forgotten for nobody but who is named, since its memory alone tells of its loss later.
    """
    there, gone = found.of(*set(Shown) - {Shown.GONE, Shown.UNKNOWN}), found.of(Shown.GONE)
    if is_anyway and gone:
        return gone
    command = f"wedsync-backup tiers begin-anew {location}{option}"
    if gone:
        each = "; ".join(f"{command} --organisation {identity}" for identity in gone[:_NAMED])
        hint = f"Nothing was forgotten. Gone is what {named(gone)} had: {each}; all that is gone: {command} --anyway."
    else:
        hint = (
            "Nothing was forgotten. Is it damaged: docs/operations.md, section 6. To fill it from nothing, move what "
            f"lies there aside first. Is it another's, and to count from now on: {command} --organisation "
            f"{owner or 'ID'} --anyway."
        )
    raise PlatformError(
        errors.LOCATION_IN_USE,
        f"{location} is not gone: it answers, and has the repository of {named(there)}",
        hint=hint,
    )


def named(organisations: Iterable[str]) -> str:
    """Some of them, and how many more there are."""
    found = list(organisations)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"{', '.join(found[:_NAMED])}{more}"
