"""The writes of the group."""

import msgspec

from contracts import errors
from contracts import validation_events as facts
from contracts.storage_requests import RecoveryValidationCancellationRequested, RecoveryValidationRequested
from gateway.auth.rights import Right
from gateway.groups.validations import queries
from gateway.groups.validations.examples import NEW_VALIDATION
from gateway.groups.validations.resources import NewValidation
from gateway.writes.declaration import Asked, Draft, Write
from gateway.writes.things import VALIDATION


class ValidateRecoveryPoint(Write[NewValidation]):
    """Read the tiers of a recovery point, without restoring anything, and tell what is damaged and where it is whole.

    202 with the request, whose `resource` is the validation once it is accepted. Tiers share what they store: each is
    read whole, and all recovery points are told that its damage harms. Nothing on any tier is changed. One validation
    of a recovery point at a time.
    """

    NAME = "validate-recovery-point"
    SUMMARY = "Validate a recovery point"
    PATH = "/recovery/validate"
    RIGHT = Right.VALIDATE
    BODY = NewValidation
    EXAMPLE = ("every byte", NEW_VALIDATION)
    REQUEST, ACCEPTED, REFUSED = (
        RecoveryValidationRequested,
        facts.RecoveryValidationAccepted,
        facts.RecoveryValidationRefused,
    )
    OF = VALIDATION
    REFUSALS = (
        errors.RECOVERY_POINT_UNKNOWN,
        errors.RECOVERY_POINT_GONE,
        errors.VALIDATION_TIER_UNKNOWN,
        errors.VALIDATION_OPEN,
        errors.EVENT_UNREADABLE,
    )

    async def draft(self, asked: Asked[NewValidation]) -> Draft:
        """Of a recovery point that is there."""
        data = msgspec.structs.replace(asked.body, tiers=tuple(dict.fromkeys(asked.body.tiers)))
        async with asked.gateway.reading(asked.organisation) as database:
            objection = await queries.objection_to(database, asked.organisation, data.recovery_point_id)
        return Draft(
            lambda new: RecoveryValidationRequested(
                request_id=new.request_id,
                validation_id=new.resource_id,
                recovery_point_id=data.recovery_point_id,
                depth=data.depth,
                tiers=data.tiers,
                evidence=new.evidence,
            ),
            body=data,
            wrong=[] if objection is None else [objection],
        )


class CancelValidation(Write[None]):
    """Have a validation stopped that has not ended: its worker lets go of it within two seconds.

    Nothing is told of what it had read by then.
    """

    NAME = "cancel-validation"
    SUMMARY = "Cancel a validation"
    PATH = "/recovery/validations/{validation_id:str}/cancel"
    RIGHT = Right.VALIDATE
    REQUEST, ACCEPTED, REFUSED = (
        RecoveryValidationCancellationRequested,
        facts.RecoveryValidationCancelled,
        facts.RecoveryValidationCancellationRefused,
    )
    OF = VALIDATION
    REFUSALS = (errors.VALIDATION_FINISHED,)
