"""The counting rules keep what `repo forget` keeps: two implementations, since the repository knows no platform."""

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from chassis.retention.planner import judge as judge_points
from chassis.retention.points import Point, Source, Verdict
from contracts.retention import RetentionRules
from repository.retention.rules import Rules, judge, span_of
from repository.stored.snapshot import Snapshot, SnapshotManifest

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
# St. John's put its clocks back from one past midnight: its day began twice.
ZONES: list[tzinfo] = [
    UTC,
    *map(ZoneInfo, ("Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia")),
]
_SPANS = st.one_of(st.none(), st.sampled_from(["1h", "36h", "90d", "1m", "8w", "1y6m", "2m3d", "9999y"]))
_COUNTS = st.integers(0, 6)
_RULES = st.builds(
    RetentionRules,
    keep_last=_COUNTS,
    keep_hourly=_COUNTS,
    keep_daily=_COUNTS,
    keep_weekly=_COUNTS,
    keep_monthly=_COUNTS,
    keep_yearly=_COUNTS,
    keep_within=_SPANS,
)


def _at(minutes: int) -> datetime:
    return NOW - timedelta(minutes=minutes)


def _snapshot(minutes: int) -> Snapshot:
    time_ns = int(_at(minutes).timestamp()) * 10**9
    manifest = SnapshotManifest(time_ns=time_ns, run_token=str(minutes), label="photos", root=(), domain="")
    return Snapshot(f"{minutes}", manifest.encode(), manifest)


@given(
    st.one_of(
        st.lists(st.integers(-3, 3 * 366 * 24 * 60), max_size=60, unique=True),
        st.lists(st.integers(-3, 20 * 24 * 60), max_size=60, unique=True),
        # Around the hour, and in St. John's once the day, that came twice.
        st.lists(st.integers(15 * 365 * 24 * 60, 15 * 365 * 24 * 60 + 6 * 24 * 60), max_size=60, unique=True),
    ),
    _RULES,
    st.sampled_from(ZONES),
)
def test_the_same_moments_are_kept_as_by_repo_forget(made: list[int], rules: RetentionRules, zone: tzinfo) -> None:
    words = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
    last, hourly, daily, weekly, monthly, yearly = (getattr(rules, f"keep_{word}") for word in words)
    within = None if rules.keep_within is None else span_of(rules.keep_within)
    if not any((last, hourly, daily, weekly, monthly, yearly)) and within is None:
        return  # The repository refuses to have no rule; the planner keeps the newest.
    theirs = judge(
        [_snapshot(minutes) for minutes in made],
        Rules(last, hourly, daily, weekly, monthly, yearly, within=within, zone=zone),
        int(NOW.timestamp()) * 10**9,
    )
    source = Source(
        id="c", points=[Point(id=f"{minutes}", at=_at(minutes)) for minutes in made], rules=rules, zone=zone
    )
    ours = judge_points(source, NOW)
    assert {each.point.id for each in ours if each.verdict is Verdict.KEEP} == {
        each.snapshot.id for each in theirs if each.is_kept
    }
    assert all(each.verdict in (Verdict.KEEP, Verdict.GO) for each in ours)
