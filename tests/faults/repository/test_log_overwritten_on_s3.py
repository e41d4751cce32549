"""Whoever may write to a bucket overwrites a tier's log; object lock kept what lay beneath, and repair finds it."""

import pytest

from repository.opened.repository import Repository
from repository.stored.log_entry import entry_object_key
from repository.upkeep.catch_up import lag
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from repository.upkeep.repair import repair
from tests.faults.repository.conftest import Tiers
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.repositories import Scene, photos, read_back
from tests.support.s3_server import S3Server

_VERSION_RIGHTS = r"[?&](object-lock|versioning|versions)\b"


def test_log_that_was_overwritten_on_s3_is_restored_from_its_versions(tiers: Tiers) -> None:
    """Every entry, though each was overwritten twice; the ransom notes are kept, and no snapshot is lost."""
    store = tiers.open("ransom", locks=True)
    scene = Scene(stores=[store])
    name = store.name
    snapshots = [scene.backup(photos(3, seed=seed), f"run {seed}") for seed in range(3)]
    whole = {info.key: store.get(info.key) for info in store.list("log/")}
    for key in whole:
        store.put(key, b"ransom")
        store.put(key, b"more ransom")
    repository = scene.reopen()
    assert repository.snapshots() == []
    result = repair(repository, repository.tier(name))
    assert (result.is_complete, result.given_up) == (True, [])
    assert {key: store.get(key) for key in whole} == whole
    assert {store.get(aside) for aside in result.set_aside.values()} == {b"more ransom"}
    assert result.set_aside.keys() == whole.keys()
    repository = scene.reopen()
    for seed, snapshot in enumerate(snapshots):
        assert snapshot is not None
        assert read_back(repository, snapshot, repository.tier(name)) == photos(3, seed=seed)
    assert check(repository, read_percent=100).damage == []
    assert not lag(repository, repository.tier(name)).snapshots


def _tokens(repository: Repository) -> list[str]:
    return [each.manifest.run_token for each in repository.snapshots()]


@pytest.mark.parametrize("is_copy_hidden", [False, True])
def test_entry_that_was_hidden_and_written_over_is_found_beneath(
    tiers: Tiers, proxy: FaultProxy, s3_server: S3Server, is_copy_hidden: bool
) -> None:
    """A delete marker hides the log's end from credentials that may not ask for versions, so the next writer makes the
    same number once more. Whoever may ask sees that the first one was there, and its snapshot comes back.
    """
    prefix = f"hidden-{is_copy_hidden}"
    store = tiers.open(prefix, locks=True)
    scene = Scene(stores=[store])
    snapshots = [scene.backup(photos(3, seed=seed), f"run {seed}") for seed in range(3)]
    last = entry_object_key(scene.repository.tier(store.name).log.state.head.number)
    client, bucket = s3_server.client(), s3_server.shared_bucket(locks=True)
    client.delete_object(Bucket=bucket, Key=f"{prefix}/{last}")
    assert snapshots[2] is not None
    if is_copy_hidden:
        client.put_object(Bucket=bucket, Key=f"{prefix}/snapshots/{snapshots[2].id}", Body=b"ransom")
    proxy.add(Fault("status", "GET", path=_VERSION_RIGHTS, times=None, status=403, code="AccessDenied"))
    scene.stores = [tiers.open(prefix, locks=True)]
    scene.reopen()
    scene.backup(photos(3, seed=7), "run 7")
    proxy.clear()
    scene.stores = [tiers.open(prefix, locks=True)]
    repository = scene.reopen()
    assert _tokens(repository) == ["run 0", "run 1", "run 7"]
    report = check(repository)
    assert [each.problem for each in report.damage if "snapshots/" in each.object_key] == [Problem.UNCOMMITTED]
    assert repair(repository, repository.tier(store.name), report).is_complete
    repository = scene.reopen()
    assert sorted(_tokens(repository)) == ["run 0", "run 1", "run 2", "run 7"]
    assert check(repository, read_percent=100).damage == []


def test_tier_of_which_every_object_was_overwritten_opens_and_is_repaired_by_itself(tiers: Tiers) -> None:
    """In a bucket that keeps versions, and locks nothing: config, keys and log at once were a dead end."""
    store = tiers.open("wiped", versions=True)
    scene = Scene(stores=[store])
    snapshot = scene.backup(photos(3), "run")
    assert snapshot is not None
    for key in [info.key for info in store.list("")]:
        store._connection.call(  # as whoever has the credentials does; the store refuses what is no pack
            lambda client, key=key: client.put_object(Bucket=store._options.bucket, Key=f"wiped/{key}", Body=b"ransom")
        )
    scene.stores = [tiers.open("wiped", versions=True)]
    repository = scene.reopen()
    assert repair(repository, repository.tiers[0], check(repository, read_percent=100)).is_complete
    repository = scene.reopen()
    assert read_back(repository, snapshot, repository.tiers[0]) == photos(3)
    assert check(repository, read_percent=100).damage == []
