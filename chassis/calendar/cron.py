"""Cron expressions in a time zone, as Debian's cron understands them. Pure.

Five fields: minute, hour, day of month, month, day of week; names of months and days, `L`, `LW`, `#` as well. Where
neither day field begins with `*`, either is enough. On the two odd days of a year:

- What names hours (`30 2 * * *`) is due once on each day. A time that the clocks leave out is due when they go on
  (02:30 at 03:00); of one that comes twice the first counts.
- What does not (`30 * * * *`) follows the hours as they pass: none is left out, and each of the two counts.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_MINUTES_OF_DAY = 24 * 60
_ANY_DAY = datetime(2000, 1, 1, tzinfo=UTC)
_HOURS_LOOKED_AT = timedelta(hours=3)


class CronFault(ValueError):
    """Why an expression is none, in words for who wrote it."""


class Cron:
    """An expression in a zone. Raises CronFault."""

    def __init__(self, expression: str, zone: ZoneInfo) -> None:
        self._expression, self._zone = expression, zone
        given = len(expression.split())
        if given != len(FIELDS):
            raise CronFault(f"It has {given} fields; write five: {', '.join(FIELDS)}.")
        try:
            parsed = CronSim(expression, _ANY_DAY)
        except CronSimError as error:
            name = str(error).removeprefix("Bad ").replace("-", " ")
            raise CronFault(f"Its {name} is none, or never comes.") from error
        self.of_days = expression.split()[2:]
        """What it says of days."""
        self._hours, self._minutes = set(parsed.hours), set(parsed.minutes)
        self._is_of_each_hour = expression.split()[1].startswith("*")
        self.times = [time(hour, minute) for hour in sorted(parsed.hours) for minute in sorted(parsed.minutes)]
        """The times of day, were every day one."""
        times = sorted(hour * 60 + minute for hour in parsed.hours for minute in parsed.minutes)
        following = [*times[1:], times[0] + _MINUTES_OF_DAY]
        self.shortest_minutes = min(later - earlier for earlier, later in zip(times, following, strict=True))
        """The shortest time from one time of day to the next, were every day one."""

    def leave_out(self, is_wanted: Callable[[time], bool]) -> None:
        """Pass over hours and minutes at none of which a time of day is wanted: each costs a look on every day."""
        self.times = [each for each in self.times if is_wanted(each)]
        self._hours, self._minutes = {each.hour for each in self.times}, {each.minute for each in self.times}

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The instants after a moment, in UTC, each once, rising; none where there is none within 50 years."""
        if not self.times:
            return
        last = moment
        instants = CronSim(self._expression, moment.astimezone(self._zone))
        instants.hours, instants.minutes = self._hours, self._minutes
        try:
            # What is asked for hour by hour comes twice on a day that has an hour twice: only those that rise count.
            for local in instants:
                instant = local.astimezone(UTC)
                if instant > last:
                    yield from self._twice(last, instant)
                    yield instant
                    last = instant
        except OverflowError:  # beyond the last date that there is
            return

    def _twice(self, last: datetime, following: datetime) -> Iterator[datetime]:
        """What of each hour comes between two instants once more, where clocks go back by less than an hour."""
        if not self._is_of_each_hour or following - last > _HOURS_LOOKED_AT:
            return
        begin, end = last.astimezone(self._zone), following.astimezone(self._zone)
        if begin.utcoffset() == end.utcoffset():
            return
        moment = last.replace(second=0, microsecond=0) + timedelta(minutes=1)
        while moment < following:
            local = moment.astimezone(self._zone)
            if local.date() == end.date() and local.hour in self._hours and local.minute in self._minutes:
                yield moment.astimezone(UTC)
            moment += timedelta(minutes=1)

    def days(self, begin: datetime, end: datetime) -> list[datetime]:
        """The days between two, by UTC, on which there is an instant at all."""
        instants = CronSim(" ".join(["0", "0", *self._expression.split()[2:]]), begin)
        return list(takewhile(lambda day: day < end, instants))


def hours_after(moment: datetime, offset: timedelta) -> Iterator[datetime]:
    """Every full hour after a moment, so much later each, in UTC."""
    whole = (moment - offset).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while True:
        whole += timedelta(hours=1)
        yield whole + offset
