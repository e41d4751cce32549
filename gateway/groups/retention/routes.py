"""Retention policies: list, show."""

from typing import Any

from litestar import Request, Response, Router, get

from contracts import errors
from gateway.auth.guards import ROLES, requires
from gateway.auth.principal import READERS
from gateway.groups.retention.queries import RetentionPolicyQueries
from gateway.groups.retention.resources import RetentionPolicy
from gateway.http.parameters import LIMIT_DEFAULT, CursorText, Id, Limit, checked_id
from gateway.http.resources import ListPage
from gateway.parts import parts_of, principal_of


@get("/", guards=[requires(READERS)], opt={ROLES: READERS}, summary="List retention policies")
async def list_retention_policies(
    request: Request[Any, Any, Any], limit: Limit = LIMIT_DEFAULT, cursor: CursorText = None
) -> ListPage[RetentionPolicy]:
    """Retention policies of the organisation, the latest first. Nothing is removed by them yet."""
    gateway, principal = parts_of(request), principal_of(request)
    return await RetentionPolicyQueries(gateway.sealer).page(
        gateway.reading, principal.organisation, limit=limit, cursor=cursor
    )


@get("/{retention_policy_id:str}", guards=[requires(READERS)], opt={ROLES: READERS}, summary="Show a retention policy")
async def show_retention_policy(request: Request[Any, Any, Any], retention_policy_id: Id) -> Response[RetentionPolicy]:
    """One retention policy. `ETag` is its version, to be sent as `If-Match` with a change."""
    gateway, principal = parts_of(request), principal_of(request)
    checked_id(retention_policy_id, code=errors.RETENTION_POLICY_UNKNOWN)
    shown = await RetentionPolicyQueries(gateway.sealer).one(
        gateway.reading, principal.organisation, retention_policy_id
    )
    return Response(shown, headers={"ETag": f'"{shown.version}"'})


HANDLERS = [Router("/retention/policies", route_handlers=[list_retention_policies, show_retention_policy])]
