"""The gateway's own read models made anew while it answers: how fast, how soon it answers meanwhile, and whether right.

`python -m gateway rebuild` runs as an operator runs it. A client in another process asks for runs of the past at a
steady rate, from before the rebuild until after the swap; what a few of them say is compared, again and again, with
what they said before.
"""

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from benchmarks.outside_client import Measured, Plan
from benchmarks.report import Figure
from benchmarks.spine_platform import ROOT, Platform, ask_from_outside, percentile
from benchmarks.spine_rows import Circumstances
from deploy.stack.secrets import read_secrets
from deploy.stack.services import GATEWAY, environment_of

PER_SECOND = 100
SLICE_SECONDS = 5.0
COMPARED = 20
SERVERS = ("postgres", "nats")
_DONE = re.compile(r"(\d+) events in ([0-9.]+) s, ([0-9.]+) s of processor")


async def rebuild_while_asked(platform: Platform, much: Circumstances) -> list[Figure]:
    """All of it made anew beside 100 requests a second. Raises where one answer was wrong, or none came."""
    organisation = "org-00"
    async with platform.http(organisation) as http:
        first = (await http.get(f"/api/backup/executions?limit={COMPARED}")).raise_for_status().json()
        paths = [f"/api/backup/executions/{run['id']}" for run in first["items"]]
        before = [(await http.get(path)).raise_for_status().json() for path in paths]
        token, (host, port) = platform.token(organisation), platform.address
        asked = [platform.request("GET", path, token) for path in [*paths, "/api/backup/status"]]
        plan = Plan(host=host, port=port, requests=asked, per_second=PER_SECOND, seconds=SLICE_SECONDS)
        served = _processor_seconds(platform)
        rebuilding = asyncio.create_task(_rebuild(platform))
        slices: list[Measured] = []
        compared = 0
        while not rebuilding.done() or not slices:
            asking = asyncio.create_task(ask_from_outside(plan))
            while not asking.done():
                compared += await _compare(http, paths, before)
            slices.append(await asking)
        events, seconds, own = await rebuilding
        spent = {"rebuild": own} | {name: now - served[name] for name, now in _processor_seconds(platform).items()}
        compared += await _compare(http, paths, before)
    wrong = sum(len(times) for each in slices for status, times in each.milliseconds.items() if status != 200)
    wrong += sum(each.failed for each in slices)
    answers = [took for each in slices for took in each.milliseconds.get(200, [])]
    if wrong:
        raise RuntimeError(f"{wrong} of {wrong + len(answers)} answers were wrong while the read models were made anew")
    told = f"{events} events in {seconds:.1f} s; {len(answers)} answers, none wrong, {compared} compared"
    told += f"; processor an event: {_each(spent, events)} (servers: with the requests); load {os.getloadavg()[0]:.1f}"
    return [
        Figure(
            "rebuild-asked", f"rebuild beside {PER_SECOND} requests/s", events / seconds, "events/s", 8000, ours=told
        ),
        Figure(
            "asked-meanwhile",
            f"GET meanwhile, p95 at {PER_SECOND} requests/s",
            percentile(answers, 0.95),
            unit="ms",
            floor=50,
            smaller_is_better=True,
            ours=f"p50 {percentile(answers, 0.5):.1f}, p99 {percentile(answers, 0.99):.1f}; {much.executions} runs",
        ),
    ]


async def _compare(http: httpx.AsyncClient, paths: list[str], before: list[object]) -> int:
    for path, known in zip(paths, before, strict=True):
        answer = await http.get(path)
        if answer.status_code != 200 or answer.json() != known:
            raise RuntimeError(f"{path} said something else while the read models were made anew: {answer.text[:300]}")
        await asyncio.sleep(0.05)
    return len(paths)


def _each(spent: Mapping[str, float], events: int) -> str:
    return ", ".join(f"{name} {seconds / events * 1e6:.0f} µs" for name, seconds in spent.items())


def _processor_seconds(platform: Platform) -> dict[str, float]:
    """What the servers have used so far, with their processes: a machine that others use, too, tells little else."""
    own: dict[int, tuple[int, int]] = {}
    for folder in Path("/proc").iterdir():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split() if folder.name.isdigit() else []
        except OSError:
            continue  # it has ended meanwhile
        if fields:
            own[int(folder.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    ticks = dict.fromkeys(SERVERS, 0)
    for name in SERVERS:
        process = platform.state.part(name).process
        root = 0 if process is None else process.pid
        ticks[name] = sum(used for pid, (parent, used) in own.items() if root in (pid, parent))
    return {name: used / os.sysconf("SC_CLK_TCK") for name, used in ticks.items()}


async def _rebuild(platform: Platform) -> tuple[int, float, float]:
    """Events, seconds, and seconds of processor, as the command tells them."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gateway", "rebuild"),
        cwd=ROOT,
        env=environment_of(platform.layout, read_secrets(platform.layout), GATEWAY),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    found = _DONE.search(output.decode())
    if process.returncode != 0 or found is None:
        raise RuntimeError(f"the rebuild ended with exit code {process.returncode}: {output.decode()[-300:]}")
    return int(found[1]), float(found[2]), float(found[3])
