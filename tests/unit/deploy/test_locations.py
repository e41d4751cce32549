"""The embedded stack's registry of locations."""

import asyncio
import os
from pathlib import Path
from urllib.parse import unquote_to_bytes

import msgspec
import pytest

from chassis.location import Location
from chassis.locations import Locations
from contracts.errors import PlatformError
from deploy.stack import s3
from deploy.stack.layout import Layout
from deploy.stack.locations import directory_url, register, source_location, write_registry
from deploy.stack.s3_regions import REGIONS
from deploy.stack.secrets import S3Credentials, Secrets, open_secrets


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A home with ports."""
    layout = Layout.create(tmp_path / "home")
    layout.remembered.ports = {name: 20_000 + number for number, name in enumerate(s3.port_names())}
    return layout


@pytest.fixture
def secrets(layout: Layout) -> Secrets:
    """The home's secrets."""
    return open_secrets(layout, roles=[], regions=s3.credential_names())


def test_registry_has_the_four_tiers(layout: Layout, secrets: Secrets) -> None:
    """Any organisation may use the local folder and the three regions, of which the offsite one locks."""
    write_registry(layout, secrets)
    found = asyncio.run(Locations(layout.locations_file).offered_to("anybody"))
    assert [(each.name, each.kind, each.lock) for each in found] == [
        ("cloud-primary", "s3", False),
        ("cloud-secondary", "s3", False),
        ("local", "directory", False),
        ("offsite", "s3", True),
    ]
    assert {each.region for each in found} == {None, "eu-central", "eu-west", "eu-north"}


def test_credentials_are_in_files_of_their_own_and_never_in_the_registry(layout: Layout, secrets: Secrets) -> None:
    """The registry names a file of credentials; only the identity that works inside the bucket is in it."""
    write_registry(layout, secrets)
    registry = layout.locations_file.read_text()
    for region in REGIONS:
        own, admin = secrets.s3[region.name], secrets.s3[region.admin]
        kept = msgspec.json.decode((layout.credentials / f"{region.name}.json").read_bytes(), type=S3Credentials)
        assert kept == own
        assert own.secret_access_key not in registry
        assert admin.secret_access_key not in "".join(path.read_text() for path in layout.credentials.iterdir())


def test_start_keeps_what_an_operator_has_added(layout: Layout, secrets: Secrets, tmp_path: Path) -> None:
    """The tiers are written anew with their ports of today; every other entry stays."""
    write_registry(layout, secrets)
    register(layout, source_location("weddings", tmp_path, organisation="org-1"))
    layout.remembered.ports = {name: port + 500 for name, port in layout.remembered.ports.items()}
    write_registry(layout, secrets)
    locations = Locations(layout.locations_file)
    weddings, primary = locations.find("weddings", "org-1"), locations.find("cloud-primary", "org-1")
    assert weddings is not None
    assert primary is not None
    assert str(layout.port("s3.cloud-primary.s3")) in primary.url
    assert locations.find("weddings", "org-2") is None


def test_entry_says_nothing_that_an_older_build_may_not_know(layout: Layout, secrets: Secrets, tmp_path: Path) -> None:
    """A home can go back: what a source does not need is not named, neither by a start nor by a registration."""
    write_registry(layout, secrets)
    register(layout, source_location("photos", tmp_path, organisation="studio-a"))
    written = msgspec.json.decode(layout.locations_file.read_bytes())["locations"]
    assert not any("mount" in each or None in each.values() for each in written)


def test_register_replaces_a_location_of_the_same_name(layout: Layout, secrets: Secrets, tmp_path: Path) -> None:
    """A name stands for one place."""
    write_registry(layout, secrets)
    register(layout, source_location("weddings", tmp_path / "old", organisation="org-1"))
    register(layout, source_location("weddings", tmp_path / "new", organisation="org-1"))
    found = [
        each for each in asyncio.run(Locations(layout.locations_file).offered_to("org-1")) if each.name == "weddings"
    ]
    assert [each.url for each in found] == [directory_url(tmp_path / "new")]


def test_damaged_registry_is_reported_and_not_overwritten(layout: Layout, secrets: Secrets) -> None:
    """An operator's slip does not cost the other entries."""
    layout.locations_file.write_text("{")
    with pytest.raises(PlatformError, match="cannot be understood"):
        write_registry(layout, secrets)
    assert layout.locations_file.read_text() == "{"


@pytest.mark.parametrize("name", [b"plain", b"with space", "Gäste 💍".encode(), b"latin \xe9", b"a%20b?c#d"])
def test_directory_url_keeps_every_byte(name: bytes) -> None:
    """A folder of any name is found again through its URL."""
    path = b"/srv/" + name
    url = directory_url(Path(os.fsdecode(path)))
    assert url.startswith("file:///srv/")
    assert unquote_to_bytes(url.removeprefix("file://")) == path


def test_location_of_a_source_is_one_organisation_s(tmp_path: Path) -> None:
    """A demo's folder is not every tenant's to read."""
    location = source_location("x", tmp_path, organisation="org-1")
    assert isinstance(location, Location)
    assert location.roles == ("source",)
    assert not location.is_open_to("org-2")
