"""What becomes of an instant of a schedule, by when somebody looks at it."""

from datetime import UTC, datetime, timedelta

from chassis.calendar.plan import Plan
from chassis.calendar.turns import Elsewhere, Fires, Missed, Waits, when_instant_came
from contracts.schedule import Blackout, MissedRuns, Schedule, Window

DUE = datetime(2027, 1, 10, 2, tzinfo=UTC)
NEXT = DUE + timedelta(days=1)
SCHEDULE = Schedule(cron="0 2 * * *", window=Window(start="01:00", end="05:00"))


def _came(missed: MissedRuns, late: timedelta, *blackouts: Blackout, dealt_with: bool = False) -> object:
    plan = Plan(Schedule(cron=SCHEDULE.cron, window=SCHEDULE.window, blackouts=blackouts), seed="a")
    return when_instant_came(plan, missed, DUE, DUE + late, is_dealt_with=dealt_with)


def test_instant_fires_on_time_whatever_the_policy() -> None:
    """A few seconds are no lateness."""
    for policy in MissedRuns:
        assert _came(policy, timedelta(seconds=9)) == Fires(is_urgent=False, passed_over=0, next_run_at=NEXT)


def test_missed_instants_are_made_up_for_once_or_told() -> None:
    """After three days: one run at once, one within the window, or none."""
    days = timedelta(days=3, hours=1)
    later = DUE + timedelta(days=4)
    assert _came(MissedRuns.RUN_ONCE, days) == Fires(is_urgent=False, passed_over=3, next_run_at=later)
    assert _came(MissedRuns.WITHIN_WINDOW, days) == Fires(is_urgent=False, passed_over=3, next_run_at=later)
    assert _came(MissedRuns.WITHIN_WINDOW, days + timedelta(hours=9)) == Missed(passed_over=3, next_run_at=later)
    assert _came(MissedRuns.SKIP, days) == Missed(passed_over=3, next_run_at=later)
    # The latest is on time: it is the next, and comes at once.
    assert _came(MissedRuns.SKIP, timedelta(days=3)) == Missed(passed_over=2, next_run_at=DUE + timedelta(days=3))


def test_missed_instant_waits_for_the_end_of_a_blackout() -> None:
    """What was missed is made up for, and not in a span in which nothing begins."""
    blackout = Blackout(starts_at=DUE + timedelta(hours=1), ends_at=DUE + timedelta(hours=8))
    assert _came(MissedRuns.RUN_ONCE, timedelta(hours=2), blackout) == Waits(until=DUE + timedelta(hours=8))


def test_instant_is_dealt_with_once_whatever_the_clock_does() -> None:
    """One that is to come since the clock was put back waits; one that was dealt with is passed."""
    assert _came(MissedRuns.RUN_ONCE, timedelta(days=-7)) == Elsewhere(DUE - timedelta(days=6))
    assert _came(MissedRuns.RUN_ONCE, timedelta(), dealt_with=True) == Elsewhere(NEXT)
