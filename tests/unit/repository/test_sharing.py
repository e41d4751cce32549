"""Backups that run at once over one open repository: what is stored, what is told, and what can be read again."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random  # noqa: TID251  # seeded by the test
from typing import Any

import pytest

from repository.backup.backup import BackupOptions, BackupResult, backup
from repository.backup.fanout import Delivery
from repository.backup.sharing import Sharing
from repository.backup.source import SourceUnreachable
from repository.backup.workshop import Turns, Workshop
from repository.errors import BackupCancelled, NoUsableTier, RepositoryError, TierUnreachable
from repository.format import FrameEntry
from repository.index.pack_catalog import stored_packs
from repository.index.whole_packs import read_whole
from repository.opened.repository import Repository
from repository.stored.chunker import ChunkerParameters
from repository.stored.log_entry import Entry, IndexChanged
from repository.stored.memory_budget import MemoryShare
from repository.stored.tree import ids_of
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import Body, ObjectStore
from tests.support.crash_scenes import small_packs
from tests.support.eventually import eventually
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.misbehaving_stores import FailingStore, WrappedStore
from tests.support.repositories import CountingClock, SeededRandomness, key_file
from tests.support.snapshots import kept

BUDGET = 128 << 20


@pytest.fixture(autouse=True)
def _small_packs() -> Iterator[None]:
    with small_packs():
        yield


@dataclass
class Scene:
    """A repository of short chunks on tiers in memory, which is open."""

    names: Sequence[str] = ("a",)
    locks: bool = False
    stores: "list[ObjectStore]" = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stores = self.stores or [MemoryObjectStore(name, locks=self.locks) for name in self.names]
        self.repository = Repository.init(
            self.stores,
            key_file(0),
            chunker=ChunkerParameters(4096, 8192, 16384),
            clock=CountingClock(),
            randomness=SeededRandomness(0),
        )


def noise(length: int, seed: object) -> bytes:
    """Bytes that do not compress."""
    return Random(repr(seed)).randbytes(length)


def folder(files: Mapping[str, bytes]) -> MemoryFolder:
    """Files, each an inode of its own."""
    return MemoryFolder(
        {name.encode(): MemoryFile(body, inode=number) for number, (name, body) in enumerate(files.items(), 100)}
    )


@dataclass
class Party:
    """Backups over one repository, each in a thread, with a label and a token of its own."""

    repository: Repository
    budget: int = BUDGET
    sharing: Sharing = field(init=False)

    def __post_init__(self) -> None:
        self.sharing = Sharing(self.repository, Workshop(self.budget, workers=2))
        self._threads = ThreadPoolExecutor(32)

    def begin(self, token: str, tree: MemoryFolder, **options: Any) -> "Future[BackupResult]":
        """Start a backup."""
        options = {"run_token": token, "label": token, **options}
        return self._threads.submit(
            backup, self.repository, MemorySource(tree), options=BackupOptions(**options), sharing=self.sharing
        )


def reopened(stores: Sequence[ObjectStore]) -> Repository:
    """As another process sees it."""
    return Repository.open(stores, key_file(0), clock=CountingClock(), randomness=SeededRandomness(77))


def stored_chunks(repository: Repository, tier: str) -> Counter[bytes]:
    """How often each chunk lies in the packs of a tier."""
    store = repository.tier(tier).store
    frames: list[FrameEntry] = []
    for contents in read_whole(store, repository.keys, stored_packs(store)):
        assert contents.error is None
        assert contents.frames, "a pack without a frame"
        frames += contents.frames
    return Counter(chunk_id for frame in frames for chunk_id in ids_of(frame.chunk_ids))


def expect_restored(repository: Repository, trees: Mapping[str, MemoryFolder]) -> int:
    """Each snapshot holds its tree's bytes on each tier that has it; returns how many were read."""
    count = 0
    for snapshot in repository.snapshots():
        tree = trees[snapshot.manifest.run_token]
        expected = {name: file.body for name, file in tree.entries.items() if isinstance(file, MemoryFile)}
        for tier in repository.tiers_with(snapshot):
            found = kept(repository, snapshot, tier.name)
            assert {path: each.body for path, each in found.items() if each.entry.is_file} == expected
            count += 1
    return count


class PackRefuser(WrappedStore):
    """Takes no packs while it `refuses`, so many times."""

    refuses = 0

    def put(self, key: str, body: Body, **options: Any) -> None:  # type: ignore[override]
        """Store, or fail."""
        if key.startswith("packs/") and self.refuses:
            self.refuses -= 1
            raise TierUnreachable("away", tier=self.name)
        self.inner.put(key, body, **options)


@dataclass
class Gate:
    """A file's reading waits here, and ends with the error, if there is one."""

    error: RepositoryError | None = None

    is_reached: threading.Event = field(default_factory=threading.Event)
    is_open: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        self.is_reached.set()
        assert self.is_open.wait(120)
        if self.error is not None:
            raise self.error


def held_tree(gate: Gate, *, shared: int = 6) -> MemoryFolder:
    """Shared files, then one that waits at the gate. The workers have the shared ones before they come to it."""
    files = {f"{number}": noise(20_000, number) for number in range(shared)}
    files["big"] = noise(600_000, "big")
    tree = folder({**files, "held": noise(600_000, "held")})
    held = tree.entries[b"held"]
    assert isinstance(held, MemoryFile)
    held.on_read = gate
    return tree


async def begun(party: Party, gate: Gate, tree: MemoryFolder, **options: Any) -> "Future[BackupResult]":
    """A backup that waits at the gate, with everything else claimed."""
    first = party.begin("first", tree, **options)
    await eventually(gate.is_reached.is_set)
    await eventually(lambda: tree.entries[b"5"].reads and tree.entries[b"big"].reads)  # type: ignore[union-attr]
    return first


async def test_what_two_read_is_stored_once_and_neither_waits_for_the_other() -> None:
    """The second commits while the first still waits for its source; each chunk lies on each tier once."""
    scene, gate = Scene(("a", "b")), Gate()
    party = Party(scene.repository)
    trees = {"first": held_tree(gate), "second": folder({str(n): noise(20_000, n) for n in range(8)})}
    trees["second"].entries[b"big"] = MemoryFile(noise(600_000, "big"), inode=1)
    first = await begun(party, gate, trees["first"])
    second = party.begin("second", trees["second"]).result(120)
    assert not first.done()
    assert {each.state for each in second.tiers.values()} == {Delivery.COMMITTED}
    only_second = reopened(scene.stores)
    assert expect_restored(only_second, trees) == 2
    gate.is_open.set()
    assert not first.result(120).is_degraded
    repository = reopened(scene.stores)
    assert expect_restored(repository, trees) == 4
    assert set(stored_chunks(repository, "a").values()) == {1}
    assert stored_chunks(repository, "a") == stored_chunks(repository, "b")
    sent = sum(each.tiers["a"].bytes_sent for each in (first.result(), second))
    assert sent == sum(pack.size for pack in stored_packs(repository.tier("a").store))
    await eventually(lambda: party.sharing.workshop.memory.bytes_lent == 0)


async def test_the_other_one_restores_when_the_first_ends_early() -> None:
    """What a backup claimed and had not stored when it ended is stored all the same, for who leans on it."""
    scene, gate, second_gate = Scene(("a", "b")), Gate(SourceUnreachable("the source is gone")), Gate()
    party = Party(scene.repository)
    trees = {"first": held_tree(gate), "second": held_tree(second_gate)}
    first = await begun(party, gate, trees["first"])
    second = party.begin("second", trees["second"])
    await eventually(second_gate.is_reached.is_set)
    await eventually(lambda: trees["second"].entries[b"5"].reads)  # type: ignore[union-attr]
    gate.is_open.set()
    with pytest.raises(SourceUnreachable):
        first.result(120)
    second_gate.is_open.set()
    assert not second.result(120).is_degraded
    repository = reopened(scene.stores)
    assert expect_restored(repository, trees) == 2
    assert set(stored_chunks(repository, "a").values()) == {1}


async def test_tier_that_fails_has_no_snapshot_that_leans_on_what_it_lacks() -> None:
    """A pack of the first that a tier did not take keeps the second's snapshot from it; who comes later has it anew."""
    stores: list[ObjectStore] = [MemoryObjectStore("a"), MemoryObjectStore("b")]
    Scene(stores=stores)
    failing = PackRefuser(stores[1])
    repository = reopened([stores[0], failing])
    gate, party = Gate(), Party(repository)
    trees = {"first": held_tree(gate), "second": held_tree(Gate()), "third": held_tree(Gate())}
    for name in ("second", "third"):
        trees[name].entries.pop(b"held")
    # Some pack of the first, before or after the second has begun.
    failing.refuses = 1
    first = await begun(party, gate, trees["first"])
    second = party.begin("second", trees["second"]).result(120)
    assert second.tiers["a"].state is Delivery.COMMITTED
    third = party.begin("third", trees["third"]).result(120)
    assert third.tiers["a"].state is Delivery.COMMITTED
    gate.is_open.set()
    assert [each.state for each in first.result(120).tiers.values()] == [Delivery.COMMITTED, Delivery.FAILED]
    assert failing.refuses == 0
    assert expect_restored(reopened(stores), trees) >= 3


async def test_the_only_tier_that_fails_ends_all_and_is_told_to_all() -> None:
    """Nobody is told of a snapshot that is nowhere."""
    store = MemoryObjectStore("a")
    Scene(stores=[store])
    failing = PackRefuser(store)
    gate, party = Gate(), Party(reopened([failing]))
    trees = {"first": held_tree(gate), "second": folder({"x": noise(700_000, "x")})}
    first = await begun(party, gate, trees["first"])
    failing.refuses = 10**6
    second = party.begin("second", trees["second"])
    with pytest.raises(NoUsableTier):
        second.result(120)
    gate.is_open.set()
    with pytest.raises(NoUsableTier):
        first.result(120)
    await eventually(lambda: party.sharing.workshop.memory.bytes_lent == 0)
    assert not reopened([store]).snapshots()


async def test_claim_that_cannot_be_kept_ends_all_who_may_lean_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of our own between claiming and storing: no backup of the group commits what is not there."""
    scene, gate, second_gate = Scene(("a",)), Gate(), Gate()
    party = Party(scene.repository)
    trees = {"first": held_tree(gate), "second": held_tree(second_gate), "third": folder({"5": noise(20_000, 5)})}
    first = await begun(party, gate, trees["first"])
    second = party.begin("second", trees["second"])
    await eventually(second_gate.is_reached.is_set)

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("repository.backup.session.FrameGatherer.write", fail)
    gate.is_open.set()
    second_gate.is_open.set()
    for each in (first, second):
        with pytest.raises(MemoryError):
            each.result(120)
    monkeypatch.undo()
    with small_packs():
        party.begin("third", trees["third"]).result(120)
    assert expect_restored(reopened(scene.stores), trees) == 1


async def test_live_backup_is_nobodys_to_adopt() -> None:
    """Who begins over the same open repository takes another's packs for its own, not for those of a dead one."""
    scene, gate = Scene(("a",)), Gate()
    party = Party(scene.repository)
    trees = {"first": held_tree(gate), "second": folder({"x": noise(20_000, 5)})}
    first = await begun(party, gate, trees["first"])
    await eventually(lambda: any(scene.stores[0].list("packs/")))
    party.begin("second", trees["second"]).result(120)
    pending = [info.key for info in scene.stores[0].list("pending/")]
    gate.is_open.set()
    first.result(120)
    assert len(pending) == 1, "the first one's marker stays for as long as it may die"
    assert not any(scene.stores[0].list("pending/"))
    log = scene.repository.tier("a").log
    entries = [log.entry(number) for number in range(1, log.state.head.number + 1)]
    assert not any(isinstance(entry, Entry) and isinstance(entry.body, IndexChanged) for entry in entries)


async def test_backups_on_other_terms_share_no_pack() -> None:
    """Who locks for years does not lock what others store: they are in different groups."""
    scene, gate = Scene(("a",), locks=True), Gate()
    party = Party(scene.repository)
    trees = {"first": held_tree(gate), "second": folder({"mine": noise(50_000, "mine")})}
    first = await begun(party, gate, trees["first"], lock_days={"a": 3650})
    party.begin("second", trees["second"]).result(120)
    (store,) = scene.stores
    unlocked = [info.key for info in store.list("packs/") if store.head(info.key).lock_until is None]  # type: ignore[union-attr]
    gate.is_open.set()
    first.result(120)
    assert unlocked
    years = store.now() + timedelta(days=3000)
    assert all(store.head(key).lock_until is None for key in unlocked)  # type: ignore[union-attr]
    locked = [store.head(info.key).lock_until for info in store.list("packs/") if info.key not in unlocked]  # type: ignore[union-attr]
    assert locked
    assert all(until is not None and until > years for until in locked)


async def test_backup_waits_for_memory_and_says_so() -> None:
    """Who is not admitted yet is told about it, can be cancelled, and goes on when there is room."""
    scene = Scene(("a",))
    party = Party(scene.repository)
    memory = party.sharing.workshop.memory
    hog = MemoryShare(memory, memory.total - (1 << 20))
    assert memory.try_admit([hog])
    heard, is_cancelled = threading.Event(), threading.Event()
    tree = folder({"x": b"vows"})
    waiting = party.begin("waiting", tree, on_waiting=heard.set, is_cancelled=is_cancelled.is_set)
    await eventually(heard.is_set)
    is_cancelled.set()
    with pytest.raises(BackupCancelled):
        waiting.result(120)
    heard.clear()
    later = party.begin("later", tree, on_waiting=heard.set)
    await eventually(heard.is_set)
    hog.close()
    assert later.result(120).totals.files == 1


def test_turns_are_first_come_first_served() -> None:
    """As many at a time as there are turns."""
    turns, inside, peak, lock = Turns(3), [0], [0], threading.Lock()

    def take() -> None:
        for _ in range(50):
            with turns:
                with lock:
                    inside[0] += 1
                    peak[0] = max(peak[0], inside[0])
                with lock:
                    inside[0] -= 1

    with ThreadPoolExecutor(12) as pool:
        for each in [pool.submit(take) for _ in range(12)]:
            each.result(120)
    assert inside == [0]
    assert 1 <= peak[0] <= 3


@pytest.mark.parametrize("seed", range(9))
async def test_whatever_is_committed_restores_from_each_tier_that_has_it(seed: int) -> None:
    """Backups of half the same files, begun at random moments; tiers that fail for a while, cancels, broken sources.

    Where all backups come to their end nothing is stored twice. Where some do not, at most what these had read may be.
    """
    chance = Random(seed)
    has_ends, has_faults = seed % 3 >= 1, seed % 3 == 2
    stores: list[ObjectStore] = [MemoryObjectStore(name) for name in ("a", "b", "c")]
    Scene(stores=stores)
    opened = list(stores)
    if has_faults:
        for number in chance.sample(range(3), chance.randint(1, 2)):
            opened[number] = FailingStore(
                stores[number],
                lambda: TierUnreachable("away"),
                after=chance.randint(15, 80),
                times=chance.choice([1, 5, None]),
                does_it=chance.random() < 0.3,
                calls=frozenset({"put", "sync", "list", "get"}),
            )
    # The failing stores count from the opening on.
    party = Party(reopened(opened))
    trees: dict[str, MemoryFolder] = {}
    futures: list[Future[BackupResult]] = []
    for number in range(10):
        files = {
            f"s{each}": noise(chance.choice([300, 9_000, 600_000]), each % 12) for each in chance.sample(range(12), 6)
        }
        files |= {f"own{each}": noise(20_000, (number, each)) for each in range(3)}
        tree = folder(files)
        if has_ends and chance.random() < 0.3:
            name = chance.choice(list(tree.entries))
            file = tree.entries[name]
            assert isinstance(file, MemoryFile)
            file.on_read = _raising(SourceUnreachable("the source is gone"))
        token = f"run {number}"
        trees[token] = tree
        countdown = iter(range(chance.randint(2, 40) if has_ends and chance.random() < 0.3 else 10**6))
        futures.append(party.begin(token, tree, is_cancelled=lambda left=countdown: next(left, None) is None))
        if chance.random() < 0.4:
            with suppress(RepositoryError):
                futures[-1].result(120)
    told: set[tuple[str, str]] = set()
    ended: set[str] = set()
    for token, future in zip(trees, futures, strict=True):
        with suppress(RepositoryError):
            result = future.result(120)
            told |= {(token, name) for name, each in result.tiers.items() if each.state is Delivery.COMMITTED}
            ended.add(token)
    repository = reopened(stores)
    expect_restored(repository, trees)
    there = {
        (snapshot.manifest.run_token, tier.name)
        for snapshot in repository.snapshots()
        for tier in repository.tiers_with(snapshot)
    }
    assert told <= there
    if not has_faults:
        assert told == there
        # A tree of these files has fewer chunks than one for each 4 KiB, and two for itself.
        lost = [file for token in trees.keys() - ended for file in trees[token].entries.values()]
        bound = sum(len(file.body) // 4096 + 3 for file in lost if isinstance(file, MemoryFile))
        assert has_ends or not lost
        for name in ("a", "b", "c"):
            assert sum(count - 1 for count in stored_chunks(repository, name).values()) <= bound
    await eventually(lambda: party.sharing.workshop.memory.bytes_lent == 0)


def _raising(error: RepositoryError) -> Any:
    def on_read() -> None:
        raise error

    return on_read
