"""What is stored, as the API gives it. What nobody has measured is null, and `unknown` says so."""

from datetime import date
from typing import Annotated

from msgspec import Meta

from contracts.configuration import LocationName, Tier
from contracts.optimization_events import OptimizationState, PlaceOptimized
from contracts.repair_events import PlaceRepaired, RepairState
from gateway.http.fields import Timestamp
from gateway.http.resources import Body, Resource
from gateway.runs.resources import Waiting


class StorageTotals(Resource, frozen=True, kw_only=True):
    """`points`: recovery points that are there. `logicalBytes`: what the latest of each configuration would restore.

    `newBytes`: what all runs so far had to store, after deduplication; `storedBytes`: the same as stored on one tier,
    compressed and encrypted, what cleanups and optimisations have freed since included. `compressionRatio`: the first
    by the second.
    """

    points: int
    logical_bytes: int
    new_bytes: int
    stored_bytes: int
    compression_ratio: float | None


class StoredOfConfiguration(Resource, frozen=True, kw_only=True):
    """The same of one configuration."""

    configuration_id: str
    points: int
    logical_bytes: int
    new_bytes: int
    stored_bytes: int


class StoredOfClass(Resource, frozen=True, kw_only=True):
    """What runs so far have read of a content class, what of that was new, and as what it was stored on one tier."""

    content_class: str
    source_bytes: int
    new_bytes: int
    stored_bytes: int


class StorageDay(Resource, frozen=True, kw_only=True):
    """What all tiers took on a day (UTC), and what cleanups and optimisations freed on all of them."""

    day: date
    uploaded_bytes: int
    freed_bytes: int


class StorageForecast(Resource, frozen=True, kw_only=True):
    """What all tiers together would keep, if it went on as in the last 30 days. `monthlyCost`: of keeping that.

    `error`: by what share such forecasts of the past were off, so far, on average of `judged`; null where none of them
    has come true yet.
    """

    in_days: int
    kept_bytes: int
    monthly_cost: float | None
    error: float | None
    judged: int


class StorageCost(Resource, frozen=True, kw_only=True):
    """What is kept costs so much a month, by the prices of this date. `isPartial`: some location has none.

    `restore`: of reading all that is kept once, from the location from which that costs least. `earlyDeletion`: of
    letting all of it go today, at most, where minimum storage times are not over.
    """

    currency: str
    price_date: str
    monthly: float
    is_partial: bool
    restore: float | None
    early_deletion: float | None


class StorageOverview(Resource, frozen=True, kw_only=True):
    """What an organisation has stored, as its runs, cleanups and optimisations have told; no tier was asked.

    `keptBytes`: of all tiers together, what runs uploaded less what cleanups and optimisations freed. `configurations`:
    the hundred that have stored most; `configurationsMore`: how many there are beside them. `growth`: the last 30 days
    that had any. `lockedBytes`: what locks kept at each location's last cleanup or optimisation, though nothing needs
    it. `forecast` is empty where less than a week is known.
    """

    totals: StorageTotals
    kept_bytes: int
    locked_bytes: int | None
    configurations: list[StoredOfConfiguration]
    configurations_more: int
    classes: list[StoredOfClass]
    growth: list[StorageDay]
    forecast: list[StorageForecast]
    cost: StorageCost | None
    unknown: list[str]


class StorageTier(Resource, frozen=True, kw_only=True):
    """What a location keeps for the organisation, as runs, cleanups and optimisations have told. `tiers`: as which.

    `location` is null for what runs of configurations told that are not known any more. `keptBytes`: what runs uploaded
    less what cleanups and optimisations freed; null where more was freed. `lockedBytes`, `pinnedBytes`: what the last
    of them (`cleanedAt`) found that nothing needs, and that locks or readers keep. `errorRate`: the share of runs so
    far that it failed; `failureCode`: of the last. `isFailing`: the last run failed there. `provenAt`: when a sample
    was read back last. `bytesPerSecond`: of all uploads. `capacityBytes`, `freeBytes`: of the disk; a bucket tells
    none. `latencySeconds`: of asking for one small object. They are as the last run found them (`measuredAt`).
    `restoreCost`: of reading all that is kept there once; `earlyDeletionCost`: of letting it go today, at most.
    """

    location: str | None
    tiers: list[Tier]
    kept_bytes: int | None
    uploaded_bytes: int
    freed_bytes: int
    locked_bytes: int | None
    locked_until: Timestamp | None
    pinned_bytes: int | None
    cleaned_at: Timestamp | None
    uploaded_at: Timestamp | None
    is_failing: bool
    failed_at: Timestamp | None
    failure_code: str | None
    error_rate: float | None
    proven_at: Timestamp | None
    bytes_per_second: float | None
    capacity_bytes: int | None
    free_bytes: int | None
    latency_seconds: float | None
    measured_at: Timestamp | None
    monthly_cost: float | None
    restore_cost: float | None
    early_deletion_cost: float | None


class StorageTiers(Resource, frozen=True, kw_only=True):
    """Every location where the organisation keeps something, by its name."""

    items: list[StorageTier]
    cost: StorageCost | None
    unknown: list[str]


class NewRepair(Body, frozen=True, kw_only=True):
    """A repair of these locations; without any, of all where something of the organisation is kept.

    `dryRun`: it is looked at and told, and nothing is changed. `readPercent`: so many of the packs, chosen at random,
    are read whole, every one with 100; with 0 the structure alone is looked at, and damage within packs shows by
    nothing.
    """

    dry_run: bool = False
    read_percent: Annotated[int, Meta(ge=0, le=100)] = 0
    locations: Annotated[tuple[LocationName, ...], Meta(max_length=50)] = ()


class RepairError(Resource, frozen=True, kw_only=True):
    """Why a repair failed."""

    code: str
    title: str
    hint: str


class StorageRepair(Resource, frozen=True, kw_only=True):
    """One repair. `places`: what was found at each location and what was made of it, as far as it is told by now.

    `degraded`: damage is left, or would be with `dryRun`; an entry of a log was given up, or a location was left out,
    as the `code` of its place says.
    """

    id: str
    version: int
    request_id: str
    initiated_by: str
    dry_run: bool
    read_percent: int
    locations: list[str]
    state: RepairState
    degraded: bool
    started_at: Timestamp
    finished_at: Timestamp | None
    attempts: int
    places: list[PlaceRepaired]
    seconds: float | None
    error: RepairError | None
    waiting: Waiting | None


class NewOptimization(Body, frozen=True, kw_only=True):
    """An optimisation of all locations where something is kept. `dryRun`: it is planned and told, nothing is done."""

    dry_run: bool = False


class OptimizationResult(Resource, frozen=True, kw_only=True):
    """What an optimisation has done, as measured, or with `dryRun` about what it would.

    `savedBytes`: of all locations, what went less what was stored again. `allowedBytes`: so much could be stored again,
    by what was left of the day. `isPartialMeasure`: a worker died over it, and may have freed more.
    """

    allowed_bytes: int
    saved_bytes: int
    places: list[PlaceOptimized]
    is_partial_measure: bool
    seconds: float


class OptimizationError(Resource, frozen=True, kw_only=True):
    """Why an optimisation failed."""

    code: str
    title: str
    hint: str


class StorageOptimization(Resource, frozen=True, kw_only=True):
    """One optimisation. `degraded`: a location was left out, or not all was done there, as its `code` says."""

    id: str
    version: int
    request_id: str
    initiated_by: str
    dry_run: bool
    state: OptimizationState
    degraded: bool
    started_at: Timestamp
    finished_at: Timestamp | None
    attempts: int
    result: OptimizationResult | None
    error: OptimizationError | None
    waiting: Waiting | None
