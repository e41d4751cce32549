"""Where all but runs is put together (cleanups, holds, repairs, erasures …): what decides, and a worker's loops."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from chassis.bus.connection import Connection
from chassis.claims.aside import SetAside
from chassis.claims.loop import ClaimLoop
from chassis.claims.port import Performer, ProgressFeed
from chassis.claims.record import RecordedWork
from chassis.claims.table import BEAT_SECONDS, ClaimTable
from chassis.claims.unclaimed import UnclaimedWork
from chassis.claims.unclaimed_teller import UnclaimedTeller
from chassis.claims.work import Work
from chassis.clock import SystemClock
from chassis.handling import UseCase
from chassis.life.health import Health
from chassis.life.runtime import Part
from chassis.life.standstills import Standstills
from chassis.postgres.pool import Pool
from chassis.record.eventstore import EventStore
from chassis.record.unanswered import RefusedAs
from chassis.telemetry.instruments import Telemetry
from contracts.approval_events import ApprovalDenialRefused, ApprovalGrantRefused
from contracts.cleanup_events import RetentionCleanupRefused
from contracts.config_events import RetentionPolicyFact
from contracts.erasure_events import ErasureRefused
from contracts.event import Event, pinned_kinds
from contracts.gateway_events import (
    ApprovalDenialRequested,
    ApprovalGrantRequested,
    HoldPlacementRequested,
    HoldReleaseRequested,
    RetentionCleanupRequested,
)
from contracts.hold_events import HoldPlacementRefused, HoldReleaseRefused
from contracts.optimization_events import StorageOptimizationRefused
from contracts.recovery_events import RecoveryAccepted, RecoveryCancelled, RecoveryCompleted, RecoveryFailed
from contracts.repair_events import StorageRepairRefused
from contracts.storage_requests import ErasureRequested, StorageOptimizationRequested, StorageRepairRequested
from contracts.streams import STOP_WORKERS, WAKE_CLEANUPS, WAKE_ERASURES, WAKE_OPTIMIZATIONS, WAKE_REPAIRS
from services.executor.adapters.cleanup_plane import RepositoryCleanups
from services.executor.adapters.cleanups import CLEANUPS, RecordedCleanups
from services.executor.adapters.erasing.plane import RepositoryErasures
from services.executor.adapters.erasing.record import ERASURES, ErasureFigures, RecordedErasures
from services.executor.adapters.holds import RecordedApprovals, RecordedHolds
from services.executor.adapters.optimization_plane import RepositoryOptimizations
from services.executor.adapters.optimizations import OPTIMIZATIONS, RecordedOptimizations, SpentBytes
from services.executor.adapters.overdue import OverdueFigures
from services.executor.adapters.points import KnownToTheRecord
from services.executor.adapters.repair_plane import RepositoryRepairs
from services.executor.adapters.repairs import REPAIRS, NotedLocations, RecordedRepairs
from services.executor.erasing.decisions import ErasureDecisions
from services.executor.erasing.domain import SubjectErasure
from services.executor.erasing.performance import ErasurePerformance
from services.executor.erasing.ports import Erasures
from services.executor.failures import told_code
from services.executor.holding.approval import Approval
from services.executor.holding.approvals import ApprovalDecisions
from services.executor.holding.decisions import HoldDecisions
from services.executor.holding.domain import Hold
from services.executor.holding.ports import Approvals, Holds
from services.executor.repairing.decisions import RepairDecisions
from services.executor.repairing.domain import StorageRepair
from services.executor.repairing.optimization import StorageOptimization
from services.executor.repairing.optimizing import OptimizationDecisions, OptimizationPerformance, Optimizations
from services.executor.repairing.performance import RepairPerformance
from services.executor.repairing.ports import KeptAt, Repairs
from services.executor.retention.decisions import CleanupDecisions
from services.executor.retention.domain import RetentionCleanup
from services.executor.retention.performance import CleanupPerformance
from services.executor.retention.ports import Cleanups, Knowing

OVER = (RecoveryCompleted, RecoveryFailed, RecoveryCancelled)
"""After which nothing of a recovery reads its point any more."""

REFUSED: dict[type[Event], RefusedAs] = {
    RetentionCleanupRequested: RefusedAs(RetentionCleanupRefused, "cleanup_id", kind=RetentionCleanup),
    StorageRepairRequested: RefusedAs(StorageRepairRefused, "repair_id", kind=StorageRepair),
    StorageOptimizationRequested: RefusedAs(StorageOptimizationRefused, "optimization_id", kind=StorageOptimization),
    ErasureRequested: RefusedAs(ErasureRefused, "erasure_id", kind=SubjectErasure),
    HoldPlacementRequested: RefusedAs(HoldPlacementRefused, "hold_id", kind=Hold),
    HoldReleaseRequested: RefusedAs(HoldReleaseRefused, kind=Hold),
    ApprovalGrantRequested: RefusedAs(ApprovalGrantRefused, kind=Approval),
    ApprovalDenialRequested: RefusedAs(ApprovalDenialRefused, kind=Approval),
}
"""What each of these is refused with where its message is given up."""


class Records(NamedTuple):
    """What is kept of all of these, as those who decide need it."""

    cleanups: Cleanups
    knowing: Knowing
    holds: Holds
    approvals: Approvals
    repairs: Repairs
    optimizations: Optimizations
    kept_at: KeptAt
    erasures: Erasures


def records(store: EventStore, pool: Pool) -> Records:
    """The executor's own."""
    return Records(
        RecordedCleanups(store),
        KnownToTheRecord(pool, store),
        RecordedHolds(store, pool),
        RecordedApprovals(store),
        RecordedRepairs(store),
        RecordedOptimizations(store),
        NotedLocations(pool),
        RecordedErasures(store, pool),
    )


def add_figures(telemetry: Telemetry, pool: Pool) -> None:
    """What is read of all of this at a scrape."""
    telemetry.figures.add("erasures", ErasureFigures(pool).read)
    telemetry.figures.add("overdue-points", OverdueFigures(pool).read)


def cases(kept: Records) -> dict[type[Event], UseCase]:
    """What deals with the events that cleanups, holds against them, repairs and optimisations are about."""
    cleaning, clock = CleanupDecisions(kept.cleanups, kept.knowing), SystemClock()
    holding = HoldDecisions(kept.holds, kept.approvals, clock)
    approving = ApprovalDecisions(kept.approvals, kept.holds, clock)
    return {
        RetentionCleanupRequested: cleaning.decide,
        StorageRepairRequested: RepairDecisions(kept.repairs, kept.kept_at).decide,
        StorageOptimizationRequested: OptimizationDecisions(kept.optimizations, kept.kept_at).decide,
        ErasureRequested: ErasureDecisions(kept.erasures).decide,
        HoldPlacementRequested: holding.place,
        HoldReleaseRequested: holding.await_release,
        ApprovalGrantRequested: approving.grant,
        ApprovalDenialRequested: approving.deny,
        **dict.fromkeys(pinned_kinds(RetentionPolicyFact), cleaning.remember_policy),
        RecoveryAccepted: cleaning.remember_reader,
        **dict.fromkeys(OVER, cleaning.remember_reader),
    }


def unclaimed_work(store: EventStore, pool: Pool, *, bound_seconds: float, telemetry: Telemetry) -> list[Part]:
    """What tells of cleanups, repairs, optimisations and erasures that no worker can take."""
    every: tuple[tuple[Work, RecordedWork[Any]], ...] = (
        (CLEANUPS, RecordedCleanups(store)),
        (REPAIRS, RecordedRepairs(store)),
        (OPTIMIZATIONS, RecordedOptimizations(store)),
        (ERASURES, RecordedErasures(store, pool)),
    )
    return [
        UnclaimedWork(
            work,
            pool,
            UnclaimedTeller(record, told_code, actor="service:executor"),
            bound_seconds=bound_seconds,
            name=f"unclaimed-{work.noun}s",
            telemetry=telemetry,
        )
        for work, record in every
    ]


def worker_loops(
    *,
    worker: str,
    store: EventStore,
    pool: Pool,
    beats: Pool,
    connection: Connection,
    cleanups: RepositoryCleanups,
    repairs: RepositoryRepairs,
    optimizations: RepositoryOptimizations,
    erasures: RepositoryErasures,
    progress: ProgressFeed,
    health: Health,
    telemetry: Telemetry,
    leave_seconds: float,
    require_means: Callable[[], Awaitable[None]],
) -> list[Part]:
    """A worker's loops of cleanups, repairs, optimisations and erasures: one of each at a time."""

    def loop(work: Work, claims: ClaimTable, performer: Performer, wake: str) -> ClaimLoop:
        return ClaimLoop(
            noun=work.noun,
            claims=claims,
            performer=performer,
            connection=connection,
            wake=wake,
            stop=STOP_WORKERS,  # None of these is cancelled, and no run has the id of one.
            worker=worker,
            slots=1,
            beat_seconds=BEAT_SECONDS,
            set_aside=SetAside(health, noun=work.noun),
            name=f"{work.noun}-loop",
            require_means=require_means,
            telemetry=telemetry,
        )

    cleanup_claims, repair_claims = ClaimTable(CLEANUPS, pool, beats), ClaimTable(REPAIRS, pool, beats)
    optimization_claims, erasure_claims = ClaimTable(OPTIMIZATIONS, pool, beats), ClaimTable(ERASURES, pool, beats)
    cleaning = CleanupPerformance(
        cleanups=RecordedCleanups(store),
        knowing=KnownToTheRecord(pool, store),
        claims=cleanup_claims,
        plane=cleanups,
        progress=progress,
        standstills=Standstills(health, noun=CLEANUPS.noun),
        clock=SystemClock(),
        leave_seconds=leave_seconds,
    )
    repairing = RepairPerformance(
        repairs=RecordedRepairs(store),
        claims=repair_claims,
        plane=repairs,
        progress=progress,
        standstills=Standstills(health, noun=REPAIRS.noun),
        leave_seconds=leave_seconds,
    )
    optimizing = OptimizationPerformance(
        optimizations=RecordedOptimizations(store),
        spending=SpentBytes(pool),
        claims=optimization_claims,
        plane=optimizations,
        progress=progress,
        standstills=Standstills(health, noun=OPTIMIZATIONS.noun),
        leave_seconds=leave_seconds,
    )
    erasing = ErasurePerformance(
        erasures=RecordedErasures(store, pool),
        claims=erasure_claims,
        plane=erasures,
        progress=progress,
        standstills=Standstills(health, noun=ERASURES.noun),
        leave_seconds=leave_seconds,
    )
    return [
        loop(CLEANUPS, cleanup_claims, cleaning, WAKE_CLEANUPS),
        loop(REPAIRS, repair_claims, repairing, WAKE_REPAIRS),
        loop(OPTIMIZATIONS, optimization_claims, optimizing, WAKE_OPTIMIZATIONS),
        loop(ERASURES, erasure_claims, erasing, WAKE_ERASURES),
    ]
