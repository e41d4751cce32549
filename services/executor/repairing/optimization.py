"""The aggregate of an optimisation.

States: `initializing` → `preparing` → `completed` or `failed`; or `refused` at once. A takeover leads back to
`preparing`, under a higher fence.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from chassis.claims.port import ClaimLost
from chassis.domain import Aggregate
from contracts import errors
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.optimization_events import (
    OPTIMIZATION_ENDED,
    OPTIMIZATION_STATE_AFTER,
    OptimizationState,
    PlaceOptimized,
    StorageOptimizationAccepted,
    StorageOptimizationFailed,
    StorageOptimizationPreparing,
    StorageOptimizationRefused,
    StorageOptimizationRequeued,
    StorageOptimized,
)
from contracts.storage_requests import StorageOptimizationRequested

REFUSED = "refused"


class StorageOptimization(Aggregate):
    """One optimisation of an organisation's tiers."""

    KIND: ClassVar[str] = "executor.storage-optimization"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.state: OptimizationState | str | None = None
        self.dry_run = False
        self.fence = 0
        self.attempts = 0

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in (*OPTIMIZATION_ENDED, REFUSED)

    def accept(self, request: StorageOptimizationRequested) -> None:
        """Take it on; a worker will claim it."""
        self.record(
            StorageOptimizationAccepted(request_id=request.request_id, optimization_id=self.id, dry_run=request.dry_run)
        )

    def prepare(self, *, fence: int, worker: str) -> None:
        """A worker has claimed it. A fence that is not higher than the last is a zombie's."""
        self._refuse_when_finished()
        if fence <= self.fence:
            raise ClaimLost(self.id, fence=fence, current=self.fence)
        self.record(StorageOptimizationPreparing(optimization_id=self.id, fence=fence, worker=worker))

    def requeue(
        self, *, fence: int, code: str | None = None, hint: str = "", next_attempt_at: datetime | None = None
    ) -> None:
        """It waits for another worker, or for what kept this one from going on."""
        self._refuse_when_not_mine(fence)
        self.record(
            StorageOptimizationRequeued(
                optimization_id=self.id, fence=fence, code=code, hint=hint, next_attempt_at=next_attempt_at
            )
        )

    def complete(self, places: Sequence[PlaceOptimized], allowed_bytes: int, *, fence: int, seconds: float) -> None:
        """All is done that could be, or told with `dry_run`."""
        self._refuse_when_not_mine(fence)
        self.record(
            StorageOptimized(
                optimization_id=self.id,
                dry_run=self.dry_run,
                degraded=any(place.code is not None for place in places),
                allowed_bytes=allowed_bytes,
                optimized_places=tuple(places),
                is_partial_measure=not self.dry_run and self.attempts > 1,
                seconds=seconds,
            )
        )

    def fail(self, *, fence: int, code: str, hint: str) -> None:
        """It has ended before its time."""
        self._refuse_when_not_mine(fence)
        self.record(StorageOptimizationFailed(optimization_id=self.id, code=code, hint=hint))

    def apply(self, event: Event) -> None:
        """Record what an event says; runs again on every replay, so it never refuses."""
        self.state = OPTIMIZATION_STATE_AFTER.get(type(event), self.state)
        match event:
            case StorageOptimizationAccepted():
                self.dry_run = event.dry_run
            case StorageOptimizationRefused():
                self.state = REFUSED
            case StorageOptimizationPreparing(fence=fence):
                self.fence = fence
                self.attempts += 1

    def _refuse_when_finished(self) -> None:
        if self.is_finished:
            raise PlatformError(errors.CONCURRENT_CHANGE, "the optimisation has ended already", optimization_id=self.id)

    def _refuse_when_not_mine(self, fence: int) -> None:
        self._refuse_when_finished()
        if fence != self.fence:
            raise ClaimLost(self.id, fence=fence, current=self.fence)
