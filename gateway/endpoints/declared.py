"""The route of a declared write: guards, idempotency, recording, waiting and answering, the same for every one."""

from typing import Any

from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody
from litestar.status_codes import HTTP_202_ACCEPTED

from chassis.sealing import Sealer
from contracts import errors
from contracts.errors import PlatformError
from contracts.gateway_events import ADDRESS_FIELD, AGENT_FIELD, Evidence
from gateway.auth.guards import ROLES, requires
from gateway.endpoints.answers import raise_refusal, taken_down
from gateway.http.parameters import Id, IdempotencyKey, checked_id
from gateway.parts import parts_of, principal_of
from gateway.writes.book import Submission, check_key
from gateway.writes.declaration import Asked, Draft, New, Write

AnyRequest = Request[Any, Any, Any]

AGENT_LENGTH_MAX = 200
"""How much of what a client calls itself is kept."""


def handler_of(write: Write[Any]) -> HTTPRouteHandler:
    """The handler of a write."""
    body_type: Any = write.BODY

    async def with_body(
        request: AnyRequest,
        data: JSONBody[body_type],  # the type of this very write
        idempotency_key: IdempotencyKey = None,
    ) -> Response[Any]:
        return await _serve(write, request, "", data, idempotency_key)

    async def with_target(
        request: AnyRequest, resource_id: Id, idempotency_key: IdempotencyKey = None
    ) -> Response[Any]:
        # Not as the class of all requests reads it: that needs a body.
        if await Request.body(request) not in (b"", b"{}"):
            raise PlatformError(errors.UNKNOWN_FIELD, "this takes no body", field="body", hint="Send none.")
        return await _serve(write, request, checked_id(resource_id), None, idempotency_key)

    fn = with_target if write.is_targeted else with_body
    fn.__name__ = fn.__qualname__ = write.operation
    fn.__doc__ = write.__doc__
    return post(
        write.PATH,
        guards=[requires(write.ROLES, second_factor=write.SECOND_FACTOR)],
        opt={ROLES: write.ROLES},
        status_code=HTTP_202_ACCEPTED,
        summary=write.SUMMARY,
    )(fn)


async def _serve(write: Write[Any], request: AnyRequest, target: str, data: Any, key: str | None) -> Response[Any]:
    gateway, principal = parts_of(request), principal_of(request)
    checked = check_key(key)
    asked = Asked(gateway, principal, target, data)
    draft = await write.draft(asked)
    outcome = await gateway.book.submit(principal, _submission(write, request, asked, draft, checked))
    raise_refusal(outcome)
    if outcome.is_answered:
        try:
            shown = await write.shown(asked, outcome.resource_id)
        except PlatformError:
            shown = None  # It was done; that it cannot be shown now must not make anybody do it again.
        if shown is not None:
            return shown
    return await taken_down(gateway, principal, outcome)


def _submission(write: Write[Any], request: AnyRequest, asked: Asked[Any], draft: Draft, key: str) -> Submission:
    return Submission(
        kind=write.NAME,
        route=write.route,
        key=key,
        body=draft.body if draft.body is not None else asked.body if asked.body is not None else asked.target,
        wrong=draft.wrong,
        target=asked.target if write.is_targeted and not write.MAKES else None,
        event=lambda request_id, resource_id: draft.event(
            New(request_id, resource_id, evidence_of(request, asked.gateway.sealer))
        ),
    )


def evidence_of(request: AnyRequest, sealer: Sealer) -> Evidence:
    """How the person had proved who they are, and where from. What tells of the person is sealed."""
    principal = principal_of(request)
    seal, organisation = sealer.seal, principal.organisation
    agent = request.headers.get("user-agent")
    return Evidence(
        assurance=principal.assurance,
        factors=principal.factors,
        roles=tuple(sorted(principal.roles)),
        token_id=principal.token_id,
        factor_at=principal.factor_at,
        address=seal(organisation, ADDRESS_FIELD, request.client.host) if request.client else None,
        agent=seal(organisation, AGENT_FIELD, agent[:AGENT_LENGTH_MAX]) if agent else None,
    )
