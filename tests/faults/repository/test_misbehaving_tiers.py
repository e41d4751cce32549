"""Tiers that fail in the middle, fill up, lie, or keep another time; writers that work at the same time."""

import errno
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from random import Random  # noqa: TID251  # seeded

import pytest

from repository.backup.backup import BackupOptions, backup
from repository.backup.fanout import Delivery
from repository.errors import AccessDenied, Locked, NoUsableTier, RepositoryError, Retry, TierFull, TierUnreachable
from repository.opened import key_change
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.restore.restore import RestoreOptions, restore
from repository.tiers.folder.store import DirectoryObjectStore
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import ObjectStore
from repository.upkeep.accepted_history import accept_history
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from repository.upkeep.repair import repair
from tests.support.crash_scenes import ChangingSource, History, chunks_of, fast_folder, small_packs
from tests.support.failing_disk import FailingDisk
from tests.support.misbehaving_stores import FailingStore, KeepingStore, LyingStore
from tests.support.repositories import START_NS, CountingClock, SeededRandomness, key_file

WEEK_NS = 7 * 24 * 3600 * 10**9


@pytest.fixture(autouse=True)
def _small_packs() -> Iterator[None]:
    with small_packs():
        yield


@pytest.fixture
def source() -> Iterator[ChangingSource]:
    with fast_folder() as folder:
        yield ChangingSource(folder, Random(11))


def begun(source: ChangingSource, names: tuple[str, ...] = ("near", "far")) -> tuple[History, list[MemoryObjectStore]]:
    """A repository with one backup."""
    stores = [MemoryObjectStore(name) for name in names]
    history = History(source, stores, 3)
    history.init()
    history.backup(source.change(), "run 0")
    return history, stores


# A tier that fails


@pytest.mark.parametrize("does_it", [False, True], ids=["undone", "done"])
@pytest.mark.parametrize("times", [1, None], ids=["once", "for-ever"])
def test_backup_goes_on_without_a_tier_that_fails_at_any_call(
    source: ChangingSource, times: int | None, does_it: bool
) -> None:
    """Whichever call a tier fails at, done or not: the other has the backup, and a catch-up makes both level."""
    base, stores = begun(source)
    version = source.change()
    after, is_over = 0, False
    while not is_over:
        near, far = (MemoryObjectStore(store.name, objects=store.contents()) for store in stores)
        failing = FailingStore(far, lambda: TierUnreachable("gone"), after=after, times=times, does_it=does_it)
        history = History(source, [near, failing], 3, dict(base.tokens))
        history.open(seed=after)
        result = history.backup(version, "run 1")
        assert result.tiers["near"].state is Delivery.COMMITTED
        is_over = failing.count <= after
        if is_over:
            assert not result.is_degraded
        history.open([near, far], seed=after + 1)
        history.expect_sound()
        history.catch_up_all()
        history.expect_level()
        history.expect_restores_alone()
        after += 1
    assert after > 15


def test_backup_fails_with_the_causes_when_no_tier_takes_it(source: ChangingSource) -> None:
    """When all tiers fail the backup fails, says why of each, and the next one uses what was uploaded."""
    history, stores = begun(source)
    version = source.change(files=12)
    before = {store.name: set(store.contents()) for store in stores}
    errors = {"near": TierFull("full", tier="near"), "far": AccessDenied("no", tier="far")}
    puts = frozenset({"put"})
    history.open([FailingStore(store, lambda store=store: errors[store.name], after=3, calls=puts) for store in stores])
    with pytest.raises(NoUsableTier) as caught:
        history.backup(version, "run 1")
    assert caught.value.context["tiers"] == {name: str(error) for name, error in errors.items()}
    assert caught.value.retry is Retry.AFTER_OPERATOR
    uploaded = [key for key in stores[0].contents().keys() - before["near"] if key.startswith("packs/")]
    assert uploaded
    repository = history.open(stores, seed=2)
    kept = chunks_of(repository, repository.tier("near"))
    kept_chunks = frozenset[bytes]().union(*(kept[key] for key in uploaded))
    history.backup(version, "run 1")
    history.catch_up_all()
    now = chunks_of(repository, repository.tier("near"))
    new_chunks = frozenset[bytes]().union(*(chunks for key, chunks in now.items() if key not in kept))
    assert not kept_chunks & new_chunks
    history.open(seed=3)
    history.expect_sound()
    history.expect_level()
    history.expect_restores_alone()


# A disk that fills up


def test_tier_that_is_full_takes_part_again_when_there_is_space(source: ChangingSource) -> None:
    """A full disk leaves the tier behind, whole as it was; with space it is caught up."""
    with fast_folder() as folder:
        near = MemoryObjectStore("near")
        root = str(folder / "disk")
        history = History(source, [near, DirectoryObjectStore(root, "disk")], 4)
        history.init()
        history.backup(source.change(), "run 0")
        for step, after in (("write", 2), ("sync", 3), ("create", 4), ("rename", 3), ("link", 0)):
            token = f"run {len(history.tokens)}"
            full = DirectoryObjectStore(root, "disk", disk=FailingDisk(step, errno.ENOSPC, after=after))
            history.open([near, full], seed=len(history.tokens))
            result = history.backup(source.change(files=8), token)
            assert result.tiers["near"].state is Delivery.COMMITTED
            assert result.tiers["disk"].state is Delivery.FAILED
            assert isinstance(result.tiers["disk"].error, TierFull)
            history.open([near, DirectoryObjectStore(root, "disk")], seed=len(history.tokens))
            history.expect_sound()
            history.catch_up_all()
            history.expect_level()
            assert not list(Path(root).rglob(".tmp-*"))
        history.expect_restores_alone()


def test_restore_needs_no_space_and_no_permission_on_the_tier(source: ChangingSource) -> None:
    """From a tier that can only be read everything is listed, checked and restored."""
    history, stores = begun(source)

    class ReadOnly(FailingStore):
        def __init__(self, inner: ObjectStore) -> None:
            writes = frozenset({"put", "sync", "delete"})
            super().__init__(inner, lambda: AccessDenied("read-only"), after=0, calls=writes)

    history.open([ReadOnly(store) for store in stores])
    history.expect_sound()
    assert history.expect_restores() == 2


@pytest.mark.parametrize("error", [Locked, AccessDenied])
def test_backups_go_on_where_nothing_can_be_deleted(source: ChangingSource, error: type[RepositoryError]) -> None:
    """A bucket that locks all it gets, or a writer that must not delete, takes one backup after the other."""
    near = MemoryObjectStore("near")
    vault = KeepingStore(MemoryObjectStore("vault"), lambda: error("kept"))
    history = History(source, [near, vault], 3)
    history.init()
    for number in range(4):
        # Every other backup leaves the vault behind, so that catch-ups announce themselves as well.
        is_behind = number % 2 == 1
        history.open([near] if is_behind else [near, vault], seed=number)
        result = history.backup(source.change(), f"run {number}")
        assert is_behind or result.tiers["vault"].state is Delivery.COMMITTED
        history.open([near, vault], seed=10 + number)
        history.catch_up_all()
        history.expect_level()
    history.expect_sound()
    history.expect_restores_alone()


# Tiers that lie


@pytest.mark.parametrize("kind", ["packs/", "index/", "log/", "pending/"])
def test_tier_that_acknowledges_and_drops_is_found_out(source: ChangingSource, kind: str) -> None:
    """What a lying tier dropped is named by a check and brought from the other; nothing is lost on the honest one."""
    base, stores = begun(source)
    chance = Random(kind)
    version = source.change(files=9)
    for _ in range(5):
        near, far = (MemoryObjectStore(store.name, objects=store.contents()) for store in stores)
        liar = LyingStore(far, lambda key: key.startswith(kind) and chance.random() < 0.6)
        history = History(source, [near, liar], 3, dict(base.tokens))
        history.open(seed=1)
        history.backup(version, "run 1")
        repository = history.open([near, far], seed=2)
        tier = repository.tier("far")
        report = check(repository, read_percent=100, tiers=["far"])
        named = {finding.object_key for finding in report.damage}
        dropped = {key for key in liar.dropped if not key.startswith("pending/")}
        if (
            kind in {"packs/", "index/"}
            and dropped
            and set(tier.snapshots()) >= set(repository.tier("near").snapshots())
        ):
            assert dropped <= named, (dropped, named)
        for snapshot in repository.snapshots():
            history.expect_restore(snapshot, repository.tier("near"))
        if tier.state is TierState.REPLAYED:
            # The honest tier's entry bears witness to one that was acknowledged and dropped: somebody knows why.
            accept_history(repository, tier)
            report = check(repository, read_percent=100, tiers=["far"])
        if tier.state is TierState.READY or report.damage:
            repair(repository, tier, report)
        history.open(seed=3)
        history.catch_up_all()
        history.open(seed=4)
        history.expect_sound()
        history.expect_level()
        history.expect_restores_alone()


def test_restore_prefers_another_tier_over_one_that_lost_packs(source: ChangingSource) -> None:
    """With the first tier's packs gone, all of them come from the second, and the result says so."""
    history, stores = begun(source)
    for key in [key for key in stores[0].contents() if key.startswith("packs/")]:
        stores[0].delete(key)
    repository = history.open(seed=1)
    snapshot = repository.find_snapshot("latest")
    with fast_folder() as folder:
        result = restore(repository, snapshot, str(folder / "x"), options=RestoreOptions(tiers=("near", "far")))
        assert result.is_whole
        assert result.chunks_from_other_tiers > 0


# Clocks


@pytest.mark.parametrize("weeks", [-1, 1])
def test_a_clock_that_is_a_week_off_changes_nothing(source: ChangingSource, weeks: int) -> None:
    """Snapshots follow each other as they were committed, whatever the clocks said; each is restored."""
    stores = [MemoryObjectStore(name) for name in ("near", "far")]
    history = History(source, stores, 3)
    history.init()
    for number in range(4):
        off = weeks * WEEK_NS if number % 2 else 0
        repository = Repository.open(
            stores, key_file(3), clock=CountingClock(START_NS + off), randomness=SeededRandomness(number)
        )
        history.repository = repository
        history.backup(source.change(), f"run {number}")
    repository = history.open(seed=9)
    assert [snapshot.manifest.run_token for snapshot in repository.snapshots()] == [f"run {n}" for n in range(4)]
    assert repository.find_snapshot("latest").manifest.run_token == "run 3"
    times = [snapshot.manifest.time_ns for snapshot in repository.snapshots()]
    assert times != sorted(times)
    history.expect_sound()
    assert history.expect_restores() == 8


@pytest.mark.parametrize("weeks", [-1, 1])
def test_locks_follow_the_clock_of_the_store(source: ChangingSource, weeks: int) -> None:
    """With this machine's clock a week off, all that a snapshot needs is locked for the asked days of the store's."""
    vault = MemoryObjectStore("vault", locks=True, clock=CountingClock(START_NS))
    near = MemoryObjectStore("near")
    history = History(source, [near, vault], 3)
    history.init()
    for number in range(2):
        repository = Repository.open(
            history.stores,
            key_file(3),
            clock=CountingClock(START_NS + weeks * WEEK_NS),
            randomness=SeededRandomness(number),
        )
        token = f"run {number}"
        history.tokens[token] = source.change()
        options = BackupOptions(
            run_token=token, label="photos", lock_days={"vault": 30}, workers=2, memory_budget=64 << 20
        )
        before = vault.now()
        result = backup(repository, source.source(history.tokens[token]), options=options)
        assert result.tiers["vault"].state is Delivery.COMMITTED
        after = vault.now()
        unlocked = []
        for info in vault.list(""):
            found = vault.head(info.key)
            assert found is not None
            if found.lock_until is None:
                unlocked.append(info.key)
            elif info.key.startswith("packs/") and number == 1:
                # Whether the latest snapshot still needs a pack of the first one depends on what changed.
                assert found.lock_until >= before - timedelta(days=1) + timedelta(days=30)
            else:
                assert found.lock_until <= after + timedelta(days=30)
        assert all(key.startswith(("pending/", "log/")) for key in unlocked), unlocked


# Two writers


def test_writers_that_work_at_the_same_time_both_commit(source: ChangingSource) -> None:
    """Writers on the same tiers at the same time all commit, whatever the order; everything is restored."""
    stores = [MemoryObjectStore(name) for name in ("near", "far")]
    history = History(source, stores, 3)
    history.init()
    versions = [source.change() for _ in range(3)]
    for round_number in range(4):
        names = [f"run {round_number}.{number}" for number in range(3)]

        def write(number: int, names: list[str] = names) -> str:
            repository = Repository.open(
                stores,
                key_file(3),
                clock=CountingClock(),
                randomness=SeededRandomness(Random(names[number]).getrandbits(60)),
            )
            options = BackupOptions(run_token=names[number], label=f"label {number}", workers=1, memory_budget=64 << 20)
            return backup(repository, source.source(versions[number]), options=options).snapshot_id

        with ThreadPoolExecutor(3) as pool:
            identities = list(pool.map(write, range(3)))
        assert len(set(identities)) == 3
        history.tokens |= dict(zip(names, versions, strict=True))
    history.open(seed=5)
    history.catch_up_all()
    history.open(seed=6)
    history.expect_sound()
    history.expect_level()
    repository = history.repository
    assert repository is not None
    assert len(repository.snapshots()) == 12
    assert history.expect_restores() == 24


def test_the_same_run_twice_at_the_same_time_is_committed_once(source: ChangingSource) -> None:
    """Two workers that hold the same run (one of them a zombie) commit one snapshot on each tier."""
    stores = [MemoryObjectStore(name) for name in ("near", "far")]
    history = History(source, stores, 3)
    history.init()
    for number in range(6):
        token = f"run {number}"
        history.tokens[token] = source.change()

        def write(worker: int, token: str = token) -> set[str]:
            repository = Repository.open(
                stores,
                key_file(3),
                clock=CountingClock(),
                randomness=SeededRandomness(Random(f"{token} {worker}").getrandbits(60)),
            )
            options = BackupOptions(run_token=token, label="photos", workers=1, memory_budget=64 << 20)
            result = backup(repository, source.source(history.tokens[token]), options=options)
            return {result.snapshot_id}

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(write, range(2)))
        repository = history.open(seed=number)
        for tier in repository.tiers:
            tokens = [snapshot.manifest.run_token for snapshot in tier.snapshots().values()]
            assert tokens.count(token) == 1
    history.catch_up_all()
    history.open(seed=99)
    history.expect_sound()
    history.expect_restores()


# Tiers that were away


def test_tier_that_was_away_gets_the_keys_too(source: ChangingSource) -> None:
    """After new keys and new wrappings that a tier missed, a catch-up makes it readable alone, with either key."""
    history, stores = begun(source)
    near, far = stores
    repository = history.open([near], seed=1)
    assert key_change.add_generation(repository, key_file(3)) == {"near": None}
    assert key_change.rewrap(repository, key_file(77)) == {"near": None}
    history.backup(source.change(), "run 1")
    history.open([near, far], seed=2)
    history.catch_up_all()
    for provider in (key_file(3), key_file(77)):
        alone = History(source, [far], 3, history.tokens)
        alone.repository = Repository.open([far], provider, clock=CountingClock(), randomness=SeededRandomness(8))
        try:
            alone.expect_restores()
        except RepositoryError as error:  # pragma: no cover - the message is the point
            raise AssertionError(f"{error} {error.context}") from error
        assert len(alone.repository.snapshots()) == 2
    repository = history.open(seed=3)
    findings = check(repository, read_percent=100).findings
    assert not [one for one in findings if one.problem not in {Problem.ORPHAN, Problem.ABANDONED}]
