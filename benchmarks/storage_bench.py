"""What storage and retention have to reach: a plan of a million points, a simulated year of 200 configurations.

Exit code 0: every floor is met; 1: not. Each figure is printed with its floor as soon as it is known; a year says where
it is every 30 days. `--configurations` and `--days` make it smaller, and the figures those of something else.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import date, timedelta

from benchmarks.report import Figure, Verdict
from benchmarks.storage_year import Year, YearFound, YearPlan
from gateway.groups.storage.forecast import forecasts

SECONDS_MAX, BYTES_MAX = 20.0, 500e6
EXCESS_MAX = 0.02
SPACE_MAX = 1.05
FORECAST_ERROR_MAX = 0.10
FORECAST_AFTER_DAYS, FORECAST_DAYS = 90, 30


def planner() -> Iterator[Figure]:
    """A million points of ten thousand configurations, in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.planner_probe"], capture_output=True, check=False)
    found = json.loads(done.stdout)
    work = f"a plan of {found['points']:,} points, processor time"
    yield Figure("planner", work, found["cpu_seconds"], "s", SECONDS_MAX, smaller_is_better=True)
    memory = found["peak_bytes"] / 1e6
    yield Figure("planner", "memory of all of it", memory, "MB", BYTES_MAX / 1e6, smaller_is_better=True)


def year(plan: YearPlan) -> Iterator[Figure]:
    """The simulated days, and what was kept too long by the end of them."""
    found = Year(plan, lambda words: print(f"  {words}", flush=True)).run()
    kind = "disjoint" if plan.is_disjoint else "mixed"
    told = (
        f"{found.runs:,} runs, {found.went:,} points went, {found.points:,} stay, {found.erased} sources erased, "
        f"{found.held_days} days of holds, {found.locked_waits} waits for locks"
    )
    most = 0.0 if plan.is_disjoint else 100 * EXCESS_MAX
    work = f"{kind}: byte-days kept beyond policy, lock and hold"
    yield Figure(kind, work, round(100 * found.excess, 2), "%", most, smaller_is_better=True, ours=told)
    space = f"{kind}: all that is stored at the end, to what the points need"
    share = (
        f"{found.metadata_bytes / 1e6:.1f} MB of trees, index and log to {found.needed_bytes / 1e6:.1f} MB of contents"
    )
    yield Figure(kind, space, found.space_factor, "×", SPACE_MAX, smaller_is_better=True, ours=share)
    if not plan.is_disjoint:
        yield from _forecast(found)


def _forecast(found: YearFound) -> Iterator[Figure]:
    """How far forecasts were off that were made once 90 days were known."""
    errors = list(forecast_errors(found.grown))
    if not errors:
        print(f"  no forecast can be judged: fewer than {FORECAST_AFTER_DAYS + FORECAST_DAYS} days were simulated")
        return
    work = f"forecasts of {FORECAST_DAYS} days, made after {FORECAST_AFTER_DAYS} days: off by, mean of {len(errors)}"
    mean = 100 * sum(errors) / len(errors)
    yield Figure("forecast", work, mean, "%", 100 * FORECAST_ERROR_MAX, smaller_is_better=True)


def forecast_errors(grown: Mapping[date, int]) -> Iterator[float]:
    """Of each forecast that can be judged, by what share it was off; each is made of what was known on its day."""
    days = sorted(grown)
    for day in days[FORECAST_AFTER_DAYS - 1 :]:
        later = day + timedelta(days=FORECAST_DAYS)
        came = sum(of for each, of in grown.items() if each <= later)
        if later > days[-1] or came <= 0:
            continue
        known = {each: of for each, of in grown.items() if each <= day}
        said = next(each for each in forecasts(known, day) if each.in_days == FORECAST_DAYS)
        yield abs(said.kept_bytes - came) / came


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storage_bench", description=__doc__.split("\n")[0])
    parser.add_argument("--configurations", type=int, default=YearPlan.configurations)
    parser.add_argument("--days", type=int, default=YearPlan.days)
    arguments = parser.parse_args()
    size = {"configurations": arguments.configurations, "days": arguments.days}
    met = True
    for name, measured in (
        ("planner", planner()),
        ("year, mixed", year(YearPlan(**size))),
        ("year, disjoint", year(YearPlan(**size, is_disjoint=True))),
    ):
        print(f"== {name}", flush=True)
        for each in measured:
            verdict = each.verdict
            met = met and verdict is not Verdict.BELOW
            words = f" ({each.ours})" if each.ours else ""
            print(f"  {each.work}: {each.got:.2f} {each.unit}, at most {each.floor:g}: {verdict}{words}", flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
