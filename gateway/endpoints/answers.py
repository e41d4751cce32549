"""The response to a write, by what became of it in time."""

import logging
from contextlib import suppress
from typing import Any

import msgspec
from litestar import Response
from litestar.status_codes import HTTP_202_ACCEPTED, HTTP_429_TOO_MANY_REQUESTS

from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import PlatformError
from gateway.auth.principal import Principal
from gateway.parts import Gateway
from gateway.writes import queries as request_queries
from gateway.writes.book import Outcome
from gateway.writes.declaration import Superseded, declared
from gateway.writes.items import of_items
from gateway.writes.resources import RequestState, WriteRequest

LOG = logging.getLogger(__name__)

RETRY_SECONDS = "1"
FULL_SECONDS = 30
"""When a queue that was full is worth another request: runs end after seconds to hours."""


async def raise_refusal(gateway: Gateway, principal: Principal, outcome: Outcome) -> None:
    """Raise the error that the owner's refusal stands for; return where it was not refused.

    Where several things were asked for at once, with what its owner has found wrong with each of them.
    """
    if outcome.refusal is not None:
        error = outcome.refusal.error()
        if declared()[outcome.kind].ITEMS is not None and error.code is errors.BULK_REFUSED:
            with suppress(PlatformError):
                async with gateway.reading(principal.organisation) as connection:
                    error = await of_items(connection, principal.organisation, outcome.request_id) or error
        error.context["request_id"] = outcome.request_id
        if error.code.status == HTTP_429_TOO_MANY_REQUESTS:
            error.context["retry_after_seconds"] = FULL_SECONDS
        raise error


async def taken_down(
    gateway: Gateway, principal: Principal, outcome: Outcome, superseded: Superseded | None = None
) -> Response[Any]:
    """202: the write is in the record. The body is the request as it stands; `Location` is where it will be.

    Where it cannot be read at this moment, the body is what is known without: nobody is told to try again what was
    taken down.
    """
    is_read = True
    try:
        async with gateway.reading(principal.organisation) as connection:
            request = await request_queries.one(connection, principal.organisation, outcome.request_id)
    except PlatformError as error:
        LOG.warning("a request was answered unread", extra={"cause": describe(error), "request_id": outcome.request_id})
        is_read, request = False, _unread(principal, outcome)
    if superseded is not None:
        request = msgspec.structs.replace(request, superseded_by=superseded.version)
    headers = {"Location": f"/api/backup/requests/{outcome.request_id}"}
    if not (outcome.is_answered and is_read):
        headers["Retry-After"] = RETRY_SECONDS
    return Response(request, status_code=HTTP_202_ACCEPTED, headers=headers)


def _unread(principal: Principal, outcome: Outcome) -> WriteRequest:
    """A request that was not refused, as far as it is known to whoever took it down."""
    state = RequestState.ACCEPTED if outcome.is_answered else RequestState.PENDING
    return WriteRequest(
        id=outcome.request_id,
        kind=outcome.kind,
        state=state,
        resource=request_queries.resource_path(outcome.kind, outcome.request_id, outcome.resource_id, state),
        submitted_by=principal.actor,
        submitted_at=outcome.submitted_at,
    )
