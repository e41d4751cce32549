"""Controls of restores, of who asked for what, and of the audit log itself. Pure."""

from contracts.approval_events import ApprovalAsked, ApprovalGranted
from contracts.controls import ControlVerdict
from contracts.dr_execution_events import (
    DrExecutionBegun,
    DrExecutionStarted,
    DrRecoveryAsked,
    DrStepApproved,
    DrTestStarted,
)
from contracts.event import Event, pinned_events
from contracts.gateway_events import AccessDenied, RecoveryRequested
from contracts.recovery_events import RecoveryAccepted, RecoveryCompleted, RecoveryFailed, RecoveryVerified
from services.compliance.controls.facts import Evaluator, Facts, Judgement, Seen, judged, nothing_says


def asked_kinds() -> tuple[type[Event], ...]:
    """The events by which people ask for something."""
    return tuple(
        event
        for event in pinned_events().values()
        if "evidence" in event.__struct_fields__ and event is not AccessDenied
    )


def _is_exact(facts: Facts) -> Judgement:
    ended = facts.of(RecoveryCompleted, RecoveryFailed)
    if not ended:
        return nothing_says("no restore has ended yet")
    verified = {getattr(each.event, "operation_id", "") for each in facts.of(RecoveryVerified)}
    latest = ended[-1]
    is_exact = isinstance(latest.event, RecoveryCompleted) and latest.event.operation_id in verified
    return judged(
        [latest],
        [] if is_exact else [latest],
        fails="the latest restore failed, or was not verified",
        passes="the latest restore was read back, and is what was backed up",
    )


def _is_proven_by_a_second_factor(facts: Facts) -> Judgement:
    accepted = {getattr(each.event, "request_id", ""): each for each in facts.of(RecoveryAccepted)}
    taken = [each for each in facts.of(RecoveryRequested, DrRecoveryAsked) if _request_of(each) in accepted]
    if not accepted:
        return nothing_says("no restore was accepted yet")
    known = {_request_of(each) for each in taken}
    orphans = [each for request_id, each in accepted.items() if request_id not in known]
    if orphans:
        return judged(orphans, orphans, fails="of {} restores nobody who asked is recorded", passes="")
    return judged(
        taken,
        [each for each in taken if not _has_second_factor(each)],
        fails="{} restores were asked for without a second factor",
        passes="{} restores were asked for, each with a second factor or by a test, which has a place of its own",
    )


def _request_of(seen: Seen) -> str:
    return str(getattr(seen.event, "request_id", ""))


def _has_second_factor(seen: Seen) -> bool:
    match seen.event:
        case RecoveryRequested(evidence=evidence):
            return evidence.second_factor
        case DrRecoveryAsked(second_factor=second_factor, is_test=is_test):
            return second_factor or is_test
    return False


def _is_told_apart(facts: Facts) -> Judgement:
    asked = facts.of(*asked_kinds())
    if not asked:
        return nothing_says("nobody has asked for anything")
    return judged(
        asked,
        [each for each in asked if not each.actor.startswith("user:") or each.actor == "user:"],
        fails="{} requests name nobody who can be told apart",
        passes="{} requests, each by somebody with an id of their own",
    )


def _nobody_approves_their_own(facts: Facts) -> Judgement:
    asked_by = {
        **{
            each.event.approval_id: each.event.asked_by
            for each in facts.of(ApprovalAsked)
            if isinstance(each.event, ApprovalAsked)
        },
        **{
            each.event.execution_id: each.event.started_by
            for each in facts.of(DrExecutionStarted, DrTestStarted)
            if isinstance(each.event, DrExecutionBegun)
        },
    }
    given, wrong = facts.of(ApprovalGranted, DrStepApproved), list[Seen]()
    for each in given:
        match each.event:
            case ApprovalGranted(approval_id=about, granted_by=by) | DrStepApproved(execution_id=about, approved_by=by):
                if asked_by.get(about, by) == by:
                    wrong.append(each)
    if not given:
        return nothing_says("nothing was approved yet")
    return judged(
        given,
        wrong,
        fails="{} approvals are by who had asked, or nobody who had asked is recorded",
        passes="{} approvals, each by another person than who had asked",
    )


def _is_whole(facts: Facts) -> Judgement:
    log = facts.log
    if log.broken:
        return Judgement(ControlVerdict.FAIL, log.broken, (), log.size)
    if not log.checkpoints:
        return nothing_says("the audit log has no entry yet")
    because = f"{log.size} entries have the roots that {log.checkpoints} checkpoints say"
    return Judgement(ControlVerdict.PASS, because, (), log.size)


EVALUATORS = (
    Evaluator("HIPAA-7A", 1, (RecoveryVerified, RecoveryCompleted, RecoveryFailed), _is_exact),
    Evaluator("HIPAA-312d", 2, (RecoveryRequested, DrRecoveryAsked, RecoveryAccepted), _is_proven_by_a_second_factor),
    Evaluator("HIPAA-312a-i", 1, asked_kinds(), _is_told_apart),
    Evaluator("HIPAA-312b", 1, (), _is_whole, checks_log=True),
    Evaluator(
        "SOX-404-AC-1",
        1,
        (ApprovalAsked, ApprovalGranted, DrExecutionStarted, DrTestStarted, DrStepApproved),
        _nobody_approves_their_own,
    ),
)
