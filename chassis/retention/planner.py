"""Which points stay, which wait for a lock and which go: every point with every rule that decided.

Promise: pure. What protects a point beats its policy, whatever that says: the newest of its configuration, and the
newest at each place; the last that is proven; what a point that stays needs; what is read, held, locked, or near the
date of a critical wedding; what is younger than `minimumDays` or the policy's `lockDays`. Of the policy's own rules
`maximumDays` beats those that count: nothing older stays by them. What is older and protected stays, and is *overdue*:
a finding. A lock protects until it ends: what would go but for it *waits*. A configuration without a policy keeps all.

No point is judged to be old by a clock that is in doubt: `plan` raises before it judges any.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from chassis.retention.periods import kept_by_counting
from chassis.retention.points import Judgement, Plan, PlannerSettings, Point, Reason, Rule, Source, Verdict
from contracts import errors
from contracts.errors import PlatformError
from contracts.retention import RetentionRules

SETTINGS = PlannerSettings()
_NEWEST = Reason(Rule.NEWEST)
_PROVEN = Reason(Rule.LAST_PROVEN)
_LATER = Reason(Rule.MADE_LATER)
_NO_POLICY = Reason(Rule.NO_POLICY)
_WEDDING_UNKNOWN = Reason(Rule.WEDDING_UNKNOWN)
_NOT_KEPT = (Reason(Rule.NOT_KEPT),)


def plan(
    sources: Collection[Source],
    now: datetime,
    *,
    known: datetime | None = None,
    witnesses: Iterable[datetime] = (),
    settings: PlannerSettings = SETTINGS,
) -> Iterator[Plan]:
    """Each configuration's points, judged, one configuration after the other.

    `known`: the newest instant that anything tells of; `witnesses`: what other clocks say now. Raises
    RETENTION_CLOCK_IN_DOUBT at once where one of them, or the newest point, contradicts `now`.
    """
    newest = max((point.at for source in sources for point in source.points), default=None)
    require_clock(now, [each for each in (known, newest) if each is not None], witnesses, settings)
    return (Plan(source, judge(source, now, settings)) for source in sources)


def require_clock(
    now: datetime, past: Iterable[datetime], witnesses: Iterable[datetime] = (), settings: PlannerSettings = SETTINGS
) -> None:
    """Raise RETENTION_CLOCK_IN_DOUBT where something of the past lies ahead, or another clock says something else."""
    for each in past:
        if each > now + settings.clock_tolerance:
            raise _in_doubt(f"it is {now:%Y-%m-%dT%H:%MZ} here, and something was made at {each:%Y-%m-%dT%H:%MZ}")
    for each in witnesses:
        if abs(each - now) > settings.clock_tolerance:
            raise _in_doubt(f"it is {now:%Y-%m-%dT%H:%MZ} here, and {each:%Y-%m-%dT%H:%MZ} by another clock")


def judge(source: Source, now: datetime, settings: PlannerSettings = SETTINGS) -> list[Judgement]:
    """The points of one configuration, judged, the newest first. The clock is taken to be right."""
    points = sorted(source.points, key=lambda point: point.id)
    points.sort(key=lambda point: point.at, reverse=True)
    if source.rules is None:
        stay = (_NO_POLICY,)
        return [Judgement(point, Verdict.KEEP, (*stay, *_from_outside(point, now))) for point in points]
    protected: list[list[Reason]] = [list(_from_outside(point, now)) for point in points]
    _protect_the_last(points, protected, now)
    _protect_the_young(source, points, protected, now)
    _protect_the_wedding(source, points, protected, settings)
    counted = _counted(source, points, now)
    maximum = source.rules.maximum_days
    oldest = None if maximum is None else now - timedelta(days=maximum)
    judged = [
        _judged(point, protected[at], counted[at], now, maximum if oldest is not None and point.at < oldest else None)
        for at, point in enumerate(points)
    ]
    if any(point.needs for point in points):
        _keep_what_is_needed(judged)
    return judged


def _judged(
    point: Point, protected: Sequence[Reason], counted: Sequence[Reason], now: datetime, past_maximum: int | None
) -> Judgement:
    is_old = past_maximum is not None
    stays = [*protected] if is_old else [*counted, *protected]
    until = max((end for _, end in point.locks if end > now), default=None)
    if any(reason.rule is not Rule.LOCK for reason in stays):
        return Judgement(point, Verdict.KEEP, tuple(stays), None, is_old)
    why = _NOT_KEPT if past_maximum is None else (Reason(Rule.MAXIMUM_DAYS, past_maximum),)
    if until is not None:
        return Judgement(point, Verdict.WAIT, (*why, *stays), until, is_old)
    return Judgement(point, Verdict.GO, why)


def _from_outside(point: Point, now: datetime) -> Iterator[Reason]:
    for name in point.holds:
        yield Reason(Rule.HOLD, name)
    for name in point.readers:
        yield Reason(Rule.IN_USE, name)
    for place, end in point.locks:
        if end > now:
            yield Reason(Rule.LOCK, place, end)


def _protect_the_last(points: Sequence[Point], protected: Sequence[list[Reason]], now: datetime) -> None:
    """The newest, the newest at each place and the last proven one, of those that were not made in the future."""
    places: set[str] = set()
    is_newest, is_unproven = True, True
    for point, reasons in zip(points, protected, strict=True):
        if point.at > now:
            reasons.append(_LATER)
            continue
        if is_newest:
            reasons.append(_NEWEST)
            is_newest = False
        for place in point.places:
            if place not in places:
                places.add(place)
                reasons.append(Reason(Rule.NEWEST_OF_PLACE, place))
        if is_unproven and point.is_proven:
            reasons.append(_PROVEN)
            is_unproven = False


def _protect_the_young(
    source: Source, points: Sequence[Point], protected: Sequence[list[Reason]], now: datetime
) -> None:
    rules = source.rules
    if rules is None:
        return
    for rule, days in ((Rule.MINIMUM_DAYS, rules.minimum_days), (Rule.LOCK_DAYS, rules.lock_days)):
        if not days:
            continue
        age = timedelta(days=days)
        for point, reasons in zip(points, protected, strict=True):
            if point.at + age <= now:
                break  # All that follow are older.
            reasons.append(Reason(rule, days, point.at + age))


def _protect_the_wedding(
    source: Source, points: Sequence[Point], protected: Sequence[list[Reason]], settings: PlannerSettings
) -> None:
    if source.is_wedding_unknown:
        for reasons in protected:
            reasons.append(_WEDDING_UNKNOWN)
    elif source.wedding is not None:
        near = Reason(Rule.WEDDING, settings.wedding_days)
        for point, reasons in zip(points, protected, strict=True):
            if abs((point.at.astimezone(source.zone).date() - source.wedding).days) <= settings.wedding_days:
                reasons.append(near)


def _counted(source: Source, points: Sequence[Point], now: datetime) -> list[list[Reason]]:
    counted: list[list[Reason]] = [[] for _ in points]
    first = next((at for at, point in enumerate(points) if point.at <= now), len(points))
    if source.rules is not None:
        places = range(first, len(points))
        # Nobody asked for those that caught a tier up: they would push out what the policy is there for.
        asked = [place for place in places if not points[place].is_catch_up]
        counting = msgspec.structs.replace(source.rules, keep_within=None)
        for of, rules in ((asked, counting), (places, RetentionRules(keep_within=source.rules.keep_within))):
            for at, reason in kept_by_counting([points[place].at for place in of], rules, source.zone):
                counted[of[at]].append(reason)
    return counted


def _keep_what_is_needed(judged: list[Judgement]) -> None:
    """What a point that stays needs stays as well, and what that needs."""
    place_of = {each.point.id: at for at, each in enumerate(judged)}
    looking = [at for at, each in enumerate(judged) if each.verdict is not Verdict.GO]
    while looking:
        staying = judged[looking.pop()].point
        for needed in staying.needs:
            if (at := place_of.get(needed)) is None:
                continue
            before = judged[at]
            kept_by = () if before.verdict is not Verdict.KEEP else before.reasons
            reason = Reason(Rule.NEEDED, staying.id)
            if reason in kept_by:
                continue
            if before.verdict is Verdict.GO:
                looking.append(at)
            is_old = before.is_overdue or any(each.rule is Rule.MAXIMUM_DAYS for each in before.reasons)
            locks = tuple(each for each in before.reasons if each.rule is Rule.LOCK)
            reasons = (*(kept_by or locks), reason)
            judged[at] = Judgement(before.point, Verdict.KEEP, reasons, None, is_old)


def _in_doubt(message: str) -> PlatformError:
    return PlatformError(errors.RETENTION_CLOCK_IN_DOUBT, message)
