"""When tests of plans begin, and which schedules of them are refused."""

from datetime import UTC, datetime, timedelta

from chassis.calendar.rehearsals import EveryDays, first_test, objections_to_tests
from contracts.disaster import TestingSchedule
from contracts.schedule import Frequency, Schedule

NOW = datetime(2027, 1, 10, 12, tzinfo=UTC)
MONTHLY = TestingSchedule(every_days=31, schedule=Schedule(frequency=Frequency.MONTHLY, time_zone="Europe/Berlin"))


def _wrong(testing: TestingSchedule) -> dict[str | None, str]:
    return {each.field: each.code.code for each in objections_to_tests(testing, NOW)}


def test_instants_of_days_are_as_many_days_apart_from_the_one_that_is_known() -> None:
    every = EveryDays(NOW, 7)
    assert every.after(NOW - timedelta(days=30)).at == NOW
    assert every.after(NOW).at == NOW + timedelta(days=7)
    assert every.between(NOW, NOW + timedelta(days=21)) == [NOW + timedelta(days=each) for each in (7, 14, 21)]
    assert every.between(NOW, NOW + timedelta(days=6)) == []


def test_schedule_that_is_rarer_than_the_days_or_never_due_is_refused() -> None:
    """What promises a test each week and is due each month would be false comfort."""
    assert _wrong(MONTHLY) == {}
    assert _wrong(TestingSchedule(every_days=30, schedule=MONTHLY.schedule)) == {
        "testingSchedule.everyDays": "invalid-field"
    }
    assert _wrong(TestingSchedule(every_days=7, schedule=Schedule(cron="0 3 * * SUN", time_zone="Europe/Berlin"))) == {}
    assert _wrong(TestingSchedule(every_days=366, schedule=Schedule(cron="0 3 29 2 *"))) == {
        "testingSchedule.everyDays": "invalid-field"
    }
    assert _wrong(TestingSchedule(every_days=31, schedule=Schedule(cron="never", time_zone="Nowhere"))) == {
        "testingSchedule.schedule.timeZone": "invalid-field",
        "testingSchedule.schedule.cron": "invalid-field",
    }


def test_change_takes_no_test_away_that_has_come_and_small_ones_put_none_off() -> None:
    was, told = TestingSchedule(every_days=90), NOW + timedelta(days=1)
    assert first_test(None, None, was, NOW, seed="plan") == NOW + timedelta(days=90)
    assert first_test(was, told, was, NOW, seed="plan") == told
    assert first_test(was, told, TestingSchedule(every_days=89), NOW, seed="plan") == told
    assert first_test(
        was, told, TestingSchedule(every_days=1), NOW - timedelta(days=3), seed="plan"
    ) == NOW - timedelta(days=2)
    assert first_test(was, NOW, MONTHLY, NOW, seed="plan") == NOW
    assert first_test(was, told, MONTHLY, NOW, seed="plan") == datetime(2027, 2, 1, 1, tzinfo=UTC)
    assert first_test(was, told, None, NOW, seed="plan") is None
