"""The writes of the group."""

import msgspec

from contracts import errors
from contracts.errors import PlatformError
from contracts.gateway_events import RecoveryCancellationRequested, RecoveryRequested
from contracts.recovery_events import (
    SCOPE_FIELD,
    TARGET_DIGEST,
    TARGET_PATH_FIELD,
    RecoveryAccepted,
    RecoveryCancellationRefused,
    RecoveryCancelled,
    RecoveryRefused,
)
from gateway.auth.rights import Right
from gateway.groups.recovery import queries
from gateway.groups.recovery.examples import NEW_RECOVERY
from gateway.groups.recovery.resources import NewRecovery
from gateway.groups.recovery.submitted import path_as_kept, wrong_fields
from gateway.writes.declaration import Asked, Draft, New, Write
from gateway.writes.things import RECOVERY


class InitiateRecovery(Write[NewRecovery]):
    """Restore a recovery point, or a part of it, to a folder of a location that is registered as a target.

    202 with the request, whose `resource` is the recovery once it is accepted. All of what is written is read back from
    the target; any tier that has the point and answers will do. A recovery that was interrupted, cancelled, or failed
    for want of space or of a tier goes on with what is there when the same is asked for again.
    """

    NAME = "initiate-recovery"
    SUMMARY = "Restore a recovery point"
    PATH = "/recovery/initiate"
    RIGHT = Right.RECOVER
    SECOND_FACTOR = True
    BODY = NewRecovery
    EXAMPLE = ("folder", NEW_RECOVERY)
    REQUEST, ACCEPTED, REFUSED = RecoveryRequested, RecoveryAccepted, RecoveryRefused
    OF = RECOVERY
    REFUSALS = (
        errors.RECOVERY_POINT_UNKNOWN,
        errors.RECOVERY_POINT_GONE,
        errors.UNKNOWN_LOCATION,
        errors.LOCATION_KIND_MISMATCH,
        errors.LOCATIONS_UNREADABLE,
        errors.PATH_OUTSIDE_LOCATION,
        errors.TARGET_UNUSABLE,
        errors.TARGET_EXCLUDED,
        errors.LOCATION_SILENT,
        errors.EVENT_UNREADABLE,
        errors.TARGET_NOT_EMPTY,
        errors.TARGET_BUSY,
        errors.TARGET_NEEDS_APPROVAL,
    )

    async def draft(self, asked: Asked[NewRecovery]) -> Draft:
        """Every field that is wrong; path and scope are sealed, and the target is told by a digest."""
        data = msgspec.structs.replace(asked.body, target_path=path_as_kept(asked.body.target_path))
        wrong = await wrong_fields(asked.body, asked.gateway.locations, asked.organisation)
        try:
            async with asked.gateway.reading(asked.organisation) as database:
                found = await queries.point(database, asked.organisation, data.recovery_point_id)
            if found.gone_at is not None:
                raise PlatformError(errors.RECOVERY_POINT_GONE, "a cleanup has let the recovery point go")
        except PlatformError as error:
            if error.code not in (errors.RECOVERY_POINT_UNKNOWN, errors.RECOVERY_POINT_GONE):
                raise
            wrong.insert(0, PlatformError(error.code, error.message, field="recoveryPointId"))

        def event(new: New) -> RecoveryRequested:
            sealer, organisation = asked.gateway.sealer, asked.organisation
            scope = "\n".join(data.scope)
            return RecoveryRequested(
                request_id=new.request_id,
                operation_id=new.resource_id,
                recovery_point_id=data.recovery_point_id,
                target_location=data.target_location,
                target_path=sealer.seal(organisation, TARGET_PATH_FIELD, data.target_path),
                target_digest=sealer.digest(organisation, TARGET_DIGEST, f"{data.target_location}\n{data.target_path}"),
                conflict_policy=data.conflict_policy,
                evidence=new.evidence,
                scope=sealer.seal(organisation, SCOPE_FIELD, scope) if scope else None,
            )

        return Draft(event, body=data, wrong=wrong)


class CancelRecovery(Write[None]):
    """Have a recovery stopped that has not ended: its worker lets go of it within two seconds.

    The target keeps what is there, and the mark of an unfinished restore (`.wedsync-restore-…`). The same recovery,
    asked for anew, goes on with it.
    """

    NAME = "cancel-recovery"
    SUMMARY = "Cancel a recovery"
    PATH = "/recovery/operations/{operation_id:str}/cancel"
    RIGHT = Right.RECOVER
    REQUEST, ACCEPTED, REFUSED = RecoveryCancellationRequested, RecoveryCancelled, RecoveryCancellationRefused
    OF = RECOVERY
    REFUSALS = (errors.RECOVERY_FINISHED,)
