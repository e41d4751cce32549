"""The record's holds on the tiers: placed, lengthened, ended, and never more or less than the record says."""

from datetime import UTC, datetime

import pytest

from repository.errors import AccessDenied
from repository.log.state import LogState
from repository.retention.orders import place_hold, release_hold
from repository.stored.snapshot import Snapshot
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.check import check
from services.executor.adapters.tier_holds import TierHolds, follow_holds
from services.executor.retention.plans import Knowledge, KnownPoint
from tests.support.repositories import Scene, photos

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def _scene(*names: str) -> tuple[Scene, Snapshot, Snapshot]:
    scene = Scene(names or ("a",), locks=True)
    first, second = scene.backup(photos(2), "first"), scene.backup({b"other": b"x" * 9000}, "second")
    assert first is not None
    assert second is not None
    return scene, first, second


def _follow(scene: Scene, held: dict[str, list[Snapshot]], *released: str) -> TierHolds:
    """What the record says: by hold the snapshots of its points, and the holds that are over."""
    snapshots = {each.id for of in held.values() for each in of}
    points = [
        KnownPoint(
            id=f"point of {each}",
            configuration_id="c",
            snapshot_id=each,
            at=NOW,
            is_proven=True,
            holds=tuple(hold for hold, of in held.items() if each in {one.id for one in of}),
        )
        for each in snapshots
    ]
    gone = KnownPoint(
        id="elsewhere", configuration_id="c", snapshot_id="00" * 32, at=NOW, is_proven=True, holds=tuple(held)
    )
    known = Knowledge(
        now=NOW, newest=None, points=[*points, gone], configurations={}, rules={}, released_holds=released
    )
    return follow_holds(scene.repository, known, lambda: None)


def _state(scene: Scene, name: str = "a") -> LogState:
    return scene.tier(name).log.state


def _objects(scene: Scene) -> set[str]:
    store = scene.store("a")
    return {key for key in store.contents() if store.legal_hold(key)}


def test_hold_is_on_logs_and_objects_grows_with_its_points_and_goes_whole() -> None:
    scene, first, second = _scene("a", "b")
    place_hold(scene.repository, "court", [second.id])
    told = _follow(scene, {"h": [first]})
    assert (told.points, told.on_objects, told.failed) == ({"a": 1, "b": 1}, {"a": True, "b": True}, {})
    assert _state(scene, "b").holds == {"court": (second.id,), "hold/h/1": (first.id,)}
    assert f"snapshots/{first.id}" in _objects(scene)
    held = _objects(scene)
    _follow(scene, {"h": [first]})
    assert (len(_state(scene).holds), _objects(scene)) == (2, held)

    told = _follow(scene, {"h": [first, second]})
    assert (told.points, _state(scene).holds["hold/h/2"]) == ({"a": 2, "b": 2}, (second.id,))
    release_hold(scene.repository, "hold/h/1")  # By somebody at the command line.
    _follow(scene, {"h": [first, second]})
    assert _state(scene).holds["hold/h/3"] == (first.id,)

    _follow(scene, {})  # A record that was put back, and knows of no hold.
    assert len(_state(scene).holds) == 3
    told = _follow(scene, {}, "h")
    assert (told.points, told.failed, set(_state(scene).holds)) == ({"a": 0, "b": 0}, {}, {"court"})
    assert f"snapshots/{second.id}" in _objects(scene)  # The court's.
    assert f"snapshots/{first.id}" not in _objects(scene)
    assert check(scene.reopen()).is_ok


def test_hold_without_a_point_there_is_placed_on_nothing() -> None:
    """A hold of no snapshots would be one of all."""
    scene, _, _ = _scene()
    told = _follow(scene, {"h": []})
    assert (told.points, _state(scene).holds, _objects(scene)) == ({"a": 0}, {}, set())


def test_store_that_does_not_follow_is_told_and_followed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is called held what is not, nor ended what is."""
    scene, first, _ = _scene()

    def refuse(*given: object, **named: object) -> None:
        raise AccessDenied("no right to set legal holds")

    with monkeypatch.context() as patched:
        patched.setattr(MemoryObjectStore, "set_legal_hold", refuse)
        told = _follow(scene, {"h": [first]})
        assert (told.on_objects, list(told.failed), told.points) == ({}, ["a"], {"a": 1})
    told = _follow(scene, {"h": [first]})
    assert (told.on_objects, told.failed) == ({"a": True}, {})
    held = _objects(scene)
    assert held
    with monkeypatch.context() as patched:
        patched.setattr(MemoryObjectStore, "set_legal_hold", refuse)
        told = _follow(scene, {}, "h")
        assert (list(told.failed), list(_state(scene).holds), _objects(scene)) == (["a"], ["hold/h/1"], held)
    told = _follow(scene, {}, "h")
    assert (told.failed, _state(scene).holds, _objects(scene)) == ({}, {}, set())
