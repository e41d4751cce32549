"""Controls of how long recovery points are kept, and of who lets them go. Pure."""

from collections.abc import Callable, Sequence
from datetime import timedelta

from chassis.calendar.waits import longest_wait
from contracts.cleanup_events import RecoveryPointsForgotten, RetentionCleanedUp
from contracts.config_events import (
    ConfigurationFact,
    RetentionPolicyCreated,
    RetentionPolicyFact,
    RetentionPolicyUpdated,
)
from contracts.retention import RetentionRules, span_of
from services.compliance.controls.configurations import FACTS, in_force
from services.compliance.controls.facts import Evaluator, Facts, Judgement, Seen, judged, nothing_says

POLICIES = (RetentionPolicyCreated, RetentionPolicyUpdated)
LOOKED_AT = timedelta(days=31)
A_DAY = timedelta(hours=25)
"""A day has 25 hours once a year."""
KEPT_DAYS = 35
LOCKED_DAYS = 2557
"""Seven years, with two leap days."""
OF_BOOKS = ("financial", "sox")
"""Data categories or tags of what belongs to an audit of books."""
BY_HAND = "forgotten-elsewhere"


def _policies(facts: Facts) -> dict[str, RetentionRules]:
    """What each policy says by its highest version."""
    latest: dict[str, RetentionPolicyFact] = {}
    for each in facts.of(*POLICIES):
        if isinstance(fact := each.event, RetentionPolicyFact):
            known = latest.get(fact.retention_policy_id)
            if known is None or known.version < fact.version:
                latest[fact.retention_policy_id] = fact
    return {name: fact.body for name, fact in latest.items()}


def _kept(
    holds: Callable[[ConfigurationFact, RetentionRules | None], bool], fails: str, passes: str
) -> Callable[[Facts], Judgement]:
    """Of each configuration in force, by what it says and by its policy; None: everything is kept for ever."""

    def judge(facts: Facts) -> Judgement:
        found, policies = in_force(facts), _policies(facts)
        if not found:
            return nothing_says("no configuration is in force")
        unknown = [fact for _, fact in found if (fact.body.retention_policy_id or "") not in {"", *policies}]
        if unknown:
            return nothing_says(f"the retention policy of {len(unknown)} configurations is not recorded")
        wrong = [seen for seen, fact in found if not holds(fact, policies.get(fact.body.retention_policy_id or ""))]
        return judged([seen for seen, _ in found], wrong, fails=fails, passes=passes)

    return judge


def _keeps_days(rules: RetentionRules | None) -> bool:
    if rules is None:
        return True
    span = span_of(rules.keep_within or "")
    return (
        max(rules.minimum_days, rules.keep_daily) >= KEPT_DAYS or (span is not None and span.at_least >= KEPT_DAYS * 24)
    ) and (rules.maximum_days is None or rules.maximum_days >= KEPT_DAYS)


def _is_daily(fact: ConfigurationFact, rules: RetentionRules | None) -> bool:
    schedule = fact.body.schedule
    return schedule is not None and longest_wait(schedule) <= A_DAY and _keeps_days(rules)


def _nothing_is_overdue(facts: Facts) -> Judgement:
    looked = [each for each in facts.of(RetentionCleanedUp) if facts.at - each.time <= LOOKED_AT]
    if not looked:
        return nothing_says("no cleanup has looked at the recovery points within the last 31 days")
    latest = looked[-1]
    overdue = getattr(latest.event, "overdue", 0)
    return judged(
        [latest],
        [latest] if overdue else [],
        fails=f"by the latest cleanup {overdue} recovery points are older than their policy allows",
        passes="by the latest cleanup no recovery point is older than its policy allows, but for those that holds keep",
    )


def _nobody_deletes_by_hand(facts: Facts) -> Judgement:
    gone = facts.of(RecoveryPointsForgotten)
    if not gone:
        return nothing_says("no recovery point has gone yet")
    return judged(
        gone,
        [each for each in gone if any(BY_HAND in point.rules for point in getattr(each.event, "points", ()))],
        fails="{} times recovery points were gone from the tiers that no policy had let go",
        passes="{} times recovery points have gone, each by its retention policy",
    )


def _books_are_locked(facts: Facts) -> Judgement:
    found: Sequence[tuple[Seen, ConfigurationFact]] = [
        (seen, fact) for seen, fact in in_force(facts) if {*fact.body.data_categories, *fact.body.tags} & {*OF_BOOKS}
    ]
    if not found:
        return nothing_says(f"no configuration in force has {' or '.join(OF_BOOKS)} among its dataCategories or tags")
    wrong = [
        seen
        for seen, fact in found
        if not any(each.lock_days >= LOCKED_DAYS for each in fact.body.storage_destinations.by_tier().values())
    ]
    return judged(
        [seen for seen, _ in found],
        wrong,
        fails=f"{{}} configurations of such records ask for a lock of {LOCKED_DAYS} days on no tier",
        passes="{} configurations of such records ask for a lock of seven years",
    )


EVALUATORS = (
    Evaluator("GDPR-5e", 1, (RetentionCleanedUp,), _nothing_is_overdue),
    Evaluator("SOX-802", 1, FACTS, _books_are_locked),
    Evaluator(
        "BK-2",
        1,
        (*FACTS, *POLICIES),
        _kept(
            _is_daily,
            f"{{}} configurations in force have a run less often than once a day, or keep less than {KEPT_DAYS} days",
            f"{{}} configurations in force have a run each day, and keep {KEPT_DAYS} days",
        ),
    ),
    Evaluator("BK-3", 1, (RecoveryPointsForgotten,), _nobody_deletes_by_hand),
    Evaluator(
        "BK-5",
        1,
        (*FACTS, *POLICIES),
        _kept(
            lambda _, rules: rules is None or rules.minimum_days >= KEPT_DAYS,
            f"{{}} configurations in force have a policy whose minimumDays are less than {KEPT_DAYS}",
            f"{{}} configurations in force keep everything for {KEPT_DAYS} days at least",
        ),
    ),
)
