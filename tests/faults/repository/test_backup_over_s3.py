"""Whole backups to a disk and to real S3 servers whose network fails, and to buckets that somebody ravages."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from pathlib import Path
from random import Random  # noqa: TID251  # seeded

import pytest

from repository.backup.backup import BackupOptions, backup
from repository.backup.fanout import Delivery
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.restore.restore import RestoreOptions, restore
from repository.tiers.folder.store import DirectoryObjectStore
from repository.tiers.port import ObjectStore
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from repository.upkeep.repair import repair
from tests.faults.repository.conftest import Tiers
from tests.support.crash_scenes import ChangingSource, History, fast_folder, small_packs
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.file_trees import seen
from tests.support.s3_server import S3Server

_NUMBERS = count()


@pytest.fixture(autouse=True)
def _small_packs() -> Iterator[None]:
    with small_packs():
        yield


@pytest.fixture
def source() -> Iterator[ChangingSource]:
    with fast_folder() as folder:
        yield ChangingSource(folder, Random(21))


@pytest.fixture
def prefix() -> str:
    return f"backup-{next(_NUMBERS)}"


def begun(source: ChangingSource, stores: list[ObjectStore]) -> History:
    history = History(source, stores, 3)
    history.init()
    history.backup(source.change(), "run 0")
    return history


FAULTS = [
    Fault("status", times=25, status=500),
    Fault("status", "PUT", times=10, status=503, code="SlowDown"),
    Fault("refuse", times=12),
    Fault("lost-ack", "PUT", path="/log/"),
    Fault("lost-ack", "PUT", path="/packs/", times=3),
    Fault("lost-ack", "PUT", path="/index/"),
    Fault("lost-ack", "DELETE", path="/pending/"),
    Fault("reset-upload", "PUT", path="/packs/", times=4, after=20_000),
    Fault("corrupt-upload", "PUT", path="/packs/", times=3, after=5_000),
    Fault("truncate", "GET", path="/(log|index|keys)/", times=6, after=40),
    Fault("throttle", "PUT", path="/packs/", times=3, bytes_per_second=400_000),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.action}-{fault.method}-{fault.path}")
def test_backup_is_whole_on_every_tier_in_spite_of(
    source: ChangingSource, tiers: Tiers, proxy: FaultProxy, tmp_path: Path, prefix: str, fault: Fault
) -> None:
    """A fault that passes costs time and nothing else: both tiers have the snapshot, once, and are sound."""
    disk, bucket = DirectoryObjectStore(str(tmp_path / "disk"), "disk"), tiers.open(prefix)
    history = begun(source, [disk, bucket])
    proxy.add(Fault(**vars(fault)))
    history.open(seed=1)
    result = history.backup(source.change(), "run 1", required=[bucket.name])
    assert {name: tier.state for name, tier in result.tiers.items()} == {
        "disk": Delivery.COMMITTED,
        bucket.name: Delivery.COMMITTED,
    }
    assert any(one.action == fault.action for one in proxy.seen())
    proxy.clear()
    history.open(seed=2)
    history.expect_sound()
    history.expect_level()
    assert history.expect_restores() == 4
    history.expect_restores_alone()


@pytest.mark.parametrize("action", ["status", "refuse", "blackhole"])
def test_backup_is_degraded_when_a_tier_is_down_and_caught_up_afterwards(
    source: ChangingSource, tiers: Tiers, proxy: FaultProxy, tmp_path: Path, prefix: str, action: str
) -> None:
    """A tier that stays down does not hold the other; when it is back it gets everything without the source."""
    disk = DirectoryObjectStore(str(tmp_path / "disk"), "disk")
    history = begun(source, [disk, tiers.open(prefix)])
    bucket = tiers.open(prefix, budget_seconds=1.0, read_timeout=0.5)
    history.open([disk, bucket], seed=1)
    fault = Fault(action, path=prefix, times=None, skip=5)  # type: ignore[arg-type]
    proxy.add(fault)
    began = time.monotonic()
    result = history.backup(source.change(files=10), "run 1")
    assert result.tiers["disk"].state is Delivery.COMMITTED
    assert result.is_degraded
    assert time.monotonic() - began < 60  # With the tier's whole patience it would be minutes.
    repository = history.open(seed=2)
    assert repository.tier("disk").state is TierState.READY
    assert repository.tier(bucket.name).state is TierState.UNREACHABLE
    history.expect_restores(tiers=["disk"])
    proxy.clear()
    history.open([disk, tiers.open(prefix)], seed=3)
    history.catch_up_all()
    history.expect_sound()
    history.expect_level()
    history.expect_restores_alone()


def test_restore_goes_on_from_another_tier_when_one_dies_in_the_middle(
    source: ChangingSource, tiers: Tiers, proxy: FaultProxy, tmp_path: Path, prefix: str
) -> None:
    """A server that stops answering during a restore is replaced by the other tier; every byte is right."""
    disk = DirectoryObjectStore(str(tmp_path / "disk"), "disk")
    history = begun(source, [disk, tiers.open(prefix)])
    bucket = tiers.open(prefix, budget_seconds=1.0)
    repository = history.open([disk, bucket], seed=1)
    proxy.add(Fault("reset", "GET", path="/packs/", times=None, skip=3, after=500))
    snapshot = repository.find_snapshot("latest")
    with fast_folder() as folder:
        options = RestoreOptions(tiers=(bucket.name, "disk"), workers=2)
        result = restore(repository, snapshot, str(folder / "all"), options=options)
        assert result.is_whole
        assert seen(folder / "all") == source.seen(0)
        assert result.chunks_from_other_tiers > 0


def test_restore_notices_bytes_that_change_on_the_way(
    source: ChangingSource, tiers: Tiers, proxy: FaultProxy, tmp_path: Path, prefix: str
) -> None:
    """Bits that flip in answers, which the client cannot see, never reach a restored file."""
    disk = DirectoryObjectStore(str(tmp_path / "disk"), "disk")
    history = begun(source, [disk, tiers.open(prefix)])
    repository = history.open(seed=1)
    snapshot = repository.find_snapshot("latest")
    for after in (0, 60, 1000):
        proxy.clear()
        proxy.add(Fault("corrupt", "GET", path="/packs/", times=None, after=after))
        with fast_folder() as folder:
            names = (history.stores[1].name, "disk")
            result = restore(repository, snapshot, str(folder / "all"), options=RestoreOptions(tiers=names, workers=2))
            assert result.is_whole
            assert seen(folder / "all") == source.seen(0)


def test_two_backups_at_once_commit_over_lost_acknowledgements(
    source: ChangingSource, tiers: Tiers, proxy: FaultProxy, prefix: str
) -> None:
    """Two writers to one bucket whose log entries' acknowledgements get lost: each commits once."""
    history = begun(source, [tiers.open(prefix)])
    versions = [source.change() for _ in range(2)]
    repositories = [History(source, [tiers.open(prefix)], 3, history.tokens).open(seed=number) for number in range(2)]
    proxy.add(Fault("lost-ack", "PUT", path="/log/", times=4))

    def write(number: int) -> str:
        options = BackupOptions(run_token=f"run w{number}", label=f"{number}", workers=1, memory_budget=64 << 20)
        return backup(repositories[number], source.source(versions[number]), options=options).snapshot_id

    with ThreadPoolExecutor(2) as pool:
        identities = set(pool.map(write, range(2)))
    proxy.clear()
    history.tokens |= {f"run w{number}": versions[number] for number in range(2)}
    repository = history.open(seed=9)
    tokens = sorted(snapshot.manifest.run_token for snapshot in repository.snapshots())
    assert tokens == ["run 0", "run w0", "run w1"]
    assert identities <= {snapshot.id for snapshot in repository.snapshots()}
    history.expect_sound()
    assert history.expect_restores() == 3


# Object lock


class Vault:
    """A locked bucket with two backups, and what somebody with its credentials can do to it."""

    def __init__(self, source: ChangingSource, tiers: Tiers, server: S3Server, prefix: str) -> None:
        self.prefix, self.server, self.tiers = prefix, server, tiers
        self.store = tiers.open(prefix, locks=True)
        self.history = History(source, [self.store], 3)
        self.history.init()
        for number in range(2):
            token = f"run {number}"
            self.history.tokens[token] = source.change()
            options = BackupOptions(
                run_token=token, label="photos", lock_days={self.store.name: 1}, workers=2, memory_budget=64 << 20
            )
            repository = self.history.open(seed=number)
            backup(repository, source.source(self.history.tokens[token]), options=options)

    @property
    def bucket(self) -> str:
        return self.server.shared_bucket(locks=True)

    def object_keys(self) -> list[str]:
        listed = self.server.client().list_objects_v2(Bucket=self.bucket, Prefix=self.prefix + "/")
        return [entry["Key"] for entry in listed["Contents"]]

    def delete_everything(self) -> None:
        client = self.server.client()
        for key in self.object_keys():
            client.delete_object(Bucket=self.bucket, Key=key)

    def overwrite_everything(self) -> None:
        client = self.server.client()
        for key in self.object_keys():
            client.put_object(Bucket=self.bucket, Key=key, Body=b"pay us")


@pytest.fixture
def vault(source: ChangingSource, tiers: Tiers, s3_server: S3Server, prefix: str) -> Vault:
    return Vault(source, tiers, s3_server, prefix)


def test_all_that_a_snapshot_needs_is_locked(vault: Vault) -> None:
    """After a backup with lock days every pack, segment, key and the config cannot be deleted by anybody."""
    unlocked = []
    for info in vault.store.list(""):
        found = vault.store.head(info.key)
        assert found is not None
        if found.lock_until is None:
            unlocked.append(info.key)
        else:
            assert found.lock_until - vault.store.now() > timedelta(hours=23)
    # What `init` wrote before anybody asked for a lock: the log's first entries say nothing about a snapshot.
    assert {key.partition("/")[0] for key in unlocked} <= {"log", "pending"}, unlocked


def test_a_ravaged_bucket_is_restored_through_its_delete_markers(vault: Vault) -> None:
    """Somebody deletes every object with the tier's own credentials: everything restores, it is told, and repaired."""
    vault.delete_everything()
    repository = vault.history.open([vault.tiers.open(vault.prefix, locks=True)], seed=8)
    assert vault.history.expect_restores() == 2
    report = check(repository, read_percent=100)
    assert {finding.problem for finding in report.findings} == {Problem.HIDDEN}
    (tier,) = repository.tiers
    assert repair(repository, tier, report).is_complete
    vault.history.open(seed=9)
    vault.history.expect_sound()


def test_an_overwritten_bucket_is_restored_from_its_original_versions(vault: Vault) -> None:
    """Somebody overwrites every object: the tier is damaged, its original versions are not."""
    vault.overwrite_everything()
    store = vault.tiers.open(vault.prefix, locks=True)
    (tier,) = vault.history.open([store], seed=8).tiers
    assert tier.state is TierState.DAMAGED
    originals = store.originals()
    assert originals is not None
    vault.history.open([originals], seed=9)
    vault.history.expect_sound()
    assert vault.history.expect_restores() == 2


def test_overwritten_packs_are_repaired_from_their_original_versions(vault: Vault) -> None:
    """When packs and segments were overwritten and no other tier is there, repair takes the versions beneath."""
    client = vault.server.client()
    for key in vault.object_keys():
        if "/packs/" in key or "/index/" in key:
            client.put_object(Bucket=vault.bucket, Key=key, Body=b"pay us")
    store = vault.tiers.open(vault.prefix, locks=True)
    repository = vault.history.open([store], seed=8)
    (tier,) = repository.tiers
    assert tier.state is TierState.DAMAGED
    result = repair(repository, tier, check(repository, read_percent=100))
    assert result.is_complete, result.unrepaired
    repository = vault.history.open(seed=9)
    assert isinstance(repository, Repository)
    vault.history.expect_sound()
    assert vault.history.expect_restores() == 2
