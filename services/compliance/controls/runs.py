"""Controls of backups: that they run, end, are verified, and are fresh. Pure."""

from datetime import timedelta

from contracts.cleanup_events import RecoveryPointsForgotten
from contracts.config_events import BackupFellDue, BackupMissed
from contracts.erasure_events import RecoveryPointsErased
from contracts.executor_events import BackupCancelled, BackupCompleted, BackupFailed, BackupRefused
from contracts.validation_events import RecoveryPointVerified, RecoveryValidationAccepted
from services.compliance.controls.configurations import FACTS, in_force
from services.compliance.controls.facts import Evaluator, Facts, Judgement, Seen, judged, nothing_says

FRESH = timedelta(hours=24)
PROVEN = timedelta(days=90)
ENDS_WITHIN = timedelta(hours=2)
ENDS = (BackupCompleted, BackupFailed, BackupCancelled, BackupRefused)


def _points(facts: Facts) -> list[tuple[Seen, BackupCompleted]]:
    completed = [(each, each.event) for each in facts.of(BackupCompleted) if isinstance(each.event, BackupCompleted)]
    return [(seen, event) for seen, event in completed if event.is_recovery_point]


def _is_fresh(facts: Facts) -> Judgement:
    found = in_force(facts)
    if not found:
        return nothing_says("no configuration is in force")
    latest = {event.configuration_id: seen for seen, event in _points(facts)}
    fresh, wrong = [], []
    for seen, fact in found:
        point = latest.get(fact.configuration_id)
        if point is not None and facts.at - point.time <= FRESH:
            fresh.append(point)
        else:
            wrong.append(point or seen)
    return judged(
        [*wrong, *fresh],
        wrong,
        fails="{} configurations in force have no recovery point of the last 24 hours",
        passes="{} configurations in force have one of the last 24 hours",
    )


def _is_read_back(facts: Facts) -> Judgement:
    points = [(seen, event) for seen, event in _points(facts) if facts.at - seen.time <= PROVEN]
    if not points:
        return nothing_says("no run has completed within the last 90 days")
    return judged(
        [seen for seen, _ in points],
        [seen for seen, event in points if not event.verified],
        fails="{} completed runs were read back from no tier",
        passes="{} completed runs were read back from tiers",
    )


def _is_reconciled(facts: Facts) -> Judgement:
    fell_due, missed = facts.of(BackupFellDue), facts.of(BackupMissed)
    if not fell_due and not missed:
        return nothing_says("no schedule has asked for a run")
    ended = {getattr(each.event, "execution_id", "") for each in facts.of(*ENDS)}
    open_ = [
        each
        for each in fell_due
        if getattr(each.event, "execution_id", "") not in ended and facts.at - each.time > ENDS_WITHIN
    ]
    return judged(
        [*fell_due, *missed],
        [*open_, *missed],
        fails="{} runs that a schedule asked for were missed or have not ended",
        passes="{} runs that schedules asked for have ended, or began within the last two hours",
    )


def _is_closed(facts: Facts) -> Judgement:
    failures = facts.of(BackupFailed)
    if not failures and not facts.of(BackupCompleted):
        return nothing_says("no run has ended")
    latest: dict[str, Seen] = {}
    for each in facts.of(BackupCompleted):
        latest[getattr(each.event, "configuration_id", "")] = each
    wrong = []
    for each in failures:
        completed = latest.get(getattr(each.event, "configuration_id", ""))
        if completed is None or completed.time < each.time:
            wrong.append(each)
    return judged(
        failures or facts.of(BackupCompleted),
        wrong,
        fails="{} runs failed, and none of their configurations has completed since",
        passes="{} runs: whatever failed was followed by a run that completed",
    )


def _is_opened(facts: Facts) -> Judgement:
    """Whatever is read back is decrypted and authenticated (AES-256-GCM), by a key that is there."""
    gone = {
        point.recovery_point_id
        for each in facts.of(RecoveryPointsForgotten, RecoveryPointsErased)
        for point in getattr(each.event, "points", ())
    }
    points = {event.execution_id: (seen, event) for seen, event in _points(facts) if event.execution_id not in gone}
    if not points:
        return nothing_says("there is no recovery point")
    asked = {
        each.event.validation_id: each.event.recovery_point_id
        for each in facts.of(RecoveryValidationAccepted)
        if isinstance(each.event, RecoveryValidationAccepted)
    }
    opened = {asked.get(getattr(each.event, "validation_id", "")) for each in facts.of(RecoveryPointVerified)}
    return judged(
        [seen for seen, _ in points.values()],
        [seen for name, (seen, event) in points.items() if not event.verified and name not in opened],
        fails="{} recovery points were opened by nobody since they were made: that their keys live is not proven",
        passes="{} recovery points, each read back from a tier, decrypted and authenticated by a key that is there",
    )


_OPENED = (
    *(BackupCompleted, RecoveryPointsForgotten, RecoveryPointsErased),
    *(RecoveryValidationAccepted, RecoveryPointVerified),
)
EVALUATORS = (
    Evaluator("GDPR-5f", 1, _OPENED, _is_opened),
    Evaluator("HIPAA-312a-iv", 1, _OPENED, _is_opened),
    Evaluator("BK-4", 1, _OPENED, _is_opened),
    Evaluator("BK-9", 1, (*FACTS, BackupCompleted), _is_fresh),
    Evaluator("HIPAA-312c", 1, (BackupCompleted,), _is_read_back),
    Evaluator("SOX-404-OP-1", 1, (BackupFellDue, BackupMissed, *ENDS), _is_reconciled),
    Evaluator("SOX-404-OP-2", 1, (BackupFailed, BackupCompleted), _is_closed),
)
