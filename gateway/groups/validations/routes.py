"""Validations: list and show them."""

from typing import Annotated, Any

from litestar import Request, Router, get
from litestar.params import QueryParameter

from contracts import errors
from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.groups.validations import queries
from gateway.groups.validations.resources import RecoveryValidation, RecoveryValidationView
from gateway.http.parameters import LIMIT_DEFAULT, CursorText, Id, Limit, checked_id
from gateway.http.resources import ListPage
from gateway.parts import parts_of, principal_of

OfConfiguration = Annotated[
    str | None, QueryParameter(name="configurationId", max_length=36, description="Of one configuration")
]
OfPoint = Annotated[
    str | None, QueryParameter(name="recoveryPointId", max_length=36, description="Of one recovery point")
]


@get("/recovery/validations", **needs(Right.READ), summary="List validations")
async def list_validations(
    request: Request[Any, Any, Any],
    limit: Limit = LIMIT_DEFAULT,
    cursor: CursorText = None,
    configuration_id: OfConfiguration = None,
    recovery_point_id: OfPoint = None,
) -> ListPage[RecoveryValidation]:
    """Validations of the organisation, the latest first."""
    gateway, principal = parts_of(request), principal_of(request)
    if configuration_id is not None:
        checked_id(configuration_id, code=errors.CONFIGURATION_UNKNOWN)
    if recovery_point_id is not None:
        checked_id(recovery_point_id, code=errors.RECOVERY_POINT_UNKNOWN)
    wanted = queries.ValidationFilter(recovery_point_id, configuration_id)
    return await queries.page(
        gateway.reading, gateway.sealer, principal.organisation, wanted, limit=limit, cursor=cursor
    )


@get("/recovery/validations/{validation_id:str}", **needs(Right.READ), summary="Show a validation")
async def show_validation(request: Request[Any, Any, Any], validation_id: Id) -> RecoveryValidationView:
    """One validation: what each tier shows, what is damaged and where it is whole, which recovery points it harms."""
    gateway, principal = parts_of(request), principal_of(request)
    identity = checked_id(validation_id)
    async with gateway.reading(principal.organisation) as database:
        shown = await queries.one(database, principal.organisation, identity)
    progress = gateway.progress.of(principal.organisation, identity) if shown.finished_at is None else None
    return RecoveryValidationView(**{name: getattr(shown, name) for name in shown.__struct_fields__}, progress=progress)


HANDLERS = [Router("/", route_handlers=[list_validations, show_validation])]
