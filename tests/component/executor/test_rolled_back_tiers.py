"""Tiers that were put back to an older state: told by a code of their own, never written, never called verified."""

import asyncio
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chassis.ids import new_id
from cli.tiers import ACCEPT, SEEN
from contracts import errors
from contracts.configuration import Destination, Tier
from contracts.errors import PlatformError
from contracts.executor_events import BackupCompleted, BackupFailed, TierFailed
from deploy.locations.history import older, require_unwitnessed
from services.executor.adapters.begun import BegunRepositories
from tests.component.executor.test_runs import perform_next
from tests.support.executor import ORGANISATION, ExecutorBench, executor_bench
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

ROLLED_BACK = "tier-rolled-back"


@pytest.fixture
async def bench(tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer) -> AsyncIterator[ExecutorBench]:
    async with executor_bench(tmp_path, postgres, nats_server) as bench:
        yield bench


async def _run(bench: ExecutorBench) -> tuple[BackupCompleted | BackupFailed, list[tuple[Tier, str]]]:
    """How a run of something new ended, and what it tells of tiers that have not got it."""
    run = new_id()
    (bench.source / run).write_text(f"between A and B, {run} " * 1000)
    await bench.request(run)
    await perform_next(bench)
    events = await bench.told(run)
    last = events[-1]
    assert isinstance(last, BackupCompleted | BackupFailed)
    return last, [(event.tier, event.code) for event in events if isinstance(event, TierFailed)]


def _objects(tier: Path) -> dict[str, bytes]:
    return {str(path.relative_to(tier)): path.read_bytes() for path in tier.rglob("*") if path.is_file()}


def _put_back(bench: ExecutorBench, name: str) -> None:
    """The tier as it was when it was copied; what it was instead is kept."""
    bench.tier(name).rename(bench.home / f"newer {name}")
    shutil.copytree(bench.home / f"older {name}", bench.tier(name))


async def _two_runs_and_the_state_between(bench: ExecutorBench, *names: str) -> None:
    for number in range(2):
        last, failed = await _run(bench)
        assert isinstance(last, BackupCompleted)
        assert not failed
        for name in names if number == 0 else ():
            shutil.copytree(bench.tier(name), bench.home / f"older {name}")


async def test_only_tier_that_went_back_takes_nothing_until_it_is_as_it_was(bench: ExecutorBench) -> None:
    """Nobody else can know: the run fails by a code of its own, the tier stays as it is, and what it had mends it."""
    await bench.configure(local=Destination(location="local"))
    await _two_runs_and_the_state_between(bench, "local")
    _put_back(bench, "local")
    before = _objects(bench.tier("local"))
    last, failed = await _run(bench)
    assert isinstance(last, BackupFailed)
    assert failed == [(Tier.LOCAL, ROLLED_BACK)]
    assert last.code == ROLLED_BACK
    assert "tiers accept-history local," in last.hint
    begun = BegunRepositories(bench.pool)
    trouble = await begun.check_tiers()
    assert trouble is not None, "the worker's readiness tells it between the runs"
    assert (trouble.code, "local of org-a" in trouble.message) == (errors.TIER_ROLLED_BACK, True)
    assert "accept-history local," in trouble.hint
    assert _objects(bench.tier("local")) == before
    shutil.rmtree(bench.tier("local"))
    (bench.home / "newer local").rename(bench.tier("local"))
    last, failed = await _run(bench)
    assert isinstance(last, BackupCompleted)
    assert last.verified == (Tier.LOCAL,)
    assert await begun.check_tiers() is None


@pytest.mark.parametrize("is_required", [False, True])
async def test_tiers_that_went_back_together_are_each_told(bench: ExecutorBench, is_required: bool) -> None:
    """They bear no witness against each other; a third tier goes on alone where none of them is required."""
    await bench.configure(
        local=Destination(location="local", required=is_required), cloud_primary=Destination(location="second")
    )
    await _two_runs_and_the_state_between(bench, "local", "second")
    _put_back(bench, "local")
    _put_back(bench, "second")
    before = _objects(bench.home / "tiers")
    last, failed = await _run(bench)
    assert isinstance(last, BackupFailed)
    assert failed == [(Tier.LOCAL, ROLLED_BACK), (Tier.CLOUD_PRIMARY, ROLLED_BACK)]
    assert last.code == ("required-tier-failed" if is_required else ROLLED_BACK)
    assert _objects(bench.home / "tiers") == before


async def test_older_state_counts_once_that_was_said(bench: ExecutorBench) -> None:
    """Then the next run goes on from it, and the tier is remembered as it is from then on.

    A tier that has what was last seen, or that shows nothing, has nothing to accept.
    """
    await bench.configure(local=Destination(location="local"))
    await _two_runs_and_the_state_between(bench, "local")
    place = next(each for each in bench.locations.tiers() if each.name == "local")
    async with bench.pool.connection() as connection:
        cursor = await connection.execute(
            SEEN.replace("executor.", "").encode(), {"location": "local", "organisation": None}
        )
        seen = [(owner, number, bytes.fromhex(digest)) for owner, number, digest in await cursor.fetchall()]
    assert [owner for owner, *_ in seen] == [ORGANISATION]
    with pytest.raises(PlatformError) as refused:
        older(place, bench.keys, seen)
    assert refused.value.code is errors.LOCATION_IN_USE
    bench.tier("local").rename(bench.home / "away")
    with pytest.raises(PlatformError) as refused:
        older(place, bench.keys, seen)
    assert refused.value.code is errors.TIER_UNREACHABLE
    (bench.home / "away").rename(bench.tier("local"))
    _put_back(bench, "local")
    assert older(place, bench.keys, seen) == [ORGANISATION]
    async with bench.pool.connection() as connection:
        statement = ACCEPT.replace("executor.", "").encode()
        cursor = await connection.execute(statement, {"location": "local", "organisation": None})
        assert len(await cursor.fetchall()) == 1
    last, _ = await _run(bench)
    assert isinstance(last, BackupCompleted)
    assert last.verified == (Tier.LOCAL,)
    shutil.rmtree(bench.tier("local"))
    shutil.copytree(bench.home / "older local", bench.tier("local"))
    _, failed = await _run(bench)
    assert failed == [(Tier.LOCAL, ROLLED_BACK)]


async def test_optional_tier_that_went_back_degrades_the_run(bench: ExecutorBench) -> None:
    """The other tier has the backup; this one is owed a catch-up, and gets nothing meanwhile."""
    await bench.configure(local=Destination(location="local"), cloud_primary=Destination(location="second"))
    await _two_runs_and_the_state_between(bench, "local")
    await _run(bench)
    _put_back(bench, "local")
    before = _objects(bench.tier("local"))
    last, failed = await _run(bench)
    assert isinstance(last, BackupCompleted)
    assert last.degraded
    assert failed == [(owed.tier, owed.code) for owed in last.catch_ups] == [(Tier.LOCAL, ROLLED_BACK)]
    assert last.verified == (Tier.CLOUD_PRIMARY,)
    assert _objects(bench.tier("local")) == before
    # To accept the older state alone would change nothing: the other tier has seen the newer one.
    places = {each.name: each for each in bench.locations.tiers()}
    with pytest.raises(PlatformError) as refused:
        require_unwitnessed(places["local"], [places["second"]], bench.keys, ORGANISATION)
    assert refused.value.code is errors.LOCATION_IN_USE
    command = shlex.split(refused.value.hint[refused.value.hint.index("wedsync-backup repo repair") :])
    assert command[2:5] == ["repair", "--accept-history", "local"]
    assert require_unwitnessed(places["second"], [places["local"]], bench.keys, ORGANISATION) is None
    assert require_unwitnessed(places["local"], [], bench.keys, ORGANISATION) is None
    assert require_unwitnessed(places["local"], [places["second"]], bench.home, ORGANISATION) is not None
    # As it is printed it answers them.
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "cli", *command[1:]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 4, done.stdout + done.stderr  # what was seen is given up
    assert require_unwitnessed(places["local"], [places["second"]], bench.keys, ORGANISATION) is None
