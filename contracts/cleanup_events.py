"""What the executor announces about cleanups: recovery points that go by their retention policies. Owner: executor.

States: `initializing` (accepted) → `preparing` → `cleaning` → `completed` (perhaps degraded) or `failed`. A point that
goes is told twice: as decided (`RecoveryPointsGoing`), before any tier forgets it, and as gone
(`RecoveryPointsForgotten`), when each tier that answers has. `CLEANUP_STATE_AFTER` says which fact leads to which.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from msgspec import Meta

from contracts.event import Event, Value, pinned
from contracts.reading import Growing
from contracts.refusal import Refusal


class CleanupState(Growing):
    """Where a cleanup is."""

    INITIALIZING = "initializing"
    PREPARING = "preparing"
    CLEANING = "cleaning"
    COMPLETED = "completed"
    FAILED = "failed"


class CleanupPurpose(Growing):
    """What a cleanup is for: to let points go, or to have each tier's own log and store hold what holds keep."""

    LET_GO = "let-go"
    HOLDS = "holds"


CLEANUP_ENDED = (CleanupState.COMPLETED, CleanupState.FAILED)


class GoingPoint(Value, frozen=True, kw_only=True):
    """A recovery point that goes. `rules`: by which it was allowed to (of the planner's, or `forgotten-elsewhere`)."""

    recovery_point_id: str
    configuration_id: str
    rules: tuple[str, ...]


class WaitingPoint(Value, frozen=True, kw_only=True):
    """A recovery point that would go if no lock kept it, until when it does."""

    recovery_point_id: str
    configuration_id: str
    until: datetime


class PlaceCleaned(Value, frozen=True, kw_only=True):
    """What a cleanup did at a location. `code`: why not all was done there; nothing then is told as freed that is not.

    `freed_bytes`: of packs that were deleted, as they were stored; `stored_bytes`: of what was stored again, so that
    packs of mostly waste could go. `locked_bytes`: of packs that nothing needs any more, and that locks keep until
    `locked_until` at the latest; `pinned_bytes`: that somebody reads: they go with a later cleanup.
    """

    location: str
    code: str | None = None
    hint: str = ""
    freed_bytes: Annotated[int, Meta(ge=0)] = 0
    stored_bytes: Annotated[int, Meta(ge=0)] = 0
    locked_bytes: Annotated[int, Meta(ge=0)] = 0
    locked_until: datetime | None = None
    pinned_bytes: Annotated[int, Meta(ge=0)] = 0


class PlaceHeld(Value, frozen=True, kw_only=True):
    """How a location follows the holds. `points`: how many recovery points its log holds for them.

    `on_objects`: whether its store holds the objects as well; None where it cannot. `code`: why not all is held there.
    """

    location: str
    points: Annotated[int, Meta(ge=0)] = 0
    on_objects: bool | None = None
    code: str | None = None
    hint: str = ""


class CleanupFact(Event, frozen=True, kw_only=True):
    """The base of what is said of a cleanup that was taken on."""

    cleanup_id: str


@pinned("executor.retention-cleanup-accepted.v1")
class RetentionCleanupAccepted(CleanupFact, frozen=True, kw_only=True):
    """A cleanup is in the record and waits for a worker. `configuration_ids`: of these alone; none: of all.

    `dry_run`: it tells what it would do, and does nothing. `purpose`: with `holds` it lets nothing go, and the executor
    asked for it by itself.
    """

    request_id: str
    dry_run: bool
    configuration_ids: tuple[str, ...] = ()
    purpose: CleanupPurpose = CleanupPurpose.LET_GO


@pinned("executor.retention-cleanup-refused.v1")
class RetentionCleanupRefused(Refusal, frozen=True, kw_only=True):
    """A requested cleanup was refused."""

    cleanup_id: str


@pinned("executor.retention-cleanup-preparing.v1")
class RetentionCleanupPreparing(CleanupFact, frozen=True, kw_only=True):
    """A worker has claimed the cleanup. `fence` grows with each claim."""

    fence: Annotated[int, Meta(ge=1)]
    worker: str


@pinned("executor.retention-cleanup-requeued.v1")
class RetentionCleanupRequeued(CleanupFact, frozen=True, kw_only=True):
    """It waits for another worker, or for what keeps workers from it; as `BackupRequeued`."""

    fence: int
    code: str | None = None
    hint: str = ""
    next_attempt_at: datetime | None = None


@pinned("executor.recovery-points-going.v1")
class RecoveryPointsGoing(CleanupFact, frozen=True, kw_only=True):
    """These points were decided to go; the tiers are told next. One that a hold comes for meanwhile stays."""

    points: tuple[GoingPoint, ...]


@pinned("executor.recovery-points-forgotten.v1", taken_by=("recovery--forget-points",))
class RecoveryPointsForgotten(CleanupFact, frozen=True, kw_only=True):
    """These points are gone: no tier that answers has them any more, and one that is away will be told by the others.

    `locations`: where they were forgotten by this.
    """

    points: tuple[GoingPoint, ...]
    locations: tuple[str, ...] = ()


@pinned("executor.retention-cleaned-up.v1")
class RetentionCleanedUp(CleanupFact, frozen=True, kw_only=True):
    """A cleanup has ended. With `dry_run` nothing was changed, `gone` is what would go, and `going` names it.

    `gone`, `kept`, `waiting`, `overdue`: how many points; `waits`, `going`: the first thousand of those that wait, and
    of those that would go. `unseen`: points that no tier that answers has: they were left alone. `degraded`: some place
    was left out, as `places` say. `is_partial_measure`: a worker died over it, which may have freed more. `held`: of
    one for the holds, how each location follows them.
    """

    dry_run: bool
    degraded: bool
    gone: int
    kept: int
    waiting: int
    overdue: int = 0
    unseen: int = 0
    waits: tuple[WaitingPoint, ...] = ()
    going: tuple[GoingPoint, ...] = ()
    places: tuple[PlaceCleaned, ...] = ()
    is_partial_measure: bool = False
    seconds: float = 0.0
    held: tuple[PlaceHeld, ...] = ()


@pinned("executor.retention-cleanup-failed.v1")
class RetentionCleanupFailed(CleanupFact, frozen=True, kw_only=True):
    """A cleanup has ended before its time. `gone`: so many points had gone by then; the next one goes on."""

    code: str
    hint: str = ""
    gone: int = 0


CLEANUP_STATE_AFTER: Mapping[type[Event], CleanupState] = {
    RetentionCleanupAccepted: CleanupState.INITIALIZING,
    RetentionCleanupPreparing: CleanupState.PREPARING,
    RetentionCleanupRequeued: CleanupState.INITIALIZING,
    RecoveryPointsGoing: CleanupState.CLEANING,
    RetentionCleanedUp: CleanupState.COMPLETED,
    RetentionCleanupFailed: CleanupState.FAILED,
}
"""Where each fact leaves a cleanup; other facts leave it where it is."""
