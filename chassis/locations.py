"""Locations: the endpoints, buckets and directories that an operator has registered.

Tenants never name hosts or paths; a configuration refers to a location by its name. The registry is one JSON file,
written by the operator or by the embedded stack, read again when it has changed:

    {"locations": [{"name": "local", "kind": "directory", "roles": ["tier"], "organisations": ["*"],
                    "url": "file:///srv/backup"},
                   {"name": "offsite", "kind": "s3", "roles": ["tier"], "organisations": ["*"],
                    "url": "s3://bucket/prefix?endpoint=https://…&region=…", "credentials": "offsite", "lock": true}]}

`credentials` names a file `<name>.json` in the folder `credentials` of the keys folder, with `accessKeyId` and
`secretAccessKey` (of a database: `user` and `password`); the values are never in the registry. What is one
organisation's alone lies in a folder of its own there, `<organisation>/<name>.json`. Every field: `chassis.location`.

Promise: a file that cannot be read, half-written or gone, changes nothing where one was read before: the last good
content stays in use, and readiness says `degraded`, which file it is and what is wrong with it. Where none was read
yet, whoever asks is refused with LOCATIONS_UNREADABLE, which says nothing of our insides, and readiness says
`not-ready`. An entry that can never be used costs that entry: of its name what was read before stays in use, and the
others are as they are in the file, at a process's first look, too. The folder that its address names is no part of a
source meanwhile; where that cannot be read, no source is judged (LOCATIONS_UNREADABLE).
"""

import asyncio
import errno
import logging
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from chassis.disk import SECONDS, Disk, DiskSilent, says_nothing
from chassis.life.health import Health
from chassis.location import EntryFaulty, Faulty, Location, bucket_place, decoded, lies_in
from chassis.own_folders import OwnFolders
from contracts import errors
from contracts.configuration_rules import KnownLocation, objection
from contracts.errors import PlatformError
from contracts.refusal import Objection

_log = logging.getLogger(__name__)

CHECK = "locations"
"""The name of the registry's check in the readiness report; not ready: there is no content to work with."""
_FILE = "file://"
FILE_CHECK = "locations-file"
"""The name under which it is degraded: the last good content is in use, and the file has changed since."""

CHECK_SECONDS = 1.0
"""How long the readiness report waits for the file: shorter than for any check of its own."""

_NO_TIER = "There is a tier: give a prefix that holds none, and lies in none."
_Mark = tuple[int, int, int]


class Locations:
    """The registry, as it is in its file now. Thread-safe: readers see one whole version or another.

    `health`: where trouble with the file is shown. `own`: what is neither a source nor a tier. `is_at_sources`: this
    process sees the folders of sources as the workers do, so that one that is not there for it is there for nobody.
    """

    def __init__(
        self,
        path: Path,
        health: Health | None = None,
        *,
        own: OwnFolders | None = None,
        is_at_sources: bool = False,
    ) -> None:
        self._is_at_sources = is_at_sources
        self._path = path
        self._own = own or OwnFolders(())
        self._health = health
        self._seen: tuple[_Mark, dict[str, Location], EntryFaulty | None] | None = None
        self._said: str | None = None
        self._file = Disk(path)
        self._disks: dict[str, Disk] = {}
        if health is not None:
            health.add(CHECK, self.check)

    async def offered_to(self, organisation: str) -> list[Location]:
        """What an organisation may use, by name. Raises LOCATIONS_UNREADABLE."""
        return _open_to(await self._beside(), organisation)

    def tiers(self) -> list[Location]:
        """Every location that holds tiers, whoever may use it, by name. Raises LOCATIONS_UNREADABLE.

        As `find` it asks the disk of the file, and is for threads: a disk that hangs must not hold an event loop.
        """
        return _tiers(self._read())

    def of_role(self, role: str) -> list[Location]:
        """The same of every location of a role, `source` or `target`."""
        return [each for each in self._read().values() if role in each.roles]

    async def tiers_now(self) -> list[Location]:
        """The same on an event loop."""
        return _tiers(await self._beside())

    async def all_now(self) -> list[Location]:
        """Every location, sources as well as tiers, whoever may use it. Raises LOCATIONS_UNREADABLE."""
        return list((await self._beside()).values())

    async def faulty_folders(self) -> list[str]:
        """The folders that faulty entries name, of sources and tiers. Raises LOCATIONS_UNREADABLE."""
        await self._beside()
        fault = self._seen[2] if self._seen else None
        return [each.folder for each in (fault.entries if fault else ()) if each.folder is not None]

    async def not_open(self, wanted: Iterable[tuple[str, str]], organisation: str) -> list[str]:
        """Those of some names, each with its role, that are no location open to the organisation.

        One whose entry cannot be used until it is corrected is there. Raises LOCATIONS_UNREADABLE.
        """
        registry = await self._beside()
        waiting = {each.name for each in self._waiting() if each.may_be_open_to(organisation)}
        there = {(each.name, role) for each in _open_to(registry, organisation) for role in each.roles}
        return [name for name, role in wanted if name not in waiting and (name, role) not in there]

    def find(self, name: str, organisation: str) -> Location | None:
        """A location by its name; None also where it is not the organisation's. Raises LOCATIONS_UNREADABLE."""
        location = self._read().get(name)
        return location if location is not None and location.is_open_to(organisation) else None

    def is_faulty(self, name: str, organisation: str) -> bool:
        """Whether the entry of a name that `find` does not find is there, and cannot be used until it is corrected."""
        self._read()
        return any(each.name == name and each.may_be_open_to(organisation) for each in self._waiting())

    def faulty_tiers(self) -> list[str]:
        """The folders that faulty entries name, which hold tiers all the same and are no part of any source.

        Raises LOCATIONS_UNREADABLE also where of an entry not even that can be read: no source can be judged then.
        """
        self._read()
        return [each.folder for each in self._faulty_tiers() if each.folder is not None]

    def tier_buckets(self) -> list[str]:
        """The addresses of all buckets that hold tiers, be their entries faulty or not. Raises as `faulty_tiers`."""
        return _buckets([*self.tiers(), *self._faulty_tiers()])

    def _faulty_tiers(self) -> list[Faulty]:
        fault = self._seen[2] if self._seen else None
        if fault is None:
            return []
        if fault.is_blind:
            raise PlatformError(
                errors.LOCATIONS_UNREADABLE,
                "where a tier of the registry lies cannot be read, and it may be the source",
            ) from fault
        return [each for each in fault.entries if each.may_be_tier]

    def _waiting(self) -> tuple[Faulty, ...]:
        fault = self._seen[2] if self._seen else None
        return () if fault is None else fault.waiting

    async def known(
        self, names: Iterable[str], organisation: str, *, source: tuple[str, str] = ("", "")
    ) -> dict[str, KnownLocation]:
        """Those of some locations that an organisation may use, as the rules of configurations look at them, by name.

        `source`: the location that is the source, and the path below it that is meant, where that is known.

        Where a folder is, only its disk knows: one that hangs is told (`answers`), and waited for no longer than
        `chassis.disk.SECONDS`. Raises LOCATIONS_UNREADABLE.
        """
        registry = await self._beside()
        names = set(names)
        if any(each.name in names and each.may_be_open_to(organisation) for each in self._waiting()):
            raise PlatformError(errors.LOCATIONS_UNREADABLE, "the entry of a location that is named cannot be used")
        found = [each for name in names if (each := registry.get(name)) is not None and each.is_open_to(organisation)]
        registered = _tiers(registry)
        faulty = self._faulty_tiers() if source[0] in names else []
        tiers = [_folder_of(each) for each in registered if each.kind == "directory"]
        tiers += [each.folder for each in faulty if each.folder is not None]
        buckets = _buckets([*registered, *faulty])
        paths = dict([source])
        known = await asyncio.gather(
            *(self._known(location, paths.get(location.name, ""), tiers, buckets) for location in found)
        )
        return {each.name: each for each in known}

    async def _known(
        self, location: Location, path: str, tiers: Sequence[str], buckets: Sequence[str]
    ) -> KnownLocation:
        place, answers, is_excluded_tier = _written_place(location), True, False
        against: Objection | None = None
        if location.kind == "s3" and "source" in location.roles:
            against = _against_bucket(place, path, buckets)
        if location.kind == "postgres" and path:
            hint = "A database is saved whole: leave it empty. A restore takes single tables of it."
            against = objection(errors.INVALID_FIELD, "sourceIdentifier", hint)
        if location.kind == "directory":
            folder = place.removeprefix(_FILE)
            disk = self._disks.setdefault(folder, Disk(Path(folder)))
            try:
                real, against, is_excluded_tier = await disk.ask(partial(self._look, folder, path, tiers))
                place = _FILE + real
            except OSError:
                answers = False
        return KnownLocation(
            name=location.name,
            kind=location.kind,
            roles=location.roles,
            lock=location.lock,
            place=place,
            answers=answers,
            storage_classes=location.classes,
            against_source=against,
            is_excluded_tier=is_excluded_tier,
        )

    def _look(self, folder: str, path: str, registered: Sequence[str]) -> tuple[str, Objection | None, bool]:
        """Where a folder is; why it, or the path below it, can be no source; whether it is no tier.

        Only what the disk shows is judged: what is not there may be on another machine. Whether it can be read is
        known to who sees it as the workers do.
        """
        at = os.fsencode(folder)
        root, written = os.path.realpath(at), os.path.join(at, os.fsencode(path))
        below = os.path.realpath(written)
        tiers = [os.fsencode(tier) for tier in registered]

        def is_excluded(place: bytes) -> bool:
            # Of tiers what is written counts: each may lie on a disk of its own that does not answer.
            return self._own.hold(place) or any(os.path.commonpath([place, tier]) == tier for tier in tiers)

        against: Objection | None = None
        if is_excluded(root):
            against = objection(errors.SOURCE_EXCLUDED, "sourceLocation")
        elif _is_no_folder(at):
            against = objection(errors.SOURCE_NOT_A_FOLDER, "sourceLocation")
        elif is_excluded(below):
            against = objection(errors.SOURCE_EXCLUDED, "sourceIdentifier")
        elif os.path.commonpath([root, below]) != root:
            hint = "A link on the path leads out of its location: name a folder below it."
            against = objection(errors.PATH_OUTSIDE_LOCATION, "sourceIdentifier", hint)
        elif _is_no_folder(written):
            against = objection(errors.SOURCE_NOT_A_FOLDER, "sourceIdentifier")
        elif self._is_at_sources:
            against = _against_reading(at, "sourceLocation") or _against_reading(written, "sourceIdentifier")
        return os.fsdecode(root), against, self._own.hold_tier(at)

    async def check(self) -> PlatformError | None:
        """For the readiness report, which only operators read: which file cannot be read, and why."""
        try:
            await self._beside(seconds=CHECK_SECONDS)
        except PlatformError as error:
            return self._for_operators(error.__cause__ or error)
        return None

    async def _beside(self, *, seconds: float = SECONDS) -> dict[str, Location]:
        """As `_read`, on an event loop: a disk that hangs is no content that can be read, and holds nobody else up."""
        try:
            return await self._file.ask(self._read, seconds=seconds)
        except DiskSilent as error:
            seen = self._seen
            self._say(error, is_in_use=seen is not None)
            if seen is None:
                raise PlatformError(errors.LOCATIONS_UNREADABLE, "the registry of locations cannot be read") from error
            return seen[1]

    def _read(self) -> dict[str, Location]:
        seen = self._seen
        try:
            found = self._path.stat()
            mark = (found.st_mtime_ns, found.st_size, found.st_ino)
            if seen is None or seen[0] != mark:
                before = {} if seen is None else seen[1]
                seen = self._seen = (mark, *decoded(self._path.read_bytes(), before))
        except (OSError, ValueError, RecursionError) as error:
            self._say(error, is_in_use=seen is not None)
            if seen is None:
                raise PlatformError(errors.LOCATIONS_UNREADABLE, "the registry of locations cannot be read") from error
        else:
            self._say(seen[2], is_in_use=True)
        return seen[1]

    def _say(self, trouble: Exception | None, *, is_in_use: bool) -> None:
        """Tell operators of new trouble once, and that it is over."""
        text = None if trouble is None else _reason(trouble)
        if text == self._said:
            return
        self._said = text
        if text is not None:
            _log.error(
                "the registry of locations cannot be read",
                extra={"file": str(self._path), "reason": text, "last_good_in_use": is_in_use},
            )
        if self._health is None:
            return
        if trouble is not None and is_in_use:
            self._health.degrade(FILE_CHECK, self._for_operators(trouble))
        else:
            self._health.restore(FILE_CHECK)

    def _for_operators(self, trouble: BaseException) -> PlatformError:
        meanwhile = "what was read before stays in use meanwhile" if self._seen else "nothing works without it"
        if isinstance(trouble, EntryFaulty):
            meanwhile = "all other entries are in use, and of this one what was read before"
            if trouble.waiting:
                meanwhile = "all other entries are in use, and what names this one waits"
            if trouble.is_blind:
                meanwhile += "; no backup begins, since where it lies cannot be read and it may be in a source"
        return PlatformError(
            errors.LOCATIONS_UNREADABLE,
            f"{self._path}: {_reason(trouble)}",
            field="WEDSYNC_LOCATIONS_FILE",
            hint=f"Correct the file that WEDSYNC_LOCATIONS_FILE names (chassis/locations.py shows one); {meanwhile}.",
        )


def _buckets(tiers: Iterable[Location | Faulty]) -> list[str]:
    urls = (each.bucket if isinstance(each, Faulty) else each.url for each in tiers)
    return [url for url in urls if url is not None and url.startswith("s3://")]


def _against_bucket(place: str, path: str, tiers: Sequence[str]) -> Objection | None:
    """Why a part of a bucket can be no source: it lies in a tier, or holds one."""
    places = [bucket_place(tier) for tier in tiers]
    if any(lies_in(place, tier) for tier in places):
        return objection(errors.SOURCE_EXCLUDED, "sourceLocation", _NO_TIER)
    below = f"{place}/{path}".rstrip("/")
    if any(lies_in(below, tier) or lies_in(tier, below) for tier in places):
        return objection(errors.SOURCE_EXCLUDED, "sourceIdentifier" if path else "sourceLocation", _NO_TIER)
    return None


def _is_no_folder(path: bytes) -> bool:
    """Whether there is something at a path, or on the way to it, that is no folder and becomes none by waiting."""
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except NotADirectoryError:
        return True
    except OSError as error:
        return error.errno == errno.ELOOP


def _against_reading(folder: bytes, field: str) -> Objection | None:
    """Why a folder cannot be read by this process."""
    try:
        os.stat(folder)
    except FileNotFoundError:
        hint = "There is no such folder: mount its disk, make it, or correct the name."
        return objection(errors.SOURCE_UNREACHABLE, field, hint)
    except OSError as error:
        if says_nothing(error):
            raise
        if error.errno != errno.EACCES:
            hint = f"Its disk does not show it ({os.strerror(error.errno or 0).lower()}): look at its mount."
            return objection(errors.SOURCE_UNREACHABLE, field, hint)
    else:
        if os.access(folder, os.R_OK | os.X_OK, effective_ids=True):
            return None
    hint = "Give the user who runs the platform the right to read and enter it, and every folder above it."
    return objection(errors.SOURCE_UNREACHABLE, field, hint)


def _open_to(registry: Mapping[str, Location], organisation: str) -> list[Location]:
    return sorted((each for each in registry.values() if each.is_open_to(organisation)), key=lambda each: each.name)


def _tiers(registry: Mapping[str, Location]) -> list[Location]:
    return sorted((each for each in registry.values() if "tier" in each.roles), key=lambda location: location.name)


def _folder_of(location: Location) -> str:
    return _written_place(location).removeprefix(_FILE)


def _written_place(location: Location) -> str:
    """Where a location is, as its address says: options of a bucket are left out, symlinks of a folder not followed."""
    parts = urlsplit(location.url)
    path = unquote(parts.path, errors="surrogateescape")
    if location.kind == "directory":
        return _FILE + os.path.abspath(path)
    if location.kind == "postgres":
        return f"postgres://{parts.hostname}:{parts.port or 5432}/{path.strip('/')}"
    return bucket_place(location.url)


def _reason(trouble: BaseException) -> str:
    if isinstance(trouble, OSError):
        return trouble.strerror or type(trouble).__name__
    # The library's words name its types, and not what stands in the file.
    if isinstance(trouble, msgspec.ValidationError):
        return 'the file is {"locations": [ENTRY, ENTRY, …]} and nothing else'
    if isinstance(trouble, msgspec.MsgspecError):
        at = re.search(r"byte (\d+)", str(trouble))
        return "it ends in the middle" if at is None else f"it is no JSON from byte {at[1]} on"
    if isinstance(trouble, RecursionError):
        return "it is nested too deeply"
    return str(trouble)
