"""Which holds are placed, and what is asked of a second person for them."""

from datetime import datetime, timedelta

from chassis.clock import Clock
from chassis.handling import Handling
from contracts import errors
from contracts.approval_events import ApprovedOperation
from contracts.errors import PlatformError
from contracts.gateway_events import HoldPlacementRequested, HoldReleaseRequested
from contracts.hold_events import HoldPlacementRefused, HoldReleaseRefused
from contracts.holds import TAGGED_MAX, HoldScope
from services.executor.errors import ConfigurationNotSeenYet
from services.executor.holding.approval import Approval
from services.executor.holding.domain import Hold
from services.executor.holding.ports import Approvals, Holds, Reach
from services.executor.policies import DELIVERIES_BEFORE_REFUSAL

APPROVAL_HOURS = 24
"""So long a request waits for a second person."""


class HoldDecisions:
    """Places holds, and lets their release wait for a second person; or refuses to."""

    def __init__(self, holds: Holds, approvals: Approvals, clock: Clock) -> None:
        self._holds = holds
        self._approvals = approvals
        self._clock = clock

    async def place(self, request: HoldPlacementRequested, handling: Handling) -> None:
        """Place a hold or refuse it. Raises CONFIGURATION_NOT_SEEN_YET to be asked again later."""
        hold, scope = Hold(request.hold_id), request.body.scope
        reach = await self._holds.reach(handling.context.organisation, scope)
        lacking = reach.unknown if reach.unknown is not None else reach.unknown_point
        if lacking is not None and handling.deliveries < DELIVERIES_BEFORE_REFUSAL:
            named = scope.configuration_ids if reach.unknown is not None else scope.recovery_point_ids
            raise ConfigurationNotSeenYet(named[lacking], version=1, seen=0)
        try:
            _refuse_what_keeps_nothing(scope, reach)
        except PlatformError as why:
            hold.record(HoldPlacementRefused.of(request, why))
            await self._holds.record_answer(hold, handling)
            return
        hold.place(request, tagged=reach.tagged, kept=reach.kept, too_late=reach.too_late)
        await self._holds.record_placed(hold, scope, reach, handling)

    async def await_release(self, request: HoldReleaseRequested, handling: Handling) -> None:
        """Have a release wait for a second person, or refuse it."""
        organisation = handling.context.organisation
        found = await self._holds.find(request.hold_id, organisation)
        hold = found or Hold(request.request_id)
        now = self._clock.now()
        is_awaited = found is not None and await self._is_awaited(found, organisation, now)
        try:
            if found is None:
                raise PlatformError(errors.HOLD_UNKNOWN, "there is nothing of this id")
            if not request.evidence.second_factor:
                raise PlatformError(errors.SECOND_FACTOR_NEEDED, "it was asked without a second factor")
            if is_awaited:
                raise PlatformError(errors.HOLD_RELEASE_OPEN, "a second person is being waited for")
            Hold.await_release(hold, request)
        except PlatformError as why:
            hold.record(HoldReleaseRefused.of(request, why))
            await self._holds.record_answer(hold, handling)
            return
        approval = Approval(request.request_id)
        approval.ask(
            ApprovedOperation.RELEASE_HOLD,
            hold.id,
            asked_by=handling.actor,
            expires_at=now + timedelta(hours=APPROVAL_HOURS),
        )
        await self._holds.record_awaited(hold, approval, handling)

    async def _is_awaited(self, hold: Hold, organisation: str, now: datetime) -> bool:
        """Whether its release waits for a second person."""
        if hold.awaiting is None or hold.is_released:
            return False
        approval = await self._approvals.find(hold.awaiting, organisation)
        return approval is not None and approval.is_open(now)


def _refuse_what_keeps_nothing(scope: HoldScope, reach: Reach) -> None:
    """Raise why a hold cannot be placed: nobody is to believe that something is kept which is not."""
    if scope.is_empty:
        raise PlatformError(errors.HOLD_OF_EVERYTHING, "the hold names nothing", field="configurationIds")
    if reach.unknown is not None:
        field = f"configurationIds[{reach.unknown}]"
        raise PlatformError(errors.CONFIGURATION_UNKNOWN, "there is no such configuration", field=field)
    if reach.unknown_point is not None:
        field = f"recoveryPointIds[{reach.unknown_point}]"
        raise PlatformError(errors.RECOVERY_POINT_UNKNOWN, "there is no such recovery point", field=field)
    if reach.gone_point is not None:
        field = f"recoveryPointIds[{reach.gone_point}]"
        raise PlatformError(errors.RECOVERY_POINT_GONE, "the recovery point is gone", field=field)
    if len(reach.tagged) > TAGGED_MAX:
        raise PlatformError(errors.HOLD_TOO_WIDE, f"more than {TAGGED_MAX} configurations have its tags", field="tags")
