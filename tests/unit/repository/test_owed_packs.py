"""A tier is owed what something live needs, and nothing that others still have of what is forgotten."""

from repository.backup.backup import BackupOptions, backup
from repository.index.pack_catalog import stored_packs
from repository.prune.prune import PruneOptions, prune
from repository.retention.orders import forget
from repository.upkeep.catch_up import catch_up, lag
from repository.upkeep.check import check
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.repositories import Scene, photos, read_back


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
    assert (len(missing.packs), len(missing.snapshots)) == (2, 1)
    result = catch_up(scene.repository, scene.tier("a"))
    assert (result.copied_packs, result.is_complete) == (2, True)
    assert _packs(scene, "a") == before | missing.packs
    alone = scene.reopen(stores=[scene.store("a")])
    assert read_back(alone, newest, alone.tier("a")) == photos(3, seed=3)
    assert alone.tier("a").index.pack_ids() == _packs(scene, "a")
    assert check(alone, read_percent=100).is_ok


def test_rows_that_an_index_lost_are_owed_though_the_snapshot_is_there() -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(3), "kept")
    tier = scene.tier("a")
    tier.change_index((), list(tier.log.state.segments), "lost")
    scene.reopen()
    assert len(lag(scene.repository, scene.tier("a")).packs) == 2
    assert lag(scene.repository, scene.tier("a"), is_thorough=False).packs == set()
    assert catch_up(scene.repository, scene.tier("a")).is_complete
    assert not lag(scene.reopen(), scene.tier("a")).is_behind
    assert check(scene.repository, read_percent=100).is_ok


def test_a_backup_counts_on_nothing_that_a_level_tier_lacks() -> None:
    """What a writer left that died is stored again, on each tier, and none is left out."""
    scene = Scene(("a", "b"))
    scene.backup(photos(1, seed=2), "kept")
    files = photos(3, seed=1)
    scene.backup(files, "died", only=["b"], commit=False)
    source = MemorySource(MemoryFolder({name: MemoryFile(body) for name, body in files.items()}))
    result = backup(scene.reopen(), source, options=BackupOptions(label="again", run_token="again"))
    for tier in scene.reopen().tiers:
        assert result.snapshot.id in tier.snapshots(), tier.name
        assert not lag(scene.repository, tier).is_behind
    assert check(scene.repository, read_percent=100).is_ok
