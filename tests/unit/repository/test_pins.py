"""What is being read stays while its reader lives, and no longer; see ADR 0076."""

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from repository.backup.backup import BackupOptions, backup
from repository.errors import AccessDenied, PinNotFound, SnapshotNotFound, TierUnreachable
from repository.index.pack_catalog import stored_packs
from repository.opened.compaction import compact_indexes
from repository.opened.key_change import add_generation
from repository.opened.open_tier import OpenTier
from repository.opened.repository import Repository
from repository.prune.prune import PruneOptions, TierPlan, prune
from repository.restore.restore import RestoreOptions, restore
from repository.retention import pin_watch, pins
from repository.retention.erasure import erase, plan_erasure
from repository.retention.holder import has_ended, holder_of
from repository.retention.orders import forget
from repository.retention.pin_watch import SILENT_AFTER, look, release
from repository.retention.pins import Pinning, pinned
from repository.stored.log_entry import SweepBegun
from repository.stored.pin import Pin, decode_pin, encode_pin, pin_object_key, seen_object_key
from repository.stored.snapshot import Snapshot
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import ObjectStore
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check
from repository.upkeep.check_report import Finding, Problem
from repository.upkeep.gone_meanwhile import Standing
from tests.support.dying import Dying
from tests.support.histories import Clock
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.repositories import BrokenStore, Scene, photos, read_back

FILES = photos(3, seed=1)


class _Reading:
    """A repository whose first snapshot is read by one process, while others forget and prune it."""

    def __init__(self, names: str = "a", *, locks: bool = False) -> None:
        self.clock = Clock()
        stores = [MemoryObjectStore(name, locks=locks, clock=self.clock) for name in names]
        self.scene = Scene(stores=stores)
        self.old = cast(Snapshot, self.scene.backup(FILES, "old"))
        self.scene.backup(photos(3, seed=2), "kept")
        self.reader = self.scene.reopen()

    def another(self) -> Repository:
        """As another process opens it."""
        return self.scene.reopen()

    def forget(self) -> None:
        """Nobody but the reader wants it any more."""
        forget(self.another(), [self.old.id])

    def prune(self, name: str = "a", **options: Any) -> TierPlan:
        """What a prune in another process did."""
        return prune(self.another(), PruneOptions(**options))[name]

    def expect_read(self, name: str = "a") -> None:
        """The reader reads all of it, with what it knows since it began."""
        assert read_back(self.reader, self.old, self.reader.tier(name)) == FILES

    def leave(self, snapshots: tuple[str, ...] | None = None, **fields: Any) -> bytes:
        """A pin of a reader that died."""
        ids = tuple(map(bytes.fromhex, snapshots if snapshots is not None else (self.old.id,)))
        pin = Pin(**{"beat": 1, "time_ns": 1, "holder": "the dead", "snapshots": ids, **fields})
        for store in self.scene.stores:
            body = encode_pin(pin, b"p" * 16, self.reader.keys.root, self.scene.randomness)
            store.put(pin_object_key(b"p" * 16), body)
        return b"p" * 16

    def pins(self) -> list[str]:
        """What lies below `pins/` on the first tier."""
        return [info.key for info in self.scene.stores[0].list("pins/")]


def _packs(reading: _Reading, name: str = "a") -> set[bytes]:
    return {pack.id for pack in stored_packs(reading.scene.store(name))}


def test_what_is_read_stays_though_it_is_forgotten_and_goes_when_the_reader_is_done() -> None:
    reading = _Reading("ab")
    with pinned(reading.reader, "restore", [reading.old.id]) as pinning:
        reading.forget()
        for _ in range(2):
            plan = reading.prune(unreferenced=True)
            assert (plan.deleted, len(plan.pinned), plan.is_complete) == (0, 2, True)
            assert [each.pin and each.pin.holder for each in plan.pins] == [pinning._pin.holder]
        reading.expect_read("a")
        reading.expect_read("b")
        assert not reading.another().tier("a").log.state.marked_packs
        assert not pinning.words()
    assert reading.pins() == []
    assert (reading.prune().deleted, reading.prune("b").deleted) == (2, 0)
    assert len(_packs(reading, "b")) == 2
    assert check(reading.another(), read_percent=100).is_ok


def _at(
    tier: OpenTier, kind: type, then: Callable[[], object], monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    """Do this once, right before or after an entry of this kind is appended to the tier's log."""
    original, done = tier.log.append, list[bool]()

    def append(decide: Callable[..., Any], **options: Any) -> object:
        is_it = not done and isinstance(decide(tier.log.state), kind)
        if is_it:
            done.append(True)
        if is_it and not after:
            then()
        entry = original(decide, **options)
        if is_it and after:
            then()
        return entry

    monkeypatch.setattr(tier.log, "append", append)


def test_who_begins_to_read_before_the_sweep_is_said_is_seen_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prune looked at the pins, marked, and is about to delete."""
    reading = _Reading("ab")
    begun: list[Any] = []

    def begin() -> None:
        holder = pinned(reading.reader, "check", everything=True)
        holder.__enter__()
        begun.append(holder)

    reading.forget()
    pruning = reading.another()
    _at(pruning.tier("a"), SweepBegun, begin, monkeypatch, after=False)
    plan = prune(pruning, PruneOptions(only=["a"]))["a"]
    assert (plan.deleted, len(plan.pinned), len(plan.pins)) == (0, 2, 1)
    assert len(_packs(reading)) == 4
    # Nor does whoever goes on with what was begun, by whatever command.
    repository = reading.another()
    catch_up(repository, repository.tier("a"))
    assert len(_packs(reading)) == 4
    assert reading.prune().deleted == 0
    begun[0].__exit__(None, None, None)
    assert reading.prune().deleted == 2
    assert check(reading.another(), read_percent=100).is_ok


def test_who_begins_to_read_after_it_does_not_count_on_what_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = _Reading()
    reading.forget()
    found: list[type] = []

    def begin() -> None:
        try:
            with pinned(reading.reader, "restore", [reading.old.id]):
                pass
        except SnapshotNotFound as error:
            found.append(type(error))

    pruning = reading.another()
    _at(pruning.tier("a"), SweepBegun, begin, monkeypatch, after=True)
    assert prune(pruning)["a"].deleted == 2
    assert found == [SnapshotNotFound]
    assert reading.pins() == []


@pytest.mark.parametrize("looks", [1, 5])
def test_a_check_that_holds_nothing_calls_nothing_lost_that_a_prune_took_meanwhile(looks: int) -> None:
    """The tier is judged anew by what its log says in the end."""
    reading, asked = _Reading(), list[int]()

    def others_prune() -> None:
        asked.append(1)
        if len(asked) == looks:
            reading.forget()
            assert reading.prune().deleted == 2

    report = check(reading.reader, read_percent=100, check_cancelled=others_prune)
    assert len(asked) > looks
    assert (report.damage, report.harmed) == ([], {"a": []})


def test_a_check_calls_no_segment_lost_that_others_replaced_and_a_prune_deleted_meanwhile() -> None:
    """Nothing was forgotten, and no pack went: the index was merged."""
    reading, asked = _Reading(), list[int]()

    def others_merge() -> None:
        asked.append(1)
        if len(asked) == 1:
            assert compact_indexes(reading.another(), runs_max=1) == 1
            assert reading.prune().deleted == 0

    report = check(reading.reader, check_cancelled=others_merge)
    assert len(asked) > 1
    assert report.findings == []


def test_a_tier_is_judged_anew_as_long_as_something_goes_while_it_is_looked_at() -> None:
    reading, looks = _Reading(), list[int]()
    tier, lost = reading.reader.tier("a"), Finding("a", Problem.SEGMENT, "index/one", "not there")
    standing = Standing.of(tier)
    reading.forget()

    def structure() -> list[Finding]:
        looks.append(1)
        if len(looks) == 1:
            assert compact_indexes(reading.another(), runs_max=1) == 1
        return [lost][len(looks) - 1 :]

    assert standing.judged(tier, [lost], structure, lambda _pack_id: False) == []
    assert len(looks) == 2
    assert Standing.of(tier).judged(tier, [lost], structure, lambda _pack_id: False) == [lost]
    assert len(looks) == 2


@pytest.mark.parametrize("looks", [0, 1])
def test_a_damaged_pack_that_only_another_tiers_index_knows_is_told_whoever_forgets_meanwhile(looks: int) -> None:
    """It is damage to a check beside which nobody forgets; what was pruned on both meanwhile is none."""
    reading, asked = _Reading("ab"), list[int]()
    newer = cast(Snapshot, reading.scene.backup(photos(3, seed=3), "newer", only="b"))
    there = {each.id for each in stored_packs(reading.scene.store("a"))}
    new = [
        f"packs/{each.id.hex()[:2]}/{each.id.hex()}"
        for each in stored_packs(reading.scene.store("b"))
        if each.id not in there
    ]
    for key in new:
        body = reading.scene.store("b").get(key)
        reading.scene.store("a").put(key, body[:-1] + bytes([body[-1] ^ 1]))
    reader = reading.another()

    def others_forget() -> None:
        asked.append(1)
        if len(asked) == looks:
            reading.forget()

    report = check(reader, read_percent=100, tiers=["a"], check_cancelled=others_forget)
    assert len(asked) > looks
    assert {each.object_key for each in report.damage} == set(new)
    assert {each.repairable_from for each in report.damage} == {("b",)}

    def others_forget_it() -> None:
        asked.append(1)
        if len(asked) == 1:
            forget(reading.another(), [newer.id, reading.old.id])
            prune(reading.another())

    asked.clear()
    assert check(reading.another(), read_percent=100, tiers=["a"], check_cancelled=others_forget_it).damage == []


def test_what_a_reader_is_at_is_not_written_again_elsewhere() -> None:
    """Half of the old packs is waste: without the reader, a prune moves what is needed and deletes them."""
    scene = Scene()
    files = photos(6, length=3000)
    both = cast(Snapshot, scene.backup(files, "both"))
    scene.reopen()
    half = cast(Snapshot, scene.backup(dict(list(files.items())[:2]), "half"))
    reader = scene.reopen()
    with pinned(reader, "restore", [half.id]):
        forget(scene.reopen(), [both.id])
        plan = prune(scene.reopen(), PruneOptions(max_unused=0.0))["a"]
        assert plan.pinned
        assert not plan.moving
        assert read_back(reader, half, reader.tier("a")) == dict(list(files.items())[:2])
    assert prune(scene.reopen(), PruneOptions(max_unused=0.0))["a"].moving


def test_a_dead_reader_is_known_by_two_looks_an_hour_apart() -> None:
    reading = _Reading()
    reading.leave()
    reading.forget()
    assert reading.prune(dry_run=True).deleted == 0
    assert len(reading.pins()) == 1  # who only asks leaves no note
    assert len(reading.prune().pinned) == 2
    reading.clock.pass_by(SILENT_AFTER - timedelta(minutes=5))
    assert len(reading.prune().pinned) == 2
    reading.clock.pass_by(timedelta(minutes=6))
    assert reading.prune().deleted == 2
    assert reading.pins() == []


def test_of_a_reader_that_died_on_this_machine_nobody_waits_an_hour() -> None:
    """A killed repair kept its pins for one, and every prune told of them. Elsewhere its number is nobody's."""
    words = "import sys; from repository.retention.holder import holder_of; print(holder_of('repair'), flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{words}; sys.stdin.read()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        holder = running.stdout.readline().rstrip("\n")
        alive = has_ended(holder)
        running.kill()
    assert holder.startswith(f"repair by process {running.pid} on ")
    mark, _, started = holder.rpartition("(")[2].rstrip(")").partition("/")
    assert not alive
    assert has_ended(holder)
    assert not has_ended(holder.replace(mark, mark[::-1]))
    assert not has_ended(re.sub(" on .* ", " on the machine that this one is a copy of ", holder))
    assert not has_ended(holder_of("restore"))
    assert has_ended(holder_of("restore").rpartition("/")[0] + f"/{started}0)")  # its number is another one's by now
    assert not has_ended("restore by process 0 on a machine of which nothing is known")
    reading = _Reading()
    reading.leave(holder=holder)
    reading.forget()
    assert [each.is_dead for each in look(reading.another(), reading.reader.tier("a"), is_noted=False)] == [True]
    assert reading.prune().deleted == 2
    assert reading.pins() == []


def test_one_that_renews_its_pin_lives_whatever_the_clock_says() -> None:
    reading = _Reading()
    pin_id, tier = reading.leave(), reading.reader.tier("a")
    reading.forget()
    for beat in range(2, 6):
        assert len(reading.prune().pinned) == 2
        reading.clock.pass_by(timedelta(days=7))
        key = pin_object_key(pin_id)
        pin = decode_pin(tier.store.get(key), Pin, pin_id, reading.reader.keys)
        tier.store.put(key, encode_pin(replace(pin, beat=beat), pin_id, reading.reader.keys.root, Scene().randomness))
    # A note of a time that has not come yet is of no use: the clock was put back.
    assert len(reading.prune().pinned) == 2
    reading.clock.pass_by(-timedelta(days=7))
    assert len(reading.prune().pinned) == 2
    reading.clock.pass_by(SILENT_AFTER)
    assert reading.prune().deleted == 2


class _OnThisMachine(BrokenStore):
    """A store whose clock is this machine's."""

    class _Capabilities:
        local, locks, versions = True, False, False

    capabilities = _Capabilities()


@pytest.mark.parametrize("is_renewed", [True, False])
def test_where_the_clock_is_ours_the_beat_is_watched_too(monkeypatch: pytest.MonkeyPatch, is_renewed: bool) -> None:
    """Somebody put the clock forward by a week between two looks."""
    reading = _Reading()
    pin_id = reading.leave()
    store = reading.scene.stores[0]
    repository = reading.scene.reopen(stores=[cast(ObjectStore, _OnThisMachine(store))])
    tier = repository.tiers[0]
    now = [0.0]

    def wait(seconds: float) -> None:
        now[0] += seconds
        if is_renewed:
            pin = Pin(beat=2, time_ns=1, holder="the living", snapshots=(bytes.fromhex(reading.old.id),))
            store.put(pin_object_key(pin_id), encode_pin(pin, pin_id, repository.keys.root, repository.randomness))

    monkeypatch.setattr(pin_watch.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(pin_watch.time, "sleep", wait)
    look(repository, tier)
    assert now == [0.0]
    reading.clock.pass_by(timedelta(days=7))
    assert [each.is_dead for each in look(repository, tier)] == [not is_renewed]
    assert now[0] >= pin_watch.WATCH_SECONDS
    assert bool(reading.pins()) == is_renewed


def _flipped(body: bytes) -> bytes:
    return body[:70] + bytes([body[70] ^ 1]) + body[71:]


@pytest.mark.parametrize(
    "break_it",
    [_flipped, lambda body: body[:40], lambda _: b"", lambda _: b"anybody's", lambda body: body + b"!"],
    ids=["flipped", "cut", "empty", "junk", "longer"],
)
def test_a_pin_that_cannot_be_read_keeps_everything_until_it_is_let_go(break_it: Callable[[bytes], bytes]) -> None:
    reading = _Reading()
    key = pin_object_key(reading.leave(()))
    store = reading.scene.stores[0]
    store.put(key, break_it(store.get(key)))
    reading.forget()
    for _ in range(2):
        plan = reading.prune()
        assert (plan.deleted, len(plan.pinned)) == (0, 2)
        assert [each.error and each.error.code for each in plan.pins] == ["damaged"]
        reading.clock.pass_by(timedelta(days=2))
    assert release(reading.another(), "70" * 4) == {"a": None}
    assert reading.prune().deleted == 2


def test_a_pin_of_another_place_or_a_later_version_is_one_that_cannot_be_read() -> None:
    """Copied to another id, of another repository, or with a field that says who knows what."""
    reading = _Reading()
    root, randomness = reading.reader.keys.root, reading.scene.randomness
    pin = Pin(beat=1, time_ns=1, holder="x")
    foreign = Scene(seed=5).repository.keys.root
    store = reading.scene.stores[0]
    store.put(pin_object_key(b"1" * 16), encode_pin(pin, b"2" * 16, root, randomness))
    store.put(pin_object_key(b"3" * 16), encode_pin(pin, b"3" * 16, foreign, randomness))
    store.put(pin_object_key(b"4" * 16), encode_pin(replace(pin, format=2), b"4" * 16, root, randomness))
    store.put("pins/not-one", b"")
    found = look(reading.reader, reading.reader.tier("a"))
    assert [each.error and each.error.code for each in found] == ["damaged", "unknown-key", "unsupported-format"]
    with pytest.raises(PinNotFound):
        release(reading.reader, "5")
    with pytest.raises(PinNotFound, match="several"):
        release(reading.reader, "3")


def test_a_pin_on_what_nobody_finds_keeps_everything() -> None:
    reading = _Reading()
    reading.leave(("ab" * 16,))
    reading.forget()
    assert len(reading.prune().pinned) == 2


def test_a_tier_that_takes_no_pin_is_told_and_read_all_the_same() -> None:
    """On the worst day a restore is not refused for want of a right to write."""
    reading = _Reading("ab")
    broken = BrokenStore(reading.scene.stores[0])
    reader = reading.scene.reopen(stores=[cast(ObjectStore, broken), reading.scene.stores[1]])
    broken.failures["put"] = AccessDenied("may not write")
    with pinned(reader, "restore", [reading.old.id]) as pinning:
        assert list(pinning.words()) == ["a"]
        assert "[tier-access-denied]" in pinning.words()["a"]
        reading.forget()
        done = prune(reading.another())
        assert [len(done[name].pinned) for name in "ab"] == [0, 2]


def test_a_tier_that_is_away_has_no_pin_and_is_not_read() -> None:
    reading = _Reading("ab")
    broken = BrokenStore(reading.scene.stores[0])
    broken.failures = dict.fromkeys(("get", "list", "head", "get_range"), TierUnreachable("away"))
    reader = reading.scene.reopen(stores=[cast(ObjectStore, broken), reading.scene.stores[1]])
    with pinned(reader, "restore", [reading.old.id]) as pinning:
        assert not pinning.words()
        assert reading.pins() == []
        reading.forget()
        assert len(reading.prune("b").pinned) == 2
        assert read_back(reader, reading.old, reader.tier("b")) == FILES


def test_a_pin_that_was_taken_away_is_told_to_its_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = _Reading()
    pinning = Pinning(reading.reader, Pin(beat=1, time_ns=1, holder="x"))
    tier = reading.reader.tier("a")
    pinning.begin([tier])
    turns = [False, False, True]
    monkeypatch.setattr(pinning._over, "wait", lambda _: turns.pop(0))
    release(reading.another(), pinning.id)
    pinning._renew(tier)
    assert pinning.words() == {"a": "the pin was let go before the end [pin-lapsed]"}
    (found,) = look(reading.reader, tier)
    assert found.pin is not None
    assert found.pin.beat == 3  # it stands again, and goes on
    pinning.end()
    assert reading.pins() == []


@pytest.mark.parametrize("dies_at", range(5))
def test_a_reader_that_dies_anywhere_keeps_nothing_for_ever(dies_at: int) -> None:
    reading = _Reading("ab")
    left = [dies_at]
    stores = [cast(ObjectStore, Dying(store, left)) for store in reading.scene.stores]
    with pinned(reading.scene.reopen(stores=stores), "restore", [reading.old.id]):
        pass
    reading.forget()
    reading.prune()
    reading.clock.pass_by(SILENT_AFTER)
    reading.prune()
    assert [len(_packs(reading, name)) for name in "ab"] == [2, 2]
    assert reading.pins() == []


def test_a_prune_that_dies_between_a_pin_and_its_note_leaves_neither_for_ever() -> None:
    """Seeded history 1007: the pin of a dead reader was taken away, and what said that it was seen stayed."""
    reading = _Reading()
    pin_id = reading.leave()
    reading.prune()
    store = reading.scene.stores[0]
    store.delete(pin_object_key(pin_id))
    assert reading.pins() == [seen_object_key(pin_id)]
    reading.prune(dry_run=True)
    assert len(reading.pins()) == 1  # who only asks takes nothing away
    reading.prune()
    assert reading.pins() == []


def test_what_may_not_be_deleted_says_that_it_is_over() -> None:
    reading = _Reading()
    broken = BrokenStore(reading.scene.stores[0])
    reader = reading.scene.reopen(stores=[cast(ObjectStore, broken)])
    with pinned(reader, "restore", [reading.old.id]):
        broken.failures["delete"] = AccessDenied("may not delete")
    assert len(reading.pins()) == 1
    reading.forget()
    assert reading.prune().deleted == 2


def test_no_pin_keeps_what_was_erased() -> None:
    reading = _Reading()
    add_generation(reading.another(), reading.scene.provider, "person")
    reading.another()
    secret = cast(Snapshot, reading.scene.backup(photos(2, seed=7), "secret", domain="person"))
    reading.leave((secret.id,))
    repository = reading.another()
    erase(repository, "person", plan_erasure(repository, "person").word)
    assert reading.prune().deleted == 2


def test_two_prunes_and_a_reader() -> None:
    """Each sees the pin; what one of them noted is the other's first look."""
    reading = _Reading("ab")
    reading.leave()
    reading.forget()
    one, two = reading.another(), reading.another()
    assert len(prune(one)["a"].pinned) == len(prune(two)["a"].pinned) == 2
    reading.clock.pass_by(SILENT_AFTER)
    assert [each.deleted for each in prune(one).values()] == [2, 2]
    assert all(each.is_complete for each in prune(two).values())
    assert check(reading.another(), read_percent=100).is_ok


def test_a_restore_and_a_check_pin_what_they_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = _Reading()
    begun: list[Pin] = []
    original = Pinning.begin

    def begin(self: Pinning, tiers: Any) -> None:
        begun.append(self._pin)
        original(self, tiers)
        assert len(reading.pins()) == 1

    monkeypatch.setattr(pins.Pinning, "begin", begin)
    result = restore(reading.reader, reading.old, str(tmp_path / "out"))
    assert result.unpinned == {}
    assert [each.snapshots for each in begun] == [(bytes.fromhex(reading.old.id),)]
    assert begun[0].holder.startswith("restore by process ")
    assert reading.pins() == []


def test_beside_a_reader_nothing_old_is_tidied_away() -> None:
    """Neither replaced segments, at which it may be, nor the second copies by which pins are understood."""
    reading = _Reading()
    kept = next(each.id for each in reading.reader.snapshots() if each.id != reading.old.id)
    reading.leave((kept,))
    reading.forget()
    segments = {info.key for info in reading.scene.stores[0].list("index/")}
    assert reading.prune().deleted == 2
    second = [info.key for info in reading.scene.stores[0].list("snapshots/")]
    assert second == sorted([f"snapshots/{kept}", f"snapshots/{reading.old.id}"])
    assert segments <= {info.key for info in reading.scene.stores[0].list("index/")}
    reading.clock.pass_by(SILENT_AFTER)
    assert not reading.prune().pins
    assert [info.key for info in reading.scene.stores[0].list("snapshots/")] == [f"snapshots/{kept}"]


def test_a_restore_is_whole_though_all_is_forgotten_and_pruned_in_the_middle(tmp_path: Path) -> None:
    """The only tier; what is restored is nobody else's."""
    scene = Scene()
    files = {b"%d" % number: MemoryFile(body) for number, body in enumerate(photos(5, length=3000).values())}
    snapshot = backup(
        scene.reopen(), MemorySource(MemoryFolder({**files})), options=BackupOptions(run_token="1", label="l")
    ).snapshot
    pruned: list[TierPlan] = []

    def prune_once() -> bool:
        if not pruned:
            reader = scene.repository
            forget(scene.reopen(), [snapshot.id])
            pruned.append(prune(scene.reopen(), PruneOptions(unreferenced=True))["a"])
            scene.repository = reader
        return False

    result = restore(
        scene.reopen(), snapshot, str(tmp_path / "out"), options=RestoreOptions(is_cancelled=prune_once, workers=1)
    )
    assert result.is_whole
    assert {path.name.encode(): path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        name: file.body for name, file in files.items()
    }
    assert len(pruned[0].pinned) == 2
    assert prune(scene.reopen())["a"].deleted == 2


def test_a_restore_whose_pin_was_let_go_says_why_it_lost_what_it_lost(tmp_path: Path) -> None:
    """Not that a tier is damaged: it was forgotten and pruned."""
    reading = _Reading()
    done: list[TierPlan] = []

    def prune_once() -> bool:
        if not done:
            (pin,) = look(reading.another(), reading.scene.tier("a"), is_noted=False)
            release(reading.another(), pin.id.hex())
            reading.forget()
            done.append(reading.prune())
        return False

    result = restore(
        reading.reader, reading.old, str(tmp_path / "out"), options=RestoreOptions(is_cancelled=prune_once, workers=1)
    )
    assert (done[0].deleted, result.is_whole) == (2, False)
    assert "what it held is forgotten" in result.unpinned["a"]
