"""A snapshot whose log entry is lost, and whose second copy is whole, is found by `latest` and by its id, and told."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from repository.errors import NoUsableTier, Replayed, SnapshotNotFound, TierUnreachable
from repository.log.commit_log import CHECKPOINT_EVERY
from repository.log.tail import TAIL_EVERY, TAIL_KEY
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.opened.second_copies import Fate, fate_of, unclaimed
from repository.opened.seen import SeenTier
from repository.retention.orders import place_hold
from repository.stored.log_entry import entry_object_key
from repository.stored.manifest_object import manifest_object_key
from repository.stored.snapshot import Snapshot
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import OBJECT_LENGTH_MAX, Body
from repository.upkeep.accepted_history import accept_history
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from repository.upkeep.manifests import put_end_back
from repository.upkeep.repair import repair
from tests.support.repositories import BrokenStore, Scene, SeededRandomness, photos, read_back


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


def test_where_a_writer_is_faster_than_the_repair_of_the_logs_end_nothing_fails() -> None:
    """Another entry is in the place by then: what that means for the copy is judged by the log as it is."""
    scene, _ = _scene(None)
    behind = scene.repository.tier("a")
    place_hold(scene.reopen(), "court", [scene.repository.snapshots()[0].id])
    assert put_end_back(behind) == []
    assert check(scene.reopen()).is_ok


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


class _KeepsVersions(BrokenStore):
    """Keeps what lay under some keys before."""

    def __init__(self, inner: MemoryObjectStore, beneath: dict[str, list[bytes]]) -> None:
        super().__init__(inner)
        self._beneath = beneath

    def versions(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> Iterator[bytes]:
        """The oldest first."""
        return iter([*self._beneath.get(key, []), self._inner.get(key, length_max=length_max)])


def test_copy_that_was_written_over_is_found_beneath() -> None:
    """Whatever lies on top, and beside it."""
    scene, last = _scene(None)
    key = manifest_object_key(last.id)
    copy = scene.store("a").get(key)
    scene.store("a").put(key, b"ransom")
    store = _KeepsVersions(scene.store("a"), {key: [b"older ransom", copy, b"more"]})
    repository = scene.reopen(stores=[store])  # type: ignore[list-item]
    assert repository.find_snapshot(last.id).id == last.id
    kinds = [each.problem for each in check(repository).findings if each.object_key == key]
    assert kinds == [Problem.UNCOMMITTED]
    # Without versions nobody can say what it was, and that is said.
    kinds = [each.problem for each in check(scene.reopen()).findings if each.object_key == key]
    assert kinds == [Problem.STRANGE]


@pytest.mark.parametrize("was_made", [False, True])
def test_number_that_two_entries_had_is_judged_by_what_lay_there(was_made: bool) -> None:
    """A writer that died is told from an end that was hidden and written over."""
    scene, last = _scene(None)
    key = entry_object_key(scene.tier("a").log.state.head.number + 1)
    first = scene.store("a").get(manifest_object_key(last.id))
    scene.backup(photos(2, 7), "run 7")
    beneath = {key: [b"ransom", first]} if was_made else {}
    store = _KeepsVersions(scene.store("a"), beneath)
    repository = scene.reopen(stores=[store])  # type: ignore[list-item]
    kinds = [each.problem for each in check(repository).findings if "snapshots/" in each.object_key]
    assert kinds == [Problem.UNCOMMITTED if was_made else Problem.ABANDONED]
    repair(repository, repository.tier("a"))
    assert (last.id in scene.reopen().tier("a").snapshots()) is was_made


def test_tier_that_fails_on_a_copy_is_not_called_damaged() -> None:
    scene, last = _scene(None)

    class Away(BrokenStore):
        def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
            if key == manifest_object_key(last.id):
                raise TierUnreachable("gone")
            return self._inner.get(key, length_max=length_max)

    repository = scene.reopen(stores=[Away(scene.store("a"))])  # type: ignore[list-item]
    assert [each.problem for each in check(repository).damage] == [Problem.TIER]


def _fate(scene: Scene, last: Snapshot) -> Fate:
    tier = scene.reopen().tier("a")
    (copy,) = [each for each in unclaimed(tier) if each.snapshot.id == last.id]
    return fate_of(copy, tier.log.whole(), tier)


def test_fate_of_an_entry_is_told_by_what_lies_around_its_place() -> None:
    assert _fate(*_scene(b"?")) is Fate.FAULTY
    assert _fate(*_scene(None)) is Fate.BEYOND
    scene, last = _scene(None)
    scene.backup(photos(2, 7), "run 7")
    assert _fate(scene, last) is Fate.NEVER_MADE
    # The log goes on otherwise one entry before its place.
    scene, last = _scene(None)
    before = scene.tier("a").log.state.head.number
    scene.store("a").delete(entry_object_key(before))
    scene.reopen()
    for number in (7, 8):
        scene.backup(photos(2, number), f"run {number}")
    assert _fate(scene, last) is Fate.FORKED


def test_entry_that_was_given_up_is_known_for_it() -> None:
    scene, last = _scene(b"?")
    key = manifest_object_key(last.id)
    copy = scene.store("a").get(key)
    scene.store("a").delete(key)
    repair(scene.repository, scene.tier("a"), bridge=True)
    scene.store("a").put(key, copy)
    assert _fate(scene, last) is Fate.BRIDGED
    # What stands behind the bridge is no other history.
    scene.backup(photos(2, 7), "run 7")
    assert _fate(scene, last) is Fate.BRIDGED


def test_copies_of_several_lost_entries_count_in_their_order() -> None:
    scene = Scene()
    snapshots = [scene.backup(photos(2, number), f"run {number}") for number in range(3)]
    for number in scene.tier("a").log.state.entry_of.values():
        scene.store("a").delete(entry_object_key(number))
    found = unclaimed(scene.reopen().tier("a"))
    assert [each.snapshot.id for each in found] == [each.id for each in snapshots if each is not None]


def test_writer_that_died_before_its_entry_left_no_snapshot() -> None:
    scene = Scene()
    scene.backup(photos(1), "run 0")
    copy = scene.store("a").get(manifest_object_key(scene.repository.snapshots()[0].id))
    scene.backup(photos(1, 1), "run 1")
    scene.store("a").put(manifest_object_key("ab" * 16), copy)
    with pytest.raises(SnapshotNotFound):
        scene.reopen().find_snapshot("abab")


class _Overtaken(BrokenStore):
    """Before the copy of the next entry is put there, another writer is done."""

    def __init__(self, inner: MemoryObjectStore, overtake: Callable[[], object]) -> None:
        super().__init__(inner)
        self._overtake: Callable[[], object] | None = overtake

    def put(self, key: str, body: Body, **options: Any) -> None:
        """Let the other one go first."""
        if key.startswith("snapshots/") and self._overtake is not None:
            overtake, self._overtake = self._overtake, None
            overtake()
        self._inner.put(key, body, **options)


def test_writer_that_was_overtaken_leaves_the_copy_of_the_entry_that_counts() -> None:
    """Two that hold the same run, made at the same moment: the slower one had put its own copy over the other's."""
    scene = Scene()
    scene.backup(photos(1), "run 0")
    (snapshot,) = scene.repository.snapshots()
    manifest = msgspec.structs.replace(snapshot.manifest, run_token="run 1").encode()
    packs = scene.tier("a").index.pack_ids()
    other = Repository.open([scene.store("a")], scene.provider, randomness=SeededRandomness(5))
    store = _Overtaken(scene.store("a"), lambda: other.tier("a").commit_snapshot(manifest, packs=packs))
    repository = scene.reopen(stores=[store])  # type: ignore[list-item]
    assert repository.tier("a").commit_snapshot(manifest, packs=packs).manifest.run_token == "run 1"
    assert check(scene.reopen()).findings == []
    assert len(scene.repository.snapshots()) == 2


def test_tier_that_does_not_list_its_copies_hides_no_error() -> None:
    scene, last = _scene(b"?")
    store = BrokenStore(scene.store("a"))
    repository = scene.reopen(stores=[store])  # type: ignore[list-item]
    store.failures["list"] = SnapshotNotFound("away")
    with pytest.raises(SnapshotNotFound, match="no snapshot has this id"):
        repository.find_snapshot(last.id)


# An end that was cut off a log of which more was seen


def _cut(scene: Scene, entries: int, *, and_tail: bool = True) -> Repository:
    """Cut these many entries off tier a's log, and open it as somebody who has seen all."""
    log = scene.tier("a").log
    head = log.state.head
    seen = {"a": [SeenTier(log.state.tier_id, head)]}
    for number in range(head.number - entries + 1, head.number + 1):
        scene.store("a").delete(entry_object_key(number))
    if and_tail:
        scene.store("a").delete(TAIL_KEY)
    return scene.reopen(known=lambda _: seen)


def test_end_that_was_cut_off_is_put_back_though_more_was_seen() -> None:
    """Where the copies lead to the very head that was seen, nobody has to accept anything."""
    scene = Scene()
    snapshots = [scene.backup(photos(2, number), f"run {number}") for number in range(4)]
    head = scene.tier("a").log.state.head
    repository = _cut(scene, 3)
    tier = repository.tier("a")
    assert tier.state is TierState.REPLAYED
    assert isinstance(tier.error, Replayed)
    assert "repo repair" in tier.error.hint
    assert "--accept-history a" in tier.error.hint
    result = repair(repository, tier)
    assert result.is_complete
    assert tier.is_ready
    assert tier.log.state.head == head
    assert list(tier.snapshots()) == [each.id for each in snapshots if each is not None]
    assert [each.source for each in result.actions] == ["copy on a"] * 3
    assert check(repository).is_ok


def test_end_of_which_the_last_entry_has_no_copy_stays_and_is_told() -> None:
    """Nobody knows what it said: that is for an operator to accept, who gets what there is."""
    scene = Scene()
    last = [scene.backup(photos(2, number), f"run {number}") for number in range(3)][-1]
    assert last is not None
    place_hold(scene.repository, "audit", [last.id])
    repository = _cut(scene, 2)
    tier = repository.tier("a")
    listed = [info.key for info in scene.store("a").list("")]
    with pytest.raises(NoUsableTier) as refused:
        repair(repository, tier)
    assert "--accept-history a" in refused.value.hint
    assert [info.key for info in scene.store("a").list("")] == listed
    assert accept_history(repository, tier)
    assert repair(repository, tier).is_complete
    assert last.id in tier.snapshots()


def test_entry_that_was_cut_off_before_the_last_is_damage_like_any_other() -> None:
    """The last one, of which there is a copy, proves the history; what the others said is asked for one by one."""
    scene = Scene()
    first = scene.backup(photos(2, 0), "run 0")
    assert first is not None
    place_hold(scene.repository, "audit", [first.id])
    scene.backup(photos(2, 1), "run 1")
    repository = _cut(scene, 2)
    result = repair(repository, repository.tier("a"))
    assert repository.tier("a").state is TierState.DAMAGED
    assert [each.problem for each in result.unrepaired] == [Problem.LOG_ENTRY]
    assert repair(repository, repository.tier("a"), bridge=True).is_complete
    assert len(repository.snapshots()) == 2


def test_entries_that_are_no_snapshots_come_back_from_the_tail() -> None:
    """It has them byte for byte."""
    scene = Scene()
    first = scene.backup(photos(2, 0), "run 0")
    assert first is not None
    log = scene.tier("a").log
    for number in range(CHECKPOINT_EVERY):
        scene.backup(photos(1, 100 + number), f"more {number}")
    assert log.state.newest_checkpoint
    for number in range(TAIL_EVERY):
        place_hold(scene.repository, f"hold {number}", [first.id])
    assert not log.checkpoint()
    state = log.state
    repository = _cut(scene, 3, and_tail=False)
    assert len(repository.tier("a").log.state.holds) < TAIL_EVERY
    assert repair(repository, repository.tier("a")).is_complete
    assert repository.tier("a").log.state.head == state.head
    assert repository.tier("a").log.state.holds == state.holds


def test_log_that_was_written_on_after_it_was_cut_is_no_end_to_put_back() -> None:
    scene = Scene()
    for number in range(3):
        scene.backup(photos(2, number), f"run {number}")
    tier = scene.tier("a")
    seen = {"a": [SeenTier(tier.log.state.tier_id, tier.log.state.head)]}
    scene.store("a").delete(entry_object_key(tier.log.state.head.number))
    scene.reopen()
    scene.backup(photos(2, 7), "run 7")
    repository = scene.reopen(known=lambda _: seen)
    assert "tier shows another history" in repository.states()["a"]
    with pytest.raises(NoUsableTier):
        repair(repository, repository.tier("a"))
