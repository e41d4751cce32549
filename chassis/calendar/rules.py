"""What a schedule, and a wedding beside it, must keep so that it can be due as is meant: every objection out. Pure."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import msgspec

from chassis.calendar.cron import Cron, CronFault
from chassis.calendar.plan import CRON_OF, Plan, UnknownZone, cron_of, time_of_day, zone_named
from contracts import errors
from contracts.refusal import Objection
from contracts.schedule import MissedRuns, Schedule, Window

SHORTEST_MINUTES = 5
"""Runs of one configuration are this far apart at least: one that has not ended keeps the next from beginning."""
_EARLIEST_YEAR = 1970
_LATEST_YEAR = 2200
WEDDING_YEARS = 100
"""A wedding is no further away than this, either way."""


def schedule_objections(schedule: Schedule, now: datetime) -> Iterator[Objection]:
    """All that speaks against a schedule, in the order of the form, each by its field below `schedule`."""
    whole = True
    for field, hint in _wrong(schedule):
        whole = False
        yield Objection(errors.INVALID_FIELD, f"schedule.{field}", hint)
    # By the times as they are written: how late a configuration's runs are is the luck of its id.
    if whole and Plan(msgspec.structs.replace(schedule, jitter_minutes=0), seed="").after(now) is None:
        field = "cron" if schedule.cron is not None else "frequency"
        hint = "It never falls into the window, or after the blackouts; choose times that do."
        yield Objection(errors.SCHEDULE_NEVER_DUE, f"schedule.{field}", hint)


def wedding_objections(
    wedding: date | None, now: datetime, *, is_critical: bool, is_given: bool, is_scheduled: bool
) -> Iterator[Objection]:
    """All that speaks against a wedding's date. `is_given`: there is one, though it may be that nobody can read it."""
    if is_critical and is_scheduled and not is_given:
        hint = "Give the day of the wedding: around it there are runs each hour. Or leave isWeddingCritical out."
        yield Objection(errors.INVALID_FIELD, "weddingDate", hint)
    if wedding is not None and abs(wedding - now.date()) > timedelta(days=WEDDING_YEARS * 366):
        hint = f"Give the day of the wedding, not more than {WEDDING_YEARS} years away, or leave it out."
        yield Objection(errors.INVALID_FIELD, "weddingDate", hint)


def _wrong(schedule: Schedule) -> Iterator[tuple[str, str]]:
    window = schedule.window
    if (schedule.cron is None) == (schedule.frequency is None):
        yield "cron", "Give either cron or frequency, and not both."
    elif schedule.frequency is not None and schedule.frequency not in CRON_OF:
        yield "frequency", f"Use one of {', '.join(CRON_OF)}."
    try:
        zone_named(schedule.time_zone)
    except UnknownZone:
        yield "timeZone", "Use a name of the IANA time zone database, such as Europe/Berlin or UTC."
    is_open = True
    if window is not None:
        for field, hint in _wrong_window(window):
            is_open = False
            yield field, hint
    # A preset begins with its window.
    if (schedule.cron is None) != (schedule.frequency is None) and (is_open or schedule.cron is not None):
        yield from _wrong_times(schedule)
    if schedule.missed_runs is MissedRuns.WITHIN_WINDOW and window is None:
        yield "missedRuns", "Give a window, or choose run-once or skip."
    yield from _wrong_blackouts(schedule)


def _wrong_window(window: Window) -> Iterator[tuple[str, str]]:
    times = []
    for field, text in (("start", window.start), ("end", window.end)):
        try:
            times.append(time_of_day(text))
        except ValueError:
            yield f"window.{field}", "Write a time of day as HH:MM, from 00:00 to 23:59."
    if len(times) == 2 and times[0] == times[1]:
        yield "window.end", "End the window at another time than it starts; leave it out for the whole day."


def _wrong_times(schedule: Schedule) -> Iterator[tuple[str, str]]:
    try:
        cron = Cron(cron_of(schedule), zone_named("UTC"))
    except CronFault as fault:
        yield "cron", str(fault)
        return
    if cron.shortest_minutes < SHORTEST_MINUTES:
        yield "cron", f"Let at least {SHORTEST_MINUTES} minutes be between two runs."
    elif schedule.jitter_minutes > cron.shortest_minutes:
        yield "jitterMinutes", f"Use {cron.shortest_minutes} at most: so short is the time between two runs."


def _wrong_blackouts(schedule: Schedule) -> Iterator[tuple[str, str]]:
    for place, blackout in enumerate(schedule.blackouts):
        if blackout.ends_at <= blackout.starts_at:
            yield f"blackouts[{place}].endsAt", "Let it end after it starts."
        elif blackout.starts_at < datetime(_EARLIEST_YEAR, 1, 1, tzinfo=UTC):
            yield f"blackouts[{place}].startsAt", f"Let it start in {_EARLIEST_YEAR} or later."
        elif blackout.ends_at > datetime(_LATEST_YEAR, 1, 1, tzinfo=UTC):
            yield f"blackouts[{place}].endsAt", f"Let it end before the year {_LATEST_YEAR}; to have no runs, pause."
