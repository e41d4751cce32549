"""Another root in the place of one that leaked: what the old one signs afterwards counts nowhere."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from repository.errors import Damaged, KeyNotGiven, NoUsableTier, RepositoryError, TierBehind, UnknownKey
from repository.keys import crypto
from repository.keys.key_ring import KeyRing
from repository.log.checkpoints import checkpoint_from
from repository.log.commit_log import CommitLog
from repository.opened.key_change import add_generation, rewrap
from repository.opened.repository import Repository
from repository.opened.seen import SeenTier
from repository.opened.tier_state import TierState
from repository.prune.prune import prune
from repository.retention.orders import forget, place_hold
from repository.stored.checkpoint import checkpoint_object_key, encode_checkpoint
from repository.stored.log_entry import SnapshotsForgotten
from repository.stored.part import PartMade, decode_left, encode_left
from repository.stored.snapshot import Snapshot
from repository.stored.stream_piece import decode_piece, encode_piece, piece_object_key
from repository.streams.errors import StreamGap
from repository.streams.reading import read_stream
from repository.streams.stream import open_stream
from repository.tiers.folder.store import DirectoryObjectStore
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.accepted_history import accept_history
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from repository.upkeep.rebuild import rebuild_index
from repository.upkeep.repair import repair
from repository.upkeep.root_change import change_root
from tests.support.dying import Dying
from tests.support.repositories import (
    CountingClock,
    Scene,
    SeededRandomness,
    key_file,
    photos,
    read_back,
    write_snapshot,
)


def _forge(scene: Scene, name: str, body: object) -> None:
    """Append as whoever has the first root, and no other key, does."""
    ring = KeyRing([scene.repository.keys.first_root])
    log = CommitLog(scene.store(name), ring, scene.tier(name).log.state.genesis, CountingClock(), SeededRandomness(9))
    log.reload()
    log.state.faults.clear()
    log.append(lambda _: body)  # type: ignore[arg-type, return-value]


def _as_it_is(scene: Scene, name: str) -> MemoryObjectStore:
    """A copy of a tier."""
    store = scene.store(name)
    return MemoryObjectStore(name, objects={each.key: store.get(each.key) for each in store.list("")})


def test_everything_goes_on_under_the_new_root() -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(3), "before")
    first, data = scene.repository.keys.root, scene.repository.keys.active()
    assert change_root(scene.repository, scene.provider) == (True, {"a": None, "b": None})
    scene.backup(photos(3, 1), "beside")
    repository = scene.reopen()
    assert repository.keys.root.rank > first.rank
    assert repository.keys.active() is not data
    assert all(tier.is_ready for tier in repository.tiers), repository.states()
    for name in ("a", "b"):
        alone = scene.reopen(stores=[scene.store(name)])
        assert [read_back(alone, each, alone.tier(name)) for each in alone.snapshots()] == [photos(3), photos(3, 1)]
        assert alone.tier(name).log.whole().faults == []
    assert check(scene.reopen(), read_percent=100).is_ok


@pytest.mark.parametrize("left", range(14))
def test_change_that_was_killed_is_finished_by_the_same_call(left: int) -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(2), "before")
    calls = [left]
    try:
        change_root(scene.reopen(stores=[Dying(store, calls) for store in scene.stores]), scene.provider)  # type: ignore[arg-type]
    except RepositoryError:
        assert calls[0] < 0
    repository = scene.reopen()
    scene.backup(photos(2, 1), "between")
    assert set(change_root(scene.reopen(), scene.provider)[1].values()) == {None}
    repository = scene.reopen()
    assert len({tier.log.state.root for tier in repository.tiers}) == 1
    assert repository.tiers[0].log.state.root > repository.keys.first_root.rank
    assert check(repository, read_percent=100).is_ok


def test_what_the_old_root_signs_afterwards_is_a_fault() -> None:
    scene = Scene(("a",))
    snapshot = scene.backup(photos(2), "before")
    assert snapshot is not None
    change_root(scene.repository, scene.provider)
    scene.reopen()
    forged = scene.store("a")
    _forge(scene, "a", SnapshotsForgotten(time_ns=1, snapshots=(snapshot.id,)))
    repository = scene.reopen(stores=[forged])
    assert [each.id for each in repository.snapshots()] == [snapshot.id]
    assert repository.tier("a").state is TierState.DAMAGED


def test_a_tier_that_was_away_follows_by_itself() -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(2), "before")
    scene.backup(photos(2, 1), "witness", only=["a"])
    change_root(scene.reopen(stores=[scene.store("a")]), scene.provider)
    repository = scene.reopen()
    assert repository.tier("b").is_ready, repository.states()
    catch_up(repository, repository.tier("b"))
    repository = scene.reopen()
    assert repository.tier("b").log.state.root == repository.tier("a").log.state.root
    assert check(repository, read_percent=100).is_ok


def _seen(scene: Scene) -> dict[str, list[SeenTier]]:
    """As a file of heads beside the key knows the tiers."""
    states = [tier.log.state for tier in scene.reopen().tiers]
    return {"": [SeenTier(state.tier_id, state.head, state.root) for state in states]}


def test_of_a_tier_that_is_away_what_was_seen_of_it_counts() -> None:
    """Nobody bears witness to the last entries of a tier that was in step; who changes the root has seen them."""
    scene = Scene(("a", "b"))
    snapshot = scene.backup(photos(2), "before")
    assert snapshot is not None
    seen = _seen(scene)
    change_root(scene.reopen(stores=[scene.store("a")], known=lambda _: seen), scene.provider)
    repository = scene.reopen()
    state = repository.tier("a").log.state
    assert state.tier_id not in state.witnesses  # that it was seen itself is no word of another one
    assert repository.tier("b").is_ready, repository.states()
    assert snapshot.id in repository.tier("b").snapshots()
    catch_up(repository, repository.tier("b"))
    assert check(scene.reopen(), read_percent=100).is_ok
    assert all(tier.is_ready for tier in scene.reopen(known=lambda _: seen).tiers)


def test_what_the_old_root_signs_behind_what_was_seen_is_not_believed() -> None:
    scene = Scene(("a", "b"))
    snapshot = scene.backup(photos(2), "before")
    assert snapshot is not None
    seen = _seen(scene)
    _forge(scene, "b", SnapshotsForgotten(time_ns=1, snapshots=(snapshot.id,)))
    change_root(scene.reopen(stores=[scene.store("a")], known=lambda _: seen), scene.provider)
    repository = scene.reopen()
    assert repository.tier("b").state is TierState.REPLAYED
    assert snapshot.id in repository.tier("b").snapshots()


def test_an_order_given_to_a_tier_that_was_away_says_first_which_root_is_in_force() -> None:
    scene = Scene(("a", "b"))
    snapshot = scene.backup(photos(2), "before")
    assert snapshot is not None
    scene.backup(photos(2, 1), "witness", only=["a"])
    change_root(scene.reopen(stores=[scene.store("a")]), scene.provider)
    repository = scene.reopen()
    place_hold(repository, "audit", [snapshot.id])
    assert len({tier.log.state.root for tier in repository.tiers}) == 1
    assert [list(tier.log.state.holds) for tier in scene.reopen().tiers] == [["audit"], ["audit"]]


def _changed_while_b_was_away() -> tuple[Scene, Snapshot]:
    """A snapshot that both tiers have, and a root of which `b` has not heard; `a` bears witness to all of `b`."""
    scene = Scene(("a", "b"))
    first = scene.backup(photos(2), "before")
    assert first is not None
    scene.backup(photos(2, 1), "witness", only=["a"])
    change_root(scene.reopen(stores=[scene.store("a")]), scene.provider)
    return scene, first


_WRITES: dict[str, Callable[[Scene, Repository, str], object]] = {
    "a hold": lambda _, repository, identity: place_hold(repository, "audit", [identity]),
    "forgetting": lambda _, repository, identity: forget(repository, [identity]),
    "a domain": lambda scene, repository, _: add_generation(repository, scene.provider, "person"),
    "a generation": lambda scene, repository, _: add_generation(repository, scene.provider),
    "wrappings": lambda scene, repository, _: rewrap(repository, scene.provider),
    "an index": lambda _, repository, __: rebuild_index(repository, repository.tier("b")),
    "a prune": lambda _, repository, __: prune(repository),
    "another root": lambda scene, repository, _: change_root(repository, scene.provider),
}


@pytest.mark.parametrize("what", _WRITES)
def test_a_tier_that_was_away_has_the_keys_of_what_is_written_to_it(what: str) -> None:
    scene, first = _changed_while_b_was_away()
    _WRITES[what](scene, scene.reopen(), first.id)
    alone = scene.reopen(stores=[scene.store("b")])
    assert alone.tier("b").is_ready, alone.states()
    assert alone.tier("b").damaged_segments == {}
    kept = [each.id for each in alone.snapshots()]
    assert kept == ([] if what == "forgetting" else [first.id])
    assert [read_back(alone, each, alone.tier("b")) for each in alone.snapshots()] == [photos(2)] * len(kept)


def test_nothing_is_written_to_a_tier_that_was_away_while_nobody_can_give_it_the_root() -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(2), "before")
    scene.backup(photos(2, 1), "witness", only=["a"])
    change_root(scene.reopen(stores=[scene.store("a")]), scene.provider)
    repository = scene.reopen()
    for key in [each.key for each in scene.store("a").list("keys/")]:
        scene.store("a").delete(key)
    number = repository.tier("b").log.state.head.number
    done = add_generation(repository, scene.provider, "person")
    assert isinstance(done["b"], TierBehind)
    assert repository.tier("b").log.state.head.number == number


def test_what_the_old_root_signs_on_a_tier_that_was_away_is_not_believed_before_it_is_accepted() -> None:
    scene = Scene(("a", "b"))
    snapshot = scene.backup(photos(2), "before")
    assert snapshot is not None
    scene.backup(photos(2, 1), "witness", only=["a"])
    _forge(scene, "b", SnapshotsForgotten(time_ns=1, snapshots=(snapshot.id,)))
    change_root(scene.reopen(stores=[scene.store("a")]), scene.provider)
    repository = scene.reopen()
    assert repository.tier("b").state is TierState.REPLAYED
    assert snapshot.id in repository.tier("b").snapshots()
    assert snapshot.id in {each.id for each in repository.snapshots()}
    assert accept_history(repository, repository.tier("b"))
    repository = scene.reopen()
    assert repository.tier("b").is_ready, repository.states()
    assert repository.tier("b").log.state.root == repository.tier("a").log.state.root


def test_a_tier_rolled_back_to_before_the_change_is_replayed() -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(2), "before")
    older = _as_it_is(scene, "b")
    change_root(scene.repository, scene.provider)
    scene.backup(photos(2, 1), "after")
    repository = scene.reopen(stores=[scene.store("a"), older])
    assert repository.tier("b").state is TierState.REPLAYED


def test_two_changes_at_once_leave_one_root() -> None:
    scene = Scene(("a", "b"))
    scene.backup(photos(2), "before")
    first, second = scene.reopen(), scene.reopen()
    for repository in (first, second):
        assert set(change_root(repository, scene.provider)[1].values()) == {None}
    repository = scene.reopen()
    assert len({tier.log.state.root for tier in repository.tiers}) == 1
    assert {tier.name: tier.state for tier in repository.tiers} == {"a": TierState.READY, "b": TierState.READY}
    for each in (first, second):
        write_snapshot(each, each.ready_tiers(), photos(2, 1), f"behind {each is first}", scene.randomness)
    assert check(scene.reopen(), read_percent=100).is_ok


def test_a_checkpoint_of_the_old_root_is_not_believed() -> None:
    """Neither one that lay there, nor one that says what it likes of the very entry that is the head now."""
    scene = Scene(("a",))
    snapshot = scene.backup(photos(2), "before")
    assert snapshot is not None
    scene.tier("a").log.checkpoint(is_due=True)
    change_root(scene.repository, scene.provider)
    state = scene.reopen().tier("a").log.state
    assert list(state.snapshots) == [snapshot.id]
    emptied = msgspec.structs.replace(checkpoint_from(state, 99), snapshots=(), forgotten={snapshot.id: "before"})
    body = encode_checkpoint(emptied, scene.repository.keys.first_root, SeededRandomness(5))
    scene.store("a").put(checkpoint_object_key(emptied.number, crypto.sha256(body)), body)
    assert list(scene.reopen().tier("a").snapshots()) == [snapshot.id]


def _pieces(repository: Repository, position: int | None = None) -> list[bytes]:
    return [bytes(piece.data) for piece in read_stream(repository, "wal", position)]


def test_a_stream_goes_on_over_a_change_beside_its_writer() -> None:
    """What was appended before, and what a writer appends who had not heard of the change until the log told him."""
    scene = Scene(("a", "b"))
    stream = open_stream(scene.repository, "wal")
    for number in range(3):
        stream.append(b"%d" % number)
    change_root(Repository.open(scene.stores, scene.provider, clock=scene.clock), scene.provider)
    assert _pieces(scene.reopen()) == [b"0", b"1", b"2"]
    stream.append(b"3")
    stream.say()
    stream.append(b"4")
    repository = scene.reopen()
    assert _pieces(repository) == [b"0", b"1", b"2", b"3", b"4"]
    assert _pieces(repository, 2) == [b"2", b"3", b"4"]
    assert check(repository, read_percent=100).is_ok


def test_what_the_old_root_appends_to_a_stream_is_damage_until_an_operator_takes_it() -> None:
    scene = Scene(("a",))
    stream = open_stream(scene.repository, "wal")
    stream.append(b"0")
    change_root(Repository.open(scene.stores, scene.provider, clock=scene.clock), scene.provider)
    stream.append(b"1")  # by one who has the old root alone, or never came to hear of the new one
    repository = scene.reopen()
    findings = [(each.problem, each.detail) for each in check(repository, read_percent=100).findings]
    assert [problem for problem, _ in findings] == [Problem.STREAM_PIECE]
    assert "a root that was replaced" in findings[0][1]
    with pytest.raises(NoUsableTier) as raised:
        open_stream(repository, "wal")
    assert "--accept-history" in raised.value.hint
    assert accept_history(repository, repository.tier("a"))
    assert not accept_history(repository, repository.tier("a"))
    assert _pieces(scene.reopen()) == [b"0", b"1"]
    assert check(scene.repository, read_percent=100).is_ok


def test_an_old_piece_that_was_exchanged_by_the_old_root_is_not_yielded() -> None:
    """Not even the first one that is read: the pieces behind it, which count, name another."""
    scene = Scene(("a",))
    stream = open_stream(scene.repository, "wal")
    for number in range(4):
        stream.append(b"%d" % number)
    first, ring = scene.repository.keys.first_root, KeyRing([scene.repository.keys.first_root])
    key = piece_object_key(first.stream_id("wal"), 2)
    genuine = decode_piece(scene.store("a").get(key), first.stream_id("wal"), 2, ring)
    change_root(scene.repository, scene.provider)
    place = {"name": "wal", "number": 2, "position": 1, "previous": genuine.previous}
    forged = encode_piece(b"X", **place, keys=first, ring=ring)  # type: ignore[arg-type]
    scene.store("a").put(key, forged)
    repository = scene.reopen()
    with pytest.raises(StreamGap):
        _pieces(repository, 1)
    assert _pieces(repository, 2) == [b"2", b"3"]


def test_a_part_that_the_old_root_sealed_counts_no_more() -> None:
    scene = Scene(("a",))
    part = PartMade(name=b"x", manifest=b"", packs=bytes(32))
    body = encode_left(part, b"r" * 16, "0000", scene.repository.keys.root, scene.randomness)
    ring = scene.repository.keys
    assert decode_left(body, PartMade, b"r" * 16, "0000", ring) == part
    change_root(scene.repository, scene.provider)
    with pytest.raises(Damaged, match="replaced"):
        decode_left(body, PartMade, b"r" * 16, "0000", ring)
    assert decode_left(body, PartMade, b"r" * 16, "0000", ring, by_any_root=True) == part


def test_remembered_root_tells_that_all_tiers_were_rolled_back() -> None:
    """Whoever saw the change believes no tier that shows less; an operator may."""
    scene = Scene(("a",))
    scene.backup(photos(2), "before")
    older = MemoryObjectStore(
        "a", objects={each.key: scene.store("a").get(each.key) for each in scene.store("a").list("")}
    )
    change_root(scene.repository, scene.provider)
    state = scene.reopen().tier("a").log.state
    seen = {"": [SeenTier(state.tier_id, state.head, state.root)]}
    repository = scene.reopen(stores=[older], known=lambda _: seen)
    assert repository.tier("a").state is TierState.REPLAYED
    assert accept_history(repository, repository.tier("a"))
    assert repository.tier("a").is_ready


def test_nothing_is_written_into_the_domain_of_roots() -> None:
    """Whoever had it would sign; neither before there is one nor afterwards is it anybody's."""
    scene = Scene(("a",))
    for _ in range(2):
        with pytest.raises(KeyNotGiven):
            add_generation(scene.repository, scene.provider, "root")
        with pytest.raises(UnknownKey):
            scene.repository.keys.active("root")
        change_root(scene.repository, scene.provider)


def _named_elsewhere(scene: Scene) -> list[str]:
    """Key objects that lie on `a` alone."""
    return [each.key for each in scene.store("a").list("keys/") if scene.store("b").head(each.key) is None]


@pytest.mark.parametrize("what", ["a hold", "forgetting", "a prune", "an index"])
def test_something_else_under_a_keys_name_is_not_that_key(what: str) -> None:
    """Nothing is written to such a tier under a root that it has not: it can be read alone as before."""
    scene, first = _changed_while_b_was_away()
    for key in _named_elsewhere(scene):
        scene.store("b").put(key, b"rubbish")
    number = scene.reopen().tier("b").log.state.head.number
    with suppress(TierBehind):
        _WRITES[what](scene, scene.reopen(), first.id)
    alone = scene.reopen(stores=[scene.store("b")])
    assert (alone.tier("b").is_ready, alone.tier("b").log.state.head.number) == (True, number), alone.states()
    assert read_back(alone, first, alone.tier("b")) == photos(2)


def test_something_else_under_the_name_of_a_key_of_which_a_tier_has_not_heard_is_damage_and_is_repaired() -> None:
    """It kept the tier behind for ever, was called a thing that no log names, and `repair` found nothing."""
    scene, first = _changed_while_b_was_away()
    rubbish = _named_elsewhere(scene)
    for key in rubbish:
        scene.store("b").put(key, b"rubbish")
    repository = scene.reopen()
    found = {(each.object_key, each.problem, each.repairable_from) for each in check(repository, tiers=["b"]).findings}
    assert found == {(key, Problem.KEY, ("a",)) for key in rubbish}
    result = repair(repository, repository.tier("b"))
    assert (result.is_complete, result.set_aside.keys()) == (True, set(rubbish))
    assert all(scene.store("b").get(aside) == b"rubbish" for aside in result.set_aside.values())
    catch_up(repository, repository.tier("b"))
    assert check(scene.reopen()).findings == []
    alone = scene.reopen(stores=[scene.store("b")])
    assert read_back(alone, first, alone.tier("b")) == photos(2)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_file_in_the_place_of_a_key_is_damage_and_is_set_aside(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """Whether the tier's own log names the key, or it was away and another one's does."""
    stores = [DirectoryObjectStore(str(tmp_path / name), name=name) for name in ("a", "b")]
    scene = Scene(stores=stores)
    rewrap(scene.repository, key_file(1))
    (own, *_) = [each.key for each in stores[1].list("keys/")]
    scene.reopen(stores=stores[:1])
    add_generation(scene.repository, scene.provider)
    (others, *_) = [each.key for each in stores[0].list("keys/") if stores[1].head(each.key) is None]
    stores[1].delete(own)
    for key in (own, others):
        make(tmp_path / "b" / key)
    repository = scene.reopen()
    found = check(repository, tiers=["b"]).damage
    assert {(each.problem, each.object_key, each.repairable_from) for each in found} == {
        (Problem.KEY, own, ("a",)),
        (Problem.KEY, others, ("a",)),
    }
    assert repair(repository, repository.tier("b")).is_complete
    assert check(scene.reopen()).damage == []
