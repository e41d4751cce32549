"""How ready a plan is, by what the read models and the registry show: each finding with what to do. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from contracts.disaster import DrExecutionState, SourcePreference, StepKind
from gateway.groups.disaster_recovery.predicted import predicted_rto, predicted_steps
from gateway.groups.disaster_recovery.projection import ExecutionView
from gateway.groups.disaster_recovery.resources import (
    DisasterRecoveryPlan,
    PlanStatus,
    PredictedTime,
    ReadinessCheck,
    ReadinessFinding,
    ReadinessVerdict,
)

NOT_LOOKED_AT = (
    "maximum-data-loss",
    "tiers-healthy",
    "keys-usable",
    "target-space",
    "approvers-there",
)
_PREDICTED_RTO = "predicted-rto"
_NOT_NEWEST = (
    "A step takes a named point, one of a moment, or the newest that is proven: how old that is nobody has looked at. "
    "Compare it with the objective by hand (GET /api/backup/recovery-points)."
)
_MEND = "Repair the tiers (POST /api/backup/storage/repair) and validate it again, or back up now."
_TEST_NOW = "POST /api/backup/disaster-recovery/test begins one now."
_BEGINS_WITHIN = timedelta(minutes=10)
"""A test that has fallen due has begun by then, or something keeps it."""
_ENDS_WITHIN = timedelta(days=1)
"""A test that began in time has ended by then."""
_PASS, _FAIL, _UNKNOWN = ReadinessVerdict.PASS, ReadinessVerdict.FAIL, ReadinessVerdict.UNKNOWN


class Seen(NamedTuple):
    """What there is: the state of each configuration and when the run of its latest point that is not known to be
    damaged began to read, points and channels that are there, names of targets that are not open. `passed_over`: by
    configuration the newest point, where that is damaged; `harmed`: of `points`, those that are. By plan: the execution
    or test that has ended last, the last ones that were completed, the latest first, and when the last test ended.
    """

    states: Mapping[str, str]
    latest: Mapping[str, datetime]
    points: Collection[str]
    channels: Collection[str]
    closed: Collection[str]
    ended: Mapping[str, ExecutionView] = {}
    completed: Mapping[str, Sequence[ExecutionView]] = {}
    tested_at: Mapping[str, datetime] = {}
    passed_over: Mapping[str, str] = {}
    harmed: Collection[str] = ()


def status_of(plan: DisasterRecoveryPlan, seen: Seen, now: datetime) -> PlanStatus:
    """How a plan stands."""
    not_newest = _not_newest(plan)
    runs = seen.completed.get(plan.id, ())
    steps = predicted_steps(plan, runs)
    predicted = predicted_rto(plan, steps)
    findings = [*_findings(plan, seen, now, not_newest), *_in_time(predicted, plan.recovery_objectives.rto_minutes)]
    verdicts = {finding.verdict for finding in findings}
    made = [None if each in not_newest else seen.latest.get(each) for each in plan.scope.configuration_ids]
    known = [each for each in made if each is not None]
    proven, last_test_at = next(iter(runs), None), seen.tested_at.get(plan.id)
    return PlanStatus(
        plan_id=plan.id,
        version=plan.version,
        plan_name=plan.plan_name,
        is_wedding_critical=plan.is_wedding_critical,
        configured=plan.recovery_objectives,
        proven_rto_minutes=None if proven is None else -int(-(proven.rto_seconds or 0.0) // 60),
        proven_rpo_minutes=None if proven is None else -int(-_lost(proven) // 60),
        last_test_at=last_test_at,
        next_test_at=plan.next_test_at,
        last_missed_test=plan.last_missed_test,
        lost_now_minutes=_minutes(min(known), now) if len(known) == len(made) and known else None,
        predicted_rto=predicted,
        predicted_steps=steps,
        verdict=next((each for each in (_FAIL, _UNKNOWN) if each in verdicts), _PASS),
        findings=findings,
        unknown=[*NOT_LOOKED_AT, *([_PREDICTED_RTO] if predicted is None else [])],
        judged_at=now,
    )


def _findings(
    plan: DisasterRecoveryPlan, seen: Seen, now: datetime, not_newest: Collection[str | None]
) -> Iterator[ReadinessFinding]:
    for each in plan.scope.configuration_ids:
        yield _active(each, seen.states.get(each))
        fresh = _fresh(each, seen.latest.get(each), plan.recovery_objectives.rpo_minutes, now)
        if fresh.verdict is _PASS and each in not_newest:
            fresh = msgspec.structs.replace(fresh, verdict=_UNKNOWN, hint=_NOT_NEWEST)
        yield fresh
        if each in seen.passed_over:
            yield _finding(ReadinessCheck.POINT_WHOLE, each, is_well=False, hint=_passed_over(seen.passed_over[each]))
    for step in plan.procedures:
        if step.kind is not StepKind.RESTORE:
            continue
        is_open = step.target_location not in seen.closed
        hint = f"Have an operator register the location {step.target_location} as a target, or change the step."
        yield _finding(ReadinessCheck.TARGET_OPEN, step.id, is_well=is_open, hint=hint)
        if step.recovery_point_id is not None:
            hint = "Name another recovery point in the step, or none: the one that backupSources prefers is taken."
            is_there = step.recovery_point_id in seen.points
            yield _finding(ReadinessCheck.POINT_THERE, step.id, is_well=is_there, hint=hint)
            if step.recovery_point_id in seen.harmed:
                hint = f"It was found damaged, and is taken all the same, as it is named. {_MEND}"
                yield _finding(ReadinessCheck.POINT_WHOLE, step.id, is_well=False, hint=hint)
    told = [*plan.notifications.channel_ids, *(each for step in plan.procedures for each in step.channel_ids)]
    for channel in dict.fromkeys(told):
        hint = "Name another channel (GET /api/backup/notifications/channels)."
        yield _finding(ReadinessCheck.CHANNEL_ACTIVE, channel, is_well=channel in seen.channels, hint=hint)
    yield _tested(plan, seen, now)


def _tested(plan: DisasterRecoveryPlan, seen: Seen, now: datetime) -> ReadinessFinding:
    """Whether the last execution or test has proven the plan as it stands."""
    last, proven = seen.ended.get(plan.id), next(iter(seen.completed.get(plan.id, ())), None)
    goals = plan.recovery_objectives
    verdict, hint = _PASS, ""
    if last is None:
        verdict, hint = _UNKNOWN, "Test it: POST /api/backup/disaster-recovery/test."
    elif last.state == DrExecutionState.FAILED.value or proven is None:
        verdict, hint = _FAIL, f"{last.execution_id} has failed at {last.failed_step}: mend that, and test again."
    elif (proven.rto_seconds or 0.0) > goals.rto_minutes * 60 or _lost(proven) > goals.rpo_minutes * 60:
        verdict, hint = _FAIL, f"{proven.execution_id} has missed the objectives: change them or the plan."
    elif proven.plan_version != plan.version:
        verdict, hint = _UNKNOWN, f"Version {proven.plan_version} of the plan was proven: test it as it stands."
    if verdict is not _FAIL and (overdue := _overdue(plan, seen.tested_at.get(plan.id), now)) is not None:
        verdict, hint = _FAIL, overdue
    return ReadinessFinding(check=ReadinessCheck.TESTED, verdict=verdict, about=None, hint=hint)


def _in_time(predicted: PredictedTime | None, rto_minutes: int) -> Iterator[ReadinessFinding]:
    """Whether a plan whose steps were measured will take no longer than its RTO."""
    if predicted is None:
        return
    verdict, hint, goal = _PASS, "", rto_minutes * 60
    if predicted.seconds > goal:
        verdict = _FAIL
        hint = (
            f"It will take about {predicted.seconds:.0f} s, and {goal} are allowed: shorten its steps, or allow more."
        )
    elif predicted.high_seconds is None:
        verdict, hint = _UNKNOWN, "One run says little: test it again (POST /api/backup/disaster-recovery/test)."
    elif predicted.high_seconds > goal:
        verdict = _UNKNOWN
        hint = f"It took up to {predicted.high_seconds:.0f} s, and {goal} are allowed: shorten the step that varies."
    yield ReadinessFinding(check=ReadinessCheck.PREDICTED_RTO, verdict=verdict, about=None, hint=hint)


def _overdue(plan: DisasterRecoveryPlan, tested_at: datetime | None, now: datetime) -> str | None:
    """Why the plan lacks a test that its schedule wants; None where it lacks none."""
    if plan.testing_schedule is None:
        return None
    due, missed = plan.next_test_at, plan.last_missed_test
    if due is None or due + _BEGINS_WITHIN <= now:
        since = "" if due is None else f" since {due:%Y-%m-%d %H:%M} UTC"
        return f"A test is due{since} and has not begun: look at the services dr and gateway. {_TEST_NOW}"
    if missed is not None and (tested_at is None or tested_at < missed.due_at):
        return f"The test of {missed.due_at:%Y-%m-%d %H:%M} UTC has not begun ({missed.code}). {missed.hint}"
    last = (tested_at or plan.created_at) + timedelta(days=plan.testing_schedule.every_days)
    if last + _ENDS_WITHIN <= now:
        return f"It was to be tested by {last:%Y-%m-%d %H:%M} UTC. {_TEST_NOW}"
    return None


def _lost(execution: ExecutionView) -> float:
    return max((each.lost_seconds for each in execution.losses), default=0.0)


def _not_newest(plan: DisasterRecoveryPlan) -> set[str | None]:
    """The configurations that the plan may bring back by another point than their newest."""
    proven = {each.configuration_id for each in plan.backup_sources if each.prefer is not SourcePreference.FRESHEST}
    named = {each.configuration_id for each in plan.procedures if each.recovery_point_id or each.moment}
    return proven | named


def _active(configuration: str, state: str | None) -> ReadinessFinding:
    hint = {
        "paused": "Resume the configuration: nothing is backed up meanwhile.",
        "retired": "Take it out of the plan, or plan for the configuration that follows it: it has no more runs.",
    }.get(state or "", "There is no such configuration: take it out of the plan.")
    return _finding(ReadinessCheck.CONFIGURATION_ACTIVE, configuration, is_well=state == "active", hint=hint)


def _fresh(configuration: str, made: datetime | None, rpo: int, now: datetime) -> ReadinessFinding:
    age = None if made is None else _minutes(made, now)
    hint = "There is no recovery point: execute a backup."
    if age is not None:
        hint = f"The latest recovery point is {age} minutes old, and {rpo} are allowed: back up now, and more often."
    return _finding(ReadinessCheck.POINT_FRESH, configuration, is_well=age is not None and age <= rpo, hint=hint)


def _passed_over(point: str) -> str:
    return f"The newest recovery point, {point}, was found damaged: an older one that is not is taken, if any. {_MEND}"


def _finding(check: ReadinessCheck, about: str, *, is_well: bool, hint: str) -> ReadinessFinding:
    verdict = _PASS if is_well else _FAIL
    return ReadinessFinding(check=check, verdict=verdict, about=about, hint="" if is_well else hint)


def _minutes(since: datetime, now: datetime) -> int:
    """Whole minutes, rounded up: a point is never said to be younger than it is."""
    return max(0, -int((since - now).total_seconds() // 60))
