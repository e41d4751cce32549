"""What a change of a schedule takes away."""

from datetime import UTC, datetime

import pytest

from chassis.calendar.thinned import thinned
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
