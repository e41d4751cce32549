"""Controls of what configurations say, and of how they were changed. Pure."""

from collections.abc import Callable

from contracts.attestations import AttestationKind
from contracts.compliance_events import AttestationRecorded
from contracts.config_events import (
    ConfigurationCreated,
    ConfigurationFact,
    ConfigurationPaused,
    ConfigurationResumed,
    ConfigurationRetired,
    ConfigurationUpdated,
)
from contracts.configuration import ConfigurationBody, ConfigurationState
from contracts.gateway_events import (
    ConfigurationChangeSubmitted,
    ConfigurationPauseRequested,
    ConfigurationResumptionRequested,
    ConfigurationRetirementRequested,
)
from services.compliance.controls.facts import Evaluator, Facts, Judgement, Seen, judged, nothing_says

FACTS = (ConfigurationCreated, ConfigurationUpdated, ConfigurationRetired, ConfigurationPaused, ConfigurationResumed)
CHANGES = (ConfigurationUpdated, ConfigurationRetired, ConfigurationPaused, ConfigurationResumed)
ASKED = (
    ConfigurationChangeSubmitted,
    ConfigurationRetirementRequested,
    ConfigurationPauseRequested,
    ConfigurationResumptionRequested,
)


def in_force(facts: Facts) -> list[tuple[Seen, ConfigurationFact]]:
    """The configurations that are not retired, each by the fact of its highest version."""
    latest: dict[str, tuple[Seen, ConfigurationFact]] = {}
    for seen in facts.of(ConfigurationFact):
        fact = seen.event
        if isinstance(fact, ConfigurationFact):
            known = latest.get(fact.configuration_id)
            if known is None or known[1].version < fact.version:
                latest[fact.configuration_id] = (seen, fact)
    return [(seen, fact) for seen, fact in latest.values() if fact.state is not ConfigurationState.RETIRED]


def _each(holds: Callable[[ConfigurationBody], bool], fails: str, passes: str) -> Callable[[Facts], Judgement]:
    def judge(facts: Facts) -> Judgement:
        found = in_force(facts)
        if not found:
            return nothing_says("no configuration is in force")
        wrong = [seen for seen, fact in found if not holds(fact.body)]
        return judged([seen for seen, _ in found], wrong, fails=fails, passes=passes)

    return judge


def _has_record_of_processing(body: ConfigurationBody) -> bool:
    return body.purpose is not None and bool(body.data_categories) and body.retention_policy_id is not None


def _changes_are_told(facts: Facts) -> Judgement:
    changes = facts.of(*CHANGES)
    if not changes:
        return nothing_says("no configuration was changed")
    asked = {getattr(each.event, "request_id", ""): each for each in facts.of(*ASKED)}
    wrong = []
    for each in changes:
        request = asked.get(getattr(each.event, "request_id", ""))
        if request is None or not request.actor.startswith("user:"):
            wrong.append(each)
    return judged(
        changes,
        wrong,
        fails="of {} changes nobody who asked for them is recorded",
        passes="{} changes, each with who asked for it and what was said before and after",
    )


def _changes_are_approved(facts: Facts) -> Judgement:
    changes = facts.of(*CHANGES)
    if not changes:
        return nothing_says("no configuration was changed")
    actors = {getattr(each.event, "request_id", ""): each.actor for each in facts.of(*ASKED)}
    approved = {
        name
        for each in facts.of(AttestationRecorded)
        if isinstance(said := each.event, AttestationRecorded)
        and said.kind is AttestationKind.CHANGE_APPROVED
        and said.holds
        for name in said.about
        if actors.get(name, said.attested_by) != said.attested_by
    }
    return judged(
        changes,
        [each for each in changes if getattr(each.event, "request_id", "") not in approved],
        fails="{} changes that nobody but who had asked has approved",
        passes="{} changes, each approved by another person than who had asked",
    )


EVALUATORS = (
    Evaluator(
        "GDPR-30",
        1,
        FACTS,
        _each(
            _has_record_of_processing,
            "{} configurations in force lack a purpose, data categories or a retention policy",
            "{} configurations in force say purpose, categories, recipients and retention",
        ),
    ),
    Evaluator(
        "GDPR-25",
        1,
        FACTS,
        _each(
            lambda body: body.data_subject_id is not None,
            "{} configurations in force do not say whose data they save: they are under the organisation's key",
            "{} configurations in force have their personal fields under the key of the data subject",
        ),
    ),
    Evaluator(
        "CCPA-100",
        1,
        FACTS,
        _each(
            lambda body: bool(body.data_categories) and body.retention_policy_id is not None,
            "{} configurations in force lack data categories or a retention policy",
            "{} configurations in force name their categories and how long they are kept",
        ),
    ),
    Evaluator(
        "BK-1",
        1,
        FACTS,
        _each(
            lambda body: body.schedule is not None,
            "{} configurations in force have no schedule",
            "{} configurations in force have a schedule",
        ),
    ),
    Evaluator(
        "BK-8",
        1,
        FACTS,
        _each(
            lambda body: any(each.lock_days > 0 for each in body.storage_destinations.by_tier().values()),
            "{} configurations in force ask for a lock on no tier",
            "{} configurations in force ask for a lock",
        ),
    ),
    Evaluator("SOX-404-CM-1", 1, (*CHANGES, *ASKED), _changes_are_told),
    Evaluator("SOX-404-CM-2", 2, (*CHANGES, *ASKED, AttestationRecorded), _changes_are_approved),
)
