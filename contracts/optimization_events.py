"""What the executor announces about optimisations of an organisation's tiers. Owner: executor.

States: `initializing` (accepted) → `preparing` → `completed` (perhaps degraded) or `failed`. `OPTIMIZATION_STATE_AFTER`
says which fact leads to which.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from msgspec import Meta

from contracts.event import Event, Value, pinned
from contracts.reading import Growing
from contracts.refusal import Refusal


class OptimizationState(Growing):
    """Where an optimisation is."""

    INITIALIZING = "initializing"
    PREPARING = "preparing"
    COMPLETED = "completed"
    FAILED = "failed"


OPTIMIZATION_ENDED = (OptimizationState.COMPLETED, OptimizationState.FAILED)


class PlaceOptimized(Value, frozen=True, kw_only=True):
    """What an optimisation did at a location, or with `dry_run` would. `code`: why not all was.

    Bytes are those of packs as they are stored. `owed_packs`, `owed_points`: what the location lacks of what others
    have; `copied_bytes`: what was brought there for that. `freed_bytes`: of packs that went, since nothing needs them
    or most of them was waste; `stored_bytes`: of what was stored again for the latter; planned they are about that.
    What was saved is the first less the second. `locked_bytes`: of what would go, and what locks keep until
    `locked_until`; `pinned_bytes`: what somebody reads. `unclaimed_bytes`: in packs that nothing is known to need, and
    that a writer may count on: they stay. `kept_bytes`: of all packs, before.
    """

    location: str
    code: str | None = None
    hint: str = ""
    kept_bytes: Annotated[int, Meta(ge=0)] = 0
    owed_packs: Annotated[int, Meta(ge=0)] = 0
    owed_points: Annotated[int, Meta(ge=0)] = 0
    copied_bytes: Annotated[int, Meta(ge=0)] = 0
    freed_bytes: Annotated[int, Meta(ge=0)] = 0
    stored_bytes: Annotated[int, Meta(ge=0)] = 0
    locked_bytes: Annotated[int, Meta(ge=0)] = 0
    locked_until: datetime | None = None
    pinned_bytes: Annotated[int, Meta(ge=0)] = 0
    unclaimed_bytes: Annotated[int, Meta(ge=0)] = 0


class OptimizationFact(Event, frozen=True, kw_only=True):
    """The base of what is said of an optimisation that was taken on."""

    optimization_id: str


@pinned("executor.storage-optimization-accepted.v1")
class StorageOptimizationAccepted(OptimizationFact, frozen=True, kw_only=True):
    """An optimisation is in the record and waits for a worker. `dry_run`: it tells what it would do alone."""

    request_id: str
    dry_run: bool


@pinned("executor.storage-optimization-refused.v1")
class StorageOptimizationRefused(Refusal, frozen=True, kw_only=True):
    """A requested optimisation was refused."""

    optimization_id: str


@pinned("executor.storage-optimization-preparing.v1")
class StorageOptimizationPreparing(OptimizationFact, frozen=True, kw_only=True):
    """A worker has claimed the optimisation. `fence` grows with each claim."""

    fence: Annotated[int, Meta(ge=1)]
    worker: str


@pinned("executor.storage-optimization-requeued.v1")
class StorageOptimizationRequeued(OptimizationFact, frozen=True, kw_only=True):
    """It waits for another worker, or for what keeps workers from it; as `BackupRequeued`."""

    fence: int
    code: str | None = None
    hint: str = ""
    next_attempt_at: datetime | None = None


@pinned("executor.storage-optimized.v1")
class StorageOptimized(OptimizationFact, frozen=True, kw_only=True):
    """An optimisation has ended. With `dry_run` nothing was changed, and `optimized_places` say what would be.

    `allowed_bytes`: so much could be stored again, by what was left of the organisation's day. `degraded`: some
    location was left out, or not all was done there. `is_partial_measure`: a worker died over it, which may have freed
    more.
    """

    dry_run: bool
    degraded: bool
    allowed_bytes: Annotated[int, Meta(ge=0)] = 0
    optimized_places: tuple[PlaceOptimized, ...] = ()
    is_partial_measure: bool = False
    seconds: float = 0.0


@pinned("executor.storage-optimization-failed.v1")
class StorageOptimizationFailed(OptimizationFact, frozen=True, kw_only=True):
    """An optimisation has ended before its time; the next one goes on."""

    code: str
    hint: str = ""


OPTIMIZATION_STATE_AFTER: Mapping[type[Event], OptimizationState] = {
    StorageOptimizationAccepted: OptimizationState.INITIALIZING,
    StorageOptimizationPreparing: OptimizationState.PREPARING,
    StorageOptimizationRequeued: OptimizationState.INITIALIZING,
    StorageOptimized: OptimizationState.COMPLETED,
    StorageOptimizationFailed: OptimizationState.FAILED,
}
"""Where each fact leaves an optimisation; other facts leave it where it is."""
