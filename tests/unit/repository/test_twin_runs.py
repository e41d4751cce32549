"""Two snapshots under one run token: writers of one run that did not see each other, each on a tier of its own."""

import pytest

from repository.backup.backup import BackupOptions, BackupResult, backup
from repository.backup.fanout import Delivery
from repository.errors import SnapshotNotFound, TierBehind
from repository.log.checkpoints import checkpoint_from, state_from
from repository.opened.repository import Repository
from repository.stored.log_entry import SnapshotsForgotten, entry_object_key
from repository.stored.snapshot import Snapshot
from repository.upkeep.catch_up import catch_up, lag
from repository.upkeep.check import check
from repository.upkeep.repair import repair
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.repositories import Scene, photos, read_back
from tests.support.snapshots import kept


def _twins(scene: Scene) -> tuple[Snapshot, Snapshot]:
    """The run's snapshot on tier a, by a writer that was taken for dead, and its successor's on tier b."""
    scene.reopen(stores=scene.stores[:1])
    zombie = scene.backup(photos(2), "run")
    scene.reopen(stores=scene.stores[1:])
    successor = scene.backup(photos(3), "run")
    scene.reopen()
    assert zombie is not None
    assert successor is not None
    assert zombie.id != successor.id
    return zombie, successor


def test_each_tier_gets_both_and_restores_both() -> None:
    """Catch-up says complete when it is, and not before."""
    scene = Scene(("a", "b"))
    zombie, successor = _twins(scene)
    repository = scene.reopen()
    assert [each.id for each in lag(repository, repository.tier("a")).snapshots] == [successor.id]
    for tier in repository.tiers:
        assert catch_up(repository, tier).is_complete
    repository = scene.reopen()
    for tier in repository.tiers:
        assert not lag(repository, tier).is_behind
        assert read_back(repository, zombie, tier) == photos(2)
        assert read_back(repository, successor, tier) == photos(3)
    assert check(repository, read_percent=100).findings == []


def test_one_that_was_forgotten_is_not_brought_back_and_the_other_stays() -> None:
    """What is forgotten goes by its id; a checkpoint says the same as the log, whichever of the two it was."""
    for is_first in (True, False):
        scene = Scene(("a", "b"))
        zombie, successor = _twins(scene)
        catch_up(scene.repository, scene.tier("a"))
        gone, live = (zombie, successor) if is_first else (successor, zombie)
        log = scene.tier("a").log
        log.append(lambda _, gone=gone: SnapshotsForgotten(time_ns=1, snapshots=(gone.id,)))  # type: ignore[misc]
        state = log.state
        assert (state.by_token["run"], list(state.snapshots)) == (live.id, [live.id])
        back = state_from(checkpoint_from(state, 5), state.repository_id, state.genesis, state.root)
        assert (back.by_token, back.forgotten, back.twins) == (state.by_token, state.forgotten, state.twins)
        assert lag(scene.repository, scene.tier("a")).snapshots == []
        assert catch_up(scene.repository, scene.tier("a")).snapshots == []
        with pytest.raises(SnapshotNotFound):
            scene.tier("a").commit_snapshot(gone.body, packs=set())
        log.append(lambda _, live=live: SnapshotsForgotten(time_ns=1, snapshots=(live.id,)))  # type: ignore[misc]
        assert lag(scene.repository, scene.tier("a")).snapshots == []


def test_an_order_to_forget_counts_where_the_snapshots_own_entry_is_lost() -> None:
    """No other tier brings back what was forgotten, whatever became of its entry."""
    scene = Scene(("a", "b"))
    doomed = scene.backup(photos(1), "doomed")
    assert doomed is not None
    number = scene.tier("a").log.state.entry_of[doomed.id]
    scene.tier("a").log.append(lambda _: SnapshotsForgotten(time_ns=1, snapshots=(doomed.id,)))
    scene.backup(photos(2), "later")
    scene.store("a").delete(entry_object_key(number))
    scene.store("a").delete(f"snapshots/{doomed.id}")
    repository = scene.reopen()
    repair(repository, repository.tier("a"), bridge=True)
    repository = scene.reopen()
    assert doomed.id not in repository.tier("a").snapshots()
    assert lag(repository, repository.tier("a")).snapshots == []


def test_entry_of_the_second_comes_back_from_its_copy() -> None:
    """That its run has another snapshot does not make it one that was never committed."""
    scene = Scene(("a", "b"))
    _, successor = _twins(scene)
    catch_up(scene.repository, scene.tier("a"))
    scene.backup(photos(4), "later")
    scene.store("a").delete(entry_object_key(scene.tier("a").log.state.entry_of[successor.id]))
    repository = scene.reopen(stores=scene.stores[:1])
    assert repair(repository, repository.tier("a")).is_complete
    assert read_back(repository, successor, repository.tier("a")) == photos(3)


def _run(repository: Repository, size: int, **options: object) -> BackupResult:
    tree = MemoryFolder({b"file": MemoryFile(b"x" * size, inode=2)})
    return backup(
        repository,
        MemorySource(tree),
        options=BackupOptions(run_token="run", label="photos", **options),  # type: ignore[arg-type]
    )


def test_run_says_which_tiers_have_another_snapshot() -> None:
    """Two writers who each commit where the other one has not yet: both say the same, and no tier is called done
    that does not have what they say.
    """
    scene = Scene(("a", "b"))
    other = scene.reopen(stores=scene.stores[1:])
    both = scene.reopen()
    theirs: list[BackupResult] = []

    def meanwhile() -> bool:
        if not theirs and any(key.startswith("packs/") for key in scene.store("a").contents()):
            theirs.append(_run(other, 70))
        return False

    mine = _run(both, 90, is_cancelled=meanwhile, required=frozenset("b"))
    assert mine.snapshot_id == theirs[0].snapshot_id
    assert {name: each.state for name, each in mine.tiers.items()} == {"a": Delivery.BEHIND, "b": Delivery.COMMITTED}
    assert isinstance(mine.tiers["a"].error, TierBehind)
    again = _run(scene.reopen(), 90, required=frozenset("b"))
    assert again.was_committed_before
    assert again.snapshot_id == mine.snapshot_id
    assert {name: each.state for name, each in again.tiers.items()} == {"a": Delivery.BEHIND, "b": Delivery.COMMITTED}
    repository = scene.reopen()
    for tier in repository.tiers:
        assert catch_up(repository, tier).is_complete
    assert not _run(scene.reopen(), 90, required=frozenset("b")).is_degraded
    assert sorted(kept(repository, each)[b"file"].body or b"" for each in repository.snapshots()) == [
        b"x" * 70,
        b"x" * 90,
    ]
