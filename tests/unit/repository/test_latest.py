"""Which snapshot is the newest: by its own time, wherever and however late it was committed."""

import itertools
from dataclasses import replace

import pytest

from repository.log.shared_map import SharedMap
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.stored.log_entry import entry_object_key
from repository.stored.manifest_object import manifest_object_key
from repository.stored.snapshot import Snapshot, SnapshotManifest
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.catch_up import catch_up
from repository.upkeep.repair import repair
from tests.support.repositories import START_NS, Scene, photos


def _ids(repository: Repository) -> list[str]:
    return [snapshot.id for snapshot in repository.snapshots()]


def _committed(scene: Scene, tier: str, token: str, seconds: int, parent: Snapshot | None = None) -> Snapshot:
    """A snapshot without a tree, of that time."""
    manifest = SnapshotManifest(
        time_ns=START_NS + seconds * 1_000_000_000,
        run_token=token,
        label="photos",
        root=(),
        domain=scene.repository.keys.root.identity_id.hex(),
        parent=parent.id if parent is not None else None,
    )
    return scene.repository.tier(tier).commit_snapshot(manifest, packs=())


def test_snapshot_that_is_committed_again_by_repair_is_not_the_newest() -> None:
    """Its entry was given up, and then its second copy turned up: it is as old as it was."""
    scene = Scene()
    made = [scene.backup(photos(1, n), f"run {n}") for n in range(3)]
    lost = scene.tier("a").log.state.entry_of[made[0].id]  # type: ignore[union-attr]
    objects = scene.store("a").contents()
    del objects[entry_object_key(lost)]
    copy = manifest_object_key(made[0].id)  # type: ignore[union-attr]
    body = objects.pop(copy)
    store = MemoryObjectStore("a", objects=objects)
    repository = scene.reopen(stores=[store])
    assert repair(repository, repository.tier("a"), bridge=True).given_up == [lost]
    store.put(copy, body)
    repository = scene.reopen(stores=[store])
    assert repair(repository, repository.tier("a")).is_complete

    again = repository.tier("a").log.state
    assert list(again.snapshots) == [each.id for each in (made[1], made[2], made[0]) if each]
    assert _ids(repository) == [each.id for each in made if each]
    assert repository.find_snapshot("latest") == made[2]


def test_latest_does_not_depend_on_the_order_of_the_tiers_when_one_was_caught_up() -> None:
    """One tier lacked the second until after the third."""
    scene = Scene(("a", "b", "c"))
    made = [
        scene.backup(photos(1, 0), "run 0"),
        scene.backup(photos(1, 1), "run 1", only=["a"]),
        scene.backup(photos(1, 2), "run 2"),
    ]
    repository = scene.reopen()
    catch_up(repository, repository.tier("b"))

    expected = [each.id for each in made if each]
    for count in (1, 2, 3):
        for names in itertools.permutations("abc", count):
            opened = scene.reopen(stores=[scene.store(name) for name in names])
            assert opened.find_snapshot("latest").id == expected[-1], names
            if names != ("c",):
                assert _ids(opened) == expected, names


def test_snapshot_never_comes_before_the_one_that_it_was_made_from_when_a_clock_went_back() -> None:
    scene = Scene()
    first = _committed(scene, "a", "1", 100)
    second = _committed(scene, "a", "2", 7, parent=first)
    third = _committed(scene, "a", "3", 8, parent=second)
    other = _committed(scene, "a", "4", 50)
    assert _ids(scene.repository) == [other.id, first.id, second.id, third.id]


def test_snapshots_of_one_moment_are_in_the_order_of_their_entries() -> None:
    scene = Scene()
    made = [_committed(scene, "a", str(n), 5).id for n in range(9)]
    assert _ids(scene.repository) == made


def test_order_of_snapshots_costs_no_search_among_them() -> None:
    """Two tiers that each lack one of the other's: what is compared grows with the snapshots, not with their square."""
    scene = Scene(("a", "b"))
    count = 300
    for number in range(count):
        for tier in ("a", "b"):
            if (number, tier) not in ((3, "a"), (count - 5, "b")):
                _committed(scene, tier, str(number), number)

    compared = 0

    class Counted(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    for opened in scene.repository.tiers:
        state = opened.log.state
        opened.log.state = replace(
            state, snapshots=SharedMap({Counted(key): each for key, each in state.snapshots.items()})
        )
    assert len(scene.repository.snapshots()) == count
    assert compared < 20 * count


@pytest.mark.parametrize("is_deleted", [True, False])
def test_newest_is_not_known_when_the_end_of_a_log_is_damaged(is_deleted: bool) -> None:
    """Not even where another tier is whole: that one may never have got what was lost."""
    scene = Scene(("a", "b"))
    for number in range(3):
        scene.backup(photos(1, number), f"run {number}")
    assert not scene.reopen().may_hide_snapshots()
    objects = scene.store("a").contents()
    last = scene.tier("a").log.state.head.number
    objects[entry_object_key(last)] = b"x"
    if is_deleted:
        objects[entry_object_key(last + 1)] = b"y"
        del objects[entry_object_key(last)]
    repository = scene.reopen(stores=[MemoryObjectStore("a", objects=objects), scene.store("b")])
    assert [tier.name for tier in repository.may_hide_snapshots(newest=True)] == ["a"]
    assert [tier.name for tier in repository.may_hide_snapshots()] == ["a"]


def test_newest_is_known_when_what_is_lost_lies_before_a_snapshot() -> None:
    scene = Scene()
    made = [scene.backup(photos(1, number), f"run {number}") for number in range(3)]
    objects = scene.store("a").contents()
    del objects[entry_object_key(scene.tier("a").log.state.entry_of[made[1].id])]  # type: ignore[union-attr]
    repository = scene.reopen(stores=[MemoryObjectStore("a", objects=objects)])
    assert not repository.may_hide_snapshots(newest=True)
    assert repository.may_hide_snapshots()
    assert repository.find_snapshot("latest") == made[2]


def test_newest_is_not_known_when_a_tier_was_rolled_back() -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(1, 0), "run 0")
    scene.reopen()
    before = scene.store("a").contents()
    for number in (1, 2):
        scene.backup(photos(1, number), f"run {number}")
        scene.reopen()
    repository = scene.reopen(stores=[MemoryObjectStore("a", objects=before), scene.store("b")])
    assert repository.tier("a").state is TierState.REPLAYED
    assert [tier.name for tier in repository.may_hide_snapshots(newest=True)] == ["a"]


def test_snapshots_of_one_label_are_in_the_order_that_they_have_among_all() -> None:
    """Also where clocks went back, and where one was made from another label's."""
    scene = Scene(("a",))
    domain = scene.repository.keys.root.identity_id.hex()
    made: list[Snapshot] = []
    for number, (label, seconds, parent) in enumerate(
        [("x", 50, None), ("y", 10, 0), ("x", 20, 1), ("y", 5, None), ("x", 7, 3), ("y", 60, 2), ("x", 50, None)]
    ):
        manifest = SnapshotManifest(
            time_ns=START_NS + seconds * 1_000_000_000,
            run_token=f"run {number}",
            label=label,
            root=(),
            domain=domain,
            parent=None if parent is None else made[parent].id,
        )
        made.append(scene.tier("a").commit_snapshot(manifest, packs=()))
    everything = scene.repository.snapshots()
    for label in ("x", "y", "z"):
        assert scene.repository.snapshots(label) == [each for each in everything if each.brief.label == label]
