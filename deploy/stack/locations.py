"""The registry of locations of the embedded stack: its own four tiers, and what an operator has added.

The registry is `<home>/config/locations.json` (`chassis.locations`). At each start the four tiers are written
anew, since their ports may have changed; every other entry is the operator's and stays as it is, also one that is
faulty, which costs nobody but itself. Whoever changes it
holds its lock meanwhile, so that of two changes at once none is lost; whoever reads it sees one whole version.
"""

import fcntl
import logging
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlencode

import msgspec

from chassis.key_files import read_regular
from chassis.location import ANY_ORGANISATION, Faulty, Location, entries_of, twice
from contracts import errors
from contracts.errors import PlatformError
from deploy.misread import misread
from deploy.stack.files import write_atomically
from deploy.stack.layout import Layout
from deploy.stack.s3 import endpoint
from deploy.stack.s3_regions import REGIONS, Region
from deploy.stack.secrets import Secrets

_log = logging.getLogger(__name__)

LOCAL = "local"
OWN = frozenset((LOCAL, *(region.name for region in REGIONS)))
"""The stack's own tiers, by name."""


class _Registry(msgspec.Struct):
    locations: list[Location | msgspec.Raw]


def write_registry(layout: Layout, secrets: Secrets) -> None:
    """Write the tiers of this stack, and the credentials that their entries name; keep the operator's entries."""
    for region in REGIONS:
        write_atomically(
            layout.credentials / f"{region.name}.json", msgspec.json.encode(secrets.s3[region.name]), mode=0o600
        )
    own = [_local(layout), *(_region(layout, region) for region in REGIONS)]
    with _locked(layout):
        good, faulty = _read(layout, is_made=True)
        for _, each in faulty:
            _log.warning("an entry of locations.json is faulty, and stays as it is", extra={"reason": each.fault})
        kept = [raw for raw, each in faulty if each.name not in OWN]
        _write(layout, [*own, *(location for location in good if location.name not in OWN)], kept)


def register(layout: Layout, location: Location) -> None:
    """Add a location, or replace the one of its name. The running services see it at their next look."""
    with _locked(layout):
        good, faulty = _read(layout)
        kept = [raw for raw, each in faulty if each.name != location.name]
        _write(layout, [*(other for other in good if other.name != location.name), location], kept)


def remove_faulty(layout: Layout, name: str) -> None:
    """Take the faulty entries of a name away."""
    with _locked(layout):
        good, faulty = _read(layout)
        _write(layout, good, [raw for raw, each in faulty if each.name != name])


Change = Callable[[Callable[[list[Location]], list[Location]]], None]


@contextmanager
def changed(layout: Layout) -> Iterator[Change]:
    """Holds the registry for a change; gives what replaces its locations, by what they are made of those before.

    Entries that are faulty stay as they are written. Raises HOME_UNUSABLE.
    """

    def change(made_of: Callable[[list[Location]], list[Location]]) -> None:
        good, faulty = _read(layout)
        _write(layout, made_of(good), [raw for raw, _ in faulty])

    with _locked(layout):
        yield change


@contextmanager
def _locked(layout: Layout) -> Iterator[None]:
    # A file of its own: the registry itself is replaced by each change, and a lock on what was replaced holds nobody.
    descriptor = os.open(layout.config / ".locations.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def source_location(name: str, folder: Path, *, organisation: str) -> Location:
    """A directory that one organisation may back up."""
    return Location(
        name=name, kind="directory", roles=("source",), organisations=(organisation,), url=directory_url(folder)
    )


def target_location(name: str, folder: Path, *, organisation: str) -> Location:
    """A directory that one organisation may restore to over the API."""
    return Location(
        name=name, kind="directory", roles=("target",), organisations=(organisation,), url=directory_url(folder)
    )


def directory_url(folder: Path) -> str:
    """A folder as a `file:` URL. Bytes that are not UTF-8 are kept."""
    return f"file://{quote(bytes(folder.absolute()))}"


def _local(layout: Layout) -> Location:
    return Location(
        name=LOCAL,
        kind="directory",
        roles=("tier",),
        organisations=(ANY_ORGANISATION,),
        url=directory_url(layout.local_tier),
    )


def region_url(layout: Layout, region: Region) -> str:
    """Where a region's tier lies, as the repository's tiers are named."""
    query = urlencode({"endpoint": endpoint(layout, region), "region": region.region})
    return f"s3://{region.bucket}/tier?{query}"


def _region(layout: Layout, region: Region) -> Location:
    return Location(
        name=region.name,
        kind="s3",
        roles=("tier",),
        organisations=(ANY_ORGANISATION,),
        url=region_url(layout, region),
        credentials=region.name,
        region=region.region,
        lock=region.lock,
    )


def registered(layout: Layout) -> list[Location]:
    """All locations, as they are registered now. Raises HOME_UNUSABLE, also where the registry of a home is gone."""
    return _read(layout)[0]


def faulty_entries(layout: Layout) -> list[Faulty]:
    """The entries that no service can use, and what is wrong with each. Raises HOME_UNUSABLE."""
    return [each for _, each in _read(layout)[1]]


def _read(layout: Layout, *, is_made: bool = False) -> tuple[list[Location], list[tuple[msgspec.Raw, Faulty]]]:
    """What can be used, and what cannot, with how it is written. `is_made`: nothing where there is no registry."""
    try:
        raws, entries = entries_of(read_regular(layout.locations_file))
    except FileNotFoundError:
        if not is_made:
            layout.require_list(layout.locations_file)
        return [], []
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PlatformError(
            errors.HOME_UNUSABLE,
            f"{layout.locations_file} cannot be understood: {misread(error)}",
            hint="Correct the entry that you added, or put a copy of the file back.",
        ) from error
    times = Counter(each.name for each in entries)
    good: list[Location] = []
    faulty: list[tuple[msgspec.Raw, Faulty]] = []
    for raw, each in zip(raws, entries, strict=True):
        if isinstance(each, Faulty):
            faulty.append((raw, each))
        elif times[each.name] > 1:
            faulty.append((raw, twice(each)))
        else:
            good.append(each)
    return good, faulty


def _write(layout: Layout, locations: list[Location], faulty: list[msgspec.Raw]) -> None:
    body = msgspec.json.encode(_Registry([*locations, *faulty]))
    with suppress(msgspec.MsgspecError, ValueError, RecursionError):  # Bytes of a faulty entry may be no text.
        body = msgspec.json.format(body, indent=2)
    path = layout.locations_file
    # Who may read it is the operator's to say: nothing in it is secret.
    write_atomically(path, body, mode=stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600)
