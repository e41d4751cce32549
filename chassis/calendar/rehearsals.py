"""When tests of a disaster recovery plan begin, and what speaks against a schedule of them. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import msgspec

from chassis.calendar.plan import COUNTED, Plan, Planned
from chassis.calendar.rules import schedule_objections
from chassis.calendar.turns import Instants
from contracts import errors
from contracts.disaster import TestingSchedule
from contracts.refusal import Objection
from contracts.schedule import Schedule

LOOKED_AHEAD = timedelta(days=2 * 366)
"""For so long the instants of a schedule are compared with `everyDays`: what is rarer than a year has two in it."""


class EveryDays:
    """An instant each so many days from one of them on."""

    def __init__(self, one: datetime, days: int) -> None:
        self._one = one
        self._days = timedelta(days=days)

    def after(self, moment: datetime) -> Planned:
        """The first instant after a moment, no earlier than the one that is known."""
        passed = (moment - self._one) // self._days + 1
        return Planned(self._one + max(0, passed) * self._days)

    def between(self, moment: datetime, until: datetime) -> Sequence[datetime]:
        """The instants after a moment, up to another one; the first `COUNTED` of them."""
        first = self.after(moment).at
        count = (until - first) // self._days + 1
        return [first + place * self._days for place in range(min(max(0, count), COUNTED))]

    def is_raised(self, moment: datetime) -> bool:  # noqa: ARG002  # as all instants are asked
        """No test goes before others."""
        return False

    def is_open(self, moment: datetime) -> bool:  # noqa: ARG002  # as all instants are asked
        """They have no window."""
        return True

    def blackout_end(self, moment: datetime) -> datetime | None:  # noqa: ARG002  # as all instants are asked
        """They have no blackout."""
        return None


def instants_of_tests(testing: TestingSchedule, *, seed: str, one: datetime) -> Instants:
    """When tests begin. `seed`: whose they are; `one`: the instant from which days are counted.

    Raises ValueError where the schedule is not right.
    """
    return EveryDays(one, testing.every_days) if testing.schedule is None else Plan(testing.schedule, seed=seed)


def first_test(
    before: TestingSchedule | None, told: datetime | None, testing: TestingSchedule | None, now: datetime, *, seed: str
) -> datetime | None:
    """The test that a plan waits for which says this from now on; `told`: the one that it has waited for.

    One that has come stays the next, and no change of the days alone puts one off.
    """
    if testing is None:
        return None
    if told is not None and (before == testing or told <= now):
        return told
    planned = instants_of_tests(testing, seed=seed, one=now + timedelta(days=testing.every_days)).after(now)
    if planned is None:
        return None
    return planned.at if told is None or testing.schedule is not None else min(told, planned.at)


def objections_to_tests(testing: TestingSchedule | None, now: datetime) -> Iterator[Objection]:
    """All that speaks against a schedule of tests."""
    if testing is None or testing.schedule is None:
        return
    wrong = list(schedule_objections(testing.schedule, now))
    for each in wrong:
        yield Objection(each.code, f"testingSchedule.{each.field}", each.hint)
    if not wrong and (days := _widest(testing.schedule, now)) > testing.every_days:
        hint = (
            f"The schedule leaves up to {days} days without a test: say so many, or choose times that come more often."
        )
        yield Objection(errors.INVALID_FIELD, "testingSchedule.everyDays", hint)


def _widest(schedule: Schedule, now: datetime) -> int:
    """The most days between two tests, blackouts left out of account. An hour more is a change of the clocks."""
    plan = Plan(msgspec.structs.replace(schedule, jitter_minutes=0, blackouts=()), seed="")
    found = plan.between(now, now + LOOKED_AHEAD)
    widest = max((later - earlier for earlier, later in pairwise(found)), default=LOOKED_AHEAD)
    return -((timedelta(hours=2) - widest) // timedelta(days=1))
