"""Configurations of one organisation with different tiers: one repository, or a code and a way out."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chassis.ids import new_id
from chassis.life.signs import Signs
from contracts.configuration import Destination, Tier
from contracts.errors import PlatformError
from contracts.executor_events import BackupCompleted, BackupFailed, TierFailed
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.tiers.location import open_tier
from services.executor.adapters.begun import BegunRepositories
from services.executor.adapters.tables import ReplicaTable
from tests.component.executor.test_runs import perform_next
from tests.support.executor import ORGANISATION, ExecutorBench, executor_bench
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

LOCAL = Destination(location="local", required=True)
CLOUD = Destination(location="second", required=True)


@pytest.fixture
async def bench(tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer) -> AsyncIterator[ExecutorBench]:
    async with executor_bench(tmp_path, postgres, nats_server) as bench:
        (bench.source / "contract.txt").write_text("between A and B " * 1000)
        yield bench


async def _run(bench: ExecutorBench, configuration_id: str, **destinations: Destination) -> str:
    run = new_id()
    await bench.configure(configuration_id=configuration_id, **destinations)
    await bench.request(run, configuration_id=configuration_id)
    await perform_next(bench)
    return run


async def test_third_configuration_uses_the_tiers_of_the_other_two(bench: ExecutorBench) -> None:
    """Two that name no tier in common are of one repository, so that a run may name the tiers of both."""
    await _run(bench, "a", local=LOCAL)
    await _run(bench, "b", cloud_primary=CLOUD)
    last = (await bench.told(await _run(bench, "c", local=LOCAL, cloud_primary=CLOUD)))[-1]
    assert isinstance(last, BackupCompleted)
    assert not last.degraded
    key = KeyFile.load(bench.keys / "repositories" / f"{ORGANISATION}.key")
    for name in ("local", "second"):
        with Repository.open([open_tier(f"file://{bench.tier(name)}")], key) as repository:
            assert [len(repository.snapshots(label)) for label in ("a", "b", "c")] == [1, 1, 1]
    async with bench.pool.connection() as connection:
        found = await (await connection.execute("SELECT * FROM intended_repositories")).fetchall()
    assert found == []


async def test_others_may_open_while_a_run_looks_for_its_source_where_nothing_can_be_begun(
    bench: ExecutorBench,
) -> None:
    """Of a repository that is open. Before there is one, a source that is not there has none begun for it."""
    plane = bench.data_plane()
    await bench.configure(configuration_id="a", local=LOCAL)
    await bench.request("run-a", configuration_id="a")
    claim = await bench.claims.take("w1")
    configuration = await ReplicaTable(bench.pool, bench.store).find("a")
    assert claim is not None
    assert configuration is not None
    there, away, leased = bench.source, bench.home / "away", list[bool]()

    def on_leased() -> None:
        leased.append(there.exists())

    def opened() -> None:
        plane.open(claim, configuration, Signs(), on_leased).close()

    there.rename(away)
    with pytest.raises(PlatformError) as refused:
        await asyncio.to_thread(opened)
    assert refused.value.code.code == "source-unreachable"
    assert not bench.tier("local").exists()
    away.rename(there)
    await asyncio.to_thread(opened)
    assert leased == [], "a repository was begun: that is done by one at a time"
    there.rename(away)
    with pytest.raises(PlatformError) as refused:
        await asyncio.to_thread(opened)
    assert (refused.value.code.code, leased) == ("source-unreachable", [False])
    away.rename(there)
    await asyncio.to_thread(opened)
    assert leased == [False, True], "it is open still: that a source was away says nothing against it"


async def test_tiers_of_two_repositories_are_told_and_become_one(bench: ExecutorBench) -> None:
    """As an older build left them: the run fails by a code of its own, and what its hint says works."""
    await _run(bench, "a", local=LOCAL)
    async with bench.pool.connection() as connection:
        # That build did not look there.
        await connection.execute("UPDATE begun_repositories SET organisation = 'forgotten'")
        await connection.execute("INSERT INTO new_beginnings (organisation) VALUES (%s)", (ORGANISATION,))
    await _run(bench, "b", cloud_primary=CLOUD)
    async with bench.pool.connection() as connection:
        await connection.execute("UPDATE begun_repositories SET organisation = %s", (ORGANISATION,))
    found = await BegunRepositories(bench.pool).check()
    assert found is not None
    assert f"such as {ORGANISATION}, at local, second" in found.message
    told = await bench.told(await _run(bench, "c", local=LOCAL, cloud_primary=CLOUD))
    assert isinstance(told[-1], BackupFailed)
    assert (told[-1].code, told[-1].tier) == ("required-tier-failed", Tier.CLOUD_PRIMARY)
    assert f"tiers begin-anew second --organisation {ORGANISATION}" in told[-1].hint
    failed = [event for event in told if isinstance(event, TierFailed)]
    assert [(event.tier, event.code) for event in failed] == [(Tier.CLOUD_PRIMARY, "other-repository")]
    shutil.move(bench.tier("second"), bench.home / "moved away")
    async with bench.pool.connection() as connection:
        await connection.execute("DELETE FROM begun_repositories WHERE location = 'second'")
    assert await BegunRepositories(bench.pool).check() is None
    last = (await bench.told(await _run(bench, "d", local=LOCAL, cloud_primary=CLOUD)))[-1]
    assert isinstance(last, BackupCompleted)
    assert not last.degraded
