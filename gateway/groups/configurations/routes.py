"""Configurations: create, list, show; and the templates to begin from."""

from typing import Annotated, Any

from litestar import Request, Response, Router, get, post
from litestar.params import JSONBody, QueryParameter
from litestar.status_codes import HTTP_201_CREATED

from chassis.sealing import normalised
from contracts import errors
from contracts.configuration import (
    NAME_DIGEST,
    NAME_FIELD,
    SOURCE_IDENTIFIER_FIELD,
    WEDDING_DATE_FIELD,
    ConfigurationBody,
)
from contracts.errors import PlatformError
from gateway.auth.guards import ROLES, requires
from gateway.auth.principal import OWNERS, READERS
from gateway.groups.configurations.queries import ConfigurationFilter, ConfigurationQueries
from gateway.groups.configurations.resources import Configuration, LastRunState, NewConfiguration
from gateway.groups.configurations.submitted import as_kept, wrong_fields
from gateway.groups.configurations.templates import TEMPLATES, Template
from gateway.http.parameters import (
    LIMIT_DEFAULT,
    Before,
    CursorText,
    From,
    Id,
    IdempotencyKey,
    Limit,
    WeddingCritical,
    checked_id,
    checked_time,
)
from gateway.http.resources import ListPage
from gateway.parts import Gateway, parts_of, principal_of
from gateway.writes.answers import raise_refusal, taken_down
from gateway.writes.book import Submission, check_key
from gateway.writes.projection import CREATE_CONFIGURATION
from gateway.writes.resources import WriteRequest

RunStatus = Annotated[
    list[LastRunState] | None,
    QueryParameter(name="status", description="State of the latest run, or `never-run`; several may be given"),
]


@post("/", guards=[requires(OWNERS)], opt={ROLES: OWNERS}, summary="Create a configuration")
async def create_configuration(
    request: Request[Any, Any, Any], data: JSONBody[NewConfiguration], idempotency_key: IdempotencyKey = None
) -> Response[Configuration | WriteRequest]:
    """Submit a new configuration and wait, bounded, for the config service's answer."""
    gateway, principal = parts_of(request), principal_of(request)
    key = check_key(idempotency_key)
    wrong = await wrong_fields(data, gateway.locations, principal.organisation)
    data = as_kept(data)
    outcome = await gateway.book.submit(
        principal,
        Submission(
            kind=CREATE_CONFIGURATION,
            route="POST /api/backup/configurations",
            key=key,
            body=data,
            wrong=wrong,
            record=lambda taken, resource_id: taken.submit_configuration(
                resource_id, sealed_body(gateway, principal.organisation, data), principal.evidence()
            ),
        ),
    )
    raise_refusal(outcome)
    if not outcome.is_answered:
        return await taken_down(gateway, principal, outcome)
    try:
        async with gateway.reading(principal.organisation) as database:
            created = await ConfigurationQueries(gateway.sealer).one(
                database, principal.organisation, outcome.resource_id
            )
    except PlatformError:
        # It was created; that it cannot be shown now must not make anybody create it again.
        return await taken_down(gateway, principal, outcome)
    location = f"/api/backup/configurations/{created.id}"
    return Response(
        created, status_code=HTTP_201_CREATED, headers={"Location": location, "ETag": f'"{created.version}"'}
    )


@get("/", guards=[requires(READERS)], opt={ROLES: READERS}, summary="List configurations")
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
    wanted = ConfigurationFilter(
        status=tuple(sorted(set(status or ()))),
        created_from=checked_time(created_from, "from"),
        created_before=checked_time(created_before, "before"),
        is_wedding_critical=wedding_critical,
    )
    return await ConfigurationQueries(gateway.sealer).page(
        gateway.reading, principal.organisation, wanted, limit=limit, cursor=cursor
    )


@get("/templates", guards=[requires(READERS)], opt={ROLES: READERS}, summary="Templates", sync_to_thread=False)
def list_templates() -> ListPage[Template]:
    """Configurations to begin from, with every field explained."""
    return ListPage(items=list(TEMPLATES))


@get("/{configuration_id:str}", guards=[requires(READERS)], opt={ROLES: READERS}, summary="Show a configuration")
async def show_configuration(request: Request[Any, Any, Any], configuration_id: Id) -> Response[Configuration]:
    """One configuration. `ETag` is its version, to be sent as `If-Match` with a change."""
    gateway, principal = parts_of(request), principal_of(request)
    checked_id(configuration_id, code=errors.CONFIGURATION_UNKNOWN)
    async with gateway.reading(principal.organisation) as database:
        shown = await ConfigurationQueries(gateway.sealer).one(database, principal.organisation, configuration_id)
    return Response(shown, headers={"ETag": f'"{shown.version}"'})


def sealed_body(gateway: Gateway, organisation: str, data: NewConfiguration) -> ConfigurationBody:
    """The configuration as it enters the record: what may be personal is sealed before it leaves this process."""
    sealer = gateway.sealer
    wedding = data.wedding_date
    return ConfigurationBody(
        name=sealer.seal(organisation, NAME_FIELD, data.name),
        name_digest=sealer.digest(organisation, NAME_DIGEST, normalised(data.name)),
        source_type=data.source_type,
        source_location=data.source_location,
        source_identifier=sealer.seal(organisation, SOURCE_IDENTIFIER_FIELD, data.source_identifier),
        backup_type=data.backup_type,
        storage_destinations=data.storage_destinations,
        compression_enabled=data.compression_enabled,
        is_wedding_critical=data.is_wedding_critical,
        wedding_date=sealer.seal(organisation, WEDDING_DATE_FIELD, wedding.isoformat()) if wedding else None,
        tags=data.tags,
    )


HANDLERS = [
    Router(
        "/configurations",
        route_handlers=[create_configuration, list_configurations, list_templates, show_configuration],
    )
]
