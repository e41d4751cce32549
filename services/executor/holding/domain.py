"""The aggregate of a hold."""

from collections.abc import Sequence
from typing import ClassVar

from chassis.domain import Aggregate
from contracts import errors
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.gateway_events import HoldPlacementRequested, HoldReleaseRequested
from contracts.hold_events import HoldPlaced, HoldReleaseAwaited, HoldReleased

TOLD_MAX = 1000
"""So many points are named that a cleanup may have let go."""


class Hold(Aggregate):
    """What keeps recovery points until two people release it. `awaiting`: the approval that was asked for last."""

    KIND: ClassVar[str] = "executor.hold"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.is_released = False
        self.awaiting: str | None = None

    def place(
        self, request: HoldPlacementRequested, *, tagged: Sequence[str], kept: int, too_late: Sequence[str]
    ) -> None:
        """Put it in force. `kept`: how many points it keeps now; `too_late`: those that a cleanup may have let go."""
        self.record(
            HoldPlaced(
                request_id=request.request_id,
                hold_id=self.id,
                body=request.body,
                tagged=tuple(tagged),
                kept=kept,
                too_late=len(too_late),
                too_late_points=tuple(too_late[:TOLD_MAX]),
            )
        )

    def await_release(self, request: HoldReleaseRequested) -> None:
        """Its release is asked for; the approval has the id of the request. Raises HOLD_RELEASED."""
        self._refuse_when_released()
        self.record(HoldReleaseAwaited(request_id=request.request_id, hold_id=self.id, approval_id=request.request_id))

    def release(self, approval_id: str) -> None:
        """It keeps nothing any more. Raises HOLD_RELEASED, and APPROVAL_OUTDATED where another was asked for since."""
        self._refuse_when_released()
        if approval_id != self.awaiting:
            raise PlatformError(errors.APPROVAL_OUTDATED, "another approval was asked for since")
        self.record(HoldReleased(hold_id=self.id, approval_id=approval_id))

    def apply(self, event: Event) -> None:
        """Record what an event says."""
        match event:
            case HoldReleaseAwaited(approval_id=approval_id):
                self.awaiting = approval_id
            case HoldReleased():
                self.is_released = True

    def _refuse_when_released(self) -> None:
        if self.is_released:
            raise PlatformError(errors.HOLD_RELEASED, "the hold is released already")
