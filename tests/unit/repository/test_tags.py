"""Tags that snapshots got later: one last word on all tiers, also on one that was away, and through what is lost."""

import pytest

from repository.errors import SnapshotNotFound, TextInvalid
from repository.retention.orders import forget, give_tags, owed_orders
from repository.retention.rules import Rules, judge
from repository.retention.tags import tags_of
from repository.upkeep.catch_up import catch_up
from tests.support.repositories import Scene, photos


def _scene() -> tuple[Scene, str, str]:
    scene = Scene(("a", "b"))
    ids = []
    for number in range(2):
        snapshot = scene.backup(photos(1, number), f"run {number}")
        assert snapshot is not None
        ids.append(snapshot.id)
    return scene, ids[0], ids[1]


def test_a_snapshot_has_the_tags_that_it_was_given_last() -> None:
    """On every tier, after it is opened anew; the same once more is no entry; a forgotten one has none."""
    scene, first, second = _scene()
    assert give_tags(scene.repository, {first: ("kept", "old"), second: ("kept", "old")}).tiers == {"a": 1, "b": 1}
    assert give_tags(scene.repository, {first: ("kept", "old")}).tiers == {"a": 0, "b": 0}
    give_tags(scene.repository, {first: ()})
    again = scene.reopen()
    tags = {each.id: tags_of(again, each) for each in again.snapshots()}
    assert tags == {first: (), second: ("kept", "old")}
    judged = judge(again.snapshots(), Rules(tags=("kept",)), again.clock.now_ns(), {}, tags)
    assert {each.snapshot.id for each in judged if "tag kept" in each.kept_by} == {second}
    forget(again, [first])
    assert first not in again.tier("a").log.state.tags
    with pytest.raises(SnapshotNotFound):
        give_tags(again, {first: ("back",)})
    with pytest.raises(TextInvalid):
        give_tags(again, {second: ("\ud800",)})


def test_a_tier_that_was_away_takes_the_last_word_over() -> None:
    """Also where it was told something itself meanwhile, and by a writer who could not know of the other."""
    scene, first, _ = _scene()
    alone = {name: scene.reopen(stores=[scene.store(name)]) for name in ("a", "b")}
    give_tags(alone["a"], {first: ("one",)})
    give_tags(alone["a"], {first: ("one", "two")})
    give_tags(alone["b"], {first: ("three",)})
    both = scene.reopen()
    (snapshot,) = [each for each in both.snapshots() if each.id == first]
    assert tags_of(both, snapshot) == ("one", "two")
    assert [len(owed_orders(both, both.tier(name))) for name in ("a", "b")] == [0, 1]
    catch_up(both, both.tier("b"))
    kept = [scene.reopen().tier(name).log.state.tags for name in ("a", "b")]
    assert kept[0] == kept[1]
