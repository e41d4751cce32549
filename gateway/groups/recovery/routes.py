"""Recovery: list and show points, list and show recoveries."""

from datetime import datetime
from typing import Annotated, Any

from litestar import Request, Router, get
from litestar.params import QueryParameter

from contracts import errors
from contracts.recovery_events import RecoveryState
from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.groups.recovery import queries as queries
from gateway.groups.recovery.resources import RecoveryOperation, RecoveryOperationView, RecoveryPoint
from gateway.http.parameters import (
    LIMIT_DEFAULT,
    Before,
    CursorText,
    From,
    Id,
    Limit,
    checked_id,
    checked_period,
    checked_time,
)
from gateway.http.resources import ListPage
from gateway.parts import parts_of, principal_of

OfConfiguration = Annotated[
    str | None, QueryParameter(name="configurationId", max_length=36, description="Of one configuration")
]
OfPoint = Annotated[
    str | None, QueryParameter(name="recoveryPointId", max_length=36, description="Of one recovery point")
]
OfSource = Annotated[
    str | None,
    QueryParameter(name="source", max_length=63, description="Of configurations whose source is at this location now"),
]
At = Annotated[
    datetime | None,
    QueryParameter(name="at", description="What there was at this time: of each configuration the latest up to then"),
]
IsGone = Annotated[
    bool | None,
    QueryParameter(name="gone", description="Those that a cleanup has let go, or those that can be restored"),
]
States = Annotated[
    list[RecoveryState] | None, QueryParameter(name="status", description="States; several may be given")
]


@get("/recovery-points", **needs(Right.READ), summary="List recovery points")
async def list_recovery_points(
    request: Request[Any, Any, Any],
    limit: Limit = LIMIT_DEFAULT,
    cursor: CursorText = None,
    configuration_id: OfConfiguration = None,
    source: OfSource = None,
    at: At = None,
    gone: IsGone = None,
    completed_from: From = None,
    completed_before: Before = None,
) -> ListPage[RecoveryPoint]:
    """What can be restored, and what a cleanup has let go (`goneAt`), the latest first."""
    gateway, principal = parts_of(request), principal_of(request)
    if configuration_id is not None:
        checked_id(configuration_id, code=errors.CONFIGURATION_UNKNOWN)
    start, before = checked_period(completed_from, completed_before)
    wanted = queries.PointFilter(
        configuration_id=configuration_id,
        source=source,
        completed_from=start,
        completed_before=before,
        at=checked_time(at, "at"),
        is_gone=gone,
    )
    return await queries.points(
        gateway.reading, gateway.sealer, principal.organisation, wanted, limit=limit, cursor=cursor
    )


@get(
    "/recovery-points/{recovery_point_id:str}",
    **needs(Right.READ),
    summary="Show a recovery point",
)
async def show_recovery_point(request: Request[Any, Any, Any], recovery_point_id: Id) -> RecoveryPoint:
    """One recovery point: what it is of, how much, and which tiers have it."""
    gateway, principal = parts_of(request), principal_of(request)
    identity = checked_id(recovery_point_id, code=errors.RECOVERY_POINT_UNKNOWN)
    async with gateway.reading(principal.organisation) as database:
        return await queries.point(database, principal.organisation, identity)


@get("/recovery/operations", **needs(Right.READ), summary="List recoveries")
async def list_recoveries(
    request: Request[Any, Any, Any],
    limit: Limit = LIMIT_DEFAULT,
    cursor: CursorText = None,
    status: States = None,
    configuration_id: OfConfiguration = None,
    recovery_point_id: OfPoint = None,
    started_from: From = None,
    started_before: Before = None,
) -> ListPage[RecoveryOperation]:
    """Recoveries of the organisation, the latest first."""
    gateway, principal = parts_of(request), principal_of(request)
    if configuration_id is not None:
        checked_id(configuration_id, code=errors.CONFIGURATION_UNKNOWN)
    if recovery_point_id is not None:
        checked_id(recovery_point_id, code=errors.RECOVERY_POINT_UNKNOWN)
    start, before = checked_period(started_from, started_before)
    wanted = queries.OperationFilter(
        status=tuple(sorted(set(status or ()))),
        configuration_id=configuration_id,
        recovery_point_id=recovery_point_id,
        started_from=start,
        started_before=before,
    )
    return await queries.OperationQueries(gateway.sealer).page(
        gateway.reading, principal.organisation, wanted, limit=limit, cursor=cursor
    )


@get(
    "/recovery/operations/{operation_id:str}",
    **needs(Right.READ),
    summary="Show a recovery",
)
async def show_recovery(request: Request[Any, Any, Any], operation_id: Id) -> RecoveryOperationView:
    """One recovery: phases with their times, progress, what was written and verified, and why it failed."""
    gateway, principal = parts_of(request), principal_of(request)
    one = queries.OperationQueries(gateway.sealer).one
    shown = await one(gateway.reading, principal.organisation, checked_id(operation_id))
    progress = gateway.progress.of(principal.organisation, operation_id) if shown.finished_at is None else None
    return RecoveryOperationView(**{name: getattr(shown, name) for name in shown.__struct_fields__}, progress=progress)


HANDLERS = [
    Router("/", route_handlers=[list_recovery_points, show_recovery_point, list_recoveries, show_recovery]),
]
