"""Controls of restores, of who asked for what, and of the audit log itself. Pure."""

from datetime import timedelta

from contracts.controls import ControlVerdict
from contracts.event import Event, pinned_events
from contracts.gateway_events import AccessDenied, RecoveryRequested
from contracts.recovery_events import RecoveryAccepted, RecoveryCompleted, RecoveryFailed, RecoveryVerified
from services.compliance.controls.facts import Evaluator, Facts, Judgement, judged, nothing_says

DRILLED = timedelta(days=90)


def asked_kinds() -> tuple[type[Event], ...]:
    """The events by which people ask for something."""
    return tuple(
        event
        for event in pinned_events().values()
        if "evidence" in event.__struct_fields__ and event is not AccessDenied
    )


def _is_drilled(facts: Facts) -> Judgement:
    ended = facts.of(RecoveryVerified, RecoveryFailed)
    if not ended:
        return nothing_says("nothing was restored yet")
    verified = [each for each in facts.of(RecoveryVerified) if facts.at - each.time <= DRILLED]
    if verified:
        return judged(verified, [], fails="", passes="{} restores were verified within the last 90 days")
    return judged(ended[-1:], ended[-1:], fails="no restore was verified within the last 90 days", passes="")


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
    asked = [(each, each.event) for each in facts.of(RecoveryRequested) if isinstance(each.event, RecoveryRequested)]
    taken = [(seen, event) for seen, event in asked if event.request_id in accepted]
    if not accepted:
        return nothing_says("no restore was accepted yet")
    known = {event.request_id for _, event in taken}
    orphans = [each for request_id, each in accepted.items() if request_id not in known]
    if orphans:
        return judged(orphans, orphans, fails="of {} restores nobody who asked is recorded", passes="")
    return judged(
        [seen for seen, _ in taken],
        [seen for seen, event in taken if not event.evidence.second_factor],
        fails="{} restores were asked for without a second factor",
        passes="{} restores were asked for, each with a second factor",
    )


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


def _is_whole(facts: Facts) -> Judgement:
    log = facts.log
    if log.broken:
        return Judgement(ControlVerdict.FAIL, log.broken, (), log.size)
    if not log.checkpoints:
        return nothing_says("the audit log has no entry yet")
    because = f"{log.size} entries have the roots that {log.checkpoints} checkpoints say"
    return Judgement(ControlVerdict.PASS, because, (), log.size)


EVALUATORS = (
    Evaluator("GDPR-32d", 1, (RecoveryVerified, RecoveryFailed), _is_drilled),
    Evaluator("HIPAA-7A", 1, (RecoveryVerified, RecoveryCompleted, RecoveryFailed), _is_exact),
    Evaluator("HIPAA-312d", 1, (RecoveryRequested, RecoveryAccepted), _is_proven_by_a_second_factor),
    Evaluator("HIPAA-312a-i", 1, asked_kinds(), _is_told_apart),
    Evaluator("HIPAA-312b", 1, (), _is_whole),
)
