"""Lost and damaged log entries: what is put in their place is what was there, or says that it is not known."""

from datetime import timedelta

import pytest

from repository.errors import RepositoryError, TierUnreachable
from repository.log.state import LogState
from repository.opened.key_change import add_generation
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.opened.seen import SeenTier
from repository.prune.prune import prune
from repository.retention.erasure import erase, plan_erasure
from repository.retention.orders import forget
from repository.stored.checkpoint import KeptStream
from repository.stored.log_entry import (
    Body,
    HoldPlaced,
    HoldReleased,
    KeksEnded,
    KeysChanged,
    KeysDestroyed,
    PacksMarked,
    PacksSwept,
    PacksUnmarked,
    SnapshotsForgotten,
    SnapshotsTagged,
    StreamAppended,
    SweepBegun,
    entry_object_key,
)
from repository.stored.manifest_object import manifest_object_key
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.accepted_history import accept_history
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check
from repository.upkeep.check_report import Finding, Problem
from repository.upkeep.gone_meanwhile import Standing
from repository.upkeep.log_repair import restated
from repository.upkeep.repair import repair
from tests.support.repositories import BrokenStore, Scene, photos, write_snapshot


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


class _DiesBeforeItsEntry(BrokenStore):
    """Takes the second copy of a snapshot's entry; then the writer is gone."""

    def put(self, key: str, body: bytes, **options: object) -> None:
        if key.startswith("log/") and "die" in self.failures:
            raise TierUnreachable("gone")
        self._inner.put(key, body, **options)  # type: ignore[arg-type]


def _dead_writer(scene: Scene) -> None:
    store = _DiesBeforeItsEntry(scene.store("a"))
    scene.reopen(stores=[store])  # type: ignore[list-item]
    store.failures["die"] = TierUnreachable("gone")
    with pytest.raises(RepositoryError):
        scene.backup(photos(2, 9), "dead")
    scene.reopen()


def _tokens(scene: Scene) -> list[str]:
    return [each.manifest.run_token for each in scene.reopen().snapshots()]


def test_snapshot_of_a_dead_writer_does_not_stand_for_another_one_that_is_lost() -> None:
    """Entry and copy of a snapshot are lost, whichever: nobody but the operator gives it up."""
    for lost in ("run 1", "run 2"):
        scene = Scene()
        scene.backup(photos(2, 0), "run 0")
        _dead_writer(scene)
        for number in (1, 2, 3):
            scene.backup(photos(2, number), f"run {number}")
        report = check(scene.reopen(), read_percent=100)
        assert (report.damage, [each.problem for each in report.findings]) == ([], [Problem.ABANDONED])
        state = scene.tier("a").log.state
        (identity,) = [each for each, kept in state.snapshots.items() if kept.manifest.run_token == lost]
        key = entry_object_key(state.entry_of[identity])
        scene.store("a").delete(key)
        scene.store("a").delete(manifest_object_key(identity))
        result = repair(scene.reopen(), scene.tier("a"))
        assert [each.object_key for each in result.unrepaired] == [key]
        assert repair(scene.reopen(), scene.tier("a"), bridge=True).given_up == [state.entry_of[identity]]
        assert _tokens(scene) == [each for each in ("run 0", "run 1", "run 2", "run 3") if each != lost]


def test_snapshot_whose_entry_is_lost_comes_back_at_its_place() -> None:
    """With its number and its bytes, so that the order is what it was and nothing that was seen is contradicted."""
    scene = Scene()
    for number in range(4):
        scene.backup(photos(2, number), f"run {number}")
    whole = _log_of(scene.store("a"))
    state = scene.tier("a").log.state
    for number in list(state.entry_of.values())[1:]:
        scene.store("a").put(entry_object_key(number), b"?")
    assert repair(scene.reopen(), scene.tier("a")).is_complete
    assert _log_of(scene.store("a")) == whole
    assert check(scene.reopen(), read_percent=100).damage == []


@pytest.mark.parametrize("count", [1, 2])
def test_log_whose_end_was_cut_off_is_damage_and_is_made_whole(count: int) -> None:
    """The copies of the entries tell, on a single tier that nobody remembers."""
    scene = Scene()
    for number in range(4):
        scene.backup(photos(2, number), f"run {number}")
    whole = _log_of(scene.store("a"))
    for key in sorted(whole)[-count:]:
        scene.store("a").delete(key)
    report = check(scene.reopen())
    assert [each.problem for each in report.damage if each.problem is Problem.UNCOMMITTED] == [
        Problem.UNCOMMITTED
    ] * count
    assert repair(scene.repository, scene.tier("a"), report).is_complete
    assert _log_of(scene.store("a")) == whole
    assert check(scene.reopen()).damage == []


def test_log_that_was_cut_off_and_written_on_is_damage() -> None:
    """What followed the first entry that was replaced proves it; all of them are committed again."""
    scene = Scene()
    for number in range(4):
        scene.backup(photos(2, number), f"run {number}")
    for key in sorted(_log_of(scene.store("a")))[-2:]:
        scene.store("a").delete(key)
    scene.reopen()
    scene.backup(photos(2, 7), "run 7")
    scene.backup(photos(2, 8), "run 8")
    report = check(scene.reopen())
    kinds = sorted(each.problem for each in report.findings if "snapshots/" in each.object_key)
    assert kinds == [Problem.UNCOMMITTED, Problem.UNCOMMITTED]
    assert repair(scene.repository, scene.tier("a"), report).is_complete
    assert {"run 2", "run 3"} <= set(_tokens(scene))


@pytest.mark.parametrize(("cut", "written"), [(6, 1), (6, 3), (5, 1)])
def test_nothing_is_put_behind_a_hole_where_somebody_wrote_on(cut: int, written: int) -> None:
    """The entries that were there follow others than those that are: the log stays one that takes backups."""
    scene = Scene()
    for number in range(10):
        scene.backup(photos(2, number), f"run {number}")
    for key in sorted(_log_of(scene.store("a")))[-cut:]:
        scene.store("a").delete(key)
    scene.reopen()
    for number in range(written):
        scene.backup(photos(2, 20 + number), f"run {20 + number}")
    assert repair(scene.reopen(), scene.tier("a")).is_complete
    assert check(scene.reopen(), read_percent=100).is_ok
    assert {f"run {number}" for number in (*range(10), *range(20, 20 + written))} == set(_tokens(scene))
    scene.backup(photos(2, 30), "run 30")
    assert "run 30" in _tokens(scene)


def test_lost_entry_before_a_checkpoint_is_made_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """From its copy; where that is gone too, what the checkpoint has of it is committed again, and outlives it."""
    monkeypatch.setattr("repository.log.commit_log.CHECKPOINT_EVERY", 8)
    for has_copy in (True, False):
        scene = Scene()
        for number in range(12):
            scene.backup(photos(1, number), f"run {number}")
        store, state = scene.store("a"), scene.reopen().tier("a").log.state
        identity, number = list(state.entry_of.items())[1]
        assert number < state.base
        store.delete(entry_object_key(number))
        if not has_copy:
            store.delete(manifest_object_key(identity))
        assert not check(scene.reopen()).is_ok
        result = repair(scene.reopen(), scene.tier("a"))
        assert (result.unrepaired, result.given_up) == ([], [])
        for info in list(store.list("checkpoints/")):
            store.delete(info.key)
        assert len(scene.reopen().snapshots()) == 12
        assert check(scene.repository).damage == []


@pytest.mark.parametrize("many", [1, 2])
def test_lost_entry_of_what_was_forgotten_before_a_checkpoint_is_bridged_unasked(
    monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """No snapshot that should exist was in it: the checkpoint has all of these. Without it nobody knows."""
    monkeypatch.setattr("repository.log.commit_log.CHECKPOINT_EVERY", 8)
    for is_known in (True, False):
        scene = Scene()
        made = [scene.backup(photos(1, number), f"run {number}") for number in range(12)]
        gone = [each.id for each in made[1 : 1 + many] if each is not None]
        entry_of = dict(scene.tier("a").log.state.entry_of.items())
        forget(scene.reopen(), gone)
        prune(scene.reopen())
        scene.tier("a").log.checkpoint(is_due=True)
        store = scene.store("a")
        assert not {manifest_object_key(each) for each in gone} & {info.key for info in store.list("snapshots/")}
        for each in gone:
            store.put(entry_object_key(entry_of[each]), b"?")
        if not is_known:
            for info in list(store.list("checkpoints/")):
                store.delete(info.key)
        assert not check(scene.reopen()).is_ok
        result = repair(scene.reopen(), scene.tier("a"))
        assert (result.is_complete, result.given_up) == (is_known, [])
        if is_known:
            assert len(scene.reopen().snapshots()) == 12 - many
            assert check(scene.repository, read_percent=100).is_ok


def test_a_prune_leaves_no_entry_of_what_was_forgotten_that_only_an_operator_gives_up() -> None:
    """It takes second copies away, and leaves a checkpoint before, however short the log is."""
    scene = Scene()
    gone = scene.backup(photos(1), "gone")
    scene.backup(photos(1, 2), "kept")
    assert gone is not None
    number = scene.tier("a").log.state.entry_of[gone.id]
    forget(scene.reopen(), [gone.id])
    prune(scene.reopen())
    assert len(list(scene.store("a").list("snapshots/"))) == 1
    scene.store("a").put(entry_object_key(number), b"?")
    assert not check(scene.reopen()).is_ok
    assert repair(scene.reopen(), scene.tier("a")).is_complete
    assert check(scene.reopen(), read_percent=100).is_ok
    assert [each.brief.run_token for each in scene.repository.snapshots()] == ["kept"]


def test_lost_entry_of_what_was_forgotten_behind_the_checkpoint_is_left_to_the_operator() -> None:
    """It was committed and forgotten since: by the count it may have been one that should exist."""
    scene = Scene()
    scene.backup(photos(1), "run")
    scene.tier("a").log.checkpoint(is_due=True)
    late = scene.backup(photos(1, 20), "late")
    assert late is not None
    number = scene.tier("a").log.state.entry_of[late.id]
    forget(scene.reopen(), [late.id])
    scene.store("a").delete(manifest_object_key(late.id))
    assert number > scene.reopen().tier("a").log.state.base
    scene.store("a").put(entry_object_key(number), b"?")
    assert repair(scene.reopen(), scene.tier("a")).unrepaired


def test_checkpoint_that_was_made_beside_a_check_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is judged by the entry that it speaks of, not by how far the log went when it was opened."""
    monkeypatch.setattr("repository.log.commit_log.CHECKPOINT_EVERY", 8)
    scene = Scene()
    scene.backup(photos(1), "run")
    opened = Repository.open(scene.stores, scene.provider)
    for number in range(8):
        scene.backup(photos(1, number), f"run {number}")
    assert list(scene.store("a").list("checkpoints/"))
    assert check(opened).damage == []


def test_entries_that_were_lost_together_before_a_checkpoint_contradict_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A head that was seen there is of an entry that a bridge stands for."""
    monkeypatch.setattr("repository.log.commit_log.CHECKPOINT_EVERY", 8)
    scene = Scene(("a", "b"))
    for number in range(3):
        scene.backup(photos(1, number), f"run {number}")
    store = scene.store("a")
    for number in range(3, 16):
        scene.reopen(stores=[store])
        scene.backup(photos(1, number), f"run {number}")
    scene.reopen()
    (seen,) = {head.number for head in scene.tier("b").log.state.witnesses.values()}
    assert seen + 1 < scene.tier("a").log.state.base
    of_entry = {at: each for each, at in scene.tier("a").log.state.entry_of.items()}
    for number in (seen, seen + 1):
        store.delete(entry_object_key(number))
        if number in of_entry:
            store.delete(manifest_object_key(of_entry[number]))
    repair(scene.reopen(), scene.tier("a"), bridge=True)
    assert scene.reopen().tier("a").is_ready, scene.repository.states()


@pytest.mark.parametrize("is_locked", [False, True])
def test_history_that_the_tiers_own_checkpoint_contradicts_is_accepted_for_good(
    monkeypatch: pytest.MonkeyPatch, is_locked: bool
) -> None:
    """The log alone was put back; its checkpoints of what came after speak of it, and may be locked."""
    monkeypatch.setattr("repository.log.commit_log.CHECKPOINT_EVERY", 4)
    scene = Scene(("a", "b"), locks=is_locked)
    scene.backup(photos(1), "run 0")
    old = _log_of(scene.store("b"))
    for number in range(1, 6):
        scene.backup(photos(1, number), f"run {number}")
    gone = {key for key in scene.store("b").contents() if key.startswith("log/") and key not in old}
    kept = {key: body for key, body in scene.store("b").contents().items() if key not in gone}
    store = MemoryObjectStore("b", objects={k: v for k, v in kept.items() if "snapshots/" not in k}, locks=is_locked)
    later = [info.key for info in store.list("checkpoints/")]
    if is_locked:
        for key in later:
            store.extend_lock(key, store.now() + timedelta(days=9))
    scene.stores[1] = store
    repository = scene.reopen()
    assert repository.tier("b").state is TierState.REPLAYED
    accept_history(repository, repository.tier("b"))
    repository = scene.reopen()
    assert repository.tier("b").is_ready, repository.states()
    assert repair(repository, repository.tier("b")).is_complete
    catch_up(repository, repository.tier("b"))
    report = check(scene.reopen(), read_percent=100)
    assert report.damage == []
    assert len(scene.tier("b").snapshots()) == 6
    kinds = {each.problem for each in report.findings if "checkpoints/" in each.object_key}
    assert kinds == ({Problem.ABANDONED} if is_locked else set())
    # What they said is evidence, and kept.
    assert {info.key[11:-9] for info in store.list("quarantine/")} >= {key for key in later if is_locked}
    for number in range(6, 16):
        scene.backup(photos(1, number), f"run {number}")
    assert scene.reopen().tier("b").log.state.base > 0
    assert [each.is_ready for each in scene.repository.tiers] == [True, True]


_PACK = "ab" * 32
_ORDERS: tuple[Body, ...] = (
    HoldPlaced(time_ns=1, name="court order", snapshots=("cd" * 16,)),
    HoldReleased(time_ns=1, name="another"),
    SnapshotsForgotten(time_ns=1, snapshots=("FIRST",)),
    PacksMarked(time_ns=1, packs=(_PACK,)),
    PacksUnmarked(time_ns=1, packs=("01" * 32,)),
    SweepBegun(time_ns=1, packs=(_PACK,)),
    PacksSwept(time_ns=1, packs=("02" * 32,)),
    KeysDestroyed(time_ns=1, key_ids=("ef" * 16,)),
    KeksEnded(time_ns=1, keks=("ef" * 16,)),
    SnapshotsTagged(time_ns=1, snapshots=("cd" * 16,), tags=("x",), revision=1),
)
_BEFORE: tuple[Body, ...] = (
    HoldPlaced(time_ns=1, name="another"),
    PacksMarked(time_ns=1, packs=("01" * 32, "02" * 32)),
    SweepBegun(time_ns=1, packs=("02" * 32,)),
    KeysChanged(time_ns=1, objects={}),
)


def _with_order(order: Body, behind: int) -> tuple[Scene, int]:
    """A repository with this entry, so many snapshots behind it; and its number."""
    scene = Scene()
    (first, *_) = [scene.backup(photos(1, number), f"run {number}") for number in range(2)]
    assert first is not None
    log = scene.tier("a").log
    for body in _BEFORE:
        log.append(lambda _, body=body: body)  # type: ignore[misc]
    if isinstance(order, SnapshotsForgotten):
        order = SnapshotsForgotten(time_ns=1, snapshots=(first.id,))
    entry = log.append(lambda _: order)
    assert entry is not None
    for number in range(behind):
        scene.backup(photos(1, 5 + number), f"run {5 + number}")
    return scene, entry.number


@pytest.mark.parametrize("order", _ORDERS, ids=lambda order: type(order).__name__)
@pytest.mark.parametrize("neighbour", [-1, 0, 1])
def test_lost_entry_that_may_have_held_an_order_is_not_given_up_unasked(order: Body, neighbour: int) -> None:
    """The entry behind it says so; where the neighbour is lost as well, nobody knows what either said."""
    scene, number = _with_order(order, 2)
    for lost in {number, number + neighbour}:
        scene.store("a").put(entry_object_key(lost), b"?")
    result = repair(scene.reopen(), scene.tier("a"))
    assert entry_object_key(number) in [each.object_key for each in result.unrepaired]
    assert number not in result.given_up
    assert not scene.reopen().tier("a").is_ready
    assert number in repair(scene.repository, scene.tier("a"), bridge=True).given_up
    assert scene.reopen().tier("a").is_ready


def test_lost_entry_of_the_keys_is_bridged_and_said_again() -> None:
    """It is known that the entry before was of consequence, and that this one is not."""
    scene, number = _with_order(_ORDERS[0], 2)
    log = scene.tier("a").log
    log.append(lambda _: KeysChanged(time_ns=1, objects=log.state.key_objects))
    lost = log.state.head.number
    scene.backup(photos(1, 9), "run 9")
    scene.store("a").delete(entry_object_key(lost))
    result = repair(scene.reopen(), scene.tier("a"))
    assert (result.is_complete, result.given_up) == (True, [])
    # The bridge cannot hide that the entry before it counts.
    scene.store("a").delete(entry_object_key(number))
    assert repair(scene.reopen(), scene.tier("a")).unrepaired


def test_what_a_checkpoint_alone_says_of_a_stream_is_said_again() -> None:
    """How far it reached, and until when its pieces are locked."""
    now, whole = LogState(b"R" * 16, bytes(32)), LogState(b"R" * 16, bytes(32))
    now.streams["wal"] = KeptStream(7, 700, b"d" * 32, 2, 3, 1_900_000_000)
    (said,) = restated(now, whole, 5)
    assert said == StreamAppended(
        time_ns=5,
        stream="wal",
        number=7,
        position=700,
        digest=(b"d" * 32).hex(),
        first=2,
        locked_from=3,
        locked_until=1_900_000_000,
    )
    whole.streams["wal"] = now.streams["wal"]
    assert list(restated(now, whole, 5)) == []


@pytest.mark.parametrize("order", _ORDERS, ids=lambda order: type(order).__name__)
def test_what_a_checkpoint_alone_says_of_orders_is_said_again(monkeypatch: pytest.MonkeyPatch, order: Body) -> None:
    """So it outlives the checkpoint."""
    monkeypatch.setattr("repository.log.commit_log.CHECKPOINT_EVERY", 8)
    scene, number = _with_order(order, 8)
    state = scene.reopen().tier("a").log.state
    assert number <= state.base
    scene.store("a").delete(entry_object_key(number))
    result = repair(scene.reopen(), scene.tier("a"))
    assert (result.is_complete, result.given_up) == (True, [])
    for info in list(scene.store("a").list("checkpoints/")):
        scene.store("a").delete(info.key)
    alone = scene.reopen().tier("a").log.state
    assert alone.base == 0
    for name in ("holds", "marked_packs", "swept_packs", "destroyed_keys", "ended_keks"):
        assert getattr(alone, name) == getattr(state, name), name
    assert set(alone.snapshots) == set(state.snapshots)
    assert check(scene.repository).damage == []


def test_snapshot_that_is_lost_and_not_whole_is_named() -> None:
    """Its entry was given up by hand, its copy is there, and a pack that it needs is not."""
    scene = Scene()
    scene.backup(photos(2, 0), "run 0")
    before = {info.key for info in scene.store("a").list("packs/")}
    lost = scene.backup(photos(2, 1), "run 1")
    assert lost is not None
    number = scene.tier("a").log.state.entry_of[lost.id]
    copy = scene.store("a").get(manifest_object_key(lost.id))
    scene.store("a").delete(manifest_object_key(lost.id))
    scene.store("a").put(entry_object_key(number), b"?")
    assert repair(scene.reopen(), scene.tier("a"), bridge=True).given_up == [number]
    scene.store("a").put(manifest_object_key(lost.id), copy)
    for info in list(scene.store("a").list("packs/")):
        if info.key not in before:
            scene.store("a").delete(info.key)
    result = repair(scene.reopen(), scene.tier("a"))
    assert f"snapshot {lost.id}" in [each.object_key for each in result.unrepaired]
    assert not result.is_complete


def test_copy_of_a_writer_that_is_at_work_is_no_damage() -> None:
    """It is durable before its entry: a check in between says that somebody is about to make it."""
    scene = Scene()
    scene.backup(photos(2, 0), "run 0")
    scene.backup(photos(2, 1), "run 1")
    number = scene.tier("a").log.state.head.number
    entry = scene.store("a").get(entry_object_key(number))
    scene.store("a").delete(entry_object_key(number))
    scene.store("a").put("pending/" + "ab" * 16, b"?")
    report = check(scene.reopen())
    assert report.damage == []
    (found,) = [each for each in report.findings if "snapshots/" in each.object_key]
    assert (found.problem, "about to make it" in found.detail) == (Problem.ABANDONED, True)
    scene.store("a").put(entry_object_key(number), entry)
    assert check(scene.reopen()).damage == []


def test_store_that_fails_while_copies_are_judged_is_no_damage_of_its_objects() -> None:
    scene = Scene()
    scene.backup(photos(1), "run 0")
    (identity,) = scene.tier("a").snapshots()
    store = BrokenStore(scene.store("a"))
    scene.store("a").put(manifest_object_key("cd" * 16), b"?")
    repository = scene.reopen(stores=[store])  # type: ignore[list-item]
    store.failures["versions"] = TierUnreachable("gone")
    report = check(repository)
    assert [each.problem for each in report.damage] == [Problem.TIER]
    assert identity in repository.tier("a").snapshots()


def _with_holds(count: int = 3) -> tuple[Scene, int]:
    """A log that ends with entries of which there is no second copy; and its last number."""
    scene = Scene()
    for number in range(3):
        scene.backup(photos(1, number), f"run {number}")
    for number in range(count):
        hold = HoldPlaced(time_ns=1, name=f"hold {number}", snapshots=(), reason="")
        scene.tier("a").log.append(lambda _, hold=hold: hold)  # type: ignore[misc]
    return scene, scene.tier("a").log.state.head.number


@pytest.mark.parametrize("way", ["exchanged", "stranger", "far away", "set aside", "set aside twice"])
def test_entry_that_lies_under_another_name_of_the_tier_is_put_at_its_place(way: str) -> None:
    """It proves itself, and was bridged, or called lost, while its whole signed bytes lay there."""
    scene, last = _with_holds()
    store, first = scene.store("a"), last - 2
    whole = _log_of(store)
    names = {
        "exchanged": [entry_object_key(last)],
        "stranger": ["log/moved"],
        "far away": [entry_object_key(last + 5000)],
        "set aside": [f"quarantine/{entry_object_key(first)}.01234567"],
        "set aside twice": [f"quarantine/{entry_object_key(first)}.{place}" for place in ("01234567", "89abcdef")],
    }[way]
    store.put(entry_object_key(first), whole[entry_object_key(last)] if way == "exchanged" else b"?")
    for name in names:
        store.put(name, whole[entry_object_key(first)])
    damage = [each for each in check(scene.reopen()).damage if each.object_key in whole]
    assert damage
    assert all(each.repairable_from == ("a",) for each in damage)
    result = repair(scene.reopen(), scene.tier("a"))
    assert {entry_object_key(first): names[0]}.items() <= {
        each.object_key: each.source.removeprefix("a had it as ") for each in result.actions
    }.items()
    assert {key: body for key, body in _log_of(store).items() if key in whole} == whole
    assert (result.given_up, check(scene.reopen(), read_percent=100).damage) == ([], [])


def test_entry_of_another_history_that_was_set_aside_is_not_taken_for_the_lost_one() -> None:
    """Of two that follow the same entry nobody can say which was the last: neither is put there."""
    scene, last = _with_holds()
    store = scene.store("a")
    whole = store.contents()
    key = entry_object_key(last)
    store.delete(key)
    forked = HoldPlaced(time_ns=2, name="another", snapshots=(), reason="")
    scene.reopen().tier("a").log.append(lambda _: forked)
    store.put(f"quarantine/{key}.01234567", store.get(key))
    store.put(f"quarantine/{key}.89abcdef", whole[key])
    store.put(key, b"?")
    assert [each.repairable_from for each in check(scene.reopen()).damage] == [()]
    assert [each.object_key for each in repair(scene.reopen(), scene.tier("a")).unrepaired] == [key]
    assert store.contents()[key] == b"?"


@pytest.mark.parametrize("name", ["quarantine/{}.01234567", "log/zzz"])
@pytest.mark.parametrize("was_seen", [True, False])
def test_last_entry_comes_from_another_name_only_where_it_was_seen(name: str, was_seen: bool) -> None:
    """Nothing follows it that names it: what lies there may be of a history that was given up."""
    scene, last = _with_holds()
    store, key = scene.store("a"), entry_object_key(last)
    whole = store.get(key)
    state = scene.tier("a").log.state
    seen = SeenTier(state.tier_id, state.head)
    store.put(name.format(key), whole)
    store.put(key, b"?")
    known = {"a": [seen], "": [seen]} if was_seen else {}
    repository = scene.reopen(known=lambda _: known)
    result = repair(repository, repository.tier("a"))
    assert [each.object_key for each in result.unrepaired if each.object_key == key] == ([] if was_seen else [key])
    assert store.get(key) == (whole if was_seen else b"?")


def test_entry_of_what_was_forgotten_since_comes_from_its_second_copy_and_no_prune_takes_that_first() -> None:
    """It was bridged, though the very bytes lay there; and a prune, which needs no such entry, deleted them."""
    scene = Scene()
    made = [scene.backup(photos(1, number), f"run {number}") for number in range(2)]
    assert made[0] is not None
    store = scene.store("a")
    key = entry_object_key(scene.tier("a").log.state.entry_of[made[0].id])
    whole = store.get(key)
    forget(scene.repository, [made[0].id])
    scene.tier("a").log.checkpoint(is_due=True)
    store.put(key, b"?")
    assert prune(scene.reopen())["a"].is_complete
    assert store.head(manifest_object_key(made[0].id)) is not None
    result = repair(scene.reopen(), scene.tier("a"))
    assert (result.unrepaired, store.get(key)) == ([], whole)
    prune(scene.reopen())
    assert store.head(manifest_object_key(made[0].id)) is None


@pytest.mark.parametrize("what", ["a writer commits", "a domain is erased"])
def test_check_beside_others_looks_anew_at_what_they_were_about_to_do(what: str) -> None:
    """A second copy lies there before its entry, and a key object goes behind the entry that says so."""
    scene = Scene()
    add_generation(scene.repository, scene.provider, "person")
    scene.reopen()
    scene.backup(photos(1), "first")
    late = scene.repository
    other = Repository.open(scene.stores, scene.provider, clock=scene.clock, randomness=scene.randomness)
    standing = Standing.of(late.tier("a"))
    if what == "a domain is erased":
        erase(other, "person", plan_erasure(other, "person").word)
    else:
        write_snapshot(other, other.ready_tiers(), photos(2, 5), "beside", scene.randomness)
    problem = Problem.KEY if what == "a domain is erased" else Problem.UNCOMMITTED
    found = [Finding("a", problem, "as it was", "when it was looked at")]
    assert standing.judged(late.tier("a"), found, lambda: check(late).findings, lambda _: False) == []
