"""Locations: the endpoints, buckets and directories that an operator has registered.

Tenants never name hosts or paths; a configuration refers to a location by its name. The registry is one JSON file,
written by the operator or by the embedded stack, read again when it has changed:

    {"locations": [{"name": "local", "kind": "directory", "roles": ["tier"], "organisations": ["*"],
                    "url": "file:///srv/backup"},
                   {"name": "offsite", "kind": "s3", "roles": ["tier"], "organisations": ["*"],
                    "url": "s3://bucket/prefix?endpoint=https://…&region=…", "credentials": "offsite", "lock": true}]}

`credentials` names a file `<name>.json` in the folder `credentials` of the keys folder, with `accessKeyId` and
`secretAccessKey` (of a database: `user` and `password`); the values are never in the registry. What is one
organisation's alone lies in a folder of its own there, `<organisation>/<name>.json`. `storageClasses` are those that a
provider has, where they are others than S3's that are read at once.

Promise: a file that cannot be read, half-written or gone, changes nothing where one was read before: the last good
content stays in use, and readiness says `degraded`, which file it is and what is wrong with it. Where none was read
yet, whoever asks is refused with LOCATIONS_UNREADABLE, which says nothing of our insides, and readiness says
`not-ready`.
"""

import asyncio
import errno
import logging
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import msgspec
from msgspec import Meta

from chassis.disk import SECONDS, Disk, DiskSilent
from chassis.life.health import Health
from chassis.own_folders import OwnFolders
from contracts import errors
from contracts.configuration import LocationName
from contracts.configuration_rules import STORAGE_CLASSES, KnownLocation, objection
from contracts.errors import PlatformError
from contracts.identifiers import ORGANISATION, ORGANISATION_RULE
from contracts.refusal import Objection

_log = logging.getLogger(__name__)

ANY_ORGANISATION = "*"
CHECK = "locations"
"""The name of the registry's check in the readiness report; not ready: there is no content to work with."""
_FILE = "file://"
FILE_CHECK = "locations-file"
"""The name under which it is degraded: the last good content is in use, and the file has changed since."""

CHECK_SECONDS = 1.0
"""How long the readiness report waits for the file: shorter than for any check of its own."""

SCHEME_OF_KIND = {"directory": "file", "s3": "s3", "postgres": "postgres"}
_CREDENTIALS = re.compile(r"(?:([A-Za-z0-9][A-Za-z0-9_-]{0,127})/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_DATABASE_OPTIONS = {"sslmode", "sslrootcert"}
_SSL_MODES = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
_StorageClass = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]


class Location(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One registered place. `lock`: the store promises object locks. `region` is for people to read."""

    name: LocationName
    kind: Literal["directory", "s3", "postgres"]
    roles: tuple[Literal["source", "tier"], ...]
    organisations: tuple[str, ...]
    url: str
    credentials: str | None = None
    region: str | None = None
    lock: bool = False
    storage_classes: tuple[_StorageClass, ...] | None = None

    def is_open_to(self, organisation: str) -> bool:
        """Whether an organisation may use this location."""
        return ANY_ORGANISATION in self.organisations or organisation in self.organisations

    @property
    def classes(self) -> tuple[str, ...]:
        """The storage classes that it has; a directory has none."""
        if self.kind != "s3":
            return ()
        return STORAGE_CLASSES if self.storage_classes is None else self.storage_classes


class _Registry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    locations: tuple[Location, ...]


_REGISTRY = msgspec.json.Decoder(_Registry)
_Mark = tuple[int, int, int]


class Locations:
    """The registry, as it is in its file now. Thread-safe: readers see one whole version or another.

    `health`: where trouble with the file is shown. `own`: what is neither a source nor a tier.
    """

    def __init__(self, path: Path, health: Health | None = None, *, own: OwnFolders | None = None) -> None:
        self._path = path
        self._own = own or OwnFolders(())
        self._health = health
        self._seen: tuple[_Mark, dict[str, Location]] | None = None
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

    async def tiers_now(self) -> list[Location]:
        """The same on an event loop."""
        return _tiers(await self._beside())

    def find(self, name: str, organisation: str) -> Location | None:
        """A location by its name; None also where it is not the organisation's. Raises LOCATIONS_UNREADABLE."""
        location = self._read().get(name)
        return location if location is not None and location.is_open_to(organisation) else None

    async def known(
        self, names: Iterable[str], organisation: str, *, source: tuple[str, str] = ("", "")
    ) -> dict[str, KnownLocation]:
        """Those of some locations that an organisation may use, as the rules of configurations look at them, by name.

        `source`: the location that is the source, and the path below it that is meant, where that is known.

        Where a folder is, only its disk knows: one that hangs is told (`answers`), and waited for no longer than
        `chassis.disk.SECONDS`. Raises LOCATIONS_UNREADABLE.
        """
        registry = await self._beside()
        found = [
            each for name in set(names) if (each := registry.get(name)) is not None and each.is_open_to(organisation)
        ]
        paths, tiers = dict([source]), _tiers(registry)
        known = await asyncio.gather(
            *(self._known(location, paths.get(location.name, ""), tiers) for location in found)
        )
        return {each.name: each for each in known}

    async def _known(self, location: Location, path: str, tiers: Sequence[Location]) -> KnownLocation:
        place, answers, is_excluded_tier = _written_place(location), True, False
        against: Objection | None = None
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

    def _look(self, folder: str, path: str, registered: Sequence[Location]) -> tuple[str, Objection | None, bool]:
        """Where a folder is; why it, or the path below it, can be no source; whether it is no tier.

        Only what the disk shows is judged: what is not there may be mounted later.
        """
        at = os.fsencode(folder)
        root, written = os.path.realpath(at), os.path.join(at, os.fsencode(path))
        below = os.path.realpath(written)
        tiers = [os.fsencode(_folder_of(tier)) for tier in registered if tier.kind == "directory"]

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
                seen = self._seen = (mark, _decoded(self._path.read_bytes()))
        except (OSError, ValueError, RecursionError) as error:
            self._say(error, is_in_use=seen is not None)
            if seen is None:
                raise PlatformError(errors.LOCATIONS_UNREADABLE, "the registry of locations cannot be read") from error
        else:
            self._say(None, is_in_use=True)
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
        return PlatformError(
            errors.LOCATIONS_UNREADABLE,
            f"{self._path}: {_reason(trouble)}",
            field="WEDSYNC_LOCATIONS_FILE",
            hint=f"Correct the file that WEDSYNC_LOCATIONS_FILE names (chassis/locations.py shows one); {meanwhile}.",
        )


def _is_no_folder(path: bytes) -> bool:
    """Whether there is something at a path, or on the way to it, that is no folder and becomes none by waiting."""
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except NotADirectoryError:
        return True
    except OSError as error:
        return error.errno == errno.ELOOP


def _open_to(registry: Mapping[str, Location], organisation: str) -> list[Location]:
    return sorted((each for each in registry.values() if each.is_open_to(organisation)), key=lambda each: each.name)


def _tiers(registry: Mapping[str, Location]) -> list[Location]:
    return sorted((each for each in registry.values() if "tier" in each.roles), key=lambda location: location.name)


def _decoded(body: bytes) -> dict[str, Location]:
    """The registry of a file's bytes, by name. Raises ValueError, which a `MsgspecError` is, too."""
    locations = _REGISTRY.decode(body).locations
    twice = sorted(name for name, count in Counter(location.name for location in locations).items() if count > 1)
    if twice:
        raise ValueError(f"a name is registered more than once: {', '.join(twice)}")
    for location in locations:
        if (fault := fault_of(location)) is not None:
            raise ValueError(f"location {location.name}: {fault}")
    return {location.name: location for location in locations}


def fault_of(location: Location) -> str | None:
    """What of an entry can never be used, or would mean another place than what is written there."""
    scheme = SCHEME_OF_KIND[location.kind]
    try:
        parts = urlsplit(location.url)
    except ValueError:
        return "the url cannot be read"
    path = unquote(parts.path, errors="surrogateescape")
    if location.name.endswith("\n"):
        return "the name ends with a line feed"
    if parts.scheme != scheme:
        return f"the url of the kind {location.kind} begins with {scheme}://"
    if "\0" in path or parts.fragment:
        return "the url has a NUL or a #, which is written as %23"
    if location.kind == "directory" and (
        parts.netloc not in {"", "localhost"} or parts.query or not path.startswith("/")
    ):
        return "the url of a directory is file:///PATH, with ? written as %3F"
    if location.kind == "s3" and (not parts.netloc or "@" in parts.netloc):
        return "the url of a bucket is s3://BUCKET/PREFIX, without credentials"
    if location.kind == "s3" and not all(map(_is_server, parse_qs(parts.query).get("endpoint", ()))):
        return "the endpoint of a bucket is http://HOST[:PORT] or https://HOST[:PORT], and a port is 1 to 65535"
    if location.kind == "postgres" and not _is_database(parts):
        return "the url of a database is postgres://[USER@]HOST[:PORT]/DATABASE?sslmode=…, without a password"
    if location.kind == "postgres" and "tier" in location.roles:
        return "a database is a source, and never a tier"
    if location.credentials is not None and (fault := _fault_of_credentials(location, location.credentials)):
        return fault
    if not all(each == ANY_ORGANISATION or ORGANISATION.fullmatch(each) for each in location.organisations):
        return f"organisations are {ANY_ORGANISATION} or ids: one {ORGANISATION_RULE}"
    return None


def _is_server(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_database(parts: SplitResult) -> bool:
    try:
        is_whole = bool(parts.hostname) and parts.port != 0 and len(parts.path) > 1
    except ValueError:
        return False
    options = parse_qs(parts.query, keep_blank_values=True)
    is_known = not options.keys() - _DATABASE_OPTIONS and _SSL_MODES.issuperset(options.get("sslmode", ()))
    return is_whole and parts.password is None and is_known


def _fault_of_credentials(location: Location, name: str) -> str | None:
    named = _CREDENTIALS.fullmatch(name)
    if named is None:
        return "credentials is the name of a file in the folder credentials, without .json: letters, digits, - _ and ."
    if named[1] is not None and location.organisations != (named[1],):
        return f"the credentials are those of the organisation {named[1]}, and the location is open to others"
    return None


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
    endpoint = parse_qs(parts.query).get("endpoint", [""])[0].rstrip("/").lower()
    return f"s3://{endpoint}/{parts.netloc}/{path.strip('/')}"


def _reason(trouble: BaseException) -> str:
    if isinstance(trouble, OSError):
        return trouble.strerror or type(trouble).__name__
    return str(trouble)
