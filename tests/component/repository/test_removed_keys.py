"""A key in wrong hands is ended: what can go goes, what a lock keeps is told, and nothing brings any of it back."""

import msgspec
import pytest

from repository.backup.backup import BackupOptions, backup
from repository.errors import KeyNotGiven, TierUnreachable
from repository.keys.key_file import KeyFile
from repository.log.checkpoints import checkpoint_from, state_from
from repository.log.state import LogState
from repository.opened import key_change, legal_holds
from repository.opened.present_objects import expect_objects
from repository.opened.repository import Repository
from repository.opened.wrappings import keks_of, keys_of, left_of_removed, remove_wrappings
from repository.stored.checkpoint import Checkpoint, CheckpointAndEnded
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.catch_up import catch_up, lag
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from repository.upkeep.repair import repair
from repository.upkeep.root_change import change_root
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.repositories import SeededRandomness, key_file

OLD, NEW = key_file(), key_file(1)
BOTH = KeyFile([*NEW._by_id.values(), *OLD._by_id.values()], SeededRandomness())
KEK = OLD.kek_id().hex()


def _run(repository: Repository, token: str) -> None:
    tree = MemoryFolder({b"photo": MemoryFile(token.encode() * 100, inode=7)})
    options = BackupOptions(run_token=token, label="photos", lock_days={"offsite": 1})
    assert sorted(backup(repository, MemorySource(tree), options=options).tiers) == sorted(
        tier.name for tier in repository.tiers
    )


def _stores() -> list[MemoryObjectStore]:
    """Three tiers, the middle one of which locks, of a repository that two keys open."""
    stores = [MemoryObjectStore("local"), MemoryObjectStore("offsite", locks=True), MemoryObjectStore("small")]
    with Repository.init(stores, OLD) as repository:
        _run(repository, "before")
        assert set(key_change.rewrap(repository, NEW).values()) == {None}
        _run(repository, "copied")
    return stores


def _with_it(stores: list[MemoryObjectStore]) -> list[str]:
    return [store.name for store in stores if any(KEK in key for key in store.contents())]


def _the_locked_one(store: MemoryObjectStore) -> str:
    (found,) = [key for key in store.contents() if key.startswith("keys/") and KEK in key]
    return found


def test_what_can_go_goes_from_every_tier_and_what_a_lock_keeps_is_told() -> None:
    stores = _stores()
    left = _the_locked_one(stores[1])
    with Repository.open(stores, NEW) as repository:
        done = remove_wrappings(repository, KEK, NEW)
        assert {name: len(each.removed) for name, each in done.items()} == {"local": 1, "offsite": 0, "small": 1}
        assert done["offsite"].left.keys() == {left}
        assert "locked until 20" in done["offsite"].left[left]
        assert [name for name, each in done.items() if not each.is_complete] == ["offsite"]
        assert not any(KEK in each.wrapped_under for each in keys_of(repository))
        told = left_of_removed(repository)
        assert [each.object_key for each in told[KEK]["offsite"]] == [left]
        assert told[KEK].keys() == {"offsite"}
    assert _with_it(stores) == ["offsite"]


def test_no_run_catch_up_or_repair_brings_it_back_or_locks_it_for_longer() -> None:
    """Not by who has both keys, either, and sees that the old one still opens what is locked."""
    stores = _stores()
    with Repository.open(stores, NEW) as repository:
        remove_wrappings(repository, KEK, NEW)
    locked = _the_locked_one(stores[1])
    until = stores[1].head(locked)
    for number, provider in enumerate((NEW, BOTH, OLD)):
        with Repository.open(stores, provider) as repository:
            _run(repository, f"after {number}")
            for tier in repository.tiers:
                assert not lag(repository, tier).keys
                catch_up(repository, tier)
                assert repair(repository, tier).is_complete
                assert not any(KEK in key for key in tier.log.state.key_objects)
        assert _with_it(stores) == ["offsite"]
        assert stores[1].head(locked) == until


def test_the_same_call_goes_on_when_the_lock_has_ended() -> None:
    stores = _stores()
    for _ in range(2):
        with Repository.open(stores, NEW) as repository:
            assert not remove_wrappings(repository, KEK, NEW)["offsite"].is_complete
    stores[1]._locked_until.pop(_the_locked_one(stores[1]))
    for count in (1, 0):
        with Repository.open(stores, NEW) as repository:
            done = remove_wrappings(repository, KEK, NEW)
            assert all(each.is_complete for each in done.values())
            assert len(done["offsite"].removed) == count
            assert left_of_removed(repository) == {KEK: {}}
            assert check(repository, read_percent=100).is_ok
    assert _with_it(stores) == []


def test_a_tier_that_was_not_given_hears_of_it_and_gives_it_to_nobody() -> None:
    stores = _stores()
    with Repository.open(stores[:2], NEW) as repository:
        remove_wrappings(repository, KEK, NEW)
    with Repository.open([*stores, empty := MemoryObjectStore("new")], NEW) as repository:
        catch_up(repository, repository.tier("new"))
    assert not any(KEK in key for key in empty.contents())
    with Repository.open([stores[0], stores[2]], NEW) as repository:
        _run(repository, "after")
        assert repository.tier("small").log.state.ended_keks == {KEK}
    assert _with_it(stores) == ["offsite", "small"]
    with Repository.open(stores, NEW) as repository:
        found = {(each.tier, each.problem): each.detail for each in check(repository).findings}
        assert f"`repo key remove {KEK}`" in found["small", Problem.STRANGE]
        assert remove_wrappings(repository, KEK, NEW)["small"].is_complete
    assert _with_it(stores) == ["offsite"]


def test_the_only_wrapping_of_a_key_is_never_left_out() -> None:
    """Of a key that was made on a tier which nobody else saw, when the removal was said elsewhere."""
    stores = _stores()
    with Repository.open(stores[2:], OLD) as repository:
        key_change.add_generation(repository, OLD)
        newest = repository.keys.active().key_id.hex()
    with Repository.open(stores[:2], NEW) as repository:
        remove_wrappings(repository, KEK, NEW)
    both = Repository.open(stores, OLD)
    for tier in both.tiers:
        catch_up(both, tier)
        assert f"keys/{newest}.{KEK}" in tier.log.state.key_objects
    assert f"keys/{newest}.{KEK}" in stores[0].contents()


def test_nothing_is_wrapped_under_it_again() -> None:
    stores = _stores()
    with Repository.open(stores, NEW) as repository:
        remove_wrappings(repository, KEK, NEW)
        before = [store.contents() for store in stores]
        for call in (
            lambda: key_change.rewrap(repository, OLD),
            lambda: key_change.add_generation(repository, OLD),
            lambda: change_root(repository, OLD),
        ):
            with pytest.raises(KeyNotGiven) as caught:
                call()
            assert caught.value.context["kek_id"] == KEK
        assert [store.contents() for store in stores] == before


def test_a_tier_that_fails_is_told_and_the_others_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    stores = _stores()

    def fail(_key: str) -> None:
        raise TierUnreachable("gone", tier="local")

    with Repository.open(stores, NEW) as repository:
        monkeypatch.setattr(stores[0], "delete", fail)
        done = remove_wrappings(repository, KEK, NEW)
    assert isinstance(done["local"].failed, TierUnreachable)
    assert done["small"].is_complete
    assert _with_it(stores) == ["local", "offsite"]
    monkeypatch.undo()
    with Repository.open(stores, NEW) as repository:
        assert remove_wrappings(repository, KEK, NEW)["local"].is_complete


def test_what_a_repair_set_aside_goes_with_it_and_a_legal_hold_keeps_none() -> None:
    stores = _stores()
    key = _the_locked_one(stores[1])
    stores[1]._locked_until.clear()
    legal_holds.set_on(stores[1], {key: None}, is_on=True)
    stores[0].put(f"quarantine/{key}.0badcafe", b"what lay there")
    with Repository.open(stores, NEW) as repository:
        done = remove_wrappings(repository, KEK, NEW)
    assert len(done["local"].removed) == 2
    assert all(each.is_complete for each in done.values())
    assert _with_it(stores) == []


def test_it_outlives_the_log_in_a_checkpoint_which_is_as_before_where_none_was() -> None:
    state = LogState(b"r" * 16, b"g" * 32, tier_id=b"t" * 16, ended_keks={KEK})
    made = checkpoint_from(state, 1)
    root = Repository.init([MemoryObjectStore("a")], OLD).keys.root.rank
    assert state_from(made, b"r" * 16, b"g" * 32, root).ended_keks == {KEK}
    older = msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Checkpoint)
    none = checkpoint_from(LogState(b"r" * 16, b"g" * 32, tier_id=b"t" * 16), 1)
    assert msgspec.msgpack.encode(older) == msgspec.msgpack.encode(none)
    assert isinstance(none, CheckpointAndEnded)


def test_one_that_somebody_deleted_by_hand_before_its_tier_heard_is_not_missed() -> None:
    stores = _stores()
    with Repository.open(stores[:2], NEW) as repository:
        remove_wrappings(repository, KEK, NEW)
    stores[2].delete(_the_locked_one(stores[2]))
    with Repository.open(stores, BOTH) as repository:
        tier = repository.tier("small")
        assert not lag(repository, tier).keys
        assert not [each for each in check(repository).findings if each.problem is Problem.KEY]
        assert repair(repository, tier).is_complete
    assert _with_it(stores) == ["offsite"]


def test_who_had_opened_it_before_misses_nothing_that_was_removed() -> None:
    stores = _stores()
    with Repository.open(stores, NEW) as before, Repository.open(stores, NEW) as repository:
        remove_wrappings(repository, KEK, NEW)
        for tier in before.tiers:
            tier.refresh()
            expect_objects(tier)
        _run(before, "after")
    assert _with_it(stores) == ["offsite"]


def test_what_a_thief_puts_there_under_its_name_keeps_nobody_from_ending_it() -> None:
    stores = _stores()
    stores[0].put(f"keys/{'ab' * 16}.{KEK}", b"anything")
    with Repository.open(stores, NEW) as repository:
        assert remove_wrappings(repository, KEK, NEW)["local"].is_complete
    assert _with_it(stores) == ["offsite"]
    with Repository.open(stores, BOTH) as repository:
        assert keks_of(repository) == [NEW.kek_id().hex()]
