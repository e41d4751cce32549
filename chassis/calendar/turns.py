"""What becomes of an instant of a schedule that has come. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from chassis.calendar.plan import Planned
from contracts.schedule import MissedRuns

LATE = timedelta(minutes=5)
"""What begins later than this has been missed, and its schedule says what becomes of it."""


class Instants(Protocol):
    """When something falls due: a `chassis.calendar.plan.Plan`, or what is as regular."""

    def after(self, moment: datetime) -> Planned | None:
        """The first instant after a moment; None where there is none any more."""
        ...

    def between(self, moment: datetime, until: datetime) -> Sequence[datetime]:
        """The instants after a moment, up to another one; the first of them where they are many."""
        ...

    def is_raised(self, moment: datetime) -> bool:
        """Whether what falls due then goes before others."""
        ...

    def is_open(self, moment: datetime) -> bool:
        """Whether the window lets it begin then."""
        ...

    def blackout_end(self, moment: datetime) -> datetime | None:
        """When the blackouts that a moment is in are over; None where it is in none."""
        ...


class Fires(msgspec.Struct, frozen=True):
    """A run is asked for now; `next_run_at`: the instant after."""

    is_urgent: bool
    passed_over: int
    next_run_at: datetime | None


class Missed(msgspec.Struct, frozen=True):
    """It had its time, and there is no run for it."""

    passed_over: int
    next_run_at: datetime | None


class Waits(msgspec.Struct, frozen=True):
    """It is looked at again at the end of a blackout."""

    until: datetime


class Elsewhere(msgspec.Struct, frozen=True):
    """It is not this instant's turn: it was dealt with, or is still to come since a clock was put back."""

    next_run_at: datetime | None


def when_instant_came(
    plan: Instants, missed_runs: MissedRuns, due_at: datetime, now: datetime, *, is_dealt_with: bool
) -> Fires | Missed | Waits | Elsewhere:
    """What becomes of an instant that a timer has brought up."""
    if now < due_at:
        return Elsewhere(_at(plan, now))
    if is_dealt_with:
        return Elsewhere(_at(plan, due_at))
    passed = plan.between(due_at, now)
    fires = Fires(plan.is_raised(due_at) or plan.is_raised(now), len(passed), _at(plan, now))
    if now - due_at <= LATE:
        return fires
    if missed_runs is MissedRuns.SKIP:
        if passed and now - passed[-1] <= LATE:
            return Missed(len(passed) - 1, passed[-1])
        return Missed(len(passed), _at(plan, now))
    if (until := plan.blackout_end(now)) is not None:
        return Waits(until)
    if missed_runs is MissedRuns.WITHIN_WINDOW and not plan.is_open(now):
        return Missed(len(passed), _at(plan, now))
    return fires


def _at(plan: Instants, moment: datetime) -> datetime | None:
    planned = plan.after(moment)
    return None if planned is None else planned.at
