"""One organisation with many configurations and runs: what its status and its lists cost, and whom they hold up.

The read models are filled by COPY beside the projector, with what it would have made of as many facts: recording and
projecting them is another row's business (`spine_history`).
"""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import psycopg
from psycopg.sql import SQL, Identifier

from benchmarks.outside_client import Plan
from benchmarks.report import Figure
from benchmarks.spine_platform import Platform, ask_from_outside, percentile
from benchmarks.spine_rows import LOCAL, Circumstances
from chassis.ids import new_id
from chassis.postgres.database import connection_arguments
from contracts.configuration import Tier
from contracts.envelope import Envelope
from contracts.executor_events import BackupAccepted, BackupCompleted, ExecutionType, RunTotals, TierUploaded
from gateway.runs.standing import columns_of
from gateway.runs.views import ExecutionView, RunsView

LARGE = "large"
OTHERS_PER_SECOND = 100
"""Requests of anybody else that are asked meanwhile, and cost nothing themselves."""
PAGE = 200
_DAYS = 30


def _past_run(organisation: str, execution_id: str, configuration_id: str, at: datetime) -> ExecutionView:
    def told(event: Any) -> Envelope:
        return Envelope(
            specversion="1.0",
            id=new_id(),
            source="/wedsync-backup/executor",
            type=event.NAME,
            subject="bench",
            time=at,
            datacontenttype="application/json",
            organisation=organisation,
            actor="service:executor",
            sequence=1,
            correlationid="bench",
            data=msgspec.Raw(b"{}"),
        )

    accepted = BackupAccepted(
        request_id=new_id(),
        execution_id=execution_id,
        configuration_id=configuration_id,
        configuration_version=1,
        execution_type=ExecutionType.SCHEDULED,
        tiers=(Tier.LOCAL,),
    )
    uploaded = TierUploaded(
        execution_id=execution_id,
        tier=Tier.LOCAL,
        snapshot_id=execution_id,
        log_entry=1,
        uploaded_bytes=1_000_000,
        objects=3,
        seconds=1.0,
    )
    completed = BackupCompleted(
        execution_id=execution_id,
        configuration_id=configuration_id,
        snapshot_id=execution_id,
        degraded=False,
        totals=RunTotals(files=10, source_bytes=2_000_000, new_bytes=1_000_000, stored_bytes=1_000_000),
        verified=(Tier.LOCAL,),
        seconds=2.0,
    )
    run = ExecutionView.accepted(told(accepted), accepted, 1)
    for position, event in enumerate((uploaded, completed), 2):
        run.apply(told(event), event, position)
    return run


async def fill(
    dsn: str, schema: str, organisation: str, template: str, *, configurations: int, executions: int
) -> None:
    """Give an organisation copies of a configuration that it has, and runs that are spread over them and a month."""
    began = datetime.now(UTC) - timedelta(days=_DAYS)  # noqa: TID251  # the past of this benchmark
    ids = [new_id() for _ in range(configurations)]
    latest: dict[str, ExecutionView] = {}

    def rows() -> Iterator[tuple[Any, ...]]:
        for number in range(executions):
            configuration, at = ids[number % configurations], began + timedelta(days=_DAYS) * number / executions
            run = latest[configuration] = _past_run(organisation, new_id(), configuration, at)
            stored = msgspec.json.encode(run).decode()
            yield (run.execution_id, organisation, configuration, run.request_id, at, at, stored)

    arguments = connection_arguments(dsn, schema)
    async with await psycopg.AsyncConnection.connect(dsn, **arguments) as database, database.cursor() as cursor:
        await cursor.execute(
            """
            INSERT INTO configurations (configuration_id, organisation, version, is_wedding_critical, request_id,
                                        created_by, created_at, body)
            SELECT id, organisation, version, is_wedding_critical, request_id, created_by,
                   %s::timestamptz + make_interval(secs => number), body
            FROM configurations, unnest(%s::text[]) WITH ORDINALITY AS copy (id, number) WHERE configuration_id = %s
            """,
            (began, ids, template),
        )
        async with cursor.copy(
            """
            COPY executions (execution_id, organisation, configuration_id, request_id, accepted_at, finished_at, view,
                             state, degraded, files, source_bytes, new_bytes, stored_bytes) FROM STDIN
            """
        ) as copy:
            for number, row in enumerate(rows()):
                await copy.write_row((*row, "completed", False, 10, 2_000_000, 1_000_000, 1_000_000))
                if number % 1000 == 0:
                    await asyncio.sleep(0)
        async with cursor.copy(
            """
            COPY configuration_runs (configuration_id, organisation, last_state, view, standing, protected_at,
                made_version, uploaded_local, uploaded_cloud_primary, uploaded_cloud_secondary, uploaded_offsite,
                failure_local, failure_cloud_primary, failure_cloud_secondary, failure_offsite) FROM STDIN
            """
        ) as copy:
            for configuration, run in latest.items():
                runs = RunsView(configuration_id=configuration, organisation=organisation)
                runs.apply(run)
                stored = msgspec.json.encode(runs).decode()
                await copy.write_row((configuration, organisation, run.state, stored, *columns_of(runs).values()))
        await cursor.execute(
            """
            INSERT INTO execution_counts (organisation, state, runs) VALUES (%s, 'completed', %s)
            ON CONFLICT (organisation, state) DO UPDATE SET runs = excluded.runs
            """,
            (organisation, executions),
        )


def analyse(admin_dsn: str, schema: str) -> None:
    """What Postgres does by itself a while after so many rows have come."""
    with psycopg.connect(admin_dsn, autocommit=True) as database:
        for table in ("configurations", "executions", "configuration_runs"):
            database.execute(SQL("VACUUM ANALYZE {}").format(Identifier(schema, table)))


async def large_organisation(platform: Platform, much: Circumstances) -> list[Figure]:
    """Status and lists of one large organisation, asked from outside, and how long anybody else waits meanwhile."""
    configurations = max(50, much.executions // 20)
    platform.add_source("bench-large", LARGE, [2000])
    async with platform.http(LARGE) as http:
        template = await platform.create_configuration(http, "bench-large", LOCAL)
        began = time.perf_counter()
        await fill(
            platform.dsn("gateway"),
            "gateway",
            LARGE,
            template,
            configurations=configurations,
            executions=much.executions,
        )
        analyse(platform.admin_dsn, "gateway")
        much.facts["large_fill_seconds"] = round(time.perf_counter() - began, 1)
        lists = {
            path: await _walk(http, f"/api/backup/{path}?limit={PAGE}") for path in ("executions", "configurations")
        }
    told = f"{configurations} configurations, {much.executions} executions"
    token, host, port = platform.token(LARGE, "viewer"), *platform.address
    other = platform.request("GET", "/health/live", token)
    asked = {
        "status-large": ("GET status", "/api/backup/status", 50, 25.0),
        "executions-first": ("GET executions, first page", f"/api/backup/executions?limit={PAGE}", 5, None),
        "executions-last": ("GET executions, last page", lists["executions"], 5, None),
        "configurations-first": ("GET configurations, first page", f"/api/backup/configurations?limit={PAGE}", 5, None),
        "configurations-last": ("GET configurations, last page", lists["configurations"], 5, None),
    }
    figures = []
    for name, (what, path, per_second, floor) in asked.items():
        others_each = OTHERS_PER_SECOND // per_second
        plan = Plan(
            host=host,
            port=port,
            requests=[
                platform.request("GET", path, token),
                *[other] * others_each,
            ],
            per_second=per_second * (1 + others_each),
            seconds=much.seconds / 4,
        )
        measured = await ask_from_outside(plan)
        answered = measured.by_request.get(0, [])
        others = [took for number in range(1, 1 + others_each) for took in measured.by_request.get(number, [])]
        if measured.failed or set(measured.milliseconds) != {200} or not answered:
            raise RuntimeError(f"{path}: {measured.failed} failed, answers {sorted(measured.milliseconds)}")
        figures.append(
            Figure(
                name,
                f"{what} of a large organisation, p95 at {per_second} requests/s",
                percentile(answered, 0.95),
                unit="ms",
                floor=floor,
                smaller_is_better=True,
                ours=(
                    f"p50 {percentile(answered, 0.5):.1f}, p99 {percentile(answered, 0.99):.1f}; "
                    f"anybody else meanwhile p99 {percentile(others, 0.99):.1f}, at most {max(others):.1f}; {told}"
                ),
            )
        )
    return figures


async def _walk(http: httpx.AsyncClient, path: str) -> str:
    """The path of the last page, found as a client finds it: from page to page."""
    here = path
    while True:
        answer = await http.get(here)
        answer.raise_for_status()
        following = answer.json()["nextCursor"]
        if following is None:
            return here
        here = f"{path}&cursor={following}"
