"""Objects that somebody without the key put beside ours: each costs its finder an error at most, never the program."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.exit_codes import ExitCode, exit_code_of
from repository.backup.backup import BackupOptions
from repository.backup.backup import backup as back_up
from repository.backup.fanout import Delivery
from repository.errors import Damaged, NoUsableTier, Retry
from repository.index.pack_catalog import stored_packs
from repository.opened.open_tier import TierState
from repository.stored.config import CONFIG_KEY
from repository.stored.log_entry import entry_object_key
from repository.stored.object_reading import length_max_of
from repository.tiers.folder.store import DirectoryObjectStore
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import OBJECT_LENGTH_MAX, ObjectStore
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from repository.upkeep.repair import repair
from sources.directory import DirectorySource
from tests.support.misbehaving_stores import WrappedStore
from tests.support.repositories import Scene, photos, read_back


def test_pack_with_a_name_that_is_no_digest_is_left_out() -> None:
    """Sixty-four characters that are no hexadecimal digits are a strange object, not an exception."""
    scene = Scene()
    snapshot = scene.backup(photos(2), "run")
    assert snapshot is not None
    scene.backup(photos(4, seed=1), "dies", commit=False)
    for name in ("packs/zz/" + "z" * 64, "packs/" + "g" * 64, "packs/AB/" + "AB" * 32):
        scene.store("a").put(name, b"?")
    repository = scene.reopen()
    packs = list(stored_packs(scene.store("a")))
    assert len(packs) == 4
    (adoption,) = repository.begin_writing(b"w" * 16)
    assert (adoption.packs, adoption.damaged) == (2, [])
    strange = [one for one in check(repository).findings if one.problem is Problem.STRANGE]
    assert len(strange) == 3


@pytest.mark.parametrize("number", [10**16 - 1, 5_000_000])
def test_forged_entry_of_a_high_number_costs_no_memory_and_hides_nothing(number: int) -> None:
    """Anybody who may write to the bucket can name an object after any number: unsigned, it counts for nothing."""
    scene = Scene()
    snapshot = scene.backup(photos(2), "run")
    assert snapshot is not None
    genuine = scene.store("a").get(entry_object_key(2))
    scene.store("a").put(entry_object_key(number), genuine)
    scene.store("a").put(entry_object_key(number - 1), b"?")
    repository = scene.reopen()
    assert repository.tier("a").is_ready
    assert read_back(repository, snapshot, repository.tier("a")) == photos(2)
    assert scene.backup(photos(3, seed=1), "next") is not None
    strange = {one.object_key for one in check(repository).findings if one.problem is Problem.STRANGE}
    assert strange == {entry_object_key(number), entry_object_key(number - 1)}


def test_forged_entry_near_the_end_is_a_fault_as_any_damage_is() -> None:
    """A gap that may as well be a loss is told, and the log takes no entries before it is repaired."""
    scene = Scene()
    scene.backup(photos(2), "run")
    head = scene.tier("a").log.state.head.number
    scene.store("a").put(entry_object_key(head + 3), b"?")
    assert scene.reopen().tier("a").state is TierState.DAMAGED
    assert [fault.number for fault in scene.tier("a").log.state.faults] == [head + 1, head + 2, head + 3]


@pytest.mark.parametrize("body", [b"", b"?", b"x" * 1000])
def test_bytes_where_the_next_entry_belongs_are_seen_before_anything_is_uploaded(body: bytes, tmp_path: Path) -> None:
    """Also where they came after the opening: no pack is sent in vain, the refusal names the entry and what helps."""
    (tmp_path / "file").write_bytes(b"content")
    scene = Scene()
    scene.backup(photos(2), "run")
    store, repository = scene.store("a"), scene.repository
    key = entry_object_key(scene.tier("a").log.state.head.number + 1)
    store.put(key, body)
    before = store.contents()
    with pytest.raises(NoUsableTier, match="no tier is ready") as refusal:
        back_up(repository, DirectorySource(str(tmp_path)), options=BackupOptions(run_token="next", label="x"))
    assert refusal.value.retry is Retry.AFTER_OPERATOR
    assert key in refusal.value.context["tiers"]["a"]  # type: ignore[index]
    assert store.contents() == before
    assert exit_code_of(refusal.value) is ExitCode.DAMAGED


def test_bytes_where_the_next_entry_belongs_leave_the_other_tiers_alone(tmp_path: Path) -> None:
    """The others take the backup; the operator's command keeps the bytes, and the tier catches up."""
    (tmp_path / "file").write_bytes(b"content")
    scene = Scene(("a", "b"))
    scene.backup(photos(2), "run")
    key = entry_object_key(scene.tier("a").log.state.head.number + 1)
    scene.store("a").put(key, b"?")
    result = back_up(scene.repository, DirectorySource(str(tmp_path)), options=BackupOptions(run_token="n", label="x"))
    assert {name: tier.state for name, tier in result.tiers.items()} == {"a": Delivery.FAILED, "b": Delivery.COMMITTED}
    assert isinstance(result.tiers["a"].error, Damaged)
    assert scene.store("a").get(key) == b"?"
    repository = scene.reopen()
    assert not repair(repository, repository.tier("a")).is_complete
    mended = repair(repository, repository.tier("a"), bridge=True)
    assert mended.is_complete
    assert scene.store("a").get(mended.set_aside[key]) == b"?"
    assert scene.reopen().tier("a").snapshots().keys() == scene.tier("b").snapshots().keys()


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_is_no_object_where_the_next_entry_belongs_is_named(kind: str, tmp_path: Path) -> None:
    """No listing shows it and no writer was faster: it is no contention, which would pass."""
    scene = Scene(stores=[DirectoryObjectStore(str(tmp_path), "disk")])
    scene.backup(photos(2), "run")
    key = entry_object_key(scene.tier("disk").log.state.head.number + 1)
    if kind == "folder":
        (tmp_path / key).mkdir()
    else:
        (tmp_path / key).symlink_to("/nowhere")
    with pytest.raises(NoUsableTier):
        scene.backup(photos(3), "next")
    error = scene.tier("disk").error
    assert isinstance(error, Damaged)
    assert error.message == f"a {kind} at {tmp_path}/{key} lies where the next log entry belongs"
    assert error.context["object_key"] == key
    assert os.path.lexists(tmp_path / key)


def test_signed_entry_behind_a_long_gap_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old entries may be deleted when their locks have passed: the signed ones behind the gap are history."""
    monkeypatch.setattr("repository.log.log_reader.GAP_MAX", 2)
    scene = Scene()
    snapshots = [scene.backup(photos(2, seed=seed), f"run {seed}") for seed in range(5)]
    last = scene.tier("a").log.state.head.number
    for number in range(2, last):
        scene.store("a").delete(entry_object_key(number))
    state = scene.reopen().tier("a").log.state
    assert state.head.number == last
    assert [fault.number for fault in state.faults] == list(range(2, last))
    assert snapshots[-1] is not None
    assert list(state.snapshots) == [snapshots[-1].id]


@pytest.mark.parametrize("inner", ["[", '{"x":'])
def test_config_that_is_nested_without_end_is_a_damaged_one(inner: str) -> None:
    """A parser that gives up on depth says so as it says everything: the other tier opens the repository."""
    scene = Scene(("a", "b"))
    scene.store("a").put(CONFIG_KEY, ('{"config":' + inner * 100_000).encode())
    repository = scene.reopen()
    assert repository.tier("a").state is TierState.DAMAGED
    assert isinstance(repository.tier("a").error, Damaged)
    assert repository.tier("b").is_ready


@pytest.mark.parametrize("kind", ["log", "head", "keys", "strange key", "config", "index", "packs"])
def test_object_of_60_gb_is_damage_and_ends_nothing(kind: str, tmp_path: Path) -> None:
    """Under whatever key it lies it is named and not read; the other tier serves, and takes the next backup."""
    folders = {name: tmp_path / name for name in "ab"}

    def stores() -> list[ObjectStore]:
        return [DirectoryObjectStore(str(folder), name) for name, folder in folders.items()]

    scene = Scene(stores=stores())
    snapshot = scene.backup(photos(2), "run")
    assert snapshot is not None
    head = scene.tier("a").log.state.head.number
    keys = {
        "log": entry_object_key(2),
        "head": entry_object_key(head + 1),
        "strange key": f"keys/{'0' * 32}.{'1' * 32}",
        "config": CONFIG_KEY,
    }
    key = keys[kind] if kind in keys else next(scene.stores[0].list(f"{kind}/")).key
    with (folders["a"] / key).open("wb") as huge:
        huge.truncate(60 << 30)
    repository = scene.reopen(stores=stores())
    assert repository.tier("b").is_ready
    assert read_back(repository, snapshot, repository.tier("b")) == photos(2)
    found = {finding.object_key for finding in check(repository, read_percent=100, tiers=["a"]).findings}
    assert key in found
    assert scene.backup(photos(3, seed=1), "next") is not None


def test_every_whole_object_is_read_within_the_bound_of_its_kind() -> None:
    """Opening, writing, checking, repairing and catching up: no read takes what no writer makes."""

    class Watched(WrappedStore):
        def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
            assert key.startswith("pending/") or length_max == length_max_of(key)
            return self.inner.get(key, length_max=length_max)

    scene = Scene(("a", "b"))
    scene.backup(photos(2), "run")
    (segment, *_) = scene.stores[0].list("index/")
    scene.stores[0].put(segment.key, b"?")
    repository = scene.reopen(stores=[Watched(each) for each in [*scene.stores, MemoryObjectStore("c")]])
    assert repair(repository, repository.tier("a")).is_complete
    assert catch_up(repository, repository.tier("c")).is_complete
    assert check(repository, read_percent=100).damage == []


@pytest.mark.parametrize("name", ["keys/no key", "pending/not a key", "log/\u00fc", "packs/00/x y", "index/a b"])
def test_object_whose_name_is_no_key_disturbs_nobody(name: str, tmp_path: Path) -> None:
    """A file that a person or a program left in the folder makes the tier neither unreachable nor damaged."""
    scene = Scene(stores=[DirectoryObjectStore(str(tmp_path), "disk")])
    scene.backup(photos(2), "1")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"?")
    repository = scene.reopen(stores=[DirectoryObjectStore(str(tmp_path), "disk")])
    snapshot = scene.backup(photos(3), "2")
    assert snapshot is not None
    assert repository.tier("disk").is_ready
    assert read_back(repository, snapshot, repository.tier("disk")) == photos(3)
    assert check(repository).is_ok


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    (path / "more").mkdir(parents=True)


@pytest.mark.parametrize("make", [_fifo, _folder, Path.mkdir, lambda path: path.symlink_to(path)])
@pytest.mark.parametrize("back", [0, 1])
def test_what_is_no_object_at_the_logs_end_is_known_before_anything_is_uploaded(
    tmp_path: Path, make: Callable[[Path], None], back: int
) -> None:
    """No listing of a folder shows it. In the next entry's place it is left to an operator; in the last one's, the
    entry's second copy takes its place.
    """
    store = DirectoryObjectStore(str(tmp_path / "a"), "a")
    scene = Scene(stores=[store, MemoryObjectStore("b")])
    scene.backup(photos(1), "run 0")
    number = scene.tier("a").log.state.head.number + 1 - back
    path = tmp_path / "a" / entry_object_key(number)
    path.unlink(missing_ok=True)
    make(path)
    before = {info.key for info in store.list("")}
    repository = scene.reopen()
    assert repository.tier("a").state is TierState.DAMAGED
    assert [each.object_key for each in check(repository).damage if each.tier == "a"] == [entry_object_key(number)]
    scene.backup(photos(1, 1), "run 1")
    assert {info.key for info in store.list("")} == before
    repository = scene.reopen()
    assert repair(repository, repository.tier("a"), bridge=not back).is_complete
    assert scene.reopen().tier("a").is_ready
    catch_up(scene.repository, scene.tier("a"))
    assert check(scene.reopen()).is_ok


def test_entry_that_somebody_moved_is_told_apart_from_junk() -> None:
    """Under a name of its own below log/ anybody may put anything; the entry that the log lacks is no junk."""
    scene = Scene()
    for number in range(3):
        scene.backup(photos(1, number), f"run {number}")
    store, last = scene.store("a"), scene.tier("a").log.state.head.number
    whole = store.get(entry_object_key(last))
    store.put("log/copy-of-last", whole)
    store.put("log/junk", b"junk")
    store.put(entry_object_key(last + 5000), b"junk")
    notes = {"log/copy-of-last", "log/junk", entry_object_key(last + 5000)}
    report = check(scene.reopen())
    assert {each.object_key for each in report.findings} == notes
    assert report.is_ok
    store.delete(entry_object_key(last))
    damage = [(each.problem, each.object_key) for each in check(scene.reopen()).damage]
    assert (Problem.LOG_ENTRY, "log/copy-of-last") in damage
    store.put(entry_object_key(last), whole)
    assert check(scene.reopen()).is_ok
