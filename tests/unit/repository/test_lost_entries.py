"""A snapshot whose log entry is lost, and whose second copy is whole, is found by `latest` and by its id, and told."""

import pytest

from repository.errors import SnapshotNotFound
from repository.opened.open_tier import TierState
from repository.stored.log_entry import entry_object_key
from repository.stored.manifest_object import manifest_object_key
from repository.stored.snapshot import Snapshot
from tests.support.repositories import BrokenStore, Scene, photos, read_back


def _scene(damage: bytes | None) -> tuple[Scene, Snapshot]:
    """Three snapshots on one tier, the entry of the last one damaged, or gone."""
    scene = Scene()
    snapshots = [scene.backup(photos(2, number), f"run {number}") for number in range(3)]
    last = entry_object_key(scene.tier("a").log.state.head.number)
    scene.store("a").delete(last)
    if damage is not None:
        scene.store("a").put(last, damage)
    scene.reopen()
    assert snapshots[2] is not None
    return scene, snapshots[2]


def test_latest_is_the_one_whose_entry_is_damaged() -> None:
    scene, last = _scene(b"?")
    assert scene.tier("a").state is TierState.DAMAGED
    assert scene.repository.may_hide_snapshots(newest=True)
    assert last.id not in [each.id for each in scene.repository.snapshots()]
    found = scene.repository.find_snapshot("latest")
    assert found.id == last.id
    assert not scene.repository.is_committed(found)
    # What only its own segments list is read, too.
    assert read_back(scene.repository, found, scene.tier("a")) == photos(2, 2)


@pytest.mark.parametrize("damage", [b"?", None])
def test_id_is_found_though_the_log_does_not_have_it(damage: bytes | None) -> None:
    scene, last = _scene(damage)
    found = scene.repository.find_snapshot(last.id[:10])
    assert found.id == last.id
    assert read_back(scene.repository, found, scene.tier("a")) == photos(2, 2)
    with pytest.raises(SnapshotNotFound):
        scene.repository.find_snapshot("f" * 32)
    with pytest.raises(SnapshotNotFound):
        scene.repository.find_snapshot("")


def test_what_was_read_for_a_lost_entry_carries_no_new_snapshot() -> None:
    """Its segments are in no log: a decision is made on the index of the log alone."""
    scene, last = _scene(None)
    tier = scene.tier("a")
    before = tier.index.pack_ids()
    scene.repository.find_snapshot(last.id)
    assert tier.index.pack_ids() > before
    scene.backup(photos(2, 2), "run 3")
    scene.store("a").delete(manifest_object_key(last.id))
    alone = scene.reopen()
    assert read_back(alone, alone.find_snapshot("latest"), alone.tier("a")) == photos(2, 2)


def test_writer_that_died_before_its_entry_left_no_snapshot() -> None:
    scene = Scene()
    scene.backup(photos(1), "run 0")
    copy = scene.store("a").get(manifest_object_key(scene.repository.snapshots()[0].id))
    scene.backup(photos(1, 1), "run 1")
    scene.store("a").put(manifest_object_key("ab" * 16), copy)
    with pytest.raises(SnapshotNotFound):
        scene.reopen().find_snapshot("abab")


def test_tier_that_does_not_list_its_copies_hides_no_error() -> None:
    scene, last = _scene(b"?")
    store = BrokenStore(scene.store("a"))
    repository = scene.reopen(stores=[store])  # type: ignore[list-item]
    store.failures["list"] = SnapshotNotFound("away")
    with pytest.raises(SnapshotNotFound, match="no snapshot has this id"):
        repository.find_snapshot(last.id)
