"""Holds: list and show what stays, whatever a policy says."""

from typing import Annotated, Any

from litestar import Request, Router, get
from litestar.params import QueryParameter

from contracts import errors
from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.groups.holds.queries import HoldFilter, HoldQueries
from gateway.groups.holds.resources import Hold, HoldState
from gateway.http.parameters import LIMIT_DEFAULT, CursorText, Id, Limit, checked_id
from gateway.http.resources import ListPage
from gateway.parts import parts_of, principal_of

OfStatus = Annotated[HoldState | None, QueryParameter(name="status", description="Only those in this state")]


@get("/", **needs(Right.READ), summary="List holds")
async def list_holds(
    request: Request[Any, Any, Any], limit: Limit = LIMIT_DEFAULT, cursor: CursorText = None, status: OfStatus = None
) -> ListPage[Hold]:
    """Holds of the organisation, the latest first."""
    gateway, principal = parts_of(request), principal_of(request)
    queries = HoldQueries(gateway.sealer, gateway.clock)
    return await queries.page(
        gateway.reading, principal.organisation, HoldFilter(state=status), limit=limit, cursor=cursor
    )


@get("/{hold_id:str}", **needs(Right.READ), summary="Show a hold")
async def show_hold(request: Request[Any, Any, Any], hold_id: Id) -> Hold:
    """One hold: what it keeps and why, until when it is to be looked at, and who is asked for its release."""
    gateway, principal = parts_of(request), principal_of(request)
    identity = checked_id(hold_id, code=errors.HOLD_UNKNOWN)
    return await HoldQueries(gateway.sealer, gateway.clock).one(gateway.reading, principal.organisation, identity)


HANDLERS = [Router("/retention/holds", route_handlers=[list_holds, show_hold])]
