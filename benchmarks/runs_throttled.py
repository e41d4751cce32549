"""Many runs at once whose sources, or one of whose tiers, are slow: they overlap, and the slow hold up nobody else."""

import asyncio
import json
import os
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal
from urllib.parse import quote

import boto3
import msgspec
import psycopg
from botocore.config import Config

from benchmarks.report import Figure
from benchmarks.runs_rows import MEGABYTE, Runs, Sizes, states
from benchmarks.runs_sources import Throttle, throttles
from benchmarks.spine_platform import Platform
from benchmarks.spine_rows import BENCH_ORGANISATION
from chassis.location import Location
from contracts.envelope import decode
from deploy.stack.locations import register
from deploy.stack.s3 import endpoint
from deploy.stack.s3_regions import REGIONS
from deploy.stack.secrets import read_secrets

THROTTLE = 2 * MEGABYTE
PIECES = 10
CRAWL = 100_000
"""Bytes a second of a tier that crawls: packs of 16 MB take minutes."""
SLOTS = 6
"""Of each worker where one is compared with two: so that one has several times as much to do as it does at once."""
WAVES = 4
TOLD = "SELECT state FROM executor.stored_events WHERE originator_id = %s AND topic = 'executor.tier-uploaded.v1'"


@asynccontextmanager
async def throttled_buckets(
    platform: Platform, names: Sequence[str], megabytes: float
) -> AsyncIterator[list[Throttle]]:
    """Fill a folder of a bucket for each name, and register it as a source that gives `THROTTLE` bytes a second."""
    region = REGIONS[0]
    pair = read_secrets(platform.layout).s3[region.name]
    address = endpoint(platform.layout, region)
    client = boto3.client(
        "s3",
        endpoint_url=address,
        region_name=region.region,
        aws_access_key_id=pair.access_key_id,
        aws_secret_access_key=pair.secret_access_key,
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )
    piece = int(megabytes * MEGABYTE) // PIECES
    for name in names:
        for part in range(PIECES):
            await asyncio.to_thread(
                client.put_object, Bucket=region.bucket, Key=f"{name}/{part}.jpg", Body=os.urandom(piece)
            )
    credentials = platform.layout.credentials / "throttled.json"
    credentials.write_text(json.dumps({"accessKeyId": pair.access_key_id, "secretAccessKey": pair.secret_access_key}))
    credentials.chmod(0o600)
    async with throttles(len(names), int(address.rsplit(":", 1)[1]), THROTTLE) as relays:
        for name, relay in zip(names, relays, strict=True):
            _register(platform, name, "source", f"{region.bucket}/{name}", relay, "throttled", region.region)
        yield relays


def _register(
    platform: Platform,
    name: str,
    role: Literal["source", "tier"],
    path: str,
    relay: Throttle,
    credentials: str,
    region: str,
) -> None:
    address = quote(f"http://127.0.0.1:{relay.port}")
    location = Location(
        name=name,
        kind="s3",
        roles=(role,),
        organisations=(BENCH_ORGANISATION,),
        url=f"s3://{path}?endpoint={address}&region={region}",
        credentials=credentials,
        region=region,
    )
    register(platform.layout, location)


async def throttled(platform: Platform, much: Sizes) -> list[Figure]:
    """Fifty buckets that give 2 MB/s each: together against one alone."""
    names = [f"bucket-{number}" for number in range(much.sources + 1)]
    async with (
        throttled_buckets(platform, names, much.megabytes) as relays,
        platform.http(BENCH_ORGANISATION) as http,
    ):
        runs = Runs(platform, http)
        configurations = await runs.configurations(names, source_type="s3")
        began = time.monotonic()
        alone = await runs.ended([await runs.request(configurations[0])], seconds=much.seconds)
        alone_seconds = time.monotonic() - began
        began = time.monotonic()
        ids = await asyncio.gather(*map(runs.request, configurations[1:]))
        found = await runs.ended(ids, seconds=much.seconds)
        took = time.monotonic() - began
    firsts = [relay.moved[0][0] for relay in relays[1:] if relay.moved]
    lasts = [relay.moved[-1][0] for relay in relays[1:] if relay.moved]
    overlap = (max(firsts), min(lasts))
    still = max((relay.most_still(*overlap) for relay in relays[1:]), default=float("inf"))
    is_well = all(state == "completed" for state, _, _ in [*alone.values(), *found.values()]) and len(found) == len(ids)
    return [
        Figure(
            "throttled",
            f"{much.sources} sources of 2 MB/s at once, against one alone",
            took / alone_seconds if is_well else float("inf"),
            floor=1.3,
            smaller_is_better=True,
            ours=f"{took:.1f} s and {alone_seconds:.1f} s; bytes moved from {firsts and min(firsts) - began:.1f} s "
            f"(the last one's from {firsts and max(firsts) - began:.1f} s) to {lasts and max(lasts) - began:.1f} s; "
            f"{states(found, len(ids))}; executors' peak {runs.peak_mib:.0f} MiB",
        ),
        Figure(
            "all moving",
            "longest time in which one of them moved no byte while all were under way",
            still if overlap[1] > overlap[0] else float("inf"),
            unit="s",
            floor=5,
            smaller_is_better=True,
            ours=f"all under way for {overlap[1] - overlap[0]:.1f} s",
        ),
    ]


async def workers(platform: Platform, much: Sizes) -> list[Figure]:
    """One worker against two, each of `SLOTS` slots, in turn; new sources that give 2 MB/s in each round."""
    per_round = SLOTS * WAVES
    names = [f"of-workers-{number}" for number in range(2 * much.rounds * per_round)]
    seconds: dict[int, list[float]] = {1: [], 2: []}
    ends: list[str] = []
    async with (
        throttled_buckets(platform, names, much.megabytes / 2) as _,
        platform.http(BENCH_ORGANISATION) as http,
    ):
        runs = Runs(platform, http)
        configurations = await runs.configurations(names, source_type="s3")
        for number in range(2 * much.rounds):
            count = 1 + (number + number // 2) % 2  # one, two, two, one: what drifts is in both
            chosen = configurations[number * per_round : (number + 1) * per_round]
            async with AsyncExitStack() as stack:
                if count == 2:
                    await stack.enter_async_context(platform.another_worker(WEDSYNC_WORKER_SLOTS=str(SLOTS)))
                began = time.monotonic()
                ids = await asyncio.gather(*map(runs.request, chosen))
                found = await runs.ended(ids, seconds=much.seconds)
                seconds[count].append(time.monotonic() - began)
                ends += [state for state, _, _ in found.values()]
    is_well = ends.count("completed") == len(names)
    one, two = statistics.median(seconds[1]), statistics.median(seconds[2])
    return [
        Figure(
            "workers",
            f"{per_round} throttled sources, two workers of {SLOTS} slots against one",
            one / two if is_well else 0.0,
            floor=1.9,
            ours=", ".join(f"{count}: {' and '.join(f'{each:.1f}' for each in seconds[count])} s" for count in seconds)
            + f"; {ends.count('completed')} of {len(names)} completed",
        )
    ]


async def crawling_tier(platform: Platform, much: Sizes) -> list[Figure]:
    """What the other tiers take while one crawls, against a run without that one; new files in each round."""
    region, other = REGIONS[0], REGIONS[1]
    count = 2 * much.rounds
    names = [f"beside-{number}" for number in range(count)]
    for name in names:
        platform.add_source(name, BENCH_ORGANISATION, [MEGABYTE] * (much.megabytes * 10))
    beside = {
        "local": {"location": "local", "required": True},
        "cloudSecondary": {"location": other.name, "required": True},
    }
    server_port = int(endpoint(platform.layout, region).rsplit(":", 1)[1])
    rates: dict[bool, list[float]] = {False: [], True: []}
    whole: dict[bool, list[float]] = {False: [], True: []}
    ends: list[str] = []
    async with (
        throttles(1, server_port, CRAWL, is_of_uploads=True) as (relay,),
        platform.http(BENCH_ORGANISATION) as http,
        await psycopg.AsyncConnection.connect(platform.admin_dsn, autocommit=True) as database,
    ):
        _register(platform, "crawling", "tier", f"{region.bucket}/crawling", relay, region.name, region.region)
        runs = Runs(platform, http)
        for number, name in enumerate(names):
            crawls = (number + number // 2) % 2 == 1
            tiers = {**beside, **({"cloudPrimary": {"location": "crawling"}} if crawls else {})}
            (configuration,) = await runs.configurations([name], tiers=tiers)
            run = await runs.request(configuration)
            ((state, began, ended),) = (await runs.ended([run], seconds=much.seconds)).values()
            ends.append(state)
            whole[crawls].append(ended - began)
            rows = await (await database.execute(TOLD, (run,))).fetchall()
            told = [msgspec.json.decode(decode(bytes(row)).data) for (row,) in rows]
            slowest = max(each["seconds"] for each in told if each["tier"] in beside)
            rates[crawls].append(much.megabytes * 10 / slowest)
    without, within = statistics.median(rates[False]), statistics.median(rates[True])
    return [
        Figure(
            "crawling tier",
            f"the other tiers' throughput while one takes {CRAWL // 1000} kB/s",
            100 * within / without if ends.count("completed") == count else 0.0,
            unit="%",
            floor=90,
            ours=f"{' and '.join(f'{each:.1f}' for each in rates[True])} MB/s, "
            f"{' and '.join(f'{each:.1f}' for each in rates[False])} without it; the run's end after "
            f"{' and '.join(f'{each:.1f}' for each in whole[True])} s, "
            f"{' and '.join(f'{each:.1f}' for each in whole[False])} s without it",
        )
    ]
