"""The control of rehearsals: that what is backed up is brought back by way of trial, whole and in time. Pure."""

from collections.abc import Iterator
from datetime import timedelta

from contracts import errors
from contracts.disaster import StepKind, StepOutcome
from contracts.dr_execution_events import DrExecutionCompleted, DrExecutionFailed, DrStepEnded, DrTestStarted
from services.compliance.controls.facts import Evaluator, Facts, Judgement, Seen, judged, nothing_says

REHEARSED = timedelta(days=90)


def _is_rehearsed(facts: Facts) -> Judgement:
    """By tests of plans alone: who restores because something is lost has tried nothing out."""
    tests = facts.of(DrTestStarted)
    if not tests:
        return nothing_says("no disaster recovery plan was tested yet")
    started = {each.event.execution_id: each.event for each in tests if isinstance(each.event, DrTestStarted)}
    last: dict[str, Seen] = {}
    for each in facts.of(DrExecutionCompleted, DrExecutionFailed):
        test = started.get(getattr(each.event, "execution_id", ""))
        if test is not None and facts.at - each.time <= REHEARSED:
            last[test.plan_id] = each
    if not last:
        return judged(tests[-1:], tests[-1:], fails="no test of a plan has ended within the last 90 days", passes="")
    less = set(_not_whole(facts))
    return judged(
        list(last.values()),
        [each for each in last.values() if not _has_passed(each, started, less)],
        fails="the last tests of {} plans within 90 days failed, restored nothing, or less than all, or took too long",
        passes="{} plans were tested within the last 90 days: all came back, whole and within the target",
    )


def _has_passed(ended: Seen, started: dict[str, DrTestStarted], less: set[str]) -> bool:
    event = ended.event
    if not isinstance(event, DrExecutionCompleted) or event.execution_id in less:
        return False
    body = started[event.execution_id].body
    restores = any(step.kind is StepKind.RESTORE for step in body.procedures)
    return restores and event.rto_seconds <= body.recovery_objectives.rto_minutes * 60


def _not_whole(facts: Facts) -> Iterator[str]:
    """The executions of which a restore has lacked something, though it ended well. In a test notices say theirs."""
    for each in facts.of(DrStepEnded):
        match each.event:
            case DrStepEnded(outcome=StepOutcome.COMPLETED, code=str(code), execution_id=execution_id):
                if code != errors.DR_NOTICE_NOT_SENT.code:
                    yield execution_id


EVALUATORS = (
    Evaluator("GDPR-32d", 2, (DrTestStarted, DrStepEnded, DrExecutionCompleted, DrExecutionFailed), _is_rehearsed),
)
