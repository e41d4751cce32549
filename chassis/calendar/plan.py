"""A schedule's instants: expression, window, jitter, blackouts, and what a wedding adds. Pure.

Promise: the same schedule, seed and wedding give the same instants, whenever they are asked for; they rise, and none is
in a blackout or outside the window. A jitter that would lead out of the window is left out for that instant.

Around a critical wedding, from `DAYS_BEFORE` days before until `DAYS_AFTER` days after it by the schedule's time zone,
there is an instant each hour as well, unless one of the schedule's own is within half an hour; window and blackouts
hold for those, too.

Every date and every moment is taken, those at the ends of what there are as well: the calendar itself has ends.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from chassis.calendar.cron import Cron, hours_after
from contracts.schedule import Frequency, Schedule, Window

CRON_OF = {
    Frequency.HOURLY: "0 * * * *",
    Frequency.DAILY: "0 2 * * *",
    Frequency.WEEKLY: "0 2 * * SUN",
    Frequency.MONTHLY: "0 2 1 * *",
}
DAYS_BEFORE, DAYS_AFTER = 7, 14
LOOKS = 3000
"""Of how many instants of an expression one may be outside the window before there is none: each day has the same."""
COUNTED = 1000
"""Beyond this many missed instants nobody counts."""
FIRST, LAST = datetime(2, 1, 1, tzinfo=UTC), datetime(9900, 1, 1, tzinfo=UTC)
"""The calendar's ends: nothing falls due beyond them, so that no reckoning leaves what a date can be."""
_HALF_AN_HOUR = timedelta(minutes=30)
_INSTANT = timedelta(microseconds=1)
_NOTHING = timedelta()


class Planned(msgspec.Struct, frozen=True):
    """An instant. `is_raised`: so near to a critical wedding that its run goes before its organisation's others."""

    at: datetime
    is_raised: bool = False


_OF_THIS_MACHINE = frozenset({"localtime", "posixrules", "Factory"})
"""Files of the time zone database that are no zone, or another one on each machine."""


class UnknownZone(ValueError):
    """No time zone has this name."""


def zone_named(name: str) -> ZoneInfo:
    """A time zone of the IANA database. Raises UnknownZone."""
    try:
        if name.startswith(("posix/", "right/")) or name in _OF_THIS_MACHINE:
            raise UnknownZone(name)
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UnknownZone(name) from error


def time_of_day(text: str) -> time:
    """A time as `HH:MM`. Raises ValueError."""
    if len(text) != 5 or text[2] != ":" or not (text[:2] + text[3:]).isascii() or not (text[:2] + text[3:]).isdigit():
        raise ValueError(text)
    return time(int(text[:2]), int(text[3:]))


class OpenHours:
    """A window by the clocks of a zone. Raises ValueError."""

    def __init__(self, window: Window | None, zone: ZoneInfo) -> None:
        self._zone = zone
        self._times = None if window is None else (time_of_day(window.start), time_of_day(window.end))
        if window is not None and window.start == window.end:
            raise ValueError(window.start)

    def hold(self, moment: datetime) -> bool:
        """Whether a run may begin then."""
        if self._times is None:
            return True
        local = moment.astimezone(self._zone)
        return self.hold_time(local.time()) or self._hold_left_out(local)

    def hold_time(self, clock: time) -> bool:
        """The same of a time of day."""
        if self._times is None:
            return True
        begin, end = self._times
        return begin <= clock < end if begin < end else clock >= begin or clock < end

    def opens_after(self, moment: datetime) -> datetime:
        """When the window begins next, by its own clock; that moment where there is no window."""
        if self._times is None:
            return moment
        today = moment.astimezone(self._zone).date()
        begins = (datetime.combine(today + timedelta(days=day), self._times[0], self._zone) for day in range(3))
        return min(at for each in begins if (at := each.astimezone(UTC)) > moment)

    def _hold_left_out(self, local: datetime) -> bool:
        """Whether clocks go on at this very moment, and a time that they leave out is in the window."""
        before = (local.astimezone(UTC) - _INSTANT).astimezone(self._zone)
        jump = (local.utcoffset() or _NOTHING) - (before.utcoffset() or _NOTHING)
        if self._times is None or jump <= _NOTHING:
            return False
        first = (local.replace(tzinfo=None) - jump).time()
        return self.hold_time(first) or first <= self._times[0] < local.time()


def cron_of(schedule: Schedule) -> str:
    """The expression that a schedule says or means; a preset with a window begins with the window."""
    if schedule.cron is not None or schedule.frequency is None:
        return schedule.cron or ""
    expression = CRON_OF.get(schedule.frequency, "")
    if schedule.window is not None and schedule.frequency is not Frequency.HOURLY:
        start = time_of_day(schedule.window.start)
        return " ".join([str(start.minute), str(start.hour), *expression.split()[2:]])
    return expression


class Plan:
    """A schedule that was found right (`chassis.calendar.rules`); else raises ValueError. `seed`: whose it is."""

    def __init__(self, schedule: Schedule, *, seed: str, wedding: date | None = None) -> None:
        zone = self._zone = zone_named(schedule.time_zone)
        self._cron = Cron(cron_of(schedule), zone)
        self._hours = OpenHours(schedule.window, zone)
        self._blackouts = sorted((each.starts_at, each.ends_at) for each in schedule.blackouts)
        share = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) / 2**64
        self._jitter = timedelta(seconds=int(schedule.jitter_minutes * 60 * share))
        if schedule.window is not None:
            self._cron.leave_out(self._is_open_at)
        self._raised: tuple[datetime, datetime] | None = None
        if wedding is not None:
            wedding = min(max(wedding, FIRST.date()), LAST.date())
            days = (wedding - timedelta(days=DAYS_BEFORE), wedding + timedelta(days=DAYS_AFTER + 1))
            begin, end = (datetime.combine(day, time(), zone) for day in days)
            self._raised = begin, end

    def _is_open_at(self, clock: time) -> bool:
        """Whether an instant at a time of day may be in the window, late by the jitter or not."""
        return self._hours.hold_time(clock) or self._hours.hold_time(self._late(clock))

    def _may_be_late(self, nominal: datetime) -> bool:
        """Whether it is late by the jitter on other days, too: where clocks go on it may reach the next window."""
        return self._hours.hold_time(self._late(nominal.astimezone(self._zone).time()))

    def _late(self, clock: time) -> time:
        return (datetime.combine(FIRST, clock) + self._jitter).time()

    @property
    def times(self) -> int:
        """How many instants a day has, if it has any."""
        return len(self._cron.times)

    @property
    def widest(self) -> timedelta:
        """The longest time without an instant, on days that follow each other and have all of them."""
        moments = [datetime.combine(FIRST, each) for each in self._cron.times]
        return max(later - earlier for earlier, later in pairwise([*moments, moments[0] + timedelta(days=1)]))

    @property
    def overnight(self) -> timedelta:
        """The time from a day's last instant to the first of the day after, were each a day with instants."""
        moments = [datetime.combine(FIRST, each) for each in self._cron.times]
        return moments[0] + timedelta(days=1) - moments[-1]

    @property
    def of_days(self) -> list[str]:
        """What the expression says of days, as it is written."""
        return self._cron.of_days

    def days(self, begin: datetime, end: datetime) -> list[datetime]:
        """The days between two on which there are instants, blackouts aside."""
        return self._cron.days(begin, end)

    def after(self, moment: datetime) -> Planned | None:
        """The first instant after a moment, or None where there is none any more."""
        if moment >= LAST:
            return None
        moment = max(moment, FIRST)
        own = next(self._own(moment), None)
        found = [each for each in (own, self._hourly(moment, own)) if each is not None]
        return Planned(min(found), self.is_raised(min(found))) if found else None

    def between(self, moment: datetime, until: datetime) -> list[datetime]:
        """The instants after a moment, up to another one; the first `COUNTED` of them."""
        return list(islice(takewhile(lambda at: at <= until, self._from(moment)), COUNTED))

    def _from(self, moment: datetime) -> Iterator[datetime]:
        while (planned := self.after(moment)) is not None:
            moment = planned.at
            yield moment

    def is_raised(self, moment: datetime) -> bool:
        """Whether a moment is near to the critical wedding."""
        return self._raised is not None and self._raised[0] <= moment < self._raised[1]

    def is_open(self, moment: datetime) -> bool:
        """Whether the window lets a run begin then."""
        return self._hours.hold(min(max(moment, FIRST), LAST))

    def opens_after(self, moment: datetime) -> datetime:
        """When the window begins next; that moment itself where the schedule has none."""
        return self._hours.opens_after(min(max(moment, FIRST), LAST))

    def blackout_end(self, moment: datetime) -> datetime | None:
        """When the blackouts that a moment is in are over; None where it is in none."""
        end: datetime | None = None
        for starts_at, ends_at in self._blackouts:
            if starts_at <= (end or moment) < ends_at:
                end = ends_at
        return end

    def _own(self, moment: datetime) -> Iterator[datetime]:
        """The instants of the schedule itself after a moment."""
        begin = moment - self._jitter
        looks = 0
        while looks < LOOKS:
            over = None
            for nominal in self._cron.after(begin):
                looks += 1
                at = nominal + self._jitter
                if not (self._may_be_late(nominal) and self._hours.hold(at)):
                    at = nominal
                if at > moment and self._hours.hold(at):
                    over = self.blackout_end(at)
                    if over is None:
                        looks = 0
                        yield at
                        continue
                    # Nothing before the end of it: a blackout of months costs one look.
                    begin = max(over - self._jitter - _INSTANT, nominal)
                    break
                if looks >= LOOKS:
                    return
            if over is None or over >= LAST:
                return

    def _hourly(self, moment: datetime, before: datetime | None) -> datetime | None:
        """The first instant that the wedding adds after a moment, where it is before that one."""
        if self._raised is None or moment >= self._raised[1]:
            return None
        begin = max(moment, self._raised[0] - _INSTANT)
        for at in hours_after(begin, self._jitter % timedelta(hours=1)):
            if at >= self._raised[1] or (before is not None and at >= before):
                return None
            if self._hours.hold(at) and self.blackout_end(at) is None:
                own = next(self._own(at - _HALF_AN_HOUR), None)
                if own is None or own > at + _HALF_AN_HOUR:
                    return at
        return None
