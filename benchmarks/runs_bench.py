"""Many runs at once on the platform as it comes: how they overlap, what they take, and whom they hold up.

    python -m benchmarks.runs_bench            the whole table, about six minutes
    python -m benchmarks.runs_bench --quick    every row once, small: shows that all runs, not how fast

Each row has a platform of its own, with no setting, in a temporary folder. Exit code 0: every floor was met; 1: not.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from benchmarks import runs_rows as rows
from benchmarks.report import Figure, Verdict
from benchmarks.spine_bench import table
from benchmarks.spine_platform import Platform, platform

ROWS: tuple[tuple[str, Callable[[Platform, rows.Sizes], Awaitable[list[Figure]]]], ...] = (
    ("unthrottled", rows.unthrottled),
    ("throttled", rows.throttled),
    ("turns", rows.turns),
)


async def run(work: Path, much: rows.Sizes, only: list[str]) -> list[Figure]:
    """Measure every row, or those named, each on a platform of its own."""
    figures: list[Figure] = []
    for name, measure in ROWS:
        if only and name not in only:
            continue
        folder = work / name
        folder.mkdir()
        began = time.perf_counter()
        async with platform(folder / "home") as running:
            await asyncio.sleep(2)
            figures += await measure(running, much)
        shutil.rmtree(folder, ignore_errors=True)
        print(f"{name}: {time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
    return figures


def main(arguments: list[str]) -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runs_bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="every row once, small")
    parser.add_argument("--work", type=Path, default=None, help="an empty folder to work in (default: a temporary one)")
    parser.add_argument(
        "--only", action="append", default=[], choices=[name for name, _ in ROWS], help="this row (may be repeated)"
    )
    options = parser.parse_args(arguments)
    much = rows.Sizes(runs=6, sources=5, megabytes=4, queued=8) if options.quick else rows.Sizes()
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
