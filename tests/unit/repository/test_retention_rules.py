"""Which snapshots a set of rules keeps, and why."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repository.errors import RulesInvalid
from repository.retention.rules import Rules, judge, span_of
from repository.stored.snapshot import Snapshot, SnapshotManifest

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)


def _snapshot(name: str, made: datetime, label: str = "photos", tags: tuple[str, ...] = ()) -> Snapshot:
    manifest = SnapshotManifest(
        time_ns=int(made.timestamp()) * 10**9, run_token=name, label=label, root=(), domain="", tags=tags
    )
    return Snapshot(name, manifest.encode(), manifest)


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


def _kept(snapshots: list[Snapshot], rules: Rules, now: datetime = NOW) -> dict[str, tuple[str, ...]]:
    return {each.snapshot.id: each.kept_by for each in judge(snapshots, rules, _ns(now)) if each.is_kept}


def _daily(days: int) -> list[Snapshot]:
    return [_snapshot(f"{day}", NOW - timedelta(days=day)) for day in range(days)]


def test_each_period_keeps_its_newest_and_only_periods_that_have_one_count() -> None:
    hourly = [_snapshot(f"h{hour}", NOW - timedelta(hours=hour)) for hour in (0, 1, 1.5, 30, 31)]
    assert _kept(hourly, Rules(hourly=3)) == {
        "h0": ("newest of its label", "hourly"),
        "h1": ("hourly",),
        "h1.5": ("hourly",),  # 10:30, another hour than 11:00
    }
    assert set(_kept(hourly, Rules(daily=2))) == {"h0", "h30"}


def test_weeks_months_and_years_of_a_long_history() -> None:
    kept = _kept(_daily(800), Rules(weekly=2, monthly=3, yearly=2))
    assert kept == {
        "0": ("newest of its label", "weekly", "monthly", "yearly"),
        "2": ("weekly",),  # Sunday the 29th
        "31": ("monthly",),  # the last of February
        "59": ("monthly",),
        "90": ("yearly",),  # the last of 2025
    }


def test_labels_do_not_count_for_each_other_and_the_newest_of_each_stays() -> None:
    old = _snapshot("old", NOW - timedelta(days=900), label="contracts")
    assert set(_kept([*_daily(5), old], Rules(last=2))) == {"0", "1", "old"}
    assert _kept([old], Rules(tags=("none has it",))) == {"old": ("newest of its label",)}


def test_tags_and_holds_keep() -> None:
    tagged = _snapshot("tagged", NOW - timedelta(days=100), tags=("wedding", "x"))
    judged = judge([*_daily(3), tagged], Rules(last=1, tags=("wedding",)), _ns(NOW), {"court": ("2",), "all": ()})
    assert {each.snapshot.id: each.kept_by for each in judged} == {
        "0": ("last", "newest of its label", "hold all"),
        "1": ("hold all",),
        "2": ("hold court", "hold all"),
        "tagged": ("tag wedding", "hold all"),
    }


def test_a_clock_that_was_wrong_lets_nothing_go() -> None:
    """One snapshot of next year does not make the others old; nor does a machine that believes it is next year."""
    future = _snapshot("future", NOW + timedelta(days=365))
    kept = _kept([*_daily(5), future], Rules(last=1, within=span_of("2d")))
    assert kept == {
        "future": ("made in the future, as this machine's clock has it",),
        "0": ("within the span", "last", "newest of its label"),
        "1": ("within the span",),
        "2": ("within the span",),
    }
    assert set(_kept(_daily(5), Rules(within=span_of("2d")), NOW + timedelta(days=365))) == {"0", "1", "2"}


def test_days_begin_at_midnight_of_the_zone() -> None:
    late, later = datetime(2026, 3, 1, 22, 30, tzinfo=UTC), datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    both = [_snapshot("late", late), _snapshot("later", later)]
    assert set(_kept(both, Rules(daily=2))) == {"later"}
    assert set(_kept(both, Rules(daily=2, zone=ZoneInfo("Europe/Berlin")))) == {"late", "later"}


def test_the_hour_that_comes_twice_counts_twice() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    first, second = datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    both = [_snapshot("first", first), _snapshot("second", second)]
    rules = Rules(hourly=2, zone=berlin)
    assert set(_kept(both, rules, datetime(2026, 10, 26, tzinfo=UTC))) == {"first", "second"}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1m", datetime(2026, 2, 28, 12, tzinfo=UTC)),
        ("1y1m", datetime(2025, 2, 28, 12, tzinfo=UTC)),
        ("2w1d", NOW - timedelta(days=15)),
        ("36h", NOW - timedelta(hours=36)),
        ("9999y", datetime.min.replace(tzinfo=UTC)),
        ("99999w", NOW - timedelta(weeks=99999)),
    ],
)
def test_spans_follow_the_calendar(text: str, moment: datetime) -> None:
    assert span_of(text).before(NOW) == moment


def test_span_reaches_to_the_first_year_and_no_further() -> None:
    assert span_of("1y").before(datetime(2, 5, 1, tzinfo=UTC)) == datetime(1, 5, 1, tzinfo=UTC)
    assert span_of("2y").before(datetime(2, 5, 1, tzinfo=UTC)) == datetime.min.replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "d", "1", "1d ", "-1d", "1.5d", "1d2", "1s", "999999d", "٣d"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(RulesInvalid):
        span_of(text)


def test_no_rule_is_no_rule() -> None:
    with pytest.raises(RulesInvalid, match="nothing would be kept"):
        Rules()
    with pytest.raises(RulesInvalid, match="below 0"):
        Rules(last=-1)


_COUNTS = st.integers(0, 6)


@given(
    st.lists(st.tuples(st.integers(0, 3 * 365 * 24), st.sampled_from("ab")), max_size=60, unique=True),
    st.builds(Rules, st.integers(1, 4), hourly=_COUNTS, daily=_COUNTS, weekly=_COUNTS, monthly=_COUNTS, yearly=_COUNTS),
)
def test_against_a_slow_reading_of_the_rules(made: list[tuple[int, str]], rules: Rules) -> None:
    """A second implementation: a snapshot stays where it is the newest of its period, and few periods are newer."""
    snapshots = [_snapshot(f"{hours}{label}", NOW - timedelta(hours=hours), label) for hours, label in made]

    def is_kept(each: Snapshot) -> bool:
        group = [other for other in snapshots if other.brief.label == each.brief.label]

        def moment(one: Snapshot) -> datetime:
            return datetime.fromtimestamp(one.brief.time_ns // 10**9, UTC)

        newer = [other for other in group if moment(other) > moment(each)]
        if len(newer) < max(1, rules.last):
            return True
        for count, pattern in (
            (rules.hourly, "%Y%m%d%H"),
            (rules.daily, "%Y%m%d"),
            (rules.weekly, "%G%V"),
            (rules.monthly, "%Y%m"),
            (rules.yearly, "%Y"),
        ):
            periods = {moment(other).strftime(pattern) for other in newer}
            if moment(each).strftime(pattern) not in periods and len(periods) < count:
                return True
        return False

    assert set(_kept(snapshots, rules)) == {each.id for each in snapshots if is_kept(each)}
