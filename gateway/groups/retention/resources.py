"""Retention policies as the API takes and gives them. A name whose key was destroyed is null."""

from typing import Annotated

import msgspec
from msgspec import Meta

from chassis.retention.points import Rule, Verdict
from contracts.cleanup_events import CleanupPurpose, CleanupState, GoingPoint, PlaceCleaned, PlaceHeld, WaitingPoint
from contracts.retention import CategoryName, Count, Days, LegalBasis, SpanText
from gateway.http.fields import Printable, TagText, Timestamp, Uuid
from gateway.http.resources import Body, Resource
from gateway.runs.resources import Waiting


class NewRetentionPolicy(Body, frozen=True, kw_only=True):
    """How long what is saved is to be kept. A cleanup lets go what it does not keep.

    `keepLast`: the newest so many; `keepHourly`, `keepDaily`, `keepWeekly`, `keepMonthly`, `keepYearly`: the newest of
    each of so many hours, days, ISO weeks, months, years that have one; `keepWithin`: what is at most so much older
    than the newest. What any of them keeps, stays. `minimumDays`: nothing younger goes; `maximumDays`: nothing older
    stays, null for no such bound; `lockDays`: what is saved is locked at least so long. `cleanupDays`: so often what is
    not kept goes by itself; 0: only when somebody asks for a cleanup. `dataCategories`, `legalBasis`
    (Article 6(1) of the GDPR): for the record of processing.
    """

    name: Printable
    keep_last: Count = 0
    keep_hourly: Count = 0
    keep_daily: Count = 0
    keep_weekly: Count = 0
    keep_monthly: Count = 0
    keep_yearly: Count = 0
    keep_within: SpanText | None = None
    minimum_days: Days = 0
    maximum_days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    lock_days: Days = 0
    cleanup_days: Annotated[int, Meta(ge=0, le=366)] = 0
    tags: Annotated[tuple[TagText, ...], Meta(max_length=50)] = ()
    data_categories: Annotated[tuple[CategoryName, ...], Meta(max_length=50)] = ()
    legal_basis: LegalBasis | None = None


class RetentionPolicy(Resource, frozen=True, kw_only=True):
    """A retention policy as it is in force; `version` is its ETag. `unreadableFields` are null for want of a key."""

    id: str
    version: int
    name: str | None
    keep_last: int
    keep_hourly: int
    keep_daily: int
    keep_weekly: int
    keep_monthly: int
    keep_yearly: int
    keep_within: str | None
    minimum_days: int
    maximum_days: int | None
    lock_days: int
    cleanup_days: int
    tags: list[str]
    data_categories: list[str]
    legal_basis: LegalBasis | None
    created_by: str
    created_at: Timestamp
    changed_at: Timestamp
    unreadable_fields: list[str] = msgspec.field(default_factory=list)


class NewPreview(Body, frozen=True, kw_only=True):
    """Which policy is to be tried on which recovery points.

    `retentionPolicyId`: a saved one, on the configurations that name it; `policy`: one that is not saved, in its place
    where both are given. `configurationIds`: on these instead, whichever policy they name. With neither policy each
    configuration's own is looked at. `verdicts`: which points are listed; all of them without one.
    """

    retention_policy_id: Uuid | None = None
    policy: NewRetentionPolicy | None = None
    configuration_ids: Annotated[tuple[Uuid, ...], Meta(max_length=200)] = ()
    verdicts: Annotated[tuple[Verdict, ...], Meta(max_length=3)] = ()


class JudgedReason(Resource, frozen=True, kw_only=True):
    """A rule that decided, and its words. `until`: when it ends by itself."""

    rule: Rule
    words: str
    until: Timestamp | None


class JudgedPoint(Resource, frozen=True, kw_only=True):
    """What would become of a recovery point. `verdict`: it stays (`keep`), goes (`go`), or would go but for a lock
    (`wait`), the last of which ends at `lockedUntil`.

    `overdue`: older than `maximumDays`, and does not go. `storedBytes`: what its run stored on each tier.
    """

    recovery_point_id: str
    configuration_id: str
    completed_at: Timestamp
    verdict: Verdict
    reasons: list[JudgedReason]
    locked_until: Timestamp | None
    overdue: bool
    stored_bytes: int


class RetentionPreview(Resource, frozen=True, kw_only=True):
    """What a cleanup at `judgedAt` would do, as far as the read models know; nothing was changed.

    `keep`, `wait`, `go`, `overdue`: how many points of all that were judged. `items`: a page of them, the latest first.
    `goingStoredBytes`: what the runs of those that go had stored on each tier; `freedBytes` is null, as `unknown` says.
    """

    judged_at: Timestamp
    keep: int
    wait: int
    go: int
    overdue: int
    going_stored_bytes: int
    freed_bytes: int | None
    unknown: list[str]
    items: list[JudgedPoint]
    next_cursor: str | None = None


IDS_MAX = 200
"""So many configurations one cleanup may name."""


class NewCleanup(Body, frozen=True, kw_only=True):
    """A cleanup: what the policies of these configurations let go goes; without any, of all that name a policy.

    `dryRun`: it is looked at on the tiers and told, and nothing is done.
    """

    dry_run: bool = False
    configuration_ids: Annotated[tuple[Uuid, ...], Meta(max_length=IDS_MAX)] = ()


class CleanupResult(Resource, frozen=True, kw_only=True):
    """What a cleanup has done, or with `dryRun` would. `gone`, `kept`, `waiting`, `overdue`: how many points.

    `waits`: those that a lock keeps, and until when; `going`: with `dryRun`, those that would go; a thousand of each
    at most. `unseen`: points that no tier that answers has. `places`: what each location gave back, as measured; `code`
    says why not all was done there. `isPartialMeasure`: a worker died over it, and may have freed more. `held`: of one
    for the holds, at each location how many points its log holds, and whether its objects are held (`onObjects`).
    """

    gone: int
    kept: int
    waiting: int
    overdue: int
    unseen: int
    waits: list[WaitingPoint]
    going: list[GoingPoint]
    places: list[PlaceCleaned]
    held: list[PlaceHeld]
    freed_bytes: int
    is_partial_measure: bool
    seconds: float


class CleanupError(Resource, frozen=True, kw_only=True):
    """Why a cleanup failed."""

    code: str
    title: str
    hint: str


class RetentionCleanup(Resource, frozen=True, kw_only=True):
    """One cleanup. `degraded`: some place was not cleaned. `gone`: points that have gone so far, also of a failed one.

    `went`: the first thousand of them, each with the rules by which it was allowed to. `purpose`: `holds` where it lets
    nothing go, and has the tiers follow the holds, which the executor does by itself.
    """

    id: str
    version: int
    request_id: str
    initiated_by: str
    dry_run: bool
    purpose: CleanupPurpose
    configuration_ids: list[str]
    state: CleanupState
    degraded: bool
    started_at: Timestamp
    finished_at: Timestamp | None
    attempts: int
    gone: int
    went: list[GoingPoint]
    result: CleanupResult | None
    error: CleanupError | None
    waiting: Waiting | None
