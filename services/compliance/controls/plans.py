"""Controls of disaster recovery plans: approved, revised, of everything that matters, and fast enough. Pure."""

from collections.abc import Callable
from datetime import timedelta

from contracts.attestations import AttestationKind
from contracts.compliance_events import AttestationRecorded
from contracts.dr_events import DrPlanCreated, DrPlanFact, DrPlanUpdated
from contracts.dr_execution_events import DrExecutionBegun, DrExecutionCompleted, DrExecutionStarted, DrTestStarted
from services.compliance.controls.attested import YEAR, attested
from services.compliance.controls.configurations import FACTS, in_force
from services.compliance.controls.facts import Evaluator, Facts, Judgement, Seen, judged, nothing_says

PLANS = (DrPlanCreated, DrPlanUpdated)
_NO_PLAN = "there is no disaster recovery plan"
PROPOSED = timedelta(hours=72)


def _plans(facts: Facts) -> dict[str, tuple[Seen, DrPlanFact]]:
    """Each plan by the fact of its highest version."""
    latest: dict[str, tuple[Seen, DrPlanFact]] = {}
    for seen in facts.of(*PLANS):
        if isinstance(fact := seen.event, DrPlanFact):
            known = latest.get(fact.plan_id)
            if known is None or known[1].version < fact.version:
                latest[fact.plan_id] = (seen, fact)
    return latest


def _are_approved(facts: Facts) -> Judgement:
    plans, kind = _plans(facts), AttestationKind.PLAN_APPROVED
    if not plans:
        return nothing_says(_NO_PLAN)
    if not attested(facts, kind):
        return nothing_says("nobody has approved a plan yet")
    approved = {
        name: [each for each in attested(facts, kind, about=name) if each[0].time >= seen.time]
        for name, (seen, _) in plans.items()
    }
    return judged(
        [seen for seen, _ in plans.values()],
        [plans[name][0] for name, found in approved.items() if not found or not found[-1][1].holds],
        fails="{} plans were not approved as they are now",
        passes="{} plans, each approved as it is now",
    )


def _are_revised(facts: Facts) -> Judgement:
    tested = {
        each.event.plan_id: each
        for each in facts.of(DrTestStarted)
        if isinstance(each.event, DrTestStarted) and facts.at - each.time <= YEAR
    }
    if not facts.of(DrTestStarted):
        return nothing_says("no disaster recovery plan was tested yet")
    plans, wrong, revised = _plans(facts), list[Seen](), list[Seen]()
    for name, (seen, _) in plans.items():
        said = [each for each, what in attested(facts, AttestationKind.PLAN_REVIEWED, about=name) if what.holds]
        latest = max((seen, *said), key=lambda each: each.time)
        if name not in tested or facts.at - latest.time > YEAR:
            wrong.append(seen)
        revised += [latest, *([tested[name]] if name in tested else [])]
    if not plans:
        return nothing_says(_NO_PLAN)
    return judged(
        revised,
        wrong,
        fails="{} plans were not tested, or neither changed nor reviewed, within a year",
        passes="each plan was tested, and changed or reviewed, within a year",
    )


def _say_what_matters(facts: Facts) -> Judgement:
    found, plans = in_force(facts), _plans(facts)
    if not found:
        return nothing_says("no configuration is in force")
    covered = {identity for _, fact in plans.values() for identity in fact.body.scope.configuration_ids}
    wrong = [seen for seen, fact in found if fact.configuration_id not in covered and not fact.body.is_wedding_critical]
    if len(wrong) == len(found) and not plans:
        return nothing_says(_NO_PLAN)
    return judged(
        [*(seen for seen, _ in plans.values()), *(seen for seen, _ in found)],
        wrong,
        fails="of {} configurations in force nothing says how critical they are: no plan has them, no mark",
        passes="each configuration in force is in a plan, which says how fast it has to be back, or marked as critical",
    )


def _in_time(target: Callable[[DrExecutionBegun], timedelta], fails: str, passes: str) -> Callable[[Facts], Judgement]:
    """By the latest execution or test of each plan that has come to its end."""

    def judge(facts: Facts) -> Judgement:
        begun = {
            each.event.execution_id: each.event
            for each in facts.of(DrExecutionStarted, DrTestStarted)
            if isinstance(each.event, DrExecutionBegun)
        }
        last: dict[str, tuple[Seen, float, DrExecutionBegun]] = {}
        for each in facts.of(DrExecutionCompleted):
            if isinstance(each.event, DrExecutionCompleted) and each.event.execution_id in begun:
                last[each.event.plan_id] = (each, each.event.rto_seconds, begun[each.event.execution_id])
        if not last:
            return nothing_says("no plan was executed or tested to its end yet")
        wrong = [seen for seen, seconds, of in last.values() if timedelta(seconds=seconds) > target(of)]
        return judged([seen for seen, _, _ in last.values()], wrong, fails=fails, passes=passes)

    return judge


def _own(begun: DrExecutionBegun) -> timedelta:
    return timedelta(minutes=begun.body.recovery_objectives.rto_minutes)


_RUNS = (DrExecutionStarted, DrTestStarted, DrExecutionCompleted)
_IN_TIME = _in_time(
    _own,
    "the latest executions or tests of {} plans took longer than their target",
    "the latest executions or tests of {} plans were within their target",
)
EVALUATORS = (
    Evaluator("GDPR-32c", 1, _RUNS, _IN_TIME),
    Evaluator("BK-10", 1, _RUNS, _IN_TIME),
    Evaluator(
        "HIPAA-72h",
        1,
        _RUNS,
        _in_time(lambda _: PROPOSED, "{} plans took longer than 72 hours", "{} plans took 72 hours at most"),
    ),
    Evaluator("HIPAA-7B", 1, (*PLANS, AttestationRecorded), _are_approved),
    Evaluator("HIPAA-7D", 1, (*PLANS, DrTestStarted, AttestationRecorded), _are_revised),
    Evaluator("HIPAA-7E", 1, (*FACTS, *PLANS), _say_what_matters),
)
