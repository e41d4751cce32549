"""Forgetting and holding, on all tiers and on those that were away."""

import pytest

from repository.errors import HoldNotFound, HoldTaken, LimitExceeded, SnapshotHeld, SnapshotNotFound, TierUnreachable
from repository.log.checkpoints import checkpoint_from, state_from
from repository.opened.repository import Repository
from repository.prune.prune import prune
from repository.retention.orders import forget, holds_of, place_hold, release_hold
from repository.stored.log_entry import HoldPlaced
from repository.stored.snapshot import Snapshot
from repository.upkeep.catch_up import catch_up, lag
from repository.upkeep.check import check
from tests.support.repositories import BrokenStore, Scene, photos, read_back


def _scene(names: tuple[str, ...] = ("a", "b")) -> tuple[Scene, Snapshot, Snapshot]:
    scene = Scene(names)
    first, second = scene.backup(photos(2), "first"), scene.backup(photos(3), "second")
    assert first is not None
    assert second is not None
    return scene, first, second


def _ids(repository: Repository) -> list[str]:
    return [each.id for each in repository.snapshots()]


def test_what_is_forgotten_is_on_no_tier_and_the_rest_restores() -> None:
    scene, first, second = _scene()
    done = forget(scene.repository, [first.id], "too old")
    assert (done.tiers, done.is_everywhere) == ({"a": 1, "b": 1}, True)
    repository = scene.reopen()
    assert _ids(repository) == [second.id]
    with pytest.raises(SnapshotNotFound):
        repository.find_snapshot(first.id)
    assert all(read_back(repository, second, tier) == photos(3) for tier in repository.tiers)
    assert check(repository).is_ok
    assert forget(repository, [first.id]).tiers == {"a": 0, "b": 0}


def test_what_is_not_there_is_not_forgotten_and_nothing_else_is() -> None:
    scene, first, _ = _scene()
    with pytest.raises(SnapshotNotFound):
        forget(scene.repository, [first.id, "ab" * 16])
    assert len(_ids(scene.reopen())) == 2


def test_a_tier_that_was_away_shows_nobody_what_was_forgotten_and_brings_nothing_back() -> None:
    scene, first, second = _scene()
    forget(scene.reopen(stores=[scene.store("a")]), [first.id])
    repository = scene.reopen()
    assert first.id in repository.tier("b").snapshots()
    assert _ids(repository) == [second.id]
    assert not lag(repository, repository.tier("a")).is_behind
    assert len(lag(repository, repository.tier("b")).orders) == 1
    assert catch_up(repository, repository.tier("a")).snapshots == []
    assert catch_up(repository, repository.tier("b")).orders == 1
    assert not lag(repository, repository.tier("b")).is_behind
    assert first.id not in scene.reopen().tier("b").snapshots()


@pytest.mark.parametrize("named", [True, False])
def test_forgetting_said_again_tells_the_tier_that_the_first_time_missed(named: bool) -> None:
    """Whoever was killed in between says the same again; a rule finds nothing more to go."""
    scene, first, second = _scene()
    forget(scene.reopen(stores=[scene.store("a")]), [first.id])
    repository = scene.reopen()
    done = forget(repository, [first.id] if named else [])
    assert (done.tiers, done.taken_over, done.is_everywhere) == ({"a": 0, "b": 0}, {"b": 1}, True)
    assert list(scene.reopen().tier("b").snapshots()) == [second.id]


@pytest.mark.parametrize("named", [True, False])
def test_a_tier_that_cannot_be_told_what_others_forgot_is_owed_it(named: bool) -> None:
    scene, first, second = _scene()
    forget(scene.reopen(stores=[scene.store("a")]), [first.id])
    broken = BrokenStore(scene.store("b"))
    repository = scene.reopen(stores=[scene.store("a"), broken])  # type: ignore[list-item]
    broken.failures["put"] = TierUnreachable("gone")
    done = forget(repository, [second.id] if named else [])
    assert (list(done.tiers), list(done.failed), done.is_everywhere) == (["a"], ["b"], False)


def test_a_tier_that_never_had_it_is_told_and_never_gets_it() -> None:
    """One tier has the snapshot and is away while it is forgotten on the other, which never had it."""
    scene = Scene(("a", "b", "c"))
    snapshot = scene.backup(photos(2), "not on c", only="ab")
    assert snapshot is not None
    forget(scene.reopen(stores=[scene.store("b"), scene.store("c")]), [snapshot.id])
    repository = scene.reopen()
    assert _ids(repository) == []
    for name in "abc":
        assert catch_up(repository, repository.tier(name)).snapshots == []
    with pytest.raises(SnapshotNotFound, match="forgotten"):
        repository.tier("c").commit_snapshot(snapshot.body, packs=())


def test_a_hold_beats_forgetting_until_it_is_released() -> None:
    scene, first, second = _scene()
    assert place_hold(scene.repository, "court", [first.id], "matter 7").tiers == {"a": 1, "b": 1}
    assert place_hold(scene.repository, "court", [first.id]).tiers == {"a": 0, "b": 0}
    with pytest.raises(SnapshotHeld) as refused:
        forget(scene.reopen(), [second.id, first.id])
    assert refused.value.context["hold"] == "court"
    assert len(_ids(scene.reopen())) == 2
    assert holds_of(scene.repository) == {"court": (first.id,)}
    assert release_hold(scene.repository, "court").tiers == {"a": 1, "b": 1}
    assert holds_of(scene.reopen()) == {}
    forget(scene.repository, [first.id])


def test_a_hold_on_what_was_forgotten_meanwhile_is_refused() -> None:
    """It was called placed, and the next prune took the snapshot away."""
    scene, first, _ = _scene()
    holder = scene.repository
    forget(scene.reopen(), [first.id])
    with pytest.raises(SnapshotNotFound):
        place_hold(holder, "court", [first.id])
    assert holds_of(scene.reopen()) == {}


def test_a_hold_stands_where_the_snapshot_is_and_says_where_it_was_forgotten_meanwhile() -> None:
    """A forgetting had come to one tier and not yet to the other."""
    scene, first, _ = _scene()
    holder = scene.repository
    forget(scene.reopen(stores=[scene.store("b")]), [first.id])
    done = place_hold(holder, "court", [first.id])
    assert (done.tiers, list(done.failed), done.is_everywhere) == ({"a": 1}, ["b"], False)
    assert isinstance(done.failed["b"], SnapshotNotFound)
    scene.reopen()
    prune(scene.repository)
    assert read_back(scene.repository, first, scene.tier("a")) == photos(2)


def test_a_hold_on_all_keeps_what_comes_later() -> None:
    scene, _, _ = _scene()
    place_hold(scene.repository, "all", [])
    third = scene.backup(photos(4), "third")
    assert third is not None
    with pytest.raises(SnapshotHeld):
        forget(scene.reopen(), [third.id])


def test_a_name_is_one_holds_and_is_not_used_again() -> None:
    scene, first, second = _scene()
    place_hold(scene.repository, "court", [first.id])
    with pytest.raises(HoldTaken, match="other snapshots"):
        place_hold(scene.repository, "court", [second.id])
    with pytest.raises(HoldTaken, match="other snapshots"):
        place_hold(scene.repository, "court", [])
    release_hold(scene.repository, "court")
    assert release_hold(scene.repository, "court").tiers == {"a": 0, "b": 0}
    with pytest.raises(HoldTaken, match="released"):
        place_hold(scene.repository, "court", [first.id])


@pytest.mark.parametrize("name", ["", "x" * 201, "line\nbreak"])
def test_a_hold_has_a_name_that_can_be_read(name: str) -> None:
    scene, first, _ = _scene()
    with pytest.raises(LimitExceeded):
        place_hold(scene.repository, name, [first.id])


def test_holds_and_releases_reach_a_tier_that_was_away_and_an_old_one_does_not_come_back() -> None:
    scene, first, _ = _scene()
    place_hold(scene.repository, "old", [first.id])
    alone = scene.reopen(stores=[scene.store("a")])
    release_hold(alone, "old")
    place_hold(alone, "new", [first.id])
    repository = scene.reopen()
    assert holds_of(repository) == {"new": (first.id,)}
    for _ in range(2):
        for name in "ab":
            catch_up(repository, repository.tier(name))
    repository = scene.reopen()
    assert [tier.log.state.holds for tier in repository.tiers] == [{"new": (first.id,)}] * 2
    with pytest.raises(HoldNotFound):
        release_hold(repository, "never placed")


def test_a_hold_that_another_tier_has_keeps_what_was_forgotten_here() -> None:
    """Two tiers that did not see each other: what is held on one is listed, and the other does not hinder it."""
    scene, first, second = _scene()
    place_hold(scene.reopen(stores=[scene.store("b")]), "court", [first.id])
    forget(scene.reopen(stores=[scene.store("a")]), [first.id])
    repository = scene.reopen()
    assert _ids(repository) == [first.id, second.id]
    for name in "ab":
        assert catch_up(repository, repository.tier(name)).is_complete
        assert not lag(repository, repository.tier(name)).is_behind
    repository = scene.reopen()
    assert [tier.name for tier in repository.tiers_with(first)] == ["b"]
    assert read_back(repository, first, repository.tier("b")) == photos(2)


def test_a_hold_that_was_released_while_a_tier_was_away_keeps_nothing_any_more() -> None:
    scene, first, second = _scene()
    place_hold(scene.repository, "old", [first.id])
    alone = scene.reopen(stores=[scene.store("a")])
    release_hold(alone, "old")
    forget(alone, [first.id])
    assert _ids(scene.reopen()) == [second.id]
    assert forget(scene.repository, [first.id]).is_everywhere
    assert first.id not in scene.reopen().tier("b").snapshots()


def test_an_order_that_another_writer_gave_in_between_is_judged_anew() -> None:
    """The hold comes after the look at the logs and before the entry."""
    scene, first, _ = _scene(("a",))
    mine, other = scene.reopen(), scene.reopen()
    other.tier("a").log.append(lambda _: HoldPlaced(time_ns=1, name="late", snapshots=(first.id,)))
    with pytest.raises(SnapshotHeld):
        forget(mine, [first.id])
    assert first.id in mine.tier("a").snapshots()


def test_a_tier_that_fails_is_owed_the_order() -> None:
    scene, first, _ = _scene()
    broken = BrokenStore(scene.store("b"))
    repository = scene.reopen(stores=[scene.store("a"), broken])
    broken.failures["put"] = TierUnreachable("away")
    done = forget(repository, [first.id])
    assert done.tiers == {"a": 1}
    assert set(done.failed) == {"b"}
    assert not done.is_everywhere


def test_orders_survive_a_checkpoint() -> None:
    scene, first, second = _scene(("a",))
    place_hold(scene.repository, "court", [second.id])
    place_hold(scene.repository, "over", [])
    release_hold(scene.repository, "over")
    forget(scene.repository, [first.id])
    state = scene.repository.tier("a").log.state
    again = state_from(checkpoint_from(state, 1), state.repository_id, state.genesis, state.root)
    assert (again.forgotten.plain(), again.released_holds, again.holds) == (
        {first.id: "first"},
        {"over"},
        {"court": (second.id,)},
    )


@pytest.fixture
def _few_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("log.state", "retention.orders", "opened.second_copies"):
        monkeypatch.setattr(f"repository.{module}.FORGOTTEN_MAX", 3)


@pytest.mark.usefixtures("_few_are_remembered")
def test_of_forgotten_snapshots_the_last_ones_are_remembered_and_all_are_freed() -> None:
    """The log knows of the older ones: they are no loss, nor is anybody owed them, and a prune frees what they held."""
    scene = Scene(("a", "b"))
    made = [scene.backup(photos(1, number), f"run {number}") for number in range(7)]
    ids = [each.id for each in made if each is not None]
    for each in ids[:6]:
        forget(scene.reopen(), [each])
    repository = scene.reopen()
    for tier in repository.tiers:
        assert list(tier.log.state.forgotten) == ids[3:6]
        assert len(tier.log.state.by_token) == 4
        assert not lag(repository, tier).is_behind
    assert check(repository, read_percent=100).findings == []
    prune(repository)
    for store in scene.stores:
        assert [info.key for info in store.list("snapshots/")] == [f"snapshots/{ids[6]}"]
        assert len(list(store.list("packs/"))) == 2
    assert check(scene.reopen(), read_percent=100).findings == []


@pytest.mark.usefixtures("_few_are_remembered")
def test_tiers_that_remember_others_do_not_tell_each_other_for_ever() -> None:
    """Two of them know of more than one remembers: what is older than that may be there again."""
    scene = Scene("abc")
    made = [scene.backup(photos(1, number), f"run {number}") for number in range(10)]
    ids = [each.id for each in made if each is not None]
    for number, store in enumerate(scene.stores):
        forget(scene.reopen(stores=[store]), ids[3 * number : 3 * number + 3])
    for _ in range(2):
        for tier in scene.reopen().tiers:
            catch_up(scene.repository, tier)
    for tier in scene.reopen().tiers:
        assert not lag(scene.repository, tier).is_behind
        assert ids[9] in tier.snapshots()
