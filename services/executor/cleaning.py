"""Where cleanups, holds and approvals are put together: what decides about them, and a worker's loop of cleanups."""

from collections.abc import Awaitable, Callable

from chassis.bus.connection import Connection
from chassis.claims.aside import SetAside
from chassis.claims.loop import ClaimLoop
from chassis.claims.port import ProgressFeed
from chassis.claims.table import BEAT_SECONDS, ClaimTable
from chassis.claims.unclaimed import UnclaimedWork
from chassis.claims.unclaimed_teller import UnclaimedTeller
from chassis.clock import SystemClock
from chassis.handling import UseCase
from chassis.life.health import Health
from chassis.life.standstills import Standstills
from chassis.postgres.pool import Pool
from chassis.record.eventstore import EventStore
from chassis.record.unanswered import RefusedAs
from chassis.telemetry.instruments import Telemetry
from contracts.approval_events import ApprovalDenialRefused, ApprovalGrantRefused
from contracts.cleanup_events import RetentionCleanupRefused
from contracts.config_events import RetentionPolicyFact
from contracts.event import Event, pinned_kinds
from contracts.gateway_events import (
    ApprovalDenialRequested,
    ApprovalGrantRequested,
    HoldPlacementRequested,
    HoldReleaseRequested,
    RetentionCleanupRequested,
)
from contracts.hold_events import HoldPlacementRefused, HoldReleaseRefused
from contracts.recovery_events import RecoveryAccepted, RecoveryCancelled, RecoveryCompleted, RecoveryFailed
from contracts.streams import STOP_WORKERS, WAKE_CLEANUPS
from services.executor.adapters.cleanup_plane import RepositoryCleanups
from services.executor.adapters.cleanups import CLEANUPS, RecordedCleanups
from services.executor.adapters.points import KnownToTheRecord
from services.executor.failures import told_code
from services.executor.holding.approval import Approval
from services.executor.holding.approvals import ApprovalDecisions
from services.executor.holding.decisions import HoldDecisions
from services.executor.holding.domain import Hold
from services.executor.holding.ports import Approvals, Holds
from services.executor.retention.decisions import CleanupDecisions
from services.executor.retention.domain import RetentionCleanup
from services.executor.retention.performance import CleanupPerformance
from services.executor.retention.ports import Cleanups, Knowing

OVER = (RecoveryCompleted, RecoveryFailed, RecoveryCancelled)
"""After which nothing of a recovery reads its point any more."""

REFUSED: dict[type[Event], RefusedAs] = {
    RetentionCleanupRequested: RefusedAs(RetentionCleanupRefused, "cleanup_id", kind=RetentionCleanup),
    HoldPlacementRequested: RefusedAs(HoldPlacementRefused, "hold_id", kind=Hold),
    HoldReleaseRequested: RefusedAs(HoldReleaseRefused, kind=Hold),
    ApprovalGrantRequested: RefusedAs(ApprovalGrantRefused, kind=Approval),
    ApprovalDenialRequested: RefusedAs(ApprovalDenialRefused, kind=Approval),
}
"""What each of these is refused with where its message is given up."""


def cleanup_cases(
    cleanups: Cleanups, knowing: Knowing, holds: Holds, approvals: Approvals
) -> dict[type[Event], UseCase]:
    """What deals with the events that cleanups, and holds against them, are about."""
    cleaning, clock = CleanupDecisions(cleanups, knowing), SystemClock()
    holding, approving = HoldDecisions(holds, approvals, clock), ApprovalDecisions(approvals, holds, clock)
    return {
        RetentionCleanupRequested: cleaning.decide,
        HoldPlacementRequested: holding.place,
        HoldReleaseRequested: holding.await_release,
        ApprovalGrantRequested: approving.grant,
        ApprovalDenialRequested: approving.deny,
        **dict.fromkeys(pinned_kinds(RetentionPolicyFact), cleaning.remember_policy),
        RecoveryAccepted: cleaning.remember_reader,
        **dict.fromkeys(OVER, cleaning.remember_reader),
    }


def unclaimed_cleanups(store: EventStore, pool: Pool, *, bound_seconds: float, telemetry: Telemetry) -> UnclaimedWork:
    """What tells of cleanups that no worker can take."""
    return UnclaimedWork(
        CLEANUPS,
        pool,
        UnclaimedTeller(RecordedCleanups(store), told_code, actor="service:executor"),
        bound_seconds=bound_seconds,
        name="unclaimed-cleanups",
        telemetry=telemetry,
    )


def cleanup_loop(
    *,
    worker: str,
    store: EventStore,
    pool: Pool,
    beats: Pool,
    connection: Connection,
    plane: RepositoryCleanups,
    progress: ProgressFeed,
    health: Health,
    telemetry: Telemetry,
    leave_seconds: float,
    require_means: Callable[[], Awaitable[None]],
) -> ClaimLoop:
    """A worker's loop of cleanups: one at a time."""
    claims = ClaimTable(CLEANUPS, pool, beats)
    performance = CleanupPerformance(
        cleanups=RecordedCleanups(store),
        knowing=KnownToTheRecord(pool, store),
        claims=claims,
        plane=plane,
        progress=progress,
        standstills=Standstills(health, noun=CLEANUPS.noun),
        clock=SystemClock(),
        leave_seconds=leave_seconds,
    )
    return ClaimLoop(
        noun=CLEANUPS.noun,
        claims=claims,
        performer=performance,
        connection=connection,
        wake=WAKE_CLEANUPS,
        stop=STOP_WORKERS,  # No cleanup is cancelled, and no run has the id of one.
        worker=worker,
        slots=1,
        beat_seconds=BEAT_SECONDS,
        set_aside=SetAside(health, noun=CLEANUPS.noun),
        name="cleanup-loop",
        require_means=require_means,
        telemetry=telemetry,
    )
