"""Whoever may delete in a bucket that keeps versions hides a tier; it is read all the same, told, and uncovered."""

import pytest

from repository.errors import AccessDenied
from repository.opened.repository import Repository
from repository.prune.prune import prune
from repository.retention.orders import forget
from repository.stored.log_entry import entry_object_key
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from repository.upkeep.repair import repair
from tests.faults.repository.conftest import Tiers
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.repositories import Scene, photos, read_back
from tests.support.s3_server import S3Server


def _hidden(repository: Repository) -> dict[str, str]:
    return {each.object_key: each.detail for each in check(repository).findings if each.problem is Problem.HIDDEN}


@pytest.mark.parametrize("locks", [True, False])
def test_what_somebody_deleted_is_told_and_repair_takes_the_markers_away(
    tiers: Tiers, proxy: FaultProxy, s3_server: S3Server, locks: bool
) -> None:
    """All was read from beneath, a check found nothing, and when the locks have ended a rule of the bucket takes it."""
    prefix = f"deleted-{locks}"
    store = tiers.open(prefix, locks=locks, versions=True)
    scene = Scene(stores=[store])
    old, new = (scene.backup(photos(3, seed=seed), f"run {seed}") for seed in range(2))
    assert old is not None
    assert new is not None
    assert check(scene.reopen()).findings == [] or locks
    client, bucket = s3_server.client(), s3_server.shared_bucket(versions=True, locks=locks)
    keys = [each.key for each in store.list("")]
    for key in [*keys, entry_object_key(1)]:  # one of them twice
        client.delete_object(Bucket=bucket, Key=f"{prefix}/{key}")
    assert "Contents" not in client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/")
    scene.stores = [tiers.open(prefix, locks=locks, versions=True)]
    repository = scene.reopen()
    assert read_back(repository, new, repository.tiers[0]) == photos(3, seed=1)
    told = _hidden(repository)
    assert {key.partition("/")[0] for key in told} == {key.partition("/")[0] for key in keys} - {"pending"}
    assert all("under a delete marker" in detail for detail in told.values())
    assert any("and 3 more below packs/" in detail for detail in told.values())

    proxy.add(Fault("status", "DELETE", times=None, status=403, code="AccessDenied"))
    assert not repair(repository, repository.tiers[0]).is_complete
    assert _hidden(repository) == told
    proxy.clear()
    result = repair(repository, repository.tiers[0])
    assert result.is_complete
    assert {each.object_key for each in result.actions} == {key for key in keys if not key.startswith("pending/")}
    assert _hidden(scene.reopen()) == {}
    listed = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/")["Contents"]
    assert {each["Key"].removeprefix(f"{prefix}/") for each in listed} >= {each.object_key for each in result.actions}

    # What a prune may delete is nobody's loss.
    forget(repository, [old.id])
    for key in [each.key for each in store.list("packs/")]:
        client.delete_object(Bucket=bucket, Key=f"{prefix}/{key}")
    prune(scene.reopen())
    told = _hidden(scene.reopen())
    assert len(told) == 1
    assert all("and 1 more below packs/" in detail for detail in told.values())


def test_view_of_what_was_first_written_uncovers_nothing(tiers: Tiers) -> None:
    store = tiers.open("view", versions=True)
    store.put("config", b"first")
    view = store.originals()
    assert view is not None
    with pytest.raises(AccessDenied):
        view.uncover("config")
