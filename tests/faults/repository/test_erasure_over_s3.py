"""Erasure on a folder and on real S3 buckets: every byte that is stored, of every version, is searched."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from repository.backup.backup import BackupOptions, backup
from repository.errors import RepositoryError
from repository.keys.key_ring import KeyRecord, decode_wrapped_key, unwrap
from repository.opened.key_change import add_generation
from repository.opened.repository import Repository
from repository.retention.erasure import erase, plan_erasure
from repository.retention.receipt import receipt_of, verified
from repository.tiers.folder.store import DirectoryObjectStore
from repository.upkeep.catch_up import catch_up
from sources.directory import DirectorySource
from tests.faults.repository.conftest import Tiers
from tests.support.repositories import key_file
from tests.support.s3_server import S3Server

_NUMBERS = count()
PERSON = "person 7"
LETTER = b"Dear Ms Plaintext, this is what was said in confidence. "


def _objects_of_bucket(server: S3Server, prefix: str, *, locks: bool) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every version of every object below the prefix, also beneath delete markers."""
    bucket, client = server.shared_bucket(locks=locks, versions=not locks), server.client()
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        for each in page.get("Versions", []):
            body = client.get_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])["Body"].read()
            yield each["Key"].removeprefix(f"{prefix}/"), body


def _objects_of_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every file, whatever it is called."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()


def _opening(objects: dict[tuple[str, bytes], None], repository_id: bytes, key_ids: tuple[str, ...]) -> set[str]:
    """The objects out of which the key file gets one of the keys, under whatever name they lie."""
    found = set[str]()
    for name, body in objects:
        assert LETTER not in body, name
        for key_id in key_ids:
            object_key = f"keys/{key_id}.{key_file().kek_id().hex()}"
            try:
                unwrap(decode_wrapped_key(KeyRecord(object_key, body)), repository_id, key_file())
            except RepositoryError:
                continue
            found.add(name)
    return found


@pytest.mark.parametrize("locks", [False, True], ids=["versions", "locks"])
def test_every_stored_byte_of_an_erased_domain(tiers: Tiers, s3_server: S3Server, tmp_path: Path, locks: bool) -> None:
    """Neither plaintext nor a wrapped key that opens; but for what a lock keeps, which the receipt names."""
    prefix = f"erasure-{next(_NUMBERS)}"
    folder, source = tmp_path / "tier", tmp_path / "source"
    source.mkdir()
    folder.mkdir()
    (source / "letter").write_bytes(LETTER * 500)
    bucket = tiers.open(prefix, locks=locks, versions=not locks)
    stores = [DirectoryObjectStore(folder, "disk"), bucket]
    repository = Repository.init(stores, key_file())
    for _ in range(2):  # two generations
        add_generation(repository, key_file(), PERSON)
    options = BackupOptions(
        run_token="1", label="letters", domain=PERSON, workers=1, lock_days={bucket.name: 1} if locks else {}
    )
    backup(repository, DirectorySource(str(source)), options=options)
    plan = plan_erasure(repository, PERSON)
    # Somebody hides a key beneath a delete marker, and somebody else puts it there once more.
    client, name = s3_server.client(), s3_server.shared_bucket(locks=locks, versions=not locks)
    hidden = plan.copies[bucket.name][0].object_key
    body = bucket.get(hidden)
    client.delete_object(Bucket=name, Key=f"{prefix}/{hidden}")
    client.put_object(Bucket=name, Key=f"{prefix}/{hidden}", Body=body)
    client.delete_object(Bucket=name, Key=f"{prefix}/{hidden}")

    def stored() -> dict[str, set[str]]:
        on_bucket = dict.fromkeys(_objects_of_bucket(s3_server, prefix, locks=locks))
        on_disk = dict.fromkeys(_objects_of_folder(folder))
        return {
            bucket.name: _opening(on_bucket, repository.id, plan.key_ids),
            "disk": _opening(on_disk, repository.id, plan.key_ids),
        }

    assert {each: len(found) for each, found in stored().items()} == {bucket.name: 2, "disk": 2}
    repository = Repository.open(stores, key_file())
    done = erase(repository, PERSON, plan_erasure(repository, PERSON).word)
    receipt = verified(receipt_of(repository, done), bytes.fromhex(repository.config.public_key))
    left = {each.name: set(each.left) for each in receipt.tiers}
    assert stored() == left
    assert {name: len(found) for name, found in left.items()} == {"disk": 0, bucket.name: 2 if locks else 0}
    assert receipt.is_complete is not locks
    repository = Repository.open(stores, key_file())
    for tier in repository.tiers:
        catch_up(repository, tier)
    assert stored() == left, "nobody brings it back"
