"""What a change of a schedule takes away: runs that would have been, and will not be. Pure."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

import msgspec

from chassis.calendar.plan import Plan
from contracts.schedule import MissedRuns, Schedule, Window

_FROM, _UNTIL = datetime(2001, 1, 1, tzinfo=UTC), datetime(2005, 1, 1, tzinfo=UTC)
"""Four years have a leap day, and each day of the week on each day of the year at least nearly as often."""
_FEWER = 0.98
"""A Sunday more or less in those years is no run less."""
_DAY = timedelta(days=1)
_MINUTES = 24 * 60
_MEASURED = 4096
"""So many schedules are not measured twice: a history has each of its own."""
_WIDER = 1.5
"""Who moves a run by an hour or two takes none away; who moves all of a day's together does."""
_SPARED = (MissedRuns.RUN_ONCE, MissedRuns.WITHIN_WINDOW, MissedRuns.SKIP)
"""What makes up for missed runs, the most first."""


class Measure(msgspec.Struct, frozen=True):
    """How often a schedule has a run: times of a day, the widest gap between them; days, the longest without one."""

    times: int
    widest: timedelta
    days: int
    longest: timedelta

    def has_less_than(self, other: "Measure") -> bool:
        """Whether it is less often."""
        return (
            self.times < other.times
            or self.widest > _WIDER * other.widest
            or self.days < _FEWER * other.days
            or self.longest > other.longest + _DAY
        )

    def best_of(self, other: "Measure") -> "Measure":
        """The more often of two, each by itself."""
        return Measure(
            max(self.times, other.times),
            min(self.widest, other.widest),
            max(self.days, other.days),
            min(self.longest, other.longest),
        )


def reached(history: Iterable[Schedule | None]) -> Measure | None:
    """What a configuration has of runs by what was proven, from the schedules that it has had, one after the other.

    What is less often than what was reached before, and is in the history all the same, was proven, and counts from
    there. Otherwise the best counts that there was: many small steps would else lead where none alone may.
    """
    return _counting(history)[1]


def _counting(history: Iterable[Schedule | None]) -> tuple[list[Schedule], Measure | None]:
    """The schedules since the last that was proven, that one too, and what they reach."""
    counting: list[Schedule] = []
    best: Measure | None = None
    for schedule in history:
        measure = None if schedule is None else measure_of(schedule)
        if best is None or measure is None or measure.has_less_than(best):
            counting, best = [], measure
        else:
            best = measure.best_of(best)
        if schedule is not None:
            counting.append(schedule)
    return counting, best


def is_later_than_any(history: Iterable[Schedule | None], after: Schedule | None, now: datetime, *, seed: str) -> bool:
    """Whether the next run of a schedule is put off against that of any that counts (`reached`), wherever it was moved.

    Of the schedules alone: what a wedding adds meanwhile hides none of it. `seed` as of `Plan`.
    """
    counting = dict.fromkeys(_counting(history)[0])
    if after is None or not counting:
        return False
    # Days that are left out now were proven, whatever the schedule was then.
    blackouts = list(counting)[-1].blackouts
    own = [_next(msgspec.structs.replace(each, blackouts=blackouts), now, seed) for each in counting]
    earliest = min((each for each in own if each is not None), default=None)
    return is_put_off(earliest, _next(after, now, seed))


def _next(schedule: Schedule, now: datetime, seed: str) -> datetime | None:
    try:
        planned = Plan(schedule, seed=seed).after(now)
    except ValueError:
        return None
    return None if planned is None else planned.at


def thinned(
    before: Schedule | None, after: Schedule | None, *, best: Measure | None = None, is_later: bool = False
) -> Iterator[str]:
    """The fields by which there are fewer runs than before: none at all, less often, more blackouts, less made up for.

    Both are schedules that were found right. Less often: at fewer times of a day, with much longer between two of them,
    on fewer days, or with more days between two of them, than `best` (`reached`) or else `before`. `is_later`: whether
    the next run comes much later (`is_put_off`).
    """
    if before is None:
        return
    if after is None:
        yield "schedule"
        return
    best = best or measure_of(before)
    if _is_less_often(best, after) or is_later:
        by = "cron" if after.cron is not None else "frequency"
        is_by_window = _is_less_often(best, after) and not _is_less_often(
            best, msgspec.structs.replace(after, window=before.window)
        )
        yield "schedule.window" if is_by_window else f"schedule.{by}"
    if not set(after.blackouts) <= set(before.blackouts):
        yield "schedule.blackouts"
    if _SPARED.index(after.missed_runs) > _SPARED.index(before.missed_runs):
        yield "schedule.missedRuns"


def is_open_less(before: Window | None, after: Window | None) -> bool:
    """Whether a window is closed at some minute of the day at which the one before was open."""
    return not _minutes(before) <= _minutes(after)


def _minutes(window: Window | None) -> set[int]:
    if window is None:
        return set(range(_MINUTES))
    begin, end = (int(text[:2]) * 60 + int(text[3:5]) for text in (window.start, window.end))
    return {at % _MINUTES for at in range(begin, end if end > begin else end + _MINUTES)}


def is_put_off(was: datetime | None, becomes: datetime | None) -> bool:
    """Whether the next run comes more than a day later than it would have: of a rare schedule that is the only one."""
    return was is not None and (becomes is None or becomes > was + _DAY)


def _is_less_often(best: Measure | None, schedule: Schedule) -> bool:
    measure = measure_of(schedule)
    return best is not None and (measure is None or measure.has_less_than(best))


def measure_of(schedule: Schedule) -> Measure | None:
    """How often it has a run, blackouts aside; None of one of an older build, which is due by chance, if at all."""
    return _measured(msgspec.structs.replace(schedule, blackouts=(), jitter_minutes=0))


@lru_cache(maxsize=_MEASURED)
def _measured(schedule: Schedule) -> Measure | None:
    try:
        plan = Plan(schedule, seed="")
        return Measure(plan.times, plan.widest, *_of_days(" ".join(plan.of_days))) if plan.times else None
    except ValueError:
        return None


@lru_cache(maxsize=_MEASURED)
def _of_days(expression: str) -> tuple[int, timedelta]:
    """On how many days there is a run, and the longest time without any."""
    days = Plan(Schedule(cron=f"0 0 {expression}"), seed="").days(_FROM, _UNTIL)
    return len(days), max(later - earlier for earlier, later in pairwise([_FROM, *days, _UNTIL]))
