"""Retention: list and show policies and cleanups, and try a policy on what is kept."""

from typing import Any

from litestar import Request, Response, Router, get, post
from litestar.params import JSONBody
from litestar.status_codes import HTTP_200_OK

from contracts import errors
from contracts.errors import PlatformError
from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.groups.retention import cleanups
from gateway.groups.retention.preview import preview
from gateway.groups.retention.queries import RetentionPolicyQueries
from gateway.groups.retention.resources import NewPreview, RetentionCleanup, RetentionPolicy, RetentionPreview
from gateway.groups.retention.submitted import rules_of, wrong_fields
from gateway.http.parameters import LIMIT_DEFAULT, CursorText, Id, Limit, checked_id
from gateway.http.problems import WrongFields
from gateway.http.resources import ListPage
from gateway.parts import parts_of, principal_of


@get("/", **needs(Right.READ), summary="List retention policies")
async def list_retention_policies(
    request: Request[Any, Any, Any], limit: Limit = LIMIT_DEFAULT, cursor: CursorText = None
) -> ListPage[RetentionPolicy]:
    """Retention policies of the organisation, the latest first."""
    gateway, principal = parts_of(request), principal_of(request)
    return await RetentionPolicyQueries(gateway.sealer).page(
        gateway.reading, principal.organisation, limit=limit, cursor=cursor
    )


@get("/{retention_policy_id:str}", **needs(Right.READ), summary="Show a retention policy")
async def show_retention_policy(request: Request[Any, Any, Any], retention_policy_id: Id) -> Response[RetentionPolicy]:
    """One retention policy. `ETag` is its version, to be sent as `If-Match` with a change."""
    gateway, principal = parts_of(request), principal_of(request)
    checked_id(retention_policy_id, code=errors.RETENTION_POLICY_UNKNOWN)
    shown = await RetentionPolicyQueries(gateway.sealer).one(
        gateway.reading, principal.organisation, retention_policy_id
    )
    return Response(shown, headers={"ETag": f'"{shown.version}"'})


@post(
    "/retention/preview",
    **needs(Right.READ),
    status_code=HTTP_200_OK,
    summary="Preview what a retention policy lets go",
)
async def preview_retention(
    request: Request[Any, Any, Any],
    data: JSONBody[NewPreview],
    limit: Limit = LIMIT_DEFAULT,
    cursor: CursorText = None,
) -> RetentionPreview:
    """Which recovery points would go, wait for a lock or stay, each with every rule that decides. Changes nothing."""
    gateway, principal = parts_of(request), principal_of(request)
    rules = None if data.policy is None else rules_of(data.policy)
    wrong = [] if data.policy is None or rules is None else list(wrong_fields(data.policy, rules, "policy."))
    if data.policy is not None and data.retention_policy_id is None and not data.configuration_ids:
        hint = "Name the configurations, or a saved policy in retentionPolicyId whose configurations are meant."
        message = "it is not said of which configurations"
        wrong.append(PlatformError(errors.INVALID_FIELD, message, field="configurationIds", hint=hint))
    if wrong:
        raise WrongFields(wrong)
    return await preview(
        gateway.reading,
        gateway.sealer,
        principal.organisation,
        data,
        rules,
        now=gateway.clock.now(),
        limit=limit,
        cursor=cursor,
    )


@get("/retention/cleanups", **needs(Right.READ), summary="List cleanups")
async def list_cleanups(
    request: Request[Any, Any, Any], limit: Limit = LIMIT_DEFAULT, cursor: CursorText = None
) -> ListPage[RetentionCleanup]:
    """Cleanups of the organisation, the latest first."""
    gateway, principal = parts_of(request), principal_of(request)
    return await cleanups.page(gateway.reading, gateway.sealer, principal.organisation, limit=limit, cursor=cursor)


@get("/retention/cleanups/{cleanup_id:str}", **needs(Right.READ), summary="Show a cleanup")
async def show_cleanup(request: Request[Any, Any, Any], cleanup_id: Id) -> RetentionCleanup:
    """One cleanup: what went and why, what waits for a lock until when, and what each place gave back."""
    gateway, principal = parts_of(request), principal_of(request)
    identity = checked_id(cleanup_id)
    async with gateway.reading(principal.organisation) as database:
        return await cleanups.one(database, principal.organisation, identity)


HANDLERS = [
    Router("/retention/policies", route_handlers=[list_retention_policies, show_retention_policy]),
    Router("/", route_handlers=[preview_retention, list_cleanups, show_cleanup]),
]
