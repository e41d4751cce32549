"""How ready a plan is: what is missing is told with what to do, and what nobody knows is no pass."""

from datetime import timedelta

import msgspec

from contracts.disaster import PlanNotifications
from gateway.groups.disaster_recovery.examples import COMPLETED, PLAN
from gateway.groups.disaster_recovery.readiness import Seen, status_of
from gateway.groups.disaster_recovery.resources import MissedPlanTest
from gateway.runs.examples import CONFIGURATION_ID, at

WELL = Seen({CONFIGURATION_ID: "active"}, {CONFIGURATION_ID: at(0)}, (), (), ())


FRESHEST = msgspec.structs.replace(PLAN, backup_sources=[])


def test_plan_that_lacks_nothing_is_unknown_for_want_of_a_test() -> None:
    status = status_of(FRESHEST, WELL, at(60 * 60))
    assert (status.verdict, status.lost_now_minutes, status.proven_rto_minutes) == ("unknown", 60, None)
    assert {each.check for each in status.findings if each.verdict != "pass"} == {"tested"}


def test_point_is_fresh_as_long_as_the_rpo_allows_and_no_longer() -> None:
    late = status_of(FRESHEST, WELL, at(60 * 60) + timedelta(seconds=1))
    (finding,) = [each for each in late.findings if each.verdict == "fail"]
    assert (finding.check, finding.about, late.verdict) == ("point-fresh", CONFIGURATION_ID, "fail")
    assert "61 minutes old, and 60 are allowed" in finding.hint


def test_newest_point_says_nothing_of_a_plan_that_takes_another_one() -> None:
    """A named one, one of a moment, and the newest that is proven are older, nobody knows by how much."""
    go, photos, whole = PLAN.procedures
    named = [
        msgspec.structs.replace(photos, recovery_point_id="of last year"),
        msgspec.structs.replace(photos, moment=at(0)),
    ]
    plans = [PLAN, *(msgspec.structs.replace(FRESHEST, procedures=[go, each, whole]) for each in named)]
    seen = WELL._replace(points=("of last year",))
    for plan in plans:
        status = status_of(plan, seen, at(60))
        (fresh,) = [each for each in status.findings if each.check == "point-fresh"]
        assert (fresh.verdict, status.lost_now_minutes, "by hand" in fresh.hint) == ("unknown", None, True)
        late = status_of(plan, seen, at(60 * 61))
        assert [each.verdict for each in late.findings if each.check == "point-fresh"] == ["fail"]


def test_what_is_gone_is_told_each_with_what_to_do() -> None:
    go, photos, whole = PLAN.procedures
    plan = msgspec.structs.replace(
        PLAN,
        procedures=[go, msgspec.structs.replace(photos, recovery_point_id="gone"), whole],
        notifications=PlanNotifications(channel_ids=("retired",)),
    )
    for state in ("paused", "retired", None):
        states = {} if state is None else {CONFIGURATION_ID: state}
        status = status_of(plan, Seen(states, {}, (), (), ("restored",)), at(0))
        failed = {(each.check, each.about) for each in status.findings if each.verdict == "fail"}
        assert failed == {
            ("configuration-active", CONFIGURATION_ID),
            ("point-fresh", CONFIGURATION_ID),
            ("target-open", "photos"),
            ("point-there", "photos"),
            ("channel-active", "retired"),
        }
        assert all(each.hint for each in status.findings if each.verdict != "pass")
        assert status.lost_now_minutes is None


def test_test_that_was_missed_or_did_not_begin_or_is_overdue_is_a_finding() -> None:
    """Whatever was proven before; a test since then takes it away."""
    proven = WELL._replace(ended={PLAN.id: COMPLETED}, completed={PLAN.id: [COMPLETED]})
    due = at(86_400)
    missed = MissedPlanTest(due_at=due, code="dr-execution-open", title="", hint="Wait for its end.")

    def hint(now: float, tested_at: float | None = None, **changes: object) -> str:
        plan = msgspec.structs.replace(FRESHEST, **{"next_test_at": at(90 * 86_400), **changes})
        seen = proven if tested_at is None else proven._replace(tested_at={PLAN.id: at(tested_at)})
        (finding,) = [each for each in status_of(plan, seen, at(now)).findings if each.check == "tested"]
        assert (finding.verdict == "fail") is bool(finding.hint)
        return finding.hint

    assert hint(90_000) == ""
    assert "has not begun (dr-execution-open). Wait for its end." in hint(90_000, last_missed_test=missed)
    assert hint(90_000, tested_at=86_401, last_missed_test=missed) == ""
    assert "look at the services dr and gateway" in hint(87_001, next_test_at=due)
    assert "is due and has not begun" in hint(0, next_test_at=None)
    assert "was to be tested by" in hint(92 * 86_400, next_test_at=at(180 * 86_400))


def test_points_that_were_found_damaged_are_told_by_configuration_and_by_step() -> None:
    go, photos, whole = PLAN.procedures
    plan = msgspec.structs.replace(
        FRESHEST, procedures=[go, msgspec.structs.replace(photos, recovery_point_id="named"), whole]
    )
    seen = WELL._replace(points=("named",), harmed=("named",), passed_over={CONFIGURATION_ID: "newest"})
    status = status_of(plan, seen, at(60))
    told = {each.about: each.hint for each in status.findings if each.check == "point-whole"}
    assert (status.verdict, told.keys()) == ("fail", {CONFIGURATION_ID, "photos"})
    assert "newest" in told[CONFIGURATION_ID]
    assert all("storage/repair" in hint for hint in told.values())
