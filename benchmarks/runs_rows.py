"""What is measured of many runs at once, one function a row, each on a platform of its own with no setting."""

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg

from benchmarks.outside_client import Plan
from benchmarks.report import Figure
from benchmarks.spine_platform import Platform, ask_from_outside, percentile
from benchmarks.spine_rows import BENCH_ORGANISATION, LOCAL
from chassis.ids import new_id

MEGABYTE = 1_000_000
SAMPLE_SECONDS = 0.25


@dataclass
class Sizes:
    """How much is done."""

    runs: int = 60
    sources: int = 50
    megabytes: int = 20
    queued: int = 200
    accepted: int = 500
    due: int = 10_000
    organisations: int = 20
    sockets: int = 200
    snapshots: int = 10_000
    rounds: int = 2
    seconds: float = 600.0


class Runs:
    """Asks for runs of configurations and watches what becomes of them, in the read model's own table."""

    def __init__(self, platform: Platform, http: httpx.AsyncClient) -> None:
        self._platform = platform
        self._http = http
        self.peak_mib = 0.0
        self.accept_ms: list[float] = []

    async def configurations(
        self, sources: Sequence[str], *, source_type: str = "directory", tiers: dict[str, Any] = LOCAL
    ) -> list[str]:
        """One of each source."""

        async def one(source: str) -> str:
            body = {
                "name": new_id(),
                "sourceType": source_type,
                "sourceLocation": source,
                "storageDestinations": tiers,
            }
            answer = await self._http.post(
                "/api/backup/configurations", json=body, headers={"Idempotency-Key": new_id()}
            )
            answer.raise_for_status()
            return str(answer.json()["id"])

        return [await one(source) for source in sources]

    async def configurations_of_folders(
        self, source: str, folders: Sequence[str], *, schedule: dict[str, Any] | None = None
    ) -> list[str]:
        """One of each folder of a source, a thousand in one write at most."""
        items = [
            {
                "name": new_id(),
                "sourceType": "directory",
                "sourceLocation": source,
                "sourceIdentifier": folder,
                "storageDestinations": LOCAL,
                **({"schedule": schedule} if schedule is not None else {}),
            }
            for folder in folders
        ]
        answer = await self._http.post(
            "/api/backup/configurations/bulk-create",
            json={"mode": "atomic", "items": items},
            headers={"Idempotency-Key": new_id()},
        )
        answer.raise_for_status()
        document = answer.json()
        while document["state"] == "pending":
            await asyncio.sleep(SAMPLE_SECONDS)
            document = (await self._http.get(answer.headers["Location"])).raise_for_status().json()
        return [str(item["id"]) for item in document["items"]]

    async def request(self, configuration: str) -> str:
        """One run; its id."""
        while True:
            began = time.perf_counter()
            answer = await self._http.post(
                "/api/backup/execute",
                json={"configurationId": configuration},
                headers={"Idempotency-Key": new_id()},
            )
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                break
            await asyncio.sleep(float(answer.headers["Retry-After"]))
        self.accept_ms.append((time.perf_counter() - began) * 1000)
        document = answer.raise_for_status().json()
        while document["state"] == "pending":
            await asyncio.sleep(SAMPLE_SECONDS)
            document = (await self._http.get(answer.headers["Location"])).raise_for_status().json()
        return str(document["resource"]).rsplit("/", 1)[1]

    async def ended(self, runs: Sequence[str], *, seconds: float) -> dict[str, tuple[str, float, float]]:
        """Wait for them; state, and when each began and ended by its own facts. Samples the executors' memory."""
        deadline = time.monotonic() + seconds
        query = """
            SELECT execution_id, state, extract(epoch FROM accepted_at), extract(epoch FROM finished_at)
            FROM gateway.executions WHERE execution_id = ANY(%s) AND finished_at IS NOT NULL
        """
        async with await psycopg.AsyncConnection.connect(self._platform.admin_dsn, autocommit=True) as database:
            while True:
                pss = self._platform.pss_mib()
                self.peak_mib = max(self.peak_mib, pss["executor"] + pss["executor-worker"])
                rows = await (await database.execute(query, (list(runs),))).fetchall()
                if len(rows) == len(runs) or time.monotonic() > deadline:
                    for run in [run for run, state, _, _ in rows if state == "failed"]:
                        why = (await self._http.get(f"/api/backup/executions/{run}")).json().get("error")
                        print(f"run {run} failed: {why}", file=sys.stderr, flush=True)
                    return {run: (state, float(began), float(end)) for run, state, began, end in rows}
                await asyncio.sleep(SAMPLE_SECONDS)


def states(found: dict[str, tuple[str, float, float]], wanted: int) -> str:
    """How many ended in which state, in words."""
    ends = [state for state, _, _ in found.values()]
    return ", ".join(
        [f"{ends.count(state)} {state}" for state in sorted(set(ends))] + [f"{wanted - len(found)} not ended"]
    )


async def unthrottled(platform: Platform, much: Sizes) -> list[Figure]:
    """Sixty runs of 20 MB, asked for at once, and `GET /status` a hundred times a second meanwhile."""
    names = [f"plain-{number}" for number in range(much.runs)]
    for name in names:
        platform.add_source(name, BENCH_ORGANISATION, [much.megabytes * MEGABYTE // 4] * 4)
    async with platform.http(BENCH_ORGANISATION) as http:
        runs = Runs(platform, http)
        configurations = await runs.configurations(names)
        host, port = platform.address
        ask = platform.request("GET", "/api/backup/status", platform.token(BENCH_ORGANISATION, "viewer"))
        stop = asyncio.create_task(
            ask_from_outside(Plan(host=host, port=port, requests=[ask], per_second=100, seconds=much.runs * 0.75))
        )
        began = time.monotonic()
        ids = await asyncio.gather(*map(runs.request, configurations))
        found = await runs.ended(ids, seconds=much.seconds)
        took = time.monotonic() - began
        asked = await stop
    good = sorted(asked.milliseconds.get(200, [0.0]))
    completed = sum(state == "completed" for state, _, _ in found.values())
    return [
        Figure(
            "unthrottled",
            f"{much.runs} runs of {much.megabytes} MB at once, total",
            took if completed == len(ids) else float("inf"),
            unit="s",
            floor=60,
            smaller_is_better=True,
            ours=states(found, len(ids)),
        ),
        Figure(
            "unthrottled memory",
            "the executors' peak memory meanwhile, PSS",
            runs.peak_mib,
            unit="MiB",
            floor=1.2e9 / 2**20,
            smaller_is_better=True,
        ),
        Figure(
            "status meanwhile",
            "GET status at 100 requests/s meanwhile, p95",
            percentile(good, 0.95),
            unit="ms",
            floor=50,
            smaller_is_better=True,
            ours=f"p50 {percentile(good, 0.5):.1f}, p99 {percentile(good, 0.99):.0f} (≤ 150), max {good[-1]:.0f}; "
            f"{len(good)} answers, {asked.failed} failed",
        ),
        Figure(
            "accepted",
            "POST execute → 202 of all at once, p95",
            percentile(runs.accept_ms, 0.95),
            unit="ms",
            floor=200,
            smaller_is_better=True,
        ),
    ]


async def turns(platform: Platform, much: Sizes) -> list[Figure]:
    """One organisation has 200 runs in the queue; when does another's first begin?"""
    names = [f"many-{number}" for number in range(much.queued)]
    for name in names:
        platform.add_source(name, BENCH_ORGANISATION, [MEGABYTE] * 4)
    platform.add_source("other", "other", [MEGABYTE])
    async with platform.http(BENCH_ORGANISATION) as http, platform.http("other") as other:
        runs, others = Runs(platform, http), Runs(platform, other)
        configurations = await runs.configurations(names)
        (one,) = await others.configurations(["other"])
        ids = await asyncio.gather(*map(runs.request, configurations))
        began = time.monotonic()
        run = await others.request(one)
        waited = None
        with suppress(TimeoutError):
            async with asyncio.timeout(60):
                while (await other.get(f"/api/backup/executions/{run}")).json()["state"] == "initializing":  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                waited = time.monotonic() - began
        found = await runs.ended([*ids], seconds=much.seconds)
    return [
        Figure(
            "turns",
            f"another organisation's first run behind {much.queued}, until it begins",
            waited if waited is not None else float("inf"),
            unit="s",
            floor=2,
            smaller_is_better=True,
            ours=states(found, len(ids)),
        )
    ]
