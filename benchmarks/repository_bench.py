"""The repository side by side with restic: `python -m benchmarks.repository_bench` measures the whole table.

`--quick` is a fiftieth of the sizes, one round and no disk, in under two minutes, for continuous integration: it
shows that every row runs, and says nothing about speed. `--rows` picks rows, `--scale` sizes, `--rounds` how
often each contestant runs. The full run writes its table, JSON and plot to `docs/figures/`; with `--merge` a
run of some rows keeps what an earlier one wrote about the others.

Exit code 0: every floor was met (with `--quick`: every row ran); 1: one was not; 2: usage.
"""

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from benchmarks import rows_files, rows_history, rows_lifetime, rows_postgres, rows_retention, rows_scale
from benchmarks.bench import Bench, NoRoom
from benchmarks.contestants import Restic
from benchmarks.corpora import DEFAULT_WORK
from benchmarks.postgres import REACHABLE_UMASK
from benchmarks.report import Report, plot
from benchmarks.restic_packages import NEWEST, PACKAGES

ROWS = {
    **rows_files.ROWS,
    **rows_postgres.ROWS,
    **rows_scale.ROWS,
    **rows_history.ROWS,
    **rows_retention.ROWS,
    **rows_lifetime.ROWS,
}
_FIGURES = Path("docs/figures")
_QUICK_SCALE = 0.02


def main() -> int:
    """Measure, print, write."""
    arguments = _arguments()
    os.umask(REACHABLE_UMASK)
    media = ("tmpfs",) if arguments.quick else ("tmpfs", "disk")
    bench = Bench(arguments.work, arguments.scale, arguments.rounds, media, tuple(arguments.restic))
    versions = ", ".join(Restic(bench.work, version).version() for version in bench.restics)
    report = Report(arguments.scale, arguments.rounds, versions, facts=bench.facts)
    for name in arguments.rows:
        started = time.perf_counter()
        print(f"== {name}: {ROWS[name].summary}", flush=True)
        try:
            for figure in ROWS[name].measure(bench):
                report.figures.append(replace(figure, measured_by=name))
                print(f"  → {figure.work}: {figure.got:.2f} {figure.unit} {figure.verdict}", flush=True)
        except NoRoom as reason:
            report.facts[f"left out: {name}"] = str(reason)
            print(f"  left out: {reason}", flush=True)
        print(f"  {time.perf_counter() - started:.0f} s", flush=True)
    if arguments.merge is not None:
        report.take_over(arguments.merge, list(ROWS))
    print(f"\n{report.table()}\n")
    if arguments.output is not None:
        report.write_json(arguments.output / "repository-bench.json")
        (arguments.output / "repository-bench.md").write_text(report.table() + "\n")
        plot(report.figures, arguments.output / "repository-bench.svg")
        print(f"written to {arguments.output}/repository-bench.{{json,md,svg}}")
    return 0 if arguments.quick or report.is_met else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repository_bench", description=__doc__.split("\n")[0])
    parser.add_argument("--rows", nargs="+", choices=sorted(ROWS), metavar="ROW", help=f"of: {', '.join(ROWS)}")
    parser.add_argument("--scale", type=float, help="1 is the size that the floors are for")
    parser.add_argument("--rounds", type=int, help="runs of each contestant per figure (default 3)")
    parser.add_argument("--quick", action="store_true", help="small, one round, nothing written")
    parser.add_argument(
        "--work", type=Path, default=DEFAULT_WORK, help=f"corpora and disk runs (default {DEFAULT_WORK})"
    )
    parser.add_argument(
        "--restic",
        nargs="+",
        choices=list(PACKAGES),
        default=list(PACKAGES),
        metavar="VERSION",
        help=f"releases to compare with, the newest in any case (default: {', '.join(PACKAGES)})",
    )
    parser.add_argument("--output", type=Path, help=f"where JSON, table and plot go (full run: {_FIGURES})")
    parser.add_argument("--merge", type=Path, metavar="JSON", help="an earlier run's file, for the other rows")
    arguments = parser.parse_args()
    is_whole = arguments.rows is None and arguments.scale is None and not arguments.quick
    arguments.rows = arguments.rows or [name for name, row in ROWS.items() if row.quick or not arguments.quick]
    arguments.scale = arguments.scale or (_QUICK_SCALE if arguments.quick else 1.0)
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    arguments.restic = list(dict.fromkeys((NEWEST, *arguments.restic)))
    arguments.output = arguments.output or (_FIGURES if is_whole else None)
    return arguments


if __name__ == "__main__":
    sys.exit(main())
