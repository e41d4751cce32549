"""One registered place, and the registry of them as its file has it.

An entry that can never be used costs that entry; a registry without one that can be used is none.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import msgspec
from msgspec import Meta

from chassis.nesting import without_depths
from contracts.configuration import LocationName
from contracts.configuration_rules import STORAGE_CLASSES
from contracts.identifiers import ORGANISATION, ORGANISATION_RULE

ANY_ORGANISATION = "*"
SCHEME_OF_KIND = {"directory": "file", "s3": "s3", "postgres": "postgres"}
_CREDENTIALS = re.compile(r"(?:([A-Za-z0-9][A-Za-z0-9_-]{0,127})/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_DATABASE_OPTIONS = {"sslmode", "sslrootcert", "connections", "lock-timeout", "statement-timeout"}
_SSL_MODES = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
_StorageClass = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]


class Location(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """One registered place. `lock`: the store promises object locks. `region` is for people to read.

    `mount`: of a target, where its disk was mounted when it was registered: without that, nothing is written there.

    What an entry does not say is not written: an older build, to which a home goes back, would refuse the entry for a
    field that it does not know.
    """

    name: LocationName
    kind: Literal["directory", "s3", "postgres"]
    roles: tuple[Literal["source", "tier", "target"], ...]
    organisations: tuple[str, ...]
    url: str
    credentials: str | None = None
    region: str | None = None
    lock: bool = False
    storage_classes: tuple[_StorageClass, ...] | None = None
    mount: str | None = None

    def is_open_to(self, organisation: str) -> bool:
        """Whether an organisation may use this location."""
        return ANY_ORGANISATION in self.organisations or organisation in self.organisations

    @property
    def is_shared(self) -> bool:
        """Whether several organisations may use it."""
        return ANY_ORGANISATION in self.organisations or len(set(self.organisations)) > 1

    @property
    def classes(self) -> tuple[str, ...]:
        """The storage classes that it has; a directory has none."""
        if self.kind != "s3":
            return ()
        return STORAGE_CLASSES if self.storage_classes is None else self.storage_classes


class _Registry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    locations: tuple[msgspec.Raw, ...]


class _Named(msgspec.Struct, frozen=True):
    name: str


_REGISTRY = msgspec.json.Decoder(_Registry)
_ENTRY = msgspec.json.Decoder(Location)
_NAME = msgspec.json.Decoder(_Named)


_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_REQUIRED = [field.encode_name for field in msgspec.structs.fields(Location) if field.required]
_VALUES = {field.encode_name: msgspec.json.Decoder(field.type) for field in msgspec.structs.fields(Location)}
_RULES = {
    "name": "is small letters, digits and -, up to 63, and begins with no -",
    "kind": f"is one of {', '.join(SCHEME_OF_KIND)}",
    "roles": "is a list of source, tier and target",
    "organisations": f"is a list of ids, or of {ANY_ORGANISATION}",
    "lock": "is true or false",
    "storageClasses": "is a list of names of storage classes",
}
"""What each field is, where it is no text."""
_UNDECODABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What a decoder raises of one entry: bytes that are no UTF-8 are a ValueError."""


class Faulty(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that is not in use, as far as it can be read.

    `folder`: where it is, absolute; None where it is none, or, if not `is_judged`, nobody knows. `bucket`: its address,
    where it is one. `organisations`: None where that cannot be read.
    """

    name: str
    fault: str
    folder: str | None
    bucket: str | None
    is_judged: bool
    may_be_tier: bool
    organisations: tuple[str, ...] | None

    def may_be_open_to(self, organisation: str) -> bool:
        """Whether an organisation may know of it."""
        return self.organisations is None or bool({ANY_ORGANISATION, organisation}.intersection(self.organisations))


class EntryFaulty(ValueError):
    """What is wrong with some entries, while the others are in use.

    `entries`: the faulty ones. `waiting`: those of which nothing was read before.
    """

    def __init__(self, faults: str, entries: tuple[Faulty, ...], waiting: tuple[Faulty, ...]) -> None:
        super().__init__(faults)
        self.entries = entries
        self.waiting = waiting

    @property
    def is_blind(self) -> bool:
        """Whether there may be a tier of which nobody knows where it is."""
        return any(each.may_be_tier and not each.is_judged for each in self.waiting)


def decoded(body: bytes, before: Mapping[str, Location]) -> tuple[dict[str, Location], EntryFaulty | None]:
    """The registry of a file's bytes, by name, and what is wrong with some of its entries.

    `before`: what was read before, which stays in use of a name whose entry is faulty now. Raises ValueError,
    `MsgspecError` or RecursionError where no entry can be used although there are some.
    """
    readable = _readable(body)[1]
    entries = [_entry(raw) for raw in readable]
    twice = {name for name, count in Counter(each.name for each in entries).items() if name and count > 1}
    good = {each.name: each for each in entries if isinstance(each, Location) and each.name not in twice}
    faults = [each.fault for each in entries if isinstance(each, Faulty) and each.name not in twice]
    if twice:
        faults.append(f"a name is registered more than once: {', '.join(sorted(twice))}")
    if not faults:
        return good, None
    if not good:
        raise ValueError("; ".join(faults))
    kept = {each.name: before[each.name] for each in entries if each.name not in good and each.name in before}
    faulty = tuple(
        _faulty(raw, each.name, "", kept.get(each.name))
        for raw, each in zip(readable, entries, strict=True)
        if each.name not in good
    )
    waiting = tuple(each for each in faulty if each.name not in kept)
    return kept | good, EntryFaulty("; ".join(faults), faulty, waiting)


def entries_of(body: bytes) -> tuple[tuple[msgspec.Raw, ...], list[Location | Faulty]]:
    """All entries of a file, as they are written and as they are read. Raises as `decoded` where it has none."""
    raws, readable = _readable(body)
    return raws, [_entry(raw) for raw in readable]


def _readable(body: bytes) -> tuple[tuple[msgspec.Raw, ...], tuple[msgspec.Raw, ...]]:
    """All entries as they are written, and as far as a decoder goes: one may be nested deeper than that."""
    try:
        raws = _REGISTRY.decode(body).locations
    except RecursionError:
        shallow, written = without_depths(body, "locations")
        readable = _REGISTRY.decode(shallow).locations
        if len(readable) != len(written):
            raise
        return tuple(map(msgspec.Raw, written)), readable
    return raws, raws


def _entry(raw: msgspec.Raw) -> Location | Faulty:
    """The location that an entry is, or what is wrong with it; its name is empty where it has none."""
    try:
        name = _NAME.decode(raw).name
    except _UNDECODABLE:
        return _faulty(raw, "", "an entry has no name, or one that is no text")
    try:
        location = _ENTRY.decode(raw)
    except _UNDECODABLE:
        return _faulty(raw, name, f"location {name}: {_misfit(_fields(raw))}")
    fault = fault_of(location)
    return _faulty(raw, name, f"location {name}: {fault}") if fault else location


def _fields(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    try:
        return _FIELDS.decode(raw)
    except _UNDECODABLE:
        return {}


def _faulty(raw: msgspec.Raw, name: str, fault: str, before: Location | None = None) -> Faulty:
    """What can be read of an entry, each field by itself. What cannot be read is taken from what was read before."""
    found: dict[str, Any] = {}
    for field, value in _fields(raw).items():
        with suppress(*_UNDECODABLE, KeyError):
            found[field] = _VALUES[field].decode(value)
    url = found.get("url", "")
    is_judged, folder = _folder_at(url)
    roles = found.get("roles", before.roles if before is not None else ("tier",))
    return Faulty(
        name=name,
        fault=fault,
        folder=folder,
        bucket=url if url.startswith("s3://") else None,
        is_judged=is_judged,
        may_be_tier="tier" in roles,
        organisations=found.get("organisations"),
    )


def twice(location: Location) -> Faulty:
    """An entry whose name another one has, too."""
    return Faulty(
        name=location.name,
        fault=f"location {location.name}: the name is registered more than once",
        folder=None,
        bucket=None,
        is_judged=True,
        may_be_tier="tier" in location.roles,
        organisations=location.organisations,
    )


def _folder_at(url: str) -> tuple[bool, str | None]:
    """Whether an address can be read, whatever else is wrong with the entry, and which folder it names, if one."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False, None
    if parts.scheme in {"s3", "postgres"}:
        return True, None
    path = unquote(parts.path, errors="surrogateescape")
    is_folder = parts.scheme == "file" and parts.netloc in {"", "localhost"} and path.startswith("/")
    if not is_folder or "\0" in path or "?" in url or "#" in url:
        return False, None
    return True, os.path.abspath(path)


def _misfit(entry: Mapping[str, msgspec.Raw]) -> str:
    """Why an object is no entry, by the names that stand in the file."""
    if not entry:
        return "it is no object of fields, or nested too deeply"
    if missing := [name for name in _REQUIRED if name not in entry]:
        return f"{' and '.join(missing)} must be there"
    if unknown := [name for name in entry if name not in _VALUES]:
        return f"there is no field {unknown[0]!r}: the fields are {', '.join(_VALUES)}"
    for name, value in entry.items():
        try:
            _VALUES[name].decode(value)
        except _UNDECODABLE:
            return f"{name} {_RULES.get(name, 'is a text')}"
    return "a field has a wrong value"


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
    if "target" in location.roles and (location.kind != "directory" or "tier" in location.roles):
        return "what is restored to is a directory, and no tier"
    if location.mount is not None and not location.mount.startswith("/"):
        return "mount is the absolute path at which the disk of a target is mounted"
    if location.credentials is not None and (fault := _fault_of_credentials(location, location.credentials)):
        return fault
    if not all(each == ANY_ORGANISATION or ORGANISATION.fullmatch(each) for each in location.organisations):
        return f"organisations are {ANY_ORGANISATION} or ids: one {ORGANISATION_RULE}"
    return None


def bucket_place(url: str) -> str:
    """Where the address of a bucket leads, as it is written: its options but the server are left out."""
    parts = urlsplit(url)
    endpoint = parse_qs(parts.query).get("endpoint", [""])[0].rstrip("/").lower()
    return f"s3://{endpoint}/{parts.netloc}/{unquote(parts.path).strip('/')}".rstrip("/")


def lies_in(place: str, other: str) -> bool:
    """Whether a part of a bucket is another one, or a part of that."""
    return f"{place}/".startswith(f"{other}/")


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
