"""Many runs at once on the platform as it comes: how they overlap, what they take, and whom they hold up.

    python -m benchmarks.runs_bench            the whole table, about half an hour
    python -m benchmarks.runs_bench --quick    every row once, small: shows that all runs, not how fast

Each row has a platform of its own, with no setting, in a temporary folder; but for `workers`, whose workers have few
slots, so that one of them has more to do than it does at once. Exit code 0: every floor was met; 1: not.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import uvloop

from benchmarks import runs_many, runs_throttled
from benchmarks import runs_rows as rows
from benchmarks.report import Figure, Verdict
from benchmarks.spine_bench import table
from benchmarks.spine_platform import Platform, platform

Row = Callable[[Platform, rows.Sizes], Awaitable[list[Figure]]]
ROWS: tuple[tuple[str, Row, Mapping[str, str]], ...] = (
    ("unthrottled", rows.unthrottled, {}),
    ("throttled", runs_throttled.throttled, {}),
    ("turns", rows.turns, {}),
    ("accepted", runs_many.accepted, {}),
    ("schedules", runs_many.schedules, {}),
    ("watched", runs_many.watched, {}),
    ("preparing", runs_many.preparing, {}),
    ("workers", runs_throttled.workers, {"WEDSYNC_WORKER_SLOTS": str(runs_throttled.SLOTS)}),
    ("crawling-tier", runs_throttled.crawling_tier, {}),
)


async def run(work: Path, much: rows.Sizes, only: list[str]) -> list[Figure]:
    """Measure every row, or those named, each on a platform of its own."""
    figures: list[Figure] = []
    for name, measure, settings in ROWS:
        if only and name not in only:
            continue
        folder = work / name
        folder.mkdir()
        began = time.perf_counter()
        async with platform(folder / "home", **settings) as running:
            await asyncio.sleep(2)
            figures += await measure(running, much)
        shutil.rmtree(folder, ignore_errors=True)
        took, load = time.perf_counter() - began, os.getloadavg()[0]
        print(f"{name}: {took:.1f} s, load {load:.1f}", file=sys.stderr, flush=True)
    return figures


def main(arguments: list[str]) -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runs_bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="every row once, small")
    parser.add_argument("--work", type=Path, default=None, help="an empty folder to work in (default: a temporary one)")
    parser.add_argument(
        "--only", action="append", default=[], choices=[name for name, _, _ in ROWS], help="this row (may be repeated)"
    )
    options = parser.parse_args(arguments)
    quick = rows.Sizes(
        runs=6,
        sources=5,
        megabytes=4,
        queued=8,
        accepted=20,
        due=40,
        organisations=2,
        sockets=10,
        snapshots=100,
        rounds=1,
    )
    much = quick if options.quick else rows.Sizes()
    work = options.work or Path(tempfile.mkdtemp(prefix="wedsync-runs-"))
    try:
        figures = uvloop.run(run(work, much, options.only))
    finally:
        if options.work is None:
            shutil.rmtree(work, ignore_errors=True)
    print(table(figures))
    return 0 if all(figure.verdict is not Verdict.BELOW for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
