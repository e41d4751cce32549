"""Sources side by side with what else reads them: `python -m benchmarks.sources_bench` prints the table.

`--rows` picks rows, `--scale` sizes (1: a database of 2 GB, 2 GB in 2,000 objects, 100,000 small ones; 0.125: 250 MB),
`--rounds` how often each contestant runs. `--output FILE` writes the figures as JSON, too.

Exit code 0: every floor was met; 1: one was not, or a row found too little room; 2: usage.
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks import rows_following, rows_sources
from benchmarks.bench import Bench, NoRoom
from benchmarks.contestants import Restic
from benchmarks.corpora import DEFAULT_WORK
from benchmarks.postgres import REACHABLE_UMASK
from benchmarks.report import Report
from benchmarks.restic_packages import NEWEST

ROWS = {**rows_sources.ROWS, **rows_following.ROWS}


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sources_bench", description=__doc__.split("\n")[0])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the size that the floors are for")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contestant per figure (default 3)")
    parser.add_argument("--work", type=Path, default=DEFAULT_WORK, help=f"where it works (default {DEFAULT_WORK})")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the figures as JSON")
    arguments = parser.parse_args()
    os.umask(REACHABLE_UMASK)
    bench = Bench(arguments.work, arguments.scale, arguments.rounds, restics=(NEWEST,))
    report = Report(
        arguments.scale,
        arguments.rounds,
        Restic(bench.work).version(),
        facts=bench.facts,
        against="pg_dump; rclone, restic",
    )
    for name in arguments.rows:
        print(f"== {name}: {ROWS[name].summary}", flush=True)
        bench.facts[f"load before {name}"] = os.getloadavg()[0]
        try:
            for figure in ROWS[name].measure(bench):
                report.figures.append(replace(figure, measured_by=name))
                print(f"  → {figure.work}: {figure.got:.2f} {figure.unit} {figure.verdict}", flush=True)
        except NoRoom as reason:
            bench.facts[f"left out: {name}"] = str(reason)
            print(f"  left out: {reason}", flush=True)
    print(f"\n{report.table()}\n")
    for fact, value in bench.facts.items():
        print(f"{fact}: {value}")
    if arguments.output is not None:
        report.write_json(arguments.output)
    is_left_out = any(fact.startswith("left out: ") for fact in bench.facts)
    return 0 if report.is_met and not is_left_out else 1


if __name__ == "__main__":
    sys.exit(main())
