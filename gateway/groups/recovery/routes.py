"""Recovery: list and show points, list and show recoveries."""

from datetime import datetime
from typing import Annotated, Any

from litestar import Request, Router, get
from litestar.params import QueryParameter

from contracts import errors
from contracts.errors import PlatformError
from contracts.looking import POINTS_MAX, EntriesAsked
from contracts.recovery_events import RecoveryState
from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.groups.recovery import looking
from gateway.groups.recovery import queries as queries
from gateway.groups.recovery.content import get_content
from gateway.groups.recovery.parameters import PathBytes, PathIn
from gateway.groups.recovery.resources import (
    PointEntries,
    PointVersion,
    RecoveryOperation,
    RecoveryOperationView,
    RecoveryPoint,
)
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
VersionsLimit = Annotated[
    int, QueryParameter(name="limit", ge=1, le=POINTS_MAX, description="Recovery points on a page")
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
    return await _point_of(request, recovery_point_id)


@get("/recovery-points/{recovery_point_id:str}/entries", **needs(Right.READ), summary="Look into a recovery point")
async def list_entries(
    request: Request[Any, Any, Any],
    recovery_point_id: Id,
    path: PathIn = "",
    path_bytes: PathBytes = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: CursorText = None,
) -> PointEntries:
    """Folders, files, objects and tables at a path, as a recovery worker sees them on the tiers now."""
    gateway, principal = parts_of(request), principal_of(request)
    point = await _restorable(request, recovery_point_id)
    wanted = looking.path_asked(path, path_bytes)
    cursors = queries.entry_cursors(gateway.sealer, principal.organisation, point.id, wanted)
    asked = EntriesAsked(
        organisation=principal.organisation,
        recovery_point_ids=(point.id,),
        path=wanted,
        place=await queries.entry_place(cursors, cursor),
        limit=limit,
    )
    (looked,) = await gateway.asking.entries(asked)
    next_cursor = None if looked.next_place is None else await queries.entry_cursor(cursors, looked.next_place)
    return looking.shown_entries(looked, wanted, next_cursor)


@get(
    "/recovery-points/{recovery_point_id:str}/versions",
    **needs(Right.READ),
    summary="List which recovery points have a file",
)
async def list_versions(
    request: Request[Any, Any, Any],
    recovery_point_id: Id,
    path: PathIn = "",
    path_bytes: PathBytes = None,
    limit: VersionsLimit = 20,
    cursor: CursorText = None,
) -> ListPage[PointVersion]:
    """Which recovery points of the same configuration have what lies at a path, and in which it is another.

    The latest first, from the configuration's latest on; those that are gone are left out.
    """
    gateway, principal = parts_of(request), principal_of(request)
    of = await _point_of(request, recovery_point_id)
    wanted = looking.path_asked(path, path_bytes)
    if not wanted:
        raise PlatformError(
            errors.INVALID_FIELD, "no path is given", field="path", hint="Name a file or a folder of the point."
        )
    page = await queries.points(
        gateway.reading,
        gateway.sealer,
        principal.organisation,
        queries.PointFilter(configuration_id=of.configuration_id, is_gone=False),
        limit=limit,
        cursor=cursor,
    )
    if not page.items:
        return ListPage[PointVersion](items=[])
    ids = tuple(each.id for each in page.items)
    looked = await gateway.asking.entries(
        EntriesAsked(organisation=principal.organisation, recovery_point_ids=ids, path=wanted)
    )
    items = [
        looking.shown_version(each, found, older)
        for each, found, older in zip(page.items, looked, [*looked[1:], None], strict=True)
    ]
    return ListPage[PointVersion](items=items, next_cursor=page.next_cursor)


async def _point_of(request: Request[Any, Any, Any], recovery_point_id: str) -> RecoveryPoint:
    gateway, principal = parts_of(request), principal_of(request)
    identity = checked_id(recovery_point_id, code=errors.RECOVERY_POINT_UNKNOWN)
    async with gateway.reading(principal.organisation) as database:
        return await queries.point(database, principal.organisation, identity)


async def _restorable(request: Request[Any, Any, Any], recovery_point_id: str) -> RecoveryPoint:
    """A point of the organisation that is not gone."""
    point = await _point_of(request, recovery_point_id)
    if point.gone_at is not None:
        raise PlatformError(errors.RECOVERY_POINT_GONE, "the recovery point is gone")
    return point


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
    Router(
        "/",
        route_handlers=[
            list_recovery_points,
            show_recovery_point,
            list_entries,
            list_versions,
            list_recoveries,
            show_recovery,
            get_content,
        ],
    ),
]
