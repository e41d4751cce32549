"""Examples of the group's answers: typed, so that they cannot drift from what the API gives."""

from contracts.configuration import Tier
from contracts.optimization_events import OptimizationState, PlaceOptimized
from contracts.repair_events import DamagedObject, PlaceRepaired, RepairedObject, RepairState
from gateway.groups.storage.resources import (
    NewOptimization,
    NewRepair,
    OptimizationResult,
    StorageCost,
    StorageDay,
    StorageForecast,
    StorageOptimization,
    StorageOverview,
    StorageRepair,
    StorageTier,
    StorageTiers,
    StorageTotals,
    StoredOfClass,
    StoredOfConfiguration,
)
from gateway.http.resources import ListPage
from gateway.runs.examples import ACTOR, CONFIGURATION_ID, OPTIMIZATION_ID, REPAIR_ID, REQUEST_ID, at

_COST = StorageCost(
    currency="EUR", price_date="2026-11-01", monthly=0.03, is_partial=False, restore=0.86, early_deletion=0.2
)

OVERVIEW = StorageOverview(
    totals=StorageTotals(
        points=52,
        logical_bytes=8_589_934_592,
        new_bytes=9_932_111_872,
        stored_bytes=9_663_676_416,
        compression_ratio=1.0278,
    ),
    kept_bytes=9_602_273_280,
    locked_bytes=61_403_136,
    configurations=[
        StoredOfConfiguration(
            configuration_id=CONFIGURATION_ID,
            points=52,
            logical_bytes=8_589_934_592,
            new_bytes=9_932_111_872,
            stored_bytes=9_663_676_416,
        )
    ],
    configurations_more=0,
    classes=[
        StoredOfClass(
            content_class="photo",
            source_bytes=41_875_931_136,
            new_bytes=9_663_676_416,
            stored_bytes=9_610_199_040,
        )
    ],
    growth=[StorageDay(day=at(86_400 * 19).date(), uploaded_bytes=53_477_376, freed_bytes=61_403_136)],
    forecast=[StorageForecast(in_days=30, kept_bytes=11_206_594_560, monthly_cost=0.04, error=0.043, judged=61)],
    cost=_COST,
    unknown=["What locks keep is known since the first cleanup, which was not yet at: offsite."],
)

TIERS = StorageTiers(
    items=[
        StorageTier(
            location="offsite",
            tiers=[Tier.OFFSITE],
            kept_bytes=9_602_273_280,
            uploaded_bytes=9_663_676_416,
            freed_bytes=61_403_136,
            locked_bytes=61_403_136,
            locked_until=at(86_400 * 30),
            pinned_bytes=0,
            cleaned_at=at(86_400 * 19),
            uploaded_at=at(86_400 * 20),
            is_failing=False,
            failed_at=at(86_400 * 3),
            failure_code="tier-unreachable",
            error_rate=0.019,
            proven_at=at(86_400 * 20),
            bytes_per_second=52_428_800.0,
            capacity_bytes=None,
            free_bytes=None,
            latency_seconds=0.031,
            measured_at=at(86_400 * 20),
            monthly_cost=0.0346,
            restore_cost=0.8642,
            early_deletion_cost=0.2074,
        )
    ],
    cost=_COST,
    unknown=["How much room is left is told by no bucket: offsite."],
)

NEW_REPAIR = NewRepair(dry_run=True, read_percent=100, locations=("local",))

_PACK = "packs/1c/1c5f0a7e3d9b24c68e0f15a7b3d2c4e6f80912a4b6c8d0e2f4061728394a5b6c"

REPAIR = StorageRepair(
    id=REPAIR_ID,
    version=4,
    request_id=REQUEST_ID,
    initiated_by=ACTOR,
    dry_run=False,
    read_percent=100,
    locations=["local"],
    state=RepairState.COMPLETED,
    degraded=False,
    started_at=at(86_400 * 21),
    finished_at=at(86_400 * 21 + 96),
    attempts=1,
    places=[
        PlaceRepaired(
            location="local",
            packs=291,
            packs_read=291,
            damaged=1,
            needed_bytes=33_554_432,
            repaired=1,
            set_aside=1,
            found=(DamagedObject(problem="pack-damaged", object_key=_PACK, whole_at=("offsite",)),),
            done=(RepairedObject(object_key=_PACK, source="offsite"),),
        )
    ],
    seconds=95.2,
    error=None,
    waiting=None,
)

REPAIRS = ListPage[StorageRepair](items=[REPAIR])

NEW_OPTIMIZATION = NewOptimization(dry_run=True)

OPTIMIZATION = StorageOptimization(
    id=OPTIMIZATION_ID,
    version=3,
    request_id=REQUEST_ID,
    initiated_by=ACTOR,
    dry_run=False,
    state=OptimizationState.COMPLETED,
    degraded=False,
    started_at=at(86_400 * 22),
    finished_at=at(86_400 * 22 + 210),
    attempts=1,
    result=OptimizationResult(
        allowed_bytes=68_719_476_736,
        saved_bytes=968_884_224,
        places=[
            PlaceOptimized(
                location="local", kept_bytes=9_663_676_416, freed_bytes=1_073_741_824, stored_bytes=104_857_600
            )
        ],
        is_partial_measure=False,
        seconds=208.4,
    ),
    error=None,
    waiting=None,
)

OPTIMIZATIONS = ListPage[StorageOptimization](items=[OPTIMIZATION])
