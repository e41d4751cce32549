"""Locks on a real S3 server: set without rights to look them up, refused, other bytes put over what is locked."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random  # noqa: TID251  # seeded

import pytest

from repository.backup.backup import BackupOptions, BackupResult, backup
from repository.backup.fanout import Delivery
from repository.errors import Damaged, LegalHoldNotSet, Locked, LockNotProven, NoUsableTier, RepositoryError
from repository.format import pack_object_key
from repository.opened.repository import Repository
from repository.prune.prune import PruneOptions, prune
from repository.retention.orders import forget
from repository.tiers.port import ObjectStore
from repository.tiers.s3.store import S3ObjectStore
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from repository.upkeep.store_holds import place, release
from sources.directory import DirectorySource
from tests.faults.repository.conftest import Tiers
from tests.support.crash_scenes import small_packs
from tests.support.dying import Dying
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.repositories import CountingClock, key_file
from tests.support.s3_server import S3Server

_NUMBERS = count()

LOCK_RIGHTS = r"[?&](object-lock|versioning|versions)\b"
"""What looks up whether the bucket locks, and its versions; putting and reading objects needs none of it."""


@pytest.fixture(autouse=True)
def _small_packs() -> Iterator[None]:
    with small_packs():
        yield


@pytest.fixture
def prefix() -> str:
    return f"locks-{next(_NUMBERS)}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A source of three files."""
    made = tmp_path / "source"
    made.mkdir()
    for number in range(3):
        (made / f"photo {number}").write_bytes(Random(number).randbytes(60_000))
    return made


def run(store: S3ObjectStore, folder: Path, token: str, days: int) -> BackupResult:
    """One backup with a lock; the repository is begun where there is none."""
    with Repository.open([store], key_file()) as repository:
        options = BackupOptions(run_token=token, label="photos", lock_days={store.name: days}, workers=1)
        return backup(repository, DirectorySource(str(folder)), options=options)


def unlocked(store: S3ObjectStore) -> list[str]:
    """The objects without a lock, but for what was there before anybody asked for one."""
    heads = [store.head(info.key) for info in store.list("") if not info.key.startswith("pending/")]
    return [found.key for found in heads if found is not None and found.lock_until is None]


def deny(proxy: FaultProxy, path: str, method: str | None = None) -> None:
    """Refuse what the credentials have no right to."""
    proxy.add(Fault("status", method, path=path, times=None, status=403, code="AccessDenied"))


def test_store_whose_lock_configuration_may_not_be_read_locks_all_the_same(
    tiers: Tiers, proxy: FaultProxy, prefix: str, folder: Path
) -> None:
    """Whether it locks is not asked but seen: each object of the backup has its lock, and it is committed."""
    deny(proxy, LOCK_RIGHTS, "GET")
    with Repository.init([tiers.open(prefix, locks=True)], key_file()):
        pass
    store = tiers.open(prefix, locks=True)
    assert store.capabilities.locks is None
    assert run(store, folder, "1", 30).tiers[store.name].state is Delivery.COMMITTED
    proxy.clear()
    left = unlocked(tiers.open(prefix, locks=True))
    assert all(key.startswith("log/") for key in left)
    assert len(left) == 2  # those of `init`


@pytest.mark.parametrize("locks", [True, False])
def test_store_that_does_not_lock_is_refused_before_anything_is_uploaded(
    tiers: Tiers, proxy: FaultProxy, prefix: str, folder: Path, locks: bool
) -> None:
    """Credentials without the right to lock, and a bucket without locks whose configuration may not be read."""
    deny(proxy, LOCK_RIGHTS, "GET")
    if locks:
        deny(proxy, r"[?&]retention\b")
    with Repository.init([tiers.open(prefix, locks=locks)], key_file()):
        pass
    store = tiers.open(prefix, locks=locks)
    with pytest.raises(LockNotProven):
        run(store, folder, "1", 30)
    assert [info.key for info in store.list("packs/")] == []
    assert [info.key for info in store.list("pending/")] == []


def _locks(server: S3Server, prefix: str, key: str) -> dict[int, datetime | None]:
    """The lock of each version of an object, by its length."""
    bucket, client = server.shared_bucket(locks=True), server.client()
    found = client.list_object_versions(Bucket=bucket, Prefix=f"{prefix}/{key}").get("Versions", [])
    heads = [client.head_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"]) for each in found]
    return {head["ContentLength"]: head.get("ObjectLockRetainUntilDate") for head in heads}


@pytest.mark.parametrize("has_right_to_versions", [True, False])
def test_other_bytes_over_a_pack_get_no_lock(
    tiers: Tiers, proxy: FaultProxy, s3_server: S3Server, prefix: str, folder: Path, has_right_to_versions: bool
) -> None:
    """The version with the pack's own bytes is locked for longer, what lies over it is not, and the tier is damaged."""
    with Repository.init([tiers.open(prefix, locks=True)], key_file()):
        pass
    run(tiers.open(prefix, locks=True), folder, "1", 1)
    store = tiers.open(prefix, locks=True)
    pack = max(store.list("packs/"), key=lambda info: info.size)
    s3_server.client().put_object(
        Bucket=s3_server.shared_bucket(locks=True), Key=f"{prefix}/{pack.key}", Body=b"garbage"
    )
    if not has_right_to_versions:
        deny(proxy, LOCK_RIGHTS, "GET")
    with pytest.raises(NoUsableTier) as caught:
        run(tiers.open(prefix, locks=True), folder, "2", 30)
    assert isinstance(caught.value.__cause__, Damaged)
    own = _locks(s3_server, prefix, pack.key)
    assert own[len(b"garbage")] is None
    until = own[pack.size]
    assert until is not None
    assert (until > store.now() + timedelta(days=29)) == has_right_to_versions


@pytest.mark.parametrize("path", [None, r"[?&]legal-hold\b"])
def test_legal_hold_is_on_the_server_and_goes_with_the_hold(
    tiers: Tiers, proxy: FaultProxy, s3_server: S3Server, prefix: str, folder: Path, path: str | None
) -> None:
    """Nobody with the credentials deletes a version of what is held before the hold ends; lacking rights are told."""
    with Repository.init([tiers.open(prefix, locks=True)], key_file()):
        pass
    snapshot = run(tiers.open(prefix, locks=True), folder, "1", 0).snapshot
    store = tiers.open(prefix, locks=True)
    if path is not None:
        deny(proxy, path)
    with Repository.open([store], key_file()) as repository:
        done, stores = place(repository, "court", [snapshot.id])
        assert done.is_everywhere
        if path is not None:
            assert isinstance(stores.failed[store.name], LegalHoldNotSet)
            assert {each.problem for each in check(repository).findings} >= {Problem.HOLDS_UNKNOWN}
            return
        assert not stores.failed
        assert check(repository).is_ok
        pack = next(iter(store.list("packs/")))
        with pytest.raises(Locked):
            store.delete(pack.key)
        bucket, client = s3_server.shared_bucket(locks=True), s3_server.client()
        (version,) = client.list_object_versions(Bucket=bucket, Prefix=f"{prefix}/{pack.key}")["Versions"]
        with pytest.raises(client.exceptions.ClientError):
            client.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
        _, stores = release(repository, "court")
        assert not stores.failed
        assert not any(store.legal_hold(info.key) for info in store.list(""))
        store.delete(pack.key)
        assert store.head(pack.key) is None


def _versions(server: S3Server, prefix: str, folder: str) -> set[str]:
    """Every version and marker below a folder of the tier, by key."""
    answer = server.client().list_object_versions(Bucket=server.shared_bucket(locks=True), Prefix=f"{prefix}/{folder}")
    return {each["Key"] for kind in ("Versions", "DeleteMarkers") for each in answer.get(kind, [])}


class _Ahead(CountingClock):
    """A machine whose clock is a year ahead."""

    def __init__(self) -> None:
        super().__init__()
        self._now_ns = time.time_ns() + 366 * 86_400 * 10**9  # the server's clock is this machine's


def test_prune_deletes_by_version_what_no_lock_keeps_and_goes_on_wherever_it_was_killed(
    tiers: Tiers, s3_server: S3Server, prefix: str, folder: Path
) -> None:
    """Its process dies after each put and delete, and its clock is a year ahead: what the server's clock still
    protects stays, and of what goes no version, overwriting or marker is left.
    """
    with Repository.init([tiers.open(prefix, locks=True)], key_file()):
        pass
    (folder / "photo 9").write_bytes(b"soon gone" * 9000)
    gone = run(tiers.open(prefix, locks=True), folder, "1", 0)
    (folder / "photo 9").unlink()
    (folder / "photo 8").write_bytes(b"locked" * 9000)
    locked = run(tiers.open(prefix, locks=True), folder, "2", 30)
    (folder / "photo 8").unlink()
    kept = run(tiers.open(prefix, locks=True), folder, "3", 0)
    store = tiers.open(prefix, locks=True)
    packs = {info.key for info in store.list("packs/")}
    protected = {key for key in packs if (found := store.head(key)) and found.lock_until}
    assert protected < packs
    bucket, client = s3_server.shared_bucket(locks=True), s3_server.client()
    with Repository.open([store], key_file(), clock=_Ahead()) as repository:
        forget(repository, [gone.snapshot.id, locked.snapshot.id])
        going = prune(repository, PruneOptions(dry_run=True, max_unused=1))[store.name].going
    assert going
    store = tiers.open(prefix, locks=True)
    for key in map(pack_object_key, going):
        client.put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=store.get(key))
        client.delete_object(Bucket=bucket, Key=f"{prefix}/{key}")
    deaths = 0
    for left in range(1, 40):
        dying: list[ObjectStore] = [Dying(tiers.open(prefix, locks=True), [left])]  # type: ignore[list-item]
        try:
            with Repository.open(dying, key_file(), clock=_Ahead()) as repository:
                assert {each.id for each in repository.snapshots()} == {kept.snapshot.id}
                plan = prune(repository, PruneOptions(max_unused=1))[store.name]
            if plan.failed is None:
                break
        except RepositoryError:
            pass
        deaths += 1
    assert deaths > 2
    assert plan.locked
    with Repository.open([tiers.open(prefix, locks=True)], key_file()) as repository:
        assert check(repository, read_percent=100).is_ok
    assert protected <= {info.key for info in store.list("packs/")}
    assert _versions(s3_server, prefix, "packs/") == {f"{prefix}/{info.key}" for info in store.list("packs/")}
