"""Objects that a tier does not give: each is unknown by its name, and the rest of the tier is looked at and mended."""

from collections.abc import Callable

import pytest

from repository.errors import AccessDenied, NoUsableTier, RepositoryError
from repository.index.segments import segment_object_key
from repository.opened.key_change import add_generation
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.restore.options import Trouble, trouble_of
from repository.stored.config import CONFIG_KEY
from repository.stored.log_entry import HoldPlaced, entry_object_key
from repository.stored.manifest_object import manifest_object_key
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.check import check
from repository.upkeep.check_report import Finding, Problem
from repository.upkeep.repair import repair
from tests.support.repositories import Scene, photos, read_back


class _Denying(MemoryObjectStore):
    """Does not give some objects, as the system does not those of another user."""

    denied: Callable[[str], bool] = staticmethod(lambda _key: False)

    def _refuse(self, key: str) -> None:
        if self.denied(key):
            raise AccessDenied("permission denied", tier=self.name, key=key)

    def get(self, key: str, **options: object) -> bytes:
        self._refuse(key)
        return super().get(key, **options)  # type: ignore[arg-type]

    def get_range(self, key: str, *where: int, **options: object) -> bytes:
        self._refuse(key)
        return super().get_range(key, *where, **options)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repository.log.commit_log.CHECKPOINT_EVERY", 8)


def _scene(names: tuple[str, ...] = ("a", "b")) -> Scene:
    scene = Scene(stores=[_Denying(name) for name in names])
    for number in range(9):
        scene.backup(photos(2, number), f"run {number}")
    return scene


def _below(store: MemoryObjectStore, prefix: str) -> list[str]:
    return [info.key for info in store.list(prefix)]


def _denying(scene: Scene, key: str, name: str = "a") -> Repository:
    """The repository opened anew, of which a tier does not give this object any more."""
    store = scene.store(name)
    assert isinstance(store, _Denying)
    store.denied = key.__eq__  # type: ignore[method-assign, assignment]
    return scene.reopen()


def _head(scene: Scene) -> int:
    return scene.tier("a").log.state.head.number


def _segment(scene: Scene) -> str:
    return segment_object_key(next(iter(scene.tier("a").log.state.segments)))


_OBJECTS: dict[str, Callable[[Scene], str]] = {
    "first log entry": lambda _: entry_object_key(1),
    "log entry before the checkpoint": lambda _: entry_object_key(8),
    "last log entry": lambda scene: entry_object_key(_head(scene)),
    "log entry behind the checkpoint": lambda scene: entry_object_key(_head(scene) - 1),
    "index segment": lambda scene: _segment(scene),
    "key object": lambda scene: _below(scene.store("a"), "keys/")[0],
    "config": lambda _: CONFIG_KEY,
    "stranger below log/": lambda _: "log/stranger",
    "junk below snapshots/": lambda _: manifest_object_key(bytes(16).hex()),
}
_KINDS = {"config": "config", "keys": "key", "log": "log-entry", "index": "index-segment", "snapshots": "manifest"}


@pytest.mark.parametrize("which", _OBJECTS)
def test_object_that_may_not_be_read_is_one_unknown_finding_and_damage_beside_it_is_mended(which: str) -> None:
    """It ended the check and the repair of its tier: a flipped pack was not named, though another tier had it."""
    scene = _scene()
    key, store = _OBJECTS[which](scene), scene.store("a")
    if not store.head(key):
        store.put(key, b"junk")
    packs = _below(store, "packs/")
    flipped = max(packs, key=lambda each: len(store.get(each)))
    whole = store.get(flipped)
    store.put(flipped, whole[:-1] + bytes([whole[-1] ^ 1]))
    report = check(_denying(scene, key), read_percent=100)
    unknown = [each for each in report.findings if each.is_unknown]
    assert [(each.tier, each.kind, each.object_key) for each in unknown] == [("a", _KINDS[key.partition("/")[0]], key)]
    damage = [each for each in report.damage if not each.is_unknown]
    assert [(each.tier, each.problem, each.object_key) for each in damage] == [("a", Problem.PACK_DAMAGED, flipped)]
    assert damage[0].repairable_from == ("b",)
    result = repair(scene.repository, scene.tier("a"), report)
    assert store.contents()[flipped] == whole
    assert [each.object_key for each in result.unrepaired] == [key]
    assert set(result.set_aside) == {flipped}
    scene.store("a").denied = staticmethod(lambda _key: False)  # type: ignore[attr-defined]
    assert [each for each in check(scene.reopen(), read_percent=100).damage if each.object_key != key] == []


@pytest.mark.parametrize("which", [each for each in _OBJECTS if each != "key object"])
def test_lone_tier_of_which_one_object_may_not_be_read_is_read_and_not_called_damaged(which: str) -> None:
    """It was left out as a whole; and what only that object may say is neither lost nor damaged."""
    scene = _scene(("a",))
    key, store = _OBJECTS[which](scene), scene.store("a")
    if not store.head(key):
        store.put(key, b"junk")
    first = scene.repository.snapshots()[0]
    repository = _denying(scene, key)
    tier = repository.tier("a")
    report = check(repository, read_percent=100)
    assert [(each.is_unknown, each.object_key) for each in report.damage] == [(True, key)]
    assert report.tiers["a"].packs_read == report.tiers["a"].packs > 0
    before = store.contents()
    result = repair(repository, tier, report, bridge=True)
    assert (store.contents(), result.actions) == (before, [])
    assert [(each.is_unknown, each.object_key) for each in result.unrepaired] == [(True, key)]
    if "index" not in key:
        assert read_back(repository, first, tier) == photos(2, 0)
    if tier.state is TierState.PARTLY_UNREADABLE:
        assert isinstance(tier.error, AccessDenied)


def test_chunk_that_an_unreadable_segment_may_list_is_unreadable_and_not_lost() -> None:
    """The index does not have it: that says nothing where a part of the index is not given."""
    scene = _scene(("a",))
    repository = _denying(scene, _segment(scene))
    troubles = set[Trouble]()
    for snapshot in repository.snapshots():
        try:
            read_back(repository, snapshot, repository.tier("a"))
        except RepositoryError as error:
            troubles.add(trouble_of(error))
    assert troubles == {Trouble.UNREADABLE}


def test_tier_that_gives_neither_config_nor_keys_is_unreachable_and_one_whose_only_key_is_kept_back_says_so() -> None:
    scene = _scene(("a",))
    store = scene.store("a")
    assert isinstance(store, _Denying)
    for denied in (lambda _key: True, lambda key: key.startswith("keys/")):
        store.denied = denied  # type: ignore[method-assign, assignment]
        with pytest.raises(NoUsableTier) as caught:
            scene.reopen()
        assert [type(cause) for cause in caught.value.causes] == [AccessDenied]


def test_key_of_a_domain_that_may_not_be_read_makes_none_of_its_packs_damaged() -> None:
    """On a lone tier nobody else has it: what is under it is not to be read, whether or not it is whole."""
    scene = _scene(("a",))
    before = set(_below(scene.store("a"), "keys/"))
    add_generation(scene.repository, scene.provider, "private")
    (key,) = set(_below(scene.store("a"), "keys/")) - before
    scene.reopen()
    private = scene.backup(photos(2, 77), "private run", domain="private")
    assert private is not None
    repository = _denying(scene, key)
    report = check(repository, read_percent=100)
    assert {each.problem for each in report.damage} == {Problem.TIER}
    assert key in {each.object_key for each in report.damage}
    with pytest.raises(AccessDenied):
        read_back(repository, private, repository.tier("a"))


def test_tier_of_another_repository_whose_config_may_not_be_read_is_foreign() -> None:
    scene, other = _scene(), Scene(stores=[_Denying("x")], seed=5)
    store = other.store("x")
    assert isinstance(store, _Denying)
    store.denied = CONFIG_KEY.__eq__  # type: ignore[method-assign, assignment]
    assert scene.reopen(stores=[*scene.stores, store]).tier("x").state is TierState.FOREIGN


def test_damaged_entry_beside_one_that_may_not_be_read_is_not_given_up() -> None:
    """What is given up with it nobody can say before that one is read; not even who asks for it is given a bridge."""
    scene = _scene(("a",))
    store, held = scene.store("a"), _head(scene) + 1
    hold = HoldPlaced(time_ns=1, name="kept", snapshots=(), reason="")
    for _ in range(3):
        scene.tier("a").log.append(lambda _state: hold)
    store.put(entry_object_key(held + 1), b"damaged")
    repository = _denying(scene, entry_object_key(held))

    def left(findings: list[Finding]) -> dict[str, str]:
        return {each.object_key: each.detail for each in findings if each.kind == "log-entry"}

    found = left(check(repository).damage)
    assert set(found) == {entry_object_key(held), entry_object_key(held + 1)}
    assert f"nothing is given up before {entry_object_key(held)} can be read" in found[entry_object_key(held + 1)]
    result = repair(repository, repository.tier("a"), bridge=True)
    assert left(result.unrepaired) == found
    assert (store.contents()[entry_object_key(held + 1)], result.given_up) == (b"damaged", [])


def test_entry_that_another_writer_made_and_that_may_not_be_read_keeps_a_writer_waiting_and_is_no_fault_for_good() -> (
    None
):
    """Who opened before it says why nothing can be appended, and goes on as soon as it is given."""
    scene = _scene(("a",))
    tier, store, number = scene.tier("a"), scene.store("a"), _head(scene) + 1
    entry = HoldPlaced(time_ns=1, name="kept", snapshots=(), reason="")
    scene.reopen().tier("a").log.append(lambda _state: entry)
    assert isinstance(store, _Denying)
    store.denied = entry_object_key(number).__eq__  # type: ignore[method-assign, assignment]
    with pytest.raises(AccessDenied):
        tier.log.append(lambda _state: entry)
    with pytest.raises(AccessDenied):
        scene.reopen().tier("a").log.append(lambda _state: entry)
    store.denied = staticmethod(lambda _key: False)  # type: ignore[method-assign, assignment]
    tier.log.append(lambda _state: entry)
    assert tier.log.state.head.number == number + 1
