"""Storage: what is kept where, how it grows, and what it costs."""

from typing import Any

from litestar import Request, Router, get

from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.groups.storage import queries
from gateway.groups.storage.resources import StorageOverview, StorageTiers
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
        return await queries.tiers(database, principal.organisation, gateway.prices)


HANDLERS = [Router("/storage", route_handlers=[show_storage, list_storage_tiers])]
