"""Optimisations over real repositories: what is planned is what is done and measured, bounded by day."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chassis.claims.progress import NatsProgress
from chassis.claims.table import ClaimTable
from chassis.clock import SystemClock
from chassis.life.health import Health
from chassis.life.standstills import Standstills
from contracts import errors
from contracts.configuration import Destination
from contracts.gateway_events import Evidence
from contracts.optimization_events import StorageOptimizationRefused, StorageOptimized
from contracts.storage_requests import StorageOptimizationRequested
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.retention.orders import forget
from repository.tiers.location import open_tier
from services.executor.adapters.begun import BegunRepositories
from services.executor.adapters.optimization_plane import RepositoryOptimizations
from services.executor.adapters.optimizations import OPTIMIZATIONS, RecordedOptimizations, SpentBytes
from services.executor.repairing.optimizing import BYTES_A_DAY, OptimizationPerformance
from tests.component.executor.test_runs import perform_next
from tests.support.executor import CONFIGURATION, ORGANISATION, SILENCE_SECONDS, ExecutorBench, executor_bench
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

BOTH: dict[str, Any] = {"local": Destination(location="local"), "cloud_primary": Destination(location="second")}


@pytest.fixture
async def bench(tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer) -> AsyncIterator[ExecutorBench]:
    """Two points on two tiers, each with a file of its own; the command line has forgotten the first."""
    async with executor_bench(tmp_path, postgres, nats_server) as bench:
        await bench.configure(**BOTH)
        for run in ("run-1", "run-2"):
            await _back_up(bench, run)
        with _opened(bench, "local", "second") as repository:
            forget(repository, [_tokens(repository)["run-1"]])
        yield bench


async def _back_up(bench: ExecutorBench, run: str) -> None:
    for old in bench.source.iterdir():
        old.unlink()
    (bench.source / run).write_bytes(run.encode() * 50_000)
    await bench.request(run)
    await perform_next(bench)


def _opened(bench: ExecutorBench, *names: str) -> Repository:
    key = KeyFile.load(bench.keys / "repositories" / f"{ORGANISATION}.key")
    return Repository.open([open_tier(f"file://{bench.tier(name)}", name=name) for name in names], key)


def _tokens(repository: Repository) -> dict[str, str]:
    return {each.manifest.run_token: each.id for each in repository.snapshots(CONFIGURATION)}


async def _ask(bench: ExecutorBench, optimization: str, *, organisation: str = ORGANISATION, **said: Any) -> None:
    request = StorageOptimizationRequested(
        request_id=f"request of {optimization}",
        optimization_id=optimization,
        evidence=Evidence(assurance="aal1"),
        **said,
    )
    await bench.hear(request, organisation=organisation)


async def _optimize(
    bench: ExecutorBench, optimization: str, *, bytes_a_day: int = BYTES_A_DAY, **said: Any
) -> StorageOptimized:
    """An optimisation from its request to its end."""
    await _ask(bench, optimization, **said)
    claims = ClaimTable(OPTIMIZATIONS, bench.pool, bench.beats, silence_seconds=SILENCE_SECONDS)
    claim = await claims.take("w1")
    assert claim is not None
    performance = OptimizationPerformance(
        optimizations=RecordedOptimizations(bench.store),
        spending=SpentBytes(bench.pool),
        claims=claims,
        plane=RepositoryOptimizations(
            locations=bench.locations, keys_dir=bench.keys, begun=BegunRepositories(bench.pool)
        ),
        progress=NatsProgress(bench.connection, "executor", SystemClock()),
        standstills=Standstills(Health("worker"), noun="optimisation"),
        bytes_a_day=bytes_a_day,
    )
    await performance.perform(claim, lambda: False)
    end = (await bench.told(optimization))[-1]
    assert isinstance(end, StorageOptimized)
    return end


def _bytes(bench: ExecutorBench, name: str) -> int:
    return sum(each.stat().st_size for each in (bench.tier(name) / "packs").rglob("*") if each.is_file())


async def test_what_is_planned_is_done_and_what_was_freed_is_what_the_disks_have_less(bench: ExecutorBench) -> None:
    before = {name: _bytes(bench, name) for name in ("local", "second")}
    told = await _optimize(bench, "dry", dry_run=True)
    planned = {place.location: place for place in told.optimized_places}
    assert (told.dry_run, told.degraded, told.allowed_bytes) == (True, False, BYTES_A_DAY)
    assert {name: _bytes(bench, name) for name in before} == before == {n: p.kept_bytes for n, p in planned.items()}
    assert all(place.freed_bytes > 0 for place in planned.values())

    done = await _optimize(bench, "first")
    for place in done.optimized_places:
        assert place.freed_bytes - place.stored_bytes == before[place.location] - _bytes(bench, place.location) > 0
        assert place.freed_bytes == planned[place.location].freed_bytes
    with _opened(bench, "local", "second") as repository:
        assert list(_tokens(repository)) == ["run-2"]

    again = await _optimize(bench, "second", bytes_a_day=1)
    assert [(each.freed_bytes, each.code) for each in again.optimized_places] == [(0, None), (0, None)]
    assert await SpentBytes(bench.pool).within_a_day(ORGANISATION) == max(
        place.stored_bytes for place in done.optimized_places
    )


async def test_what_a_tier_missed_is_told_as_owed_and_then_brought(bench: ExecutorBench) -> None:
    """And one that is away is told, while the others are seen to."""
    shutil.move(bench.tier("second"), bench.home / "away")
    await _back_up(bench, "run-3")
    away = await _optimize(bench, "away")
    codes = {place.location: place.code for place in away.optimized_places}
    assert (away.degraded, codes) == (True, {"local": None, "second": errors.TIER_VANISHED.code})
    shutil.move(bench.home / "away", bench.tier("second"))
    told = await _optimize(bench, "dry", dry_run=True)
    owed = {place.location: (place.owed_points, place.copied_bytes) for place in told.optimized_places}
    assert owed == {"local": (0, 0), "second": (1, 0)}
    done = await _optimize(bench, "first")
    (second,) = [place for place in done.optimized_places if place.location == "second"]
    assert (second.owed_points, second.copied_bytes > 0, second.code) == (1, True, None)
    with _opened(bench, "second") as repository:
        assert {"run-2", "run-3"} <= set(_tokens(repository))


async def test_what_is_left_of_the_day_bounds_what_is_stored_again(bench: ExecutorBench) -> None:
    async with bench.pool.connection() as connection:
        for identity, organisation, hours in (("a", ORGANISATION, 1), ("b", ORGANISATION, 25), ("c", "org-b", 1)):
            await connection.execute(
                "INSERT INTO optimized_bytes VALUES (%s, %s, now() - make_interval(hours => %s), 1000)",
                (identity, organisation, hours),
            )
    assert (await _optimize(bench, "some", dry_run=True, bytes_a_day=1500)).allowed_bytes == 500
    assert (await _optimize(bench, "none", dry_run=True, bytes_a_day=900)).allowed_bytes == 0


async def test_one_is_open_at_a_time_and_one_that_can_find_nothing_is_refused(bench: ExecutorBench) -> None:
    await _ask(bench, "first")
    await _ask(bench, "second")
    await _ask(bench, "nobody", organisation="org-b")
    for optimization, code in (("second", errors.STORAGE_OPTIMIZATION_OPEN), ("nobody", errors.TIER_NOT_IN_USE)):
        (refused,) = await bench.told(optimization)
        assert isinstance(refused, StorageOptimizationRefused)
        assert refused.code == code.code
