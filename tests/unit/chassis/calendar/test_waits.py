"""The longest time between two runs of a schedule."""

from datetime import UTC, datetime, timedelta

import pytest

from chassis.calendar.waits import WITHOUT_SCHEDULE, longest_wait
from contracts.schedule import Blackout, Frequency, Schedule, Window

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("schedule", "days"),
    [
        (Schedule(frequency=Frequency.HOURLY), 1 / 24),
        (Schedule(frequency=Frequency.DAILY), 1),
        (Schedule(frequency=Frequency.WEEKLY), 7),
        (Schedule(frequency=Frequency.MONTHLY), 31),
        (Schedule(cron="0 2 * * 1-5"), 3),
        (Schedule(cron="0 8,18 * * *"), 14 / 24),
        (Schedule(cron="0 0,12,23 * * 1-5"), 2 + 1 / 24),
        (Schedule(frequency=Frequency.HOURLY, window=Window(start="08:00", end="18:00")), 15 / 24),
        (Schedule(cron="0 2 29 11 *"), 366),
        (Schedule(cron="0 2 29 2 *"), 1461),
    ],
)
def test_longest_wait_is_of_times_and_of_days(schedule: Schedule, days: float) -> None:
    """A night, a weekend, a month: whatever is longest; jitter and blackouts change nothing."""
    assert longest_wait(schedule) == days * DAY
    blackout = Blackout(starts_at=datetime(2027, 1, 1, tzinfo=UTC), ends_at=datetime(2027, 2, 1, tzinfo=UTC))
    late = Schedule(
        cron=schedule.cron,
        frequency=schedule.frequency,
        window=schedule.window,
        jitter_minutes=7,
        blackouts=(blackout,),
    )
    assert longest_wait(late) == days * DAY


def test_what_says_no_times_is_measured_by_a_day() -> None:
    """None, and what this build does not understand: whoever projects it must not stop."""
    assert longest_wait(None) == WITHOUT_SCHEDULE
    for unknown in (Schedule(cron="no cron"), Schedule(), Schedule(frequency=Frequency.DAILY, time_zone="Mars/Base")):
        assert longest_wait(unknown) == WITHOUT_SCHEDULE
