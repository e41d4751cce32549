"""The record of validations, in the recovery service's event store."""

from collections.abc import Sequence

import msgspec

from chassis.claims.port import Claim
from chassis.claims.record import RecordedWork
from chassis.claims.work import CLAIM
from chassis.context import Context
from chassis.handling import Handling
from chassis.record.eventstore import Statement, StatementRefused
from contracts import errors
from contracts.errors import PlatformError
from contracts.validation_events import RecoveryValidationCancelled
from services.recovery.adapters.rounds import proofs_of
from services.recovery.adapters.work import VALIDATIONS
from services.recovery.validating.domain import RecoveryValidation
from services.recovery.validating.found import ValidationOrder


class RecordedValidations(RecordedWork[RecoveryValidation]):
    """`Validations` on an event store."""

    KIND = RecoveryValidation
    WORK = VALIDATIONS

    async def record_accepted(
        self, validation: RecoveryValidation, handling: Handling, *, order: ValidationOrder
    ) -> None:
        """Record that one is taken on with the inbox row and its claim."""
        organisation, body = handling.context.organisation, msgspec.json.encode(order)
        subject = f"{organisation}/{validation.recovery_point_id}"
        claim = VALIDATIONS.asked(validation.id, context=handling.context, subject=subject, body=body)
        try:
            await self._store.save(validation, context=handling.context, handled=handling.handled, also=[claim])
        except StatementRefused as error:
            if error.name != CLAIM:
                raise
            code = errors.VALIDATION_OPEN
            raise PlatformError(code, "another validation of it is open", field="recoveryPointId") from error

    def beside(self, thing: RecoveryValidation, handling: Handling) -> Sequence[Statement]:  # noqa: ARG002  # as of all
        """With one that is cancelled its claim is taken away."""
        is_cancelled = any(isinstance(event, RecoveryValidationCancelled) for event in thing.pending)
        return [VALIDATIONS.cancelled(thing.id)] if is_cancelled else []

    async def record_end(self, thing: RecoveryValidation, *, claim: Claim, context: Context) -> None:
        """Record the end, close the claim, and note what is proven, in one transaction."""
        proofs = list(proofs_of(thing.pending, context.organisation))
        await self.save_of(thing, claim, context, [VALIDATIONS.closed(claim), *proofs])
