"""What a tier needs although it was away: keys that were made meanwhile; and what lies there that nobody counts on."""

import hashlib
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from repository.backup.backup import BackupOptions, backup
from repository.errors import Damaged, RepositoryError, SnapshotNotFound, TierBehind, TierVanished, UnknownKey
from repository.index.segments import SharedSegments
from repository.log import commit_log
from repository.log.state import Head, LogState
from repository.opened.key_change import add_generation, rewrap
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.opened.seen import HeadsFile, SeenTier
from repository.stored.checkpoint import CHECKPOINT_PREFIX, checkpoint_object_key
from repository.stored.log_entry import KeysDestroyed, SnapshotsForgotten, entry_object_key
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import OBJECT_LENGTH_MAX
from repository.upkeep import read_back as upkeep_read_back
from repository.upkeep.catch_up import begin_anew, catch_up, lag
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from repository.upkeep.rebuild import rebuild_index
from repository.upkeep.repair import repair
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.repositories import Scene, SeededRandomness, key_file, photos, read_back, write_snapshot


def _below(store: MemoryObjectStore, prefix: str) -> list[str]:
    return [info.key for info in store.list(prefix)]


def test_tier_that_was_away_for_a_new_generation_has_it_before_it_is_written() -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(2, 0), "run 0")
    add_generation(scene.reopen(stores=[scene.store("a")]), scene.provider)
    repository = scene.reopen()
    # It lacks something, and nothing of it is damaged.
    assert check(repository).is_ok
    assert [(len(owed.keys), owed.is_behind) for owed in (lag(repository, each) for each in repository.tiers)] == [
        (0, False),
        (1, True),
    ]
    scene.backup(photos(2, 1), "run 1")
    assert check(scene.reopen(), read_percent=100).is_ok
    alone = scene.reopen(stores=[scene.store("b")])
    newest = alone.find_snapshot("latest")
    assert newest.manifest.run_token == "run 1"
    assert read_back(alone, newest, alone.tier("b")) == photos(2, 1)


def test_tier_that_was_away_for_a_rotation_opens_alone_after_the_next_backup() -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(2, 0), "run 0")
    new = key_file(5)
    rewrap(scene.reopen(stores=[scene.store("a")]), new)
    both = Repository.open(scene.stores, new)
    assert [lag(both, each).is_behind for each in both.tiers] == [False, True]
    write_snapshot(both, both.ready_tiers(), photos(2, 1), "run 1", SeededRandomness(9))
    assert Repository.open([scene.store("b")], new).tier("b").is_ready


def test_catch_up_brings_a_key_that_a_tier_never_had() -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(2, 0), "run 0")
    add_generation(scene.reopen(stores=[scene.store("a")]), scene.provider)
    repository = scene.reopen()
    assert catch_up(repository, repository.tier("b")).copied_keys == 1
    repository = scene.reopen()
    assert not lag(repository, repository.tier("b")).is_behind
    assert _below(scene.store("a"), "keys/") == _below(scene.store("b"), "keys/")


def _without(store: MemoryObjectStore, prefix: str) -> None:
    for key in _below(store, prefix):
        store._objects.pop(key)


def test_tier_whose_key_objects_are_gone_has_them_before_it_is_written() -> None:
    """Its own log names them: what is committed there could not be read from it alone."""
    scene = Scene(("a", "b"))
    scene.backup(photos(2, 0), "run 0")
    _without(scene.store("b"), "keys/")
    repository = scene.reopen()
    assert [len(lag(repository, each).keys) for each in repository.tiers] == [0, 1]
    scene.backup(photos(2, 1), "run 1")
    assert not lag(repository, repository.tier("b")).is_behind
    alone = scene.reopen(stores=[scene.store("b")])
    newest = alone.find_snapshot("latest")
    assert newest.manifest.run_token == "run 1"
    assert read_back(alone, newest, alone.tier("b")) == photos(2, 1)


def test_tier_with_junk_in_the_place_of_its_key_is_not_written() -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(2, 0), "run 0")
    (key,) = _below(scene.store("b"), "keys/")
    _without(scene.store("b"), "keys/")
    scene.store("b").put(key, b"junk")
    scene.reopen().begin_writing(bytes(16))
    assert {tier.name: tier.is_ready for tier in scene.repository.tiers} == {"a": True, "b": False}
    assert isinstance(scene.tier("b").error, TierBehind)


def test_tier_without_key_objects_alone_does_not_blame_the_key() -> None:
    scene = Scene(("a", "b"))
    _without(scene.store("b"), "keys/")
    with pytest.raises(UnknownKey, match="has a key object") as refused:
        scene.reopen(stores=[scene.store("b")])
    assert "keys/" in refused.value.hint
    assert "another tier" in refused.value.hint


@pytest.mark.parametrize("harm", ["gone", "cut"])
def test_tier_whose_segment_only_memory_has_is_damaged(harm: str) -> None:
    """The other tier's bytes of the same name are in memory: they say nothing of what lies here."""
    scene = Scene(("a", "b"))
    scene.backup(photos(2, 0), "run 0")
    store = scene.store("b")
    held = scene.reopen()
    (newest,) = held.snapshots()
    upkeep_read_back.read_back(held, held.tier("b"), newest.id)
    (key,) = _below(store, "index/")
    body = store.get(key)
    _without(store, "index/")
    if harm == "cut":
        store.put(key, body[:-1])
    with pytest.raises(RepositoryError, match="index segment"):
        upkeep_read_back.read_back(held, held.tier("b"), newest.id)
    shared = SharedSegments()
    whole = Repository.open([scene.store("a")], scene.provider, shared=shared)
    repository = Repository.open(scene.stores, scene.provider, shared=shared)
    assert {tier.name: tier.state for tier in repository.tiers} == {"a": TierState.READY, "b": TierState.DAMAGED}
    repository.tier("b").refresh()
    assert not repository.tier("b").is_ready, "as long as it is not there"
    store._objects.pop(key, None)
    store.put(key, body)
    repository.tier("b").refresh()
    assert repository.tier("b").is_ready
    assert whole.tier("a").is_ready


def test_tier_for_which_no_whole_copy_of_a_key_is_found_is_not_written() -> None:
    """What lies in its place is somebody's junk; the other tier goes on."""
    scene = Scene(("a", "b"))
    add_generation(scene.reopen(stores=[scene.store("a")]), scene.provider)
    (missing,) = set(_below(scene.store("a"), "keys/")) - set(_below(scene.store("b"), "keys/"))
    scene.store("b").put(missing, b"junk")
    scene.reopen()
    scene.repository.begin_writing(bytes(16))
    assert {tier.name: tier.is_ready for tier in scene.repository.tiers} == {"a": True, "b": False}
    assert isinstance(scene.tier("b").error, TierBehind)


def test_destroyed_key_is_brought_back_by_nobody() -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(1, 0), "run 0")
    add_generation(scene.reopen(), scene.provider, "person 7")
    keys = scene.repository.keys.active("person 7")
    scene.tier("b").log.append(lambda _: KeysDestroyed(time_ns=1, key_ids=(keys.key_id.hex(),)))
    (gone,) = [key for key in _below(scene.store("b"), "keys/") if keys.key_id.hex() in key]
    scene.store("b").delete(gone)
    repository = scene.reopen()
    catch_up(repository, repository.tier("b"))
    assert gone not in _below(scene.store("b"), "keys/")
    assert check(repository).is_ok
    rewrap(repository, key_file(7))
    third = MemoryObjectStore("c")
    repository = scene.reopen(stores=[*scene.stores, third])
    catch_up(repository, repository.tier("c"))
    assert not [key for key in [*_below(scene.store("b"), "keys/"), *_below(third, "keys/")] if gone[5:37] in key]


def test_what_was_erased_is_no_damage() -> None:
    """Its keys are gone as was ordered: a check says so of the snapshot, and of nothing that it stored."""
    scene = Scene(("a", "b"))
    add_generation(scene.reopen(), scene.provider, "person 7")
    repository = scene.reopen()
    key_id = repository.keys.active("person 7").key_id.hex()
    source = MemorySource(MemoryFolder({b"letter": MemoryFile(b"dear " * 99, inode=2)}))
    options = BackupOptions(run_token="run", label="letters", domain="person 7")
    erased = backup(repository, source, options=options).snapshot
    scene.reopen()
    scene.backup(photos(2), "others")
    for tier in scene.repository.tiers:
        tier.log.append(lambda _: KeysDestroyed(time_ns=1, key_ids=(key_id,)))
    for store in (scene.store("a"), scene.store("b")):
        for key in [key for key in _below(store, "keys/") if key_id in key]:
            store.delete(key)
    for percent in (0, 100):
        report = check(scene.reopen(), read_percent=percent)
        assert [(each.problem, each.object_key) for each in report.findings] == [
            (Problem.ERASED, f"snapshot {erased.id}")
        ] * 2
        assert report.is_ok
    third = MemoryObjectStore("c")
    repository = scene.reopen(stores=[*scene.stores, third])
    assert catch_up(repository, repository.tier("c")).is_complete
    assert not lag(repository, repository.tier("c")).is_behind  # nor is anybody owed it
    scene.reopen()
    scene.store("a").delete(next(key for key in _below(scene.store("a"), "packs/")))
    assert erased.id not in check(scene.reopen()).harmed["a"]


def test_destroyed_key_is_missed_by_nobody_and_writes_nothing() -> None:
    """That it is gone on all tiers stops no backup of the others; where it is left it encrypts nothing any more."""
    scene = Scene(("a", "b"))
    add_generation(scene.reopen(), scene.provider, "person 7")
    key_id = scene.repository.keys.active("person 7").key_id.hex()
    scene.tier("b").log.append(lambda _: KeysDestroyed(time_ns=1, key_ids=(key_id,)))
    repository = scene.reopen()
    for attempt in (
        lambda: repository.keys.active("person 7"),
        lambda: add_generation(repository, scene.provider, "person 7"),
    ):
        with pytest.raises(UnknownKey, match="destroyed"):
            attempt()
    for store in (scene.store("a"), scene.store("b")):
        for key in _below(store, "keys/"):
            if key_id in key:
                store.delete(key)
    scene.reopen()
    scene.backup(photos(1, 1), "run 1")
    assert check(scene.reopen()).is_ok
    assert [len(each.snapshots()) for each in scene.repository.tiers] == [1, 1]


@pytest.mark.parametrize(
    "name", ["keys/junk", f"keys/{'0' * 32}.{'1' * 32}", f"keys/{'0' * 64}"], ids=["name", "place", "long"]
)
@pytest.mark.parametrize("length", [1, 300 << 10])
def test_junk_among_the_keys_harms_nothing(name: str, length: int) -> None:
    """It is told as what nobody can explain; writing, rotation, repair and a new tier go on beside it."""
    scene = Scene(("a", "b"))
    scene.backup(photos(2, 0), "run 0")
    scene.store("a").put(name, b"x" * length)
    repository = scene.reopen()
    report = check(repository)
    assert report.is_ok
    assert [(each.problem, each.object_key) for each in report.findings] == [(Problem.STRANGE, name)]
    objects = scene.store("a").contents()
    del objects[entry_object_key(2)]
    scene.stores[0] = MemoryObjectStore("a", objects=objects)
    repository = scene.reopen()
    repair(repository, repository.tier("a"))
    assert add_generation(scene.reopen(), scene.provider) == {"a": None, "b": None}
    third = MemoryObjectStore("c")
    repository = scene.reopen(stores=[*scene.stores, third])
    catch_up(repository, repository.tier("c"))
    assert name not in _below(third, "keys/")


@pytest.mark.parametrize("name", ["index/junk", "pending/junk", "snapshots/" + "0" * 32, "log/0000000000000/junk"])
def test_junk_anywhere_is_told_and_harms_nothing(name: str) -> None:
    scene = Scene()
    scene.backup(photos(1), "run 0")
    scene.store("a").put(name, b"?")
    report = check(scene.reopen())
    assert [(each.problem, each.object_key) for each in report.findings] == [(Problem.STRANGE, name)]
    assert report.is_ok


def test_junk_under_names_of_checkpoints_displaces_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_log, "CHECKPOINT_EVERY", 8)
    scene = Scene()
    for number in range(8):
        scene.backup(photos(1, number), f"run {number}")
    store = scene.store("a")
    genuine = set(_below(store, CHECKPOINT_PREFIX))
    assert genuine
    junk = [b"junk %d" % number for number in range(3)]
    for number, body in enumerate(junk):
        place = 9_000_000_000_000_000 + number
        store.put(checkpoint_object_key(place, hashlib.sha256(body).digest()), body)
    assert scene.reopen().tier("a").log.state.base > 0
    for number in range(8, 40):
        scene.backup(photos(1, number), f"run {number}")
    left = [key for key in _below(store, CHECKPOINT_PREFIX) if f"/{9:d}" not in key]
    assert len(left) == 3
    state = scene.reopen().tier("a").log.state
    assert state.head.number - state.base <= 8 + 2


def test_checkpoint_is_locked_as_long_as_what_was_written_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_log, "CHECKPOINT_EVERY", 2)
    scene = Scene(locks=True)
    scene.backup(photos(1, 0), "run 0")
    tier = scene.tier("a")
    for each in _below(scene.store("a"), CHECKPOINT_PREFIX):
        scene.store("a").delete(each)
    scene.backup(photos(1, 1), "run 1")
    scene.backup(photos(1, 2), "run 2")
    until = tier.store.now() + timedelta(days=7)
    before = set(_below(scene.store("a"), CHECKPOINT_PREFIX))
    scene.reopen()
    for number in range(3):
        scene.tier("a").log.append(lambda _, number=number: KeysDestroyed(time_ns=number, key_ids=()))  # type: ignore[misc]
    scene.repository.end_writing(bytes(16), None, lambda _: until)
    (made,) = set(_below(scene.store("a"), CHECKPOINT_PREFIX)) - before
    locked = scene.store("a").head(made)
    assert locked is not None
    assert locked.lock_until == until


@pytest.mark.parametrize("count", [1, 4, 30])
def test_junk_in_steps_behind_the_log_is_no_way_to_a_number_far_away(count: int) -> None:
    """One object every 1,000 numbers: at most the first can stand for a gap."""
    scene = Scene()
    scene.backup(photos(1), "run 0")
    head = scene.tier("a").log.state.head.number
    objects = scene.store("a").contents()
    for number in range(1, count + 1):
        objects[entry_object_key(head + number * 1000)] = b"x"
    repository = scene.reopen(stores=[MemoryObjectStore("a", objects=objects)])
    assert len(repository.tier("a").log.state.faults) == 1000


def test_log_of_more_entries_than_a_gap_is_read_whole_with_damage_at_its_end() -> None:
    scene = Scene()
    for number in range(1005):
        scene.tier("a").log.append(lambda _, number=number: KeysDestroyed(time_ns=number, key_ids=()))  # type: ignore[misc]
    head = scene.tier("a").log.state.head.number
    objects = scene.store("a").contents()
    assert scene.reopen(stores=[MemoryObjectStore("a", objects=objects)]).tier("a").log.state.head.number == head
    for number in range(1001, head + 1):
        objects[entry_object_key(number)] = b"x"
    state = scene.reopen(stores=[MemoryObjectStore("a", objects=objects)]).tier("a").log.state
    assert [fault.number for fault in state.faults] == list(range(1001, head + 1))


def test_rebuilt_index_names_packs_that_are_gone_and_catch_up_brings_them_back() -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(3), "run 0")
    gone = max(scene.store("b").list("packs/"), key=lambda info: info.size).key
    scene.store("b").delete(gone)
    alone = scene.reopen(stores=[scene.store("b")])
    assert [f"packs/{each.hex()[:2]}/{each.hex()}" for each in rebuild_index(alone, alone.tier("b")).missing] == [gone]
    repository = scene.reopen()
    assert catch_up(repository, repository.tier("b")).copied_packs == 1
    scene.store("b").delete(gone)
    repository = scene.reopen()
    assert catch_up(repository, repository.tier("b")).copied_packs == 1
    assert check(scene.reopen(), read_percent=100).is_ok
    for name in ("a", "b"):
        scene.store(name).delete(gone)
    repository = scene.reopen()
    assert not catch_up(repository, repository.tier("b")).is_complete


def test_place_that_is_empty_and_was_not_is_not_filled_before_somebody_says_so() -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(1), "run 0")
    state = scene.reopen().tier("b").log.state
    seen = {"b": [SeenTier(state.tier_id, state.head)]}
    empty = MemoryObjectStore("b")
    repository = scene.reopen(stores=[scene.store("a"), empty], known=lambda _: seen)
    assert repository.tier("b").state is TierState.VANISHED
    assert isinstance(repository.tier("b").error, TierVanished)
    with pytest.raises(Exception, match="cannot be written"):
        catch_up(repository, repository.tier("b"))
    assert not _below(empty, "")
    begin_anew(repository.tier("b"))
    assert catch_up(repository, repository.tier("b")).is_complete


def test_check_of_an_empty_tier_says_what_to_do() -> None:
    scene = Scene(("a", "b"))
    report = check(scene.reopen(stores=[scene.store("a"), MemoryObjectStore("b")]))
    (found,) = report.damage
    assert "None" not in found.detail
    assert "catch-up" in found.detail


def test_run_whose_snapshot_was_forgotten_is_refused() -> None:
    scene = Scene()
    source, options = MemorySource(MemoryFolder({b"f": MemoryFile(b"1")})), BackupOptions(run_token="1", label="x")
    snapshot = backup(scene.reopen(), source, options=options).snapshot
    scene.reopen().tier("a").log.append(lambda _: SnapshotsForgotten(time_ns=1, snapshots=(snapshot.id,)))
    with pytest.raises(SnapshotNotFound, match="forgotten"):
        backup(scene.reopen(), source, options=options)


@pytest.mark.parametrize("digest", ["zz", "0", "0x"])
def test_remembered_heads_with_a_wrong_digit_are_set_aside_and_told(tmp_path: Path, digest: str) -> None:
    path, told = tmp_path / "key.heads", list[str]()
    remembered = {"place": "file:///a", "number": 3, "digest": digest}
    path.write_bytes(msgspec.json.encode({"repositories": {"00": {"11" * 16: remembered}}, "format": 1}))
    assert HeadsFile(path, told.append).seen(bytes(1), {"a": "file:///a"}) == {"a": [], "": []}
    assert told
    assert (tmp_path / "key.heads.damaged").exists()


def test_heads_that_two_processes_note_at_once_are_all_remembered(tmp_path: Path) -> None:
    path = tmp_path / "key.heads"
    genesis = bytes(32)

    def note(number: int) -> None:
        state = LogState(bytes(16), genesis, tier_id=number.to_bytes(16, "big"))
        HeadsFile(path).note(bytes(16), {f"file:///{number}": state})

    threads = [threading.Thread(target=note, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    heads = HeadsFile(path).seen(bytes(16), {})[""]
    assert {each.tier_id for each in heads} == {number.to_bytes(16, "big") for number in range(40)}
    assert heads[0].head == Head(0, genesis)


class _KeepsVersions(MemoryObjectStore):
    """What is overwritten stays."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.kept: dict[str, list[bytes]] = {}

    def overwrite(self, key: str, body: bytes) -> None:
        """As whoever has the bucket's credentials does."""
        self.kept.setdefault(key, [self.get(key)]).append(body)
        self.put(key, body)

    def versions(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> Iterator[bytes]:
        """See the port."""
        return (each for each in self.kept.get(key, ()) if len(each) <= length_max)


@pytest.mark.parametrize("body", [b"rubbish", b""])
def test_lone_tier_of_which_all_was_overwritten_opens_from_older_versions_and_is_repaired(body: bytes) -> None:
    """As long as the store keeps them nothing is lost, whichever objects somebody wrote over."""
    store = _KeepsVersions("a")
    scene = Scene(stores=[store])
    snapshot = scene.backup(photos(2), "run")
    assert snapshot is not None
    for each in list(store.list("")):
        store.overwrite(each.key, body)
    repository = scene.reopen()
    tier = repository.tier("a")
    assert repair(repository, tier, check(repository, read_percent=100)).is_complete
    assert read_back(scene.reopen(), snapshot, scene.tier("a")) == photos(2)
    assert check(scene.reopen(), read_percent=100).damage == []


@pytest.mark.parametrize("body", [b"rubbish", b""])
def test_keys_that_were_overwritten_open_from_their_older_versions(body: bytes) -> None:
    """A lone tier that keeps versions is read, checked and repaired: a write over its keys takes nothing away."""
    store = _KeepsVersions("a")
    scene = Scene(stores=[store])
    snapshot = scene.backup(photos(2), "run")
    assert snapshot is not None
    keys = [each.key for each in store.list("keys/")]
    for key in keys:
        store.overwrite(key, body)
    repository = scene.reopen()
    assert read_back(repository, snapshot, repository.tier("a")) == photos(2)
    report = check(repository, read_percent=100)
    assert {each.object_key for each in report.damage} == set(keys)
    with pytest.raises(Damaged):
        Repository.open([store], key_file(seed=77))
