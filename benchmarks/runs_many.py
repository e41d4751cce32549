"""Very many at once: runs that are accepted, schedules that fall due, clients that watch, snapshots that are there."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import msgspec
import psycopg

from benchmarks.history import make_history
from benchmarks.report import Figure
from benchmarks.runs_rows import MEGABYTE, Runs, Sizes, states
from benchmarks.socket_clients import Watched, Watching, watch_from_outside
from benchmarks.spine_platform import Platform, percentile
from benchmarks.spine_rows import BENCH_ORGANISATION
from chassis.clock import SystemClock
from contracts.envelope import decode
from repository.keys.key_file import KeyFile
from repository.tiers.location import open_tier
from services.config.adapters.record import DUE

PERSONS = 10
"""Who ask together: a person writes 200 times at once, an organisation 1,000 times."""
PROBES_PER_SECOND = 4
DUE_IN_SECONDS = 3.0
FELL_DUE = """
    SELECT count(DISTINCT originator_id) FROM config.stored_events WHERE topic = 'config.backup-fell-due.v1'
"""
ANSWERED = """
    SELECT topic, count(*), count(DISTINCT originator_id) FROM executor.stored_events
    WHERE topic IN ('executor.backup-accepted.v1', 'executor.backup-refused.v1') GROUP BY topic
"""
STEPS = """
    SELECT topic, state FROM executor.stored_events WHERE originator_id = %s ORDER BY originator_version
"""


def _folders(platform: Platform, source: str, organisation: str, count: int) -> list[str]:
    """A source with so many folders of one small file each."""
    platform.add_source(source, organisation, [])
    folder = platform.home.parent / f"source-{source}"
    names = [f"{number:05}" for number in range(count)]
    for name in names:
        (folder / name).mkdir()
        (folder / name / "contract.txt").write_text(f"{source} {name}")
    return names


async def accepted(platform: Platform, much: Sizes) -> list[Figure]:
    """Five hundred runs of ten people of one organisation, asked for at once; what another's requests wait for."""
    folders = _folders(platform, "many", BENCH_ORGANISATION, much.accepted)
    probes = _folders(platform, "probes", "other", 60 * PROBES_PER_SECOND)
    async with AsyncExitStack() as stack:
        people = [
            Runs(platform, await stack.enter_async_context(platform.http(BENCH_ORGANISATION))) for _ in range(PERSONS)
        ]
        other = Runs(platform, await stack.enter_async_context(platform.http("other")))
        first = Runs(platform, await stack.enter_async_context(platform.http(BENCH_ORGANISATION)))
        configurations = await first.configurations_of_folders("many", folders)
        probed = await Runs(
            platform, await stack.enter_async_context(platform.http("other"))
        ).configurations_of_folders("probes", probes)
        is_over = asyncio.Event()

        async def probe() -> list[str]:
            asked: list[asyncio.Task[str]] = []
            for configuration in probed:
                asked.append(asyncio.create_task(other.request(configuration)))
                await asyncio.sleep(1 / PROBES_PER_SECOND)
                if is_over.is_set():
                    break
            return list(await asyncio.gather(*asked))

        probing = asyncio.create_task(probe())
        await asyncio.sleep(1)
        began = time.monotonic()
        ids = await asyncio.gather(
            *(people[number % PERSONS].request(each) for number, each in enumerate(configurations))
        )
        asked_seconds = time.monotonic() - began
        found = await first.ended(ids, seconds=much.seconds)
        took = time.monotonic() - began
        is_over.set()
        await other.ended(await probing, seconds=much.seconds)
    waited = [each for person in people for each in person.accept_ms]
    is_well = sum(state == "completed" for state, _, _ in found.values()) == len(ids)
    return [
        Figure(
            "accepted",
            f"{much.accepted} runs asked for at once: another's POST execute → 202 until all are done, p95",
            percentile(other.accept_ms, 0.95) if is_well else float("inf"),
            unit="ms",
            floor=200,
            smaller_is_better=True,
            ours=f"{len(other.accept_ms)} at {PROBES_PER_SECOND}/s, p50 {percentile(other.accept_ms, 0.5):.0f}; the "
            f"{much.accepted} themselves p50 {percentile(waited, 0.5):.0f} ms, p95 {percentile(waited, 0.95):.0f} ms, "
            f"all accepted after {asked_seconds:.1f} s, done after {took:.1f} s: {states(found, len(ids))}",
        )
    ]


async def schedules(platform: Platform, much: Sizes) -> list[Figure]:
    """Ten thousand schedules of twenty organisations that fall due at one instant.

    They are created as any other; then their timers are put to one instant, which saves waiting for it.
    """
    each = much.due // much.organisations
    for number in range(much.organisations):
        organisation = f"due-{number}"
        folders = _folders(platform, organisation, organisation, each)
        async with platform.http(organisation) as http:
            for at in range(0, each, 500):
                await Runs(platform, http).configurations_of_folders(
                    organisation, folders[at : at + 500], schedule={"cron": "0 3 1 1 *"}
                )
    wanted = each * much.organisations
    due_at = SystemClock().now() + timedelta(seconds=DUE_IN_SECONDS)
    answers: dict[str, tuple[int, int]] = {}
    fell_due_after = answered_after = float("inf")
    async with await psycopg.AsyncConnection.connect(platform.admin_dsn, autocommit=True) as database:
        await database.execute(
            "UPDATE config.timers SET due_at = %s, body = %s WHERE kind = %s",
            (due_at, msgspec.json.encode(due_at), DUE),
        )
        await asyncio.sleep(max(0.0, (due_at - SystemClock().now()).total_seconds()))
        began = time.monotonic()
        while time.monotonic() - began < much.seconds / 3 and answered_after == float("inf"):
            ((fell_due,),) = await (await database.execute(FELL_DUE)).fetchall()
            if fell_due >= wanted:
                fell_due_after = min(fell_due_after, time.monotonic() - began)
            rows = await (await database.execute(ANSWERED)).fetchall()
            answers = {topic.split(".")[1]: (count, distinct) for topic, count, distinct in rows}
            if sum(count for count, _ in answers.values()) >= wanted:
                answered_after = time.monotonic() - began
            await asyncio.sleep(1)
        query = "SELECT count(*), count(DISTINCT configuration_id) FROM executor.run_claims"
        ((claims, of_configurations),) = await (await database.execute(query)).fetchall()
    is_once = claims == of_configurations and all(count == distinct for count, distinct in answers.values())
    return [
        Figure(
            "schedules",
            f"{wanted} schedules due at one instant: until each is accepted or refused",
            answered_after if is_once else float("inf"),
            unit="s",
            floor=60,
            smaller_is_better=True,
            ours=f"all fallen due after {fell_due_after:.1f} s; "
            + ", ".join(f"{count} {name}" for name, (count, _) in sorted(answers.items()))
            + f"; none twice: {is_once}",
        )
    ]


async def watched(platform: Platform, much: Sizes) -> list[Figure]:
    """Two hundred clients watch all of an organisation while sixty runs of 20 MB go on."""
    names = [f"watched-{number}" for number in range(much.runs)]
    for name in names:
        platform.add_source(name, BENCH_ORGANISATION, [much.megabytes * MEGABYTE // 4] * 4)
    async with platform.http(BENCH_ORGANISATION) as http:
        runs = Runs(platform, http)
        configurations = await runs.configurations(names)
        plan = Watching(
            url=f"ws://{platform.address[0]}:{platform.address[1]}/api/backup/monitoring",
            tokens=[platform.token(BENCH_ORGANISATION, "viewer") for _ in range(PERSONS)],
            clients=much.sockets,
        )
        async with watch_from_outside(plan) as clients:
            began = time.monotonic()
            ids = await asyncio.gather(*map(runs.request, configurations))
            found = await runs.ended(ids, seconds=much.seconds)
            took = time.monotonic() - began
            watched: Watched = await clients.ended()
    facts = [late for late, times in watched.fact_ms.items() for _ in range(times)]
    is_well = watched.dropped == 0 and sum(state == "completed" for state, _, _ in found.values()) == len(ids)
    return [
        Figure(
            "watched",
            f"a fact's moment until {much.sockets} WebSocket clients have it, {much.runs} runs meanwhile, p99",
            percentile(facts, 0.99) if is_well and facts else float("inf"),
            unit="ms",
            floor=1000,
            smaller_is_better=True,
            ours=f"p50 {percentile(facts, 0.5):.0f}, max {max(facts, default=0)}; {len(facts)} facts and "
            f"{watched.progress} messages of progress, {watched.dropped} dropped; {took:.1f} s, "
            f"{states(found, len(ids))}",
        )
    ]


async def preparing(platform: Platform, much: Sizes) -> list[Figure]:
    """An unchanged source whose repository has ten thousand snapshots of others, opened anew and kept open."""
    platform.add_source("unchanged", BENCH_ORGANISATION, [MEGABYTE] * 4)
    key = platform.layout.platform_keys / "repositories" / f"{BENCH_ORGANISATION}.key"
    key.parent.mkdir(mode=0o700, exist_ok=True)
    tier = platform.layout.local_tier / BENCH_ORGANISATION
    # Without chunks: what is read back after each run would be of packs that nobody has written.
    await asyncio.to_thread(
        make_history, open_tier(f"file://{tier}", name="local"), KeyFile.create(key), much.snapshots, 0
    )
    anew: list[float] = []
    kept: list[float] = []
    async with (
        platform.http(BENCH_ORGANISATION) as http,
        await psycopg.AsyncConnection.connect(platform.admin_dsn, autocommit=True) as database,
    ):
        runs = Runs(platform, http)
        (configuration,) = await runs.configurations(["unchanged"])

        async def seconds() -> float:
            run = await runs.request(configuration)
            ((state, _, _),) = (await runs.ended([run], seconds=much.seconds)).values()
            if state != "completed":
                return float("inf")
            rows = await (await database.execute(STEPS, (run,))).fetchall()
            at: dict[str, datetime] = {topic.split(".")[1]: decode(bytes(body)).time for topic, body in rows}
            return (at["backup-uploading"] - at["backup-preparing"]).total_seconds()

        first = await seconds()
        for _ in range(much.rounds):
            await platform.restarted("executor-worker")
            anew.append(await seconds())
            kept += [await seconds() for _ in range(3)]
    return [
        _preparing(f"`preparing` beside {much.snapshots} snapshots, by a worker that has just started", anew, first),
        _preparing("the same of a repository that is still open", kept, None),
    ]


def _preparing(work: str, seconds: Sequence[float], first: float | None) -> Figure:
    return Figure(
        "preparing",
        work,
        statistics.median(seconds),
        unit="s",
        floor=0.5,
        smaller_is_better=True,
        ours=", ".join(f"{each:.2f}" for each in seconds) + (f"; the first run ever {first:.2f}" if first else ""),
    )
