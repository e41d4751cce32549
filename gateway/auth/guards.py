"""Who may come in, and who may do what: the layers that every route stands behind.

Promise: a route is open only where it says so (`OPEN`); every other one needs a verified token, a caller within its
rate, and the right that the route names (`gateway.auth.rights`). What an authenticated person is denied is recorded.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NoReturn, cast

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.types import ASGIApp

from chassis.sealing import Sealer
from contracts import errors
from contracts.errors import PlatformError
from contracts.gateway_events import ADDRESS_FIELD, Evidence
from gateway.auth.denials import DenialLog
from gateway.auth.principal import Principal
from gateway.auth.rate_limit import TokenBuckets, refuse_above
from gateway.auth.rights import Right, roles_with
from gateway.auth.tokens import TokenVerifier, bearer_of
from gateway.http.web import client_address
from gateway.wire.outermost import RATE_LIMITED

OPEN = {"exclude_from_auth": True}
"""For `opt` of the few routes that need no token."""
RIGHT = "right"
"""The key in `opt` under which a route names the right that it takes."""

Connection = ASGIConnection[Any, Any, Any, Any]


class Authentication(AbstractAuthenticationMiddleware):
    """Puts the verified person into the scope; HTTP only, WebSockets are let in by `gateway.monitoring.monitor`.

    `people`: how much one person may ask. `strangers`: how often one address may fail to say who it is.
    """

    def __init__(self, app: ASGIApp, *, verifier: TokenVerifier, people: TokenBuckets, strangers: TokenBuckets) -> None:
        super().__init__(app, scopes={ScopeType.HTTP})
        self._verifier = verifier
        self._people = people
        self._strangers = strangers

    async def authenticate_request(self, connection: Connection) -> AuthenticationResult:
        """Raises UNAUTHENTICATED, IDENTITY_PROVIDER_UNAVAILABLE or TOO_MANY_REQUESTS."""
        address, scope = client_address(connection), cast("dict[str, Any]", connection.scope)
        scope[RATE_LIMITED] = lambda: self._strangers.allowance(address)
        with counting_failures(self._strangers, address):
            principal = self._verifier.verify(bearer_of(connection.headers.get("authorization")))
        person = (principal.organisation, principal.actor)
        scope[RATE_LIMITED] = lambda: self._people.allowance(person)
        refuse_above(self._people.take(person))
        return AuthenticationResult(user=principal, auth=None)


@contextmanager
def counting_failures(strangers: TokenBuckets, address: str) -> Iterator[None]:
    """A sign-in of somebody at an address. Raises TOO_MANY_REQUESTS in place of a failure, where there were too many.

    Only who fails waits: an address may be a whole studio's, or a proxy's, so that each token and each ticket is judged
    by itself, whatever was sent from there before. What could not be judged is no failure.
    """
    try:
        yield
    except PlatformError as error:
        if error.code is errors.UNAUTHENTICATED:
            refuse_above(strangers.take(address))
        raise


def needs(right: Right, *, second_factor: bool = False) -> dict[str, Any]:
    """What a route takes to name its right: the guard that asks for it, and the right for the document.

    `second_factor`: people have to have given one lately, too.
    """

    async def guard(connection: Connection, _handler: BaseRouteHandler) -> None:
        await demand(connection, connection.scope["user"], right, second_factor=second_factor)

    return {"guards": [guard], "opt": {RIGHT: right}}


async def demand(connection: Connection, principal: Principal, right: Right, *, second_factor: bool = False) -> None:
    """Let somebody pass who has a right. Raises FORBIDDEN or SECOND_FACTOR_NEEDED, and records whom and where."""
    gateway = connection.app.state["gateway"]
    if not principal.may(right):
        roles = roles_with(right)
        error = PlatformError(errors.FORBIDDEN, f"this needs one of the roles {', '.join(roles)}", roles=roles)
    elif second_factor and not principal.has_second_factor(gateway.clock.now()):
        error = PlatformError(errors.SECOND_FACTOR_NEEDED, "this needs a second factor, given lately")
    else:
        return
    await deny(connection, principal, error)


async def deny(connection: Connection, principal: Principal, error: PlatformError) -> NoReturn:
    """Record whom something is denied, and where; raise it."""
    denials: DenialLog = connection.app.state["gateway"].denials
    method = str(connection.scope.get("method", "WEBSOCKET"))
    route = str(connection.scope.get("path_template", ""))
    await denials.note(principal, error.code.code, route, method, partial(_evidence_of, connection, principal))
    raise error


async def _evidence_of(connection: Connection, principal: Principal) -> Evidence:
    """How somebody who is denied something had proved who they are, and where from. Makes no key, and never raises."""
    gateway = connection.app.state["gateway"]
    sealer: Sealer = gateway.sealer
    address = None
    with suppress(PlatformError):  # an organisation that never wrote has no key; one whose disk is silent is denied too
        seal = partial(sealer.seal, principal.organisation, ADDRESS_FIELD, client_address(connection))
        address = await sealer.ask(seal)
    return principal.evidence(gateway.clock.now(), address=address)
