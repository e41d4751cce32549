"""One snapshot of several readers: joined, redone, raced for, and told where a part is missing."""

import threading

import pytest

from repository.backup.backup import BackupOptions, BackupResult
from repository.backup.fanout import Delivery
from repository.backup.parts import PartsMissing, abandon_parts, back_up_part, begin_partitioned, join_parts
from repository.errors import (
    LimitExceeded,
    NoUsableTier,
    ObjectMissing,
    SnapshotNotFound,
    TextInvalid,
    TierBehind,
    TierUnreachable,
)
from repository.opened.repository import Repository
from repository.stored.part import part_place, pending_object_key
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.repositories import Scene
from tests.support.snapshots import kept
from tests.support.streams import Away

OPTIONS = BackupOptions(run_token="run", label="photos", tags=("parts",), workers=1, memory_budget=128 << 20)


def folder(*names: str, seed: str = "") -> MemoryFolder:
    """A folder of files that say their names."""
    files = {name.encode(): MemoryFile(f"{seed}{name}".encode() * 50, inode=hash(name) & 0xFFFF) for name in names}
    return MemoryFolder(dict(files))


PARTS = {b"2024": folder("a", "b"), b"2025": folder("c"), b"2026": folder("a", "d", seed="new ")}


def make(repository: Repository, token: bytes, name: bytes, tree: MemoryFolder | None = None) -> BackupResult:
    """Make one part."""
    source = MemorySource(tree if tree is not None else PARTS[name])
    return back_up_part(repository, token, name, source, options=OPTIONS)


def expected(parts: dict[bytes, MemoryFolder]) -> dict[bytes, bytes]:
    """The files of the joined snapshot."""
    return {
        name + b"/" + file: entry.body
        for name, tree in parts.items()
        for file, entry in tree.entries.items()
        if isinstance(entry, MemoryFile)
    }


def files_of(repository: Repository, identity: str, tier: str | None = None) -> dict[bytes, bytes | None]:
    """The files of a snapshot, from one tier alone."""
    found = kept(repository, repository.find_snapshot(identity), tier)
    return {path: each.body for path, each in found.items() if each.entry.is_file}


def test_parts_become_one_snapshot_on_every_tier() -> None:
    """Made by several processes, in any order; nothing of it is a snapshot before, and nothing is left over."""
    scene = Scene(("a", "b"))
    token = begin_partitioned(scene.repository, list(PARTS), options=OPTIONS)
    assert b"photos" not in token
    for name in reversed(PARTS):
        result = make(scene.reopen(), token, name)
        assert {each.state for each in result.tiers.values()} == {Delivery.COMMITTED}
        assert scene.reopen().snapshots() == []
    assert {(each.tier, each.problem) for each in check(scene.repository).findings} == {
        ("a", Problem.ABANDONED),
        ("b", Problem.ABANDONED),
    }
    joined = join_parts(scene.reopen(), token)
    assert not joined.is_degraded
    repository = scene.reopen()
    (snapshot,) = repository.snapshots()
    assert snapshot.id == joined.snapshot.id
    manifest = snapshot.manifest
    assert (manifest.label, manifest.run_token, manifest.tags) == ("photos", "run", ("parts",))
    assert (manifest.totals.files, manifest.totals.failed) == (5, 0)
    for tier in ("a", "b"):
        assert files_of(repository, snapshot.id, tier) == expected(PARTS)
        assert [info.key for info in scene.store(tier).list("pending/")] == []
    assert check(repository, read_percent=100).findings == []


def test_threads_make_parts_of_one_open_repository() -> None:
    """All at once."""
    scene = Scene(("a", "b"))
    token = begin_partitioned(scene.repository, list(PARTS), options=OPTIONS)
    threads = [threading.Thread(target=make, args=(scene.repository, token, name)) for name in PARTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    joined = join_parts(scene.repository, token)
    assert files_of(scene.reopen(), joined.snapshot.id) == expected(PARTS)
    assert check(scene.repository, read_percent=100).is_ok


def test_missing_part_is_told_by_name_and_can_be_made_again() -> None:
    """A writer died: the others' work stays, and nothing is committed before his is done."""
    scene = Scene(("a", "b"))
    token = begin_partitioned(scene.repository, list(PARTS), options=OPTIONS)
    for name in (b"2024", b"2026"):
        make(scene.repository, token, name)
    with pytest.raises(PartsMissing) as caught:
        join_parts(scene.reopen(), token)
    assert caught.value.parts == (b"2025",)
    assert "2025" not in str(caught.value)
    assert scene.reopen().snapshots() == []
    make(scene.repository, token, b"2025")
    again = make(scene.repository, token, b"2024", folder("something", "else"))
    assert again.was_committed_before
    joined = join_parts(scene.repository, token)
    assert files_of(scene.reopen(), joined.snapshot.id) == expected(PARTS)


def test_other_backups_leave_the_parts_alone() -> None:
    """Whoever begins meanwhile adopts what a dead writer uploaded, and not what the living left for each other."""
    scene = Scene(("a",))
    token = begin_partitioned(scene.repository, list(PARTS), options=OPTIONS)
    make(scene.repository, token, b"2024")
    scene.backup({b"x": b"y"}, "other")
    for name in (b"2025", b"2026"):
        make(scene.reopen(), token, name)
    joined = join_parts(scene.reopen(), token)
    assert files_of(scene.repository, joined.snapshot.id) == expected(PARTS)


def test_join_that_is_made_again_adds_nothing() -> None:
    """After an answer that got lost."""
    scene = Scene(("a", "b"))
    token = begin_partitioned(scene.repository, list(PARTS), options=OPTIONS)
    for name in PARTS:
        make(scene.repository, token, name)
    first = join_parts(scene.repository, token)
    second = join_parts(scene.reopen(), token)
    assert (first.snapshot.id, second.is_degraded) == (second.snapshot.id, False)
    assert len(scene.reopen().snapshots()) == 1
    late = make(scene.repository, token, b"2024")
    assert (late.was_committed_before, late.snapshot_id) == (True, first.snapshot.id)


def test_unchanged_parts_are_recognised() -> None:
    """Against the same part of the snapshot before."""
    scene = Scene(("a",))
    for run in ("one", "two"):
        options = BackupOptions(run_token=run, label="photos")
        token = begin_partitioned(scene.repository, [b"2024", b"2025"], options=options)
        results = [make(scene.reopen(), token, name) for name in (b"2024", b"2025")]
        joined = join_parts(scene.reopen(), token)
    assert [each.totals.unchanged_files for each in results] == [2, 1]
    assert joined.snapshot.manifest.totals.new_chunks == 0
    assert joined.snapshot.manifest.parent == scene.repository.snapshots()[0].id
    assert check(scene.reopen(), read_percent=100).findings == []


def test_tier_that_lacks_a_part_does_not_get_the_snapshot() -> None:
    """All or nothing on each tier; catch-up brings it."""
    stores = [Away("a"), Away("b")]
    scene = Scene(stores=stores)
    token = begin_partitioned(scene.repository, list(PARTS), options=OPTIONS)
    make(scene.repository, token, b"2024")
    stores[1].is_away = True
    result = make(scene.reopen(), token, b"2025")
    assert "b" not in result.tiers
    stores[1].is_away = False
    make(scene.reopen(), token, b"2026")
    joined = join_parts(scene.reopen(), token)
    assert list(joined.errors) == ["b"]
    assert isinstance(joined.errors["b"], TierBehind)
    repository = scene.reopen()
    assert repository.tier("b").snapshots() == {}
    assert catch_up(repository, repository.tier("b")).is_complete
    assert files_of(repository, joined.snapshot.id, "b") == expected(PARTS)
    assert check(scene.reopen(), read_percent=100).is_ok


def test_parts_on_different_tiers_are_brought_together_by_catch_up() -> None:
    """No tier has all of them: that is told, with what helps."""
    stores = [Away("a"), Away("b")]
    scene = Scene(stores=stores)
    token = begin_partitioned(scene.repository, [b"2024", b"2025"], options=OPTIONS)
    for away, name in enumerate((b"2024", b"2025")):
        stores[away].is_away = True
        make(scene.reopen(), token, name)
        stores[away].is_away = False
    with pytest.raises(NoUsableTier) as caught:
        join_parts(scene.reopen(), token)
    assert {type(each) for each in caught.value.causes} == {TierBehind}
    repository = scene.reopen()
    assert catch_up(repository, repository.tier("a")).is_complete
    joined = join_parts(scene.reopen(), token)
    assert files_of(scene.repository, joined.snapshot.id, "a") == expected(
        {each: PARTS[each] for each in (b"2024", b"2025")}
    )


def test_part_that_two_made_is_one_of_them_on_every_tier() -> None:
    """A writer that was taken for dead: each tier with the snapshot has the same one, whole."""
    stores = [Away("a"), Away("b")]
    scene = Scene(stores=stores)
    token = begin_partitioned(scene.repository, [b"2024"], options=OPTIONS)
    for away, seed in ((0, "one "), (1, "two ")):
        stores[away].is_away = True
        make(scene.reopen(), token, b"2024", folder("a", "b", seed=seed))
        stores[away].is_away = False
    joined = join_parts(scene.reopen(), token)
    repository = scene.reopen()
    assert len(repository.snapshots()) == 1
    found = files_of(repository, joined.snapshot.id)
    assert found in (
        expected({b"2024": folder("a", "b", seed="one ")}),
        expected({b"2024": folder("a", "b", seed="two ")}),
    )
    for tier in repository.tiers:
        assert catch_up(repository, tier).is_complete
        assert files_of(repository, joined.snapshot.id, tier.name) == found


def test_damaged_part_counts_as_not_made() -> None:
    """It can be made again, and what lies there does not stay in the way."""
    scene = Scene(("a",))
    token = begin_partitioned(scene.repository, [b"2024"], options=OPTIONS)
    make(scene.repository, token, b"2024")
    (key,) = [info.key for info in scene.store("a").list("pending/") if info.key.endswith(part_place(0))]
    scene.store("a").put(key, b"junk")
    with pytest.raises(PartsMissing):
        join_parts(scene.reopen(), token)
    assert not make(scene.reopen(), token, b"2024").was_committed_before
    joined = join_parts(scene.reopen(), token)
    assert files_of(scene.repository, joined.snapshot.id) == expected({b"2024": PARTS[b"2024"]})


def test_plan_that_cannot_be_is_refused() -> None:
    """Before anything is read."""
    scene = Scene()
    for parts in ([], [b"a", b"a"], [b""], [b"a/b"], [b".."], [b"a\0"]):
        with pytest.raises(TextInvalid):
            begin_partitioned(scene.repository, parts, options=OPTIONS)
    with pytest.raises(LimitExceeded):
        begin_partitioned(scene.repository, [b"%d" % number for number in range(10_000)], options=OPTIONS)
    token = begin_partitioned(scene.repository, [b"a"], options=OPTIONS)
    for wrong in (b"", b"{}", token.replace(scene.repository.id.hex().encode(), b"0" * 32)):
        with pytest.raises(TextInvalid):
            join_parts(scene.repository, wrong)
    with pytest.raises(TextInvalid):
        make(scene.repository, token, b"b", folder("x"))


def test_abandoned_run_leaves_nothing_but_what_the_next_one_uses() -> None:
    """Its packs are in the index: nothing is uploaded again."""
    scene = Scene(("a",))
    token = begin_partitioned(scene.repository, [b"2024"], options=OPTIONS)
    make(scene.repository, token, b"2024")
    abandon_parts(scene.reopen(), token)
    assert [info.key for info in scene.store("a").list("pending/")] == []
    with pytest.raises(ObjectMissing):
        join_parts(scene.repository, token)
    token = begin_partitioned(scene.repository, [b"2024"], options=OPTIONS)
    assert make(scene.reopen(), token, b"2024").totals.new_chunks == 0
    assert {each.problem for each in check(scene.reopen(), read_percent=100).findings} == {Problem.ABANDONED}


def test_what_is_left_of_an_abandoned_run_is_told() -> None:
    """Where a tier is away or fails, the plan stays: it is to be abandoned again."""
    stores = [Away("a"), Away("b")]
    scene = Scene(stores=stores)
    token = begin_partitioned(scene.repository, [b"2024"], options=OPTIONS)
    stores[0].is_away = True
    assert {name: error.code for name, error in abandon_parts(scene.repository, token).items()} == {
        "a": "tier-unreachable"
    }
    assert abandon_parts(scene.reopen(), token).keys() == {"a"}
    stores[0].is_away = False
    assert abandon_parts(scene.reopen(), token) == {}
    assert {each.problem for each in check(scene.repository).findings} == set()


def test_part_that_was_made_says_where_it_is() -> None:
    """Whoever makes it once more is told which tiers have it, and so is who asks when all are joined."""
    stores = [Away("a"), Away("b")]
    scene = Scene(stores=stores)
    token = begin_partitioned(scene.repository, [b"2024"], options=OPTIONS)
    stores[1].is_away = True
    make(scene.reopen(), token, b"2024")
    stores[1].is_away = False
    again = make(scene.reopen(), token, b"2024")
    assert again.was_committed_before
    assert {name: each.state for name, each in again.tiers.items()} == {"a": Delivery.COMMITTED, "b": Delivery.BEHIND}
    assert isinstance(again.tiers["b"].error, TierBehind)
    assert join_parts(scene.reopen(), token).errors.keys() == {"b"}
    late = make(scene.reopen(), token, b"2024")
    assert {name: each.state for name, each in late.tiers.items()} == {"a": Delivery.COMMITTED, "b": Delivery.BEHIND}


def test_no_tier_for_the_plan_is_told() -> None:
    """And one that is forged, or another's, is not taken for it."""
    stores = [Away("a")]
    scene = Scene(stores=stores)
    token = begin_partitioned(scene.repository, [b"2024"], options=OPTIONS)
    stores[0].is_away = True
    with pytest.raises(NoUsableTier):
        begin_partitioned(scene.repository, [b"2024"], options=OPTIONS)
    with pytest.raises((NoUsableTier, TierUnreachable)):
        make(scene.repository, token, b"2024")
    stores[0].is_away = False
    import msgspec

    run = bytes.fromhex(msgspec.json.decode(token)["run"])
    stores[0].inner.put(pending_object_key(run, "plan"), b"forged")
    with pytest.raises(NoUsableTier):
        make(scene.repository, token, b"2024")


def test_parts_are_locked_before_and_with_the_snapshot() -> None:
    """As long as the plan says."""
    scene = Scene(stores=[MemoryObjectStore("a", locks=True)])
    options = BackupOptions(run_token="run", label="photos", lock_days={"a": 30})
    token = begin_partitioned(scene.repository, [b"2024"], options=options)
    make(scene.repository, token, b"2024")
    store = scene.store("a")
    packs = [info.key for info in store.list("packs/")]
    assert packs
    assert all(found is not None and found.lock_until is not None for found in map(store.head, packs))
    join_parts(scene.reopen(), token)
    assert check(scene.reopen(), read_percent=100).is_ok


def test_run_whose_snapshot_was_forgotten_is_not_joined_again() -> None:
    """Its token is not taken again."""
    from repository.stored.log_entry import SnapshotsForgotten

    scene = Scene(("a",))
    token = begin_partitioned(scene.repository, [b"2024"], options=OPTIONS)
    make(scene.repository, token, b"2024")
    joined = join_parts(scene.repository, token)
    scene.tier("a").log.append(lambda _: SnapshotsForgotten(time_ns=1, snapshots=(joined.snapshot.id,)))
    with pytest.raises(SnapshotNotFound):
        join_parts(scene.reopen(), token)
