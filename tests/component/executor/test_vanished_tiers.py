"""Tiers and key files that were in use and are gone: told, never begun a second time by surprise."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier

from chassis.claims.port import GIVEN_BACK_MAX
from chassis.ids import new_id
from chassis.postgres.database import install_schema
from cli.tiers import FORGET
from contracts.configuration import Destination, Tier
from contracts.executor_events import BackupCompleted, BackupFailed, TierFailed
from contracts.sealed import Sealed
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.tiers.location import open_tier
from services.executor.adapters.begun import BegunRepositories
from services.executor.adapters.schema import STATEMENTS
from services.executor.adapters.tables import REPORT_FIELD
from tests.component.executor.test_runs import perform_next
from tests.support.executor import ORGANISATION, ExecutorBench, executor_bench
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]


@pytest.fixture
async def bench(tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer) -> AsyncIterator[ExecutorBench]:
    async with executor_bench(tmp_path, postgres, nats_server) as bench:
        (bench.source / "contract.txt").write_text("between A and B " * 1000)
        yield bench


async def _run(bench: ExecutorBench, *, given_back: int = 0) -> BackupCompleted | BackupFailed:
    run = new_id()
    await bench.request(run)
    await perform_next(bench, given_back=given_back)
    last = (await bench.told(run))[-1]
    assert isinstance(last, BackupCompleted | BackupFailed)
    failed = [event.tier for event in await bench.told(run) if isinstance(event, TierFailed)]
    if isinstance(last, BackupCompleted):
        assert failed == [owed.tier for owed in last.catch_ups]
    return last


async def _report(bench: ExecutorBench, run_id: str) -> str:
    """What the organisation may read of a run that failed."""
    async with bench.pool.connection() as connection:
        cursor = await connection.execute("SELECT body FROM run_reports WHERE run_id = %s", (run_id,))
        row = await cursor.fetchone()
    assert row is not None
    return bench.sealer.open(ORGANISATION, REPORT_FIELD, msgspec.json.decode(bytes(row[0]), type=Sealed))


def _empty(folder: Path, aside: Path) -> None:
    """As an unmounted disk leaves it: the folder is there, and nothing in it."""
    folder.rename(aside)
    folder.mkdir()


@pytest.mark.parametrize("is_required", [False, True])
async def test_tier_whose_disk_is_not_mounted_is_not_refilled(bench: ExecutorBench, is_required: bool) -> None:
    """Its folder stays empty, the run is degraded (or failed, where the tier is required) and says what to do; the
    next run after the disk is back goes on with it.
    """
    await bench.configure(
        local=Destination(location="local", required=is_required), cloud_primary=Destination(location="second")
    )
    assert isinstance(await _run(bench), BackupCompleted)
    disk, aside = bench.home / "tiers" / "local", bench.home / "disk"
    _empty(disk, aside)
    last = await _run(bench)
    assert list(disk.iterdir()) == []
    if is_required:
        assert isinstance(last, BackupFailed)
        assert (last.code, last.tier) == ("required-tier-failed", Tier.LOCAL)
        assert await _failures(bench, last) == [(Tier.LOCAL, "tier-vanished")]
        report = await _report(bench, last.execution_id)
        assert "vanished" in report
        assert "tiers begin-anew local" in report
    else:
        assert isinstance(last, BackupCompleted)
        assert [(owed.tier, owed.code) for owed in last.catch_ups] == [(Tier.LOCAL, "tier-vanished")]
    disk.rmdir()
    aside.rename(disk)
    again = await _run(bench)
    assert isinstance(again, BackupCompleted)
    assert not again.degraded


async def test_only_tier_that_is_empty_begins_no_second_repository(bench: ExecutorBench) -> None:
    """A run whose every tier has vanished fails; nothing is begun on what lies below."""
    await _lose_the_only_tier(bench)
    last = await _run(bench)
    assert isinstance(last, BackupFailed)
    assert (last.code, last.tier) == ("tier-vanished", Tier.LOCAL)
    assert list((bench.home / "tiers" / "local").iterdir()) == []


async def test_lost_record_and_empty_tiers_begin_nothing_until_somebody_says_so(bench: ExecutorBench) -> None:
    """The organisation's key is left, so that it had backups: told at each run; the order holds until one has begun."""
    await _lose_the_only_tier(bench)
    async with bench.pool.connection() as connection:
        await connection.execute("DELETE FROM begun_repositories")
    for _ in range(2):
        last = await _run(bench)
        assert isinstance(last, BackupFailed)
        assert (last.code, last.tier) == ("tier-vanished", Tier.LOCAL)
        assert f"tiers begin-anew local --organisation {ORGANISATION}" in last.hint
    assert list((bench.home / "tiers" / "local").iterdir()) == []
    assert await _forget(bench, named=ORGANISATION) == [ORGANISATION]
    assert isinstance(await _run(bench), BackupCompleted)
    async with bench.pool.connection() as connection:
        assert await (await connection.execute("SELECT FROM new_beginnings")).fetchall() == []


async def _lose_the_only_tier(bench: ExecutorBench) -> None:
    """After one backup nothing lies where the tier was."""
    await bench.configure(local=Destination(location="local"))
    await _run(bench)
    _empty(bench.home / "tiers" / "local", bench.home / "disk")


async def _forget(bench: ExecutorBench, *, named: str | None = None) -> list[str]:
    """As `tiers begin-anew local` does it."""
    values = {"location": "local", "organisation": named, "named": named}
    async with bench.pool.connection() as connection:
        cursor = await connection.execute(FORGET.replace("executor.", "").encode(), values)
        return [row[0] for row in await cursor.fetchall()]


async def test_only_tier_is_begun_anew_once_that_was_said(bench: ExecutorBench) -> None:
    """What was begun there and what was about to be are forgotten: the next run begins with nothing."""
    await _lose_the_only_tier(bench)
    async with bench.pool.connection() as connection:
        await connection.execute("INSERT INTO intended_repositories VALUES ('org-b', 'local')")
    assert await _forget(bench) == sorted([ORGANISATION, "org-b"])
    async with bench.pool.connection() as connection:
        assert await (await connection.execute("SELECT FROM intended_repositories")).fetchall() == []
    assert isinstance(await _run(bench), BackupCompleted)


async def test_run_that_fails_tells_of_each_tier_that_is_gone(bench: ExecutorBench) -> None:
    """All of them are empty, are away, or the run fails for one and another is away: each is told by its code."""
    await bench.configure(
        local=Destination(location="local", required=True), cloud_primary=Destination(location="second")
    )
    assert isinstance(await _run(bench), BackupCompleted)
    assert await asyncio.to_thread(BegunRepositories(bench.pool).at, "local") == [ORGANISATION]
    local, second = bench.home / "tiers" / "local", bench.home / "tiers" / "second"
    _empty(local, bench.home / "disk")
    second.rename(bench.home / "second disk")
    last = await _run(bench)
    assert isinstance(last, BackupFailed)
    assert set(await _failures(bench, last)) == {
        (Tier.LOCAL, "tier-vanished"),
        (Tier.CLOUD_PRIMARY, "tier-unreachable"),
    }
    second.mkdir()
    last = await _run(bench)
    assert isinstance(last, BackupFailed)
    both = [(Tier.LOCAL, "tier-vanished"), (Tier.CLOUD_PRIMARY, "tier-vanished")]
    assert await _failures(bench, last) == both
    second.rmdir()
    local.rmdir()
    last = await _run(bench)
    assert isinstance(last, BackupFailed)
    assert await _failures(bench, last) == [(tier, "tier-unreachable") for tier, _ in both]


async def _failures(bench: ExecutorBench, last: BackupFailed) -> list[tuple[Tier, str]]:
    events = await bench.told(last.execution_id)
    return [(event.tier, event.code) for event in events if isinstance(event, TierFailed)]


async def test_folder_of_a_location_is_never_made(bench: ExecutorBench) -> None:
    """A mount point that is missing, or was never there, is not made for a first run either."""
    (bench.home / "tiers" / "local").rmdir()
    await bench.configure(local=Destination(location="local"), cloud_primary=Destination(location="second"))
    last = await _run(bench)
    assert isinstance(last, BackupCompleted)
    assert [(owed.tier, owed.code) for owed in last.catch_ups] == [(Tier.LOCAL, "tier-unreachable")]
    assert not (bench.home / "tiers" / "local").exists()


async def test_new_organisation_begins_nothing_where_the_others_repositories_are_gone(bench: ExecutorBench) -> None:
    """An empty location at which others had repositories is not taken for a new one."""
    async with bench.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO begun_repositories (organisation, location, repository_id) VALUES ('org-b', 'local', 'ab')"
        )
    await bench.configure(local=Destination(location="local"), cloud_primary=Destination(location="second"))
    last = await _run(bench)
    assert isinstance(last, BackupCompleted)
    assert [(owed.tier, owed.code) for owed in last.catch_ups] == [(Tier.LOCAL, "tier-vanished")]
    assert list((bench.home / "tiers" / "local").iterdir()) == []


async def test_key_file_is_not_made_anew_while_its_repository_s_only_tier_is_away(bench: ExecutorBench) -> None:
    """With the key file gone and the tier not mounted, another tier does not begin a second history under a new key."""
    await bench.configure(local=Destination(location="local"))
    await _run(bench)
    key = bench.keys / "repositories" / f"{ORGANISATION}.key"
    copy = key.rename(bench.home / "copy.key")
    _empty(bench.home / "tiers" / "local", bench.home / "disk")
    async with bench.pool.connection() as connection:
        await connection.execute("DELETE FROM configuration_replicas")
    await bench.configure(cloud_primary=Destination(location="second"))
    last = await _run(bench, given_back=GIVEN_BACK_MAX)
    assert isinstance(last, BackupFailed)
    assert last.code == "keys-unusable"
    assert f"repositories/{ORGANISATION}.key" in await _report(bench, last.execution_id)
    assert not key.exists()
    assert list((bench.home / "tiers" / "second").iterdir()) == []
    copy.rename(key)
    (bench.home / "tiers" / "local").rmdir()
    (bench.home / "disk").rename(bench.home / "tiers" / "local")
    with Repository.open([open_tier(f"file://{bench.tier('local')}")], KeyFile.load(key)) as repository:
        assert len(repository.snapshots()) == 1


async def test_tier_is_begun_anew_once_that_was_said(bench: ExecutorBench) -> None:
    """After the location was forgotten, the next run fills the tier from the others."""
    await bench.configure(local=Destination(location="local"), cloud_primary=Destination(location="second"))
    await _run(bench)
    shutil.rmtree(bench.tier("local"))
    async with bench.pool.connection() as connection:
        await connection.execute("DELETE FROM begun_repositories WHERE location = 'local'")
    last = await _run(bench)
    assert isinstance(last, BackupCompleted)
    assert not last.degraded
    key = KeyFile.load(bench.keys / "repositories" / f"{ORGANISATION}.key")
    with Repository.open([open_tier(f"file://{bench.tier('local')}")], key) as repository:
        assert len(repository.snapshots()) == 2


async def _upgrade(bench: ExecutorBench, postgres: PostgresServer) -> list[tuple[str, str, str]]:
    """Install the schema as from a build that remembered nothing; what is remembered then."""
    async with bench.pool.connection() as connection:
        await connection.execute("DELETE FROM begun_repositories")
        ((schema,),) = await (await connection.execute("SELECT current_schema()")).fetchall()
    async with await AsyncConnection.connect(postgres.admin_dsn, autocommit=True) as admin:
        steps = SQL("DELETE FROM {}.schema_steps WHERE part = 'service' AND number = %s").format(Identifier(schema))
        filled = [number for number, text in enumerate(STATEMENTS, start=1) if "INSERT INTO begun_repositories" in text]
        await admin.execute(steps, filled)
    await asyncio.to_thread(
        install_schema,
        postgres.admin_dsn, service=schema, role=f"{schema}_role", password=None, statements=STATEMENTS,
    )  # fmt: skip
    return await _remembered(bench)


async def _remembered(bench: ExecutorBench) -> list[tuple[str, str, str]]:
    async with bench.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT organisation, location, repository_id FROM begun_repositories ORDER BY location"
        )
        return list(await cursor.fetchall())


async def test_tier_that_vanished_before_an_upgrade_is_not_refilled(
    bench: ExecutorBench, postgres: PostgresServer
) -> None:
    """What earlier runs have uploaded, and where, is in the record: a build that remembers begins with that."""
    assert await _upgrade(bench, postgres) == []
    await bench.configure(local=Destination(location="local"), cloud_primary=Destination(location="second"))
    first = await _run(bench)
    assert isinstance(first, BackupCompleted)
    before = await _remembered(bench)
    repository = before[0][2]
    assert repository
    disk, aside = bench.home / "tiers" / "local", bench.home / "disk"
    _empty(disk, aside)
    assert await _upgrade(bench, postgres) == [(ORGANISATION, "local", ""), (ORGANISATION, "second", "")]
    last = await _run(bench)
    assert isinstance(last, BackupCompleted)
    assert [(owed.tier, owed.code) for owed in last.catch_ups] == [(Tier.LOCAL, "tier-vanished")]
    assert list(disk.iterdir()) == []
    assert await _remembered(bench) == [(ORGANISATION, "local", ""), (ORGANISATION, "second", repository)]
    disk.rmdir()
    aside.rename(disk)
    again = await _run(bench)
    assert isinstance(again, BackupCompleted)
    assert not again.degraded
    assert await _remembered(bench) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system of its own can be mounted by root alone")
@pytest.mark.parametrize("is_required", [False, True])
async def test_run_does_not_begin_on_a_tier_below_its_reserve(bench: ExecutorBench, is_required: bool) -> None:
    """A tier with less room than the reserve is told before anything is written; the others have the snapshot.

    Is it required, the run fails with what helps: room.
    """
    folder = bench.home / "tiers" / "local"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True, timeout=10)
    try:
        local = Destination(location="local", required=is_required)
        await bench.configure(local=local, cloud_primary=Destination(location="second"))
        await bench.request("run-1")
        await perform_next(bench, data_plane=bench.data_plane(tier_reserve_bytes=64 << 20))
        assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=10)
    last = (await bench.told("run-1"))[-1]
    if is_required:
        assert isinstance(last, BackupFailed)
        assert last.code == "required-tier-failed"
        assert "The tier local takes nothing [tier-full]: Free space" in last.hint
        return
    assert isinstance(last, BackupCompleted)
    assert [(owed.tier, owed.code) for owed in last.catch_ups] == [(Tier.LOCAL, "tier-full")]
