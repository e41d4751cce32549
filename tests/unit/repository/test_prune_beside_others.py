"""A prune that is slow, and what others begin and end meanwhile."""

from collections.abc import Callable
from typing import Any

import pytest

from repository.errors import TierBehind
from repository.opened.repository import Repository
from repository.prune.prune import prune
from repository.retention.orders import forget
from repository.stored.snapshot import Snapshot
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check
from tests.support.repositories import Scene, photos, read_back, write_snapshot


def _another(scene: Scene, *names: str) -> Repository:
    """The repository as another process opens it, with all tiers or these alone."""
    stores = [scene.store(name) for name in names] or scene.stores
    return Repository.open(stores, scene.provider, clock=scene.clock, randomness=scene.randomness)


def _once_before(monkeypatch: pytest.MonkeyPatch, owner: Any, method: str, then: Callable[[], object]) -> None:
    """Do this once, when the method is called for the first time and before it does anything."""
    original, done = getattr(owner, method), list[object]()

    def call(*words: Any, **options: Any) -> object:
        if not done:
            done.append(True)
            then()
        return original(*words, **options)

    monkeypatch.setattr(owner, method, call)


def _two_that_were_stored_at_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, files: dict[bytes, bytes]
) -> tuple[Snapshot, Snapshot]:
    """Two snapshots that share `files`, each of which lies in a pack of either."""
    first, second = _another(scene), _another(scene)
    made: list[Snapshot | None] = []
    store = first.tier("a").store
    more = {**files, b"more": b"m" * 3000}
    with monkeypatch.context() as patched:
        _once_before(
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
    slow = _another(scene)

    def prune_as_another() -> None:
        forget(_another(scene), [one.id])
        assert prune(_another(scene))["a"].deleted

    _once_before(monkeypatch, slow.tier("a").log, "append", prune_as_another)
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
    b = _another(scene, "b")
    two = write_snapshot(b, b.ready_tiers(), files, "two", scene.randomness)
    assert two is not None
    forget(_another(scene, "a"), [one.id])
    slow = _another(scene, "a")

    def catch_up_as_another() -> None:
        repository = _another(scene)
        assert catch_up(repository, repository.tier("a")).is_complete
        assert check(_another(scene), read_percent=100).is_ok

    _once_before(monkeypatch, scene.store("a"), "delete", catch_up_as_another)
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
