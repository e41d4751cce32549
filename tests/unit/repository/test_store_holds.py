"""Holds on what the stores keep: set, looked at, taken away, and set again."""

import hashlib
from pathlib import Path

import pytest

from repository.backup.backup import BackupOptions, backup
from repository.errors import AccessDenied, LegalHoldNotSet, Locked
from repository.format import pack_object_key
from repository.keys.key_file import KeyFile
from repository.opened.key_change import add_generation, rewrap
from repository.prune.prune import PruneOptions, prune
from repository.retention.orders import forget, place_hold, release_hold
from repository.stored.snapshot import Snapshot
from repository.streams.stream import open_stream
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from repository.upkeep.repair import repair
from repository.upkeep.root_change import change_root
from repository.upkeep.store_holds import place, release
from sources.directory import DirectorySource
from tests.support.repositories import Scene, SeededRandomness, key_file, photos, read_back
from tests.support.streams import WAL


def _scene(*names: str) -> tuple[Scene, Snapshot, Snapshot]:
    scene = Scene(names or ("a",), locks=True)
    first, second = scene.backup(photos(2), "first"), scene.backup({b"other": b"x" * 9000}, "second")
    assert first is not None
    assert second is not None
    return scene, first, second


def _held(scene: Scene, name: str = "a") -> set[str]:
    store = scene.store(name)
    return {key for key in store.contents() if store.legal_hold(key)}


def _packs(keys: set[str]) -> set[str]:
    return {key for key in keys if key.startswith("packs/")}


def test_a_hold_is_on_what_its_snapshot_needs_and_on_nothing_else_and_goes_with_it() -> None:
    scene, first, second = _scene()
    before = _packs(set(scene.store("a").contents()))
    done, stores = place(scene.repository, "court", [first.id])
    assert done.is_everywhere
    held = _held(scene)
    assert (stores.failed, stores.without, stores.objects) == ({}, [], {"a": len(held)})
    assert _packs(held) < before
    assert {"config", f"snapshots/{first.id}"} < held
    assert f"snapshots/{second.id}" not in held
    with pytest.raises(Locked):
        scene.store("a").delete(next(iter(_packs(held))))
    assert check(scene.reopen()).is_ok
    # Another one that needs some of it keeps just that.
    place(scene.repository, "audit", [first.id, second.id])
    _, stores = release(scene.repository, "audit")
    assert (_held(scene), stores.failed) == (held, {})
    _, stores = release(scene.repository, "court")
    assert (_held(scene), stores.objects) == (set(), {"a": len(held)})


def test_a_hold_on_everything_is_on_snapshots_to_come() -> None:
    scene, _, _ = _scene()
    place(scene.repository, "court", [])
    third = scene.backup({b"third": b"y" * 9000}, "third")
    assert third is not None
    assert f"snapshots/{third.id}" in _held(scene)
    assert _packs(_held(scene)) == _packs(set(scene.store("a").contents()))
    assert check(scene.reopen()).is_ok


def test_a_crash_between_log_and_store_is_told_and_mended() -> None:
    """After a hold `check` says what is not held and `repair` sets it; after a release, releasing again takes away."""
    scene, first, _ = _scene()
    place_hold(scene.repository, "court", [first.id])
    report = check(scene.reopen())
    assert {each.problem for each in report.damage} == {Problem.UNHELD}
    assert repair(scene.repository, scene.tier("a"), report).is_complete
    held = _held(scene)
    assert _packs(held)
    assert check(scene.reopen()).is_ok
    release_hold(scene.repository, "court")
    _, stores = release(scene.repository, "court")
    assert (_held(scene), stores.objects) == (set(), {"a": len(held)})


def test_a_tier_that_was_away_follows_when_it_catches_up() -> None:
    scene, first, second = _scene("a", "b")
    place(scene.reopen(stores=[scene.store("a")]), "court", [first.id, second.id])
    scene.reopen()
    catch_up(scene.repository, scene.tier("b"))
    assert _packs(_held(scene, "b")) == _packs(_held(scene, "a"))
    release(scene.reopen(stores=[scene.store("a")]), "court")
    catch_up(scene.reopen(), scene.tier("b"))
    assert _held(scene, "b") == _held(scene, "a") == set()
    assert check(scene.reopen()).is_ok


def test_a_new_tier_holds_what_it_is_given() -> None:
    scene, first, _ = _scene()
    place(scene.repository, "court", [first.id])
    scene.stores.append(MemoryObjectStore("new", locks=True))
    scene.reopen()
    catch_up(scene.repository, scene.tier("new"))
    assert _packs(_held(scene, "new")) == _packs(_held(scene, "a"))
    assert check(scene.reopen()).is_ok


class _Refusing(MemoryObjectStore):
    """Its credentials have no right to legal holds, or are not told of them."""

    is_refusing = False
    is_silent = False

    def set_legal_hold(self, key: str, is_on: bool, *, sha256: bytes | None = None) -> None:
        """Refuse, perhaps."""
        if self.is_refusing:
            raise AccessDenied("the server refuses access", tier=self.name, key=key)
        super().set_legal_hold(key, is_on, sha256=sha256)

    def legal_hold(self, key: str) -> bool | None:
        """Tell nothing, perhaps."""
        return None if self.is_silent else super().legal_hold(key)


@pytest.mark.parametrize("what", ["is_refusing", "is_silent"])
def test_a_tier_that_does_not_follow_is_told_by_code_and_the_others_hold(what: str) -> None:
    """So is one without object lock, which is no failure; the order stands in every log."""
    bad = _Refusing("bad", locks=True)
    stores = [MemoryObjectStore("a", locks=True), bad, MemoryObjectStore("plain")]
    scene = Scene(stores=stores)
    snapshot = scene.backup(photos(2), "first")
    assert snapshot is not None
    setattr(bad, what, True)
    done, found = place(scene.repository, "court", [snapshot.id])
    assert (set(done.tiers), found.without) == ({"a", "bad", "plain"}, ["plain"])
    assert {name: type(error) for name, error in found.failed.items()} == {"bad": LegalHoldNotSet}
    assert _packs(_held(scene))
    findings = [each for each in check(scene.reopen()).findings if each.problem is not Problem.LOCKS_UNKNOWN]
    expected = Problem.UNHELD if what == "is_refusing" else Problem.HOLDS_UNKNOWN
    assert {(each.tier, each.problem) for each in findings} == {("bad", expected)}


def test_prune_asks_no_store_to_delete_what_is_held() -> None:
    """Of packs that are mostly waste those of held snapshots stay; when the hold ends they are written again."""
    scene = Scene(("a",), locks=True)
    kept = scene.backup(photos(1), "kept")
    gone = scene.backup(photos(4), "gone")
    assert kept is not None
    assert gone is not None
    place(scene.repository, "court", [kept.id])
    forget(scene.repository, [gone.id])
    done = prune(scene.reopen(), PruneOptions(max_unused=0))["a"]
    assert done.failed is None
    assert not {pack_object_key(each) for each in done.going} & _held(scene)
    assert read_back(scene.reopen(), kept, scene.tier("a")) == photos(1)
    assert check(scene.repository).is_ok


@pytest.mark.parametrize("first", ["catch up", "prune", "forget"])
def test_a_tier_that_was_away_lets_go_of_what_was_released_and_forgotten_meanwhile(first: str) -> None:
    """Whoever tells it: when both orders are in its log, nobody could say any more what the hold was on."""
    scene, snapshot, other = _scene("a", "b")
    place(scene.repository, "court", [snapshot.id])
    assert _packs(_held(scene, "b"))
    alone = scene.reopen(stores=[scene.store("a")])
    release(alone, "court")
    forget(alone, [snapshot.id])
    scene.reopen()
    if first == "prune":
        assert all(plan.failed is None for plan in prune(scene.repository).values())
    elif first == "forget":
        forget(scene.repository, [other.id])
    catch_up(scene.reopen(), scene.tier("b"))
    assert _held(scene, "b") == set()
    plans = prune(scene.reopen(), PruneOptions(unreferenced=True))
    assert {name: plan.failed for name, plan in plans.items()} == {"a": None, "b": None}
    assert check(scene.reopen()).is_ok


def test_a_hold_that_a_prune_takes_over_is_on_the_store_as_well() -> None:
    scene, snapshot, _ = _scene("a", "b")
    place(scene.reopen(stores=[scene.store("a")]), "court", [snapshot.id])
    prune(scene.reopen())
    assert _packs(_held(scene, "b")) == _packs(_held(scene, "a"))
    assert check(scene.reopen()).is_ok


def test_a_store_that_does_not_let_go_is_told_and_its_log_holds_on_until_it_does() -> None:
    """All the rest is taken over, and the same command goes on where the store allows it."""
    bad = _Refusing("bad", locks=True)
    scene = Scene(stores=[MemoryObjectStore("a", locks=True), bad])
    first, second = scene.backup(photos(2), "first"), scene.backup({b"other": b"x" * 9000}, "second")
    assert first is not None
    assert second is not None
    place(scene.repository, "court", [first.id])
    alone = scene.reopen(stores=[scene.store("a")])
    release(alone, "court")
    forget(alone, [first.id, second.id])
    third = {b"third": b"y" * 700}
    assert scene.backup(third, "third") is not None
    bad.is_refusing = True
    held = _held(scene, "bad")
    done = forget(scene.reopen(), [first.id])
    assert {name: type(error) for name, error in done.failed.items()} == {"bad": LegalHoldNotSet}
    with pytest.raises(LegalHoldNotSet):
        catch_up(scene.reopen(), scene.tier("bad"))
    state = scene.tier("bad").log.state
    assert (set(state.holds), second.id in state.forgotten, len(state.snapshots)) == ({"court"}, True, 2)
    plans = prune(scene.reopen())
    assert (plans["a"].failed, type(plans["bad"].failed)) == (None, LegalHoldNotSet)
    assert _held(scene, "bad") == held
    bad.is_refusing = False
    catch_up(scene.reopen(), scene.tier("bad"))
    assert _held(scene, "bad") == set()
    assert set(scene.tier("bad").log.state.snapshots) == set(scene.tier("a").log.state.snapshots)
    assert all(plan.failed is None for plan in prune(scene.reopen(), PruneOptions(unreferenced=True)).values())


@pytest.mark.parametrize("work", ["generation", "wrapping", "root", "copy"])
def test_a_key_that_comes_after_a_hold_is_held_as_well(work: str) -> None:
    """Without it what is held could be read by nobody."""
    scene, snapshot, _ = _scene("a", "b")
    place(scene.repository, "court", [snapshot.id])
    before = {name: _keys(scene, name) for name in ("a", "b")}
    assert all(before.values())
    new = KeyFile([b"n" * 32, hashlib.sha256(b"kek 0").digest()], SeededRandomness(99))
    scene.reopen(stores=[scene.store("a")]) if work == "copy" else scene.reopen()
    if work in ("generation", "copy"):
        add_generation(scene.repository, key_file())
    elif work == "wrapping":
        rewrap(scene.repository, new)
    else:
        change_root(scene.repository, key_file())
    if work == "copy":
        catch_up(scene.reopen(), scene.tier("b"))
    for name in ("a", "b"):
        present = {key for key in scene.store(name).contents() if key.startswith("keys/")}
        assert present > before[name]
        assert _keys(scene, name) == present
    assert check(scene.reopen()).is_ok
    release(scene.repository, "court")
    assert _held(scene) == _held(scene, "b") == set()


def _keys(scene: Scene, name: str) -> set[str]:
    return {key for key in _held(scene, name) if key.startswith("keys/")}


def test_holds_on_a_streams_pieces_outlive_a_new_root(tmp_path: Path) -> None:
    """They are named by the first root: what another hold keeps stays held, and a new hold finds them."""
    scene = Scene(("a",), locks=True)
    (tmp_path / "f").write_bytes(b"x" * 9000)
    stream = open_stream(scene.repository, WAL)
    for number in range(3):
        stream.append(b"%d" % number)
    stream.say()
    made = []
    for token in ("one", "two"):
        options = BackupOptions(run_token=token, label="db", streams={WAL: stream.head}, workers=1)
        (tmp_path / token).write_bytes(token.encode() * 3000)
        made.append(backup(scene.repository, DirectorySource(bytes(tmp_path)), options=options).snapshot.id)

    def held() -> int:
        return sum(key.startswith("streams/") for key in _held(scene))

    for name, snapshot in zip(("court", "audit"), made, strict=True):
        place(scene.repository, name, [snapshot])
    assert held() == 3
    change_root(scene.repository, scene.provider)
    for _ in range(2):
        _, stores = release(scene.reopen(), "audit")
        assert (stores.failed, held()) == ({}, 3)
    _, stores = place(scene.reopen(), "third", [made[0]])
    assert stores.failed == {}
    scene.stores.append(MemoryObjectStore("new", locks=True))
    scene.reopen()
    catch_up(scene.repository, scene.tier("new"))
    assert sum(key.startswith("streams/") for key in _held(scene, "new")) == 3
    assert check(scene.reopen()).is_ok
