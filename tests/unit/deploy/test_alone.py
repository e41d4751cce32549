"""Whether a tier has its place for itself, where not all of that place is seen at a glance."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chassis.location import Location
from contracts.errors import PLACE_IN_USE
from deploy.locations import alone
from deploy.locations.finding import Finding, Outcome
from deploy.stack.locations import directory_url
from repository.tiers.port import ObjectInfo

PACKS = [f"acme/packs/{number:04}" for number in range(1200)]


class _Part:
    """A part of a bucket with these objects."""

    def __init__(self, keys: list[str]) -> None:
        self._keys = keys

    def head(self, key: str) -> ObjectInfo | None:
        return ObjectInfo(key, 1) if key in self._keys else None

    def names_below(self, folder: str = "") -> Iterator[str]:
        below = [each.removeprefix(folder) for each in self._keys if each.startswith(folder)]
        yield from dict.fromkeys("".join(each.partition("/")[:2]) for each in below if each)

    def holds(self, folder: str) -> bool:
        return any(each.startswith(folder) for each in self._keys) and not folder.startswith("emptied/")

    def close(self) -> None:
        pass


def _of_bucket(*keys: str) -> Finding:
    place = Location(
        name="cloud", kind="s3", roles=("tier",), organisations=("*",), url="s3://bucket?endpoint=http://h", lock=False
    )
    return alone.of_bucket(place, lambda _url: _Part(list(keys)))


def _of_folder(folder: Path) -> Finding:
    place = Location(
        name="disk", kind="directory", roles=("tier",), organisations=("*",), url=directory_url(folder), lock=False
    )
    return alone.of_folder(place, seconds=30)


@pytest.mark.parametrize(
    "stranger", ["tax/2025.pdf", "zoo.jpg", "beta/zoo.jpg", "acme/zoo.jpg", "our photos/1.jpg", "acme", "/1.jpg"]
)
def test_stranger_is_seen_behind_many_objects_of_a_tier(stranger: str) -> None:
    """A bucket lists by name: what comes last is there as well as what comes first."""
    assert _of_bucket(*PACKS, "beta/config", "beta/", "lost+found/", "emptied/a b/").outcome is Outcome.OK
    found = _of_bucket(*PACKS, stranger)
    assert (found.outcome, found.code) == (Outcome.WARNING, PLACE_IN_USE.code)
    assert (stranger.split("/")[0] or "/") in found.detail


def test_parts_that_were_not_looked_into_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of them; a stranger that was seen is told first."""
    monkeypatch.setattr(alone, "LOOKED_INTO", 1)
    found = _of_bucket("acme/config", "beta/config", "gamma/config")
    assert (found.outcome, "2 of its folders" in found.detail) == (Outcome.UNKNOWN, True)
    assert _of_bucket("acme/config", "beta/config", "a b").code == PLACE_IN_USE.code


def test_folder_that_may_not_be_read_hides_no_stranger_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone it leaves unknown what lies there."""
    listed = os.listdir

    def refusing(path: Any) -> list[str]:
        if str(path).endswith("private"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "listdir", refusing)
    (tmp_path / "private").mkdir()
    (tmp_path / "acme" / "packs").mkdir(parents=True)
    found = _of_folder(tmp_path)
    assert (found.outcome, "private" in found.detail) == (Outcome.UNKNOWN, True)
    (tmp_path / "thesis.docx").touch()
    found = _of_folder(tmp_path)
    assert (found.outcome, found.code, "thesis.docx" in found.detail) == (Outcome.WARNING, PLACE_IN_USE.code, True)
