"""Which points stay, wait and go, with every rule that decided; and against a second, slow reading of the rules."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.retention.planner import judge, plan
from chassis.retention.points import Judgement, PlannerSettings, Point, Reason, Rule, Source, Verdict
from contracts import errors
from contracts.errors import PlatformError
from contracts.retention import RetentionRules

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
LAST_ONE = RetentionRules(keep_last=1)


def _days(days: float) -> datetime:
    return NOW - timedelta(days=days)


def _point(days: float, **said: object) -> Point:
    return Point(id=f"{days:g}", at=_days(days), **said)  # type: ignore[arg-type]  # as the struct takes them


def _source(points: Sequence[Point], rules: RetentionRules | None = LAST_ONE, **said: object) -> Source:
    return Source(id="c", points=points, rules=rules, **said)  # type: ignore[arg-type]  # as above


def _told(judged: Sequence[Judgement]) -> dict[str, tuple[str, list[str]]]:
    return {each.point.id: (each.verdict.value, [reason.rule.value for reason in each.reasons]) for each in judged}


def _verdicts(judged: Sequence[Judgement]) -> dict[str, str]:
    return {each.point.id: each.verdict.value for each in judged}


def test_each_point_is_told_with_every_rule_that_decided() -> None:
    rules = RetentionRules(keep_last=2, keep_daily=2, keep_within="3d", minimum_days=1, maximum_days=100)
    points = [_point(0), _point(0.25), _point(1), _point(4, is_proven=True), _point(5), _point(200)]
    assert _told(judge(_source(points, rules), NOW)) == {
        "0": ("keep", ["keep-last", "keep-daily", "keep-within", "newest", "minimum-days"]),
        "0.25": ("keep", ["keep-last", "keep-within", "minimum-days"]),
        "1": ("keep", ["keep-daily", "keep-within"]),
        "4": ("keep", ["last-proven"]),
        "5": ("go", ["not-kept"]),
        "200": ("go", ["maximum-days"]),
    }


def test_words_say_the_number_and_the_day() -> None:
    rules = RetentionRules(keep_last=1, keep_within="1y6m", minimum_days=30, maximum_days=3650)
    (newest,) = judge(_source([_point(0, locks=(("offsite", NOW + timedelta(days=3)),), holds=("court",))], rules), NOW)
    assert [reason.words for reason in newest.reasons] == [
        "one of the newest 1 (keepLast)",
        "at most 1y6m older than the newest (keepWithin)",
        "held by court",
        "locked at offsite, until 2026-11-30 12:00 UTC",
        "the newest of its configuration, which never goes",
        "younger than 30 days (minimumDays), until 2026-12-27 12:00 UTC",
    ]


def test_every_rule_has_its_words() -> None:
    assert all(Reason(rule, "x").words for rule in Rule)


def test_nothing_goes_without_a_policy() -> None:
    judged = judge(_source([_point(days) for days in range(0, 4000, 500)], None), NOW)
    assert {each.verdict for each in judged} == {Verdict.KEEP}
    assert {reason.rule for each in judged for reason in each.reasons} == {Rule.NO_POLICY}


def test_the_last_point_the_last_proven_and_the_newest_of_each_place_never_go() -> None:
    """However old they are, and whatever the policy says: one that is past `maximumDays` is a finding."""
    points = [
        _point(400, places=("local",)),
        _point(500, places=("local",)),
        _point(600, places=("local", "offsite"), is_proven=True),
        _point(700, places=("local", "offsite"), is_proven=True),
    ]
    judged = judge(_source(points, RetentionRules(keep_last=10, maximum_days=365)), NOW)
    assert _told(judged) == {
        "400": ("keep", ["newest", "newest-of-place"]),
        "500": ("go", ["maximum-days"]),
        "600": ("keep", ["newest-of-place", "last-proven"]),
        "700": ("go", ["maximum-days"]),
    }
    assert [each.is_overdue for each in judged] == [True, False, True, False]


def test_maximum_beats_what_counts_and_loses_to_what_protects() -> None:
    rules = RetentionRules(keep_last=9, keep_yearly=9, keep_within="9y", minimum_days=30, maximum_days=365)
    points = [
        _point(0),
        _point(366),
        _point(367, holds=("court",)),
        _point(368, readers=("recovery 1",)),
        _point(369, locks=(("offsite", NOW + timedelta(days=1)),)),
    ]
    judged = judge(_source(points, rules), NOW)
    assert _told(judged[1:]) == {
        "366": ("go", ["maximum-days"]),
        "367": ("keep", ["hold"]),
        "368": ("keep", ["in-use"]),
        "369": ("wait", ["maximum-days", "lock"]),
    }
    assert [each.is_overdue for each in judged] == [False, False, True, True, True]


def test_what_catches_a_tier_up_pushes_nothing_out() -> None:
    """Nobody asked for those points: they count for no number, stay within a span, and the newest stays anyway."""
    caught_up = [_point(0.1 * each, is_catch_up=True) for each in range(1, 7)]
    asked = [_point(each) for each in range(1, 5)]
    last_three = _verdicts(judge(_source([*caught_up, *asked], RetentionRules(keep_last=3)), NOW))
    assert [each for each, verdict in last_three.items() if verdict == "keep"] == [
        caught_up[0].id,
        *(each.id for each in asked[:3]),
    ]
    within = judge(_source([*caught_up, *asked], RetentionRules(keep_last=1, keep_within="2d")), NOW)
    assert [each.point.id for each in within if each.verdict == "keep"] == [
        *(each.id for each in caught_up),
        *(each.id for each in asked[:2]),
    ]


def test_what_a_lock_alone_keeps_waits_until_the_last_of_them_ends() -> None:
    ends = [NOW + timedelta(days=3), NOW + timedelta(days=9), NOW - timedelta(days=1)]
    locks = tuple(zip(("local", "offsite", "cloudPrimary"), ends, strict=True))
    judged = judge(_source([_point(0), _point(5, locks=locks), _point(6, locks=locks, holds=("court",))]), NOW)
    assert _told(judged[1:]) == {
        "5": ("wait", ["not-kept", "lock", "lock"]),
        "6": ("keep", ["hold", "lock", "lock"]),
    }
    assert [each.until for each in judged] == [None, NOW + timedelta(days=9), None]
    ended = judge(_source([_point(0), _point(5, locks=(("local", NOW),))]), NOW)
    assert ended[1].verdict is Verdict.GO


def test_nothing_younger_than_the_minimum_or_the_policys_lock_goes_to_the_instant() -> None:
    for rules in (RetentionRules(keep_last=1, minimum_days=10), RetentionRules(keep_last=1, lock_days=10)):
        points = [_point(0), Point(id="young", at=_days(10) + timedelta(microseconds=1)), _point(10)]
        assert _verdicts(judge(_source(points, rules), NOW)) == {"0": "keep", "young": "keep", "10": "go"}
    rules = RetentionRules(keep_last=1, maximum_days=10)
    points = [_point(0), Point(id="old", at=_days(10) - timedelta(microseconds=1)), _point(10)]
    assert _told(judge(_source(points, rules), NOW))["old"] == ("go", ["maximum-days"])
    assert _told(judge(_source(points, rules), NOW))["10"] == ("go", ["not-kept"])


def test_nothing_near_a_critical_wedding_goes_counted_in_days_of_the_zone() -> None:
    """The wedding on the 1st of June: from the 31st of May on, by Berlin's midnight, with a setting of one day."""
    zone = ZoneInfo("Europe/Berlin")
    before = datetime(2026, 5, 30, 21, 59, tzinfo=UTC)
    within = datetime(2026, 5, 30, 22, 0, tzinfo=UTC)
    after = datetime(2026, 6, 2, 22, 0, tzinfo=UTC)
    points = [_point(0), *(Point(id=f"{at:%d%H}", at=at) for at in (before, within, after))]
    source = _source(points, zone=zone, wedding=date(2026, 6, 1))
    judged = _told(judge(source, NOW, PlannerSettings(wedding_days=1)))
    assert {name: verdict for name, (verdict, _) in judged.items()} == {
        "0": "keep",
        "3021": "go",
        "3022": "keep",
        "0222": "go",
    }
    assert judged["3022"][1] == ["wedding"]
    near = judge(_source([_point(0), _point(45), _point(75), _point(106)], wedding=_days(75).date()), NOW)
    assert _verdicts(near) == {"0": "keep", "45": "keep", "75": "keep", "106": "go"}


def test_a_wedding_whose_date_cannot_be_read_keeps_everything() -> None:
    judged = judge(_source([_point(days) for days in range(5)], is_wedding_unknown=True), NOW)
    assert {each.verdict for each in judged} == {Verdict.KEEP}


def test_what_a_point_that_stays_needs_stays_and_what_that_needs() -> None:
    points = [
        _point(0, needs=("5",)),
        _point(3, locks=(("offsite", NOW + timedelta(days=1)),), needs=("6",)),
        _point(4),
        _point(5, needs=("9", "gone long ago")),
        _point(6),
        _point(8, needs=("7",)),
        _point(7),
        _point(9, locks=(("offsite", NOW + timedelta(days=1)),)),
    ]
    judged = {each.point.id: each for each in judge(_source(points), NOW)}
    assert _verdicts(list(judged.values())) == {
        "0": "keep",
        "3": "wait",
        "4": "go",
        "5": "keep",
        "6": "keep",
        "7": "go",
        "8": "go",
        "9": "keep",
    }
    assert [reason.words for reason in judged["5"].reasons] == ["needed by 0, which stays"]
    assert [reason.rule for reason in judged["9"].reasons] == [Rule.LOCK, Rule.NEEDED]


def test_what_is_needed_beyond_the_maximum_is_a_finding() -> None:
    rules = RetentionRules(keep_last=1, maximum_days=10)
    judged = judge(_source([_point(0, needs=("20",)), _point(20)], rules), NOW)
    assert (judged[1].verdict, judged[1].is_overdue) == (Verdict.KEEP, True)


@pytest.mark.parametrize(
    "said",
    [
        {"known": NOW + timedelta(minutes=6)},
        {"witnesses": [NOW, NOW - timedelta(days=365)]},
        {"witnesses": [NOW + timedelta(minutes=6)]},
    ],
)
def test_a_clock_that_jumped_stops_all_before_anything_is_judged(said: dict[str, object]) -> None:
    """A year ahead is told by another clock; a year behind, by what is known to have been."""
    with pytest.raises(PlatformError) as stopped:
        plan([_source([_point(0), _point(400)])], NOW, **said)  # type: ignore[arg-type]  # as the cases have it
    assert stopped.value.code is errors.RETENTION_CLOCK_IN_DOUBT


def test_one_point_of_the_future_stops_all_configurations() -> None:
    sources = [_source([_point(days) for days in range(9)]), _source([_point(0), _point(-1)])]
    with pytest.raises(PlatformError, match="something was made at 2026-11-28T12:00Z"):
        plan(sources, NOW)


def test_clocks_that_differ_by_little_stop_nothing_and_what_is_made_a_moment_later_counts_for_no_rule() -> None:
    little = timedelta(minutes=4)
    later = Point(id="later", at=NOW + little, is_proven=True, places=("local",))
    sources = [_source([later, _point(1, places=("local",), is_proven=True), _point(2)])]
    (only,) = plan(sources, NOW, known=NOW + little, witnesses=[NOW - little])
    assert _told(only.judgements) == {
        "later": ("keep", ["made-later"]),
        "1": ("keep", ["keep-last", "newest", "newest-of-place", "last-proven"]),
        "2": ("go", ["not-kept"]),
    }


_COUNTS = st.integers(0, 4)
_RULES = st.builds(
    RetentionRules,
    keep_last=_COUNTS,
    keep_hourly=_COUNTS,
    keep_daily=_COUNTS,
    keep_weekly=_COUNTS,
    keep_monthly=_COUNTS,
    keep_yearly=_COUNTS,
    minimum_days=st.integers(0, 40),
    maximum_days=st.one_of(st.none(), st.integers(1, 400)),
    lock_days=st.integers(0, 20),
)
_POINTS = st.lists(
    st.builds(
        lambda hours, proven, places, locked, held, read: Point(
            id=f"{hours:06d}",
            at=NOW - timedelta(hours=hours),
            is_proven=proven,
            places=places,
            locks=tuple(("offsite", NOW + timedelta(days=days)) for days in locked),
            holds=held,
            readers=read,
        ),
        st.integers(0, 500 * 24),
        st.booleans(),
        st.sampled_from([(), ("local",), ("local", "offsite"), ("offsite",)]),
        st.lists(st.integers(-5, 5), max_size=2),
        st.sampled_from([(), (), (), ("court",)]),
        st.sampled_from([(), (), (), ("a recovery",)]),
    ),
    max_size=40,
    unique_by=lambda point: point.id,
)


@given(_POINTS, st.one_of(st.none(), _RULES), st.one_of(st.none(), st.integers(0, 500)), st.data())
def test_against_a_slow_reading_of_the_rules(
    points: list[Point], rules: RetentionRules | None, wedding_days: int | None, data: st.DataObject
) -> None:
    """A second implementation: each point is asked by itself, by looking at all others."""
    ids = [point.id for point in points]
    if ids:
        needing = data.draw(
            st.dictionaries(st.sampled_from(ids), st.lists(st.sampled_from(ids), max_size=2), max_size=4)
        )
        points = [msgspec.structs.replace(point, needs=tuple(needing.get(point.id, ()))) for point in points]
    wedding = None if wedding_days is None else _days(wedding_days).date()

    def newer(than: Point) -> list[Point]:
        return [other for other in points if other.at > than.at]

    def is_protected(point: Point) -> bool:
        others = newer(point)
        age = NOW - point.at
        return bool(
            rules is None
            or not others
            or (point.is_proven and not any(other.is_proven for other in others))
            or any(not any(place in other.places for other in others) for place in point.places)
            or point.holds
            or point.readers
            or age < timedelta(days=max(rules.minimum_days, rules.lock_days))
            or (wedding is not None and abs((point.at.date() - wedding).days) <= 30)
        )

    def is_counted(point: Point) -> bool:
        if rules is None or (rules.maximum_days is not None and NOW - point.at > timedelta(days=rules.maximum_days)):
            return False
        if len(newer(point)) < rules.keep_last:
            return True
        for count, pattern in (
            (rules.keep_hourly, "%Y%m%d%H"),
            (rules.keep_daily, "%Y%m%d"),
            (rules.keep_weekly, "%G%V"),
            (rules.keep_monthly, "%Y%m"),
            (rules.keep_yearly, "%Y"),
        ):
            periods = {other.at.strftime(pattern) for other in newer(point)}
            if point.at.strftime(pattern) not in periods and len(periods) < count:
                return True
        return False

    kept = {point.id for point in points if is_protected(point) or is_counted(point)}
    waiting = {point.id for point in points if any(end > NOW for _, end in point.locks)} - kept
    while True:
        needed = {name for point in points if point.id in kept | waiting for name in point.needs} - kept
        if not needed:
            break
        kept |= needed
        waiting -= needed
    judged = judge(_source(points, rules, wedding=wedding), NOW)
    assert {each.point.id for each in judged if each.verdict is Verdict.KEEP} == kept
    assert {each.point.id for each in judged if each.verdict is Verdict.WAIT} == waiting
    assert [each.point.at for each in judged] == sorted((point.at for point in points), reverse=True)
    for each in judged:
        assert each.reasons
        is_old = rules is not None and rules.maximum_days is not None
        is_old = is_old and NOW - each.point.at > timedelta(days=rules.maximum_days)  # type: ignore[union-attr,arg-type]  # is there
        assert each.is_overdue == (is_old and each.verdict is not Verdict.GO)
