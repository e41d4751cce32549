"""Controls of erasures of data subjects: done in time, at every location, and not undone by a restore. Pure.

An erasure that a hold or a legal obligation kept from its time is told as what it is, a failure of the time: whether
the exception of the law holds is for people to say, and the verdict names the events that they need for that.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import msgspec

from contracts.erasure_events import DataSubjectErased, ErasureAccepted, PrivacyLaw, RecoveryPointsErased
from contracts.recovery_events import RecoveryAccepted, RecoveryCompleted
from contracts.storage_requests import ErasureRequested
from services.compliance.controls.facts import Evaluator, Facts, Judgement, Seen, judged, nothing_says

READS = (ErasureAccepted, DataSubjectErased)
ACKNOWLEDGED_DAYS = 10
SATURDAY = 5


class _Erasure(msgspec.Struct):
    """What was told of one. `last`: the latest word about where keys are destroyed."""

    accepted: Seen
    event: ErasureAccepted
    last: Seen | None = None

    @property
    def completed(self) -> Seen | None:
        """When it was complete."""
        return self.last if self.last is not None and getattr(self.last.event, "is_complete", False) else None


def _erasures(facts: Facts, law: PrivacyLaw | None = None) -> Sequence[_Erasure]:
    """Every erasure that was taken on, by the law that was named."""
    found: dict[str, _Erasure] = {}
    for seen in facts.of(ErasureAccepted, DataSubjectErased):
        match seen.event:
            case ErasureAccepted(erasure_id=erasure):
                found[erasure] = _Erasure(seen, seen.event)
            case DataSubjectErased(erasure_id=erasure) if erasure in found:
                found[erasure].last = seen
    return [each for each in found.values() if law in (None, each.event.law)]


def _late(facts: Facts, erasures: Sequence[_Erasure]) -> Iterator[Seen]:
    """Those that were completed after their time, or are not and have had it."""
    for each in erasures:
        done = each.completed
        if (done.time if done is not None else facts.at) > each.event.deadline_at:
            yield done or each.accepted


def _is_in_time(facts: Facts, law: PrivacyLaw) -> Judgement:
    erasures = _erasures(facts, law)
    ended = [each for each in erasures if each.completed is not None]
    late = list(_late(facts, erasures))
    if not ended and not late:
        return nothing_says("no erasure has been completed, and none is overdue")
    return judged(
        [each.completed or each.accepted for each in erasures],
        late,
        fails="{} erasures were not complete in time",
        passes="{} erasures, each complete in time, or with time left",
    )


def _is_erased_by_gdpr(facts: Facts) -> Judgement:
    return _is_in_time(facts, PrivacyLaw.GDPR)


def _is_erased_by_ccpa(facts: Facts) -> Judgement:
    return _is_in_time(facts, PrivacyLaw.CCPA)


def _is_acknowledged(facts: Facts) -> Judgement:
    told = [each.last for each in _erasures(facts) if each.last is not None]
    if not told:
        return nothing_says("no erasure has reached a location yet")
    return judged(
        told,
        [each for each in told if not getattr(each.event, "is_complete", False)],
        fails="{} erasures are not acknowledged by every location",
        passes="{} erasures, each acknowledged by every location that had keys; others are not recorded",
    )


def _stays_erased(facts: Facts) -> Judgement:
    erased = facts.of(RecoveryPointsErased)
    if not erased:
        return nothing_says("no recovery point was erased yet")
    since = {point.recovery_point_id: seen.time for seen in erased for point in getattr(seen.event, "points", ())}
    points = {
        each.event.operation_id: each.event.recovery_point_id
        for each in facts.of(RecoveryAccepted)
        if isinstance(each.event, RecoveryAccepted)
    }
    restored = [
        each
        for each in facts.of(RecoveryCompleted)
        if (at := since.get(points.get(getattr(each.event, "operation_id", ""), ""))) is not None and each.time > at
    ]
    return judged(
        [*erased, *restored],
        restored,
        fails="{} recoveries have brought back what was erased",
        passes="{} erasures of recovery points, of which none was restored since",
    )


def _is_acknowledged_in_time(facts: Facts) -> Judgement:
    erasures = _erasures(facts, PrivacyLaw.CCPA)
    if not erasures:
        return nothing_says("nobody has asked for a deletion by this law")
    late = {each.accepted.event_id: each.accepted for each in erasures if _acknowledged_late(each)}
    late |= {each.event_id: each for each in _late(facts, erasures)}
    return judged(
        [each.completed or each.accepted for each in erasures],
        late.values(),
        fails="{} requests were taken on later than ten business days, or are not answered within 45 days",
        passes="{} requests, each taken on within ten business days, and answered or within its 45 days",
    )


def _acknowledged_late(each: _Erasure) -> bool:
    day, days = each.event.received_at, 0
    while days < ACKNOWLEDGED_DAYS:
        day += timedelta(days=1)
        days += day.weekday() < SATURDAY
    return each.accepted.time > day


def _requests_are_kept(facts: Facts) -> Judgement:
    asked = {getattr(each.event, "request_id", ""): each for each in facts.of(ErasureRequested)}
    accepted = [each.accepted for each in _erasures(facts)]
    if not asked and not accepted:
        return nothing_says("nobody has asked for a deletion yet")
    return judged(
        [*asked.values(), *accepted],
        [each for each in accepted if getattr(each.event, "request_id", "") not in asked],
        fails="of {} deletions the request is not in the audit log any more",
        passes="{} requests and what became of them: the audit log keeps everything (HIPAA-312b)",
    )


_RESTORES = (RecoveryPointsErased, RecoveryAccepted, RecoveryCompleted)
EVALUATORS = (
    Evaluator("GDPR-17-1", 1, READS, _is_erased_by_gdpr),
    Evaluator("GDPR-17-2", 1, _RESTORES, _stays_erased),
    Evaluator("GDPR-19-1", 1, READS, _is_acknowledged),
    Evaluator("CCPA-105-1", 1, READS, _is_erased_by_ccpa),
    Evaluator("CCPA-105-2", 1, _RESTORES, _stays_erased),
    Evaluator("CCPA-110", 1, READS, _is_acknowledged_in_time),
    Evaluator("CCPA-REC", 1, (ErasureRequested, *READS), _requests_are_kept),
)
