"""What a change of a schedule takes away: runs that would have been, and will not be. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from chassis.calendar.plan import Plan
from contracts.schedule import MissedRuns, Schedule

COMPARED = 200
"""So many instants of each are compared, from a fixed day on."""
_FROM = datetime(2001, 1, 1, tzinfo=UTC)
_SLACK = timedelta(days=2)
"""A schedule that only begins at another time of day, or in another zone, is none that has fewer runs."""
_SPARED = (MissedRuns.RUN_ONCE, MissedRuns.WITHIN_WINDOW, MissedRuns.SKIP)
"""What makes up for missed runs, the most first."""


def thinned(before: Schedule | None, after: Schedule | None) -> Iterator[str]:
    """The fields by which there are fewer runs than before: none at all, less often, more blackouts, less made up for.

    Both are schedules that were found right.
    """
    if before is None:
        return
    if after is None:
        yield "schedule"
        return
    if _span(after) > _span(before) + _SLACK:
        yield "schedule.cron" if after.cron is not None else "schedule.frequency"
    if not set(after.blackouts) <= set(before.blackouts):
        yield "schedule.blackouts"
    if _SPARED.index(after.missed_runs) > _SPARED.index(before.missed_runs):
        yield "schedule.missedRuns"


def _span(schedule: Schedule) -> timedelta:
    """In how much time there are as many instants as are compared, blackouts aside."""
    plan = Plan(msgspec.structs.replace(schedule, blackouts=(), jitter_minutes=0), seed="")
    moment = _FROM
    for _ in range(COMPARED):
        planned = plan.after(moment)
        if planned is None:
            return timedelta.max - _SLACK
        moment = planned.at
    return moment - _FROM
