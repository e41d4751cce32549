"""Whether a tier has its place for itself: not among other people's files, and in nobody's repository.

What lies beside a tier is deleted with it by who clears the place, counts against its disk, and is in no backup. Of a
tier each organisation has a repository in a folder of its own name; those are no strangers, also where the registry
has forgotten that they were made here.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit, urlunsplit

from chassis.disk import Disk
from chassis.location import Location
from contracts import errors
from contracts.identifiers import ORGANISATION
from deploy.locations.finding import Finding, Outcome
from repository.errors import RepositoryError
from repository.stored.config import CONFIG_KEY
from repository.tiers.places import WITHIN_REPOSITORY, lies_in_repository, strangers_of
from repository.tiers.port import ObjectInfo
from vault.stores import folder_of

T = TypeVar("T")

CHECK = "alone"
LOOKED_INTO = 1000
"""So many organisations' parts of a bucket are looked into: each is a request. Where there are more, that is said."""
STRANGERS_MAX = 100
"""So many strangers are counted."""
_SHOWN = 3
_TRIAL = ".location-test-"
_HOME = ("layout.json", "keys", "config")


def of_folder(location: Location, *, seconds: float) -> Finding:
    """Of a directory. A disk that does not answer in time leaves it unknown."""
    folder = Path(os.fsdecode(folder_of(location)))
    try:
        return Disk(folder).answer(lambda: _of_folder(folder), seconds=seconds)
    except OSError as error:
        detail = f"what lies there cannot be told: {(error.strerror or type(error).__name__).lower()}"
        return Finding(CHECK, Outcome.UNKNOWN, detail, hint="Look at its disk, its mount and its rights.")


def _of_folder(folder: Path) -> Finding:
    real = os.path.realpath(folder)
    if lies_in_repository(real):
        return _within()
    if (home := _home_around(Path(real))) is not None:
        detail, hint = f"the folder lies in {home}, the home of a platform", "Choose a folder outside of any home."
        return Finding(CHECK, Outcome.FAILED, detail, errors.LOCATION_EXCLUDED.code, hint)
    unknown: list[str] = []

    def is_tenant_s(entry: os.DirEntry[str]) -> bool:
        """Whether it is what an organisation has at a tier, be it half made or empty yet."""
        if not ORGANISATION.fullmatch(entry.name) or not entry.is_dir(follow_symlinks=False):
            return False
        try:
            return not strangers_of(os.listdir(entry.path))
        except PermissionError:
            unknown.append(entry.name)  # It says nothing of what lies beside it.
            return True

    with os.scandir(real) as entries:
        strange = (each.name for each in entries if _is_strange(each.name, is_tenant_s, each))
        strangers = list(islice(strange, STRANGERS_MAX))
    return _judged(strangers, [f"{_shown(unknown)} cannot be looked into"] if unknown else [])


def _is_strange(name: str, is_tenant_s: Callable[[T], bool], what: T) -> bool:
    """Of what has this name, whether it is neither a file system's, a trial's of ours, nor a tenant's."""
    is_nobodys = name.startswith(_TRIAL) or not strangers_of([name])
    return not is_nobodys and not is_tenant_s(what)


def _home_around(folder: Path) -> Path | None:
    """The home of a platform that a folder lies in, whosever it is."""
    around = (each for each in (folder, *folder.parents) if all((each / name).exists() for name in _HOME))
    return next(around, None)


class PartOfBucket(Protocol):
    """As much of a store in a bucket as is looked at."""

    def head(self, key: str) -> ObjectInfo | None:
        """What is known of an object."""

    def names_below(self, folder: str = "") -> Iterator[str]:
        """What lies right below a folder, by name; that of a folder has a slash at its end."""

    def holds(self, folder: str) -> bool:
        """Whether there is any object below a folder."""

    def close(self) -> None:
        """Let go of it."""


def of_bucket(location: Location, open_at: Callable[[str], PartOfBucket]) -> Finding:
    """Of a part of a bucket. `open_at`: the store at an address. Raises RepositoryError."""
    parts = urlsplit(location.url)
    above = [name for name in parts.path.split("/") if name]
    for length in range(len(above), 0, -1):
        if _holds_config(open_at(urlunsplit(parts._replace(path="/" + "/".join(above[:length]))))):
            return _within()
    store, looks, left = open_at(location.url), count(), 0

    def strange_in(folder: str, is_known: Callable[[str], bool]) -> Iterator[str]:
        for each in store.names_below(folder):
            # A server may go on showing a folder whose objects were deleted.
            if _is_strange(each.removesuffix("/"), is_known, each) and (each[-1] != "/" or store.holds(folder + each)):
                yield each.removesuffix("/") or each

    def is_tenant_s(name: str) -> bool:
        nonlocal left
        if not name.endswith("/") or not ORGANISATION.fullmatch(name[:-1]):
            return False
        if next(looks) < LOOKED_INTO:
            # The first stranger tells: of a folder of photos no more is listed.
            return next(strange_in(name, lambda _: False), None) is None
        left += 1
        return True

    try:
        strangers = list(islice(strange_in("", is_tenant_s), STRANGERS_MAX))
    finally:
        store.close()
    return _judged(strangers, [f"{left} of its folders were not looked into"] if left else [])


def _holds_config(store: PartOfBucket) -> bool:
    try:
        return store.head(CONFIG_KEY) is not None
    except RepositoryError:
        return False  # Credentials may end at a prefix: what is above it is then nobody's to look at.
    finally:
        store.close()


def _judged(strangers: Sequence[str], unknown: Sequence[str]) -> Finding:
    if not strangers and unknown:
        hint = "Look at who may read it, then once more: wedsync-backup location test NAME."
        return Finding(CHECK, Outcome.UNKNOWN, f"what lies there cannot be told: {', '.join(unknown)}", hint=hint)
    if not strangers:
        return Finding(CHECK, Outcome.OK, "nothing but repositories of this platform lies there")
    hint = "Who clears that place, or fills its disk, meets the tier: best choose, or move it to, an empty place."
    return Finding(
        CHECK, Outcome.WARNING, f"other files lie there: {_shown(strangers)}", errors.PLACE_IN_USE.code, hint
    )


def _shown(names: Sequence[str]) -> str:
    shown = ", ".join(ascii(name)[1:-1] for name in sorted(names)[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _within() -> Finding:
    return Finding(
        CHECK, Outcome.FAILED, "the place lies within a repository", errors.PLACE_IN_USE.code, WITHIN_REPOSITORY
    )
