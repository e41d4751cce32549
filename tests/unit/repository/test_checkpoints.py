"""Checkpoints: opening reads the newest and what came after; whatever else lies there is believed by nobody."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from repository.errors import AccessDenied, Damaged, UnsupportedFormat
from repository.keys import crypto
from repository.log.checkpoints import checkpoint_from, state_from
from repository.log.commit_log import CHECKPOINT_EVERY, CommitLog, entries_between
from repository.log.shared_map import OVERLAY_MAX, SharedMap
from repository.log.state import Head, LogState
from repository.log.tail import TAIL_EVERY, TAIL_KEY
from repository.opened.open_tier import TierState
from repository.stored.checkpoint import (
    KeptTags,
    checkpoint_object_key,
    checkpoint_of,
    decode_checkpoint,
    encode_checkpoint,
)
from repository.stored.log_entry import (
    Body,
    HoldPlaced,
    HoldReleased,
    IndexChanged,
    KeksEnded,
    KeysDestroyed,
    PacksMarked,
    PacksSwept,
    PacksUnmarked,
    SnapshotsForgotten,
    SnapshotsTagged,
    SweepBegun,
    entry_object_key,
)
from repository.streams.stream import open_stream
from repository.tiers.local_cache import LocalCache
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.accepted_history import accept_history
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from repository.upkeep.repair import repair
from tests.support.repositories import Scene, SeededRandomness, key_file, photos, read_back


class _Counting(MemoryObjectStore):
    """Remembers what was read."""

    def __init__(self, name: str, objects: dict[str, bytes]) -> None:
        super().__init__(name, objects=objects)
        self.got: list[str] = []

    def get(self, key: str, **options: object) -> bytes:
        self.got.append(key)
        return super().get(key, **options)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repository.log.commit_log.CHECKPOINT_EVERY", 8)


def _scene(count: int = 9, names: tuple[str, ...] = ("a",)) -> Scene:
    scene = Scene(names)
    for number in range(count):
        scene.backup(photos(2, number), f"run {number}")
    return scene


def _below(store: MemoryObjectStore, prefix: str) -> list[str]:
    return [info.key for info in store.list(prefix)]


def test_opening_reads_the_newest_checkpoint_and_what_came_after() -> None:
    """Not the entries before it; the state is the one that all entries add up to."""
    scene = _scene()
    (made,) = _below(scene.store("a"), "checkpoints/")
    number, digest = checkpoint_of(made) or (0, b"")
    assert crypto.sha256(scene.store("a").get(made)) == digest
    store = _Counting("a", scene.store("a").contents())
    log = scene.reopen(stores=[store]).tier("a").log
    assert min(key for key in store.got if key.startswith("log/")) == entry_object_key(number)
    assert len([key for key in store.got if key.startswith("log/")]) == log.state.head.number - number + 1
    assert log.state.base == number
    whole = log.whole()
    assert list(log.state.snapshots) == list(whole.snapshots)
    assert [each.manifest for each in log.state.snapshots.values()] == [
        each.manifest for each in whole.snapshots.values()
    ]
    for name in ("by_token", "entry_of", "segments", "replaced_segments", "key_objects", "tier_id", "snapshot_count"):
        assert getattr(log.state, name) == getattr(whole, name), name
    assert log.state.head == whole.head
    assert check(scene.repository, read_percent=100).findings == []


# What lies behind a checkpoint in one object


def _long(monkeypatch: pytest.MonkeyPatch, count: int = 14) -> Scene:
    """A log with a checkpoint and, behind it, a tail and entries that are not in it yet."""
    scene = _scene()
    monkeypatch.setattr("repository.log.commit_log.CHECKPOINT_EVERY", 1000)
    for number in range(count):
        scene.backup(photos(1, 100 + number), f"later {number}")
    return scene


def _opened(objects: dict[str, bytes], scene: Scene) -> tuple[LogState, list[str]]:
    store = _Counting("a", objects)
    state = scene.reopen(stores=[store]).tier("a").log.state
    return state, [key for key in store.got if key.startswith(("log/", TAIL_KEY))]


def test_opening_asks_for_few_entries_however_many_lie_behind_the_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tail has them; those that came after it, the last one and the checkpoint's own are read from their places."""
    scene = _long(monkeypatch)
    state, got = _opened(scene.store("a").contents(), scene)
    whole = scene.tier("a").log.whole()
    assert list(state.snapshots) == list(whole.snapshots)
    assert (state.head, state.segments, state.by_token) == (whole.head, whole.segments, whole.by_token)
    behind = state.head.number - state.base
    assert behind > TAIL_EVERY + 4
    assert len(got) <= 1 + 1 + TAIL_EVERY
    assert check(scene.reopen(), read_percent=100).findings == []


def test_writer_that_opened_with_a_tail_makes_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in a process of its own, as from a command line: the tail keeps up."""
    scene = _long(monkeypatch, 0)
    for number in range(3 * TAIL_EVERY):
        scene.reopen()
        scene.backup(photos(1, 200 + number), f"alone {number}")
        state, got = _opened(scene.store("a").contents(), scene)
        assert len(got) <= 2 + TAIL_EVERY + 2
        assert not state.faults
    assert len(scene.reopen().snapshots()) == 9 + 3 * TAIL_EVERY


def _tail_cut(objects: dict[str, bytes], _older: bytes) -> None:
    objects[TAIL_KEY] = objects[TAIL_KEY][:-70]


def _tail_noise(objects: dict[str, bytes], _older: bytes) -> None:
    objects[TAIL_KEY] = secrets.token_bytes(5000)


def _tail_flipped(objects: dict[str, bytes], _older: bytes) -> None:
    body = bytearray(objects[TAIL_KEY])
    body[200] ^= 1
    objects[TAIL_KEY] = bytes(body)


def _tail_older(objects: dict[str, bytes], older: bytes) -> None:
    objects[TAIL_KEY] = older


def _tail_huge(objects: dict[str, bytes], _older: bytes) -> None:
    objects[TAIL_KEY] = bytes(17 << 20)


def _tail_gone(objects: dict[str, bytes], _older: bytes) -> None:
    del objects[TAIL_KEY]


@pytest.mark.parametrize("change", [_tail_cut, _tail_noise, _tail_flipped, _tail_older, _tail_huge, _tail_gone])
def test_tail_that_is_of_no_use_costs_the_reading_of_entries(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, bytes], bytes], None]
) -> None:
    """Stale, cut, forged, too long: the state is that of the entries themselves."""
    scene = _long(monkeypatch)
    older = scene.store("a").get(TAIL_KEY)
    for number in range(9):
        scene.backup(photos(1, 300 + number), f"last {number}")
    objects = scene.store("a").contents()
    change(objects, older)
    state, _ = _opened(objects, scene)
    assert not state.faults
    assert list(state.snapshots) == list(scene.tier("a").log.whole().snapshots)


def test_tail_hides_neither_an_entry_that_is_gone_nor_a_log_that_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has their bytes, and what counts is what the tier has."""
    scene = _long(monkeypatch)
    head = scene.tier("a").log.state.head.number
    base = _opened(scene.store("a").contents(), scene)[0].base
    objects = scene.store("a").contents()
    del objects[entry_object_key(base + 3)]
    state, _ = _opened(objects, scene)
    assert [fault.number for fault in state.faults] == [base + 3]
    objects = scene.store("a").contents()
    for number in range(base + 4, head + 1):
        del objects[entry_object_key(number)]
    state, _ = _opened(objects, scene)
    assert state.head.number == base + 3


def test_tail_of_another_history_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Genuine entries of the same numbers that the log's own end does not continue: then each is read itself."""
    scene = _long(monkeypatch, 0)
    before = scene.store("a").contents()
    for number in range(12):
        scene.backup(photos(1, 400 + number), f"this {number}")
    other_tail = scene.store("a").get(TAIL_KEY)
    scene.reopen(stores=[MemoryObjectStore("a", objects=before)])
    for number in range(12):
        scene.backup(photos(1, 400 + number), f"that {number}")
    objects = scene.tier("a").store.contents()  # type: ignore[attr-defined]
    assert objects[TAIL_KEY] != other_tail
    objects[TAIL_KEY] = other_tail
    state, _ = _opened(objects, scene)
    assert not state.faults
    assert {token for token in state.by_token if token.startswith("th")} == {f"that {number}" for number in range(12)}


def test_entry_that_was_damaged_behind_the_checkpoint_is_found_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening may have it from the tail; a check reads the entry itself."""
    scene = _long(monkeypatch)
    base = _opened(scene.store("a").contents(), scene)[0].base
    key = entry_object_key(base + 3)
    body = scene.store("a").get(key)
    scene.store("a").put(key, bytes([body[0] ^ 1]) + body[1:])
    repository = scene.reopen()
    report = check(repository)
    assert (Problem.LOG_ENTRY, key) in {(finding.problem, finding.object_key) for finding in report.findings}
    assert repair(repository, repository.tier("a"), report).is_complete
    assert scene.store("a").get(key) == body
    assert check(scene.reopen()).findings == []


@pytest.mark.parametrize(("snapshots", "entries"), [(1, 16), (800, 50), (5_000, 256), (100_000, 1_562)])
def test_checkpoints_are_seldom_where_they_are_long(
    monkeypatch: pytest.MonkeyPatch, snapshots: int, entries: int
) -> None:
    """So that their share in what a commit costs does not grow."""
    monkeypatch.undo()
    assert entries_between(snapshots) == entries


def test_checkpoints_are_seldom_too_where_forgotten_snapshots_make_them_long() -> None:
    """A source that keeps few snapshots and has forgotten many pays no more for each commit."""
    assert entries_between(10, 2_000) == CHECKPOINT_EVERY
    assert entries_between(10, 100_000) == 256
    assert entries_between(10, 800_000) == entries_between(100_010, 0)


def test_replaced_segments_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last ones; so a checkpoint does not grow with each compaction, and says the same as the log."""
    monkeypatch.setattr("repository.log.state.REPLACED_MAX", 5)
    scene = Scene()
    tier = scene.tier("a")
    for number in range(9):
        scene.backup(photos(1, seed=number), f"run {number}")
        tier.refresh()
        tier.change_index((), list(tier.log.state.segments), "replaced")
    state = tier.log.state
    names = list(state.replaced_segments)
    assert len(names) == 5
    assert tier.log.checkpoint(is_due=True)
    assert list(scene.reopen().tiers[0].log.state.replaced_segments) == names
    for number in range(3):
        scene.backup(photos(1, seed=20 + number), f"again {number}")
    tier = scene.tier("a")
    tier.change_index((), list(tier.log.state.segments), "replaced")
    assert len(tier.log.state.replaced_segments) == 5
    assert list(tier.log.state.replaced_segments)[:2] == names[-2:]


def test_writers_go_on_behind_a_checkpoint() -> None:
    """New snapshots, new checkpoints, and of the old ones only a few stay."""
    scene = _scene()
    for number in range(40):
        scene.reopen()
        scene.backup(photos(1, 100 + number), f"later {number}")
    repository = scene.reopen()
    assert len(repository.snapshots()) == 49
    assert len(_below(scene.store("a"), "checkpoints/")) == 3
    assert repository.tier("a").log.state.checkpoint is not None
    assert read_back(repository, repository.find_snapshot("latest"), repository.tier("a")) == photos(1, 139)
    assert check(repository, read_percent=100).findings == []


def test_two_writers_at_one_checkpoint_leave_two_good_ones() -> None:
    """Each is named by its digest, one is named by an entry, and both open."""
    scene = _scene(3)
    logs = [scene.reopen().tier("a").log for _ in range(2)]
    for log in logs:
        while log.state.head.number < 12:
            log.append(lambda _: IndexChanged(time_ns=1))
    first, second = logs
    assert first.checkpoint()
    second.refresh()
    # The other one had begun before the first one's entry was there.
    second.checkpoints.add(second.whole(), 1, SeededRandomness(77))
    assert not second.checkpoint()
    for made in _below(scene.store("a"), "checkpoints/"):
        objects = scene.store("a").contents()
        for other in _below(scene.store("a"), "checkpoints/"):
            if other != made:
                del objects[other]
        repository = scene.reopen(stores=[MemoryObjectStore("a", objects=objects)])
        assert repository.tier("a").state is TierState.READY
        assert repository.tier("a").log.state.base
        assert len(repository.snapshots()) == 3


def _stale(objects: dict[str, bytes], made: str, _other: Scene) -> None:
    """Of an older state: the newest one is gone."""
    del objects[made]


def _forged(objects: dict[str, bytes], made: str, _other: Scene) -> None:
    """Signed by nobody, under a name that fits its bytes and a number far away."""
    body = secrets.token_bytes(500)
    objects[checkpoint_object_key(10**12, crypto.sha256(body))] = body


def _cut(objects: dict[str, bytes], made: str, _other: Scene) -> None:
    objects[made] = objects[made][:100]


def _empty(objects: dict[str, bytes], made: str, _other: Scene) -> None:
    objects[made] = b""


def _flipped(objects: dict[str, bytes], made: str, _other: Scene) -> None:
    body = bytearray(objects[made])
    body[len(body) // 2] ^= 1
    objects[made] = bytes(body)


def _renumbered(objects: dict[str, bytes], made: str, _other: Scene) -> None:
    """A genuine one under a later number."""
    number, digest = checkpoint_of(made) or (0, b"")
    objects[checkpoint_object_key(number + 1, digest)] = objects[made]


def _of_another_tier(objects: dict[str, bytes], made: str, other: Scene) -> None:
    """Genuine, of the same repository, and not this tier's."""
    del objects[made]
    for key in _below(other.store("b"), "checkpoints/"):
        objects[key] = other.store("b").get(key)


@pytest.mark.parametrize("change", [_stale, _forged, _cut, _empty, _flipped, _renumbered, _of_another_tier])
def test_checkpoint_that_is_of_no_use_costs_the_reading_of_the_log(
    change: Callable[[dict[str, bytes], str, Scene], None],
) -> None:
    """Whatever lies there, the state is that of the log; what is no good is named by a check, and repaired."""
    scene = _scene(9, ("a", "b"))
    objects = scene.store("a").contents()
    expected = scene.tier("a").log.whole()
    change(objects, _below(scene.store("a"), "checkpoints/")[-1], scene)
    store = MemoryObjectStore("a", objects=objects)
    repository = scene.reopen(stores=[store])
    tier = repository.tier("a")
    assert tier.state is TierState.READY
    assert tier.log.state.head == expected.head
    assert list(tier.log.state.snapshots) == list(expected.snapshots)
    report = check(repository)
    assert {finding.problem for finding in report.findings} <= {Problem.CHECKPOINT}
    assert repair(repository, tier, report).is_complete
    assert check(scene.reopen(stores=[store])).findings == []
    scene.backup(photos(1, 50), "and on")
    assert len(scene.reopen(stores=[store]).snapshots()) == 10


def test_tier_that_was_rolled_back_behind_its_checkpoint_shows() -> None:
    """Its log is shorter than a checkpoint that it signed itself: nobody writes there."""
    scene = _scene()
    (made,) = _below(scene.store("a"), "checkpoints/")
    number, _ = checkpoint_of(made) or (0, b"")
    objects = scene.store("a").contents()
    for key in list(objects):
        if key.startswith("log/") and key >= entry_object_key(number - 1):
            del objects[key]
    repository = scene.reopen(stores=[MemoryObjectStore("a", objects=objects)])
    assert repository.tier("a").state is TierState.REPLAYED
    assert check(repository).damage != []


def test_head_that_was_seen_before_the_checkpoint_is_compared_with_its_entry() -> None:
    """The state remembers no digests from before; the entry itself does."""
    scene = _scene()
    log = scene.reopen().tier("a").log
    assert log.state.base > 4
    whole = log.whole()
    assert not log.contradicts(Head(4, whole.digest_of(4)))
    assert log.contradicts(Head(4, b"x" * 32))
    assert not log.contradicts(Head(log.state.head.number, log.state.head.digest))
    scene.store("a").delete(entry_object_key(4))
    assert not log.contradicts(Head(4, b"x" * 32))  # nobody knows it any more


def test_each_field_of_a_state_survives_a_checkpoint() -> None:
    """Whatever entries can say, a checkpoint says it, too."""
    scene = _scene(4)
    log = scene.tier("a").log
    first, second, *_ = log.state.snapshots
    bodies: list[Body] = [
        PacksMarked(time_ns=1, packs=("01" * 32, "02" * 32, "03" * 32)),
        SweepBegun(time_ns=1, packs=("01" * 32, "02" * 32)),
        PacksUnmarked(time_ns=1, packs=("01" * 32, "03" * 32)),
        PacksSwept(time_ns=1, packs=("02" * 32,)),
        SnapshotsForgotten(time_ns=1, snapshots=(first,), reason="too old"),
        HoldPlaced(time_ns=1, name="court", snapshots=(second,)),
        HoldPlaced(time_ns=1, name="all"),
        HoldReleased(time_ns=1, name="all"),
        KeysDestroyed(time_ns=1, key_ids=("ab" * 16,)),
        KeksEnded(time_ns=1, keks=("cd" * 16,)),
        SnapshotsTagged(time_ns=1, snapshots=(second,), tags=("kept",), revision=2),
        SnapshotsTagged(time_ns=1, snapshots=(second,), tags=("older",), revision=1),
    ]
    for body in bodies:
        log.append(lambda _, body=body: body)  # type: ignore[misc]
    state = log.state
    assert state.marked_packs == state.swept_packs == {b"\1" * 32}  # swept ones cannot be unmarked
    assert first not in state.snapshots
    assert state.by_token["run 0"] == first
    assert state.holds == {"court": (second,)}
    assert state.destroyed_keys == {"ab" * 16}
    assert state.ended_keks == {"cd" * 16}
    assert state.tags == {second: KeptTags(2, ("kept",))}
    back = state_from(checkpoint_from(state, 5), state.repository_id, state.genesis, state.root)
    for name in msgspec.structs.fields(type(checkpoint_from(state, 5))):
        assert getattr(checkpoint_from(back, 5), name.name) == getattr(checkpoint_from(state, 5), name.name), name.name
    assert back.head == state.head
    assert back.without_old_digests() == state.without_old_digests()


def test_snapshot_that_was_forgotten_does_not_come_back_with_its_run() -> None:
    """A run token is committed once, also when the snapshot is gone meanwhile."""
    from repository.errors import SnapshotNotFound

    scene = _scene(1)
    (snapshot,) = scene.repository.snapshots()
    tier = scene.tier("a")
    tier.log.append(lambda _: SnapshotsForgotten(time_ns=1, snapshots=(snapshot.id,)))
    with pytest.raises(SnapshotNotFound, match="forgotten"):
        tier.commit_snapshot(snapshot.body, packs=())


def test_checkpoint_is_authentic_or_damaged() -> None:
    """Signature, number and format are checked."""
    scene = _scene(2)
    root, log = scene.repository.keys.root, scene.tier("a").log
    made = checkpoint_from(log.state, 5)
    body = encode_checkpoint(made, root, SeededRandomness())
    assert decode_checkpoint(body, made.number, scene.repository.keys) == made
    with pytest.raises(Damaged, match="not signed"):
        decode_checkpoint(body, made.number + 1, scene.repository.keys)
    later = encode_checkpoint(msgspec.structs.replace(made, format=2), root, SeededRandomness())
    with pytest.raises(UnsupportedFormat):
        decode_checkpoint(later, made.number, scene.repository.keys)


@pytest.mark.parametrize("key", ["checkpoints/1-" + "a" * 64, "checkpoints/" + "1" * 16, "checkpoints/x", "x"])
def test_other_names_are_no_checkpoints(key: str) -> None:
    """Sixteen digits, a dash, a digest."""
    assert checkpoint_of(key) is None


# Shared maps


def test_shared_map_is_a_dictionary_of_which_old_versions_stay_as_they_are() -> None:
    """Against a dictionary, over many forks."""
    versions: list[tuple[SharedMap[int, int], dict[int, int]]] = [(SharedMap(), {})]
    for step in range(3 * OVERLAY_MAX):
        shared, model = versions[-1][0].fork(), dict(versions[-1][1])
        shared[step], model[step] = step, step
        if step % 3 == 0:
            shared[step // 2] = model[step // 2] = -step
        if step % 5 == 0:
            del shared[step // 3 * 0 + step], model[step]
        versions.append((shared, model))
    for shared, model in versions[:: OVERLAY_MAX // 5]:
        assert shared == model
        assert len(shared) == len(model)
        assert list(reversed(shared)) == list(shared)[::-1]
        assert 10**9 not in shared
    with pytest.raises(KeyError):
        del versions[-1][0][10**9]
    with pytest.raises(KeyError):
        versions[-1][0][0]
    assert "SharedMap" in repr(versions[1][0])


# Copied tiers


def test_one_log_on_two_tiers_is_seen_and_can_be_made_two() -> None:
    """Copied over another's, or seeded by copying: the copy is not written, until somebody says that it is meant."""
    scene = _scene(3)
    copy = MemoryObjectStore("copy", objects=scene.store("a").contents())
    repository = scene.reopen(stores=[scene.store("a"), copy])
    assert repository.tier("a").state is TierState.READY
    assert repository.tier("copy").state is TierState.REPLAYED
    assert "another one" in str(repository.tier("copy").error)
    assert accept_history(repository, repository.tier("copy"))
    assert not accept_history(repository, repository.tier("copy"))
    repository = scene.reopen(stores=[scene.store("a"), copy])
    assert {tier.state for tier in repository.tiers} == {TierState.READY}
    assert len({tier.log.state.tier_id for tier in repository.tiers}) == 2
    scene.backup(photos(1, 9), "both")
    repository = scene.reopen(stores=[scene.store("a"), copy])
    assert [len(tier.snapshots()) for tier in repository.tiers] == [4, 4]
    assert check(repository, read_percent=100).findings == []


def test_entry_of_another_tiers_log_is_a_fault() -> None:
    """Signed, of the same repository and number, and not this log's."""
    scene = _scene(3, ("a", "b"))
    scene.store("a").put(entry_object_key(4), scene.store("b").get(entry_object_key(4)))
    assert scene.reopen().tier("a").log.state.faults[0].number == 4


# The cache on the local disk


def _remote(scene: Scene) -> _Counting:
    return _Counting("a", scene.store("a").contents())


def _open(scene: Scene, store: MemoryObjectStore, cache: LocalCache) -> LogState:
    return scene.reopen(stores=[store], cache=cache).tier("a").log.state


def test_what_was_read_before_is_read_from_the_local_disk(tmp_path: Path) -> None:
    """Segments and checkpoints, by their digests; the second opening fetches neither."""
    scene = _scene()
    cache = LocalCache(tmp_path / "cache")
    first, second = _remote(scene), _remote(scene)
    expected = _open(scene, first, cache)
    assert [key for key in first.got if key.startswith("index/")]
    assert _open(scene, second, cache) == expected
    assert not [key for key in second.got if key.startswith(("index/", "checkpoints/"))]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (tmp_path / "cache").iterdir())


@pytest.mark.parametrize("damage", ["flip", "empty", "folder", "link", "pipe"])
def test_cache_that_somebody_changed_is_not_believed(tmp_path: Path, damage: str) -> None:
    """What does not have its name's digest is fetched again."""
    scene = _scene()
    cache = LocalCache(tmp_path / "cache")
    expected = _open(scene, _remote(scene), cache)
    for path in list((tmp_path / "cache").iterdir()):
        body = path.read_bytes()
        path.unlink()
        if damage == "flip":
            path.write_bytes(bytes([body[0] ^ 1]) + body[1:])
        elif damage == "empty":
            path.write_bytes(b"")
        elif damage == "folder":
            path.mkdir()
        elif damage == "link":
            (tmp_path / path.name).write_bytes(body)
            path.symlink_to(tmp_path / path.name)
        else:
            import os

            os.mkfifo(path)
    store = _remote(scene)
    assert _open(scene, store, cache) == expected
    assert [key for key in store.got if key.startswith("index/")]


def test_cache_is_bounded_and_the_least_recently_used_goes(tmp_path: Path) -> None:
    """Whatever is put, ours in the folder takes no more than it may; what is somebody else's stays, and counts not."""
    others = ["wedding.tar", "ab" * 32, f"new-{'0' * 16}", f"wedsync-{'a' * 63}", ".hidden"]
    (tmp_path / "cache").mkdir(mode=0o700)
    for name in others:
        (tmp_path / "cache" / name).write_bytes(bytes(20_000))
        os.utime(tmp_path / "cache" / name, ns=(0, 0))
    (tmp_path / "cache" / f"wedsync-new-{'0' * 16}").write_bytes(bytes(5_000))
    os.utime(tmp_path / "cache" / f"wedsync-new-{'0' * 16}", ns=(0, 0))
    cache = LocalCache(tmp_path / "cache", bytes_max=10_000)
    bodies = [secrets.token_bytes(1_000) for _ in range(25)]
    for number, body in enumerate(bodies):
        cache.put(crypto.sha256(body), body)
        path = tmp_path / "cache" / f"wedsync-{crypto.sha256(body).hex()}"
        os.utime(path, ns=(number + 1, number + 1))
        sizes = {path.name: path.stat().st_size for path in (tmp_path / "cache").iterdir()}
        assert [sizes.pop(name) for name in others] == [20_000] * len(others)
        assert sum(sizes.values()) <= 10_000
    assert cache.get(crypto.sha256(bodies[-1]), 10_000) == bodies[-1]
    assert cache.get(crypto.sha256(bodies[0]), 10_000) is None
    cache.put(b"x" * 32, bytes(10_001))
    assert cache.get(b"x" * 32, 100_000) is None


def test_cache_of_several_processes_is_bounded_as_one(tmp_path: Path) -> None:
    """Each looks at what is in the folder, and not at what it has put there itself."""
    caches = [LocalCache(tmp_path / "cache", bytes_max=10_000) for _ in range(3)]
    for _ in range(9):
        for cache in caches:
            body = secrets.token_bytes(1_000)
            cache.put(crypto.sha256(body), body)
            assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) <= 10_000
            assert cache.get(crypto.sha256(body), 10_000) == body


def test_cache_does_not_look_at_its_whole_folder_for_each_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be thousands in it. The nearer the bound is, the more often it looks."""
    looks: list[object] = []
    scandir = os.scandir
    monkeypatch.setattr("repository.tiers.local_cache.os.scandir", lambda path: looks.append(path) or scandir(path))
    cache = LocalCache(tmp_path / "cache", bytes_max=1_000_000)
    bodies = [secrets.token_bytes(1_000) for _ in range(500)]
    for body in bodies:
        cache.put(crypto.sha256(body), body)
    assert 1 < len(looks) < 20
    assert all(cache.get(crypto.sha256(body), 1_000) == body for body in bodies)


def test_cache_goes_on_when_another_process_takes_what_is_being_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That object is not kept, and the next one is."""
    cache, replace = LocalCache(tmp_path / "cache"), os.replace

    def taken(source: Path, target: Path) -> None:
        source.unlink()
        replace(source, target)

    body = secrets.token_bytes(1_000)
    with monkeypatch.context() as patch:
        patch.setattr("repository.tiers.local_cache.os.replace", taken)
        cache.put(crypto.sha256(body), body)
    assert cache.is_usable
    assert cache.get(crypto.sha256(body), 10_000) is None
    cache.put(crypto.sha256(body), body)
    assert cache.get(crypto.sha256(body), 10_000) == body


def test_cache_on_a_disk_that_takes_nothing_costs_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full, gone, or of somebody else: what is read is the same."""
    scene = _scene()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("repository.tiers.local_cache.os.replace", full)
        cache = LocalCache(tmp_path / "cache")
        expected = _open(scene, _remote(scene), cache)
        assert not cache.is_usable
        assert _open(scene, _remote(scene), cache) == expected
        assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    assert not LocalCache(tmp_path / "file" / "cache").is_usable
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert not LocalCache(tmp_path / "open").is_usable
    for place in (tmp_path / "file" / "cache", tmp_path / "open"):
        assert _open(scene, _remote(scene), LocalCache(place)) == expected
    assert list((tmp_path / "open").iterdir()) == []


def test_key_of_the_scene_opens_what_a_checkpoint_holds() -> None:
    """A checkpoint is of no use to who has no key."""
    scene = _scene()
    (made,) = _below(scene.store("a"), "checkpoints/")
    assert b"run 0" not in scene.store("a").get(made)
    assert key_file(0).kek_id() != key_file(1).kek_id()


def test_log_that_is_short_has_no_checkpoint() -> None:
    """And a log with faults gets none."""
    scene = _scene(2)
    log: CommitLog = scene.tier("a").log
    assert not log.checkpoint()
    assert _below(scene.store("a"), "checkpoints/") == []


class _Denying(MemoryObjectStore):
    """Gives nothing below a prefix, as the system does of another user's files."""

    denied = "?"

    def get(self, key: str, **options: object) -> bytes:
        if key.startswith(self.denied):
            raise AccessDenied("permission denied", tier=self.name, key=key)
        return super().get(key, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("prefix", ["checkpoints/0", "streams/", "snapshots/"])
def test_what_may_not_be_read_is_unknown_by_its_name_and_the_rest_is_looked_at(prefix: str) -> None:
    """A check of the whole tier ended there."""
    scene = _scene()
    open_stream(scene.repository, "wal").append(b"written ahead")
    store = _Denying("a", objects=scene.store("a").contents())
    store.denied = prefix
    report = check(scene.reopen(stores=[store]), read_percent=100)
    assert [(each.problem, each.object_key.startswith(prefix)) for each in report.findings] == [(Problem.TIER, True)]
    assert report.tiers["a"].packs_read == report.tiers["a"].packs > 0
