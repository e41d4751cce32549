"""What is measured of the spine, one function a row, on a running platform."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from nats.js import api

from benchmarks.outside_client import Plan
from benchmarks.report import Figure
from benchmarks.spine_disk import Disk
from benchmarks.spine_platform import OURS, Platform, ask_from_outside, percentile
from chassis.clock import SystemClock
from chassis.context import Context
from chassis.ids import new_id
from contracts.envelope import decode
from contracts.streams import stream_of
from contracts.subjects import events_of
from gateway.auth.domain import Denial

EVENTS_PER_SECOND = 200
REQUESTS_PER_SECOND = 200
APPEND_FSYNCS = 6
POST_FSYNCS = 12
"""How many fsyncs a latency may take: on the way lie two, or four, and each may find two before it."""
LOCAL = {"local": {"location": "local", "required": True}}
BENCH_ORGANISATION = "bench"


@dataclass
class Circumstances:
    """How much is done. `facts`: what else is worth writing down."""

    seconds: float = 20.0
    posts: int = 200
    relayed: int = 20_000
    executions: int = 100_000
    organisations: int = 20
    facts: dict[str, Any] = field(default_factory=dict)


def start_and_memory(platform: Platform, _: Circumstances) -> list[Figure]:
    """How long the start took, and what our processes take when nothing happens."""
    pss = platform.pss_mib()
    return [
        Figure(
            "start",
            "whole stack ready",
            platform.state.ready_seconds or 0.0,
            unit="s",
            floor=15,
            smaller_is_better=True,
            ours=f"{len(platform.state.parts)} parts",
        ),
        Figure(
            "memory",
            "our idle processes, PSS together",
            sum(pss.values()),
            unit="MiB",
            floor=400,
            smaller_is_better=True,
            ours=", ".join(f"{name} {pss[name]:.0f}" for name in OURS),
        ),
    ]


def _denial() -> Denial:
    denial = Denial(new_id())
    denial.note("forbidden", "/bench", "GET", 1)
    return denial


def context_of(organisation: str = BENCH_ORGANISATION) -> Context:
    """In whose name the benchmark records something."""
    return Context(organisation=organisation, actor="service:bench", correlation_id=new_id())


async def append_to_consumer(platform: Platform, much: Circumstances) -> list[Figure]:
    """From the call that records an event to the moment when a durable-stream consumer has it decoded."""
    appended: dict[str, float] = {}
    committed: dict[str, float] = {}
    took: list[float] = []
    took_from_commit: list[float] = []
    async with platform.record("gateway") as store, platform.connected("topology") as connection:
        disk = Disk(platform.home)
        subscription = await connection.client.jetstream().pull_subscribe(
            events_of("gateway"),
            stream=stream_of("gateway"),
            config=api.ConsumerConfig(deliver_policy=api.DeliverPolicy.NEW, ack_policy=api.AckPolicy.NONE),
        )

        async def consume() -> None:
            while True:
                with contextlib.suppress(TimeoutError):
                    for message in await subscription.fetch(200, timeout=1):
                        now = time.perf_counter()
                        identity = decode(message.data).subject
                        if identity in appended:
                            took.append((now - appended[identity]) * 1000)
                            took_from_commit.append((now - committed.get(identity, now)) * 1000)

        async def append() -> None:
            denial = _denial()
            appended[f"denial/{denial.id}"] = time.perf_counter()
            await store.save(denial, context=context_of())
            committed[f"denial/{denial.id}"] = time.perf_counter()

        consumer = asyncio.create_task(consume())
        await asyncio.sleep(0.5)
        wanted = int(EVENTS_PER_SECOND * much.seconds)
        with disk:
            async with asyncio.TaskGroup() as group:
                begin = time.perf_counter()
                for number in range(wanted):
                    await asyncio.sleep(max(0.0, begin + number / EVENTS_PER_SECOND - time.perf_counter()))
                    group.create_task(append())
        deadline = time.perf_counter() + 10
        while len(took) < wanted and time.perf_counter() < deadline:  # noqa: ASYNC110  # the last few are on their way
            await asyncio.sleep(0.05)
        consumer.cancel()
        await asyncio.gather(consumer, return_exceptions=True)
    if len(took) < wanted:
        raise RuntimeError(f"{wanted - len(took)} of {wanted} events did not arrive")
    return [
        Figure(
            "append-to-consumer",
            f"append → consumer, p99 at {EVENTS_PER_SECOND} events/s",
            percentile(took, 0.99),
            unit="ms",
            floor=disk.floor(25, APPEND_FSYNCS),
            smaller_is_better=True,
            ours=(
                f"p50 {percentile(took, 0.5):.1f}, from the commit p99 {percentile(took_from_commit, 0.99):.1f}; "
                + disk.told(percentile(took, 0.99))
            ),
        )
    ]


async def relay_rate(platform: Platform, much: Circumstances) -> list[Figure]:
    """How fast the gateway's relay publishes a backlog, by the stream's own times."""
    batch = 250
    async with platform.record("gateway") as store, platform.connected("topology") as connection:
        js = connection.client.jetstream()
        before = (await js.stream_info(stream_of("gateway"))).state.last_seq
        for _ in range(much.relayed // batch):
            await store.save(*(_denial() for _ in range(batch)), context=context_of())
        last = before + much.relayed
        deadline = time.perf_counter() + 120
        while (await js.stream_info(stream_of("gateway"))).state.last_seq < last:
            if time.perf_counter() > deadline:
                raise RuntimeError("the relay did not publish everything")
            await asyncio.sleep(0.1)
        # The time of the first message after the warm-up of one window, and of the last.
        first = before + 1000
        seconds = (await _stored_at(js, last) - await _stored_at(js, first)).total_seconds()
    return [
        Figure(
            "relay",
            "relay, backlog of small events",
            (last - first) / seconds,
            unit="events/s",
            floor=2000,
            ours=f"{much.relayed} events, every write synced",
        )
    ]


async def _stored_at(js: Any, sequence: int) -> Any:
    message = await js.get_msg(stream_of("gateway"), sequence)
    return message.time


async def post_execute(platform: Platform, much: Circumstances) -> list[Figure]:
    """From an outside client's POST to the 202 with the accepted execution, while the accepted runs are performed."""
    platform.add_source("bench-small", BENCH_ORGANISATION, [2000])
    async with platform.http(BENCH_ORGANISATION) as http:
        # A configuration has one open run at a time.
        configurations = [await platform.create_configuration(http, "bench-small", LOCAL) for _ in range(much.posts)]
    token = platform.token(BENCH_ORGANISATION)
    host, port = platform.address
    bodies = [f'{{"configurationId": "{configuration}"}}'.encode() for configuration in configurations]
    posts = [platform.request("POST", "/api/backup/execute", token, body, new_id()) for body in bodies]
    plan = Plan(host=host, port=port, requests=posts, per_second=5, seconds=much.posts / 5)
    with Disk(platform.home) as disk:
        measured = await ask_from_outside(plan)
    accepted = measured.milliseconds.get(202, [])
    if len(accepted) != much.posts:
        others = {status: len(times) for status, times in measured.milliseconds.items()}
        raise RuntimeError(f"{len(accepted)} of {much.posts} were accepted: {others}")
    return [
        Figure(
            "post-execute",
            "POST execute → 202, p99",
            percentile(accepted, 0.99),
            unit="ms",
            floor=disk.floor(50, POST_FSYNCS),
            smaller_is_better=True,
            ours=(
                f"p50 {percentile(accepted, 0.5):.1f}, {much.posts} at 5/s; " + disk.told(percentile(accepted, 0.99))
            ),
        )
    ]


@asynccontextmanager
async def _runs_going_on(platform: Platform, found: dict[str, list[float]]) -> AsyncIterator[None]:
    """Backups of 64 MB to two tiers one after another, and how soon the status shows each."""
    platform.add_source("bench-busy", BENCH_ORGANISATION, [8 * 1024 * 1024] * 8)
    tiers = {**LOCAL, "cloudPrimary": {"location": "cloud-primary"}}
    async with platform.http(BENCH_ORGANISATION) as http:
        configuration = await platform.create_configuration(http, "bench-busy", tiers)

        async def keep_running() -> None:
            while True:
                run = await _execute(http, configuration)
                found["stale"].append(await _seconds_until_shown(http, run))
                found["runs"].append(await _seconds_until_ended(http, run))

        busy = asyncio.create_task(keep_running())
        try:
            yield
        finally:
            busy.cancel()
            await asyncio.gather(busy, return_exceptions=True)


async def _execute(http: httpx.AsyncClient, configuration: str) -> str:
    answer = await http.post(
        "/api/backup/execute", json={"configurationId": configuration}, headers={"Idempotency-Key": new_id()}
    )
    answer.raise_for_status()
    return str(answer.json()["execution"]["id"])


async def _seconds_until_shown(http: httpx.AsyncClient, run: str) -> float:
    began = time.perf_counter()
    while True:
        status = (await http.get("/api/backup/status")).json()
        ended = (await http.get(f"/api/backup/executions/{run}")).json()["finishedAt"]
        if ended or any(shown["executionId"] == run for shown in status["running"]):
            return time.perf_counter() - began
        await asyncio.sleep(0.02)


async def _seconds_until_ended(http: httpx.AsyncClient, run: str) -> float:
    began = time.perf_counter()
    while (await http.get(f"/api/backup/executions/{run}")).json()["finishedAt"] is None:  # noqa: ASYNC110  # as a client would
        await asyncio.sleep(0.2)
    return time.perf_counter() - began


async def status_under_load(platform: Platform, much: Circumstances) -> list[Figure]:
    """GET status at a fixed rate over all organisations, from outside, while runs are performed."""
    tokens = [platform.token(f"org-{number:02}", "viewer") for number in range(much.organisations)]
    asked = [platform.request("GET", "/api/backup/status", token) for token in tokens]
    host, port = platform.address
    found: dict[str, list[float]] = {"stale": [], "runs": []}
    async with _runs_going_on(platform, found):
        await asyncio.sleep(1)
        plan = Plan(host=host, port=port, requests=asked, per_second=REQUESTS_PER_SECOND, seconds=much.seconds)
        measured = await ask_from_outside(plan)
    answered = measured.milliseconds.get(200, [])
    if measured.failed or len(answered) != int(REQUESTS_PER_SECOND * much.seconds):
        raise RuntimeError(f"{measured.failed} requests failed, {len(answered)} were answered with 200")
    if not found["stale"]:
        raise RuntimeError("no run went on meanwhile")
    return [
        Figure(
            "status",
            f"GET status, p95 at {REQUESTS_PER_SECOND} requests/s",
            percentile(answered, 0.95),
            unit="ms",
            floor=25,
            smaller_is_better=True,
            ours=(
                f"p50 {percentile(answered, 0.5):.1f}, p99 {percentile(answered, 0.99):.1f}; "
                f"{much.organisations} organisations, {much.facts.get('executions', 0)} executions, "
                f"{len(found['runs']) + 1} runs meanwhile"
            ),
        ),
        Figure(
            "status-age",
            "status shows an accepted run after, at most",
            max(found["stale"]),
            unit="s",
            floor=1,
            smaller_is_better=True,
            ours=f"{len(found['stale'])} runs",
        ),
    ]


def now_text() -> str:
    """When the benchmark was run."""
    return f"{SystemClock().now():%Y-%m-%d %H:%M UTC}"
