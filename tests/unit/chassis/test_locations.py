"""The registry of locations."""

import json
from pathlib import Path

import pytest

from chassis.locations import Locations
from contracts.errors import PlatformError


def _write(path: Path, *locations: dict[str, object]) -> None:
    path.write_text(json.dumps({"locations": list(locations)}))


LOCAL = {
    "name": "local",
    "kind": "directory",
    "roles": ["tier"],
    "organisations": ["*"],
    "url": "file:///srv/backup",
}
PHOTOS = {
    "name": "photos",
    "kind": "directory",
    "roles": ["source"],
    "organisations": ["org-a"],
    "url": "file:///srv/photos",
}


def test_location_is_found_only_by_the_organisations_it_is_open_to(tmp_path: Path) -> None:
    """A name that is another organisation's is as unknown as one that nobody registered."""
    _write(tmp_path / "l.json", LOCAL, PHOTOS)
    locations = Locations(tmp_path / "l.json")
    found = locations.find("photos", "org-a")
    assert found is not None
    assert found.url == "file:///srv/photos"
    assert locations.find("photos", "org-b") is None
    assert [location.name for location in locations.of_organisation("org-b")] == ["local"]


def test_registry_is_read_again_when_the_file_has_changed(tmp_path: Path) -> None:
    """An operator registers a location without restarting anything."""
    path = tmp_path / "l.json"
    _write(path, LOCAL)
    locations = Locations(path)
    assert locations.find("photos", "org-a") is None
    _write(path, LOCAL, PHOTOS)
    assert locations.find("photos", "org-a") is not None


@pytest.mark.parametrize("text", ["", "{}", '{"locations": [{"name": "UPPER"}]}', '{"locations": [], "more": 1}'])
def test_registry_that_cannot_be_read_names_its_setting(tmp_path: Path, text: str) -> None:
    """A broken registry is an error that says which variable to look at."""
    path = tmp_path / "l.json"
    path.write_text(text)
    with pytest.raises(PlatformError) as caught:
        Locations(path).find("local", "org-a")
    assert caught.value.code.code == "invalid-setting"
    assert caught.value.field == "WEDSYNC_LOCATIONS_FILE"


def test_missing_registry_names_its_setting(tmp_path: Path) -> None:
    """No file at all is told like a broken one."""
    with pytest.raises(PlatformError) as caught:
        Locations(tmp_path / "none.json").of_organisation("org-a")
    assert caught.value.field == "WEDSYNC_LOCATIONS_FILE"
