"""What the planner is told of recovery points, and what it says of each. Plain values.

Times are aware and in UTC. What is not known is left out by whoever asks, and said by him: the planner judges what it
is told, and keeps what nothing is said against.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import NamedTuple

import msgspec

from contracts.retention import RetentionRules

WEDDING_DAYS = 30


class Verdict(StrEnum):
    """What becomes of a point. One that *waits* would go if no lock kept it."""

    KEEP = "keep"
    WAIT = "wait"
    GO = "go"


class Rule(StrEnum):
    """What decides. The first four groups keep; those of the last let go."""

    KEEP_LAST = "keep-last"
    KEEP_HOURLY = "keep-hourly"
    KEEP_DAILY = "keep-daily"
    KEEP_WEEKLY = "keep-weekly"
    KEEP_MONTHLY = "keep-monthly"
    KEEP_YEARLY = "keep-yearly"
    KEEP_WITHIN = "keep-within"

    MINIMUM_DAYS = "minimum-days"
    LOCK_DAYS = "lock-days"
    NO_POLICY = "no-policy"

    NEWEST = "newest"
    NEWEST_OF_PLACE = "newest-of-place"
    LAST_PROVEN = "last-proven"
    NEEDED = "needed"
    WEDDING = "wedding"
    WEDDING_UNKNOWN = "wedding-unknown"
    MADE_LATER = "made-later"

    HOLD = "hold"
    IN_USE = "in-use"
    LOCK = "lock"

    MAXIMUM_DAYS = "maximum-days"
    NOT_KEPT = "not-kept"


_WORDS = {
    Rule.KEEP_LAST: "one of the newest {} (keepLast)",
    Rule.KEEP_HOURLY: "the newest of its hour (keepHourly {})",
    Rule.KEEP_DAILY: "the newest of its day (keepDaily {})",
    Rule.KEEP_WEEKLY: "the newest of its week (keepWeekly {})",
    Rule.KEEP_MONTHLY: "the newest of its month (keepMonthly {})",
    Rule.KEEP_YEARLY: "the newest of its year (keepYearly {})",
    Rule.KEEP_WITHIN: "at most {} older than the newest (keepWithin)",
    Rule.MINIMUM_DAYS: "younger than {} days (minimumDays)",
    Rule.LOCK_DAYS: "younger than {} days (the policy's lockDays)",
    Rule.NO_POLICY: "its configuration names no retention policy: it is kept for ever",
    Rule.NEWEST: "the newest of its configuration, which never goes",
    Rule.NEWEST_OF_PLACE: "the newest of its configuration at {}, which never goes",
    Rule.LAST_PROVEN: "the last that is whole and was read back, which never goes",
    Rule.NEEDED: "needed by {}, which stays",
    Rule.WEDDING: "within {} days of its critical wedding",
    Rule.WEDDING_UNKNOWN: "the date of its critical wedding cannot be read: nothing of it goes",
    Rule.MADE_LATER: "made a moment after the present, as this clock has it",
    Rule.HOLD: "held by {}",
    Rule.IN_USE: "read by {}",
    Rule.LOCK: "locked at {}",
    Rule.MAXIMUM_DAYS: "older than {} days (maximumDays)",
    Rule.NOT_KEPT: "no rule of its policy keeps it",
}


class Reason(NamedTuple):
    """A rule that decided. `value`: its number, or the name of what is meant; `until`: when it ends by itself."""

    rule: Rule
    value: str | int = ""
    until: datetime | None = None

    @property
    def words(self) -> str:
        """For people: what it says of the point."""
        end = "" if self.until is None else f", until {self.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        return _WORDS[self.rule].format(self.value) + end


class Point(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A recovery point. `at`: when its run had completed.

    `is_proven`: nothing of its source is missing in it, and it was read back. `is_catch_up`: a run made it that
    followed another by itself, which had made one as good: no rule that counts points counts it. `places`: who has
    it, by name. `locks`: until when a place keeps each of its bytes from being deleted. `holds`, `readers`: what keeps
    it, by name. `needs`: ids of points without which it cannot be restored.
    """

    id: str
    at: datetime
    is_proven: bool = False
    is_catch_up: bool = False
    places: tuple[str, ...] = ()
    locks: tuple[tuple[str, datetime], ...] = ()
    holds: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """All points of a configuration: they count for each other, and for no other's.

    `rules`: of its policy; None: it names none. `zone`: in which its days begin. `wedding`: the date, where it is of a
    critical one; `is_wedding_unknown`: there is such a date, and nobody can read it now.
    """

    id: str
    points: Sequence[Point]
    rules: RetentionRules | None = None
    zone: tzinfo = UTC
    wedding: date | None = None
    is_wedding_unknown: bool = False


class Judgement(NamedTuple):
    """What becomes of a point, and every rule that decided so.

    `until`: when the last lock ends of one that waits. `is_overdue`: older than `maximumDays`, and does not go.
    """

    point: Point
    verdict: Verdict
    reasons: tuple[Reason, ...]
    until: datetime | None = None
    is_overdue: bool = False


class Plan(NamedTuple):
    """All points of a configuration, judged, the newest first."""

    source: Source
    judgements: list[Judgement]


class PlannerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What no policy says. `wedding_days`: so near to a critical wedding, before and after, nothing goes.

    `clock_tolerance`: by so much clocks of different machines may differ.
    """

    wedding_days: int = WEDDING_DAYS
    clock_tolerance: timedelta = timedelta(minutes=5)
