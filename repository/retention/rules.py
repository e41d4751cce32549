"""Which snapshots a set of rules keeps, and why.

Promise: `judge` is a pure function. Every snapshot is judged, with each rule that keeps it by name; one that nothing
keeps may go. The newest of a label does not go by rules, nor does what a hold keeps. What was made after `now_ns` is
kept, and counts for no rule: a clock that was wrong, here or there, lets nothing go. Snapshots of different labels do
not count for each other.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, NamedTuple

from repository.errors import RulesInvalid
from repository.stored.snapshot import Snapshot

_SPAN: Final = re.compile(r"([0-9]+)([hdwmy])")
_NANOSECONDS: Final = 1_000_000_000
_NO_HOLDS: Final[Mapping[str, Sequence[str]]] = {}


class Span(NamedTuple):
    """A length of time in calendar terms: `months` are as long as they are, the rest is exact."""

    months: int
    exact: timedelta

    def before(self, moment: datetime) -> datetime:
        """The moment that lies so long before: the 31st less a month is the last day of the month before."""
        count = moment.year * 12 + moment.month - 1 - self.months
        year, month = divmod(count, 12)
        if year < 1:
            return datetime.min.replace(tzinfo=moment.tzinfo)
        day = min(moment.day, calendar.monthrange(year, month + 1)[1])
        try:
            return moment.replace(year=year, month=month + 1, day=day) - self.exact
        except OverflowError:
            return datetime.min.replace(tzinfo=moment.tzinfo)


def span_of(text: str) -> Span:
    """A span as people write it: `90d`, `1y6m`, `2w`, `36h`. Raises `RulesInvalid`."""
    parts = _SPAN.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text or any(len(n) > 5 for n, _ in parts):
        raise RulesInvalid(f"{text[:40]!r} is no length of time", hint="Write it as 36h, 90d, 8w, 6m or 1y6m.")
    months, exact = 0, timedelta()
    for digits, unit in parts:
        number = int(digits)
        match unit:
            case "y":
                months += 12 * number
            case "m":
                months += number
            case "w":
                exact += timedelta(weeks=number)
            case "d":
                exact += timedelta(days=number)
            case _:
                exact += timedelta(hours=number)
    return Span(months, exact)


@dataclass(frozen=True)
class Rules:
    """What is kept: so many of the newest; of as many hours, days, ISO weeks, months and years that have a snapshot the
    newest of each; all that is younger than a span; all with one of these tags. Days begin at midnight in `zone`.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: Span | None = None
    tags: tuple[str, ...] = ()
    zone: tzinfo = UTC

    def __post_init__(self) -> None:
        counts = (self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly)
        if min(counts) < 0:
            raise RulesInvalid("a number of snapshots is below 0", counts=counts)
        if not any(counts) and self.within is None and not self.tags:
            raise RulesInvalid("there is no rule: nothing would be kept")


class Judgement(NamedTuple):
    """`kept_by`: every rule that keeps the snapshot, in words; none: it may go."""

    snapshot: Snapshot
    kept_by: tuple[str, ...]

    @property
    def is_kept(self) -> bool:
        """Whether some rule keeps it."""
        return bool(self.kept_by)


def judge(
    snapshots: Iterable[Snapshot],
    rules: Rules,
    now_ns: int,
    holds: Mapping[str, Sequence[str]] = _NO_HOLDS,
    tags: Mapping[str, Sequence[str]] = _NO_HOLDS,
) -> list[Judgement]:
    """Each snapshot with what keeps it, in the order given. `holds`: by name, ids of snapshots (none: all).

    `tags`: by id, of those that have others than their manifests say.
    """
    given = list(snapshots)
    by_label: dict[str, list[Snapshot]] = {}
    for each in given:
        by_label.setdefault(each.brief.label, []).append(each)
    reasons: dict[str, list[str]] = {each.id: [] for each in given}
    for group in by_label.values():
        _judge_group(group, rules, now_ns, reasons, tags)
    for each in given:
        reasons[each.id] += [f"hold {name}" for name, held in holds.items() if not held or each.id in held]
    return [Judgement(each, tuple(reasons[each.id])) for each in given]


def _judge_group(
    group: Sequence[Snapshot],
    rules: Rules,
    now_ns: int,
    reasons: dict[str, list[str]],
    tags: Mapping[str, Sequence[str]],
) -> None:
    for each in group:
        if each.brief.time_ns > now_ns:
            reasons[each.id].append("made in the future, as this machine's clock has it")
        own = tags.get(each.id, each.manifest.tags) if rules.tags else ()
        if kept := sorted(set(rules.tags).intersection(own)):
            reasons[each.id].append("tag " + ", ".join(kept))
    newest_first = sorted(
        (each for each in group if each.brief.time_ns <= now_ns), key=lambda each: (-each.brief.time_ns, each.id)
    )
    if not newest_first:
        return
    moments = {each.id: _moment(each, rules.zone) for each in newest_first}
    if rules.within is not None:
        # From the newest one on, as what is not backed up any more is not to vanish by and by.
        since = rules.within.before(moments[newest_first[0].id])
        for each in newest_first:
            if moments[each.id] >= since:
                reasons[each.id].append("within the span")
    for each in newest_first[: rules.last]:
        reasons[each.id].append("last")
    reasons[newest_first[0].id].append("newest of its label")
    for word, count, period in (
        ("hourly", rules.hourly, lambda m: (m.date(), m.hour, m.utcoffset())),
        ("daily", rules.daily, lambda m: m.date()),
        ("weekly", rules.weekly, lambda m: tuple(m.isocalendar())[:2]),
        ("monthly", rules.monthly, lambda m: (m.year, m.month)),
        ("yearly", rules.yearly, lambda m: m.year),
    ):
        for each in _newest_of_each(newest_first, moments, count, period):
            reasons[each.id].append(word)


def _newest_of_each(
    newest_first: Sequence[Snapshot],
    moments: dict[str, datetime],
    count: int,
    period: Callable[[datetime], object],
) -> list[Snapshot]:
    found: dict[object, Snapshot] = {}
    for each in newest_first:
        if len(found) >= count:
            break
        found.setdefault(period(moments[each.id]), each)
    return list(found.values())


def _moment(snapshot: Snapshot, zone: tzinfo) -> datetime:
    seconds, rest = divmod(snapshot.brief.time_ns, _NANOSECONDS)
    moment = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=rest // 1000)
    return moment.astimezone(zone)  # last: a sum in a zone does not know which of two equal hours it is
