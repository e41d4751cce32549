"""What becomes of an approval, and what is done by one that is granted."""

from chassis.clock import Clock
from chassis.handling import Handling
from contracts import errors
from contracts.approval_events import ApprovalDenialRefused, ApprovalGrantRefused, ApprovedOperation
from contracts.errors import PlatformError
from contracts.gateway_events import ApprovalDenialRequested, ApprovalGrantRequested
from services.executor.holding.approval import Approval
from services.executor.holding.domain import Hold
from services.executor.holding.ports import Approvals, Holds


class ApprovalDecisions:
    """Grants and denies approvals, or refuses to."""

    def __init__(self, approvals: Approvals, holds: Holds, clock: Clock) -> None:
        self._approvals = approvals
        self._holds = holds
        self._clock = clock

    async def grant(self, request: ApprovalGrantRequested, handling: Handling) -> None:
        """Grant one, and do what it is for in the same transaction; or refuse."""
        organisation = handling.context.organisation
        found = await self._approvals.find(request.approval_id, organisation)
        approval = found or Approval(request.request_id)
        subject = None if found is None else await self._subject(found, organisation)
        try:
            if found is None:
                raise PlatformError(errors.APPROVAL_UNKNOWN, "there is nothing of this id")
            Approval.require_grantable(approval, request, handling.actor, self._clock.now())
            if subject is None:
                raise PlatformError(errors.APPROVAL_OUTDATED, "what it is about is not there")
            Hold.release(subject, approval.id)
        except PlatformError as why:
            approval.record(ApprovalGrantRefused.of(request, why))
            await self._approvals.record_answer(approval, handling)
            return
        approval.grant(request, handling.actor)
        await self._approvals.record_answer(approval, handling, subject)

    async def deny(self, request: ApprovalDenialRequested, handling: Handling) -> None:
        """Deny one, or refuse."""
        found = await self._approvals.find(request.approval_id, handling.context.organisation)
        approval = found or Approval(request.request_id)
        try:
            if found is None:
                raise PlatformError(errors.APPROVAL_UNKNOWN, "there is nothing of this id")
            Approval.deny(approval, request, handling.actor, self._clock.now())
        except PlatformError as why:
            approval.record(ApprovalDenialRefused.of(request, why))
        await self._approvals.record_answer(approval, handling)

    async def _subject(self, approval: Approval, organisation: str) -> Hold | None:
        """What is done something with; None where this build does not know what."""
        asked = approval.asked
        if asked is None or asked.operation is not ApprovedOperation.RELEASE_HOLD:
            return None
        return await self._holds.find(asked.subject_id, organisation)
