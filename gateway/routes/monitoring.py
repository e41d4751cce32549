"""The WebSocket, and the ticket with which a browser opens it."""

from typing import Annotated, Any

import msgspec
from litestar import Request, WebSocket, post, websocket
from litestar.params import QueryParameter
from litestar.status_codes import HTTP_201_CREATED

from contracts import errors
from contracts.errors import PlatformError
from gateway.auth import bearer_of
from gateway.guards import OPEN, ROLES, counting_failures, requires
from gateway.parts import Gateway, parts_of, principal_of
from gateway.principal import READERS, Principal
from gateway.problems import MEDIA_TYPE, problem_of
from gateway.rate_limit import refuse_above
from gateway.resources import Ticket
from gateway.web import client_address

TicketText = Annotated[str | None, QueryParameter(name="ticket", description="A ticket, in place of the header")]


@post(
    "/monitoring/ticket",
    guards=[requires(READERS)],
    opt={ROLES: READERS},
    status_code=HTTP_201_CREATED,
    summary="Get a ticket for the WebSocket",
)
async def give_ticket(request: Request[Any, Any, Any]) -> Ticket:
    """A single-use ticket, valid for half a minute."""
    gateway, principal = parts_of(request), principal_of(request)
    return await gateway.tickets.give(principal)


@websocket("/monitoring", opt={**OPEN, ROLES: READERS})
async def monitor(socket: WebSocket[Any, Any, Any], ticket: TicketText = None) -> None:
    """Snapshot, facts and progress (docs/api.md). By bearer header, or by `?ticket=` from an allowed origin."""
    gateway = parts_of(socket)
    try:
        principal = await _let_in(gateway, socket, ticket)
    except PlatformError as error:
        await _refuse(socket, error)
        return
    await socket.accept()
    await gateway.monitor.serve(socket, principal)


async def _let_in(gateway: Gateway, socket: WebSocket[Any, Any, Any], ticket: str | None) -> Principal:
    origin = socket.headers.get("origin")
    if origin is not None and origin not in gateway.allowed_origins:
        raise PlatformError(
            errors.FORBIDDEN,
            "the page's origin is not allowed",
            field="Origin",
            hint="Ask an operator to add the origin to WEDSYNC_ALLOWED_ORIGINS.",
        )
    with counting_failures(gateway.strangers, client_address(socket)):
        if ticket is not None:
            principal = gateway.verifier.confirm(await gateway.tickets.take(ticket))
        else:
            principal = gateway.verifier.verify(bearer_of(socket.headers.get("authorization")))
    refuse_above(gateway.people.take((principal.organisation, principal.actor)))
    if not principal.may(READERS):
        await gateway.denials.note(principal, errors.FORBIDDEN.code, "/api/backup/monitoring", "WEBSOCKET")
        raise PlatformError(errors.FORBIDDEN, "this needs a role")
    gateway.monitor.refuse_if_full(principal)
    return principal


async def _refuse(socket: WebSocket[Any, Any, Any], error: PlatformError) -> None:
    """Answer the handshake with a problem, where the server can; else close without opening."""
    await socket.receive()
    if "websocket.http.response" not in (socket.scope.get("extensions") or {}):
        await socket.close(4000 + error.code.status, error.code.code)
        return
    send: Any = socket.send
    headers = [(b"content-type", MEDIA_TYPE.encode())]
    await send({"type": "websocket.http.response.start", "status": error.code.status, "headers": headers})
    body = msgspec.json.encode(problem_of(error, instance=socket.scope["path"]))
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})
