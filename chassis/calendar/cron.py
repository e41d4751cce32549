"""Cron expressions in a time zone, as Debian's cron understands them. Pure.

Five fields: minute, hour, day of month, month, day of week; names of months and days, `L`, `LW`, `#` as well. Where
neither day field begins with `*`, either is enough. On the two odd days of a year:

- What names hours (`30 2 * * *`) is due once on each day. A time that the clocks leave out is due when they go on
  (02:30 at 03:00); of one that comes twice the first counts.
- What does not (`30 * * * *`) follows the hours as they pass: none is left out, and each of the two counts.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_MINUTES_OF_DAY = 24 * 60
_ANY_DAY = datetime(2000, 1, 1, tzinfo=UTC)


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
        times = sorted(hour * 60 + minute for hour in parsed.hours for minute in parsed.minutes)
        following = [*times[1:], times[0] + _MINUTES_OF_DAY]
        self.shortest_minutes = min(later - earlier for earlier, later in zip(times, following, strict=True))
        """The shortest time from one time of day to the next, were every day one."""

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The instants after a moment, in UTC, each once, rising; none where there is none within 50 years."""
        last = moment
        # What is asked for hour by hour comes twice on a day that has an hour twice: only those that rise count.
        for local in CronSim(self._expression, moment.astimezone(self._zone)):
            instant = local.astimezone(UTC)
            if instant > last:
                yield instant
                last = instant


def hours_after(moment: datetime, offset: timedelta) -> Iterator[datetime]:
    """Every full hour after a moment, so much later each, in UTC."""
    whole = (moment - offset).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while True:
        whole += timedelta(hours=1)
        yield whole + offset
