"""The record of recoveries, in the recovery service's event store."""

from collections.abc import Sequence

import msgspec

from chassis.claims.port import Claim
from chassis.claims.record import RecordedWork
from chassis.claims.work import Work
from chassis.context import Context
from chassis.handling import Handling
from chassis.record.eventstore import Statement, StatementRefused
from contracts.recovery_events import RecoveryCancelled
from services.recovery.domain import RecoveryOperation
from services.recovery.errors import TargetBusy
from services.recovery.kept import Order

RECOVERIES = Work(
    noun="recovery", claims="recovery_claims", turns="recovery_turns", workers="recovery_workers", subject="target"
)
"""The claims of recoveries: to one target at most one is open."""


class RecordedOperations(RecordedWork[RecoveryOperation]):
    """`Operations` on an event store."""

    KIND = RecoveryOperation
    WORK = RECOVERIES

    async def record_accepted(
        self, operation: RecoveryOperation, handling: Handling, *, target: str, order: Order
    ) -> None:
        """Record that one is taken on with the inbox row and its claim."""
        body = msgspec.json.encode(order)
        claim = RECOVERIES.asked(operation.id, context=handling.context, subject=target, body=body)
        try:
            await self._store.save(operation, context=handling.context, handled=handling.handled, also=[claim])
        except StatementRefused as error:
            raise TargetBusy(operation.id) from error

    def beside(self, thing: RecoveryOperation, handling: Handling) -> Sequence[Statement]:  # noqa: ARG002  # as of all
        """With one that is cancelled its claim is taken away."""
        is_cancelled = any(isinstance(event, RecoveryCancelled) for event in thing.pending)
        return [RECOVERIES.cancelled(thing.id)] if is_cancelled else []

    async def record_end(self, thing: RecoveryOperation, *, claim: Claim, context: Context) -> None:
        """Record the end and close the claim in one transaction."""
        await self.save_of(thing, claim, context, [RECOVERIES.closed(claim)])
