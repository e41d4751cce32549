"""The figures of the platform's spine: latencies, rates, memory.

    python -m benchmarks.spine_bench                 the whole table, about a quarter of an hour
    python -m benchmarks.spine_bench --quick         every row once, small: shows that all runs, not how fast

Starts a whole platform in a folder of its own, measures one row after another, prints a table with floor, figure and
verdict, and writes docs/figures/spine.json. Exit code 0: every floor was met; 1: one was not.
"""

import argparse
import asyncio
import inspect
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

import uvloop

from benchmarks import spine_history as history
from benchmarks import spine_large as large
from benchmarks import spine_outage as outage
from benchmarks import spine_rebuild as rebuild
from benchmarks import spine_rows as rows
from benchmarks.report import Figure, Verdict, machine
from benchmarks.spine_platform import Platform, platform

JSON_FILE = Path(__file__).resolve().parents[1] / "docs" / "figures" / "spine.json"
SETTLE_SECONDS = 5.0

Measure = Callable[[Platform, rows.Circumstances], "list[Figure] | Awaitable[list[Figure]]"]

ROWS: tuple[tuple[str, Measure], ...] = (
    ("start and memory", rows.start_and_memory),
    ("append to consumer", rows.append_to_consumer),
    ("relay", rows.relay_rate),
    ("post execute", rows.post_execute),
    ("postgres away", outage.writes_without_postgres),
    ("history", history.fill),
    ("catching up", history.catch_up),
    ("status", rows.status_under_load),
    ("rebuild", history.rebuild_rate),
    ("rebuild while asked", rebuild.rebuild_while_asked),
    ("large organisation", large.large_organisation),
)


async def run(work: Path, much: rows.Circumstances, only: list[str]) -> list[Figure]:
    """Measure every row, or those named, on one platform."""
    figures: list[Figure] = []
    async with platform(work / "home") as running:
        # The start itself is no idle time: connections settle and caches fill.
        await asyncio.sleep(SETTLE_SECONDS)
        for name, measure in ROWS:
            if only and name not in only:
                continue
            began = time.perf_counter()
            found = measure(running, much)
            figures += await found if inspect.isawaitable(found) else found
            print(f"{name}: {time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
    return figures


def _short(floor: float) -> str:
    return f"{floor:,.0f}" if floor >= 10 else f"{floor:g}"


def table(figures: list[Figure]) -> str:
    """The figures in columns, as plain text that is Markdown too."""
    lines = [("what", "floor", "got", "verdict", "of which")]
    for figure in figures:
        sign = "≤" if figure.smaller_is_better else "≥"
        lines.append(
            (
                figure.work,
                f"{sign} {_short(figure.floor)} {figure.unit}" if figure.floor is not None else "",
                f"{figure.got:,.{2 if figure.got < 10 else 1}f} {figure.unit}",
                figure.verdict.value,
                figure.ours,
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rendered = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rendered.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(rendered)


def write_json(path: Path, figures: list[Figure], much: rows.Circumstances) -> None:
    """Figures, verdicts and circumstances."""
    document = {
        "machine": machine(),
        "at": rows.now_text(),
        "circumstances": asdict(much),
        "figures": [{**asdict(figure), "verdict": figure.verdict.value} for figure in figures],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Measure, print, write; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spine_bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="every row once, small")
    parser.add_argument("--executions", type=int, help="runs of the past; each is three events")
    parser.add_argument("--json", type=Path, default=None, help=f"where the figures go (default {JSON_FILE.name})")
    parser.add_argument("--work", type=Path, default=None, help="an empty folder to work in (default: a temporary one)")
    parser.add_argument(
        "--only", action="append", default=[], choices=[name for name, _ in ROWS], help="this row (may be repeated)"
    )
    options = parser.parse_args(arguments)
    much = (
        rows.Circumstances(seconds=3, posts=20, relayed=3000, executions=2000, organisations=4)
        if options.quick
        else rows.Circumstances()
    )
    much.executions = options.executions or much.executions
    work = options.work or Path(tempfile.mkdtemp(prefix="wedsync-spine-"))
    try:
        figures = uvloop.run(run(work, much, options.only))
    finally:
        if options.work is None:
            shutil.rmtree(work, ignore_errors=True)
    print(table(figures))
    if options.json is not None or not (options.quick or options.only):
        write_json(options.json or JSON_FILE, figures, much)
    return 0 if all(figure.verdict is not Verdict.BELOW for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
