"""Storage: what is kept where, how it grows, what it costs, repairs and optimisations."""

from typing import Any

from litestar import Request, Router, get

from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.groups.storage import optimizations, queries, repairs
from gateway.groups.storage.resources import StorageOptimization, StorageOverview, StorageRepair, StorageTiers
from gateway.http.parameters import LIMIT_DEFAULT, CursorText, Id, Limit, checked_id
from gateway.http.resources import ListPage
from gateway.parts import parts_of, principal_of


@get("/overview", **needs(Right.READ), summary="Show what is stored")
async def show_storage(request: Request[Any, Any, Any]) -> StorageOverview:
    """What the organisation has stored, by configuration and class; growth, forecast and cost."""
    gateway, principal = parts_of(request), principal_of(request)
    async with gateway.reading(principal.organisation) as database:
        return await queries.overview(database, principal.organisation, gateway.prices, gateway.clock.now())


@get("/tiers", **needs(Right.READ), summary="List storage tiers")
async def list_storage_tiers(request: Request[Any, Any, Any]) -> StorageTiers:
    """Each location where the organisation keeps something: how much, since when, and how it does."""
    gateway, principal = parts_of(request), principal_of(request)
    async with gateway.reading(principal.organisation) as database:
        return await queries.tiers(database, principal.organisation, gateway.prices, gateway.clock.now())


@get("/repairs", **needs(Right.READ), summary="List repairs")
async def list_repairs(
    request: Request[Any, Any, Any], limit: Limit = LIMIT_DEFAULT, cursor: CursorText = None
) -> ListPage[StorageRepair]:
    """Repairs of the organisation, the latest first."""
    gateway, principal = parts_of(request), principal_of(request)
    return await repairs.page(gateway.reading, gateway.sealer, principal.organisation, limit=limit, cursor=cursor)


@get("/repairs/{repair_id:str}", **needs(Right.READ), summary="Show a repair")
async def show_repair(request: Request[Any, Any, Any], repair_id: Id) -> StorageRepair:
    """One repair: what is damaged at each location, from where it was made whole, and what nobody has any more."""
    gateway, principal = parts_of(request), principal_of(request)
    identity = checked_id(repair_id)
    async with gateway.reading(principal.organisation) as database:
        return await repairs.one(database, principal.organisation, identity)


@get("/optimizations", **needs(Right.READ), summary="List optimisations")
async def list_optimizations(
    request: Request[Any, Any, Any], limit: Limit = LIMIT_DEFAULT, cursor: CursorText = None
) -> ListPage[StorageOptimization]:
    """Optimisations of the organisation, the latest first."""
    gateway, principal = parts_of(request), principal_of(request)
    return await optimizations.page(gateway.reading, gateway.sealer, principal.organisation, limit=limit, cursor=cursor)


@get("/optimizations/{optimization_id:str}", **needs(Right.READ), summary="Show an optimisation")
async def show_optimization(request: Request[Any, Any, Any], optimization_id: Id) -> StorageOptimization:
    """One optimisation: what was owed to each location, what went there, and what that saved."""
    gateway, principal = parts_of(request), principal_of(request)
    identity = checked_id(optimization_id)
    async with gateway.reading(principal.organisation) as database:
        return await optimizations.one(database, principal.organisation, identity)


HANDLERS = [
    Router(
        "/storage",
        route_handlers=[
            show_storage,
            list_storage_tiers,
            list_repairs,
            show_repair,
            list_optimizations,
            show_optimization,
        ],
    )
]
