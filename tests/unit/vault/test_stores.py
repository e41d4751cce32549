"""What a configuration says reaches a store as a value, and a source only below its location."""

import json
import os
from pathlib import Path

import pytest

from chassis.locations import Locations
from contracts import errors
from contracts.configuration import Destination, Tier
from contracts.errors import PlatformError
from repository.backup.source import SourceUnreachable
from repository.tiers.s3.store import S3ObjectStore
from sources.descriptors import OpenFolder
from sources.directory import DirectorySource
from vault.stores import source_folder, tier_store

ADDRESSES = {"with options": "s3://bucket/tier?region=eu-central-1", "without options": "s3://bucket/tier"}


def _store(folder: Path, url: str, storage_class: str) -> S3ObjectStore:
    registry = folder / "locations.json"
    location = {"name": "cloud", "kind": "s3", "roles": ["tier"], "organisations": ["*"], "url": url}
    (folder / "credentials").mkdir()
    (folder / "credentials" / "cloud.json").write_text('{"accessKeyId": "a", "secretAccessKey": "s"}')
    registry.write_text(json.dumps({"locations": [{**location, "credentials": "cloud"}]}))
    destination = Destination(location="cloud", storage_class=storage_class)
    store = tier_store(Locations(registry), folder, "org-a", Tier.CLOUD_PRIMARY, destination)
    assert isinstance(store, S3ObjectStore)
    return store


@pytest.mark.parametrize("url", ADDRESSES.values(), ids=ADDRESSES)
@pytest.mark.parametrize(
    "storage_class",
    [
        "STANDARD_IA",
        "X&endpoint=http://169.254.169.254",
        "X&lock-mode=governance",
        "X&ca=/tmp/theirs.pem",
        "X#",
        "a+b %26 c",
    ],
)
def test_storage_class_cannot_change_the_address(tmp_path: Path, url: str, storage_class: str) -> None:
    """A storage class is passed on as it is: it names no other server, lock mode or authority."""
    store = _store(tmp_path, url, storage_class)
    try:
        options = store._options  # what the store was made of is what the guarantee is about
        assert options.storage_class == storage_class
        assert options.endpoint is None
        assert options.lock_mode == "COMPLIANCE"
        assert options.certificate_authorities is None
        assert options.prefix == "tier/org-a/"
    finally:
        store.close()


def _source(tmp_path: Path, path: str) -> OpenFolder:
    registry = tmp_path / "locations.json"
    location = {"name": "photos", "kind": "directory", "roles": ["source"], "organisations": ["*"]}
    registry.write_text(json.dumps({"locations": [{**location, "url": f"file://{tmp_path}/source"}]}))
    return source_folder(Locations(registry), "org-a", "photos", path)


def test_source_is_what_was_found_at_its_path(tmp_path: Path) -> None:
    """A folder is looked for once: where another is put in its place, or it is removed, nothing else is read."""
    folder = tmp_path / "source" / "a" / "b"
    folder.mkdir(parents=True)
    (tmp_path / "source" / "link").symlink_to("a")
    (folder / "photo").touch()
    for path in ("a/b", "link/b", "a/../a/b"):
        assert DirectorySource(_source(tmp_path, path)).root()[1].names() == [b"photo"]
    source = DirectorySource(_source(tmp_path, "a/b"))
    folder.rename(tmp_path / "aside")
    for put in (lambda: folder.symlink_to("/"), folder.mkdir, lambda: folder.symlink_to("nowhere"), lambda: None):
        put()
        with pytest.raises(SourceUnreachable):
            source.root()
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            folder.rmdir()
    (tmp_path / "aside").rename(folder)
    assert source.root()[1].names() == [b"photo"]


def test_source_leads_nowhere_by_a_link_that_was_put_there_after_the_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that is there when the folder is opened, and was not when its path was resolved, is not followed."""
    (tmp_path / "source").mkdir()
    (tmp_path / "other").mkdir()
    resolve = os.path.realpath

    def resolved(path: bytes) -> bytes:
        found = resolve(path)
        if found.endswith(b"/album"):
            (tmp_path / "source" / "album").symlink_to(tmp_path / "other")
        return found

    monkeypatch.setattr(os.path, "realpath", resolved)
    with pytest.raises(PlatformError) as raised:
        _source(tmp_path, "album")
    assert raised.value.code is errors.SOURCE_UNREACHABLE
    monkeypatch.undo()
    with pytest.raises(PlatformError) as raised:
        _source(tmp_path, "album")
    assert raised.value.code is errors.PATH_OUTSIDE_LOCATION
