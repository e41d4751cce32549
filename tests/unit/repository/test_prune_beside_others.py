"""A prune that is slow, and what others begin and end meanwhile."""

from collections.abc import Callable
from typing import Any

import pytest

from repository.errors import Damaged, SnapshotNotFound, TextInvalid, TierBehind, TierUnreachable
from repository.format import pack_object_key
from repository.index.pack_catalog import stored_packs
from repository.index.several_places import in_several_rows
from repository.opened.key_change import add_generation, rewrap
from repository.opened.pending import adopt_orphans
from repository.prune import prune as prune_module
from repository.prune.prune import prune
from repository.prune.sweep import Sweep
from repository.retention.orders import forget
from repository.stored.log_entry import KeysChanged, PacksSwept
from repository.stored.snapshot import Snapshot
from repository.upkeep import catch_up as catch_up_module
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check
from repository.upkeep.rebuild import rebuild_index
from tests.support.meanwhile import once_before
from tests.support.repositories import Scene, key_file, photos, read_back, write_snapshot


def _two_that_were_stored_at_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, files: dict[bytes, bytes]
) -> tuple[Snapshot, Snapshot]:
    """Two snapshots that share `files`, each of which lies in a pack of either."""
    first, second = scene.another(), scene.another()
    made: list[Snapshot | None] = []
    store = first.tier("a").store
    more = {**files, b"more": b"m" * 3000}
    with monkeypatch.context() as patched:
        once_before(
            patched,
            store,
            "put",
            lambda: made.append(write_snapshot(second, second.ready_tiers(), files, "two", scene.randomness)),
        )
        one = write_snapshot(first, first.ready_tiers(), more, "one", scene.randomness)
    (two,) = made
    assert one is not None
    assert two is not None
    return one, two


def test_what_another_prune_has_marked_swept_and_ended_is_not_counted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of a chunk that this prune wanted to keep is gone when it would mark the other."""
    scene = Scene()
    files = photos(4, seed=1)
    one, two = _two_that_were_stored_at_once(scene, monkeypatch, files)
    slow = scene.another()

    def prune_as_another() -> None:
        forget(scene.another(), [one.id])
        assert prune(scene.another())["a"].deleted

    once_before(monkeypatch, slow.tier("a").log, "append", prune_as_another)
    assert prune(slow)["a"].is_complete
    repository = scene.reopen()
    assert [each.id for each in repository.snapshots()] == [two.id]
    assert read_back(repository, two, repository.tier("a")) == files
    assert check(repository, read_percent=100).is_ok


def test_who_deletes_what_was_brought_again_meanwhile_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delete that was decided before a catch-up ended the sweep, and that the store does after it."""
    scene = Scene(("a", "b"))
    files = photos(4, seed=1)
    one = scene.backup(files, "one")
    assert one is not None
    b = scene.another("b")
    two = write_snapshot(b, b.ready_tiers(), files, "two", scene.randomness)
    assert two is not None
    forget(scene.another("a"), [one.id])
    slow = scene.another("a")

    def catch_up_as_another() -> None:
        repository = scene.another()
        assert catch_up(repository, repository.tier("a")).is_complete
        assert check(scene.another(), read_percent=100).is_ok

    once_before(monkeypatch, scene.store("a"), "delete", catch_up_as_another)
    plan = prune(slow)["a"]
    assert not plan.is_complete
    assert isinstance(plan.failed, TierBehind)
    assert "catch-up" in (plan.failed.hint or "")
    repository = scene.reopen()
    assert not check(repository, read_percent=100).is_ok
    assert catch_up(repository, repository.tier("a")).is_complete
    repository = scene.reopen()
    assert check(repository, read_percent=100).is_ok
    assert read_back(repository, two, repository.tier("a")) == files


@pytest.mark.parametrize("harm", ["gone", "short", "changed"])
@pytest.mark.parametrize("which", [0, 1])
def test_the_only_whole_copy_of_a_chunk_stays(which: int, harm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two packs that have the same one is harmed, and a prune would delete one of them."""
    scene = Scene()
    files = photos(4, seed=1)
    _, two = _two_that_were_stored_at_once(scene, monkeypatch, files)
    index, store = scene.another().tier("a").index, scene.store("a")
    pairs = {tuple(sorted(each.pack_id for each in index.lookup_all(chunk))) for chunk in _twice(index)}
    sizes = {pack.id: pack.size for pack in stored_packs(store)}
    key = pack_object_key(max(pairs, key=lambda pair: sizes[pair[0]])[which])
    body = bytearray(store.get(key))
    store.delete(key)
    if harm != "gone":
        for at in range(100, len(body) - 1, 50):
            body[at] ^= 1
        store.put(key, bytes(body[: len(body) // 2] if harm == "short" else body))
    assert not check(scene.another(), read_percent=100).is_ok
    prune(scene.another())
    repository = scene.reopen()
    assert read_back(repository, two, repository.tier("a")) == files


def _twice(index: Any) -> set[bytes]:
    return {each for each in in_several_rows(index.segments()) if len(index.lookup_all(each)) == 2}


def test_what_is_forgotten_while_a_prune_runs_goes_with_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    first, second = (scene.backup(photos(3, seed=number), f"run {number}") for number in (1, 2))
    assert first is not None
    assert second is not None
    forget(scene.repository, [first.id])
    slow = scene.another()
    once_before(monkeypatch, Sweep, "delete", lambda: forget(scene.another(), [second.id]))
    assert prune(slow)["a"].deleted == 2
    plan = prune(scene.reopen())["a"]
    assert plan.deleted == 2
    assert not plan.unreferenced
    assert list(stored_packs(scene.store("a"))) == []


@pytest.mark.parametrize("what", ["adopt", "rebuild"])
def test_a_pack_whose_sweep_is_not_over_comes_into_no_index(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is deleted and out of the index, and `swept` not said yet."""
    scene = Scene()
    files = photos(3, seed=1)
    scene.backup(files, "dead", commit=False)
    late = scene.another()

    def stop_a_prune_before_its_last_entry() -> None:
        other = scene.another()
        assert write_snapshot(other, other.ready_tiers(), files, "other", scene.randomness) is not None
        append = Sweep._append

        def dying(self: Sweep, packs: Any, among: Any, kind: type) -> None:
            if kind is PacksSwept:
                raise TierUnreachable("the process is dead")
            append(self, packs, among, kind)

        with monkeypatch.context() as patched:
            patched.setattr(Sweep, "_append", dying)
            assert prune(scene.another())["a"].failed is not None

    once_before(monkeypatch, late.tier("a").log, "append", stop_a_prune_before_its_last_entry)
    if what == "adopt":
        adopt_orphans(late, late.tier("a"))
    else:
        rebuild_index(late, late.tier("a"))
    repository = scene.reopen()
    assert repository.tier("a").index.pack_ids() <= {pack.id for pack in stored_packs(scene.store("a"))}
    prune(repository)
    assert check(scene.reopen(), read_percent=100).is_ok


def test_a_live_snapshot_in_a_pack_that_a_prune_has_deleted_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever made it so: the prune is not over, and the index still names the pack."""
    scene = Scene()
    old, kept = (scene.backup(photos(3, seed=number), f"run {number}") for number in (1, 2))
    assert old is not None
    assert kept is not None
    forget(scene.repository, [old.id])

    def dying(*words: object) -> None:
        raise TierUnreachable("the process is dead")

    with monkeypatch.context() as patched:
        patched.setattr(Sweep, "_leave_index", dying)
        assert prune(scene.reopen())["a"].failed is not None
    assert check(scene.reopen(), read_percent=100).is_ok
    repository = scene.reopen()
    swept = repository.tier("a").log.state.swept_packs
    needed = next(pack.id for pack in stored_packs(scene.store("a")) if pack.id not in swept)
    scene.store("a").delete(pack_object_key(needed))
    repository.tier("a").log.state.swept_packs.add(needed)
    report = check(repository)
    assert not report.is_ok
    assert report.harmed["a"] == [kept.id]


def test_a_catch_up_commits_nothing_that_leans_on_packs_that_are_on_no_tier() -> None:
    scene = Scene(("a", "b"))
    files = photos(4, seed=1)
    assert scene.backup(files, "one") is not None
    b = scene.another("b")
    two = write_snapshot(b, b.ready_tiers(), files, "two", scene.randomness)
    assert two is not None
    lost = max(stored_packs(scene.store("a")), key=lambda pack: pack.size)
    for name in "ab":
        scene.store(name).delete(pack_object_key(lost.id))
    repository = scene.another()
    result = catch_up(repository, repository.tier("a"))
    assert result.lost_packs == [lost.id]
    assert result.left_out == [two.id]
    assert two.id not in scene.another().tier("a").snapshots()


def test_a_wrapping_that_another_made_meanwhile_stays_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two commands about keys: who has listed the key objects first says last which there are."""
    scene = Scene()
    scene.backup(photos(2), "run")
    first, new = scene.another(), key_file(7)
    log = first.tier("a").log
    append = log.append
    done: list[object] = []

    def slow(decide: Callable[[Any], Any], **options: Any) -> object:
        if isinstance(decide(log.state), KeysChanged) and not done:
            done.append(True)
            rewrap(scene.another(), new)
        return append(decide, **options)

    monkeypatch.setattr(log, "append", slow)
    add_generation(first, scene.provider, "person")
    assert done
    named = scene.another().tier("a").log.state.key_objects
    assert named.keys() == {info.key for info in scene.store("a").list("keys/")}


def test_the_reason_of_an_erasure_is_nobody_elses_to_give() -> None:
    scene = Scene()
    made = scene.backup(photos(2), "run")
    assert made is not None
    with pytest.raises(TextInvalid) as refusal:
        forget(scene.repository, [made.id], "erased with 00")
    assert refusal.value.context["field"] == "reason"
    assert scene.reopen().snapshots()


def test_rows_of_what_was_brought_again_meanwhile_stay_in_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catch-up ends a sweep between its last delete and its change of the index, and commits on what it brings."""
    scene = Scene(("a", "b"))
    files = photos(4, seed=1)
    one = scene.backup(files, "one")
    assert one is not None
    b = scene.another("b")
    two = write_snapshot(b, b.ready_tiers(), files, "two", scene.randomness)
    assert two is not None
    forget(scene.another("a"), [one.id])
    slow = scene.another("a")

    def catch_up_as_another() -> None:
        repository = scene.another()
        assert catch_up(repository, repository.tier("a")).is_complete

    once_before(monkeypatch, Sweep, "_leave_index", catch_up_as_another)
    assert prune(slow)["a"].is_complete
    repository = scene.reopen()
    assert read_back(repository, two, repository.tier("a")) == files
    assert check(repository, read_percent=100).is_ok


def test_a_delete_that_comes_before_the_rows_of_what_was_brought_is_seen_by_the_catch_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The prune knows of no rows then, and so cannot say that it took what somebody brought."""
    scene = Scene(("a", "b"))
    files = photos(4, seed=1)
    assert scene.backup(files, "one") is not None
    b = scene.another("b")
    two = write_snapshot(b, b.ready_tiers(), files, "two", scene.randomness)
    assert two is not None
    scene.reopen(stores=[scene.store("b")])
    rebuild_index(scene.repository, scene.tier("b"))
    store = scene.store("a")
    for pack in list(stored_packs(store)):
        store.delete(pack_object_key(pack.id))
    late = scene.another()

    def delete_late() -> None:
        for pack in list(stored_packs(store)):
            store.delete(pack_object_key(pack.id))

    once_before(monkeypatch, catch_up_module, "copy_segments", delete_late)
    assert catch_up(late, late.tier("a")).is_complete
    repository = scene.another()
    assert read_back(repository, two, repository.tier("a")) == files
    assert check(repository, read_percent=100).is_ok


@pytest.mark.parametrize("died_at", ["delete", "_delete"])
@pytest.mark.parametrize("harm", ["gone", "changed"])
def test_where_the_copy_that_stays_is_bad_the_marked_one_stays_too_and_it_is_told(
    harm: str, died_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was marked by a prune that died before or after its entry that the deleting begins."""
    scene = Scene()
    files = photos(4, seed=1)
    one, two = _two_that_were_stored_at_once(scene, monkeypatch, files)
    forget(scene.reopen(), [one.id])

    def dying(*words: object) -> None:
        raise TierUnreachable("the process is dead")

    with monkeypatch.context() as patched:
        patched.setattr(Sweep, died_at, dying)
        assert prune(scene.reopen())["a"].failed is not None
    tier, store = scene.reopen().tier("a"), scene.store("a")
    sizes = {pack.id: pack.size for pack in stored_packs(store) if pack.id not in tier.log.state.marked_packs}
    key = pack_object_key(max(sizes, key=lambda pack: sizes[pack]))
    body = bytearray(store.get(key))
    store.delete(key)
    if harm == "changed":
        body[200] ^= 1
        store.put(key, bytes(body))
    plan = prune(scene.reopen())["a"]
    assert isinstance(plan.failed, Damaged)
    assert "repair" in (plan.failed.hint or "")
    repository = scene.reopen()
    assert read_back(repository, two, repository.tier("a")) == files
    again = prune(scene.reopen())["a"]
    assert again.is_complete == (died_at == "delete"), "what is not taken back is told each time"
    repository = scene.reopen()
    assert read_back(repository, two, repository.tier("a")) == files


def test_an_index_is_rebuilt_where_a_prune_died_in_its_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was about to delete is not listed again, and stops nothing."""
    scene = Scene()
    files = photos(3, seed=2)
    old, kept = scene.backup(photos(4, seed=1), "old"), scene.backup(files, "kept")
    assert old is not None
    assert kept is not None
    forget(scene.repository, [old.id])

    def dying(*words: object) -> None:
        raise TierUnreachable("the process is dead")

    with monkeypatch.context() as patched:
        patched.setattr(Sweep, "_delete", dying)
        assert prune(scene.reopen())["a"].failed is not None
    store = scene.store("a")
    for info in list(store.list("index/")):
        store.delete(info.key)
    repository = scene.reopen()
    rebuild_index(repository, repository.tier("a"))
    repository = scene.reopen()
    assert read_back(repository, kept, repository.tier("a")) == files
    assert prune(repository)["a"].is_complete
    assert check(scene.reopen(), read_percent=100).is_ok


def test_a_snapshot_that_is_forgotten_between_two_tiers_commits_is_told_as_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(("a", "b"))
    writer = scene.another()

    def forget_as_another() -> None:
        repository = scene.another()
        forget(repository, [each.id for each in repository.snapshots()])

    once_before(monkeypatch, writer.tier("b"), "commit_snapshot", forget_as_another)
    with pytest.raises(SnapshotNotFound, match="was forgotten"):
        write_snapshot(writer, writer.ready_tiers(), photos(3), "run", scene.randomness)
    assert not scene.reopen().snapshots()


@pytest.mark.parametrize("names", [("a",), ("a", "b")])
def test_what_is_backed_up_again_while_a_prune_runs_keeps_its_packs(
    names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder was in a forgotten snapshot alone, at which the prune has looked by then."""
    scene = Scene(names)
    files = photos(4, seed=1)
    gone, kept = scene.backup(files, "gone"), scene.backup(photos(2, seed=5), "kept")
    assert gone is not None
    assert kept is not None
    forget(scene.reopen(), [gone.id])
    made: list[Snapshot | None] = []

    def back_up_as_another() -> None:
        repository = scene.another()
        made.append(write_snapshot(repository, repository.ready_tiers(), files, "new", scene.randomness))

    once_before(monkeypatch, prune_module, "mark", back_up_as_another)
    assert all(plan.is_complete for plan in prune(scene.another()).values())
    (new,) = made
    assert new is not None
    repository = scene.reopen()
    for name in names:
        assert read_back(repository, new, repository.tier(name)) == files
    assert check(repository, read_percent=100).is_ok
