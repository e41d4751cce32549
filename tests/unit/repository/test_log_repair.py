"""Lost and damaged log entries: what is put in their place is what was there, or says that it is not known."""

import pytest

from repository.opened.repository import Repository
from repository.stored.log_entry import entry_object_key
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.check import check
from repository.upkeep.repair import accept_history, repair
from tests.support.repositories import Scene, photos, write_snapshot


def _copied_tier() -> tuple[Scene, MemoryObjectStore, int]:
    """Tier b was copied from a and made one of its own by the entry whose number comes last; both went on."""
    scene = Scene(("a",))
    for number in range(3):
        scene.backup(photos(1, number), f"run {number}")
    copy = MemoryObjectStore("b", objects=scene.store("a").contents())
    scene.stores.append(copy)
    repository = scene.reopen()
    accept_history(repository, repository.tier("b"))
    named = repository.tier("b").log.state.head.number
    for number in range(3, 6):
        write_snapshot(repository, repository.ready_tiers(), photos(1, number), f"run {number}", scene.randomness)
    return scene, copy, named


def _log_of(store: MemoryObjectStore) -> dict[str, bytes]:
    return {key: body for key, body in store.contents().items() if key.startswith("log/")}


@pytest.mark.parametrize("is_alone", [True, False])
@pytest.mark.parametrize("back", [0, 1])
def test_entry_lost_where_a_copied_log_got_its_own_id_costs_no_other_entry(back: int, is_alone: bool) -> None:
    """Neither does the lost entry fault those behind it, nor do another tier's take the place of genuine ones."""
    scene, store, named = _copied_tier()
    lost = entry_object_key(named - back)
    before = _log_of(store)
    store.delete(lost)
    scene.reopen(stores=[store] if is_alone else None)
    tier = scene.tier("b")
    assert [fault.number for fault in tier.log.state.faults] == [named - back]
    assert len(tier.snapshots()) == 6 - back
    assert repair(scene.repository, tier, bridge=True).is_complete
    after = _log_of(store)
    assert {key: after[key] for key in before if key != lost} == {key: before[key] for key in before if key != lost}
    repository = scene.reopen()
    assert [each.is_ready for each in repository.tiers] == [True, True], repository.states()
    assert [len(each.snapshots()) for each in repository.tiers] == [6, 6]
    assert check(repository, read_percent=100).damage == []


def test_entries_of_a_tier_that_the_log_bears_witness_to_are_another_ones() -> None:
    """A lost entry is no door for what was copied from another tier behind it."""
    scene = Scene(("a", "b"))
    for number in range(3):
        scene.backup(photos(1, number), f"run {number}")
    store = scene.store("b")
    store.delete(entry_object_key(4))
    store.put(entry_object_key(5), scene.store("a").get(entry_object_key(5)))
    repository: Repository = scene.reopen()
    assert [fault.number for fault in repository.tier("b").log.state.faults] == [4, 5]
