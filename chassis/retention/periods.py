"""What the counting rules of a policy keep: the calendar of a time zone, as `repo forget` counts (ADR 0087).

Promise: the same moments and the same numbers keep the same points as `repository.retention.rules`, which knows
nothing of the platform, so that there are two: `tests/unit/chassis/retention/test_as_repo_forget.py` compares them.
"""

import calendar
from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo

from chassis.retention.points import Reason, Rule
from contracts.retention import RetentionRules, Span, span_of

_PERIODS: tuple[tuple[Rule, str, Callable[[datetime], Hashable]], ...] = (
    # An hour that comes twice when clocks go back is two.
    (Rule.KEEP_HOURLY, "keep_hourly", lambda m: (m.date(), m.hour, m.utcoffset())),
    (Rule.KEEP_DAILY, "keep_daily", lambda m: m.date()),
    (Rule.KEEP_WEEKLY, "keep_weekly", lambda m: m.isocalendar()[:2]),
    (Rule.KEEP_MONTHLY, "keep_monthly", lambda m: (m.year, m.month)),
    (Rule.KEEP_YEARLY, "keep_yearly", lambda m: m.year),
)


def kept_by_counting(
    newest_first: Sequence[datetime], rules: RetentionRules, zone: tzinfo
) -> Iterator[tuple[int, Reason]]:
    """Which of these moments (UTC, the newest first) a policy keeps: each by its place, once for each rule."""
    moments = list(newest_first) if zone is UTC else [each.astimezone(zone) for each in newest_first]
    for place in range(min(rules.keep_last, len(moments))):
        yield place, Reason(Rule.KEEP_LAST, rules.keep_last)
    for rule, name, period in _PERIODS:
        if count := getattr(rules, name):
            reason = Reason(rule, count)
            for place in _newest_of_each(moments, count, period):
                yield place, reason
    if rules.keep_within is not None and moments and (span := span_of(rules.keep_within)) is not None:
        # From the newest one on, as what is not backed up any more is not to vanish by and by.
        since, reason = before(moments[0], span), Reason(Rule.KEEP_WITHIN, rules.keep_within)
        for place, moment in enumerate(moments):
            if moment >= since:
                yield place, reason


def before(moment: datetime, span: Span) -> datetime:
    """The moment that lies so long before: the 31st less a month is the last day of the month before."""
    count = moment.year * 12 + moment.month - 1 - span.months
    year, month = divmod(count, 12)
    if year < 1:
        return datetime.min.replace(tzinfo=moment.tzinfo)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    try:
        return moment.replace(year=year, month=month + 1, day=day) - timedelta(hours=span.hours)
    except OverflowError:
        return datetime.min.replace(tzinfo=moment.tzinfo)


def _newest_of_each(moments: Sequence[datetime], count: int, period: Callable[[datetime], Hashable]) -> Iterator[int]:
    found: set[Hashable] = set()  # Where clocks go back over midnight a day comes twice.
    for place, moment in enumerate(moments):
        if (now := period(moment)) not in found:
            yield place
            found.add(now)
            if len(found) >= count:
                return
