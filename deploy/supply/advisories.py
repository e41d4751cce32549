"""What is known against what is pinned, from a file, without the network: advisories in OSV's format.

Promise: a pin that an advisory is about is named, with the version that mends it. What the file cannot know, since it
was published later, is said with every answer: no advisory found is never called none there is.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from deploy.supply.locks import Pin

FILE = Path(__file__).with_name("advisories.json")
FRESH = timedelta(days=30)
_KEPT = ("id", "aliases", "published", "modified", "withdrawn", "summary")


@dataclass(frozen=True)
class Known:
    """The advisories that a file has, and until when it knows any. `source`: whose they are, and by which licence."""

    source: str
    until: date
    advisories: list[Mapping[str, Any]]

    def is_fresh(self, today: date) -> bool:
        """Whether it is young enough to be believed."""
        return today - self.until <= FRESH


@dataclass(frozen=True)
class Hit:
    """A pin that an advisory is about; `mended`: the versions in which it is mended."""

    pin: Pin
    advisory: str
    mended: tuple[str, ...]


def read(path: Path = FILE) -> Known:
    """The advisories of a file."""
    held = json.loads(path.read_text("utf-8"))
    return Known(held["source"], date.fromisoformat(held["until"]), held["advisories"])


def gather(advisories: Iterable[Mapping[str, Any]], names: Iterable[str], *, source: str, until: date) -> str:
    """The text of a file with those advisories that are about these packages, without what is not asked of them."""
    wanted = {canonicalize_name(name) for name in names}
    kept = []
    for each in advisories:
        about = [entry for entry in each.get("affected", ()) if _name(entry) in wanted]
        if about:
            head = {key: each[key] for key in _KEPT if key in each}
            kept.append({**head, "affected": [_trimmed(entry) for entry in about]})
    kept.sort(key=lambda each: str(each["id"]))
    return json.dumps({"source": source, "until": until.isoformat(), "advisories": kept}, indent=1) + "\n"


def of_clone(clone: Path, names: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """The advisories about these packages, of the folder of each in a clone of the database."""
    import yaml

    for name in names:
        for path in sorted((clone / "vulns" / name).glob("*.yaml")):
            # Without a guess at what is a number or a time: a version is a text.
            yield yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)


def hits(wanted: Iterable[Pin], known: Known) -> Iterator[Hit]:
    """Each pin that is affected, by each advisory that was not withdrawn."""
    by_name: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for advisory in known.advisories:
        for entry in advisory["affected"] if "withdrawn" not in advisory else ():
            by_name.setdefault(_name(entry), []).append((advisory["id"], entry))
    for pin in wanted:
        for advisory_id, entry in by_name.get(canonicalize_name(pin.name), ()):
            if _is_affected(Version(pin.version), entry):
                events = [event for each in _ranges(entry) for event in each["events"]]
                yield Hit(pin, advisory_id, tuple(str(event["fixed"]) for event in events if "fixed" in event))


def _name(entry: Mapping[str, Any]) -> str:
    package = entry.get("package", {})
    return canonicalize_name(package["name"]) if package.get("ecosystem") == "PyPI" else ""


def _ranges(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those of versions; what a commit has mended says nothing of a release."""
    return [each for each in entry.get("ranges", ()) if each["type"] == "ECOSYSTEM"]


def _trimmed(entry: Mapping[str, Any]) -> dict[str, Any]:
    trimmed: dict[str, Any] = {"package": {key: entry["package"][key] for key in ("ecosystem", "name")}}
    if ranges := _ranges(entry):
        trimmed["ranges"] = ranges
    if "versions" in entry:
        trimmed["versions"] = entry["versions"]
    return trimmed


def _is_affected(version: Version, entry: Mapping[str, Any]) -> bool:
    """As OSV evaluates it: named, or in a range of versions. An entry with neither is about all of them."""
    ranges = _ranges(entry)
    if not ranges and not entry.get("versions"):
        return True
    if any(_same(version, str(each)) for each in entry.get("versions", ())):
        return True
    return any(_is_in(version, each["events"]) for each in ranges)


def _same(version: Version, text: str) -> bool:
    try:
        return version == Version(text)
    except InvalidVersion:
        return False


def _is_in(version: Version, events: Iterable[Mapping[str, str]]) -> bool:
    """Whether the last event at or before a version leaves it affected. `0` is before all."""

    def at(event: Mapping[str, str]) -> tuple[Version, int]:
        (kind, text), *_ = event.items()
        # A version is affected up to and with its `last_affected`, which so comes behind all that is said of it.
        return Version("0.dev0" if text == "0" else text), int(kind == "last_affected")

    inside = False
    for event in sorted(events, key=at):
        where, _ = at(event)
        if "introduced" in event and version >= where:
            inside = True
        elif ("fixed" in event and version >= where) or ("last_affected" in event and version > where):
            inside = False
    return inside
