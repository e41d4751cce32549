"""How long a plan will take, by what its last completed executions and tests took (ADR 0114). Pure.

A step's time goes from when it began to its end; where it took more than one attempt, from when the steps before it had
ended. A plan's is that of the longest way through its steps. Of n runs, the next one takes no less than the shortest
and no more than the longest with probability (n - 1)/(n + 1), whatever the times are distributed like, as long as
nothing has changed. That is said of a step; of a plan the ends are those of all its steps at once.
"""

from collections.abc import Mapping, Sequence
from statistics import median

from contracts.disaster import StepKind, StepOutcome
from gateway.groups.disaster_recovery.projection import ExecutionView, StepView
from gateway.groups.disaster_recovery.resources import DisasterRecoveryPlan, PlannedStep, PredictedStep, PredictedTime

RUNS_MAX = 10
"""So many runs are looked at: nine in eleven of the next ones lie between their shortest and longest."""


def predicted_steps(plan: DisasterRecoveryPlan, runs: Sequence[ExecutionView]) -> list[PredictedStep]:
    """How long each step will take that is begun where all goes well; None of one that was never measured."""
    return [PredictedStep(step_id=step.id, predicted=_of(_measured(step, runs))) for step in _begun(plan)]


def predicted_rto(plan: DisasterRecoveryPlan, steps: Sequence[PredictedStep]) -> PredictedTime | None:
    """How long a plan will take; None where that of a step is not known that something waits for."""
    known = {each.step_id: each.predicted for each in steps}
    followed = {name for step in plan.procedures for name in step.after}
    # A notice that comes last counts for nothing: it works again before anybody is told so.
    counted = [step for step in _begun(plan) if step.kind is not StepKind.NOTIFY or step.id in followed]
    times = {step.id: time for step in counted if (time := known[step.id]) is not None}
    if not times or len(times) < len(counted):
        return None
    runs = min(time.runs for time in times.values())
    lows = {name: time.low_seconds for name, time in times.items() if time.low_seconds is not None}
    highs = {name: time.high_seconds for name, time in times.items() if time.high_seconds is not None}
    return PredictedTime(
        seconds=_longest_way(counted, {name: time.seconds for name, time in times.items()}),
        low_seconds=_longest_way(counted, lows) if runs > 1 else None,
        high_seconds=_longest_way(counted, highs) if runs > 1 else None,
        runs=runs,
    )


def _begun(plan: DisasterRecoveryPlan) -> list[PlannedStep]:
    return [step for step in plan.procedures if step.compensates is None]


def _of(measured: Sequence[float]) -> PredictedTime | None:
    if not measured:
        return None
    is_one = len(measured) == 1
    return PredictedTime(
        seconds=median(measured),
        low_seconds=None if is_one else min(measured),
        high_seconds=None if is_one else max(measured),
        runs=len(measured),
    )


def _measured(step: PlannedStep, runs: Sequence[ExecutionView]) -> list[float]:
    """What a step took in each run that had it as it is. A test tells nobody: what its notices took is no measure."""
    measured = []
    for run in runs:
        steps = {each.id: each for each in run.steps}
        seen = steps.get(step.id)
        is_the_same = seen is not None and (seen.kind, seen.configuration_id) == (step.kind, step.configuration_id)
        if seen is None or not is_the_same or (run.is_test and step.kind is StepKind.NOTIFY):
            continue
        if (took := _took(step, seen, run, steps)) is not None:
            measured.append(took)
    return measured


def _took(step: PlannedStep, seen: StepView, run: ExecutionView, steps: Mapping[str, StepView]) -> float | None:
    if seen.begun_at is None or seen.ended_at is None:
        return None
    if seen.outcome != StepOutcome.COMPLETED.value and step.kind is not StepKind.NOTIFY:
        return None
    begun = seen.begun_at
    if seen.attempt > 1:
        # The view has the last attempt's beginning alone, and those before it took their time as well.
        before = [ended for name in step.after if name in steps and (ended := steps[name].ended_at) is not None]
        begun = max(before, default=run.started_at)
    return max(0.0, (seen.ended_at - begun).total_seconds())


def _longest_way(steps: Sequence[PlannedStep], times: Mapping[str, float]) -> float:
    """Until the last of some steps has ended. Plans have no circles (`contracts.disaster_rules`)."""
    of = {step.id: step for step in steps}
    ended: dict[str, float] = {}

    def end(name: str) -> float:
        if name not in ended:
            ended[name] = times[name] + max((end(each) for each in of[name].after if each in of), default=0.0)
        return ended[name]

    return max(map(end, of))
