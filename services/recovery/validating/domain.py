"""The aggregate of a validation.

States: `initializing` → `preparing` → `validating` → `completed` or `failed`; or `refused` at once; or, whatever it was
at, `cancelled`. A takeover leads back to `preparing`, under a higher fence, and begins to read anew.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from chassis.claims.port import ClaimLost
from chassis.domain import Aggregate
from chassis.fitting import fitting
from contracts import errors
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.storage_requests import RecoveryValidationCancellationRequested, RecoveryValidationRequested
from contracts.validation_events import (
    VALIDATION_ENDED,
    VALIDATION_STATE_AFTER,
    RecoveryPointCorrupted,
    RecoveryPointVerified,
    RecoveryValidationAccepted,
    RecoveryValidationCancelled,
    RecoveryValidationFailed,
    RecoveryValidationPreparing,
    RecoveryValidationRefused,
    RecoveryValidationRequeued,
    RecoveryValidationStarted,
    TierWholeness,
    ValidationDepth,
    ValidationState,
)
from services.recovery.kept import KeptPoint
from services.recovery.validating.found import Affected, Found

REFUSED = "refused"
NAMED_MAX = 400
"""So many damaged objects an end names, and so many affected points, or as many as fit into it; all are counted."""
_LESS = frozenset({TierWholeness.LACKING, TierWholeness.NOT_LOOKED_AT})


class RecoveryValidation(Aggregate):
    """One validation of the tiers of a recovery point."""

    KIND: ClassVar[str] = "recovery.recovery-validation"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.state: ValidationState | str | None = None
        self.recovery_point_id = ""
        self.configuration_id = ""
        self.snapshot_id = ""
        self.depth = ValidationDepth.STRUCTURE
        self.fence = 0

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in (*VALIDATION_ENDED, REFUSED)

    def accept(self, request: RecoveryValidationRequested, point: KeptPoint) -> None:
        """Take it on; a worker will claim it."""
        self.record(
            RecoveryValidationAccepted(
                request_id=request.request_id,
                validation_id=self.id,
                recovery_point_id=point.recovery_point_id,
                configuration_id=point.configuration_id,
                snapshot_id=point.snapshot_id,
                depth=request.depth,
                tiers=request.tiers,
            )
        )

    def prepare(self, *, fence: int, worker: str) -> None:
        """A worker has claimed it. A fence that is not higher than the last is a zombie's."""
        self._refuse_when_finished()
        if fence <= self.fence:
            raise ClaimLost(self.id, fence=fence, current=self.fence)
        self.record(RecoveryValidationPreparing(validation_id=self.id, fence=fence, worker=worker))

    def requeue(
        self, *, fence: int, code: str | None = None, hint: str = "", next_attempt_at: datetime | None = None
    ) -> None:
        """It waits for another worker, or for what kept this one from going on."""
        self._refuse_when_not_mine(fence)
        self.record(
            RecoveryValidationRequeued(
                validation_id=self.id, fence=fence, code=code, hint=hint, next_attempt_at=next_attempt_at
            )
        )

    def start(self, *, fence: int) -> None:
        """The tiers are open; reading begins."""
        self._refuse_when_not_mine(fence)
        self.record(RecoveryValidationStarted(validation_id=self.id, fence=fence))

    def complete(self, found: Found, affected: Affected, *, fence: int, seconds: float) -> None:
        """The tiers were read as deep as was asked for, each that answered."""
        self._refuse_when_not_mine(fence)
        degraded = any(tier.verdict in _LESS for tier in found.tiers)
        if not found.objects and not any(tier.verdict is TierWholeness.DAMAGED for tier in found.tiers):
            self.record(
                RecoveryPointVerified(
                    validation_id=self.id,
                    recovery_point_id=self.recovery_point_id,
                    configuration_id=self.configuration_id,
                    snapshot_id=self.snapshot_id,
                    depth=self.depth,
                    tiers=tuple(found.tiers),
                    degraded=degraded,
                    seconds=seconds,
                )
            )
            return

        def corrupted(most: int) -> RecoveryPointCorrupted:
            return RecoveryPointCorrupted(
                validation_id=self.id,
                recovery_point_id=self.recovery_point_id,
                configuration_id=self.configuration_id,
                snapshot_id=self.snapshot_id,
                depth=self.depth,
                tiers=tuple(found.tiers),
                degraded=degraded,
                seconds=seconds,
                damages=len(found.objects),
                objects=tuple(found.objects[:most]),
                affected_points=len(affected.points),
                affected=tuple(affected.points[:most]),
                unnamed_snapshots=affected.unnamed,
            )

        self.record(fitting(corrupted, NAMED_MAX))

    def fail(self, *, fence: int, code: str, hint: str) -> None:
        """Nothing was found out."""
        self._refuse_when_not_mine(fence)
        self.record(RecoveryValidationFailed(validation_id=self.id, code=code, hint=hint))

    def cancel(self, request: RecoveryValidationCancellationRequested) -> None:
        """Whoever performs it is to stop."""
        self._refuse_when_finished()
        self.record(RecoveryValidationCancelled(validation_id=self.id, request_id=request.request_id))

    def apply(self, event: Event) -> None:
        """Record what an event says; runs again on every replay, so it never refuses."""
        self.state = VALIDATION_STATE_AFTER.get(type(event), self.state)
        match event:
            case RecoveryValidationAccepted():
                self.recovery_point_id = event.recovery_point_id
                self.configuration_id = event.configuration_id
                self.snapshot_id = event.snapshot_id
                self.depth = event.depth
            case RecoveryValidationRefused():
                self.state = REFUSED
            case RecoveryValidationPreparing(fence=fence):
                self.fence = fence

    def _refuse_when_finished(self) -> None:
        if self.is_finished:
            code = errors.VALIDATION_FINISHED
            hint = f"{code.hint} This one is {self.state}."
            raise PlatformError(code, "the validation has ended already", hint=hint, validation_id=self.id)

    def _refuse_when_not_mine(self, fence: int) -> None:
        self._refuse_when_finished()
        if fence != self.fence:
            raise ClaimLost(self.id, fence=fence, current=self.fence)


def affected_of(harmed: Sequence[tuple[str, tuple[str, ...]]], points: dict[str, str]) -> Affected:
    """Which points these snapshots are, which some tiers cannot give back whole. `points`: ids, by their snapshots."""
    named = [(points[snapshot], tiers) for snapshot, tiers in harmed if snapshot in points]
    return Affected.of(sorted(named), unnamed=len(harmed) - len(named))
