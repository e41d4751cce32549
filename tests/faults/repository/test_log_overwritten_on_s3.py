"""Whoever may write to a bucket overwrites a tier's log; object lock kept what lay beneath, and repair finds it."""

from repository.upkeep.catch_up import lag
from repository.upkeep.check import check
from repository.upkeep.repair import repair
from tests.faults.repository.conftest import Tiers
from tests.support.repositories import Scene, photos, read_back


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
