"""A tier is owed what something live needs, and nothing that others still have of what is forgotten."""

from typing import Any, cast

from repository.backup.backup import BackupOptions, BackupResult, backup
from repository.backup.fanout import Delivery
from repository.errors import TierFull
from repository.format import pack_object_key
from repository.index.pack_catalog import stored_packs
from repository.opened.pending import adopt_orphans
from repository.opened.repository import Repository
from repository.prune.prune import PruneOptions, prune
from repository.prune.repack import rows_of
from repository.retention.orders import forget
from repository.tiers.port import ObjectStore
from repository.upkeep.catch_up import catch_up, is_behind, lag
from repository.upkeep.check import check
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.repositories import BrokenStore, Scene, photos, read_back

FILES = photos(3, seed=1)


def _packs(scene: Scene, name: str) -> set[bytes]:
    return {pack.id for pack in stored_packs(scene.store(name))}


def _pruned_on_a() -> Scene:
    """Two tiers, a snapshot forgotten on both, and pruned on one of them."""
    scene = Scene(("a", "b"))
    old = scene.backup(photos(3, seed=1), "old")
    scene.backup(photos(3, seed=2), "kept")
    assert old is not None
    forget(scene.repository, [old.id])
    assert prune(scene.reopen(), PruneOptions(only=["a"]))["a"].deleted == 2
    scene.reopen()
    return scene


def test_a_tier_that_pruned_is_not_behind_and_is_not_brought_it_again() -> None:
    scene = _pruned_on_a()
    before = _packs(scene, "a")
    assert not lag(scene.repository, scene.tier("a")).is_behind
    assert not is_behind(scene.repository, scene.tier("a"))
    result = catch_up(scene.repository, scene.tier("a"))
    assert (result.copied_packs, result.copied_segments) == (0, 0)
    assert _packs(scene, "a") == before


def test_of_a_tier_that_missed_a_snapshot_only_what_is_needed_is_brought() -> None:
    scene = _pruned_on_a()
    before = _packs(scene, "a")
    newest = scene.backup(photos(3, seed=3), "newest", only=["b"])
    assert newest is not None
    scene.reopen()
    missing = lag(scene.repository, scene.tier("a"))
    assert is_behind(scene.repository, scene.tier("a"))
    assert (len(missing.packs), len(missing.snapshots)) == (2, 1)
    result = catch_up(scene.repository, scene.tier("a"))
    assert (result.copied_packs, result.is_complete) == (2, True)
    assert _packs(scene, "a") == before | missing.packs
    alone = scene.reopen(stores=[scene.store("a")])
    assert read_back(alone, newest, alone.tier("a")) == photos(3, seed=3)
    assert alone.tier("a").index.pack_ids() == _packs(scene, "a")
    assert check(alone, read_percent=100).is_ok


def test_rows_that_an_index_lost_are_owed_though_the_snapshot_is_there() -> None:
    """And nothing with them that a forgotten snapshot alone needed."""
    scene = _pruned_on_a()
    needed = _packs(scene, "a")
    tier = scene.tier("a")
    tier.change_index((), list(tier.log.state.segments), "lost")
    scene.reopen()
    assert lag(scene.repository, scene.tier("a")).packs == needed
    assert catch_up(scene.repository, scene.tier("a")).is_complete
    assert _packs(scene, "a") == needed
    assert not lag(scene.reopen(), scene.tier("a")).is_behind
    assert check(scene.repository, read_percent=100).is_ok


def test_where_a_tree_cannot_be_read_all_counts() -> None:
    """Nobody knows what it needs."""
    scene = _pruned_on_a()
    everything = _packs(scene, "b")
    newest = scene.backup(photos(3, seed=3), "newest", only=["b"])
    assert newest is not None
    root = bytes.fromhex(newest.manifest.root[0])
    for location in scene.tier("b").index.lookup_all(root):
        scene.store("b").put(pack_object_key(location.pack_id), b"broken")
    scene.reopen()
    assert lag(scene.repository, scene.tier("a")).packs > everything - _packs(scene, "a")


def _left_on_b() -> tuple[Scene, set[bytes]]:
    """Two tiers, and what a writer that died left on one of them."""
    scene = Scene(("a", "b"))
    scene.backup(photos(1, seed=2), "kept")
    scene.backup(FILES, "died", only=["b"], commit=False)
    return scene, _packs(scene, "b") - _packs(scene, "a")


def _back_up(repository: Repository) -> BackupResult:
    source = MemorySource(MemoryFolder({name: MemoryFile(body) for name, body in FILES.items()}))
    return backup(repository, source, options=BackupOptions(label="again", run_token="again"))


def test_what_was_left_on_one_tier_goes_to_the_others_with_the_snapshot_that_leans_on_it() -> None:
    """It is not stored again, and nobody is behind for it before."""
    scene, left = _left_on_b()
    assert not lag(scene.reopen(), scene.tier("a")).is_behind
    result = _back_up(scene.repository)
    assert len(left & _packs(scene, "a")) == 1  # its photos, and not its tree, which nobody needs
    for tier in scene.reopen().tiers:
        assert result.tiers[tier.name].state is Delivery.COMMITTED
        assert result.snapshot.id in tier.snapshots(), tier.name
        assert not lag(scene.repository, tier).is_behind
        rows = [chunk_id for chunk_id, _ in rows_of(tier.index.segments(), tier.index.pack_ids())]
        assert len(rows) == len(set(rows)), "stored twice"
    for store in scene.stores:
        assert check(scene.reopen(stores=[store]), read_percent=100).is_ok


def test_what_came_back_after_it_was_pruned_is_brought_from_where_it_still_is() -> None:
    scene = _pruned_on_a()
    result = _back_up(scene.repository)  # the forgotten photos
    assert {each.state for each in result.tiers.values()} == {Delivery.COMMITTED}
    assert check(scene.reopen(stores=[scene.store("a")]), read_percent=100).is_ok


def test_a_tier_that_lacks_snapshots_is_brought_nothing_by_a_backup() -> None:
    """It may lack a week: that is for catch-up."""
    scene = Scene(("a", "b"))
    scene.backup(photos(1, seed=2), "kept")
    before = _packs(scene, "b")
    scene.backup(FILES, "missed", only=["b"])
    missed = _packs(scene, "b") - before
    result = _back_up(scene.reopen())
    assert result.tiers["a"].state is Delivery.BEHIND
    assert missed.isdisjoint(_packs(scene, "a"))


class _FullFor(BrokenStore):
    """A store that has no room for these objects."""

    def __init__(self, inner: ObjectStore, keys: set[str]) -> None:
        super().__init__(inner)
        self._keys = keys

    def put(self, key: str, *words: Any, **options: Any) -> None:
        if key in self._keys:
            raise TierFull("no room")
        self._inner.put(key, *words, **options)


def test_a_tier_that_fails_while_it_is_brought_something_fails_alone() -> None:
    scene, left = _left_on_b()
    full = _FullFor(scene.store("a"), {pack_object_key(each) for each in left})
    result = _back_up(scene.reopen(stores=[cast(ObjectStore, full), scene.store("b")]))
    assert (result.tiers["a"].state, result.tiers["b"].state) == (Delivery.FAILED, Delivery.COMMITTED)
    assert isinstance(result.tiers["a"].error, TierFull)


def test_what_nobody_has_whole_any_more_leaves_the_tier_behind() -> None:
    scene, left = _left_on_b()
    adopt_orphans(scene.reopen(), scene.tier("b"))
    for each in left:
        scene.store("b").put(pack_object_key(each), b"broken")
    result = _back_up(scene.repository)
    assert result.tiers["a"].state is Delivery.BEHIND
