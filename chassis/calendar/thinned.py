"""What a change of a schedule takes away: runs that would have been, and will not be. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec

from chassis.calendar.plan import Plan
from contracts.schedule import MissedRuns, Schedule

_FROM, _UNTIL = datetime(2001, 1, 1, tzinfo=UTC), datetime(2005, 1, 1, tzinfo=UTC)
"""Four years have a leap day, and each day of the week on each day of the year at least nearly as often."""
_FEWER = 0.98
"""A Sunday more or less in those years is no run less."""
_DAY = timedelta(days=1)
_WIDER = 1.5
"""Who moves a run by an hour or two takes none away; who moves all of a day's together does."""
_SPARED = (MissedRuns.RUN_ONCE, MissedRuns.WITHIN_WINDOW, MissedRuns.SKIP)
"""What makes up for missed runs, the most first."""


def thinned(before: Schedule | None, after: Schedule | None) -> Iterator[str]:
    """The fields by which there are fewer runs than before: none at all, less often, more blackouts, less made up for.

    Both are schedules that were found right. Less often: at fewer times of a day, with much longer between
    two of them, on fewer days, or with more days between two of them.
    """
    if before is None:
        return
    if after is None:
        yield "schedule"
        return
    if _is_less_often(before, after):
        by = "cron" if after.cron is not None else "frequency"
        is_by_window = not _is_less_often(before, msgspec.structs.replace(after, window=before.window))
        yield "schedule.window" if is_by_window else f"schedule.{by}"
    if not set(after.blackouts) <= set(before.blackouts):
        yield "schedule.blackouts"
    if _SPARED.index(after.missed_runs) > _SPARED.index(before.missed_runs):
        yield "schedule.missedRuns"


def _is_less_often(before: Schedule, after: Schedule) -> bool:
    was, becomes = (
        Plan(msgspec.structs.replace(each, blackouts=(), jitter_minutes=0), seed="") for each in (before, after)
    )
    if not was.times:
        return False  # Of an older build: such a one is due by its jitter alone, or never.
    if becomes.times < was.times or becomes.widest > _WIDER * was.widest:
        return True
    if was.of_days == becomes.of_days:
        return False
    days, others = (each.days(_FROM, _UNTIL) for each in (was, becomes))
    return len(others) < _FEWER * len(days) or _longest(others) > _longest(days) + _DAY


def _longest(days: Sequence[datetime]) -> timedelta:
    """The longest time without any."""
    ends = [_FROM, *days, _UNTIL]
    return max(later - earlier for earlier, later in pairwise(ends))
