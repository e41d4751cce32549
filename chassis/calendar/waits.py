"""How long a schedule lets pass between two of its runs: what an overdue backup is measured by. Pure."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

import msgspec

from chassis.calendar.plan import Plan
from contracts.schedule import Schedule

WITHOUT_SCHEDULE = timedelta(days=1)
"""What is taken where no schedule says it: once a day."""
_FROM, _UNTIL = datetime(2001, 1, 1, tzinfo=UTC), datetime(2005, 1, 1, tzinfo=UTC)
"""Four years, so that a leap day is among them."""
_DAY = timedelta(days=1)


def longest_wait(schedule: Schedule | None) -> timedelta:
    """The longest time between two runs of a schedule, blackouts and what a wedding adds aside.

    Of none, and of one that this build does not understand, `WITHOUT_SCHEDULE`: an alarm too many.
    """
    if schedule is None:
        return WITHOUT_SCHEDULE
    return _longest_wait(msgspec.structs.replace(schedule, blackouts=(), jitter_minutes=0))


@lru_cache(maxsize=1024)
def _longest_wait(schedule: Schedule) -> timedelta:
    try:
        plan = Plan(schedule, seed="")
        days = plan.days(_FROM, _UNTIL) if plan.times else []
    except ValueError:
        return WITHOUT_SCHEDULE
    if not days:
        return WITHOUT_SCHEDULE
    between = max((later - earlier for earlier, later in pairwise(days)), default=_UNTIL - _FROM)
    return max(plan.widest, between - _DAY + plan.overnight)
