"""Tiers that lack a part of what they seem to have: nothing is committed, nor forgotten, on their word."""

from repository.backup.backup import BackupOptions, BackupResult, backup
from repository.format import pack_object_key
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.stored.log_entry import PacksMarked, entry_object_key
from repository.upkeep.catch_up import catch_up
from repository.upkeep.rebuild import rebuild_index
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.repositories import Scene, photos, read_back
from tests.support.snapshots import kept


def _run(repository: Repository, tree: MemoryFolder, token: str) -> BackupResult:
    return backup(repository, MemorySource(tree), options=BackupOptions(run_token=token, label="photos"))


def _tree(top: bytes) -> MemoryFolder:
    below = MemoryFolder({b"inside": MemoryFile(b"inside", inode=2)})
    return MemoryFolder({b"below": below, b"top": MemoryFile(top, inode=3, mtime_ns=len(top))})


def test_unchanged_page_in_a_marked_pack_is_stored_again() -> None:
    """A pack that is to be deleted is not relied on for the tree either: the snapshot outlives the deletion."""
    scene = Scene()
    _run(scene.repository, _tree(b"1"), "1")
    first = set(scene.tier("a").index.pack_ids())
    _run(scene.repository, _tree(b"22"), "2")
    doomed = sorted(pack for pack in first if scene.store("a").get(pack_object_key(pack))[12] == 1)
    assert len(doomed) == 1
    scene.tier("a").log.append(lambda _: PacksMarked(time_ns=1, packs=tuple(pack.hex() for pack in doomed)))
    scene.reopen()
    third = _run(scene.repository, _tree(b"22"), "3")
    for pack in doomed:
        scene.store("a").delete(pack_object_key(pack))
    repository = scene.reopen()
    found = kept(repository, third.snapshot)
    assert {path: each.body for path, each in found.items() if each.body is not None} == {
        b"below/inside": b"inside",
        b"top": b"22",
    }


def test_snapshot_whose_packs_a_damaged_source_forgot_is_not_committed_elsewhere() -> None:
    """A source that lost an entry lost its segments' rows with it: what its index knows is not all that is needed."""
    scene = Scene(("a", "b"))
    scene.backup(photos(2), "shared")
    scene.backup(photos(6), "lost", only="a")
    lost = scene.tier("a").log.state.head.number
    last = scene.backup({**photos(6), b"more": b"!" * 50}, "last", only="a")
    assert last is not None
    scene.store("a").delete(entry_object_key(lost))
    repository = scene.reopen()
    assert repository.tier("a").state is TierState.DAMAGED
    result = catch_up(repository, repository.tier("b"))
    assert result.left_out == [last.id]
    assert last.id not in repository.tier("b").snapshots()


def test_snapshot_that_lost_a_pack_for_good_is_not_committed_elsewhere() -> None:
    """An index that was rebuilt without a lost pack looks whole; the tree tells."""
    scene = Scene(("a", "b"))
    scene.backup(photos(2), "shared")
    before = scene.tier("a").index.pack_ids()
    last = scene.backup(photos(6), "last", only="a")
    assert last is not None
    data = [
        pack
        for pack in scene.tier("a").index.pack_ids() - before
        if scene.store("a").get(pack_object_key(pack))[12] == 0
    ]
    scene.store("a").delete(pack_object_key(data[0]))
    rebuild_index(scene.repository, scene.tier("a"))
    whole = scene.backup(photos(1, seed=3), "whole", only="a")
    assert whole is not None
    result = catch_up(scene.repository, scene.tier("b"))
    assert (result.left_out, result.snapshots) == ([last.id], [whole.id])
    assert read_back(scene.repository, whole, scene.tier("b")) == photos(1, seed=3)


def test_rows_of_packs_that_only_this_tier_still_has_survive_a_catch_up() -> None:
    """A source that rebuilt its index without a pack it lost does not take that pack from this tier's index."""
    scene = Scene(("a", "b"))
    shared = scene.backup(photos(6), "shared")
    assert shared is not None
    for pack in scene.tier("a").index.pack_ids():
        scene.store("a").delete(pack_object_key(pack))
    rebuild_index(scene.repository, scene.tier("a"))
    scene.backup(photos(2, seed=1), "next", only="a")
    catch_up(scene.repository, scene.tier("b"))
    assert read_back(scene.repository, shared, scene.tier("b")) == photos(6)
    assert read_back(scene.reopen(), shared, scene.tier("b")) == photos(6)
