"""Stored bytes are flipped, cut, swapped, replaced or lost: it is noticed, named, survived and repaired."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random  # noqa: TID251  # seeded

import pytest

from repository.errors import RepositoryError
from repository.format import PACK_HEADER_LENGTH, SEALED_HEADER_LENGTH, TRAILER_LENGTH
from repository.index.pack_catalog import StoredPack
from repository.index.whole_packs import read_whole
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.restore.names import is_of_a_restore
from repository.restore.restore import RestoreOptions, restore
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.accepted_history import accept_history
from repository.upkeep.catch_up import lag
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from repository.upkeep.repair import repair
from tests.support.crash_scenes import ChangingSource, History, fast_folder, small_packs
from tests.support.file_trees import seen
from tests.support.recording_store import Objects

TIERS = ("near", "far")


@dataclass
class Scene:
    """A repository on two tiers with some history, as the objects of each tier."""

    source: ChangingSource
    tokens: dict[str, int]
    states: list[dict[str, Objects]]
    """After each backup."""

    def history(self, near: Objects, far: Objects | None = None) -> History:
        """The repository with these objects on its tiers, not open yet."""
        stores = [MemoryObjectStore("near", objects=near)]
        stores.append(MemoryObjectStore("far", objects=self.now["far"] if far is None else far))
        return History(self.source, stores, 5, dict(self.tokens))

    @property
    def now(self) -> dict[str, Objects]:
        """The objects of each tier, all whole."""
        return self.states[-1]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """Three backups to both tiers."""
    with small_packs(), fast_folder() as folder:
        source = ChangingSource(Path(folder), Random(7))
        stores = [MemoryObjectStore(name) for name in TIERS]
        history = History(source, stores, 5)
        history.init()
        states = []
        for number in range(3):
            history.backup(source.change(), f"run {number}")
            states.append({store.name: store.contents() for store in stores})
            history.open(seed=number)
        yield Scene(source, dict(history.tokens), states)


@pytest.fixture(autouse=True)
def _small_packs() -> Iterator[None]:
    with small_packs():
        yield


# How an object is damaged: its bytes, the bytes of another of its kind, the dice → its new bytes.
Change = Callable[[bytes, bytes, Random], bytes | None]


def flipped(body: bytes, place: int) -> bytes:
    return body[:place] + bytes([body[place] ^ 0x10]) + body[place + 1 :]


CHANGES: dict[str, Change] = {
    "first-bit": lambda body, _, __: flipped(body, 0),
    "some-bit": lambda body, _, chance: flipped(body, chance.randrange(len(body))),
    "another-bit": lambda body, _, chance: flipped(body, chance.randrange(len(body))),
    "last-bit": lambda body, _, __: flipped(body, len(body) - 1),
    "cut-one": lambda body, _, __: body[:-1],
    "cut-half": lambda body, _, __: body[: len(body) // 2],
    "emptied": lambda _, __, ___: b"",
    "longer": lambda body, _, chance: body + chance.randbytes(3),
    "zeros": lambda body, _, __: bytes(len(body)),
    "zeroed-sector": lambda body, _, chance: zeroed(body, chance.randrange(len(body))),
    "swapped": lambda _, other, __: other,
    "lost": lambda _, __, ___: None,
}


def zeroed(body: bytes, place: int) -> bytes:
    start = place // 512 * 512
    return body[:start] + bytes(len(body[start : start + 512])) + body[start + 512 :]


KINDS = ("config", "keys/", "log/", "index/", "packs/")


def damaged(objects: Objects, key: str, change: Change, chance: Random) -> Objects | None:
    """The objects with one of them changed; None where the change changes nothing."""
    kind = key.partition("/")[0]
    others = [other for other in objects if other != key and other.partition("/")[0] == kind]
    other = objects[chance.choice(others)] if others else chance.randbytes(len(objects[key]))
    body = change(objects[key], other, chance)
    if body == objects[key]:
        return None
    changed = {**objects, key: body} if body is not None else dict(objects)
    if body is None:
        del changed[key]
    return changed


def expect_noticed(repository: Repository, key: str) -> None:
    """Assert that a check of the tier names the object, or that the tier is seen to lack what the other has."""
    near = repository.tier("near")
    report = check(repository, read_percent=100, tiers=["near"])
    if any(finding.object_key == key for finding in report.damage):
        return
    # The end of a log cannot be told from a shorter one by itself: the other tier tells.
    behind = lag(repository, near)
    assert key.startswith("log/"), (key, report.findings)
    assert near.state is TierState.REPLAYED or behind.snapshots, (key, report.findings)


def expect_survived(history: History) -> None:
    """Assert that every snapshot is restored whole although one tier is damaged."""
    repository = history.repository
    assert repository is not None
    snapshots = repository.snapshots()
    assert len(snapshots) == len(history.tokens)
    for snapshot in snapshots:
        with fast_folder() as folder:
            result = restore(repository, snapshot, str(folder / "all"), options=RestoreOptions(workers=2))
            assert result.is_whole, result.troubles
            assert seen(folder / "all") == history.source.seen(history.tokens[snapshot.manifest.run_token])


def expect_no_wrong_bytes(scene: Scene, near: Objects) -> None:
    """Assert that the damaged tier alone gives right bytes, or says which it cannot give; never wrong ones."""
    history = History(scene.source, [MemoryObjectStore("near", objects=near)], 5, dict(scene.tokens))
    try:
        repository = history.open(seed=1)
        snapshots = repository.snapshots()
    except RepositoryError:
        return
    for snapshot in snapshots:
        expected = history.source.seen(history.tokens[snapshot.manifest.run_token])
        with fast_folder() as folder:
            try:
                result = restore(repository, snapshot, str(folder / "alone"), options=RestoreOptions(workers=2))
            except RepositoryError:
                continue
            found = seen(folder / "alone")
            if result.is_whole:
                assert found == expected
            for path, entry in found.items():
                if not path.endswith(b".incomplete") and not is_of_a_restore(path):
                    assert path in expected, path
                    assert entry.content == expected[path].content, path


def mend(history: History) -> None:
    """Do what an operator is told to do for the first tier."""
    repository = history.open(seed=2)
    near = repository.tier("near")
    if near.state is TierState.REPLAYED:
        accept_history(repository, near)
    report = check(repository, read_percent=100, tiers=["near"])
    result = repair(repository, near, report)
    if any(finding.problem is Problem.LOG_ENTRY for finding in result.unrepaired):
        # The text says what it gives up; the other tier has it.
        result = repair(repository, near, report, bridge=True)
    assert result.is_complete, result.unrepaired
    history.catch_up_all()
    history.open(seed=3)
    history.expect_sound()
    history.expect_level()
    assert history.expect_restores() == len(TIERS) * len(history.tokens)
    history.expect_restores_alone()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_noticed_survived_and_repaired(scene: Scene, kind: str, change: str) -> None:
    """Each way to damage an object of each kind is named by a check, survived by restores, and repaired."""
    chance = Random(f"{kind} {change}")
    near = scene.now["near"]
    keys = sorted(key for key in near if key.startswith(kind))
    assert keys
    keys = chance.sample(keys, min(3, len(keys)))
    if kind == "log/":
        keys = sorted({*keys, max(key for key in near if key.startswith("log/"))})
    for key in keys:
        objects = damaged(near, key, CHANGES[change], chance)
        if objects is None:
            continue
        history = scene.history(objects)
        repository = history.open(seed=0)
        expect_noticed(repository, key)
        expect_survived(history)
        expect_no_wrong_bytes(scene, objects)
        mend(history)


def places_of(scene: Scene, key: str) -> dict[str, int]:
    """A byte of each field of a pack."""
    body = scene.now["near"][key]
    repository = scene.history(scene.now["near"]).open(seed=0)
    pack = StoredPack(bytes.fromhex(key[-64:]), len(body))
    (contents,) = read_whole(repository.tier("near").store, repository.keys, [pack])
    frame = contents.frames[-1]
    places = {f"header {place}": place for place in range(0, PACK_HEADER_LENGTH, 5)}
    places |= {f"frame header {place}": frame.offset + place for place in range(SEALED_HEADER_LENGTH)}
    payload = frame.offset + SEALED_HEADER_LENGTH
    end = frame.offset + frame.length
    places |= {"payload": payload, "payload's end": end - 17, "tag": end - 16, "tag's end": end - 1}
    places |= {f"footer {place}": place for place in range(end, len(body) - TRAILER_LENGTH, 29)}
    places |= {f"trailer {place}": len(body) - TRAILER_LENGTH + place for place in range(TRAILER_LENGTH)}
    return places


def test_no_byte_of_a_pack_can_be_changed_unnoticed(scene: Scene) -> None:
    """A bit flipped in any field of a pack is found by reading it back, and never restored."""
    packs = sorted(key for key in scene.now["near"] if key.startswith("packs/"))
    for key in packs[:2]:
        for name, place in places_of(scene, key).items():
            objects = {**scene.now["near"], key: flipped(scene.now["near"][key], place)}
            repository = scene.history(objects).open(seed=0)
            report = check(repository, read_percent=100, tiers=["near"])
            assert key in {finding.object_key for finding in report.damage}, name


@pytest.mark.parametrize("kind", ["log/", "index/"])
def test_no_byte_of_the_metadata_can_be_changed_unnoticed(scene: Scene, kind: str) -> None:
    """The same for log entries and index segments, at drawn places."""
    chance = Random(kind)
    for key in sorted(key for key in scene.now["near"] if key.startswith(kind)):
        body = scene.now["near"][key]
        for place in {*range(0, min(96, len(body)), 7), *(chance.randrange(len(body)) for _ in range(8))}:
            repository = scene.history({**scene.now["near"], key: flipped(body, place)}).open(seed=0)
            report = check(repository, tiers=["near"])
            assert key in {finding.object_key for finding in report.damage}, (key, place)


def test_a_tier_that_was_restored_to_an_older_state_is_noticed_and_brought_up_to_date(scene: Scene) -> None:
    """A tier put back to what it was after an earlier backup is seen through against the other, and caught up."""
    for age in range(len(scene.states) - 1):
        history = scene.history(scene.states[age]["near"])
        repository = history.open(seed=0)
        near = repository.tier("near")
        assert near.state is TierState.REPLAYED or lag(repository, near).snapshots
        # What the other tier bears witness to is older than its own last entry by at most one run.
        if age < len(scene.states) - 2:
            assert near.state is TierState.REPLAYED
        expect_survived(history)
        mend(history)


def test_objects_of_an_older_state_do_not_pass_for_present_ones(scene: Scene) -> None:
    """A log whose end was cut off, with everything else left, lacks snapshots visibly and is repaired."""
    near = dict(scene.now["near"])
    last = sorted(key for key in near if key.startswith("log/"))[-3:]
    for key in last:
        del near[key]
    history = scene.history(near)
    repository = history.open(seed=0)
    tier = repository.tier("near")
    assert tier.state is TierState.REPLAYED or lag(repository, tier).snapshots
    expect_survived(history)
    mend(history)


def test_both_tiers_are_damaged_at_different_places(scene: Scene) -> None:
    """Restores take each object from the tier that has it whole; each tier is repaired from the other."""
    chance = Random(3)
    packs = sorted(key for key in scene.now["near"] if key.startswith("packs/"))
    for _ in range(6):
        chance.shuffle(packs)
        half = len(packs) // 2
        near = {**scene.now["near"], **{key: flipped(scene.now["near"][key], 200) for key in packs[:half]}}
        far = {**scene.now["far"], **{key: scene.now["far"][key][:-40] for key in packs[half:]}}
        history = scene.history(near, far)
        repository = history.open(seed=0)
        expect_survived(history)
        for name in TIERS:
            tier = repository.tier(name)
            result = repair(repository, tier, check(repository, read_percent=100, tiers=[name]), bridge=True)
            assert result.is_complete, result.unrepaired
        history.open(seed=1)
        history.expect_sound()
        history.expect_restores()


def test_everything_but_the_packs_is_lost_on_a_tier(scene: Scene) -> None:
    """A tier of which only the packs are left gets everything else again, without uploading them anew."""
    near = {key: body for key, body in scene.now["near"].items() if key.startswith("packs/")}
    history = scene.history(near)
    repository = history.open(seed=0)
    assert repository.tier("near").state is TierState.DAMAGED
    expect_survived(history)
    mend(history)
    store = history.stores[0]
    assert isinstance(store, MemoryObjectStore)
    after = store.contents()
    assert {key: after[key] for key in near} == near
