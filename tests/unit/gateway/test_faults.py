"""The outermost layers: whatever fails within is answered by a problem."""

from typing import Any

import msgspec
import pytest

from chassis.telemetry.instruments import Telemetry
from gateway.wire.faults import SINGLE, faults_told
from gateway.wire.handshake import refusals_told
from gateway.wire.outermost import RATE_LIMITED, HttpMetrics, observed


async def _asked(app: Any, kind: str = "http", **scope: Any) -> tuple[int, dict[str, str], Any]:
    """What is sent for a request, through all layers: status, headers, body."""
    telemetry = Telemetry("gateway")
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": f"{kind}.request" if kind == "http" else "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    layered = observed(faults_told(refusals_told(app)), telemetry, HttpMetrics(telemetry))
    whole: Any = {
        "type": kind,
        "method": "GET",
        "path": "/api/backup/status",
        "headers": [(b"host", b"x")],
        "http_version": "1.1",
        "extensions": {"websocket.http.response": {}},
        **scope,
    }
    await layered(whole, receive, send)
    start, *rest = sent
    assert start["type"].endswith("http.response.start")
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    assert int(headers["content-length"]) == sum(len(part["body"]) for part in rest)
    return start["status"], headers, msgspec.json.decode(b"".join(part["body"] for part in rest))


async def _fails(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("Anna")


async def _says_nothing(scope: Any, receive: Any, send: Any) -> None:
    return


async def _speaks_plainly(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"4")]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": b"Anna", "more_body": False})


async def _cannot_tell_the_allowance(scope: Any, receive: Any, send: Any) -> None:
    def allowance() -> tuple[int, int, int]:
        raise OverflowError("cannot convert float infinity to integer")

    scope[RATE_LIMITED] = allowance
    await send({"type": "http.response.start", "status": 200, "headers": []})


@pytest.mark.parametrize("app", [_fails, _says_nothing, _speaks_plainly, _cannot_tell_the_allowance])
async def test_fault_outside_of_every_handler_is_a_problem(app: Any) -> None:
    """With a code, a hint, the trace id and the safe headers, and nothing of our insides."""
    status, headers, body = await _asked(app)
    assert (status, body["code"]) == (500, "internal")
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-trace-id"] == body["traceId"]
    assert body["hint"]
    assert "Anna" not in str(body)


async def test_fault_of_a_handshake_is_a_problem() -> None:
    """A socket that is not open yet is answered like a request."""
    status, headers, body = await _asked(_fails, "websocket")
    assert (status, body["code"]) == (500, "internal")
    assert body["traceId"]
    assert headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", SINGLE)
async def test_single_header_that_is_given_twice_is_refused(name: bytes) -> None:
    """Two hosts, two lengths, two people: nobody within chooses between them."""
    headers = [*((each, b"1") for each in SINGLE), (b"accept", b"a"), (b"accept", b"b"), (name, b"1")]
    status, _, body = await _asked(_fails, headers=headers)
    assert (status, body["code"], body["field"]) == (400, "malformed-request", SINGLE[name])


async def test_handshake_that_names_somebody_twice_is_refused() -> None:
    """The same headers are single on a socket."""
    headers = [(b"host", b"x"), (b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")]
    status, _, body = await _asked(_fails, "websocket", headers=headers)
    assert (status, body["code"], body["field"]) == (400, "malformed-request", "Authorization")


async def test_fault_in_the_middle_of_an_answer_ends_the_connection() -> None:
    """What has begun cannot become a problem: the server is told, and cuts it off."""

    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("Anna")

    with pytest.raises(ValueError, match="Anna"):
        await _asked(breaks)
