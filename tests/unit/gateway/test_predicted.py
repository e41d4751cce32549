"""How long a plan will take: what was measured and nothing else, with an interval, and never a guess in its place."""

from collections.abc import Sequence

import msgspec

from contracts.disaster import RecoveryObjectives, StepKind
from gateway.groups.disaster_recovery.examples import COMPLETED, PLAN
from gateway.groups.disaster_recovery.predicted import predicted_rto, predicted_steps
from gateway.groups.disaster_recovery.projection import ExecutionView
from gateway.groups.disaster_recovery.readiness import Seen, status_of
from gateway.groups.disaster_recovery.resources import DisasterRecoveryPlan, PlannedStep, PredictedTime
from gateway.runs.examples import CONFIGURATION_ID, at


def _run(**times: tuple[float, float]) -> ExecutionView:
    """A completed execution whose steps went from one moment to another, in seconds."""
    steps = [
        msgspec.structs.replace(step, begun_at=at(times[step.id][0]), ended_at=at(times[step.id][1]))
        for step in COMPLETED.steps
    ]
    return msgspec.structs.replace(COMPLETED, steps=steps)


FAST = _run(go=(0, 10), photos=(10, 110), whole=(110, 110))
SLOW = _run(go=(0, 30), photos=(30, 330), whole=(330, 330))
MIDDLE = _run(go=(0, 20), photos=(20, 140), whole=(140, 140))


def _rto(plan: DisasterRecoveryPlan, runs: Sequence[ExecutionView]) -> PredictedTime | None:
    return predicted_rto(plan, predicted_steps(plan, runs))


def test_plan_is_predicted_by_the_middle_of_its_runs_between_the_shortest_and_the_longest() -> None:
    steps = {each.step_id: each.predicted for each in predicted_steps(PLAN, [FAST, SLOW, MIDDLE])}
    assert steps["photos"] == PredictedTime(seconds=120.0, low_seconds=100.0, high_seconds=300.0, runs=3)
    assert _rto(PLAN, [FAST, SLOW, MIDDLE]) == PredictedTime(
        seconds=140.0, low_seconds=110.0, high_seconds=330.0, runs=3
    )


def test_one_run_has_no_interval_and_none_is_unknown() -> None:
    assert _rto(PLAN, [FAST]) == PredictedTime(seconds=110.0, low_seconds=None, high_seconds=None, runs=1)
    assert _rto(PLAN, []) is None


def _with(*more: PlannedStep) -> DisasterRecoveryPlan:
    return msgspec.structs.replace(PLAN, procedures=[*PLAN.procedures, *more])


def test_step_that_was_never_measured_as_it_is_leaves_the_plan_unknown() -> None:
    """A new one, or one that restores another configuration than it did."""
    go, photos, whole = PLAN.procedures
    assert _rto(_with(msgspec.structs.replace(photos, id="films")), [FAST]) is None
    changed = msgspec.structs.replace(photos, configuration_id="another")
    assert _rto(msgspec.structs.replace(PLAN, procedures=[go, changed, whole]), [FAST]) is None


def test_steps_beside_each_other_take_as_long_as_the_longest_way() -> None:
    go, photos, _ = PLAN.procedures
    films = msgspec.structs.replace(photos, id="films")
    seen = msgspec.structs.replace(FAST.steps[1], id="films", ended_at=at(60))
    run = msgspec.structs.replace(FAST, steps=[*FAST.steps, seen])
    for after in (["go"], []):
        found = _rto(_with(msgspec.structs.replace(films, after=after)), [run])
        assert found is not None
        assert found.seconds == 110.0
    found = _rto(_with(msgspec.structs.replace(films, after=["photos"])), [run])
    assert found is not None
    assert found.seconds == 160.0
    assert go.after == []


def test_attempts_that_failed_took_their_time_as_well() -> None:
    """What began a minute late because it was tried again is not called a minute faster."""
    go, photos, whole = FAST.steps
    again = msgspec.structs.replace(photos, attempt=2, begun_at=at(100))
    (_, step, _) = predicted_steps(PLAN, [msgspec.structs.replace(FAST, steps=[go, again, whole])])
    assert step.predicted is not None
    assert step.predicted.seconds == 100.0


def test_notice_counts_where_something_waits_for_it_and_no_test_measures_it() -> None:
    go, photos, _ = PLAN.procedures
    notice = msgspec.structs.replace(go, id="tell", kind=StepKind.NOTIFY, after=["photos"])
    seen = msgspec.structs.replace(FAST.steps[0], id="tell", kind="notify", begun_at=at(110), ended_at=at(150))
    run = msgspec.structs.replace(FAST, steps=[*FAST.steps, seen])
    early, late = msgspec.structs.replace(notice, after=["go"]), msgspec.structs.replace(photos, after=["tell"])
    last, waited_for = _with(notice), msgspec.structs.replace(PLAN, procedures=[go, early, late])
    test = msgspec.structs.replace(run, is_test=True)
    assert _rto(last, [test]) == PredictedTime(seconds=110.0, low_seconds=None, high_seconds=None, runs=1)
    assert _rto(waited_for, [test]) is None
    found = _rto(waited_for, [run])
    assert found is not None
    assert found.seconds == 150.0


def test_status_says_whether_the_plan_will_be_in_time_and_what_it_does_not_know() -> None:
    plan = msgspec.structs.replace(PLAN, backup_sources=[])
    well = Seen({CONFIGURATION_ID: "active"}, {CONFIGURATION_ID: at(0)}, (), (), ())
    for runs, minutes, verdict in (
        ([FAST, MIDDLE, SLOW], 6, "pass"),
        ([FAST, MIDDLE, SLOW], 5, "unknown"),
        ([FAST, MIDDLE, SLOW], 2, "fail"),
        ([FAST], 6, "unknown"),
        ([SLOW], 5, "fail"),
    ):
        goals = RecoveryObjectives(rto_minutes=minutes, rpo_minutes=60)
        wanted = msgspec.structs.replace(plan, recovery_objectives=goals)
        status = status_of(wanted, well._replace(completed={plan.id: runs}), at(60))
        (finding,) = [each for each in status.findings if each.check == "predicted-rto"]
        assert (finding.verdict, bool(finding.hint)) == (verdict, verdict != "pass")
        assert "predicted-rto" not in status.unknown
    never = status_of(plan, well, at(60))
    assert never.predicted_rto is None
    assert "predicted-rto" in never.unknown
    assert [each for each in never.findings if each.check == "predicted-rto"] == []
