"""The aggregate of a cleanup.

States: `initializing` → `preparing` → `cleaning` → `completed` or `failed`; or `refused` at once. A takeover leads back
to `preparing`, under a higher fence; what was decided and is forgotten by then is told as gone, with why.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from chassis.claims.port import ClaimLost
from chassis.domain import Aggregate
from contracts import errors
from contracts.cleanup_events import (
    CLEANUP_ENDED,
    CLEANUP_STATE_AFTER,
    CleanupPurpose,
    CleanupState,
    GoingPoint,
    PlaceCleaned,
    PlaceHeld,
    RecoveryPointsForgotten,
    RecoveryPointsGoing,
    RetentionCleanedUp,
    RetentionCleanupAccepted,
    RetentionCleanupFailed,
    RetentionCleanupPreparing,
    RetentionCleanupRefused,
    RetentionCleanupRequeued,
)
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.gateway_events import RetentionCleanupRequested
from services.executor.retention.plans import Assessment

REFUSED = "refused"
NAMED_MAX = 1000
"""So many points an end names of those that wait, and of those that would go."""


class RetentionCleanup(Aggregate):
    """One cleanup of an organisation's recovery points."""

    KIND: ClassVar[str] = "executor.retention-cleanup"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.state: CleanupState | str | None = None
        self.dry_run = False
        self.purpose = CleanupPurpose.LET_GO
        self.is_whole = False
        self.configuration_ids: tuple[str, ...] = ()
        self.fence = 0
        self.attempts = 0
        self.decided: dict[str, GoingPoint] = {}
        self.gone: set[str] = set()

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in (*CLEANUP_ENDED, REFUSED)

    def accept(self, request: RetentionCleanupRequested) -> None:
        """Take it on; a worker will claim it."""
        self.record(
            RetentionCleanupAccepted(
                request_id=request.request_id,
                cleanup_id=self.id,
                dry_run=request.dry_run,
                configuration_ids=request.configuration_ids,
            )
        )

    def accept_holds(self) -> None:
        """Take on that the tiers follow the holds, which nobody has asked for by itself.

        A worker of a build that knows no purposes only looks by it: it lets nothing go.
        """
        self.record(
            RetentionCleanupAccepted(request_id=self.id, cleanup_id=self.id, dry_run=True, purpose=CleanupPurpose.HOLDS)
        )

    def accept_scheduled(self, configuration_ids: Sequence[str]) -> None:
        """Take on what the policies of these configurations ask for by themselves."""
        self.record(
            RetentionCleanupAccepted(
                request_id=self.id, cleanup_id=self.id, dry_run=False, configuration_ids=tuple(configuration_ids)
            )
        )

    def prepare(self, *, fence: int, worker: str) -> None:
        """A worker has claimed it. A fence that is not higher than the last is a zombie's."""
        self._refuse_when_finished()
        if fence <= self.fence:
            raise ClaimLost(self.id, fence=fence, current=self.fence)
        self.record(RetentionCleanupPreparing(cleanup_id=self.id, fence=fence, worker=worker))

    def requeue(
        self, *, fence: int, code: str | None = None, hint: str = "", next_attempt_at: datetime | None = None
    ) -> None:
        """It waits for another worker, or for what kept this one from going on."""
        self._refuse_when_not_mine(fence)
        self.record(
            RetentionCleanupRequeued(
                cleanup_id=self.id, fence=fence, code=code, hint=hint, next_attempt_at=next_attempt_at
            )
        )

    def decide(self, points: Sequence[GoingPoint], *, fence: int) -> None:
        """These points go; the tiers are told next."""
        self._refuse_when_not_mine(fence)
        self.record(RecoveryPointsGoing(cleanup_id=self.id, points=tuple(points)))

    def forgotten(self, points: Sequence[GoingPoint], locations: Sequence[str], *, fence: int) -> None:
        """These points are gone."""
        self._refuse_when_not_mine(fence)
        self.record(
            RecoveryPointsForgotten(cleanup_id=self.id, points=tuple(points), locations=tuple(sorted(locations)))
        )

    def complete(
        self,
        assessed: Assessment,
        places: Sequence[PlaceCleaned],
        held: Sequence[PlaceHeld] = (),
        *,
        fence: int,
        seconds: float,
    ) -> None:
        """All that was to go is gone, or would be with `dry_run`. `assessed`: what is left; `held`: who holds what."""
        self._refuse_when_not_mine(fence)
        self.record(
            RetentionCleanedUp(
                cleanup_id=self.id,
                dry_run=self.dry_run,
                degraded=any(place.code is not None for place in places) or any(each.code is not None for each in held),
                gone=len(assessed.going) if self.dry_run else len(self.gone),
                kept=assessed.kept,
                waiting=len(assessed.waiting),
                overdue=assessed.overdue,
                unseen=assessed.unseen,
                waits=tuple(assessed.waiting[:NAMED_MAX]),
                going=tuple(assessed.going[:NAMED_MAX]) if self.dry_run else (),
                places=tuple(places),
                held=tuple(held),
                is_partial_measure=not self.dry_run and self.attempts > 1,
                seconds=seconds,
            )
        )

    def fail(self, *, fence: int, code: str, hint: str) -> None:
        """It has ended before its time."""
        self._refuse_when_not_mine(fence)
        self.record(RetentionCleanupFailed(cleanup_id=self.id, code=code, hint=hint, gone=len(self.gone)))

    def apply(self, event: Event) -> None:
        """Record what an event says; runs again on every replay, so it never refuses."""
        self.state = CLEANUP_STATE_AFTER.get(type(event), self.state)
        match event:
            case RetentionCleanupAccepted():
                self.dry_run, self.configuration_ids = event.dry_run, event.configuration_ids
                self.purpose = event.purpose
            case RetentionCleanedUp(degraded=degraded, held=held, kept=kept):
                # Where points were counted and no holds were, an older build's worker has only looked.
                self.is_whole = not degraded and (bool(held) or not kept)
            case RetentionCleanupRefused():
                self.state = REFUSED
            case RetentionCleanupPreparing(fence=fence):
                self.fence = fence
                self.attempts += 1
            case RecoveryPointsGoing(points=points):
                self.decided.update((each.recovery_point_id, each) for each in points)
            case RecoveryPointsForgotten(points=points):
                self.gone.update(each.recovery_point_id for each in points)

    def _refuse_when_finished(self) -> None:
        if self.is_finished:
            raise PlatformError(errors.CONCURRENT_CHANGE, "the cleanup has ended already", cleanup_id=self.id)

    def _refuse_when_not_mine(self, fence: int) -> None:
        self._refuse_when_finished()
        if fence != self.fence:
            raise ClaimLost(self.id, fence=fence, current=self.fence)
