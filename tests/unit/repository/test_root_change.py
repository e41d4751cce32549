"""Another root in the place of one that leaked: what the old one signs afterwards counts nowhere."""

import pytest

from repository.errors import RepositoryError
from repository.keys.key_ring import KeyRing
from repository.log.commit_log import CommitLog
from repository.opened.root_change import change_root
from repository.opened.tier_state import TierState
from repository.stored.log_entry import SnapshotsForgotten
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.accepted_history import accept_history
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check
from tests.support.histories import Dying
from tests.support.repositories import CountingClock, Scene, SeededRandomness, photos, read_back


def _forge(scene: Scene, name: str, body: object) -> None:
    """Append as whoever has the first root, and no other key, does."""
    ring = KeyRing([scene.repository.keys.first_root])
    log = CommitLog(scene.store(name), ring, scene.tier(name).log.state.genesis, CountingClock(), SeededRandomness(9))
    log.reload()
    log.state.faults.clear()
    log.append(lambda _: body)  # type: ignore[arg-type, return-value]


def test_everything_goes_on_under_the_new_root() -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(3), "before")
    first, data = scene.repository.keys.root, scene.repository.keys.active()
    assert change_root(scene.repository, scene.provider) == (True, {"a": None, "b": None})
    scene.backup(photos(3, 1), "beside")
    repository = scene.reopen()
    assert repository.keys.root.rank > first.rank
    assert repository.keys.active() is not data
    assert all(tier.is_ready for tier in repository.tiers), repository.states()
    for name in ("a", "b"):
        alone = scene.reopen(stores=[scene.store(name)])
        assert [read_back(alone, each, alone.tier(name)) for each in alone.snapshots()] == [photos(3), photos(3, 1)]
        assert alone.tier(name).log.whole().faults == []
    assert check(scene.reopen(), read_percent=100).is_ok


@pytest.mark.parametrize("left", range(14))
def test_change_that_was_killed_is_finished_by_the_same_call(left: int) -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(2), "before")
    calls = [left]
    try:
        change_root(scene.reopen(stores=[Dying(store, calls) for store in scene.stores]), scene.provider)  # type: ignore[arg-type]
    except RepositoryError:
        assert calls[0] < 0
    repository = scene.reopen()
    scene.backup(photos(2, 1), "between")
    assert set(change_root(scene.reopen(), scene.provider)[1].values()) == {None}
    repository = scene.reopen()
    assert len({tier.log.state.root for tier in repository.tiers}) == 1
    assert repository.tiers[0].log.state.root > repository.keys.first_root.rank
    assert check(repository, read_percent=100).is_ok


def test_what_the_old_root_signs_afterwards_is_a_fault() -> None:
    scene = Scene(("a",))
    snapshot = scene.backup(photos(2), "before")
    assert snapshot is not None
    change_root(scene.repository, scene.provider)
    scene.reopen()
    forged = scene.store("a")
    try:
        _forge(scene, "a", SnapshotsForgotten(time_ns=1, snapshots=(snapshot.id,)))
    except RepositoryError:
        pytest.skip("the old root cannot even read on")
    repository = scene.reopen(stores=[forged])
    assert [each.id for each in repository.snapshots()] == [snapshot.id]
    assert repository.tier("a").state is TierState.DAMAGED


def test_a_tier_that_was_away_follows_by_itself() -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(2), "before")
    scene.backup(photos(2, 1), "witness", only=["a"])
    change_root(scene.reopen(stores=[scene.store("a")]), scene.provider)
    repository = scene.reopen()
    assert repository.tier("b").is_ready, repository.states()
    catch_up(repository, repository.tier("b"))
    repository = scene.reopen()
    assert repository.tier("b").log.state.root == repository.tier("a").log.state.root
    assert check(repository, read_percent=100).is_ok


def test_what_the_old_root_signs_on_a_tier_that_was_away_is_not_believed_before_it_is_accepted() -> None:
    scene = Scene(("a", "b"))
    snapshot = scene.backup(photos(2), "before")
    assert snapshot is not None
    scene.backup(photos(2, 1), "witness", only=["a"])
    _forge(scene, "b", SnapshotsForgotten(time_ns=1, snapshots=(snapshot.id,)))
    change_root(scene.reopen(stores=[scene.store("a")]), scene.provider)
    repository = scene.reopen()
    assert repository.tier("b").state is TierState.REPLAYED
    assert snapshot.id in repository.tier("b").snapshots()
    assert snapshot.id in {each.id for each in repository.snapshots()}
    assert accept_history(repository, repository.tier("b"))
    repository = scene.reopen()
    assert repository.tier("b").is_ready, repository.states()
    assert repository.tier("b").log.state.root == repository.tier("a").log.state.root


def test_a_tier_rolled_back_to_before_the_change_is_replayed() -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(2), "before")
    older = MemoryObjectStore(
        "b", objects={info.key: scene.store("b").get(info.key) for info in scene.store("b").list("")}
    )
    change_root(scene.repository, scene.provider)
    scene.backup(photos(2, 1), "after")
    repository = scene.reopen(stores=[scene.store("a"), older])
    assert repository.tier("b").state is TierState.REPLAYED
