"""Configurations: list, show; and the templates to begin from."""

from typing import Annotated, Any

from litestar import Request, Response, Router, get
from litestar.params import QueryParameter

from contracts import errors
from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.groups.configurations.queries import ConfigurationFilter, ConfigurationQueries
from gateway.groups.configurations.resources import Configuration, ConfigurationTest, ConfigurationVersion, LastRunState
from gateway.groups.configurations.templates import TEMPLATES, Template, fitted
from gateway.groups.configurations.tested import latest
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

RunStatus = Annotated[
    list[LastRunState] | None,
    QueryParameter(name="status", description="State of the latest run, or `never-run`; several may be given"),
]


@get("/", **needs(Right.READ), summary="List configurations")
async def list_configurations(
    request: Request[Any, Any, Any],
    limit: Limit = LIMIT_DEFAULT,
    cursor: CursorText = None,
    status: RunStatus = None,
    wedding_critical: WeddingCritical = None,
    created_from: From = None,
    created_before: Before = None,
) -> ListPage[Configuration]:
    """Configurations of the organisation, the latest first, each with its last run and last recovery point."""
    gateway, principal = parts_of(request), principal_of(request)
    start, before = checked_period(created_from, created_before)
    wanted = ConfigurationFilter(
        status=tuple(sorted(set(status or ()))),
        created_from=start,
        created_before=before,
        is_wedding_critical=wedding_critical,
    )
    return await ConfigurationQueries(gateway.sealer, gateway.locations).page(
        gateway.reading, principal.organisation, wanted, limit=limit, cursor=cursor
    )


@get("/templates", **needs(Right.READ), summary="Templates")
async def list_templates(request: Request[Any, Any, Any]) -> ListPage[Template]:
    """Configurations to begin from, with every field explained and the locations that the organisation has."""
    gateway, organisation = parts_of(request), principal_of(request).organisation
    names = [location.name for location in await gateway.locations.offered_to(organisation)]
    known = await gateway.locations.known(names, organisation)
    return ListPage(items=[fitted(template, known) for template in TEMPLATES])


@get("/{configuration_id:str}", **needs(Right.READ), summary="Show a configuration")
async def show_configuration(request: Request[Any, Any, Any], configuration_id: Id) -> Response[Configuration]:
    """One configuration. `ETag` is its version, to be sent as `If-Match` with a change."""
    gateway, principal = parts_of(request), principal_of(request)
    checked_id(configuration_id, code=errors.CONFIGURATION_UNKNOWN)
    shown = await ConfigurationQueries(gateway.sealer, gateway.locations).one(
        gateway.reading, principal.organisation, configuration_id
    )
    return Response(shown, headers={"ETag": f'"{shown.version}"'})


@get("/{configuration_id:str}/history", **needs(Right.READ), summary="Its versions")
async def list_configuration_versions(
    request: Request[Any, Any, Any],
    configuration_id: Id,
    limit: Limit = LIMIT_DEFAULT,
    cursor: CursorText = None,
) -> ListPage[ConfigurationVersion]:
    """Every version of a configuration, the latest first: who made it, when, what it says, and what was said before."""
    gateway, principal = parts_of(request), principal_of(request)
    checked_id(configuration_id, code=errors.CONFIGURATION_UNKNOWN)
    return await ConfigurationQueries(gateway.sealer, gateway.locations).history(
        gateway.reading, principal.organisation, configuration_id, limit=limit, cursor=cursor
    )


@get("/{configuration_id:str}/test", **needs(Right.READ), summary="Its latest test")
async def show_configuration_test(request: Request[Any, Any, Any], configuration_id: Id) -> ConfigurationTest:
    """What the latest test of a configuration has found: a finding for each check, and what a backup would cost."""
    gateway, principal = parts_of(request), principal_of(request)
    checked_id(configuration_id, code=errors.CONFIGURATION_UNKNOWN)
    async with gateway.reading(principal.organisation) as database:
        return await latest(database, principal.organisation, configuration_id)


HANDLERS = [
    Router(
        "/configurations",
        route_handlers=[
            list_configurations,
            list_templates,
            show_configuration,
            list_configuration_versions,
            show_configuration_test,
        ],
    )
]
