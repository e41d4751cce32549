"""What the recovery service decides: which recoveries it takes on, and which points it knows."""

from chassis.handling import Handling, UseCase
from contracts import errors
from contracts.cleanup_events import RecoveryPointsForgotten
from contracts.config_events import ConfigurationFact
from contracts.dr_execution_events import DrRecoveryAsked, DrRecoveryWithdrawn
from contracts.erasure_events import RecoveryPointsErased
from contracts.executor_events import BackupCompleted
from contracts.gateway_events import Evidence, RecoveryRequested
from contracts.recovery_events import ConflictPolicy, RecoveryRefused
from contracts.refusal import Objection
from services.recovery.domain import RecoveryOperation
from services.recovery.errors import PointNotSeenYet, RecoveryNotSeenYet, TargetBusy
from services.recovery.kept import Order
from services.recovery.policies import DELIVERIES_BEFORE_REFUSAL, when_recovery_requested
from services.recovery.ports import Operations, Points, Targets


class RecoveryDecisions:
    """Takes requested recoveries on, or refuses them."""

    def __init__(self, operations: Operations, points: Points, targets: Targets) -> None:
        self._operations = operations
        self._points = points
        self._targets = targets

    async def decide(self, request: RecoveryRequested, handling: Handling) -> None:
        """Accept or refuse a request. Raises RECOVERY_POINT_NOT_SEEN_YET to be asked again later."""
        await self._decide(request, handling)

    async def _decide(self, request: RecoveryRequested, handling: Handling, *, is_compared: bool = False) -> None:
        organisation = handling.context.organisation
        point = await self._points.find(request.recovery_point_id, organisation)
        objection = when_recovery_requested(request, point, deliveries=handling.deliveries)
        if objection is not None and objection.code is errors.RECOVERY_POINT_NOT_SEEN_YET:
            raise PointNotSeenYet(request.recovery_point_id)
        if objection is not None or point is None:
            await self._refuse(request, objection or Objection(errors.RECOVERY_POINT_UNKNOWN), handling)
            return
        order = Order(
            snapshot_id=point.snapshot_id,
            places=point.places,
            target_location=request.target_location,
            target_path=request.target_path,
            conflict_policy=request.conflict_policy,
            scope=request.scope,
            is_compared=is_compared,
        )
        looked = await self._targets.examined(organisation, order)
        if isinstance(looked, Objection):
            await self._refuse(request, looked, handling)
            return
        operation = RecoveryOperation(request.operation_id)
        operation.accept(request, configuration_id=point.configuration_id, snapshot_id=point.snapshot_id)
        try:
            target = f"{organisation}/{looked}"
            await self._operations.record_accepted(operation, handling, target=target, order=order)
        except TargetBusy as busy:
            known = await self._operations.find(request.operation_id, organisation)
            if known is None:
                await self._refuse(request, Objection(busy.code, busy.field, busy.hint), handling)

    async def decide_of_plan(self, asked: DrRecoveryAsked, handling: Handling) -> None:
        """Accept or refuse what a step of a disaster recovery plan asks for, by the rules for what people ask for.

        It goes to a folder that is empty, or has what the step's attempt before has left. Who began a test needs no
        second factor: nothing else uses the place where it writes. What a test restores is compared in the end.
        """
        request = RecoveryRequested(
            request_id=asked.request_id,
            operation_id=asked.operation_id,
            recovery_point_id=asked.recovery_point_id,
            target_location=asked.target_location,
            target_path=asked.target_path,
            target_digest="",
            conflict_policy=ConflictPolicy.REFUSE,
            evidence=Evidence(assurance="plan", second_factor=asked.second_factor or asked.is_test),
        )
        await self._decide(request, handling, is_compared=asked.is_test)

    def withdrawing(self, cancel: UseCase) -> UseCase:
        """What takes back what a step has asked for. Raises to be asked again while that has not arrived here."""

        async def withdraw(withdrawn: DrRecoveryWithdrawn, handling: Handling) -> None:
            if handling.deliveries < DELIVERIES_BEFORE_REFUSAL:
                found = await self._operations.find(withdrawn.operation_id, handling.context.organisation)
                if found is None:
                    raise RecoveryNotSeenYet(withdrawn.operation_id)
            await cancel(withdrawn, handling)

        return withdraw

    async def _refuse(self, request: RecoveryRequested, objection: Objection, handling: Handling) -> None:
        operation = RecoveryOperation(request.operation_id)
        operation.record(RecoveryRefused.of(request, objection))
        await self._operations.record_answer(operation, handling)


class Catalogue:
    """Keeps what can be restored, and where it lies."""

    def __init__(self, points: Points) -> None:
        self._points = points

    async def remember(self, completed: BackupCompleted, handling: Handling) -> None:
        """Take note of what a run has made."""
        await self._points.remember(completed, handling)

    async def forget(self, gone: RecoveryPointsForgotten | RecoveryPointsErased, handling: Handling) -> None:
        """Take note of what a cleanup has let go, or an erasure."""
        await self._points.forget(gone, handling)

    async def remember_places(self, fact: ConfigurationFact, handling: Handling) -> None:
        """Take note of where a configuration puts its tiers."""
        await self._points.remember_places(fact, handling)
