"""Schedules' instants, against a second, slow reading of the same rules, minute by minute."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chassis.calendar.cron import Cron
from chassis.calendar.plan import Plan
from chassis.calendar.rules import schedule_objections, wedding_objections
from contracts import errors
from contracts.schedule import Blackout, Frequency, MissedRuns, Schedule, Window

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo"]
NOW = datetime(2026, 11, 27, 9, 45, tzinfo=UTC)


def _slow(minutes: set[int], hours: set[int] | None, zone: ZoneInfo, begin: datetime, end: datetime) -> list[datetime]:
    """Every instant of a daily expression between two moments: each minute of the span is looked at."""
    found: dict[datetime, None] = {}
    if hours is None:
        moment = begin + timedelta(minutes=1)
        while moment <= end:
            if moment.astimezone(zone).minute in minutes:
                found[moment] = None
            moment += timedelta(minutes=1)
        return list(found)
    day = begin.astimezone(zone).date() - timedelta(days=1)
    while day <= end.astimezone(zone).date():
        for hour in sorted(hours):
            for minute in sorted(minutes):
                wall = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                # A time that the clocks leave out: the first that is there.
                while wall.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != wall.replace(tzinfo=None):
                    wall += timedelta(minutes=1)
                instant = wall.astimezone(UTC)
                if begin < instant <= end:
                    found[instant] = None
        day += timedelta(days=1)
    return sorted(found)


def _until(instants: Iterator[datetime], end: datetime) -> list[datetime]:
    found = []
    for instant in instants:
        if instant > end:
            break
        found.append(instant)
    return found


@settings(max_examples=60, deadline=None)
@example(zone="Australia/Lord_Howe", minutes={30}, hours=None, day=date(2013, 4, 4))
@given(
    zone=st.sampled_from(ZONES),
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=3),
    hours=st.none() | st.sets(st.integers(0, 23), min_size=1, max_size=3),
    day=st.dates(date(2010, 1, 1), date(2037, 1, 1)),
)
def test_expressions_mean_what_a_slow_reading_says(
    zone: str, minutes: set[int], hours: set[int] | None, day: date
) -> None:
    """In any zone, over the odd days, too: none is left out, none comes twice."""
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    end = begin + timedelta(days=4)
    of_hours = "*" if hours is None else ",".join(map(str, sorted(hours)))
    expression = f"{','.join(map(str, sorted(minutes)))} {of_hours} * * *"
    found = _until(Cron(expression, ZoneInfo(zone)).after(begin), end)
    assert found == _slow(minutes, hours, ZoneInfo(zone), begin, end)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2027-03-27T12:00:00+00:00", "2027-03-28T01:00:00+00:00"),
        ("2027-03-28T01:00:00+00:00", "2027-03-29T00:30:00+00:00"),
        ("2027-10-30T12:00:00+00:00", "2027-10-31T00:30:00+00:00"),
        ("2027-10-31T00:30:00+00:00", "2027-11-01T01:30:00+00:00"),
    ],
)
def test_half_past_two_comes_once_on_the_two_odd_days(moment: str, expected: str) -> None:
    """Left out in spring it comes with the clocks' going on; in autumn the first of the two counts."""
    plan = Plan(Schedule(cron="30 2 * * *", time_zone="Europe/Berlin"), seed="a")
    planned = plan.after(datetime.fromisoformat(moment))
    assert planned is not None
    assert planned.at == datetime.fromisoformat(expected)


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    frequency=st.sampled_from(list(Frequency)),
    start=st.integers(0, 23),
    length=st.integers(1, 23),
    jitter=st.integers(0, 60),
    seed=st.text(max_size=5),
    minutes=st.integers(0, 16 * 365 * 24 * 60),
    blackout_days=st.integers(1, 40),
)
def test_plan_rises_within_window_and_outside_blackouts(
    zone: str,
    frequency: Frequency,
    start: int,
    length: int,
    jitter: int,
    seed: str,
    minutes: int,
    blackout_days: int,
) -> None:
    """Whatever the jitter, and near a wedding; asked again from an instant, the plan goes on after it."""
    begin = NOW + timedelta(minutes=minutes)
    window = Window(start=f"{start:02}:00", end=f"{(start + length) % 24:02}:00")
    blackout = Blackout(starts_at=begin + timedelta(days=3), ends_at=begin + timedelta(days=3 + blackout_days))
    schedule = Schedule(
        frequency=frequency, time_zone=zone, window=window, jitter_minutes=jitter, blackouts=(blackout,)
    )
    plan = Plan(schedule, seed=seed, wedding=(begin + timedelta(days=20)).date())
    found = plan.between(begin, begin + timedelta(days=30))
    assert found == sorted(set(found))
    assert all(plan.is_open(at) and plan.blackout_end(at) is None for at in found)
    middle = begin + timedelta(days=2)
    assert plan.between(middle, begin + timedelta(days=30)) == [at for at in found if at > middle]


def test_critical_wedding_is_backed_up_each_hour_around_its_date() -> None:
    """From a week before until two weeks after, and at no other time; urgent meanwhile."""
    schedule = Schedule(cron="30 2 * * *", time_zone="Europe/Berlin")
    plan = Plan(schedule, seed="a", wedding=date(2027, 6, 12))
    before = plan.between(datetime(2027, 5, 1, tzinfo=UTC), datetime(2027, 6, 4, tzinfo=UTC))
    near = plan.between(datetime(2027, 6, 12, tzinfo=UTC), datetime(2027, 6, 13, tzinfo=UTC))
    after = plan.between(datetime(2027, 6, 28, tzinfo=UTC), datetime(2027, 7, 28, tzinfo=UTC))
    assert [len(before), len(after)] == [34, 30]
    assert len(near) >= 23
    assert all(plan.is_raised(at) for at in near)
    assert not any(plan.is_raised(at) for at in (*before, *after))


FIRST_MOMENT = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
"""In UTC there is no such moment."""


@pytest.mark.parametrize(
    ("schedule", "fields"),
    [
        (Schedule(), ["cron"]),
        (Schedule(cron="0 2 * * *", frequency=Frequency.DAILY), ["cron"]),
        (Schedule(cron="0 0 30 2 *"), ["cron"]),
        (Schedule(cron="0 0 31 4,6,9,11 *"), ["cron"]),
        (Schedule(cron="0 2 * *"), ["cron"]),
        (Schedule(cron="0 0 2 * * *"), ["cron"]),
        (Schedule(cron="*/4 * * * *"), ["cron"]),
        (Schedule(cron="58,2 * * * *"), ["cron"]),
        (Schedule(cron="0 10 * * *", window=Window(start="22:00", end="06:00")), ["cron"]),
        (Schedule(frequency=Frequency.HOURLY, jitter_minutes=61), ["jitterMinutes"]),
        (
            Schedule(
                cron="*/2 * * * *",
                time_zone="Mars/Base",
                window=Window(start="25:00", end="6:00"),
                blackouts=(Blackout(starts_at=NOW, ends_at=NOW),),
            ),
            ["timeZone", "window.start", "window.end", "cron", "blackouts[0].endsAt"],
        ),
        (
            Schedule(frequency=Frequency.DAILY, blackouts=(Blackout(starts_at=FIRST_MOMENT, ends_at=NOW),)),
            ["blackouts[0].startsAt"],
        ),
        (Schedule(frequency=Frequency.DAILY, missed_runs=MissedRuns.WITHIN_WINDOW), ["missedRuns"]),
        *((Schedule(cron="0 0 * * *", time_zone=name), ["timeZone"]) for name in ("localtime", "Factory", "", "cet")),
        *((Schedule(cron="0 0 * * *", time_zone=name), []) for name in ("CET", "EST5EDT", "Japan", "UTC")),
        (Schedule(cron="0 0 29 2 *"), []),
        (Schedule(cron="0 0 L * *", time_zone="Pacific/Kiritimati"), []),
        (Schedule(frequency=Frequency.WEEKLY, window=Window(start="22:00", end="06:00"), jitter_minutes=90), []),
    ],
    ids=lambda value: None if isinstance(value, Schedule) else "+".join(value) or "right",
)
def test_wrong_schedule_is_told_by_every_field(schedule: Schedule, fields: list[str]) -> None:
    """What can never be due, and what is due too often, is refused; each wrong field has a hint of its own."""
    told = list(schedule_objections(schedule, NOW))
    assert [each.field for each in told] == [f"schedule.{field}" for field in fields]
    assert all(each.hint for each in told)


ENDS = st.sampled_from([date.min, date(1, 1, 5), date(9999, 12, 20), date.max])
OFFSETS = st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours)))


@settings(max_examples=80, deadline=None)
@given(
    wedding=st.none() | ENDS | st.dates(),
    day=ENDS | st.dates(),
    at=st.times(),
    offset=OFFSETS,
    zone=st.sampled_from([*ZONES, "Pacific/Kiritimati", "Etc/GMT+12"]),
    frequency=st.sampled_from(list(Frequency)),
    jitter=st.integers(0, 60),
    window=st.none() | st.just(Window(start="22:00", end="06:00")),
    blackout=st.none() | st.tuples(ENDS, ENDS).map(sorted),
)
def test_plan_takes_every_date_and_moment(
    wedding: date | None,
    day: date,
    at: time,
    offset: timezone,
    zone: str,
    frequency: Frequency,
    jitter: int,
    window: Window | None,
    blackout: list[date] | None,
) -> None:
    """At the ends of what a date can be, too: nothing overflows, and what is due is later than what was asked."""
    moment = datetime.combine(day, at, offset)
    blackouts = ()
    if blackout is not None:
        begin, end = (datetime.combine(each, time(), offset) for each in blackout)
        blackouts = (Blackout(starts_at=begin, ends_at=end),)
    schedule = Schedule(frequency=frequency, time_zone=zone, window=window, jitter_minutes=jitter, blackouts=blackouts)
    plan = Plan(schedule, seed="a", wedding=wedding)
    planned = plan.after(moment)
    assert planned is None or planned.at > moment
    plan.is_open(moment)
    plan.is_raised(moment)
    plan.blackout_end(moment)
    assert all(each.hint for each in schedule_objections(schedule, NOW))


@pytest.mark.parametrize(
    ("wedding", "is_critical", "is_scheduled", "told"),
    [
        (date(2027, 6, 12), True, True, 0),
        (date(1927, 6, 12), True, True, 0),
        (None, True, False, 0),
        (None, False, True, 0),
        (None, True, True, 1),
        (date.max, True, True, 1),
        (date(9999, 12, 20), True, True, 1),
        (date.min, True, True, 1),
        (date(1, 1, 5), False, False, 1),
    ],
)
def test_wedding_that_cannot_be_meant_is_told(
    wedding: date | None, is_critical: bool, is_scheduled: bool, told: int
) -> None:
    """One without a day has no hourly runs, though they were asked for; one of another age is a slip of the pen."""
    found = list(
        wedding_objections(
            wedding, NOW, is_critical=is_critical, is_given=wedding is not None, is_scheduled=is_scheduled
        )
    )
    assert [each.field for each in found] == ["weddingDate"] * told
    assert all(each.hint for each in found)


@pytest.mark.parametrize("cron", ["0 3 29 2 *", "0 3 29 2 */7", "0 3 * * MON#5", "*/5 3-23 * * *"])
def test_schedule_that_never_falls_into_its_window_is_told_without_looking_at_each_day(cron: str) -> None:
    """Years of looking are nobody's: times of day alone say it, to the end of the calendar."""
    schedule = Schedule(cron=cron, window=Window(start="02:00", end="02:30"))
    (told,) = schedule_objections(schedule, NOW)
    assert told.code is errors.SCHEDULE_NEVER_DUE
    assert list(Cron("0 3 29 2 *", ZoneInfo("UTC")).after(datetime(9990, 1, 1, tzinfo=UTC)))


def test_schedule_that_is_due_by_the_luck_of_an_id_alone_is_refused() -> None:
    """An hour before the window, and at most an hour later: half of all configurations would never run."""
    schedule = Schedule(cron="0 1 * * *", window=Window(start="01:30", end="03:00"), jitter_minutes=60)
    assert Plan(schedule, seed="").after(NOW) is not None
    (told,) = schedule_objections(schedule, NOW)
    assert told.code is errors.SCHEDULE_NEVER_DUE
    within = msgspec.structs.replace(schedule, cron="30 1 * * *")
    assert not list(schedule_objections(within, NOW))
    assert all(Plan(within, seed=str(number)).after(NOW) for number in range(100))


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        (Schedule(frequency=Frequency.WEEKLY, window=Window(start="02:00", end="03:00")), [(3, 21), (3, 28), (4, 4)]),
        (Schedule(cron="30 2 * * *", window=Window(start="01:00", end="03:00")), [(3, 27), (3, 28), (3, 29)]),
        (Schedule(cron="30 2 * * *", window=Window(start="02:15", end="03:00")), [(3, 27), (3, 28), (3, 29)]),
        (Schedule(cron="30 2 * * *", window=Window(start="22:00", end="03:00")), [(3, 27), (3, 28), (3, 29)]),
    ],
)
def test_night_on_which_the_clocks_go_on_loses_no_run_to_its_window(
    schedule: Schedule, due: list[tuple[int, int]]
) -> None:
    """What the clocks leave out begins when they go on, though by the clocks the window is over."""
    plan = Plan(msgspec.structs.replace(schedule, time_zone="Europe/Berlin"), seed="")
    found = plan.between(datetime(2027, 3, due[0][1], tzinfo=UTC), datetime(2027, 4, 8, tzinfo=UTC))[: len(due)]
    assert [(each.month, each.day) for each in found] == due
    assert datetime(2027, 3, 28, 1, tzinfo=UTC) in found


@pytest.mark.parametrize("seed", ["0", "20", "406", "455"])
def test_day_on_which_clocks_go_on_has_its_run(seed: str) -> None:
    """However late jitter makes a run: what lies outside the window on other days does not reach the next one's."""
    schedule = Schedule(
        frequency=Frequency.DAILY,
        time_zone="Europe/Berlin",
        window=Window(start="00:30", end="01:30"),
        jitter_minutes=1440,
    )
    begin = datetime(2027, 3, 25, tzinfo=UTC)
    found = Plan(schedule, seed=seed).between(begin, begin + timedelta(days=7))
    days = [each.astimezone(ZoneInfo("Europe/Berlin")).toordinal() for each in found]
    assert days == list(range(days[0], days[0] + len(days)))
    assert len(days) >= 6
