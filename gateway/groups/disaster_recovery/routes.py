"""Disaster recovery: list and show plans and their executions, and print one as a runbook."""

from typing import Annotated, Any

from litestar import Request, Response, Router, get
from litestar.params import QueryParameter

from contracts import errors
from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.groups.disaster_recovery import executions
from gateway.groups.disaster_recovery.executions import ExecutionsOf
from gateway.groups.disaster_recovery.queries import PlanQueries, what_there_is
from gateway.groups.disaster_recovery.resources import (
    DisasterRecoveryExecution,
    DisasterRecoveryPlan,
    PlanStatus,
    PlanTemplate,
    Runbook,
)
from gateway.groups.disaster_recovery.runbook import runbook_of
from gateway.groups.disaster_recovery.status import statuses
from gateway.groups.disaster_recovery.templates import TEMPLATES, offered
from gateway.http.parameters import LIMIT_DEFAULT, CursorText, Id, Limit, checked_id
from gateway.http.resources import ListPage
from gateway.parts import parts_of, principal_of

PlanOf = Annotated[str | None, QueryParameter(name="planId", max_length=64, description="Of this plan alone")]
TestsAlone = Annotated[
    bool | None, QueryParameter(name="isTest", description="Tests alone, or executions that are none")
]


@get("/", **needs(Right.READ), summary="List disaster recovery plans")
async def list_disaster_recovery_plans(
    request: Request[Any, Any, Any], limit: Limit = LIMIT_DEFAULT, cursor: CursorText = None
) -> ListPage[DisasterRecoveryPlan]:
    """Plans of the organisation, the latest first."""
    gateway, principal = parts_of(request), principal_of(request)
    return await PlanQueries(gateway.sealer).page(gateway.reading, principal.organisation, limit=limit, cursor=cursor)


@get("/templates", **needs(Right.READ), summary="Templates of disaster recovery plans")
async def list_disaster_recovery_templates(request: Request[Any, Any, Any]) -> ListPage[PlanTemplate]:
    """Plans to begin from, one for each disaster, with the configurations, targets and channels that there are."""
    gateway, organisation = parts_of(request), principal_of(request).organisation
    has = await what_there_is(gateway.reading, gateway.locations, organisation)
    return ListPage(items=[offered(template, has) for template in TEMPLATES])


@get("/{plan_id:str}", **needs(Right.READ), summary="Show a disaster recovery plan")
async def show_disaster_recovery_plan(request: Request[Any, Any, Any], plan_id: Id) -> Response[DisasterRecoveryPlan]:
    """One plan. `ETag` is its version, to be sent as `If-Match` with a change."""
    shown = await _plan(request, plan_id)
    return Response(shown, headers={"ETag": f'"{shown.version}"'})


@get("/{plan_id:str}/runbook", **needs(Right.READ), summary="Show a plan's runbook")
async def show_disaster_recovery_runbook(request: Request[Any, Any, Any], plan_id: Id) -> Runbook:
    """A plan as a document for people, in `text`: what to do, in which order, by whom, also without the platform."""
    shown = await _plan(request, plan_id)
    return Runbook(id=shown.id, version=shown.version, format="markdown", text=runbook_of(shown))


@get("/disaster-recovery/status", **needs(Right.READ), summary="Show how disaster recovery plans stand")
async def show_disaster_recovery_status(
    request: Request[Any, Any, Any], limit: Limit = LIMIT_DEFAULT, cursor: CursorText = None
) -> ListPage[PlanStatus]:
    """Each plan's objectives, what of them was proven, and what stands in its way now, each with what to do."""
    gateway, principal = parts_of(request), principal_of(request)
    plans = await PlanQueries(gateway.sealer).page(gateway.reading, principal.organisation, limit=limit, cursor=cursor)
    now = gateway.clock.now()
    items = await statuses(gateway.reading, gateway.locations, principal.organisation, plans.items, now)
    return ListPage(items=items, next_cursor=plans.next_cursor)


@get("/", **needs(Right.READ), summary="List executions and tests of disaster recovery plans")
async def list_disaster_recovery_executions(
    request: Request[Any, Any, Any],
    plan_id: PlanOf = None,
    is_test: TestsAlone = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: CursorText = None,
) -> ListPage[DisasterRecoveryExecution]:
    """Executions and tests of the organisation's plans, the latest first."""
    gateway, principal = parts_of(request), principal_of(request)
    return await executions.page(
        gateway.reading,
        gateway.sealer,
        principal.organisation,
        ExecutionsOf(plan_id=plan_id, is_test=is_test),
        limit=limit,
        cursor=cursor,
    )


@get("/{execution_id:str}", **needs(Right.READ), summary="Show an execution of a disaster recovery plan")
async def show_disaster_recovery_execution(
    request: Request[Any, Any, Any], execution_id: Id
) -> DisasterRecoveryExecution:
    """One execution or test: where each of its steps is, whom it waits for, and what it has measured."""
    gateway, principal = parts_of(request), principal_of(request)
    checked_id(execution_id, code=errors.DR_EXECUTION_UNKNOWN)
    async with gateway.reading(principal.organisation) as database:
        return await executions.one(database, principal.organisation, execution_id)


async def _plan(request: Request[Any, Any, Any], plan_id: str) -> DisasterRecoveryPlan:
    gateway, principal = parts_of(request), principal_of(request)
    checked_id(plan_id, code=errors.DR_PLAN_UNKNOWN)
    return await PlanQueries(gateway.sealer).one(gateway.reading, principal.organisation, plan_id)


HANDLERS = [
    Router(
        "/disaster-recovery/plans",
        route_handlers=[
            list_disaster_recovery_plans,
            list_disaster_recovery_templates,
            show_disaster_recovery_plan,
            show_disaster_recovery_runbook,
        ],
    ),
    Router(
        "/disaster-recovery/executions",
        route_handlers=[list_disaster_recovery_executions, show_disaster_recovery_execution],
    ),
    Router("/", route_handlers=[show_disaster_recovery_status]),
]
