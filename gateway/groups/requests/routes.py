"""Requests: what a 202 points to."""

from typing import Any

from litestar import Request, get

from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.http.parameters import Id, checked_id
from gateway.parts import parts_of, principal_of
from gateway.writes import queries as queries
from gateway.writes.resources import WriteRequest


@get(
    "/requests/{request_id:str}",
    **needs(Right.READ),
    summary="Show a request",
)
async def show_request(request: Request[Any, Any, Any], request_id: Id) -> WriteRequest:
    """A write that was taken down: pending, accepted, or refused with the reason."""
    gateway, principal = parts_of(request), principal_of(request)
    async with gateway.reading(principal.organisation) as database:
        return await queries.one(database, principal.organisation, checked_id(request_id))


HANDLERS = [show_request]
