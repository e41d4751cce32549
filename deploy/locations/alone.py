"""Whether a tier has its place for itself: not among other people's files, and in nobody's repository.

What lies beside a tier is deleted with it by who clears the place, counts against its disk, and is in no backup. Of a
tier each organisation has a repository in a folder of its own name; those are no strangers, also where the registry
has forgotten that they were made here.
"""

import os
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from chassis.disk import Disk
from chassis.location import Location
from contracts import errors
from contracts.identifiers import ORGANISATION
from deploy.locations.finding import Finding, Outcome
from repository.errors import RepositoryError
from repository.stored.config import CONFIG_KEY
from repository.tiers.places import WITHIN_REPOSITORY, lies_in_repository, strangers_of
from repository.tiers.port import ObjectStore
from vault.stores import folder_of

CHECK = "alone"
LOOKED_AT = 1000
"""So many entries of a place are looked at; a place of strangers shows one among them."""
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
    with os.scandir(real) as entries:
        found = {each.name: each for each in islice(entries, LOOKED_AT)}
    return _judged(found, lambda name: _is_tenant_s(found[name]))


def _is_tenant_s(entry: os.DirEntry[str]) -> bool:
    """Whether it is what an organisation has at a tier, be it half made or empty yet."""
    if not ORGANISATION.fullmatch(entry.name) or not entry.is_dir(follow_symlinks=False):
        return False
    return not strangers_of(os.listdir(entry.path))


def _home_around(folder: Path) -> Path | None:
    """The home of a platform that a folder lies in, whosever it is."""
    around = (each for each in (folder, *folder.parents) if all((each / name).exists() for name in _HOME))
    return next(around, None)


def of_bucket(location: Location, open_at: Callable[[str], ObjectStore]) -> Finding:
    """Of a part of a bucket. `open_at`: the store at an address. Raises RepositoryError."""
    parts = urlsplit(location.url)
    above = [name for name in parts.path.split("/") if name]
    for length in range(len(above), 0, -1):
        if _holds_config(open_at(urlunsplit(parts._replace(path="/" + "/".join(above[:length]))))):
            return _within()
    store = open_at(location.url)
    try:
        below: dict[str, set[str]] = {}
        for info in islice(store.list(""), LOOKED_AT):
            first, _, rest = info.key.partition("/")
            below.setdefault(first, set()).add(rest.partition("/")[0])
    finally:
        store.close()
    return _judged(below, lambda name: bool(ORGANISATION.fullmatch(name)) and not strangers_of(below[name]))


def _holds_config(store: ObjectStore) -> bool:
    try:
        return store.head(CONFIG_KEY) is not None
    except RepositoryError:
        return False  # Credentials may end at a prefix: what is above it is then nobody's to look at.
    finally:
        store.close()


def _judged(names: Iterable[str], is_tenant_s: Callable[[str], bool]) -> Finding:
    strangers = [name for name in strangers_of(names) if not name.startswith(_TRIAL) and name and not is_tenant_s(name)]
    if not strangers:
        return Finding(CHECK, Outcome.OK, "nothing but repositories of this platform lies there")
    shown = ", ".join(ascii(name)[1:-1] for name in sorted(strangers)[:_SHOWN])
    more = f" and {len(strangers) - _SHOWN} more" if len(strangers) > _SHOWN else ""
    hint = "Who clears that place, or fills its disk, meets the tier: best choose, or move it to, an empty place."
    return Finding(CHECK, Outcome.WARNING, f"other files lie there: {shown}{more}", errors.PLACE_IN_USE.code, hint)


def _within() -> Finding:
    return Finding(
        CHECK, Outcome.FAILED, "the place lies within a repository", errors.PLACE_IN_USE.code, WITHIN_REPOSITORY
    )
