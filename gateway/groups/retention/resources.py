"""Retention policies as the API takes and gives them. A name whose key was destroyed is null."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.retention import CategoryName, Count, Days, LegalBasis, SpanText
from gateway.http.fields import Printable, TagText, Timestamp
from gateway.http.resources import Body, Resource


class NewRetentionPolicy(Body, frozen=True, kw_only=True):
    """How long what is saved is to be kept. Nothing is removed by it yet: it is kept, shown and named.

    `keepLast`: the newest so many; `keepHourly`, `keepDaily`, `keepWeekly`, `keepMonthly`, `keepYearly`: the newest of
    each of so many hours, days, ISO weeks, months, years that have one; `keepWithin`: what is at most so much older
    than the newest. What any of them keeps, stays. `minimumDays`: nothing younger goes; `maximumDays`: nothing older
    stays, null for no such bound; `lockDays`: what is saved is locked at least so long. `dataCategories`, `legalBasis`
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
    tags: list[str]
    data_categories: list[str]
    legal_basis: LegalBasis | None
    created_by: str
    created_at: Timestamp
    changed_at: Timestamp
    unreadable_fields: list[str] = msgspec.field(default_factory=list)
