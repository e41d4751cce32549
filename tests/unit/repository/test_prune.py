"""Space is freed, and nobody's bytes are: whoever writes, prunes or dies meanwhile."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast

import pytest
from msgspec.structs import replace

from repository.backup.backup import BackupOptions, backup
from repository.backup.fanout import Delivery
from repository.errors import Damaged, PackMarked, RepositoryError, TierBehind
from repository.format import pack_object_key
from repository.index.pack_catalog import stored_packs
from repository.opened.compaction import compact_indexes
from repository.opened.key_change import add_generation
from repository.opened.open_tier import OpenTier
from repository.opened.pending import adopt_orphans
from repository.opened.repository import Repository
from repository.prune.needs import Needs, Trees
from repository.prune.prune import PruneOptions, prune
from repository.prune.repack import rows_of
from repository.retention.orders import forget, place_hold
from repository.stored.log_entry import PacksMarked
from repository.stored.snapshot import Snapshot
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import ObjectInfo, ObjectStore
from repository.upkeep import catch_up as catch_up_module
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check
from repository.upkeep.read_back import read_back as read_back_sample
from repository.upkeep.rebuild import rebuild_index
from tests.support.dying import Dying
from tests.support.meanwhile import once_before
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.repositories import BrokenStore, Scene, photos, read_back, write_snapshot


def _packs(scene: Scene, name: str = "a") -> set[bytes]:
    return {pack.id for pack in stored_packs(scene.store(name))}


def _expect_whole(repository: Repository, snapshots: dict[str, tuple[Snapshot, dict[bytes, bytes]]]) -> None:
    for snapshot, files in snapshots.values():
        for tier in repository.tiers:
            assert read_back(repository, snapshot, tier) == files, (snapshot, tier.name)
    assert check(repository, read_percent=100).is_ok


def test_what_only_forgotten_snapshots_needed_goes_on_every_tier() -> None:
    scene = Scene(("a", "b"))
    old = scene.backup(photos(3, seed=1), "old")
    kept = scene.backup(photos(3, seed=2), "kept")
    assert old is not None
    assert kept is not None
    before = {name: _packs(scene, name) for name in "ab"}
    assert prune(scene.repository)["a"].deleted == 0
    forget(scene.repository, [old.id])
    dry = prune(scene.reopen(), PruneOptions(dry_run=True))
    assert {name: (len(plan.going), plan.deleted) for name, plan in dry.items()} == {"a": (2, 0), "b": (2, 0)}
    assert {name: _packs(scene, name) for name in "ab"} == before
    done = prune(scene.reopen())
    assert {name: (plan.deleted, plan.is_complete) for name, plan in done.items()} == {"a": (2, True), "b": (2, True)}
    assert all(plan.deleted_bytes > 0 for plan in done.values())
    repository = scene.reopen()
    assert all(len(_packs(scene, name)) == len(before[name]) - 2 for name in "ab")
    _expect_whole(repository, {"kept": (kept, photos(3, seed=2))})
    assert all(not tier.log.state.marked_packs and not tier.log.state.swept_packs for tier in repository.tiers)
    assert all(tier.index.pack_ids() == _packs(scene, tier.name) for tier in repository.tiers)
    assert [info.key for info in scene.store("a").list("snapshots/")] == [f"snapshots/{kept.id}"]
    assert prune(repository)["a"].deleted == 0


def test_what_is_shared_stays_with_whoever_is_left() -> None:
    scene = Scene()
    files = photos(4)
    first = scene.backup(files, "first")
    second = scene.backup(files, "second")
    assert first is not None
    assert second is not None
    forget(scene.repository, [first.id])
    prune(scene.reopen())
    _expect_whole(scene.reopen(), {"second": (second, files)})


def test_a_pack_that_no_snapshot_ever_needed_stays_unless_nobody_writes() -> None:
    """Its writer may be alive, or its run goes on: what was uploaded is not taken from under it."""
    scene = Scene()
    scene.backup(photos(3, seed=1), "kept")
    scene.backup(photos(3, seed=2), "died", commit=False)
    scene.reopen().begin_writing(b"w" * 16)  # adopts
    scene.repository.end_writing(b"w" * 16)
    plan = prune(scene.reopen())["a"]
    assert (plan.deleted, len(plan.unreferenced)) == (0, 2)
    plan = prune(scene.reopen(), PruneOptions(unreferenced=True))["a"]
    assert (plan.deleted, plan.is_complete) == (2, True)
    assert check(scene.reopen()).is_ok


def _in_two_places(scene: Scene) -> dict[str, tuple[Snapshot, dict[bytes, bytes]]]:
    """Two snapshots that share a file, each stored where the other was not seen; both tiers have both."""
    shared, made = b"s" * 5000, {}
    for name in ("a", "b"):
        alone = scene.reopen(stores=[scene.store(name)])
        files = {b"shared": shared, b"own": name.encode() * 3000}
        snapshot = scene.backup(files, name)
        assert snapshot is not None
        assert len(alone.tiers) == 1
        made[name] = (snapshot, files)
    for name in ("a", "b"):
        catch_up(scene.reopen(), scene.tier(name))
    scene.reopen()
    return made


def _exchange_packs(scene: Scene) -> None:
    """Both tiers have all packs of both, as if a repair had brought them."""
    for one, other in ("ab", "ba"):
        for pack in _packs(scene, one):
            scene.store(other).put(pack_object_key(pack), scene.store(one).get(pack_object_key(pack)))
    for tier in scene.reopen().tiers:
        adopt_orphans(scene.repository, tier)


@pytest.mark.parametrize("gone", ["a", "b"])
def test_of_two_places_of_a_chunk_the_one_counts_that_is_needed_anyway(gone: str) -> None:
    """Whichever the index names first."""
    scene = Scene(("a", "b"))
    made = _in_two_places(scene)
    forget(scene.repository, [made.pop(gone)[0].id])
    plans = prune(scene.reopen(), PruneOptions(max_unused=1))
    assert {name: (plan.deleted, plan.is_complete) for name, plan in plans.items()} == {"a": (2, True), "b": (2, True)}
    _expect_whole(scene.reopen(), made)


@pytest.mark.parametrize("number", [0, 1])
def test_of_two_places_of_a_chunk_the_one_counts_that_is_locked(number: int) -> None:
    """Where nothing else needs either, the one that stays anyway is kept."""
    scene = Scene(("a", "b"), locks=True)
    made = _in_two_places(scene)
    tier = scene.tier("a")
    (chunk,) = [
        each
        for each in {chunk_id for chunk_id, _ in rows_of(tier.index.segments(), tier.index.pack_ids())}
        if len(tier.index.lookup_all(each)) == 2 and tier.index.lookup_all(each)[0].chunk_length == 5000
    ]
    places = tier.index.lookup_all(chunk)
    tier.store.extend_lock(pack_object_key(places[number].pack_id), tier.store.now() + timedelta(days=9))
    needs = Needs(scene.repository, tier)
    needs.add([chunk])
    assert needs.used == {places[number].pack_id: 5000}
    assert len(made) == 2


def test_packs_of_a_dead_writer_that_nobody_adopted_are_told_and_go_where_nobody_writes() -> None:
    """They are in no index. One that is not whole stays, and is told: nobody knows what was in it."""
    scene = Scene()
    kept = scene.backup(photos(3, seed=1), "kept")
    assert kept is not None
    before = _packs(scene)
    scene.backup(photos(3, seed=2), "died", commit=False)
    junk = b"j" * 32
    scene.store("a").put(pack_object_key(junk), b"no pack")
    new = _packs(scene) - before
    assert set(prune(scene.reopen())["a"].unreferenced) == new
    dry = prune(scene.reopen(), PruneOptions(unreferenced=True, dry_run=True))["a"]
    assert (set(dry.going), dry.unreferenced) == (new, {})
    plan = prune(scene.reopen(), PruneOptions(unreferenced=True))["a"]
    assert (plan.deleted, set(plan.unreferenced), plan.is_complete) == (2, {junk}, True)
    assert _packs(scene) == before | {junk}
    assert read_back(scene.reopen(), kept, scene.tier("a")) == photos(3, seed=1)


def test_packs_whose_rows_the_index_has_lost_are_not_taken_for_needless() -> None:
    """What they hold may be needed: they are read, and stay."""
    scene = Scene()
    kept = scene.backup(photos(3), "kept")
    assert kept is not None
    tier = scene.tier("a")
    tier.change_index((), list(tier.log.state.segments), "lost")
    before = _packs(scene)
    assert scene.reopen().tiers[0].index.pack_ids() == set()
    plan = prune(scene.repository, PruneOptions(unreferenced=True))["a"]
    assert (plan.deleted, plan.unreferenced, plan.is_complete) == (0, {}, True)
    assert _packs(scene) == before == scene.reopen().tiers[0].index.pack_ids()
    _expect_whole(scene.repository, {"kept": (kept, photos(3))})


def test_a_held_snapshot_keeps_its_packs_since_it_is_not_forgotten() -> None:
    scene = Scene()
    snapshot = scene.backup(photos(3), "held")
    assert snapshot is not None
    place_hold(scene.repository, "court", [snapshot.id])
    assert prune(scene.reopen(), PruneOptions(unreferenced=True))["a"].deleted == 0
    _expect_whole(scene.reopen(), {"held": (snapshot, photos(3))})


def test_what_is_locked_stays_and_is_told_with_its_date() -> None:
    scene = Scene(locks=True)
    until = scene.store("a").now() + timedelta(days=30)
    old = scene.backup(photos(3, seed=1), "old")
    assert old is not None
    for pack in _packs(scene):
        scene.store("a").extend_lock(pack_object_key(pack), until)
    forget(scene.repository, [old.id])
    plan = prune(scene.reopen())["a"]
    assert (plan.deleted, set(plan.locked.values()), plan.is_complete) == (0, {until}, True)
    assert plan.locked_bytes > 0
    assert not scene.reopen().tier("a").log.state.marked_packs
    scene.store("a")._locked_until.clear()
    assert prune(scene.reopen())["a"].deleted == 2
    assert check(scene.reopen()).is_ok


def test_a_backup_that_counted_on_what_a_prune_takes_stores_it_again_by_itself() -> None:
    """It found everything in packs that only a forgotten snapshot needed; the prune comes before its commit."""
    scene = Scene(("a", "b"))
    source = MemorySource(MemoryFolder({b"photo": MemoryFile(b"x" * 5000), b"film": MemoryFile(b"y" * 900_000)}))
    first = backup(scene.reopen(), source, options=BackupOptions(run_token="1", label="photos")).snapshot
    forget(scene.reopen(), [first.id])
    pruned: list[int] = []

    def commit(tier: OpenTier, *words: Any, **options: Any) -> Snapshot:
        if not pruned:
            pruned.append(sum(plan.deleted for plan in prune(scene.another()).values()))
        return tier.commit_snapshot(*words, **options)

    options = BackupOptions(run_token="2", label="photos", commit=commit)
    result = backup(scene.reopen(), source, options=options)
    assert sum(pruned) >= 4
    assert {each.state for each in result.tiers.values()} == {Delivery.COMMITTED}
    repository = scene.reopen()
    assert [each.id for each in repository.snapshots()] == [result.snapshot.id]
    assert check(repository, read_percent=100).is_ok


def test_a_commit_on_a_marked_pack_is_refused() -> None:
    scene = Scene()
    snapshot = scene.backup(photos(4), "first")
    assert snapshot is not None
    forget(scene.repository, [snapshot.id])
    late = scene.reopen().tier("a")
    packs = late.index.pack_ids()
    prune(scene.another())
    with pytest.raises(PackMarked if late.log.refresh().marked_packs else TierBehind):
        late.commit_snapshot(replace(snapshot.manifest, run_token="2"), packs=packs)


def test_a_snapshot_that_is_committed_while_a_prune_looks_keeps_its_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leans on packs that only a forgotten one needed when the prune looked."""
    scene = Scene()
    files = photos(4)
    first = scene.backup(files, "first")
    assert first is not None
    forget(scene.repository, [first.id])
    late: list[Snapshot] = []

    def commit_late() -> None:
        other = scene.another().tier("a")
        manifest = replace(first.manifest, run_token="late", parent=None)
        late.append(other.commit_snapshot(manifest, packs=other.index.pack_ids()))

    repository = scene.reopen()
    trees = Trees(repository, lambda: None)
    trees.look_at_past(repository.tiers)
    assert trees.past
    once_before(monkeypatch, repository.tier("a").log, "append", commit_late)
    assert prune(repository)["a"].deleted == 0
    _expect_whole(scene.reopen(), {"late": (late[0], files)})


def _save_the_same_and_prune(scene: Scene, files: dict[bytes, bytes]) -> dict[str, Snapshot]:
    """Another writer, which adopts what lies there, commits the same files; then what is needless goes."""
    other = scene.another()
    made = write_snapshot(other, other.ready_tiers(), files, "other", scene.randomness)
    assert made is not None
    assert all(plan.deleted for plan in prune(scene.another()).values())
    return {made.id: made}


def test_a_writers_own_pack_that_another_adopted_and_a_prune_took_for_a_copy_is_not_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The writer saw neither: it had opened before, and its packs were in no index that it knew."""
    scene = Scene()
    files, writer = photos(3, seed=1), scene.another()
    made = dict[str, Snapshot]()
    once_before(
        monkeypatch, writer.tier("a").log, "append", lambda: made.update(_save_the_same_and_prune(scene, files))
    )
    with pytest.raises(PackMarked, match="deleted meanwhile"):
        write_snapshot(writer, writer.ready_tiers(), files, "writer", scene.randomness)
    repository = scene.reopen()
    assert {each.id for each in repository.snapshots()} == made.keys()
    _expect_whole(repository, {name: (each, files) for name, each in made.items()})
    # And once more it is well.
    assert write_snapshot(writer, writer.ready_tiers(), files, "writer", scene.randomness) is not None
    assert check(scene.reopen(), read_percent=100).is_ok


@pytest.mark.parametrize("what", ["adopt", "rebuild"])
def test_packs_that_were_adopted_and_deleted_beside_it_come_into_no_index(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene()
    files = photos(3, seed=1)
    scene.backup(files, "dead", commit=False)
    late = scene.another()
    once_before(monkeypatch, late.tier("a").log, "append", lambda: _save_the_same_and_prune(scene, files))
    if what == "adopt":
        assert adopt_orphans(late, late.tier("a"))[0] == 0
    else:
        rebuild_index(late, late.tier("a"))
    repository = scene.reopen()
    assert repository.tier("a").index.pack_ids() <= _packs(scene)
    assert check(repository, read_percent=100).is_ok


def test_of_two_prunes_that_keep_different_places_of_a_chunk_one_looks_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most chunks lie in two packs each. What one prune counts on is marked by another before it has said a word."""
    scene = Scene(("a", "b"))
    files = photos(4)
    for store, token in zip(scene.stores, ("one", "two"), strict=True):
        scene.reopen(stores=[store])
        scene.backup(files, token)
    _exchange_packs(scene)
    for tier in scene.repository.tiers:
        catch_up(scene.repository, tier)
    scene.stores.pop()
    repository = scene.reopen()
    assert len(_packs(scene)) == 4
    tier = repository.tier("a")
    trees = Trees(repository, lambda: None)
    trees.look_at_new()
    needs = Needs(repository, tier)
    needs.add(trees.live)
    places = [tier.index.lookup_all(chunk_id) for chunk_id in trees.live]
    counted_on = needs.used.keys() - {found[0].pack_id for found in places if len(found) == 1}
    assert counted_on

    def mark() -> None:
        packs = tuple(each.hex() for each in counted_on)
        scene.another().tier("a").log.append(lambda _: PacksMarked(time_ns=1, packs=packs))

    once_before(monkeypatch, tier.log, "append", mark)
    prune(repository, PruneOptions(unreferenced=True))
    repository = scene.reopen()
    _expect_whole(repository, {each.id: (each, files) for each in repository.snapshots()})
    assert len(repository.snapshots()) == 2
    prune(scene.reopen(), PruneOptions(unreferenced=True))
    assert _packs(scene).isdisjoint(counted_on)
    _expect_whole(scene.reopen(), {each.id: (each, files) for each in repository.snapshots()})


@pytest.mark.parametrize("fails_at", range(12))
def test_killed_anywhere_the_next_prune_goes_on(fails_at: int) -> None:
    """Every put and delete of a prune in turn is the last that its process does."""
    scene = Scene()
    snapshots = [scene.backup(photos(3, seed=number), f"run {number}") for number in range(4)]
    assert all(snapshots)
    gone, kept = snapshots[:2], snapshots[2:]
    forget(scene.repository, [each.id for each in gone if each is not None])
    prune(scene.reopen(stores=[cast(ObjectStore, Dying(scene.store("a"), [fails_at]))]))
    expected = {
        each.id: (each, photos(3, seed=number))
        for number, each in enumerate(snapshots)
        if each in kept and each is not None
    }
    _expect_whole(scene.reopen(), expected)
    plan = prune(scene.reopen())["a"]
    assert plan.is_complete
    assert len(_packs(scene)) == 4
    _expect_whole(scene.reopen(), expected)


def test_two_prunes_at_once_and_a_tier_that_catches_up() -> None:
    scene = Scene(("a", "b"))
    old, kept = scene.backup(photos(3, seed=1), "old"), scene.backup(photos(3, seed=2), "kept")
    assert old is not None
    assert kept is not None
    forget(scene.repository, [old.id])
    one, two = scene.reopen(stores=[scene.store("a")]), scene.reopen(stores=[scene.store("a")])
    assert prune(one)["a"].deleted == 2
    assert prune(two)["a"].is_complete
    both = scene.reopen()
    catch_up(both, both.tier("b"))
    catch_up(both, both.tier("a"))
    assert len(_packs(scene, "a")) in (2, 4)  # what b still has, it may have brought
    for plan in prune(scene.reopen(), PruneOptions(unreferenced=True)).values():
        assert plan.is_complete
    assert [len(_packs(scene, name)) for name in "ab"] == [2, 2]
    _expect_whole(scene.reopen(), {"kept": (kept, photos(3, seed=2))})


def _tiers_with_segments_of_their_own() -> tuple[Scene, Snapshot]:
    """Two tiers, each pruned by itself after its segments were merged; and the oldest snapshot on both."""
    scene = Scene(("a", "b"))
    going = scene.backup(photos(3, seed=1), "going")
    assert going is not None
    for number in range(3):
        scene.backup(photos(2, seed=10 + number), f"old {number}")
    compact_indexes(scene.repository, 0)
    forget(scene.repository, [each.id for each in scene.repository.snapshots() if each.id != going.id][:2])
    prune(scene.reopen())
    names = [set(tier.log.state.segments) for tier in scene.repository.tiers]
    assert names[0].isdisjoint(names[1])
    return scene, going


def test_what_a_prune_deletes_while_a_tier_catches_up_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other tier still has its rows, in segments of its own; who backs up next must not lean on them."""
    scene, going = _tiers_with_segments_of_their_own()
    scene.reopen(stores=[scene.store("b")])
    scene.backup(photos(2, seed=20), "missed")
    both = scene.reopen()
    forget(both, [going.id])
    both = scene.reopen()
    real = catch_up_module._copy_packs

    def slowly(*args: Any) -> None:
        assert prune(scene.another("a"))["a"].deleted
        real(*args)

    monkeypatch.setattr(catch_up_module, "_copy_packs", slowly)
    assert catch_up(both, both.tier("a")).is_complete
    repository = scene.reopen()
    assert repository.tier("a").index.pack_ids() == _packs(scene, "a")
    assert check(repository, read_percent=100).is_ok


def test_what_was_brought_again_and_deleted_since_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs that the index knew and that were gone are brought, and let go by a prune before the index is looked at."""
    scene, going = _tiers_with_segments_of_their_own()
    lost = {each.pack_id for chunk in _chunks_of(scene.repository, going) for each in _places(scene, chunk)}
    for pack_id in lost:
        scene.store("a").delete(pack_object_key(pack_id))
    scene.reopen(stores=[scene.store("b")])
    scene.backup(photos(2, seed=20), "missed")
    both = scene.reopen()
    real = catch_up_module._copy_packs

    def then_forgotten(*args: Any) -> None:
        real(*args)
        forget(scene.another("a"), [going.id])
        assert prune(scene.another("a"))["a"].deleted

    monkeypatch.setattr(catch_up_module, "_copy_packs", then_forgotten)
    catch_up(both, both.tier("a"))
    repository = scene.reopen()
    assert repository.tier("a").index.pack_ids() <= _packs(scene, "a")


def _chunks_of(repository: Repository, snapshot: Snapshot) -> set[bytes]:
    trees = Trees(repository, lambda: None)
    trees._look_at([snapshot])
    return trees.live


def _places(scene: Scene, chunk_id: bytes) -> list[Any]:
    return list(scene.repository.tier("a").index.lookup_all(chunk_id))


def test_a_snapshot_that_another_prune_took_apart_meanwhile_is_no_damage() -> None:
    scene = Scene()
    old, kept = scene.backup(photos(3, seed=1), "old"), scene.backup(photos(3, seed=2), "kept")
    assert old is not None
    assert kept is not None
    late = scene.another()
    forget(scene.repository, [old.id])
    assert prune(scene.reopen())["a"].deleted == 2
    plan = prune(late)["a"]
    assert plan.failed is None
    assert plan.is_complete
    _expect_whole(scene.reopen(), {"kept": (kept, photos(3, seed=2))})


def test_a_part_that_is_joined_while_a_prune_looks_is_no_lost_object() -> None:
    """What it named the log has by then, and that is looked at before anything is marked."""

    class Joined(BrokenStore):
        def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
            if prefix == "pending/":
                yield ObjectInfo(f"pending/{'ab' * 16}/0001", 10)
            yield from self._inner.list(prefix, after=after)

    scene = Scene()
    scene.backup(photos(1), "first")
    repository = scene.reopen(stores=[Joined(scene.store("a"))])  # type: ignore[list-item]
    needs = Needs(repository, repository.tier("a"))
    needs.add_parts()
    assert needs.parts == set()
    assert prune(repository)["a"].failed is None


def test_a_snapshot_that_is_forgotten_while_it_is_brought_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after it is brought all the same."""
    scene = Scene(("a", "b"))
    scene.backup(photos(1), "first")
    scene.reopen(stores=[scene.store("b")])
    missed = [scene.backup(photos(2, seed=number), f"missed {number}") for number in range(2)]
    both = scene.reopen()
    real = catch_up_module._copy_packs

    def slowly(*args: Any) -> None:
        forget(scene.another(), [missed[0].id])  # type: ignore[union-attr]
        real(*args)

    monkeypatch.setattr(catch_up_module, "_copy_packs", slowly)
    result = catch_up(both, both.tier("a"))
    assert (result.is_complete, result.snapshots) == (True, [missed[1].id])  # type: ignore[union-attr]


def test_a_tree_that_cannot_be_read_ends_the_prune_of_its_tier() -> None:
    scene = Scene(("a",))
    old, kept = scene.backup(photos(3, seed=1), "old"), scene.backup(photos(3, seed=2), "kept")
    assert old is not None
    assert kept is not None
    forget(scene.repository, [old.id])
    store = scene.store("a")
    assert isinstance(store, MemoryObjectStore)
    root = bytes.fromhex(kept.manifest.root[0])
    location = scene.reopen().tier("a").index.lookup(root)
    assert location is not None
    store.put(pack_object_key(location.pack_id), b"\0" * 500)
    with pytest.raises(Damaged, match="cannot be read"):
        prune(scene.reopen())
    assert not scene.reopen().tier("a").log.state.marked_packs


# Packs that are mostly waste


def _sparse(scene: Scene) -> tuple[Snapshot, dict[bytes, bytes]]:
    """Of a pack with ten files nine are forgotten."""
    files = photos(10, length=2000)
    whole = scene.backup(files, "whole")
    left = dict(sorted(files.items())[:1])
    kept = scene.backup(left, "one of ten")
    assert whole is not None
    assert kept is not None
    forget(scene.repository, [whole.id])
    return kept, left


def test_what_is_mostly_waste_is_written_again_on_every_tier() -> None:
    scene = Scene(("a", "b"))
    kept, left = _sparse(scene)
    before = sum(info.size for info in scene.store("a").list("packs/"))
    planned = prune(scene.reopen(), PruneOptions(dry_run=True))
    done = prune(scene.reopen())
    assert all(plan.moving and plan.is_complete and plan.stored_bytes for plan in done.values())
    for name, plan in planned.items():
        assert done[name].stored_bytes / 2 < plan.moving_bytes < done[name].stored_bytes * 2
        assert plan.moving_bytes < sum(plan.going.values())
    assert _packs(scene, "a") == _packs(scene, "b")
    after = sum(info.size for info in scene.store("a").list("packs/"))
    assert after < before / 3
    _expect_whole(scene.reopen(), {"kept": (kept, left)})
    again = prune(scene.reopen())
    assert all(not plan.moving and not plan.deleted for plan in again.values())


def test_a_pack_that_a_prune_beside_wrote_again_is_no_loss_of_the_snapshot_that_leaned_on_it() -> None:
    """One that is gone and that no prune took out of the index is."""
    scene = Scene(("a",))
    before = _packs(scene, "a")
    kept, _ = _sparse(scene)
    leaned_on = _packs(scene, "a") - before
    writer = scene.reopen()
    assert prune(scene.reopen())["a"].moving
    read_back_sample(writer, writer.tier("a"), kept.id, packs=leaned_on, packs_read=0)
    for pack in _packs(scene, "a"):
        scene.store("a").delete(pack_object_key(pack))
    with pytest.raises(RepositoryError):
        read_back_sample(writer, writer.tier("a"), kept.id, packs=writer.tier("a").index.pack_ids(), packs_read=0)


def test_what_is_locked_is_not_written_again() -> None:
    scene = Scene(locks=True)
    kept, left = _sparse(scene)
    for pack in _packs(scene):
        scene.store("a").extend_lock(pack_object_key(pack), scene.store("a").now() + timedelta(days=3))
    plan = prune(scene.reopen())["a"]
    assert (plan.moving, plan.stored_bytes, plan.deleted) == (set(), 0, 0)
    _expect_whole(scene.reopen(), {"kept": (kept, left)})


def test_nothing_is_written_again_where_nobody_wants_it_or_beyond_the_bound() -> None:
    for options in (PruneOptions(max_unused=1), PruneOptions(repack_bytes_max=1)):
        scene = Scene()
        _sparse(scene)
        assert prune(scene.reopen(), options)["a"].moving == set()


def test_a_damaged_pack_is_written_again_from_another_tier_and_one_that_nobody_has_stays() -> None:
    for is_everywhere in (False, True):
        scene = Scene(("a", "b"))
        kept, left = _sparse(scene)
        chunk_id = scene.repository.keys.active().chunk_id(next(iter(left.values())))
        location = scene.reopen().tier("a").index.lookup(chunk_id)
        assert location is not None
        for name in "ab" if is_everywhere else "a":
            body = bytearray(scene.store(name).get(pack_object_key(location.pack_id)))
            body[location.frame_offset + location.frame_length // 2] ^= 1
            scene.store(name).put(pack_object_key(location.pack_id), bytes(body))
        done = prune(scene.reopen())
        codes = {plan.failed.code if plan.failed is not None else None for plan in done.values()}
        assert codes == {"damaged" if is_everywhere else None}  # nothing is freed, and that is told
        assert (location.pack_id in _packs(scene, "b")) is is_everywhere
        if not is_everywhere:
            _expect_whole(scene.reopen(), {"kept": (kept, left)})


@pytest.mark.parametrize("fails_at", range(14))
def test_killed_anywhere_while_it_writes_again(fails_at: int) -> None:
    scene = Scene()
    kept, left = _sparse(scene)
    prune(scene.reopen(stores=[cast(ObjectStore, Dying(scene.store("a"), [fails_at]))]))
    _expect_whole(scene.reopen(), {"kept": (kept, left)})
    for _ in range(2):
        assert prune(scene.reopen(), PruneOptions(unreferenced=True))["a"].is_complete
    assert len(_packs(scene)) == 2
    _expect_whole(scene.reopen(), {"kept": (kept, left)})


def test_what_two_prunes_wrote_again_is_freed_but_for_one() -> None:
    """Each tier was pruned while the other one was away, and both have by now what the other had written."""
    scene = Scene(("a", "b"))
    kept, left = _sparse(scene)
    for store in scene.stores:
        assert prune(scene.reopen(stores=[store]))[store.name].moving
    _exchange_packs(scene)
    assert len(_packs(scene, "a")) > 2
    for _ in range(2):
        assert all(plan.is_complete for plan in prune(scene.reopen()).values())
    assert [len(_packs(scene, name)) for name in "ab"] == [2, 2]
    _expect_whole(scene.reopen(), {"kept": (kept, left)})


def test_segments_that_were_replaced_too_long_ago_for_the_state_to_remember_go_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log says which they are. What a writer has put that did not come to its entry stays."""
    for module in ("log.state", "prune.sweep"):
        monkeypatch.setattr(f"repository.{module}.REPLACED_MAX", 3)
    monkeypatch.setattr("repository.prune.sweep.UNKNOWN_MANY", 4)
    monkeypatch.setattr("repository.prune.sweep.ENTRIES_AT_ONCE", 7)
    scene = Scene()
    for number in range(24):
        scene.backup(photos(1, number), f"run {number}")
    store, tier = scene.store("a"), scene.reopen().tier("a")
    store.put(f"index/{'ab' * 32}", b"of a writer")
    assert len(list(store.list("index/"))) > len(tier.log.state.segments) + 8
    prune(scene.repository)
    there = {info.key.removeprefix("index/") for info in store.list("index/")}
    assert there == {*scene.reopen().tier("a").log.state.segments, "ab" * 32}


@pytest.mark.parametrize(("tail", "gap"), [(256 << 10, 256 << 10), (30, 0)])
def test_of_a_pack_that_is_written_again_the_waste_is_not_read(
    monkeypatch: pytest.MonkeyPatch, tail: int, gap: int
) -> None:
    """Neither is it missed where it is damaged: what is needed is proven by itself."""
    monkeypatch.setattr("repository.prune.needed_frames.TAIL_LENGTH", tail)
    monkeypatch.setattr("repository.prune.needed_frames.GAP_LENGTH", gap)
    scene = Scene()
    kept, left = _sparse(scene)
    repository = scene.reopen()
    index, keys = repository.tier("a").index, repository.keys.active()
    needed = {index.lookup(keys.chunk_id(body)) for body in left.values()}
    (pack_id,) = {each.pack_id for each in needed if each is not None}
    places = {each.frame_offset for each in needed if each is not None}
    body = bytearray(scene.store("a").get(pack_object_key(pack_id)))
    for chunk_id, found in rows_of(index.segments(), [pack_id]):
        location = index.lookup(chunk_id)
        assert found == pack_id
        assert location is not None
        if location.frame_offset not in places:
            body[location.frame_offset + location.frame_length // 2] ^= 1
    assert body != scene.store("a").get(pack_object_key(pack_id))
    scene.store("a").put(pack_object_key(pack_id), bytes(body))
    assert prune(scene.reopen())["a"].deleted
    assert pack_id not in _packs(scene)
    _expect_whole(scene.reopen(), {"kept": (kept, left)})
    assert check(scene.reopen(), read_percent=100).is_ok


def test_nothing_is_moved_on_a_tier_that_lacks_the_newest_key() -> None:
    """What it has is under older ones, and stays; by bit rot of a key object alone nothing is lost."""
    scene = Scene(("a", "b"))
    kept, left = _sparse(scene)
    before = {each.key for each in scene.store("b").list("keys/")}
    add_generation(scene.reopen(), scene.provider)
    (newest,) = [each.key for each in scene.store("b").list("keys/") if each.key not in before]
    scene.store("b").put(newest, scene.store("b").get(newest)[:-1] + b"?")
    packs = _packs(scene, "b")
    done = prune(scene.reopen())
    assert done["a"].failed is None
    assert done["b"].failed is not None
    assert (done["b"].failed.code, done["b"].deleted) == ("tier-behind", 0)
    assert packs <= _packs(scene, "b")
    alone = scene.reopen(stores=[scene.store("b")])
    assert read_back(alone, kept, alone.tier("b")) == left
