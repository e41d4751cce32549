"""The response to a write, by what became of it in time."""

from typing import Any

from litestar import Response
from litestar.status_codes import HTTP_202_ACCEPTED, HTTP_429_TOO_MANY_REQUESTS

from gateway.parts import Gateway
from gateway.principal import Principal
from gateway.problems import WrongFields, error_of_code
from gateway.queries import requests as request_queries
from gateway.requests import Outcome
from gateway.resources import WriteRequest

RETRY_SECONDS = "1"
FULL_SECONDS = 30
"""When a queue that was full is worth another request: runs end after seconds to hours."""


def raise_refusal(outcome: Outcome) -> None:
    """Raise the error that the owner's refusal stands for; return where it was not refused."""
    if outcome.refusal is not None:
        code, field, hint = outcome.refusal
        error = error_of_code(code, field=field, hint=hint)
        error.context["request_id"] = outcome.request_id
        if error.code.status == HTTP_429_TOO_MANY_REQUESTS:
            error.context["retry_after_seconds"] = FULL_SECONDS
        raise WrongFields([error]) if field else error


async def taken_down(gateway: Gateway, principal: Principal, outcome: Outcome) -> Response[Any]:
    """202: the write is in the record. The body is the request as it stands; `Location` is where it will be."""
    async with gateway.reading() as connection:
        request: WriteRequest = await request_queries.one(connection, principal.organisation, outcome.request_id)
    headers = {"Location": f"/api/backup/requests/{outcome.request_id}"}
    if not outcome.is_answered:
        headers["Retry-After"] = RETRY_SECONDS
    return Response(request, status_code=HTTP_202_ACCEPTED, headers=headers)
