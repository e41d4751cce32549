"""Examples of the group's requests and answers: typed, so that they cannot drift from what the API takes and gives."""

from contracts.retention import LegalBasis
from gateway.groups.retention.resources import NewRetentionPolicy, RetentionPolicy
from gateway.http.resources import ListPage
from gateway.runs.examples import ACTOR, RETENTION_POLICY_ID, at

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
    tags=["photos"],
    data_categories=["photos", "contact-data"],
    legal_basis=LegalBasis.CONTRACT,
    created_by=ACTOR,
    created_at=at(-3600),
    changed_at=at(-3600),
)

RETENTION_POLICIES = ListPage[RetentionPolicy](items=[RETENTION_POLICY])
