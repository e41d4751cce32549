"""Approvals: list and show what waits for a second person."""

from typing import Annotated, Any

from litestar import Request, Router, get
from litestar.params import QueryParameter

from contracts import errors
from contracts.approval_events import ApprovalState
from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.groups.approvals import queries
from gateway.groups.approvals.resources import Approval
from gateway.http.parameters import LIMIT_DEFAULT, CursorText, Id, Limit, checked_id
from gateway.http.resources import ListPage
from gateway.parts import parts_of, principal_of

States = Annotated[
    list[ApprovalState] | None, QueryParameter(name="status", description="States; several may be given")
]


@get("/", **needs(Right.READ), summary="List approvals")
async def list_approvals(
    request: Request[Any, Any, Any], limit: Limit = LIMIT_DEFAULT, cursor: CursorText = None, status: States = None
) -> ListPage[Approval]:
    """Approvals of the organisation, the latest first."""
    gateway, principal = parts_of(request), principal_of(request)
    wanted = queries.ApprovalFilter(state=tuple(sorted(set(status or ()))))
    return await queries.page(
        gateway.reading, gateway.sealer, principal.organisation, wanted, limit=limit, cursor=cursor
    )


@get("/{approval_id:str}", **needs(Right.READ), summary="Show an approval")
async def show_approval(request: Request[Any, Any, Any], approval_id: Id) -> Approval:
    """One approval: what is asked for by whom, until when, and what became of it."""
    gateway, principal = parts_of(request), principal_of(request)
    identity = checked_id(approval_id, code=errors.APPROVAL_UNKNOWN)
    async with gateway.reading(principal.organisation) as database:
        return await queries.one(database, principal.organisation, identity)


HANDLERS = [Router("/approvals", route_handlers=[list_approvals, show_approval])]
