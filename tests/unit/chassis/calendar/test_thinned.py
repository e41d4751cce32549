"""What a change of a schedule takes away."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from chassis.calendar.plan import Plan
from chassis.calendar.thinned import is_put_off, measure_of, reached, thinned
from contracts.schedule import Blackout, Frequency, MissedRuns, Schedule, Window

DAILY = Schedule(frequency=Frequency.DAILY)
NIGHT = Window(start="22:00", end="04:00")
DAY = Blackout(starts_at=datetime(2027, 1, 1, tzinfo=UTC), ends_at=datetime(2027, 1, 2, tzinfo=UTC))
BY_CHANCE = Schedule(cron="0 1 * * *", window=Window(start="01:30", end="03:00"), jitter_minutes=60)
"""As older builds took it."""
BEFORE_AFTER: dict[str, tuple[Schedule | None, Schedule | None, list[str]]] = {
    "none to some": (None, DAILY, []),
    "none to none": (None, None, []),
    "the same": (DAILY, DAILY, []),
    "gone": (DAILY, None, ["schedule"]),
    "more often": (DAILY, Schedule(frequency=Frequency.HOURLY), []),
    "less often": (DAILY, Schedule(frequency=Frequency.WEEKLY), ["schedule.frequency"]),
    "once in four years": (DAILY, Schedule(cron="0 0 29 2 *"), ["schedule.cron"]),
    "at another time": (Schedule(cron="0 2 * * *"), Schedule(cron="30 23 * * *"), []),
    "in another zone": (DAILY, Schedule(frequency=Frequency.DAILY, time_zone="Pacific/Kiritimati"), []),
    "in a window": (
        Schedule(frequency=Frequency.HOURLY),
        Schedule(frequency=Frequency.HOURLY, window=NIGHT),
        ["schedule.window"],
    ),
    "all of a day together": (Schedule(frequency=Frequency.HOURLY), Schedule(cron="*/5 1-2 * * *"), ["schedule.cron"]),
    "noon an hour later": (Schedule(cron="0 0,12 * * *"), Schedule(cron="0 0,13 * * *"), []),
    "out of a window": (
        Schedule(frequency=Frequency.HOURLY, window=NIGHT),
        Schedule(frequency=Frequency.HOURLY),
        [],
    ),
    "a blackout more": (DAILY, Schedule(frequency=Frequency.DAILY, blackouts=(DAY,)), ["schedule.blackouts"]),
    "a blackout less": (Schedule(frequency=Frequency.DAILY, blackouts=(DAY,)), DAILY, []),
    "nothing made up for": (
        DAILY,
        Schedule(frequency=Frequency.DAILY, missed_runs=MissedRuns.SKIP),
        ["schedule.missedRuns"],
    ),
    **{
        f"{was} to {becomes}": (Schedule(cron=was), Schedule(cron=becomes), ["schedule.cron"])
        for was, becomes in (
            ("0 * * * *", "0 * * 1 *"),
            ("*/5 * * * *", "*/5 * 1 1 *"),
            ("0 2 * * *", "0 2 * 1-7 *"),
            ("0 * * * *", "0 * 1-9 * *"),
            ("*/5 * * * *", "*/15 * * * *"),
            ("0 * * * *", "0 4-23 * * *"),
            ("0 2 * * 1,4", "0 2 1-8 * *"),
            ("0 */6 * * *", "0,5,10,15 2 * * *"),
        )
    },
    "another day of the week": (Schedule(cron="0 2 * * SUN"), Schedule(cron="0 2 * * MON"), []),
    "due by chance alone": (BY_CHANCE, Schedule(cron="0 2 * * *", window=BY_CHANCE.window), []),
    "later by chance": (DAILY, Schedule(frequency=Frequency.DAILY, jitter_minutes=600), []),
}


@pytest.mark.parametrize(("before", "after", "fields"), BEFORE_AFTER.values(), ids=BEFORE_AFTER)
def test_fewer_runs_are_told_by_field(before: Schedule | None, after: Schedule | None, fields: list[str]) -> None:
    """What makes runs fewer is named; what only moves them, or makes them more, is not."""
    assert list(thinned(before, after)) == fields


STEPS = ("0 0,6,12,18 * * *", "0 0,5,10,15 * * *", "0 0,4,8,11 * * *", "0 0,2,4,6 * * *", "0,1,2,3 0 * * *")


def test_small_steps_are_measured_by_where_they_began() -> None:
    """Each of them by itself is small; and what was proven, or is more, counts from there."""
    steps = [Schedule(cron=each) for each in STEPS]
    assert [list(thinned(*pair)) for pair in pairwise(steps)][:3] == [[], [], []]
    assert list(thinned(steps[1], steps[2], best=reached(steps[:2]))) == ["schedule.cron"]
    assert list(thinned(steps[1], steps[0], best=reached(steps[:2]))) == []
    assert reached([*steps[:2], steps[4]]) == measure_of(steps[4]), "that was proven, since it is there"
    assert reached([DAILY, Schedule(frequency=Frequency.HOURLY)]) == measure_of(Schedule(frequency=Frequency.HOURLY))
    assert reached([DAILY, None, Schedule(frequency=Frequency.WEEKLY)]) == measure_of(
        Schedule(frequency=Frequency.WEEKLY)
    )
    assert reached([DAILY, BY_CHANCE, DAILY]) == measure_of(DAILY)
    days = [Schedule(cron=f"0 1 {each} * *") for each in ("*", "1-30", "1-29")]
    assert list(thinned(days[1], days[2], best=reached(days[:2]))) == ["schedule.cron"]


def test_rare_run_that_is_put_off_is_one_less() -> None:
    """As often as before is not enough, where the next one is the only one for long."""
    was, becomes = Schedule(cron="0 2 29 11 *"), Schedule(cron="0 2 27 11 *")
    now = datetime(2026, 11, 28, tzinfo=UTC)
    due = [planned.at if (planned := Plan(each, seed="").after(now)) else None for each in (was, becomes)]
    assert is_put_off(*due)
    assert list(thinned(was, becomes, is_later=True)) == ["schedule.cron"]
    assert not is_put_off(due[1], due[0])
    assert not is_put_off(None, now)
    assert is_put_off(now, None)
    assert not is_put_off(now, now + timedelta(days=1)), "Sunday to Monday"
