"""The WebSocket, and the ticket with which a browser opens it."""

from typing import Any

from litestar import Request, WebSocket, post, websocket
from litestar.status_codes import HTTP_201_CREATED

from contracts import errors
from contracts.errors import PlatformError
from gateway.auth.guards import OPEN, RIGHT, counting_failures, demand, needs
from gateway.auth.principal import Principal
from gateway.auth.rate_limit import refuse_above
from gateway.auth.rights import Right
from gateway.auth.tokens import bearer_of
from gateway.http.web import QueryForm, check_query, client_address
from gateway.monitoring.resources import Ticket
from gateway.parts import Gateway, parts_of, principal_of
from gateway.wire.handshake import refuse

QUERY = {"ticket": QueryForm()}
"""What the socket's address may say beside its path."""


@post(
    "/monitoring/ticket",
    **needs(Right.READ),
    status_code=HTTP_201_CREATED,
    summary="Get a ticket for the WebSocket",
)
async def give_ticket(request: Request[Any, Any, Any]) -> Ticket:
    """A single-use ticket, valid for half a minute."""
    gateway, principal = parts_of(request), principal_of(request)
    return await gateway.tickets.give(principal)


@websocket("/monitoring", opt={**OPEN, RIGHT: Right.READ})
async def monitor(socket: WebSocket[Any, Any, Any]) -> None:
    """Snapshot, facts and progress (docs/api.md). By bearer header, or by `?ticket=` from an allowed page."""
    gateway = parts_of(socket)
    try:
        check_query(socket, QUERY)
        principal = await _let_in(gateway, socket, socket.query_params.get("ticket"))
    except PlatformError as error:
        await refuse(socket, error)
        return
    await socket.accept()
    await gateway.monitor.serve(socket, principal)


async def _let_in(gateway: Gateway, socket: WebSocket[Any, Any, Any], ticket: str | None) -> Principal:
    origin = socket.headers.get("origin")
    if origin is not None and not _is_own(socket, origin) and origin not in gateway.allowed_origins:
        raise PlatformError(
            errors.FORBIDDEN,
            "the page's origin is not allowed",
            field="Origin",
            hint="Ask an operator to allow the origin.",
        )
    with counting_failures(gateway.strangers, client_address(socket)):
        if ticket is not None:
            principal = gateway.verifier.confirm(await gateway.tickets.take(ticket))
        else:
            principal = gateway.verifier.verify(bearer_of(socket.headers.get("authorization")))
    refuse_above(gateway.people.take((principal.organisation, principal.actor)))
    await demand(socket, principal, Right.READ)
    gateway.monitor.refuse_if_full(principal)
    return principal


def _is_own(socket: WebSocket[Any, Any, Any], origin: str) -> bool:
    """Whether a page of this very gateway asks: the console. A proxy that ends TLS leaves `Host` as it was sent.

    Whoever has another name lead here has a page of that name, and no token that this gateway knows.
    """
    return origin.partition("://")[2] == socket.headers.get("host")


HANDLERS = [give_ticket, monitor]
