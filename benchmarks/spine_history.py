"""A past of many runs for the benchmark of the spine, and how fast the read models are made of it."""

import asyncio
import time
from typing import Any

import psycopg

from benchmarks.report import Figure
from benchmarks.spine_platform import Platform
from benchmarks.spine_rows import Circumstances, context_of
from chassis.domain import Aggregate
from chassis.ids import new_id
from chassis.postgres.database import connection_arguments, install_schema
from chassis.record.eventstore import EventStore
from chassis.sealing import Sealer
from contracts.configuration import Tier
from contracts.event import Event
from contracts.executor_events import BackupAccepted, BackupCompleted, ExecutionType, RunTotals, TierUploaded
from gateway.projections import state
from gateway.projections.shadow import ShadowBuilder
from gateway.schema import STATEMENTS

FILL_SECONDS_MAX = 3600.0


class _History(Aggregate):
    """A run of the past, recorded whole."""

    KIND = "executor.backup-run"

    def apply(self, event: Event) -> None:
        """Nothing is decided by it."""


def _past_run(number: int, organisation_configurations: list[str]) -> _History:
    run = _History(new_id())
    configuration = organisation_configurations[number % len(organisation_configurations)]
    run.record(
        BackupAccepted(
            request_id=new_id(),
            execution_id=run.id,
            configuration_id=configuration,
            configuration_version=1,
            execution_type=ExecutionType.SCHEDULED,
            tiers=(Tier.LOCAL,),
        )
    )
    run.record(
        TierUploaded(
            execution_id=run.id,
            tier=Tier.LOCAL,
            snapshot_id=run.id,
            log_entry=number + 1,
            uploaded_bytes=1_000_000,
            objects=3,
            seconds=1.0,
        )
    )
    run.record(
        BackupCompleted(
            execution_id=run.id,
            configuration_id=configuration,
            snapshot_id=run.id,
            degraded=False,
            totals=RunTotals(files=10, source_bytes=2_000_000, new_bytes=1_000_000, stored_bytes=1_000_000),
            verified=(Tier.LOCAL,),
            seconds=2.0,
        )
    )
    return run


async def fill(platform: Platform, much: Circumstances) -> list[Figure]:
    """Record a past of many runs in many organisations, and wait until the gateway shows them."""
    organisations = [f"org-{number:02}" for number in range(much.organisations)]
    configurations = {organisation: [new_id() for _ in range(10)] for organisation in organisations}
    each = much.executions // much.organisations
    sealer = Sealer(platform.layout.platform_keys)
    for organisation in organisations:
        sealer.make_keys(organisation)  # as its first write would have: its lists have more than one page
    began = time.perf_counter()
    async with platform.record("executor") as store:
        for organisation in organisations:
            await _record_past(store, organisation, configurations[organisation], each)
    async with await _read_models(platform.dsn("gateway"), "gateway") as database:
        while True:
            rows = await (
                await database.execute("SELECT count(*) FROM executions WHERE state = 'completed'")
            ).fetchall()
            if rows[0][0] >= each * len(organisations):
                break
            if time.perf_counter() - began > FILL_SECONDS_MAX:
                raise RuntimeError(f"only {rows[0][0]} executions are shown")
            await asyncio.sleep(0.5)
    much.facts["fill_seconds"] = round(time.perf_counter() - began, 1)
    much.facts["executions"] = each * len(organisations)
    return []


async def catch_up(platform: Platform, much: Circumstances) -> list[Figure]:
    """Wait until every service has handled that past, so that the next rows measure what they name."""
    began = time.perf_counter()
    await platform.caught_up(FILL_SECONDS_MAX)
    seconds = time.perf_counter() - began + much.facts.get("fill_seconds", 0)
    runs = much.facts.get("executions", 0)
    return [
        Figure(
            "catching-up",
            "services' consumers behind the runs of a long past",
            runs / seconds,
            unit="runs/s",
            ours=f"{runs} runs, shown after {much.facts.get('fill_seconds', 0)} s, known to all after {seconds:.0f} s",
        )
    ]


async def _record_past(store: EventStore, organisation: str, configurations: list[str], count: int) -> None:
    batch = 100
    for first in range(0, count, batch):
        runs = [_past_run(number, configurations) for number in range(first, min(first + batch, count))]
        await store.save(*runs, context=context_of(organisation))


async def _read_models(dsn: str, schema: str) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(dsn, **connection_arguments(dsn, schema))


async def rebuild_rate(platform: Platform, much: Circumstances) -> list[Figure]:
    """All read models made from nothing by replay, into a schema of their own beside the running gateway."""
    schema, role, password = "bench_read_models", "bench_read_models", new_id()
    install_schema(platform.admin_dsn, service=schema, role=role, password=password, statements=STATEMENTS)
    dsn = psycopg.conninfo.make_conninfo(platform.dsn("gateway"), user=role, password=password)
    async with platform.connected("gateway") as connection:
        builder = ShadowBuilder(dsn=dsn, schema=schema, nats=lambda: connection.client)
        began = time.perf_counter()
        events = await builder.build()
        seconds = time.perf_counter() - began
    async with (
        await _read_models(dsn, schema) as rebuilt,
        await _read_models(platform.dsn("gateway"), "gateway") as ours,
    ):
        for database in (rebuilt, ours):
            stand = await state.read(database)
            much.facts[f"facts_{database.info.user}"] = stand.sequence
    return [
        Figure(
            "rebuild",
            "rebuild of the read models",
            events / seconds,
            unit="events/s",
            floor=8000,
            ours=f"{events} events in {seconds:.1f} s",
        )
    ]
