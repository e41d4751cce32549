"""The aggregate of the recovery service: one restore of a recovery point.

States: `initializing` → `preparing` → `recovering` → `completed` or `failed`; or `refused` at once; or, whatever it was
at, `cancelled`. A takeover leads back to `preparing`, under a higher fence; what is in the target by then is gone on
with.
"""

from datetime import datetime
from typing import ClassVar

from chassis.claims.port import ClaimLost
from chassis.domain import Aggregate
from contracts.dr_execution_events import DrRecoveryWithdrawn
from contracts.event import Event
from contracts.gateway_events import RecoveryCancellationRequested, RecoveryRequested
from contracts.recovery_events import (
    RECOVERY_ENDED,
    RECOVERY_STATE_AFTER,
    RecoveryAccepted,
    RecoveryCancelled,
    RecoveryCompleted,
    RecoveryFailed,
    RecoveryPreparing,
    RecoveryRefused,
    RecoveryRequeued,
    RecoveryStarted,
    RecoveryState,
    RecoveryTotals,
    RecoveryType,
    RecoveryVerified,
)
from services.recovery.errors import RecoveryFinished

REFUSED = "refused"
"""Where a recovery stands that was never taken on: nobody is told of it as one."""


class RecoveryOperation(Aggregate):
    """One restore of a recovery point."""

    KIND: ClassVar[str] = "recovery.recovery-operation"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.state: RecoveryState | str | None = None
        self.recovery_point_id = ""
        self.configuration_id = ""
        self.snapshot_id = ""
        self.fence = 0

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to this recovery."""
        return self.state in (*RECOVERY_ENDED, REFUSED)

    def accept(self, request: RecoveryRequested, *, configuration_id: str, snapshot_id: str) -> None:
        """Take the recovery on; a worker will claim it."""
        self.record(
            RecoveryAccepted(
                request_id=request.request_id,
                operation_id=self.id,
                recovery_point_id=request.recovery_point_id,
                configuration_id=configuration_id,
                snapshot_id=snapshot_id,
                recovery_type=RecoveryType.FULL if request.scope is None else RecoveryType.PARTIAL,
                target_location=request.target_location,
                target_path=request.target_path,
                conflict_policy=request.conflict_policy,
                scope=request.scope,
            )
        )

    def prepare(self, *, fence: int, worker: str) -> None:
        """A worker has claimed the recovery. A fence that is not higher than the last is a zombie's."""
        self._refuse_when_finished()
        if fence <= self.fence:
            raise ClaimLost(self.id, fence=fence, current=self.fence)
        self.record(RecoveryPreparing(operation_id=self.id, fence=fence, worker=worker))

    def requeue(
        self, *, fence: int, code: str | None = None, hint: str = "", next_attempt_at: datetime | None = None
    ) -> None:
        """It waits for another worker, or for what kept this one from going on."""
        self._refuse_when_not_mine(fence)
        self.record(
            RecoveryRequeued(operation_id=self.id, fence=fence, code=code, hint=hint, next_attempt_at=next_attempt_at)
        )

    def start(self, *, fence: int) -> None:
        """Target, keys and tiers are usable; writing begins."""
        self._refuse_when_not_mine(fence)
        self.record(RecoveryStarted(operation_id=self.id, fence=fence))

    def complete(
        self, *, fence: int, totals: RecoveryTotals, missing_in_point: int, code: str | None, seconds: float
    ) -> None:
        """All that was asked for is there and was read back. `code`: what is less than it was, apart from its bytes."""
        self._refuse_when_not_mine(fence)
        self.record(
            RecoveryVerified(
                operation_id=self.id,
                recovery_point_id=self.recovery_point_id,
                snapshot_id=self.snapshot_id,
                files=totals.files,
                bytes=totals.bytes,
            )
        )
        self.record(
            RecoveryCompleted(
                operation_id=self.id,
                recovery_point_id=self.recovery_point_id,
                configuration_id=self.configuration_id,
                totals=totals,
                degraded=code is not None,
                missing_in_point=missing_in_point,
                seconds=seconds,
                code=code,
            )
        )

    def fail(self, *, fence: int, code: str, hint: str, totals: RecoveryTotals | None = None) -> None:
        """It has ended without all that was asked for."""
        self._refuse_when_not_mine(fence)
        self.record(
            RecoveryFailed(
                operation_id=self.id,
                recovery_point_id=self.recovery_point_id,
                configuration_id=self.configuration_id,
                code=code,
                hint=hint,
                totals=totals,
            )
        )

    def cancel(self, request: RecoveryCancellationRequested | DrRecoveryWithdrawn) -> None:
        """Whoever performs it is to stop; what is in the target stays, marked as unfinished."""
        self._refuse_when_finished()
        self.record(
            RecoveryCancelled(
                request_id=request.request_id, operation_id=self.id, configuration_id=self.configuration_id
            )
        )

    def apply(self, event: Event) -> None:
        """Record what an event says; runs again on every replay, so it never refuses."""
        self.state = RECOVERY_STATE_AFTER.get(type(event), self.state)
        match event:
            case RecoveryAccepted():
                self.recovery_point_id = event.recovery_point_id
                self.configuration_id = event.configuration_id
                self.snapshot_id = event.snapshot_id
            case RecoveryRefused():
                self.state = REFUSED
            case RecoveryPreparing(fence=fence):
                self.fence = fence

    def _refuse_when_finished(self) -> None:
        if self.is_finished:
            raise RecoveryFinished(self.id, str(self.state))

    def _refuse_when_not_mine(self, fence: int) -> None:
        self._refuse_when_finished()
        if fence != self.fence:
            raise ClaimLost(self.id, fence=fence, current=self.fence)
