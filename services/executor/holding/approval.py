"""The aggregate of an approval: one request that waits for a second person."""

from datetime import datetime
from typing import ClassVar

from chassis.domain import Aggregate
from contracts import errors
from contracts.approval_events import (
    ApprovalAsked,
    ApprovalDenied,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalState,
    ApprovedOperation,
)
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.gateway_events import ApprovalDenialRequested, ApprovalGrantRequested


class Approval(Aggregate):
    """Open until a second person grants it, somebody denies it, or its time is over: once."""

    KIND: ClassVar[str] = "executor.approval"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.asked: ApprovalAsked | None = None
        self.state = ApprovalState.OPEN

    def is_open(self, now: datetime) -> bool:
        """Whether it can still be granted."""
        return self.state is ApprovalState.OPEN and self.asked is not None and now < self.asked.expires_at

    def ask(self, operation: ApprovedOperation, subject_id: str, *, asked_by: str, expires_at: datetime) -> None:
        """Somebody needs a second person."""
        self.record(
            ApprovalAsked(
                approval_id=self.id,
                operation=operation,
                subject_id=subject_id,
                asked_by=asked_by,
                expires_at=expires_at,
            )
        )

    def require_grantable(self, request: ApprovalGrantRequested, actor: str, now: datetime) -> None:
        """Raise why nobody else says yes: APPROVAL_OVER, SECOND_PERSON_NEEDED, SECOND_FACTOR_NEEDED."""
        self._refuse_when_over(now)
        if self.asked is None or not actor or actor == self.asked.asked_by:
            raise PlatformError(errors.SECOND_PERSON_NEEDED, "it was asked for by the same person")
        if not request.evidence.second_factor:
            raise PlatformError(errors.SECOND_FACTOR_NEEDED, "it was approved without a second factor")

    def grant(self, request: ApprovalGrantRequested, actor: str) -> None:
        """A second person says yes, who may."""
        self.record(ApprovalGranted(approval_id=self.id, request_id=request.request_id, granted_by=actor))

    def deny(self, request: ApprovalDenialRequested, actor: str, now: datetime) -> None:
        """Somebody says no, or takes it back. Raises APPROVAL_OVER."""
        self._refuse_when_over(now)
        self.record(ApprovalDenied(approval_id=self.id, request_id=request.request_id, denied_by=actor))

    def expire(self) -> None:
        """Its time is over."""
        self.record(ApprovalExpired(approval_id=self.id))

    def apply(self, event: Event) -> None:
        """Record what an event says."""
        match event:
            case ApprovalAsked():
                self.asked = event
            case ApprovalGranted():
                self.state = ApprovalState.GRANTED
            case ApprovalDenied():
                self.state = ApprovalState.DENIED
            case ApprovalExpired():
                self.state = ApprovalState.EXPIRED

    def _refuse_when_over(self, now: datetime) -> None:
        if not self.is_open(now):
            raise PlatformError(errors.APPROVAL_OVER, "the approval is over")
