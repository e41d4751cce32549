"""Erasures: list, show, and have the receipt."""

from typing import Annotated, Any

from litestar import Request, Response, Router, get
from litestar.params import QueryParameter

from contracts import errors
from contracts.erasure_events import ErasureState
from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.groups.erasures.queries import ErasureFilter, ErasureQueries, receipt_of
from gateway.groups.erasures.resources import Erasure
from gateway.http.parameters import LIMIT_DEFAULT, CursorText, Id, Limit, checked_id
from gateway.http.resources import ListPage
from gateway.parts import parts_of, principal_of

States = Annotated[list[ErasureState] | None, QueryParameter(name="status", description="States; several may be given")]


@get("/", **needs(Right.READ), summary="List erasures")
async def list_erasures(
    request: Request[Any, Any, Any], limit: Limit = LIMIT_DEFAULT, cursor: CursorText = None, status: States = None
) -> ListPage[Erasure]:
    """Erasures of the organisation's data subjects, the latest first."""
    gateway, principal = parts_of(request), principal_of(request)
    queries = ErasureQueries(gateway.sealer, gateway.clock)
    wanted = ErasureFilter(state=tuple(sorted(set(status or ()))))
    return await queries.page(gateway.reading, principal.organisation, wanted, limit=limit, cursor=cursor)


@get("/{erasure_id:str}", **needs(Right.READ), summary="Show an erasure")
async def show_erasure(request: Request[Any, Any, Any], erasure_id: Id) -> Erasure:
    """One erasure: what stands against it and until when, what was destroyed where, and what is left."""
    gateway, principal = parts_of(request), principal_of(request)
    identity = checked_id(erasure_id, code=errors.ERASURE_UNKNOWN)
    queries = ErasureQueries(gateway.sealer, gateway.clock)
    return await queries.one(gateway.reading, principal.organisation, identity)


@get("/{erasure_id:str}/receipt", **needs(Right.READ), summary="Have the receipt of an erasure")
async def get_erasure_receipt(request: Request[Any, Any, Any], erasure_id: Id) -> Response[bytes]:
    """What the organisation's repository has signed, to the byte: `wedsync-backup repo verify-receipt` proves it."""
    gateway, principal = parts_of(request), principal_of(request)
    identity = checked_id(erasure_id, code=errors.ERASURE_UNKNOWN)
    async with gateway.reading(principal.organisation) as database:
        receipt = await receipt_of(database, principal.organisation, identity)
    return Response(receipt.encode(), media_type="application/json")


HANDLERS = [Router("/compliance/erasures", route_handlers=[list_erasures, show_erasure, get_erasure_receipt])]
