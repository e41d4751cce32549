"""Erasure: a domain's keys are destroyed on every tier, stay destroyed, and what is left is told."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from repository.errors import (
    Damaged,
    ErasureNotConfirmed,
    KeyNotFound,
    KeyStillNeeded,
    RepositoryError,
    SnapshotHeld,
    TierUnreachable,
    UnknownKey,
)
from repository.index.pack_catalog import stored_packs
from repository.keys.key_ring import KeyRecord, decode_wrapped_key, unwrap
from repository.opened.key_change import add_generation, rewrap
from repository.opened.repository import Repository
from repository.prune.prune import PruneOptions, prune
from repository.retention.erasure import Erasure, erase, plan_erasure
from repository.retention.orders import place_hold, release_hold
from repository.retention.receipt import NOT_PROMISED, receipt_of, verified
from repository.stored.snapshot import Snapshot
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep import quarantine
from repository.upkeep.catch_up import catch_up, lag
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from repository.upkeep.repair import repair
from repository.upkeep.store_holds import place, release
from tests.support.dying import Dying
from tests.support.repositories import Scene, key_file, photos, read_back

PERSON = "person 7"
LETTERS = photos(3, seed=7)


def _scene(names: tuple[str, ...] = ("a", "b"), *, locks: bool = False) -> tuple[Scene, Snapshot]:
    """A snapshot of the default domain, and one of a person's, on each tier."""
    scene = Scene(names, locks=locks)
    scene.backup(photos(2), "others")
    add_generation(scene.repository, scene.provider, PERSON)
    scene.reopen()
    made = scene.backup(LETTERS, "person's", domain=PERSON)
    assert made is not None
    return scene, made


def _erase(repository: Repository, name: str = PERSON) -> Erasure:
    return erase(repository, name, plan_erasure(repository, name).word)


def openable(store: MemoryObjectStore, scene: Scene, *, key_ids: tuple[str, ...]) -> list[str]:
    """Objects of any name from which somebody with the key file would get one of these keys."""
    found = []
    for name, body in store.contents().items():
        object_key = name.removeprefix("quarantine/")
        object_key = object_key if object_key == name else object_key.rpartition(".")[0]
        try:
            record = decode_wrapped_key(KeyRecord(object_key, body))
            opened = unwrap(record, scene.repository.id, scene.provider)
        except RepositoryError:
            continue
        if opened.key_id.hex() in key_ids:
            found.append(name)
    return found


def test_what_was_erased_can_be_read_by_nobody_and_the_rest_is_whole() -> None:
    scene, made = _scene()
    add_generation(scene.repository, scene.provider, PERSON)  # every generation goes
    rewrap(scene.reopen(), key_file(3))  # and every wrapping
    repository = scene.reopen()
    plan = plan_erasure(repository, PERSON)
    whole = openable(scene.store("b"), scene, key_ids=plan.key_ids)[0]
    assert quarantine.set_aside(scene.store("b"), whole, scene.randomness)
    plan = plan_erasure(repository, PERSON)
    assert (len(plan.key_ids), plan.snapshots, len(plan.keks)) == (2, (made.id,), 2)
    assert {name: len(copies) for name, copies in plan.copies.items()} == {"a": 4, "b": 5}
    assert len(openable(scene.store("b"), scene, key_ids=plan.key_ids)) == 3  # of the first key file
    done = _erase(repository)
    assert done.is_complete, done
    for name in ("a", "b"):
        store = scene.store(name)
        assert not openable(store, scene, key_ids=plan.key_ids)
        assert not any(key_id in name for key_id in plan.key_ids for name in store.contents())
        assert not any(letter in body for letter in LETTERS.values() for body in store.contents().values())
    repository = scene.reopen()
    assert [each.brief.run_token for each in repository.snapshots()] == ["others"]
    assert check(repository, read_percent=100).is_ok
    with pytest.raises(UnknownKey):
        repository.keys.active(PERSON)


def _keys(scene: Scene, name: str) -> list[str]:
    ids = [keys.key_id.hex() for keys in scene.repository.keys.all() if keys.domain == PERSON]
    return [info.key for info in scene.store(name).list("keys/") if any(each in info.key for each in ids)]


def test_nothing_is_erased_that_was_not_confirmed() -> None:
    scene, made = _scene()
    word = plan_erasure(scene.repository, PERSON).word
    scene.backup(photos(1, seed=8), "one more", domain=PERSON)
    with pytest.raises(ErasureNotConfirmed):
        erase(scene.repository, PERSON, word)
    for name, error in (("nobody's", KeyNotFound), ("default", KeyStillNeeded), ("ab" * 16, KeyNotFound)):
        with pytest.raises(error):
            plan_erasure(scene.repository, name)
    repository = scene.reopen()
    assert read_back(repository, made, repository.tier("b")) == LETTERS


def test_what_was_begun_goes_on_with_the_word_that_began_it() -> None:
    """Also where the logs alone say any more which snapshots there were: the receipt names them."""
    scene = Scene(("a", "b"))
    add_generation(scene.repository, scene.provider, PERSON)
    scene.reopen()
    made = scene.backup(LETTERS, "letters", only=["a"], domain=PERSON)
    assert made is not None
    alone = scene.reopen(stores=[scene.store("a")])
    word = plan_erasure(alone, PERSON).word
    assert erase(alone, PERSON, word).tiers["a"].is_complete
    prune(scene.reopen(stores=[scene.store("a")]))
    assert not list(scene.store("a").list("snapshots/"))
    repository = scene.reopen()
    done = erase(repository, PERSON, word)
    assert (done.is_complete, done.plan.snapshots, done.plan.word) == (True, (made.id,), word)


def test_a_hold_keeps_a_domain_from_erasure_until_it_is_released() -> None:
    scene, made = _scene()
    place_hold(scene.repository, "court", [made.id])
    with pytest.raises(SnapshotHeld):
        _erase(scene.repository)
    repository = scene.reopen()
    assert read_back(repository, made, repository.tier("a")) == LETTERS
    release_hold(repository, "court")
    assert _erase(repository).is_complete


@pytest.mark.parametrize("road", ["catch up", "prune", "repair"])
def test_a_tier_that_was_away_brings_nothing_back_and_lets_go_too(road: str) -> None:
    """It has the keys still, and opens them; whoever sees both tiers ends that."""
    scene, made = _scene(("a", "b", "c"))
    key_ids = plan_erasure(scene.repository, PERSON).key_ids
    away = scene.store("c")
    done = _erase(scene.reopen(stores=[scene.store("a"), scene.store("b")]))
    assert done.is_complete
    assert openable(away, scene, key_ids=key_ids)
    repository = scene.reopen()
    with pytest.raises(UnknownKey, match="destroyed"):
        repository.keys.active(PERSON)
    assert made.id not in {each.id for each in repository.snapshots()}
    assert [lag(repository, each).is_behind for each in repository.tiers] == [False, False, True]
    for name in ("a", "b", "c"):
        repository = scene.reopen()
        if road == "catch up":
            catch_up(repository, repository.tier(name))
        elif road == "repair":
            repair(repository, repository.tier(name))
        else:
            prune(repository)
    rewrap(scene.reopen(), key_file(5))
    scene.backup(photos(1, 4), "later")
    if road == "repair":  # it brings nothing back, and is not asked to take anything away
        assert not any(openable(scene.store(name), scene, key_ids=key_ids) for name in ("a", "b"))
        repository = scene.reopen()
        catch_up(repository, repository.tier("c"))
    for name in ("a", "b", "c"):
        assert not openable(scene.store(name), scene, key_ids=key_ids), name
        assert set(key_ids) <= scene.reopen().tier(name).log.state.destroyed_keys
    repository = scene.reopen()
    assert not any(lag(repository, each).is_behind for each in repository.tiers)
    assert check(repository, read_percent=100).is_ok


def test_what_a_lock_keeps_is_told_and_goes_when_it_ends() -> None:
    scene, _ = _scene(("a", "b"), locks=True)
    store, (key_id,) = scene.store("a"), plan_erasure(scene.repository, PERSON).key_ids
    (copy,) = [info.key for info in store.list("keys/") if key_id in info.key]
    store.extend_lock(copy, store.now() + timedelta(days=3))
    assert plan_erasure(scene.repository, PERSON).copies["a"][0].locked_until is not None
    done = _erase(scene.repository)
    assert not done.is_complete
    assert [list(each.left) for each in done.tiers.values()] == [[copy], []]
    assert "locked until 20" in done.tiers["a"].left[copy]
    assert [list(each.left) for each in _erase(scene.reopen()).tiers.values()] == [[copy], []]
    with pytest.raises(UnknownKey):
        scene.reopen().keys.active(PERSON)
    store._locked_until.clear()
    assert _erase(scene.reopen()).is_complete
    again = _erase(scene.reopen(), key_id)  # nothing opens the domain any more: the key's id names it
    assert again.is_complete
    assert not any(each.removed for each in again.tiers.values())


def test_a_writer_that_was_at_work_commits_nothing_under_what_was_erased() -> None:
    scene, _ = _scene()
    writer = scene.repository
    assert _erase(scene.reopen()).is_complete
    scene.repository = writer
    with pytest.raises(UnknownKey, match="destroyed"):
        scene.backup(photos(1, seed=9), "too late", domain=PERSON)
    assert check(scene.reopen()).is_ok


def test_what_was_stored_of_an_erased_domain_is_freed_by_a_prune() -> None:
    scene, _ = _scene()
    before = {pack.id for pack in stored_packs(scene.store("a"))}
    _erase(scene.repository)
    assert all(plan.is_complete for plan in prune(scene.reopen(), PruneOptions(max_unused=1.0)).values())
    after = {pack.id for pack in stored_packs(scene.store("a"))}
    assert (len(before), len(after)) == (4, 2)
    repository = scene.reopen()
    (left,) = repository.snapshots()
    assert read_back(repository, left, repository.tier("b")) == photos(2)


def test_prune_is_not_stopped_by_a_snapshot_that_nobody_can_read_any_more() -> None:
    """One that a writer committed on a tier which had not heard of it."""
    scene, _ = _scene()
    _erase(scene.reopen(stores=[scene.store("a")]))
    scene.reopen(stores=[scene.store("b")])
    scene.backup(photos(1, seed=3), "not told", domain=PERSON)
    for key in _keys(scene, "b"):
        scene.store("b").delete(key)
    repository = scene.reopen()
    for name in ("a", "b"):
        catch_up(repository, repository.tier(name))
    plans = prune(scene.reopen())
    assert all(plan.is_complete for plan in plans.values()), plans
    assert {each.problem for each in check(scene.reopen()).findings} <= {Problem.ERASED}


@pytest.mark.parametrize("left", range(12))
def test_erasure_that_was_killed_is_ended_by_the_next_one(left: int) -> None:
    """At whatever put or delete: nothing else is harmed, and the same command names in its receipt what was erased."""
    scene, made = _scene()
    plan = plan_erasure(scene.repository, PERSON)
    key_ids, calls = plan.key_ids, [left]
    dying = [Dying(store, calls) for store in scene.stores]
    try:
        _erase(scene.reopen(stores=dying))  # type: ignore[arg-type]
    except RepositoryError:
        assert calls[0] < 0
    again = erase(scene.reopen(), PERSON, plan.word)
    assert (again.is_complete, again.plan.snapshots, again.plan.key_ids) == (True, (made.id,), key_ids)
    assert verified(receipt_of(scene.repository, again), _public_key(scene)).snapshots == (made.id,)
    with pytest.raises(KeyNotFound, match="no key domain"):
        erase(scene.repository, "person 8", plan.word)
    by_key = _erase(scene.reopen(), key_ids[0])
    assert (by_key.is_complete, by_key.plan.snapshots) == (True, (made.id,))
    for name in ("a", "b"):
        assert not openable(scene.store(name), scene, key_ids=key_ids)
    repository = scene.reopen()
    assert [each.brief.run_token for each in repository.snapshots()] == ["others"]
    assert check(repository, read_percent=100).is_ok


def _public_key(scene: Scene) -> bytes:
    return bytes.fromhex(scene.repository.config.public_key)


def test_a_tier_that_fails_is_told_and_the_others_are_erased() -> None:
    from tests.support.repositories import BrokenStore

    scene, _ = _scene()
    broken = BrokenStore(scene.store("b"))
    repository = scene.reopen(stores=[scene.store("a"), broken])  # type: ignore[list-item]
    broken.failures["delete"] = TierUnreachable("gone")
    done = _erase(repository)
    assert (done.tiers["a"].is_complete, done.tiers["b"].failed is not None, done.is_complete) == (True, True, False)
    broken.failures.clear()
    assert _erase(scene.reopen()).is_complete


def _document(change: Callable[[bytes], bytes] = lambda body: body) -> tuple[bytes, bytes]:
    scene, _ = _scene(("a", "b", "c"))
    done = _erase(scene.reopen(stores=[scene.store("a"), scene.store("b")]))
    public_key = bytes.fromhex(scene.repository.config.public_key)
    return change(receipt_of(scene.repository, done)), public_key


def test_receipt_says_what_was_done_what_is_left_and_what_nobody_promises() -> None:
    document, public_key = _document()
    receipt = verified(document, public_key)
    assert (receipt.domain, receipt.is_complete, len(receipt.snapshots)) == (PERSON, True, 1)
    assert [(each.name, each.state, len(each.removed)) for each in receipt.tiers] == [
        ("a", "erased", 1),
        ("b", "erased", 1),
    ]
    assert all(each.tier_id and each.log_digest for each in receipt.tiers)
    assert receipt.not_promised == NOT_PROMISED
    assert any("database dumps" in each for each in receipt.not_promised)


def test_receipt_says_of_a_tier_that_was_seen_and_not_given_that_it_keeps_what_it_has() -> None:
    """Whoever reads the receipt alone is not told that all of it is erased."""
    scene, _ = _scene()
    done = _erase(scene.reopen(stores=[scene.store("a")]))
    assert done.is_complete
    receipt = verified(receipt_of(scene.repository, done, ["file:///b"]), _public_key(scene))
    assert (receipt.is_complete, [(each.name, each.state) for each in receipt.tiers]) == (
        False,
        [("a", "erased"), ("file:///b", "not-given")],
    )


@pytest.mark.parametrize("old", [b"person 7", b"erased", b'"signature":"', b'"isComplete":true'])
def test_receipt_that_was_changed_is_none(old: bytes) -> None:
    document, public_key = _document(lambda body: body.replace(old, old[:-1] + b"0", 1))
    with pytest.raises(Damaged):
        verified(document, public_key)
    whole, _ = _document()
    with pytest.raises(Damaged):
        verified(whole, bytes(32))


def test_packs_of_an_erased_domain_are_owed_to_nobody() -> None:
    """No index takes them in again, as nobody reads them: a tier would be behind, and be brought them, for ever."""
    scene, _ = _scene()
    tier = scene.tier("b")
    before = tier.index.pack_ids()
    tier.change_index((), list(tier.log.state.segments), "lost")
    assert _erase(scene.reopen()).is_complete
    assert catch_up(scene.reopen(), scene.tier("b")).is_complete
    missing = before - scene.reopen().tiers[1].index.pack_ids()
    assert missing
    assert lag(scene.repository, scene.tier("b")).packs == set()
    assert catch_up(scene.repository, scene.tier("b")).copied_packs == 0
    prune(scene.reopen(), PruneOptions(max_unused=1))
    assert not missing & {pack.id for name in "ab" for pack in stored_packs(scene.store(name))}
    assert check(scene.reopen(), read_percent=100).is_ok


def test_a_tier_that_was_away_lets_go_of_a_held_key_that_was_released_and_erased_meanwhile() -> None:
    """By then nobody needs the key any more, and the hold that was set on it is over all the same."""
    scene, made = _scene(locks=True)
    place(scene.repository, "court", [made.id])
    own = {keys.key_id.hex() for keys in scene.repository.keys.all() if keys.domain == PERSON}
    alone = scene.reopen(stores=[scene.store("a")])
    release(alone, "court")
    assert all(each.failed is None and not each.left for each in _erase(alone).tiers.values())
    done = catch_up(scene.reopen(), scene.tier("b"))
    assert done.erased.left == {}
    for name in "ab":
        assert openable(scene.store(name), scene, key_ids=tuple(own)) == []
    assert check(scene.reopen()).is_ok


def test_a_key_that_is_made_beside_an_erasure_goes_with_its_domain() -> None:
    """Whichever of the two is first, and whoever has not heard of the other."""
    scene, _ = _scene()
    eraser, maker = scene.reopen(), scene.reopen()
    word = plan_erasure(eraser, PERSON).word
    add_generation(maker, scene.provider, PERSON)
    made = maker.keys.active(PERSON).key_id.hex()
    done = erase(eraser, PERSON, word)
    assert done.is_complete
    assert made in done.plan.key_ids
    assert not openable(scene.store("a"), scene, key_ids=done.plan.key_ids)
    assert PERSON not in {keys.domain for keys in scene.reopen().keys.all()}
    scene.repository = maker
    with pytest.raises(UnknownKey, match="destroyed"):
        scene.backup(LETTERS, "too late", domain=PERSON)

    scene, _ = _scene()
    maker = scene.reopen()
    assert _erase(scene.reopen()).is_complete
    with pytest.raises(UnknownKey, match="destroyed"):
        add_generation(maker, scene.provider, PERSON)
    prune(scene.reopen())
    assert PERSON not in {keys.domain for keys in scene.reopen().keys.all()}


@pytest.mark.parametrize("road", ["catch up", "prune", "erase"])
def test_a_key_that_was_made_where_nobody_had_heard_of_the_erasure_goes_with_its_domain(road: str) -> None:
    scene, _ = _scene()
    add_generation(scene.reopen(stores=[scene.store("b")]), scene.provider, PERSON)
    scene.reopen(stores=[scene.store("b")])
    scene.backup(photos(3, seed=8), "under the newer key", domain=PERSON)
    key_ids = plan_erasure(scene.repository, PERSON).key_ids
    assert len(key_ids) == 2
    assert _erase(scene.reopen(stores=[scene.store("a")])).is_complete
    repository = scene.reopen()
    with pytest.raises(UnknownKey, match="destroyed"):
        repository.keys.active(PERSON)
    if road == "catch up":
        for name in "ab":
            catch_up(repository, repository.tier(name))
    elif road == "prune":
        prune(repository)
    else:
        _erase(repository)
    for name in "ab":
        assert not openable(scene.store(name), scene, key_ids=key_ids)
    assert [each.brief.run_token for each in scene.reopen().snapshots()] == ["others"]
    assert check(scene.reopen(), read_percent=100).is_ok


def test_nothing_is_erased_beside_a_key_of_which_nobody_can_say_whose_it_is() -> None:
    """It may be the domain's: wrapped meanwhile under a key file that this call has not."""
    scene, made = _scene(("a",))
    eraser, maker = scene.reopen(), scene.reopen()
    add_generation(maker, key_file(9), PERSON)
    done = _erase(eraser)
    assert isinstance(done.tiers["a"].failed, UnknownKey)
    assert not scene.reopen().tier("a").log.state.destroyed_keys
    assert made.id in scene.tier("a").log.state.snapshots
