"""Locations: the names that an organisation may use for sources and destinations."""

from typing import Any

from litestar import Request, get

from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.groups.locations.resources import LocationView
from gateway.http.resources import ListPage
from gateway.parts import parts_of, principal_of


@get(
    "/locations",
    **needs(Right.READ),
    summary="List locations",
)
async def list_locations(request: Request[Any, Any, Any]) -> ListPage[LocationView]:
    """Registered locations that the organisation may use. Where they are is the operator's business alone."""
    gateway, principal = parts_of(request), principal_of(request)
    return ListPage(
        items=[
            LocationView(
                name=location.name,
                kind=location.kind,
                roles=list(location.roles),
                region=location.region,
                lock=location.lock,
                storage_classes=list(location.classes),
            )
            for location in await gateway.locations.offered_to(principal.organisation)
        ]
    )


HANDLERS = [list_locations]
