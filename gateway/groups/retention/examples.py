"""Examples of the group's requests and answers: typed, so that they cannot drift from what the API takes and gives."""

from chassis.retention.points import Reason, Rule, Verdict
from contracts import errors
from contracts.cleanup_events import CleanupPurpose, CleanupState, GoingPoint, PlaceCleaned, WaitingPoint
from contracts.retention import LegalBasis
from gateway.groups.retention.preview import UNKNOWN
from gateway.groups.retention.resources import (
    CleanupResult,
    JudgedPoint,
    JudgedReason,
    NewCleanup,
    NewPreview,
    NewRetentionPolicy,
    RetentionCleanup,
    RetentionPolicy,
    RetentionPreview,
)
from gateway.http.resources import ListPage
from gateway.runs.examples import (
    ACTOR,
    CLEANUP_ID,
    CONFIGURATION_ID,
    EXECUTION_ID,
    REQUEST_ID,
    RETENTION_POLICY_ID,
    at,
)

NEW_RETENTION_POLICY = NewRetentionPolicy(
    name="Photos of weddings",
    keep_daily=30,
    keep_monthly=24,
    keep_within="90d",
    minimum_days=30,
    maximum_days=3650,
    lock_days=30,
    tags=("photos",),
    data_categories=("photos", "contact-data"),
    legal_basis=LegalBasis.CONTRACT,
)

RETENTION_POLICY = RetentionPolicy(
    id=RETENTION_POLICY_ID,
    version=1,
    name=NEW_RETENTION_POLICY.name,
    keep_last=0,
    keep_hourly=0,
    keep_daily=30,
    keep_weekly=0,
    keep_monthly=24,
    keep_yearly=0,
    keep_within="90d",
    minimum_days=30,
    maximum_days=3650,
    lock_days=30,
    cleanup_days=0,
    tags=["photos"],
    data_categories=["photos", "contact-data"],
    legal_basis=LegalBasis.CONTRACT,
    created_by=ACTOR,
    created_at=at(-3600),
    changed_at=at(-3600),
)

RETENTION_POLICIES = ListPage[RetentionPolicy](items=[RETENTION_POLICY])

NEW_PREVIEW = NewPreview(retention_policy_id=RETENTION_POLICY_ID, verdicts=(Verdict.GO, Verdict.WAIT))

PREVIEW = RetentionPreview(
    judged_at=at(86_400 * 400),
    keep=52,
    wait=0,
    go=1,
    overdue=0,
    going_stored_bytes=61_403_136,
    freed_bytes=None,
    unknown=list(UNKNOWN),
    items=[
        JudgedPoint(
            recovery_point_id=EXECUTION_ID,
            configuration_id=CONFIGURATION_ID,
            completed_at=at(120),
            verdict=Verdict.GO,
            reasons=[JudgedReason(rule=Rule.NOT_KEPT, words=Reason(Rule.NOT_KEPT).words, until=None)],
            locked_until=None,
            overdue=False,
            stored_bytes=61_403_136,
        )
    ],
)

NEW_CLEANUP = NewCleanup(configuration_ids=(CONFIGURATION_ID,))

_WENT = GoingPoint(recovery_point_id=EXECUTION_ID, configuration_id=CONFIGURATION_ID, rules=(Rule.NOT_KEPT.value,))

CLEANUP = RetentionCleanup(
    id=CLEANUP_ID,
    version=5,
    request_id=REQUEST_ID,
    initiated_by=ACTOR,
    dry_run=False,
    purpose=CleanupPurpose.LET_GO,
    configuration_ids=[CONFIGURATION_ID],
    state=CleanupState.COMPLETED,
    degraded=True,
    started_at=at(86_400 * 400),
    finished_at=at(86_400 * 400 + 12),
    attempts=1,
    gone=1,
    went=[_WENT],
    result=CleanupResult(
        gone=1,
        kept=51,
        waiting=1,
        overdue=0,
        unseen=0,
        waits=[
            WaitingPoint(
                recovery_point_id="019ab4d3-1f2a-7c44-8e21-6a7b8c9d0e20",
                configuration_id=CONFIGURATION_ID,
                until=at(86_400 * 410),
            )
        ],
        going=[],
        places=[
            PlaceCleaned(location="local", freed_bytes=61_403_136),
            PlaceCleaned(location="offsite", locked_bytes=61_403_136, locked_until=at(86_400 * 410)),
            PlaceCleaned(
                location="cloud-primary", code=errors.TIER_UNREACHABLE.code, hint=errors.TIER_UNREACHABLE.hint
            ),
        ],
        held=[],
        freed_bytes=61_403_136,
        is_partial_measure=False,
        seconds=11.4,
    ),
    error=None,
    waiting=None,
)

CLEANUPS = ListPage[RetentionCleanup](items=[CLEANUP])
