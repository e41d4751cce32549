"""Checking, repairing and catching up tiers with streams."""

from collections.abc import Callable

import pytest

from repository.backup.backup import BackupOptions, BackupResult, backup
from repository.backup.fanout import Delivery
from repository.errors import NoUsableTier
from repository.opened.repository import Repository
from repository.stored.log_entry import Bridged, Entry, StreamAppended, entry_object_key
from repository.stored.snapshot import streams_of
from repository.streams.on_tier import StreamHead
from repository.streams.stream import open_stream
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.catch_up import catch_up, lag
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from repository.upkeep.log_repair import FaultyLog
from repository.upkeep.quarantine import QUARANTINE_PREFIX
from repository.upkeep.repair import repair
from repository.upkeep.stream_check import lacking
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.repositories import Scene
from tests.support.streams import WAL, Away, bytes_of, filled, fork, key_of

DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda _: None,
    "flipped": lambda body: body[:150] + bytes([body[150] ^ 1]) + body[151:],
    "cut": lambda body: body[:-9],
    "empty": lambda _: b"",
}


def problems(repository: Repository, percent: float = 100) -> list[tuple[str, Problem, str]]:
    """What a check finds."""
    return [(each.tier, each.problem, each.object_key) for each in check(repository, read_percent=percent).findings]


def hurt(store: MemoryObjectStore, key: str, change: Callable[[bytes], bytes | None]) -> None:
    """Change an object, or take it away."""
    body = change(store.get(key))
    store.delete(key)
    if body is not None:
        store.put(key, body)


def test_whole_streams_are_counted_and_nothing_is_found() -> None:
    """Said in the log or not yet."""
    scene = Scene(("a", "b"))
    stream = filled(scene)
    assert problems(scene.reopen()) == []
    stream.say()
    stream.append(b"more")
    report = check(scene.reopen(), read_percent=100)
    assert report.findings == []
    assert [(each.streams, each.pieces, each.pieces_read) for each in report.tiers.values()] == [(1, 6, 6), (1, 6, 6)]
    assert check(scene.repository).tiers["a"].pieces_read == 2
    open_stream(scene.repository, "empty")
    assert check(scene.reopen()).findings == []
    assert check(scene.repository).tiers["a"].streams == 2


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("number", range(1, 6))
def test_piece_is_found_and_made_whole_from_the_other_tier(
    number: int, change: Callable[[bytes], bytes | None]
) -> None:
    """What lay there is kept; without another tier it stays named."""
    scene = Scene(("a", "b"))
    filled(scene).say()
    whole = bytes_of(scene.repository)
    store, key = scene.store("a"), key_of(scene.repository, number)
    before = store.get(key)
    hurt(store, key, change)
    alone = scene.reopen(stores=scene.stores[:1])
    assert ("a", Problem.STREAM_PIECE, key) in problems(alone)
    left = repair(alone, alone.tier("a"), check(alone, read_percent=100))
    assert not left.is_complete
    assert key in {each.object_key for each in left.unrepaired}
    repository = scene.reopen()
    assert problems(repository) == [("a", Problem.STREAM_PIECE, key)]
    report = check(repository, read_percent=100)
    assert report.findings[0].repairable_from == ("b",)
    result = repair(repository, repository.tier("a"), report)
    assert result.is_complete
    assert store.get(key) == before
    assert (key in result.set_aside) == (change(before) is not None)
    assert problems(scene.reopen()) == []
    assert bytes_of(scene.repository, tiers=["a"]) == whole


def test_missing_piece_is_found_without_reading() -> None:
    """By the listing, and the last ones by reading."""
    scene = Scene(("a", "b"))
    filled(scene, 9).say()
    scene.store("a").delete(key_of(scene.repository, 3))
    scene.store("b").put(key_of(scene.repository, 9), b"")
    found = problems(scene.reopen(), 0)
    assert found == [
        ("a", Problem.STREAM_PIECE, key_of(scene.repository, 3)),
        ("b", Problem.STREAM_PIECE, key_of(scene.repository, 9)),
    ]


def test_all_pieces_of_a_tier_come_back() -> None:
    """Whoever emptied the folder left the log, which says how many there were."""
    scene = Scene(("a", "b"))
    filled(scene).say()
    store = scene.store("a")
    for number in range(1, 6):
        store.delete(key_of(scene.repository, number))
    assert len(problems(scene.reopen())) == 5
    result = repair(scene.repository, scene.repository.tier("a"))
    assert result.is_complete
    assert problems(scene.reopen()) == []
    assert not open_stream(scene.repository, WAL).append(b"on").is_degraded


def test_junk_behind_the_end_is_named_and_taken_away_where_that_is_asked_for() -> None:
    """It keeps the tier from taking pieces; what was there is kept."""
    scene = Scene(("a", "b"))
    filled(scene).say()
    scene.store("a").put(key_of(scene.repository, 6), b"junk")
    repository = scene.reopen()
    assert problems(repository) == [("a", Problem.STREAM_PIECE, key_of(repository, 6))]
    assert not repair(repository, repository.tier("a")).is_complete
    result = repair(repository, repository.tier("a"), bridge=True)
    assert result.is_complete
    assert scene.store("a").get(result.set_aside[key_of(repository, 6)]) == b"junk"
    assert not open_stream(scene.reopen(), WAL).append(b"on").is_degraded


def test_junk_where_the_other_tier_has_a_piece_gives_way_to_it() -> None:
    """Nobody has to say so: the piece is genuine and continues the one before."""
    scene = Scene(("a", "b"))
    stream = filled(scene)
    scene.store("a").put(key_of(scene.repository, 6), b"junk")
    stream.append(b"next")
    repository = scene.reopen()
    assert repair(repository, repository.tier("a")).is_complete
    assert bytes_of(scene.reopen(), tiers=["a"])[-4:] == b"next"


def test_junk_of_no_stream_is_strange_or_nothing() -> None:
    """Anybody can make names; none of it is damage."""
    scene = Scene()
    filled(scene)
    scene.store("a").put("streams/x", b"")
    scene.store("a").put(f"streams/{'0' * 32}/0000000000000/0000000000000001", b"junk")
    repository = scene.reopen()
    found = check(repository)
    assert found.is_ok
    assert {each.problem for each in found.findings} == {Problem.STRANGE}
    assert len(found.findings) == 2


def test_tier_that_was_away_catches_up_with_streams() -> None:
    """Pieces as they are, in their order, and the log says so; again brings nothing more."""
    stores = [Away("a"), Away("b")]
    scene = Scene(stores=stores)
    stores[1].is_away = True
    filled(scene, 30)
    stores[1].is_away = False
    repository = scene.reopen()
    assert lacking(repository, repository.tier("b")) == {WAL: 30}
    result = catch_up(repository, repository.tier("b"))
    assert result.is_complete
    assert (result.streams.pieces, lacking(repository, repository.tier("b"))) == (30, {})
    assert bytes_of(scene.reopen(), tiers=["b"]) == bytes_of(scene.repository, tiers=["a"])
    assert catch_up(scene.repository, scene.repository.tier("b")).streams.pieces == 0
    assert problems(scene.repository) == []
    assert scene.repository.tier("b").log.state.streams[WAL].number == 30


def test_new_tier_gets_the_streams() -> None:
    """An empty place becomes a whole tier."""
    scene = Scene(("a",))
    filled(scene).say()
    store = MemoryObjectStore("new")
    repository = scene.reopen(stores=[*scene.stores, store])
    assert catch_up(repository, repository.tier("new")).streams.pieces == 5
    alone = scene.reopen(stores=[store])
    assert len(bytes_of(alone)) == 15
    assert problems(alone) == []


@pytest.mark.parametrize("loser", ["a", "b"])
def test_fork_is_named_and_given_up_where_that_is_asked_for(loser: str) -> None:
    """One tier's bytes are set aside, the other's taken over; unasked nothing is touched."""
    stores = [Away("a"), Away("b")]
    scene = Scene(stores=stores)
    fork(scene, stores)
    repository = scene.repository
    forked = [each for each in check(repository).findings if each.problem is Problem.STREAM_FORKED]
    assert [(each.tier, each.is_damage) for each in forked] == [("a", True), ("b", True)]
    tier = repository.tier(loser)
    assert not repair(repository, tier).is_complete
    assert not catch_up(repository, tier).is_complete
    assert list(catch_up(repository, tier).streams.left_out) == [WAL]
    assert not repair(repository, tier, bridge=True).is_complete
    report = check(repository)
    result = repair(repository, tier, report, gives_up_streams=True)
    assert result.is_complete, result
    assert all(repair(repository, other, report, gives_up_streams=True).actions == [] for other in repository.tiers)
    aside = [key for key in result.set_aside.values() if key.startswith(QUARANTINE_PREFIX)]
    assert len(aside) == 1
    assert problems(scene.reopen()) == []
    assert bytes_of(scene.repository) == bytes_of(scene.repository, tiers=[loser])
    assert bytes_of(scene.repository) == (b"bothone" if loser == "a" else b"bothtwo")
    assert not open_stream(scene.repository, WAL).append(b"on").is_degraded


def test_stream_that_the_log_lost_is_named_again() -> None:
    """The pieces say what they are."""
    scene = Scene(("a", "b"))
    filled(scene).say()
    repository = scene.repository
    tier = repository.tier("a")
    for number in range(1, tier.log.state.head.number + 1):
        entry = tier.log.entry(number)
        if isinstance(getattr(entry, "body", None), StreamAppended):
            scene.store("a").put(entry_object_key(number), b"")
    repository = scene.reopen()
    result = repair(repository, repository.tier("a"), bridge=True)
    assert result.is_complete, result.unrepaired
    assert scene.reopen().tier("a").log.state.streams[WAL].number == 5
    assert problems(scene.repository) == []


def test_what_the_pieces_prove_is_said_again_where_the_entry_is_lost() -> None:
    """The log had said so before a snapshot that leans on it: repair alone makes it whole, without the writer."""
    scene = Scene(("a",))
    stream = filled(scene)
    _leaning(scene, stream.say())
    log = scene.tier("a").log
    entries = [log.entry(number) for number in range(1, log.state.head.number + 1)]
    said = [each for each in entries if isinstance(each, Entry) and isinstance(each.body, StreamAppended)]
    scene.store("a").put(entry_object_key(said[-1].number), b"")
    repository = scene.reopen()
    assert repair(repository, repository.tier("a"), bridge=True).is_complete
    assert problems(scene.reopen()) == []
    assert scene.tier("a").log.state.streams[WAL].number == 5


def test_what_a_bridged_log_no_longer_names_is_named_as_such() -> None:
    """By a version that bridged it and said nothing again: the pieces are here, and repair finds them."""
    scene = Scene(("a",))
    stream = filled(scene)
    _leaning(scene, stream.say())
    log = scene.tier("a").log
    number = next(
        number
        for number in range(log.state.head.number, 0, -1)
        if isinstance(getattr(log.entry(number), "body", None), StreamAppended)
    )
    scene.store("a").put(entry_object_key(number), b"")
    repository = scene.reopen()
    faulty = next(each for each in FaultyLog(repository, repository.tier("a")).entries() if each.number == number)
    bridge = Bridged(time_ns=1, stands_for=faulty.follower.hex())
    repository.tier("a").log.replace_fault(bridge, faulty.place)
    repository = scene.reopen()
    assert ("a", Problem.STREAM_UNNAMED, key_of(repository, 5)) in problems(repository)
    assert repair(repository, repository.tier("a")).is_complete
    assert problems(scene.reopen()) == []


def test_tier_that_has_the_pieces_and_was_not_told_so_gets_the_snapshot() -> None:
    """Its log did not take the entry that names them, while another one's did."""
    stores = [Away("a"), Away("b")]
    scene = Scene(stores=stores)
    stream = filled(scene)
    stores[1].is_away = True
    head = stream.say()
    stores[1].is_away = False
    repository = scene.reopen(stores=stores[:1])
    snapshot = _leaning(scene, head).snapshot_id
    repository = scene.reopen()
    assert lacking(repository, repository.tier("b")) == {WAL: 0}
    assert lag(repository, repository.tier("b")).streams == {WAL: 0}
    result = catch_up(repository, repository.tier("b"))
    assert (result.snapshots, result.left_out) == ([snapshot], [])
    assert lacking(repository, repository.tier("b")) == {}


def test_tier_that_lacks_pieces_alone_is_behind() -> None:
    """Whoever asks what a tier lacks is told of its streams, too."""
    stores = [Away("a"), Away("b")]
    scene = Scene(stores=stores)
    filled(scene, 2)
    stores[1].is_away = True
    open_stream(scene.repository, WAL).append(b"late")
    stores[1].is_away = False
    repository = scene.reopen()
    found = lag(repository, repository.tier("b"))
    assert (found.streams, found.is_behind) == ({WAL: 1}, True)
    assert catch_up(repository, repository.tier("b")).is_complete
    assert not lag(repository, repository.tier("b")).is_behind


def test_piece_of_another_history_is_named() -> None:
    """Signed as well, and not what the log names."""
    scene, other = Scene(), Scene()
    filled(scene).say()
    stream = open_stream(other.repository, WAL)
    stream.append(b"x" * 14, position=1001)
    store = scene.store("a")
    store.put(key_of(scene.repository, 1), other.store("a").get(key_of(other.repository, 1)))
    assert ("a", Problem.STREAM_PIECE, key_of(scene.repository, 2)) in problems(scene.reopen())


def test_locks_of_pieces_are_checked_and_set_again() -> None:
    """As long as the log says."""
    scene = Scene(stores=[MemoryObjectStore("a", locks=True)])
    stream = open_stream(scene.repository, WAL, lock_days={"a": 30})
    for _ in range(3):
        stream.append(b"locked")
    stream.say()
    store = scene.store("a")
    body = store.get(key_of(scene.repository, 2))
    store._locked_until.pop(key_of(scene.repository, 2))
    store.put(key_of(scene.repository, 2), body)
    repository = scene.reopen()
    assert ("a", Problem.UNLOCKED, key_of(repository, 2)) in problems(repository)
    assert repair(repository, repository.tier("a")).is_complete
    assert problems(scene.reopen()) == []


def test_what_is_repaired_continues_what_is_there() -> None:
    """A genuine piece of another history is not put in the place of a lost one."""
    scene = Scene(("a", "b"))
    filled(scene).say()
    other = Scene()
    stream = open_stream(other.repository, WAL)
    for number in range(5):
        stream.append(b"other%d" % number)
    for number in range(1, 6):
        scene.store("b").put(key_of(scene.repository, number), other.store("a").get(key_of(other.repository, number)))
    scene.store("a").delete(key_of(scene.repository, 3))
    repository = scene.reopen()
    result = repair(repository, repository.tier("a"))
    assert [each.object_key for each in result.unrepaired] == [key_of(repository, 3)]
    assert scene.store("a").head(key_of(repository, 3)) is None


def _leaning(scene: Scene, head: StreamHead, token: str = "leaning") -> BackupResult:
    options = BackupOptions(run_token=token, label="database", streams={WAL: head}, workers=1)
    source = MemorySource(MemoryFolder({b"base": MemoryFile(b"base backup")}))
    return backup(scene.repository, source, options=options)


def test_snapshot_leans_on_a_stream_that_its_tier_has() -> None:
    """A tier that has not as much gets no snapshot, before catch-up has brought it the pieces."""
    stores = [Away("a"), Away("b")]
    scene = Scene(stores=stores)
    filled(scene)
    stores[1].is_away = True
    stream = open_stream(scene.reopen(), WAL)
    stream.append(b"only here")
    head = stream.say()
    stores[1].is_away = False
    scene.reopen()
    result = _leaning(scene, head)
    assert {name: each.state for name, each in result.tiers.items()} == {"a": Delivery.COMMITTED, "b": Delivery.BEHIND}
    assert streams_of(result.snapshot.manifest) == {WAL: (6, head.digest.hex(), head.end)}
    repository = scene.reopen()
    assert catch_up(repository, repository.tier("b")).snapshots == [result.snapshot_id]
    assert problems(scene.reopen()) == []
    assert repository.tier("b").log.state.streams[WAL].number == 6


def test_snapshot_that_leans_on_another_history_is_refused() -> None:
    """Or on what nobody has said is there."""
    scene = Scene()
    stream = filled(scene)
    with pytest.raises(NoUsableTier):
        _leaning(scene, stream.head)
    stream.say()
    for head in (stream.head._replace(digest=bytes(32)), stream.head._replace(number=6)):
        with pytest.raises(NoUsableTier):
            _leaning(scene, head)
    assert _leaning(scene, stream.head).tiers["a"].state is Delivery.COMMITTED


def test_snapshot_whose_stream_the_log_lost_is_named() -> None:
    """And whole again when the stream is."""
    scene = Scene(("a", "b"))
    stream = filled(scene)
    _leaning(scene, stream.say())
    repository = scene.reopen()
    tier = repository.tier("a")
    for number in range(1, tier.log.state.head.number + 1):
        entry = tier.log.entry(number)
        if isinstance(getattr(entry, "body", None), StreamAppended):
            scene.store("a").put(entry_object_key(number), b"")
    repository = scene.reopen()
    assert {problem for _, problem, _ in problems(repository)} >= {Problem.TREE, Problem.STREAM_UNNAMED}
    assert repair(repository, repository.tier("a"), bridge=True).is_complete
    assert problems(scene.reopen()) == []
