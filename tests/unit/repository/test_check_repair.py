"""Damage of every kind: found, named, and repaired from another tier."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repository.errors import BackupCancelled, Damaged, NoUsableTier, ObjectMissing, RepositoryError, TierUnreachable
from repository.format import pack_object_key
from repository.index.pack_catalog import StoredPack
from repository.keys.key_file import KeyFile
from repository.opened.key_change import add_generation, rewrap
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.opened.seen import SeenTier
from repository.stored.config import CONFIG_KEY
from repository.stored.index_segment import Segment, columns_of, encode_segment
from repository.stored.log_entry import IndexChanged, entry_object_key
from repository.stored.manifest_object import manifest_object_key
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import OBJECT_LENGTH_MAX
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check, read_pack
from repository.upkeep.check_report import CheckProgress, CheckReport, Finding, Problem
from repository.upkeep.rebuild import rebuild_index
from repository.upkeep.repair import repair
from repository.upkeep.repair_result import RepairAction
from tests.support.repositories import (
    BrokenStore,
    Scene,
    SeededRandomness,
    key_file,
    photos,
    read_back,
    write_snapshot,
)

FILES = [photos(3, seed=number) for number in range(3)]


def _scene(names: tuple[str, ...] = ("a", "b")) -> Scene:
    scene = Scene(names)
    for number, files in enumerate(FILES):
        scene.backup(files, f"run {number}")
    return scene


def _below(store: MemoryObjectStore, prefix: str) -> list[str]:
    return [info.key for info in store.list(prefix)]


def _flip(store: MemoryObjectStore, key: str, place: int = -1, bits: int = 1) -> None:
    changed = bytearray(store.get(key))
    changed[place] ^= bits
    store.put(key, bytes(changed))


def _damage(report: CheckReport) -> list[tuple[str, Problem, str]]:
    return [(finding.tier, finding.problem, finding.object_key) for finding in report.damage]


def test_pack_that_is_bad_on_both_tiers_is_whole_on_none_and_unread_is_not_called_whole() -> None:
    scene = _scene()
    pack = _below(scene.store("a"), "packs/")[0]
    _flip(scene.store("a"), pack, 40)

    def told(names: list[str] | None = None) -> set[tuple[str, tuple[str, ...], tuple[str, ...]]]:
        found = check(scene.reopen(), read_percent=100, tiers=names).damage
        return {(each.tier, each.repairable_from, each.not_read_on) for each in found if each.object_key == pack}

    assert told() == {("a", ("b",), ())}
    assert told(["a"]) == {("a", ("b",), ("b",))}
    _flip(scene.store("b"), pack, 40)
    assert told() == {("a", (), ()), ("b", (), ())}


def _assert_whole(repository: Repository, name: str) -> None:
    tier = repository.tier(name)
    assert tier.is_ready, repository.states()
    assert check(repository, read_percent=100, tiers=[name]).damage == []
    snapshots = [snapshot for snapshot in repository.snapshots() if snapshot.id in tier.snapshots()]
    assert len(snapshots) == len(FILES)
    for snapshot in snapshots:
        assert read_back(repository, snapshot, tier) == FILES[int(snapshot.manifest.run_token.split()[1])]


def test_check_of_a_whole_repository_finds_nothing_and_counts_everything() -> None:
    """Structure alone reads trees; everything reads every pack."""
    scene = _scene()
    seen: list[CheckProgress] = []
    report = check(scene.reopen(), read_percent=100, on_progress=seen.append)
    assert report.is_ok
    assert report.findings == []
    counts = report.tiers["a"]
    assert (counts.snapshots, counts.packs, counts.packs_read, counts.segments) == (3, 6, 6, 3)
    assert counts.chunks_read == counts.rows == 9 + 3 * 3
    assert counts.bytes_read == counts.pack_bytes
    assert counts.log_entries == 5
    assert seen[-1] == CheckProgress("b", 6, 6, counts.bytes_read)
    assert check(scene.repository).tiers["a"].packs_read == 0
    assert check(scene.repository, read_percent=40, tiers=["b"]).tiers["b"].packs_read == 3
    assert check(scene.repository, tiers=["b"]).tiers.keys() == {"b"}


@pytest.mark.parametrize("what", ["root", "domain"])
def test_snapshots_under_a_key_that_a_tier_lost_are_harmed_there(what: str) -> None:
    """Others have the key, and it is in memory: from this tier alone nobody reads them."""
    scene = _scene()
    add_generation(scene.repository, scene.provider, "person")
    scene.reopen()
    made = scene.backup(photos(2, seed=9), "person's", domain="person")
    assert made is not None
    keys = scene.reopen().keys
    lost = keys.first_root if what == "root" else keys.active("person")
    for key in _below(scene.store("a"), f"keys/{lost.key_id.hex()}"):
        scene.store("a").delete(key)
    repository = scene.reopen()
    harmed = [each.id for each in repository.snapshots()] if what == "root" else [made.id]
    assert check(repository).harmed == {"a": harmed, "b": []}
    assert repair(repository, repository.tier("a")).harmed == []


def test_a_lone_tier_whose_root_key_is_damaged_names_that_and_not_the_config() -> None:
    """The config is whole: what proves it is not there."""
    scene = Scene()
    add_generation(scene.repository, scene.provider)
    root = scene.reopen().keys.first_root.key_id.hex()
    (key,) = _below(scene.store("a"), f"keys/{root}")
    scene.store("a").put(key, b"?")
    with pytest.raises(Damaged, match="root") as caught:
        scene.reopen()
    assert caught.value.context["object_key"] == key


@pytest.mark.parametrize("read_first", ["a", "b"])
def test_snapshots_behind_a_flipped_index_segment_are_harmed_whoever_read_it_first(read_first: str) -> None:
    """Tiers share what is in memory of a segment: what lies on each counts."""
    scene = _scene()
    (segment,) = _below(scene.store("a"), "index/")[:1]
    repository = scene.reopen()
    if read_first == "a":
        _flip(scene.store("a"), segment, 100)
        repository = scene.reopen(stores=[scene.store("b"), scene.store("a")])
    else:
        _flip(scene.store("a"), segment, 100)
    report = check(repository)
    assert [each.problem for each in report.damage if each.object_key == segment] == [Problem.SEGMENT]
    assert (len(report.harmed["a"]), report.harmed["b"]) == (1, [])


def test_sample_is_drawn_anew_each_time() -> None:
    """In the long run every pack is looked at."""
    scene = _scene(("a",))
    read: set[str] = set()

    class Watched(BrokenStore):
        def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
            if key.startswith("packs/"):
                read.add(key)
            return self._inner.get(key, length_max=length_max)

    repository = scene.reopen(stores=[Watched(scene.store("a"))])  # type: ignore[list-item]
    for _ in range(60):
        check(repository, read_percent=1)
    assert len(read) == 6


def test_check_can_be_cancelled() -> None:
    """Between packs the caller is asked."""
    scene = _scene(("a",))

    def cancel() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(scene.repository, read_percent=100, check_cancelled=cancel)


def test_tiers_that_cannot_be_checked_are_findings() -> None:
    """A tier that is down before or during the check is named, and the others are checked."""
    scene = _scene()
    broken = BrokenStore(scene.store("a"))
    repository = scene.reopen(stores=[broken, scene.store("b"), MemoryObjectStore("new")])  # type: ignore[list-item]
    broken.failures["list"] = TierUnreachable("no answer")
    report = check(repository)
    assert _damage(report) == [("a", Problem.TIER, ""), ("new", Problem.TIER, "")]
    assert "tier-unreachable" in report.findings[0].detail


@pytest.mark.parametrize("method", ["get", "get_range"])
def test_tier_that_dies_in_the_middle_of_a_check_is_a_finding(method: str) -> None:
    """Reading, the tier goes away: that is no damage of any object."""
    scene = _scene()
    broken = BrokenStore(scene.store("a"))
    repository = scene.reopen(stores=[broken, scene.store("b")])  # type: ignore[list-item]
    broken.failures[method] = TierUnreachable("no answer")
    report = check(repository, read_percent=100)
    assert {finding.problem for finding in report.damage} == {Problem.TIER}
    assert {finding.tier for finding in report.damage} == {"a"}


@pytest.mark.parametrize("prefix", ["keys/", "index/", "packs/"])
def test_tier_that_refuses_some_objects_is_a_finding(prefix: str) -> None:
    """Whatever object the tier stops answering at, the check ends with the tier's name."""
    scene = _scene()

    class Refuses(BrokenStore):
        def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
            if self.failures and key.startswith(prefix):
                raise TierUnreachable("no answer")
            return self._inner.get(key, length_max=length_max)

    store = Refuses(scene.store("a"))
    repository = scene.reopen(stores=[store, scene.store("b")])  # type: ignore[list-item]
    store.failures["nothing"] = TierUnreachable("from now on")
    assert (_damage(check(repository, read_percent=100))) == [("a", Problem.TIER, "")]


def test_finding_names_the_tiers_that_have_the_object_whole() -> None:
    """A copy that is damaged there too does not count; a tier that does not answer is not asked twice."""
    scene = _scene(("a", "b", "c"))
    (key, *_) = _below(scene.store("a"), "index/")
    _flip(scene.store("a"), key)
    _flip(scene.store("b"), key)
    damage = check(scene.reopen()).damage
    (finding,) = [each for each in damage if each.tier == "a" and each.problem is Problem.SEGMENT]
    assert finding.repairable_from == ("c", "a")  # its own packs do as well
    scene = _scene(("a", "b", "c"))
    pack = _below(scene.store("a"), "packs/")[0]
    scene.store("a").delete(pack)
    broken = BrokenStore(scene.store("b"))
    repository = scene.reopen(stores=[scene.store("a"), broken, scene.store("c")])  # type: ignore[list-item]
    broken.failures["head"] = TierUnreachable("no answer")
    missing = [each for each in check(repository, tiers=["a"]).damage if each.problem is Problem.PACK_MISSING]
    assert {each.repairable_from for each in missing} == {("c",)}


def test_orphans_and_strangers_are_notes_and_no_damage() -> None:
    """Space is wasted, nothing is lost."""
    scene = _scene(("a",))
    scene.backup(photos(2, seed=77), "dead", commit=False)
    scene.store("a").put("notes/readme.txt", b"hello")
    scene.store("a").put("log/readme.txt", b"hello")
    report = check(scene.reopen())
    assert report.is_ok
    kinds = sorted(finding.problem.value for finding in report.findings)
    assert kinds == ["orphan", "orphan", "strange-object", "strange-object"]
    result = repair(scene.repository, scene.tier("a"), report)
    assert result.actions == [RepairAction("index/", "adopted 2 packs")]
    assert result.is_complete
    assert {finding.problem for finding in check(scene.reopen()).findings} == {Problem.STRANGE}


def test_rolled_back_tier_is_a_finding_and_is_not_repaired_by_itself() -> None:
    """Who rolled it back has to be found out first."""
    scene = Scene(("a", "b"))
    scene.backup(FILES[0], "run 0")
    old = scene.store("b").contents()
    scene.backup(FILES[1], "run 1")
    scene.backup(FILES[2], "run 2")
    scene.stores[1] = MemoryObjectStore("b", objects=old)
    repository = scene.reopen()
    report = check(repository)
    assert ("b", Problem.REPLAYED, "log/") in _damage(report)
    with pytest.raises(NoUsableTier):
        repair(repository, repository.tier("b"), report)


# One object at a time


def test_lost_config_is_made_again_from_the_key() -> None:
    """Even where no other tier has one."""
    scene = _scene()
    before = scene.store("a").get(CONFIG_KEY)
    scene.store("a").put(CONFIG_KEY, b"{}")
    repository = scene.reopen()
    assert _damage(check(repository)) == [("a", Problem.CONFIG, CONFIG_KEY)]
    assert repair(repository, repository.tier("a")).actions == [RepairAction(CONFIG_KEY, "made from the key")]
    assert scene.store("a").get(CONFIG_KEY) == before
    _assert_whole(scene.reopen(), "a")


@pytest.mark.parametrize("place", [20, 110, -3])
def test_damaged_key_object_comes_from_another_tier(place: int) -> None:
    """The log knows its digest: a copy that is damaged in the same way would not be taken."""
    scene = _scene(("a", "b", "c"))
    (key,) = _below(scene.store("a"), "keys/")
    _flip(scene.store("a"), key, place)
    _flip(scene.store("b"), key, place)
    repository = scene.reopen()
    report = check(repository, tiers=["a"])
    assert report.damage[0].repairable_from == ("c",)
    assert repair(repository, repository.tier("a"), report).actions == [RepairAction(key, "c")]
    _assert_whole(scene.reopen(stores=[scene.store("a")]), "a")


def test_missing_key_object_is_noticed_and_copied() -> None:
    """The log says which key objects there have to be."""
    scene = _scene()
    (key,) = _below(scene.store("a"), "keys/")
    scene.store("a").delete(key)
    repository = scene.reopen()
    assert _damage(check(repository)) == [("a", Problem.KEY, key)]
    assert repair(repository, repository.tier("a")).is_complete
    _assert_whole(scene.reopen(stores=[scene.store("a")]), "a")


@pytest.mark.parametrize("number", [1, 2, 3, 5])
@pytest.mark.parametrize("way", ["flip", "delete"])
def test_damaged_log_entry_is_put_back_from_its_copy_or_bridged(number: int, way: str) -> None:
    """A snapshot's entry lies there twice; of another one the counts tell that no snapshot is lost with it. The chain
    behind it stays valid, and the old bytes are kept.
    """
    scene = _scene()
    key = entry_object_key(number)
    if way == "flip":
        _flip(scene.store("a"), key)
    else:
        scene.store("a").delete(key)
    repository = scene.reopen()
    if (number, way) == (5, "delete"):
        # The last entry is gone: alone that is an older state, and another tier knows better.
        from repository.upkeep.catch_up import lag

        assert len(lag(repository, repository.tier("a")).snapshots) == 1
        return
    report = check(repository)
    assert ("a", Problem.LOG_ENTRY, key) in _damage(report)
    damaged = scene.store("a").contents()
    result = repair(repository, repository.tier("a"), report)
    assert (result.is_complete, result.given_up) == (True, [])
    assert RepairAction(key, "bridged" if number < 3 else "second copy on a") in result.actions
    if way == "flip":
        assert scene.store("a").get(result.set_aside[key]) == damaged[key]
    _assert_whole(scene.reopen(stores=[scene.store("a")]), "a")
    _assert_whole(scene.reopen(), "a")


@pytest.mark.parametrize("number", [3, 5])
def test_entry_whose_manifest_is_lost_too_is_given_up_by_nobody_but_the_operator(number: int) -> None:
    """That another tier has as many snapshots proves nothing of what was in it: nothing is changed unasked."""
    scene = _scene()
    store, key = scene.store("a"), entry_object_key(number)
    entry = {at: identity for identity, at in scene.tier("a").log.state.entry_of.items()}[number]
    _flip(store, key)
    store.put(manifest_object_key(entry), b"gone, too")
    damaged = store.contents()
    repository = scene.reopen()
    refused = repair(repository, repository.tier("a"))
    assert key in [finding.object_key for finding in refused.unrepaired]
    found = next(finding for finding in refused.unrepaired if finding.object_key == key)
    assert "a snapshot may have been in it" in found.detail
    assert found.repairable_from == ()
    assert store.contents() == damaged
    result = repair(repository, repository.tier("a"), bridge=True)
    assert (result.is_complete, result.given_up) == (True, [number])
    assert store.get(result.set_aside[key]) == damaged[key]
    _assert_whole(scene.reopen(), "a")


def test_several_damaged_entries_in_a_row_are_bridged() -> None:
    """Neighbours, too: what they held together is known by the whole ones beside them."""
    scene = _scene()
    for number in (2, 3, 4):
        _flip(scene.store("a"), entry_object_key(number), 50)
    repository = scene.reopen()
    result = repair(repository, repository.tier("a"))
    assert (result.is_complete, result.given_up) == (True, [])
    _assert_whole(scene.reopen(), "a")


def test_whole_end_of_a_log_that_is_damaged_is_known_by_its_manifests() -> None:
    """No whole entry follows: as many manifests as there are faulty entries account for each of them."""
    scene = _scene(("a",))
    for number in (3, 4, 5):
        _flip(scene.store("a"), entry_object_key(number), 50)
    repository = scene.reopen()
    result = repair(repository, repository.tier("a"))
    assert (result.is_complete, result.given_up) == (True, [])
    _assert_whole(scene.reopen(), "a")


def test_single_tier_loses_no_snapshot_with_an_entry() -> None:
    """With no other tier the snapshot comes back all the same; without its manifest somebody has to give it up."""
    scene = _scene(("a",))
    key = entry_object_key(4)
    whole = scene.store("a").contents()
    _flip(scene.store("a"), key, 90)
    repository = scene.reopen()
    result = repair(repository, repository.tier("a"))
    assert (result.is_complete, result.given_up) == (True, [])
    assert len(scene.reopen().snapshots()) == len(FILES)
    assert check(scene.repository, read_percent=100).damage == []

    scene = _scene(("a",))
    entry = next(identity for identity, at in scene.tier("a").log.state.entry_of.items() if at == 4)
    assert scene.store("a").contents().keys() == whole.keys()
    scene.store("a").delete(manifest_object_key(entry))
    _flip(scene.store("a"), key, 90)
    before = scene.store("a").contents()
    repository = scene.reopen()
    result = repair(repository, repository.tier("a"))
    assert (result.is_complete, result.actions, scene.store("a").contents()) == (False, [], before)
    result = repair(repository, repository.tier("a"), bridge=True)
    assert result.given_up == [4]
    assert scene.store("a").get(result.set_aside[key]) == before[key]
    assert len(scene.reopen().snapshots()) == len(FILES) - 1
    assert check(scene.repository).damage == []


def test_snapshot_whose_entry_is_lost_and_whose_packs_are_is_told() -> None:
    """It is not committed again, and not passed over in silence."""
    scene = _scene(("a",))
    state = scene.tier("a").log.state
    last = list(state.snapshots)[-1]
    _flip(scene.store("a"), entry_object_key(state.entry_of[last]), 90)
    for pack in _below(scene.store("a"), "packs/"):
        scene.store("a").delete(pack)
    repository = scene.reopen()
    result = repair(repository, repository.tier("a"))
    assert not result.is_complete
    assert f"snapshot {last}" in {finding.object_key for finding in result.unrepaired}


def test_manifest_that_a_dead_writer_left_half_is_made_whole_by_the_next() -> None:
    """Its name is the snapshot's, whatever became of its bytes, and whichever log's entry it is."""
    scene = _scene(("a",))
    snapshot = scene.repository.snapshots()[-1]
    key = manifest_object_key(snapshot.id)
    for left in (scene.store("a").get(key), b"", b"half"):
        store = MemoryObjectStore("b", objects={key: left})
        tier = scene.reopen(stores=[scene.store("a"), store]).tier("b")
        catch_up(scene.repository, tier)
        assert check(scene.reopen(stores=[scene.store("a"), store])).damage == []
        assert store.get(key) == store.get(entry_object_key(tier.log.state.head.number))


@pytest.mark.parametrize("body", [b"", b"other bytes", None])
def test_manifest_that_is_damaged_is_made_from_the_log(body: bytes | None) -> None:
    """The second copy is checked, and made again from the first."""
    scene = _scene(("a",))
    key = _below(scene.store("a"), "snapshots/")[1]
    if body is None:
        scene.store("a").delete(key)
    else:
        scene.store("a").put(key, body)
    repository = scene.reopen()
    report = check(repository)
    assert _damage(report) == [("a", Problem.MANIFEST, key)]
    assert repair(repository, repository.tier("a"), report).is_complete
    assert check(scene.reopen()).damage == []
    other = _below(scene.store("a"), "snapshots/")[0]
    scene.store("a").put(key, scene.store("a").get(other))
    assert _damage(check(scene.reopen())) == [("a", Problem.MANIFEST, key)]


@pytest.mark.parametrize("overwritten", [[4], [2, 3, 4, 5], [1]])
def test_overwritten_entry_comes_from_the_oldest_version_that_is_signed_and_chained(overwritten: list[int]) -> None:
    """Whatever was put over it, and beneath it: what restores is the entry itself, byte for byte."""
    scene = _scene(("a",))
    store = scene.store("a")
    whole = store.contents()
    other = Scene(("a",), seed=9)
    other.backup(FILES[0], "run 0")

    class Versioned(BrokenStore):
        def versions(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> Iterator[bytes]:
            yield b"older than the entry"
            yield other.store("a").contents().get(key, b"?")
            yield whole[key]
            yield b"ransom"

    for number in overwritten:
        store.put(entry_object_key(number), b"ransom")
    repository = scene.reopen(stores=[Versioned(store)])  # type: ignore[list-item]
    assert {each.repairable_from for each in check(repository).damage} == {("a",)}
    result = repair(repository, repository.tier("a"))
    assert (result.is_complete, result.given_up) == (True, [])
    assert {key: body for key, body in store.contents().items() if key in whole} == whole
    for number in overwritten:
        assert store.get(result.set_aside[entry_object_key(number)]) == b"ransom"
    _assert_whole(scene.reopen(), "a")


class _Overwritten(BrokenStore):
    """Keeps what lay beneath what somebody wrote over it."""

    def __init__(self, inner: MemoryObjectStore, beneath: dict[str, bytes]) -> None:
        super().__init__(inner)
        self._beneath = beneath

    def versions(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> Iterator[bytes]:
        if key in self._beneath:
            yield self._beneath[key]


@pytest.mark.parametrize("is_seen", [True, False])
def test_log_that_is_overwritten_as_a_whole_comes_back_unasked_where_it_was_seen(is_seen: bool) -> None:
    """Of a log that shows nothing nobody knows whether it went back: that is damage, which older versions mend. Where
    they lead to another history than was seen, an operator has to take it.
    """
    scene = _scene(("a",))
    forked = Scene(("a",))
    forked.stores = [MemoryObjectStore("a", objects=scene.store("a").contents())]
    forked.reopen()
    forked.backup(FILES[0], "run 4")
    scene.backup(FILES[0], "run 3")
    seen = scene.tier("a").log.state
    store = (scene if is_seen else forked).store("a")
    beneath = {key: store.get(key) for key in _below(store, "log/")}
    for key in beneath:
        store.put(key, b"ransom")
    head = SeenTier(seen.tier_id, seen.head)
    versioned = _Overwritten(store, beneath)
    repository = scene.reopen(stores=[versioned], known=lambda _: {"a": [head], "": [head]})  # type: ignore[list-item]
    assert repository.tier("a").state is TierState.DAMAGED
    assert repository.may_hide_snapshots(newest=True)
    if is_seen:
        assert repair(repository, repository.tier("a")).is_complete
        assert [each.manifest.run_token for each in repository.snapshots()] == [f"run {each}" for each in range(4)]
    else:
        with pytest.raises(NoUsableTier):
            repair(repository, repository.tier("a"))
        assert repository.tier("a").state is TierState.REPLAYED


def test_entry_of_a_copied_tier_is_taken_from_the_copy_and_never_one_of_another_log() -> None:
    """A mirror has the entry; a tier with a log of its own has one that is signed and of that number, and is not it."""
    scene = _scene(("a", "b"))
    mirror = MemoryObjectStore("mirror", objects=scene.store("a").contents())
    key = entry_object_key(3)
    whole = scene.store("a").get(key)
    _flip(scene.store("a"), key)
    entry = next(identity for identity, at in scene.tier("a").log.state.entry_of.items() if at == 3)
    scene.store("a").delete(manifest_object_key(entry))
    repository = scene.reopen(stores=[scene.store("a"), scene.store("b")])
    assert not repair(repository, repository.tier("a")).is_complete
    repository = scene.reopen(stores=[scene.store("a"), scene.store("b"), mirror])
    assert repair(repository, repository.tier("a")).actions[0] == RepairAction(key, "mirror")
    assert scene.store("a").get(key) == whole


def test_what_is_replaced_is_set_aside_first() -> None:
    """Config, key, segment and pack: the damaged bytes are under quarantine/, which readers ignore."""
    scene = _scene(("a", "b"))
    store = scene.store("a")
    keys = [CONFIG_KEY, *(_below(store, prefix)[0] for prefix in ("keys/", "index/", "packs/"))]
    for key in keys:
        _flip(store, key, 80)
    damaged = {key: store.get(key) for key in keys}
    repository = scene.reopen()
    report = check(repository, read_percent=100, tiers=["a"])
    result = repair(repository, repository.tier("a"), report)
    assert result.is_complete
    assert {key: store.get(aside) for key, aside in result.set_aside.items()} == damaged
    assert all(aside.startswith("quarantine/") for aside in result.set_aside.values())
    assert check(scene.reopen(), read_percent=100).findings == []


def test_repair_that_is_stopped_says_so() -> None:
    """What was done is told, and that not all was looked at: it is not complete."""
    scene = _scene(("a",))

    def stop() -> None:
        raise BackupCancelled("stopped")

    result = repair(scene.repository, scene.tier("a"), check_cancelled=stop)
    assert (result.is_interrupted, result.is_complete) == (True, False)
    with pytest.raises(BackupCancelled):
        check(scene.repository, check_cancelled=stop)


def test_every_damaged_snapshot_is_named() -> None:
    """What several snapshots share is damage of each of them, by whatever of it is gone."""
    scene = Scene(("a",))
    shared = photos(2)
    for number in range(5):
        scene.backup(shared if number else photos(2, seed=5), f"run {number}")
    tier = scene.tier("a")
    ids = list(tier.snapshots())
    used = {tier.index.lookup(scene.repository.keys.active().chunk_id(body)) for body in shared.values()}
    (pack,) = {location.pack_id for location in used if location is not None}
    scene.store("a").delete(pack_object_key(pack))
    report = check(scene.reopen())
    assert report.harmed == {"a": ids[1:]}
    rebuild_index(scene.repository, scene.tier("a"))
    report = check(scene.reopen())
    assert {finding.object_key for finding in report.damage} == {f"snapshot {each}" for each in ids[1:]}
    assert report.harmed == {"a": ids[1:]}


def test_damaged_segment_comes_from_another_tier_or_from_the_packs() -> None:
    """With a second tier it is copied; without one the index is rebuilt."""
    scene = _scene()
    (key, *_) = _below(scene.store("a"), "index/")
    _flip(scene.store("a"), key)
    repository = scene.reopen()
    assert repair(repository, repository.tier("a")).actions == [RepairAction(key, "b")]
    _assert_whole(scene.reopen(), "a")
    _flip(scene.store("a"), key)
    repository = scene.reopen(stores=[scene.store("a")])
    assert repair(repository, repository.tier("a")).actions == [RepairAction("index/", "rebuilt from 6 packs")]
    _assert_whole(scene.reopen(stores=[scene.store("a")]), "a")


@pytest.mark.parametrize("way", ["flip", "truncate", "delete", "swap"])
def test_damaged_pack_comes_from_another_tier(way: str) -> None:
    """Whatever happened to the pack, the other tier's bytes are proven and stored."""
    scene = _scene()
    store = scene.store("a")
    first, second = [key for key in _below(store, "packs/") if not store.get(key)[12]][:2]  # of data
    match way:
        case "flip":
            _flip(store, first, 150)
        case "truncate":
            store.put(first, store.get(first)[:-1])
        case "delete":
            store.delete(first)
        case _:
            store.put(first, store.get(second))
    repository = scene.reopen()
    report = check(repository, read_percent=100)
    named = {(finding.tier, finding.object_key, finding.repairable_from) for finding in report.damage}
    assert named == {("a", first, ("b",))}
    result = repair(repository, repository.tier("a"), report)
    assert result.actions == [RepairAction(first, "b")]
    assert result.is_complete
    _assert_whole(scene.reopen(), "a")


def test_pack_that_no_tier_has_whole_stays_and_is_named() -> None:
    """Nothing is overwritten with something that is not proven. What cannot be read leaves the index, and is named."""
    scene = _scene()
    for name in "ab":
        key = _below(scene.store(name), "packs/")[0]
        _flip(scene.store(name), key, 150)
    repository = scene.reopen()
    report = check(repository, read_percent=100, tiers=["a"])
    before = scene.store("a").contents()
    result = repair(repository, repository.tier("a"), report)
    assert [finding.problem for finding in result.unrepaired] == [Problem.TREE, Problem.PACK_DAMAGED]
    assert result.unrepaired[-1].object_key == key
    assert not result.is_complete
    assert result.harmed == check(repository, tiers=["a"]).harmed["a"] != []
    assert before.items() <= scene.store("a").contents().items()


class _Hides(BrokenStore):
    """A store that lists packs and does not give them."""

    def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
        if key.startswith("packs/"):
            raise ObjectMissing("no object of this key", key=key)
        return self._inner.get(key, length_max=length_max)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        if key.startswith("packs/"):
            raise ObjectMissing("no object of this key", key=key)
        return self._inner.get_range(key, offset, length)


def test_what_is_replaced_again_and_again_is_set_aside_once() -> None:
    """A tier that goes on answering nothing gets no copy of what lies there with each pass."""
    scene = _scene()
    packs = _below(scene.store("a"), "packs/")
    repository = scene.reopen(stores=[_Hides(scene.store("a")), scene.store("b")])  # type: ignore[list-item]
    repair(repository, repository.tier("a"), check(repository, read_percent=100))
    assert len(_below(scene.store("a"), "quarantine/")) == len(packs)


class _KeepsVersions(BrokenStore):
    """A store beneath whose objects the first versions are kept, as object lock does."""

    def __init__(self, inner: MemoryObjectStore, first: MemoryObjectStore) -> None:
        super().__init__(inner)
        self._first = first

    def versions(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> Iterator[bytes]:
        yield self._first.get(key, length_max=length_max)
        yield self._inner.get(key, length_max=length_max)


def test_overwritten_pack_comes_from_the_tiers_own_older_version() -> None:
    """Where object lock kept the first version beneath, no other tier is needed."""
    scene = _scene(("a",))
    first = MemoryObjectStore("a", objects=scene.store("a").contents())
    key = _below(scene.store("a"), "packs/")[0]
    scene.store("a").put(key, b"ransom note")
    repository = scene.reopen(stores=[_KeepsVersions(scene.store("a"), first)])  # type: ignore[list-item]
    result = repair(repository, repository.tier("a"))
    assert result.actions == [RepairAction(key, "older versions on a")]
    _assert_whole(scene.reopen(), "a")


def test_index_that_does_not_list_a_pack_rightly_is_rebuilt() -> None:
    """An index that some fault of a program made is noticed by reading the packs."""
    scene = _scene(("a",))
    tier = scene.tier("a")
    columns = columns_of(tier.index.segments()[0])
    records = columns.records.copy()
    records[:, 1] += 1
    wrong = scene.repository.seal_segments([Segment(encode_segment(columns._replace(records=records)))])
    name = next(iter(tier.log.state.segments))
    tier.change_index(wrong, [name], "a fault")
    repository = scene.reopen()
    report = check(repository, read_percent=100)
    assert Problem.INDEX_INCOMPLETE in {finding.problem for finding in report.damage}
    assert repair(repository, repository.tier("a"), report).is_complete
    _assert_whole(scene.reopen(), "a")


def test_snapshot_that_references_what_the_index_lacks_is_found_and_repaired() -> None:
    """The chunks are in the packs, so the index is rebuilt; packs that are gone come from another tier."""
    scene = _scene()
    tier = scene.tier("a")
    name = next(iter(tier.log.state.segments))
    tier.log.append(lambda _: IndexChanged(time_ns=1, replaced=(name,)))
    repository = scene.reopen()
    report = check(repository)
    assert {finding.problem for finding in report.damage} == {Problem.TREE}
    assert repair(repository, repository.tier("a"), report).is_complete
    _assert_whole(scene.reopen(), "a")
    tier = scene.tier("a")
    scene.store("a").delete(_below(scene.store("a"), "packs/")[0])
    rebuild_index(scene.repository, tier)
    repository = scene.reopen()
    assert repair(repository, repository.tier("a")).is_complete
    _assert_whole(scene.reopen(), "a")


def test_tree_of_a_dying_tier_is_no_damaged_pack() -> None:
    """A page that cannot be fetched because the tier went away says that nobody knows, and that nothing is damaged."""
    scene = _scene(("a",))
    broken = BrokenStore(scene.store("a"))
    repository = scene.reopen(stores=[broken])  # type: ignore[list-item]
    broken.failures["get_range"] = TierUnreachable("no answer")
    report = check(repository)
    assert {finding.problem for finding in report.damage} == {Problem.TIER}
    assert "a" not in report.harmed  # unknown, and not all that it has


def test_segment_is_verified_row_by_row() -> None:
    """Rows that are out of order or out of range are damage, though they are authentic."""
    scene = _scene(("a",))
    tier = scene.tier("a")
    body = bytearray(tier.index.segments()[0].body)
    segment = Segment(body)
    layout = segment._layout
    swapped = bytearray(body)
    swapped[layout.prefixes : layout.prefixes + 8], swapped[layout.prefixes + 8 : layout.prefixes + 16] = (
        body[layout.prefixes + 8 : layout.prefixes + 16],
        body[layout.prefixes : layout.prefixes + 8],
    )
    far = bytearray(body)
    far[layout.records + 19] = 0xFF
    for number, changed in enumerate((swapped, far)):
        names = list(tier.log.state.segments)
        tier.change_index(scene.repository.seal_segments([Segment(changed)]), names[:1], f"fault {number}")
        report = check(scene.reopen())
        assert Problem.SEGMENT in {finding.problem for finding in report.damage}
        tier = scene.tier("a")


def test_reading_a_pack_tells_the_tiers_faults_from_the_packs() -> None:
    """Only the pack's own faults are its reading's error."""
    scene = _scene(("a",))
    broken = BrokenStore(scene.store("a"))
    repository = scene.reopen(stores=[broken])  # type: ignore[list-item]
    gone = StoredPack(b"z" * 32, 100)
    assert isinstance(read_pack(repository, repository.tier("a"), gone).error, ObjectMissing)
    broken.failures["get"] = TierUnreachable("no answer")
    with pytest.raises(TierUnreachable):
        read_pack(repository, repository.tier("a"), gone)


def test_repair_passes_over_a_tier_that_does_not_answer() -> None:
    """The next one has the object, too."""
    scene = _scene(("a", "b", "c"))
    key = _below(scene.store("a"), "packs/")[0]
    scene.store("a").delete(key)
    broken = BrokenStore(scene.store("b"))
    repository = scene.reopen(stores=[scene.store("a"), broken, scene.store("c")])  # type: ignore[list-item]
    broken.failures["get"] = TierUnreachable("no answer")
    assert repair(repository, repository.tier("a")).actions == [RepairAction(key, "c")]


def test_repair_of_a_tier_that_dies_on_the_way_says_so() -> None:
    """What was done stays done; the tier is the finding that is left."""
    scene = _scene()
    key = _below(scene.store("a"), "packs/")[0]
    scene.store("a").delete(key)

    class DiesAfterPut(BrokenStore):
        def put(self, key: str, body: bytes, **options: object) -> None:
            self._inner.put(key, body, **options)  # type: ignore[arg-type]
            self.failures["list"] = TierUnreachable("gone")

    repository = scene.reopen(stores=[DiesAfterPut(scene.store("a")), scene.store("b")])  # type: ignore[list-item]
    result = repair(repository, repository.tier("a"))
    assert result.actions == [RepairAction(key, "b")]
    assert [finding.problem for finding in result.unrepaired] == [Problem.TIER]


def test_repair_of_nothing_changes_nothing() -> None:
    """A whole tier stays as it is, byte for byte."""
    scene = _scene()
    before = scene.store("a").contents()
    result = repair(scene.reopen(), scene.tier("a"))
    assert (result.actions, result.unrepaired) == ([], [])
    assert scene.store("a").contents() == before


def test_repair_is_refused_where_nothing_can_be_read() -> None:
    """A tier that is empty is caught up, not repaired."""
    scene = _scene(("a",))
    repository = scene.reopen(stores=[scene.store("a"), MemoryObjectStore("new")])
    with pytest.raises(NoUsableTier):
        repair(repository, repository.tier("new"))


def test_finding_is_damage_unless_it_is_a_note() -> None:
    """The command's exit code follows from this."""
    assert Finding("a", Problem.PACK_DAMAGED, "x", "y").is_damage
    assert not Finding("a", Problem.ORPHAN, "x", "y").is_damage


# Any object, any change


_WHOLE = _scene()
_OTHER = Scene(("a",), seed=4)
_OTHER.backup(FILES[0], "run 0")
_CONTENTS = {name: _WHOLE.store(name).contents() for name in "ab"}
_FOREIGN = _OTHER.store("a").contents()


def _class_of(key: str) -> str:
    return key.partition("/")[0]


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, bytes | None]:
    """An object of tier `a` and what is there instead: flipped, cut, grown, swapped, foreign, or nothing."""
    key = draw(st.sampled_from(sorted(_CONTENTS["a"])))
    body = _CONTENTS["a"][key]
    way = draw(st.sampled_from(["flip", "truncate", "append", "swap", "foreign", "delete", "empty"]))
    if way == "flip":
        place = draw(st.integers(0, len(body) - 1))
        return key, body[:place] + bytes([body[place] ^ (1 << draw(st.integers(0, 7)))]) + body[place + 1 :]
    if way == "truncate":
        return key, body[: draw(st.integers(0, len(body) - 1))]
    if way == "append":
        return key, body + draw(st.binary(min_size=1, max_size=40))
    if way == "swap":
        like = [other for other in sorted(_CONTENTS["a"]) if other != key and _class_of(other) == _class_of(key)]
        return key, _CONTENTS["a"][draw(st.sampled_from(like))] if like else b""
    if way == "foreign":
        like = [other for other in sorted(_FOREIGN) if _class_of(other) == _class_of(key)]
        return key, _FOREIGN[draw(st.sampled_from(like))]
    return key, None if way == "delete" else b""


def _is_known_to_be_replaced(key: str, findings: list[Finding]) -> bool:
    return any(finding.object_key == key for finding in findings)


# Each example is a repository that is checked, repaired and checked again; `make soak-repository` tries 3,000.
@settings(
    max_examples=int(os.environ.get("WEDSYNC_EXAMPLES", "50")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(changes())
def test_any_change_to_any_object_is_named_and_repaired(change: tuple[str, bytes | None]) -> None:
    """Whatever becomes of one object of one tier, the check names it and the other tier repairs it."""
    key, body = change
    changed = dict(_CONTENTS["a"])
    if body is None:
        del changed[key]
    else:
        changed[key] = body
    if changed == _CONTENTS["a"]:
        return
    stores = [MemoryObjectStore("a", objects=changed), MemoryObjectStore("b", objects=_CONTENTS["b"])]
    repository = Repository.open(stores, key_file())
    last = entry_object_key(5)
    tier = repository.tier("a")
    if key == last and body is None:
        # Cutting the log's end off leaves a valid older history: told by the head that was seen.
        assert len(tier.snapshots()) == 2
        head = _WHOLE.tier("a").log.state.head
        assert (
            Repository.open(stores, key_file(), known=lambda _: {"a": [SeenTier(None, head)]}).tier("a").state
            is TierState.REPLAYED
        )
        return
    report = check(repository, read_percent=100)
    assert _is_known_to_be_replaced(key, report.damage), report.findings
    assert {finding.tier for finding in report.damage} == {"a"}
    if tier.state is TierState.REPLAYED:
        pytest.fail("one changed object is no rollback")
    result = repair(repository, tier, report)
    assert (result.is_complete, result.given_up) == (True, [])
    if body is not None:
        assert stores[0].get(result.set_aside[key]) == body
    _assert_whole(Repository.open(stores, key_file()), "a")
    _assert_whole(Repository.open(stores[:1], key_file()), "a")


def test_objects_of_every_class_are_changed_by_the_property_above() -> None:
    """The property covers all that a tier stores."""
    assert {_class_of(key) for key in _CONTENTS["a"]} == {"config", "keys", "packs", "index", "log", "snapshots"}
    assert cast(Callable[[], object], changes)
    assert all(pack_object_key(pack) in _CONTENTS["a"] for pack in _WHOLE.tier("a").index.pack_ids())


def _lose_log(scene: Scene, name: str) -> None:
    for key in [*_below(scene.store(name), "log/"), *_below(scene.store(name), "checkpoints/")]:
        scene.store(name).delete(key)


def test_tier_that_lost_its_whole_log_is_never_without_damage() -> None:
    """Alone it stays as it is: a new log would hide that all its snapshots are gone. Giving them up is said."""
    scene = _scene(("a",))
    _lose_log(scene, "a")
    repository = scene.reopen()
    assert ("a", Problem.LOG_LOST, "log/") in _damage(check(repository))
    result = repair(repository, repository.tier("a"))
    assert not result.is_complete
    assert Problem.LOG_LOST in {finding.problem for finding in result.unrepaired}
    assert _below(scene.store("a"), "log/") == []
    result = repair(repository, repository.tier("a"), bridge=True)
    assert result.given_up == [1]
    assert repository.tier("a").is_ready


def test_tier_that_lost_its_whole_log_gets_the_others_snapshots() -> None:
    """Beside a whole tier it is damage, too; what that one has is committed again, and what was given up is told."""
    scene = _scene()
    _lose_log(scene, "a")
    repository = scene.reopen()
    (lost,) = [finding for finding in check(repository).findings if finding.problem is Problem.LOG_LOST]
    assert lost.repairable_from == ("b",)
    result = repair(repository, repository.tier("a"))
    assert (result.is_complete, result.given_up) == (True, [1])
    _assert_whole(repository, "a")


@pytest.mark.parametrize("tiers", [("a",), ("a", "b")])
def test_what_was_written_under_a_key_that_is_younger_than_the_look_is_no_damage(tiers: tuple[str, ...]) -> None:
    """A check and a repair that were begun before the key was made: nothing is moved, nothing leaves the index."""
    scene = _scene(tiers)
    begun = scene.reopen()
    beside = scene.reopen()
    add_generation(beside, scene.provider)
    assert write_snapshot(beside, beside.tiers, photos(3, 5), "beside", SeededRandomness(3)) is not None
    before = {name: _below(scene.store(name), "") for name in tiers}
    report = check(begun, read_percent=100)
    assert report.damage == []
    for name in tiers:
        result = repair(begun, begun.tier(name), report)
        assert (result.unrepaired, result.harmed, result.bad_orphans) == ([], [], [])
        assert set(before[name]) <= set(_below(scene.store(name), ""))
    assert check(scene.reopen(), read_percent=100).is_ok


def test_what_is_under_a_key_that_does_not_open_is_unknown_and_stays() -> None:
    """Whoever began with a key file that was replaced meanwhile is told so, and takes nothing for damaged."""
    scene = _scene(("a",))
    begun = scene.reopen()
    present = KeyFile([b"n" * 32, *scene.provider._by_id.values()], SeededRandomness(4))
    beside = Repository.open(scene.stores, present)
    rewrap(beside, present)
    add_generation(beside, present)
    assert write_snapshot(beside, beside.tiers, photos(3, 5), "beside", SeededRandomness(3)) is not None
    before = set(_below(scene.store("a"), ""))
    report = check(begun, read_percent=100)
    assert {each.problem for each in report.damage} <= {Problem.TIER, Problem.TREE}
    assert any("keys-not-opened" in each.detail for each in report.damage)
    with suppress(RepositoryError):
        repair(begun, begun.tier("a"), report)
    assert before <= set(_below(scene.store("a"), ""))
    assert check(Repository.open(scene.stores, present), read_percent=100).is_ok
