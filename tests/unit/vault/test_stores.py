"""What a configuration says reaches a store as a value, never as a part of the location's address."""

import json
from pathlib import Path

import pytest

from chassis.locations import Locations
from contracts.configuration import Destination, Tier
from repository.tiers.s3.store import S3ObjectStore
from vault.stores import tier_store

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
