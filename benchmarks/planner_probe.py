"""The retention planner on a million points of ten thousand configurations: seconds, and the memory of all of it.

Exit code 0: within its bounds; 1: not. Points, policies and zone are made from their numbers, the same everywhere.
"""

import argparse
import json
import sys
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from benchmarks.memory import own_memory
from chassis.retention.planner import plan
from chassis.retention.points import Point, Source
from contracts.retention import RetentionRules

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SECONDS_MAX, BYTES_MAX = 20.0, 500_000_000
_PLACES = ("local", "cloudPrimary", "offsite")
_RULES = RetentionRules(
    keep_last=3,
    keep_hourly=24,
    keep_daily=30,
    keep_weekly=8,
    keep_monthly=12,
    keep_yearly=3,
    keep_within="10d",
    minimum_days=7,
    maximum_days=3000,
    lock_days=3,
)


def sources(configurations: int, points: int) -> list[Source]:
    """Configurations that are backed up every thirteen hours, to three tiers of which one locks for eight days."""
    zone = ZoneInfo("Europe/Berlin")
    return [
        Source(
            id=f"{number}",
            points=[_point(number, nth) for nth in range(points)],
            rules=_RULES,
            zone=zone,
            wedding=date(2026, 6, 1),
        )
        for number in range(configurations)
    ]


def _point(configuration: int, nth: int) -> Point:
    at = NOW - timedelta(hours=13 * nth, seconds=configuration % 3600)
    return Point(
        id=f"{configuration:018d}-{nth:017d}",
        at=at,
        is_proven=nth % 3 == 1,
        places=_PLACES,
        locks=(("offsite", at + timedelta(days=8)),),
    )


def main() -> int:
    """Plan, count, and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planner_probe", description=__doc__.split("\n")[0])
    parser.add_argument("--configurations", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=100, help="of each")
    arguments = parser.parse_args()
    given = sources(arguments.configurations, arguments.points)
    started, cpu = time.perf_counter(), time.process_time()
    verdicts = Counter(each.verdict.value for planned in plan(given, NOW) for each in planned.judgements)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = own_memory()["VmHWM"]
    found = {"points": sum(verdicts.values()), **verdicts, "seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2)}
    json.dump({**found, "peak_bytes": peak}, sys.stdout)
    print()
    return int(cpu > SECONDS_MAX or peak > BYTES_MAX)


if __name__ == "__main__":
    sys.exit(main())
