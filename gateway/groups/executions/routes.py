"""Runs: list runs, show one, its progress, and the state of everything."""

from typing import Annotated, Any

from litestar import Request, Response, Router, get
from litestar.enums import MediaType
from litestar.params import QueryParameter

from contracts import errors
from contracts.executor_events import ExecutionState
from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.groups.executions.resources import ProgressView, Status
from gateway.http.parameters import (
    LIMIT_DEFAULT,
    Before,
    CursorText,
    From,
    Id,
    Limit,
    WeddingCritical,
    checked_id,
    checked_period,
)
from gateway.http.resources import ListPage
from gateway.parts import parts_of, principal_of
from gateway.runs import queries as queries
from gateway.runs.resources import Execution

States = Annotated[
    list[ExecutionState] | None, QueryParameter(name="status", description="States; several may be given")
]
OfConfiguration = Annotated[
    str | None, QueryParameter(name="configurationId", max_length=36, description="Runs of one configuration")
]
Degraded = Annotated[bool | None, QueryParameter(name="degraded", description="Degraded runs alone, or others alone")]


@get("/executions", **needs(Right.READ), summary="List runs")
async def list_executions(
    request: Request[Any, Any, Any],
    limit: Limit = LIMIT_DEFAULT,
    cursor: CursorText = None,
    status: States = None,
    configuration_id: OfConfiguration = None,
    wedding_critical: WeddingCritical = None,
    degraded: Degraded = None,
    started_from: From = None,
    started_before: Before = None,
) -> ListPage[Execution]:
    """Runs of the organisation, the latest first."""
    gateway, principal = parts_of(request), principal_of(request)
    if configuration_id is not None:
        checked_id(configuration_id, code=errors.CONFIGURATION_UNKNOWN)
    start, before = checked_period(started_from, started_before)
    wanted = queries.ExecutionFilter(
        status=tuple(sorted(set(status or ()))),
        configuration_id=configuration_id,
        started_from=start,
        started_before=before,
        is_wedding_critical=wedding_critical,
        is_degraded=degraded,
    )
    return await queries.page(
        gateway.reading, gateway.sealer, principal.organisation, wanted, limit=limit, cursor=cursor
    )


@get(
    "/executions/{execution_id:str}",
    **needs(Right.READ),
    summary="Show a run",
)
async def show_execution(request: Request[Any, Any, Any], execution_id: Id) -> Execution:
    """One run: phases with their times, what each tier has, sizes, verification, and why it failed."""
    gateway, principal = parts_of(request), principal_of(request)
    async with gateway.reading(principal.organisation) as database:
        return await queries.one(database, principal.organisation, checked_id(execution_id))


@get(
    "/progress/{execution_id:str}",
    **needs(Right.READ),
    summary="Progress of a run",
)
async def show_progress(request: Request[Any, Any, Any], execution_id: Id) -> ProgressView:
    """How far a run is: phase, bytes and files done and in all, rate, tiers, time left."""
    gateway, principal = parts_of(request), principal_of(request)
    async with gateway.reading(principal.organisation) as database:
        shown = await queries.one(database, principal.organisation, checked_id(execution_id))
        place = await queries.queue_position(database, principal.organisation, shown)
    progress = gateway.progress.of(principal.organisation, execution_id) if shown.finished_at is None else None
    return ProgressView(
        execution_id=shown.id,
        state=shown.state,
        started_at=shown.started_at,
        finished_at=shown.finished_at,
        progress=progress,
        waiting=shown.waiting,
        queue_position=place,
    )


@get(
    "/status",
    **needs(Right.READ),
    summary="State of everything",
    media_type=MediaType.JSON,
)
async def show_status(request: Request[Any, Any, Any]) -> Response[Status]:
    """Counts, running, queue, the last 24 hours, tiers' health, the oldest unprotected source, 3-2-1-1-0."""
    gateway, principal = parts_of(request), principal_of(request)
    # Encoded once for all who ask within the same half second.
    encoded: Any = await gateway.status.of(principal.organisation)
    return Response(encoded, media_type=MediaType.JSON)


HANDLERS = [
    Router(
        "/",
        route_handlers=[list_executions, show_execution, show_progress, show_status],
    )
]
