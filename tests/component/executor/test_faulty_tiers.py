"""Runs whose tiers fail as networks, servers and disks do: each ends with what is true, under a code."""

import json
import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from contracts.configuration import Destination, Tier
from contracts.executor_events import BackupCompleted, BackupFailed, TierFailed
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from tests.component.executor.test_runs import perform_next
from tests.support.executor import ORGANISATION, ExecutorBench, executor_bench
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer
from tests.support.s3_server import S3Server
from vault.stores import tier_store

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

NOISE = os.urandom(3 << 20)


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.fixture
async def bench(
    tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer, s3_server: S3Server, proxy: FaultProxy
) -> AsyncIterator[ExecutorBench]:
    """An executor whose location `cloud` is a real S3 server behind the proxy."""
    async with executor_bench(tmp_path, postgres, nats_server) as bench:
        (bench.source / "photo.jpg").write_bytes(NOISE)
        (bench.source / "contract.txt").write_text("between A and B " * 1000)
        registry = bench.home / "locations.json"
        registered = json.loads(registry.read_text())
        prefix = f"{tmp_path.parent.name}-{tmp_path.name}".replace("_", "-").strip("-")
        url = s3_server.url(s3_server.shared_bucket(), prefix, endpoint=proxy.endpoint)
        registered["locations"].append(
            {
                "name": "cloud",
                "kind": "s3",
                "roles": ["tier"],
                "organisations": ["*"],
                "url": url,
                "credentials": "cloud",
            }
        )
        registry.write_text(json.dumps(registered))
        (bench.keys / "credentials").mkdir()
        environment = s3_server.environment
        (bench.keys / "credentials" / "cloud.json").write_text(
            json.dumps(
                {
                    "accessKeyId": environment["AWS_ACCESS_KEY_ID"],
                    "secretAccessKey": environment["AWS_SECRET_ACCESS_KEY"],
                }
            )
        )
        yield bench


@pytest.mark.parametrize(
    "fault",
    [
        Fault("refuse", times=6),
        Fault("status", "PUT", times=8, status=500),
        Fault("status", times=4, status=503, code="SlowDown"),
        Fault("reset-upload", "PUT", path="packs", times=2, after=100_000),
        Fault("lost-ack", "PUT", path="packs", times=2),
        Fault("lost-ack", "PUT", path="log", times=2),
        Fault("corrupt-upload", "PUT", path="packs", times=2, after=1_000_000),
        Fault("throttle", "PUT", path="packs", times=2, bytes_per_second=2 << 20),
        Fault("reset", "GET", times=2, after=10),
        Fault("corrupt", "GET", path="packs", times=1, after=500),
    ],
    ids=lambda fault: f"{fault.action}-{fault.method}-{fault.path}",
)
async def test_fault_that_passes_is_sat_out(bench: ExecutorBench, proxy: FaultProxy, fault: Fault) -> None:
    """A required tier that fails for a while costs time; the run completes, and the tier restores it."""
    proxy.add(fault)
    await bench.configure(
        local=Destination(location="local"), cloud_primary=Destination(location="cloud", required=True)
    )
    await bench.request("run-1")
    await perform_next(bench)
    assert any(one.action == fault.action for one in proxy.seen())
    last = (await bench.told("run-1"))[-1]
    if fault.action == "corrupt":
        # A flipped bit on the way back is found by the reader, and is not mistaken for a backup that is there.
        assert isinstance(last, BackupFailed | BackupCompleted)
        if isinstance(last, BackupFailed):
            assert last.code == "verification-failed"
        return
    assert isinstance(last, BackupCompleted), last
    assert not last.degraded
    proxy.clear()
    await _restores(bench, "cloud", last.snapshot_id)


async def _restores(bench: ExecutorBench, name: str, snapshot_id: str) -> None:
    """The tier alone has the snapshot, whole."""
    from repository.upkeep.check import check

    store = tier_store(bench.locations, bench.keys, ORGANISATION, Tier.CLOUD_PRIMARY, Destination(location=name))
    with Repository.open([store], KeyFile.load(bench.keys / "repositories" / f"{ORGANISATION}.key")) as repository:
        assert [snapshot.id for snapshot in repository.snapshots()] == [snapshot_id]
        assert [finding for finding in check(repository, read_percent=100).findings if finding.is_damage] == []


async def test_tier_that_is_dead_degrades_the_run_and_holds_up_nobody(bench: ExecutorBench, proxy: FaultProxy) -> None:
    """Every request refused for good: the other tier has the snapshot, and this one is owed a catch-up."""
    proxy.add(Fault("refuse", times=None))
    await bench.configure(local=Destination(location="local", required=True), offsite=Destination(location="cloud"))
    await bench.request("run-1")
    await perform_next(bench)
    events = await bench.told("run-1")
    failed = [event for event in events if isinstance(event, TierFailed)]
    assert [(event.tier, event.code) for event in failed] == [(Tier.OFFSITE, "tier-unreachable")]
    last = events[-1]
    assert isinstance(last, BackupCompleted)
    assert last.degraded


async def test_tier_that_dies_in_the_middle_degrades_the_run_and_is_caught_up_by_the_next(
    bench: ExecutorBench, proxy: FaultProxy
) -> None:
    """What the tier got before its death is used again; the next run brings it the rest."""
    proxy.add(Fault("refuse", "PUT", path="packs|index|log", times=None, skip=3))
    await bench.configure(local=Destination(location="local", required=True), offsite=Destination(location="cloud"))
    await bench.request("run-1")
    await perform_next(bench)
    first = (await bench.told("run-1"))[-1]
    assert isinstance(first, BackupCompleted)
    assert first.degraded
    proxy.clear()
    await bench.request("run-2")
    await perform_next(bench)
    second = (await bench.told("run-2"))[-1]
    assert isinstance(second, BackupCompleted)
    assert not second.degraded


@pytest.mark.skipif(os.geteuid() != 0, reason="a full disk needs a file system of its own, which root alone can mount")
async def test_full_disk_of_the_local_tier_fails_that_tier_alone(bench: ExecutorBench) -> None:
    """A tier without space is told as such; the others have the snapshot."""
    folder = bench.home / "tiers" / "local"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True, timeout=10)
    try:
        await bench.configure(
            local=Destination(location="local"), cloud_primary=Destination(location="cloud", required=True)
        )
        await bench.request("run-1")
        await perform_next(bench)
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=10)
    events = await bench.told("run-1")
    assert [(event.tier, event.code) for event in events if isinstance(event, TierFailed)] == [
        (Tier.LOCAL, "tier-full")
    ]
    last = events[-1]
    assert isinstance(last, BackupCompleted)
    assert last.degraded


@pytest.mark.parametrize("loss", ["emptied", "bucket gone"])
async def test_bucket_that_was_lost_is_not_filled_again_in_silence(bench: ExecutorBench, loss: str) -> None:
    """An S3 tier that was in use and is empty, or whose bucket is gone, has vanished: nothing is begun there."""
    await bench.configure(
        local=Destination(location="local", required=True), cloud_primary=Destination(location="cloud")
    )
    await bench.request("run-1")
    await perform_next(bench)
    assert isinstance((await bench.told("run-1"))[-1], BackupCompleted)
    store = tier_store(
        bench.locations, bench.keys, ORGANISATION, Tier.CLOUD_PRIMARY, Destination(location="cloud", required=True)
    )
    for found in list(store.list("")):
        store.delete(found.key)
    if loss == "bucket gone":
        registry = bench.home / "locations.json"
        registry.write_text(re.sub(r"s3://[^/]+/", "s3://no-such-bucket/", registry.read_text()))
    await bench.request("run-2")
    await perform_next(bench)
    last = (await bench.told("run-2"))[-1]
    assert isinstance(last, BackupCompleted)
    assert [(owed.tier, owed.code) for owed in last.catch_ups] == [(Tier.CLOUD_PRIMARY, "tier-vanished")]
    assert list(store.list("")) == []
    store.close()


@pytest.mark.slow
async def test_minute_of_answers_500_is_sat_out(bench: ExecutorBench, proxy: FaultProxy) -> None:
    """A required tier that answers 500 for a whole minute has the snapshot in the end."""
    import threading

    proxy.add(Fault("status", status=500, times=None))
    timer = threading.Timer(60.0, proxy.clear)
    timer.start()
    await bench.configure(cloud_primary=Destination(location="cloud", required=True))
    await bench.request("run-1")
    await perform_next(bench)
    timer.join()
    last = (await bench.told("run-1"))[-1]
    assert isinstance(last, BackupCompleted), last
