"""Controls that people decide by putting their names to it, since nothing that the platform sees tells. Pure.

Whoever attests nothing has no evidence. Who has attested, and now something is missing, or it was too long ago, or they
said that it is not as it has to be, fails.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from contracts.attestations import AttestationKind
from contracts.compliance_events import AttestationRecorded
from contracts.erasure_events import DataSubjectErased
from contracts.event import Event
from contracts.recovery_events import RecoveryCompleted, RecoveryVerified
from contracts.validation_events import RecoveryPointCorrupted
from services.compliance.controls.configurations import FACTS, in_force
from services.compliance.controls.facts import Evaluator, Facts, Judgement, Seen, judged, nothing_says

QUARTER, YEAR = timedelta(days=92), timedelta(days=366)
MONTH = timedelta(days=31)
DECIDED_WITHIN = timedelta(hours=72)
Attested = tuple[Seen, AttestationRecorded]


def attested(facts: Facts, kind: AttestationKind, *, about: str | None = None) -> list[Attested]:
    """The attestations of a kind, the latest last; `about`: those that name it."""
    found = [
        (each, each.event)
        for each in facts.of(AttestationRecorded)
        if isinstance(each.event, AttestationRecorded) and each.event.kind is kind
    ]
    return sorted(
        (each for each in found if about is None or about in each[1].about), key=lambda attested: attested[0].time
    )


def _said(kind: AttestationKind) -> str:
    return f"nobody has attested {kind.value!r} yet"


def _regularly(kind: AttestationKind, within: timedelta) -> Callable[[Facts], Judgement]:
    """By the latest word: that it holds, and is not too long ago."""

    def judge(facts: Facts) -> Judgement:
        found = attested(facts, kind)
        if not found:
            return nothing_says(_said(kind))
        seen, latest = found[-1]
        is_good = latest.holds and facts.at - seen.time <= within
        return judged(
            [seen],
            [] if is_good else [seen],
            fails=f"the latest of {kind.value!r} says that it does not hold, or is older than {within.days} days",
            passes=f"{kind.value!r} was attested within the last {within.days} days",
        )

    return judge


def locations_in_use(facts: Facts) -> dict[str, Seen]:
    """The locations that configurations in force save to, each with a fact that says so."""
    return {
        each.location: seen
        for seen, fact in in_force(facts)
        for each in fact.body.storage_destinations.by_tier().values()
    }


def vouched(facts: Facts, kind: AttestationKind, *, within: timedelta = YEAR) -> dict[str, Seen]:
    """What is vouched for by attestations of a kind, by its name: by the latest word about it."""
    latest = {name: found for found in attested(facts, kind) for name in found[1].about}
    return {name: seen for name, (seen, said) in latest.items() if said.holds and facts.at - seen.time <= within}


def _each_location(kind: AttestationKind) -> Callable[[Facts], Judgement]:
    def judge(facts: Facts) -> Judgement:
        used, known = locations_in_use(facts), vouched(facts, kind)
        if not used:
            return nothing_says("no configuration is in force")
        if not attested(facts, kind):
            return nothing_says(_said(kind))
        return judged(
            [*used.values(), *(known[name] for name in used if name in known)],
            [seen for name, seen in used.items() if name not in known],
            fails=f"of {{}} locations in use {kind.value!r} was not attested within a year",
            passes=f"of each location in use {kind.value!r} was attested within a year",
        )

    return judge


def _one_location(kind: AttestationKind) -> Callable[[Facts], Judgement]:
    def judge(facts: Facts) -> Judgement:
        found, known = in_force(facts), vouched(facts, kind)
        if not found:
            return nothing_says("no configuration is in force")
        if not attested(facts, kind):
            return nothing_says(_said(kind))
        wrong = [
            seen
            for seen, fact in found
            if not any(each.location in known for each in fact.body.storage_destinations.by_tier().values())
        ]
        return judged(
            [*(seen for seen, _ in found), *known.values()],
            wrong,
            fails=f"{{}} configurations in force save to no location with {kind.value!r} attested within a year",
            passes=f"each configuration in force saves to a location of which {kind.value!r} was attested",
        )

    return judge


def _media_are_disposed_of(facts: Facts) -> Judgement:
    used, before = locations_in_use(facts), dict[str, Seen]()
    for each in facts.of(*FACTS):
        body = getattr(each.event, "body", None)
        if body is not None:
            before |= {place.location: each for place in body.storage_destinations.by_tier().values()}
    left = {name: seen for name, seen in before.items() if name not in used}
    told = attested(facts, AttestationKind.MEDIA_DISPOSED)
    if not left:
        return nothing_says("no location was given up yet")
    if not told:
        return nothing_says(_said(AttestationKind.MEDIA_DISPOSED))
    known = vouched(facts, AttestationKind.MEDIA_DISPOSED, within=facts.at - told[0][0].time)
    return judged(
        [*left.values(), *known.values()],
        [seen for name, seen in left.items() if name not in known],
        fails="of {} locations that are not in use any more nobody has attested what became of their media",
        passes="of each location that is not in use any more somebody has attested what became of its media",
    )


def _breaches(facts: Facts) -> Iterator[tuple[str, Seen]]:
    """What has to be decided on: what somebody found, and damage that a validation found."""
    for seen, said in attested(facts, AttestationKind.BREACH_FOUND):
        yield said.attestation_id, seen
    for seen in facts.of(RecoveryPointCorrupted):
        yield str(getattr(seen.event, "validation_id", "")), seen


def _breaches_are_decided(facts: Facts) -> Judgement:
    examined, wrong = list[Seen](), list[Seen]()
    for identity, seen in _breaches(facts):
        found_at = getattr(seen.event, "happened_at", None) or seen.time
        decided = attested(facts, AttestationKind.BREACH_DECIDED, about=identity)
        until = decided[0][0].time if decided else facts.at
        if until - found_at > DECIDED_WITHIN:
            wrong.append(seen)
        if decided or until - found_at > DECIDED_WITHIN:
            examined += [seen, *(each for each, _ in decided[:1])]
    if not examined:
        return nothing_says("no breach or damage was found, or it is to be decided on within 72 hours")
    return judged(
        examined,
        wrong,
        fails="on {} breaches or damages nobody has decided within 72 hours",
        passes="each breach and damage that was found was decided on within 72 hours",
    )


def _recipients_are_told(facts: Facts) -> Judgement:
    known = {name for _, said in attested(facts, AttestationKind.RECIPIENTS_TOLD) if said.holds for name in said.about}
    if not known:
        return nothing_says(_said(AttestationKind.RECIPIENTS_TOLD))
    erased = {
        each.event.erasure_id: each
        for each in facts.of(DataSubjectErased)
        if isinstance(each.event, DataSubjectErased) and each.event.is_complete
    }
    due = {name: seen for name, seen in erased.items() if name in known or facts.at - seen.time > MONTH}
    if not due:
        return nothing_says("no erasure is complete yet of which recipients had to be told by now")
    return judged(
        list(due.values()),
        [seen for name, seen in due.items() if name not in known],
        fails="of {} erasures nobody has attested within a month that other recipients were told",
        passes="of each erasure somebody has attested that other recipients were told, or that there are none",
    )


def _exports_are_delivered(facts: Facts) -> Judgement:
    found = attested(facts, AttestationKind.PORTABILITY_DELIVERED)
    if not found:
        return nothing_says(_said(AttestationKind.PORTABILITY_DELIVERED))
    verified = _operations(facts, RecoveryVerified) & _operations(facts, RecoveryCompleted)
    return judged(
        [seen for seen, _ in found],
        [
            seen
            for seen, said in found
            if not (said.holds and set(said.about) <= verified and seen.time - (said.happened_at or seen.time) <= MONTH)
        ],
        fails="{} deliveries failed, are of a recovery that was not read back, or came later than a month",
        passes="{} deliveries, each of recoveries that were read back, within a month of `happenedAt`",
    )


def _operations(facts: Facts, kind: type[Event]) -> set[str]:
    return {str(getattr(each.event, "operation_id", "")) for each in facts.of(kind)}


_OWN = (AttestationRecorded,)
_REGULAR: Sequence[tuple[str, AttestationKind, timedelta]] = (
    ("CCPA-AUD", AttestationKind.CYBERSECURITY_AUDIT, YEAR),
    ("HIPAA-7C", AttestationKind.EMERGENCY_PROCEDURE, YEAR),
    ("HIPAA-1D", AttestationKind.AUDIT_LOG_REVIEW, QUARTER),
    ("HIPAA-312a-ii", AttestationKind.EMERGENCY_ACCESS_TESTED, YEAR),
    ("HIPAA-316", AttestationKind.DOCUMENTATION_KEPT, YEAR),
    ("SOX-302", AttestationKind.CERTIFICATION, QUARTER),
    ("SOX-404-AC-2", AttestationKind.ACCESS_REVIEW, QUARTER),
)
EVALUATORS = (
    *(Evaluator(control, 1, _OWN, _regularly(kind, within)) for control, kind, within in _REGULAR),
    Evaluator("GDPR-19-2", 1, (*_OWN, DataSubjectErased), _recipients_are_told),
    Evaluator("GDPR-20", 1, (*_OWN, RecoveryVerified, RecoveryCompleted), _exports_are_delivered),
    Evaluator("GDPR-33", 1, (*_OWN, RecoveryPointCorrupted), _breaches_are_decided),
    Evaluator("GDPR-44", 1, (*_OWN, *FACTS), _each_location(AttestationKind.TRANSFER_ALLOWED)),
    Evaluator("HIPAA-310d", 1, (*_OWN, *FACTS), _media_are_disposed_of),
    Evaluator("HIPAA-312e", 1, (*_OWN, *FACTS), _each_location(AttestationKind.ENCRYPTED_TRANSMISSION)),
    Evaluator("BK-6", 1, (*_OWN, *FACTS), _one_location(AttestationKind.COPY_IN_ANOTHER_REGION)),
    Evaluator("BK-7", 1, (*_OWN, *FACTS), _one_location(AttestationKind.COPY_IN_ANOTHER_ACCOUNT)),
)
