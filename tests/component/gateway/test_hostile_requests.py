"""Generated wrong requests over all routes: each gets a problem that is documented, tells nothing of our insides, and
is not recorded. The seed is fixed, so that what fails once fails again.
"""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path
from random import Random  # noqa: TID251  # seeded
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from chassis.ids import new_id
from gateway.app import build
from gateway.openapi.document import document
from gateway.wire.server import HttpServer
from tests.support.gateway import NEW_CONFIGURATION, RunningGateway, problem_code, running_gateway
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer
from tests.support.published import assert_as_promised

pytestmark = pytest.mark.stack

SEED = 20261126
REQUESTS = 600
JSON = "application/json"
TEXTS = (
    *("", " ", "null", "undefined", "NaN", "true", "0", "-1", "1e309", "2026-13-45", "../../../etc/passwd", "/etc"),
    *("a/../../b", "x\r\ny", "\u202eabc", "zero\u200bwidth", "\ufeffbom", "line\u2028break", "\u0000", "\u0085"),
    *("'; DROP TABLE requests; --", "<script>alert(1)</script>", "${jndi:ldap://x}", "%s%s%n", "{{7*7}}"),
    *("a" * 10_000, "ü" * 5_000, "💍" * 300, "file:///etc/passwd", "s3://bucket", "BOGUS", "GLACIER", "\U000e0041"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**30, -(10**30), [], {}, [[]], [None], {"a": {"b": None}}, "\ud83d"),
    *TEXTS,
)


@pytest.fixture
async def gateway(tmp_path: Path, postgres: PostgresServer, own_nats: NatsServer) -> AsyncIterator[RunningGateway]:
    """A gateway that lets one person ask as much as this test does."""
    async with running_gateway(tmp_path, postgres, own_nats, rate_per_second=1e6, rate_burst=1e6) as running:
        yield running


class Hostile:
    """Makes wrong requests, the same ones each time."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._operations = [
            (method.upper(), path, operation)
            for path, methods in document(build(None))["paths"].items()
            for method, operation in methods.items()
            if operation["security"]
        ]

    def request(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The operation that is aimed at, and what httpx is to send."""
        one = self._random
        method, path, operation = one.choice(self._operations)
        for parameter in (each for each in operation.get("parameters", []) if each["in"] == "path"):
            path = path.replace(f"{{{parameter['name']}}}", one.choice((new_id(), "0" * 36, "x", "%00", "%2e%2e", "ü")))
        sent: dict[str, Any] = {"method": method, "url": path + self._query(operation), "headers": {}}
        if "requestBody" in operation:
            sent["content"] = self._body(operation)
            sent["headers"] = self._headers()
        if one.random() < 0.2:
            name = one.choice(
                ("If-None-Match", "Accept", "traceparent", "Origin", "Cookie", "X-Forwarded-For", "Range")
            )
            sent["headers"][name] = one.choice(("", "*", '"', "a" * 3000, "W/", "bytes=0-", "\xe4;q=2"))
        sent["headers"] = {name: value.encode("latin-1") for name, value in sent["headers"].items()}
        return operation, sent

    def _query(self, operation: dict[str, Any]) -> str:
        one = self._random
        known = [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]
        pieces = []
        for _ in range(one.choice((0, 0, 0, 1, 3) if "requestBody" in operation else (0, 1, 1, 2, 4))):
            name = one.choice((*known, *known, "stauts", "organisation", "a[b]", "", "\u202e", "limit"))
            pieces.append(httpx.QueryParams({name: one.choice(TEXTS)[:300]}).__str__())
        pieces += one.sample(
            ("limit=1&limit=2", "%", "&&", "=", "%ff%fe", "cursor=%FF", "from=1700000000"), one.choice((0, 0, 1))
        )
        return f"?{'&'.join(pieces)}" if pieces else ""

    def _headers(self) -> dict[str, str]:
        one = self._random
        headers = {"Content-Type": JSON, "Idempotency-Key": new_id()}
        if one.random() < 0.15:
            headers["Content-Type"] = one.choice(
                ("text/plain", "", "application/xml", "application/json; charset=utf-16")
            )
        if one.random() < 0.15:
            headers["Idempotency-Key"] = one.choice(("", "a" * 400, "\xfc", "a\tb"))
        return headers

    def _body(self, operation: dict[str, Any]) -> bytes:
        one = self._random
        if one.random() < 0.15:
            return one.choice((b"", b"{", b"null", b"[]", b'"x"', b"[" * 9_000, b"\xff\xfe", b"{}{}", b'{"a":1e999}'))
        examples = operation["requestBody"]["content"][JSON]["examples"]
        body = json.loads(json.dumps(next(iter(examples.values()))["value"]))
        if "sourceLocation" in body:
            body |= json.loads(json.dumps(NEW_CONFIGURATION))
        if "items" in body:
            body["items"] = [json.loads(json.dumps(NEW_CONFIGURATION)) for _ in range(2)]
        for _ in range(one.choice((1, 1, 2, 3))):
            self._break(body)
        return json.dumps(body).encode()

    def _break(self, body: dict[str, Any]) -> None:
        """Replace, remove or add something, anywhere in a body."""
        one = self._random
        name = one.choice(list(body) or ["x"])
        inner = body.get(name)
        if isinstance(inner, list) and inner and isinstance(inner[0], dict):
            inner = one.choice(inner)
        if isinstance(inner, dict) and one.random() < 0.7:
            self._break(inner)
            return
        match one.choice(("replace", "replace", "replace", "remove", "add")):
            case "replace":
                body[name] = deepcopy(one.choice(VALUES))
            case "remove":
                body.pop(name, None)
            case _:
                body[one.choice(TEXTS)[:50]] = deepcopy(one.choice(VALUES))


def _documented(operation: dict[str, Any], answer: httpx.Response) -> bool:
    """Whether an operation's description has this status with this code."""
    response = operation["responses"].get(str(answer.status_code))
    if response is None:
        return False
    return not answer.is_error or answer.json()["code"] in response["content"]["application/problem+json"]["examples"]


def _without_tickets(text: str) -> str:
    """An answer without the secret that it gives on purpose: random letters may be any word."""
    return re.sub(r'("ticket":")[^"]*"', r'\1"', text)


async def test_generated_requests_are_refused_as_documented_and_not_recorded(gateway: RunningGateway) -> None:
    """No 5xx; each refusal is a problem that the OpenAPI document lists; only what was accepted is in the record."""
    gateway.with_audit_log()
    hostile = Hostile(SEED)
    secrets = (
        *(str(gateway.settings.keys_dir.parent), gateway.settings.postgres_dsn, gateway.settings.nats_url),
        *("WEDSYNC_", "Traceback", "psycopg", "msgspec"),
    )
    # The machine's name may be as short as two letters, which lie within many a word.
    machine = re.compile(rf"(?<![\w-]){re.escape(socket.gethostname())}(?![\w-])")
    accepted, statuses, undocumented = 0, set(), []
    async with gateway.http("owner") as http:
        for number in range(REQUESTS):
            operation, sent = hostile.request()
            answer = await http.request(**sent)
            told = f"{number}: {sent} → {answer.status_code} {answer.text[:500]}"
            statuses.add(answer.status_code)
            assert answer.status_code < 500, told
            if answer.status_code == 304:
                assert not answer.content, told
            elif not answer.is_success:
                assert problem_code(answer), told
                if answer.status_code == 422:
                    assert "field" in answer.json() or "got `" in answer.text, told
            for secret in secrets:
                assert secret not in answer.text, told
            assert not machine.search(_without_tickets(answer.text)), told
            if sent["method"] == "GET" and number % 10 == 0:
                head = await http.request(**{**sent, "method": "HEAD"})
                assert (head.status_code, head.content) == (answer.status_code, b""), told
            # A path that is no route any more, such as an id with a slash, is nobody's operation.
            if not _documented(operation, answer) and not (answer.status_code == 404 and "%" in str(sent["url"])):
                undocumented.append(told)
            # What is sent to be looked at alone (a preview) is no write.
            is_write = any(each.get("name") == "Idempotency-Key" for each in operation.get("parameters", []))
            accepted += answer.is_success and sent["method"] == "POST" and "requestBody" in operation and is_write
    assert undocumented == []
    assert len(gateway.owners.asked) == accepted
    for envelope in gateway.owners.asked:
        assert_as_promised(envelope)
    assert accepted < REQUESTS / 20
    assert {400, 404, 415, 422} <= statuses


HANDSHAKES = (
    ("?executionId=x", 422, "unknown-field", "executionId"),
    ("?ticket=", 422, "invalid-field", "ticket"),
    ("?ticket=null", 422, "invalid-field", "ticket"),
    ("?ticket=a&ticket=b", 422, "invalid-field", "ticket"),
    ("?all=true&resume=1", 422, "unknown-field", "all"),
    ("/nowhere", 404, "not-found", None),
)


async def test_handshake_is_refused_by_a_problem(gateway: RunningGateway) -> None:
    """Whatever is wrong with a socket's address is told as it would be over HTTP, before the socket opens."""
    headers = {"Authorization": f"Bearer {gateway.token('viewer')}"}
    for suffix, status, code, field in HANDSHAKES:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(gateway.socket_url + suffix, additional_headers=headers):
                pass
        response = refused.value.response
        assert response.status_code == status, suffix
        assert response.headers["content-type"] == "application/problem+json", suffix
        problem = json.loads(response.body or b"")
        assert (problem["code"], problem.get("field")) == (code, field), suffix
        assert problem["hint"]


NO_HANDSHAKES = (
    b"GET /api/backup/monitoring HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n",
    b"POST /api/backup/monitoring HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"POST /api/backup/execute HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Content-Length: 2\r\n\r\n{}",
)


@pytest.mark.parametrize("sent", NO_HANDSHAKES)
async def test_what_is_no_handshake_is_refused_by_a_problem(sent: bytes) -> None:
    """What the WebSocket's library does not take is told like all else, before the application sees it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError(scope["type"])

    server = HttpServer(app, host="127.0.0.1", port=0)
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(sent)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    finally:
        await server.stop()
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in head
    problem = json.loads(body)
    assert problem["code"] == "malformed-request"
    assert problem["hint"]


FRAMES: tuple[tuple[Any, str, str | None], ...] = (
    ({"executionId": None}, "unknown-field", "executionId"),
    ({"executions": None}, "invalid-field", "executions"),
    ({"configurations": None}, "invalid-field", "configurations"),
    ({"all": None}, "invalid-field", "all"),
    ({"all": True, "resume": None}, "invalid-field", "resume"),
    ({"all": True, "resume": ""}, "invalid-field", "resume"),
    ({"all": True, "executions": [new_id()]}, "invalid-field", "all"),
    ({"executions": [""]}, "invalid-field", "executions[0]"),
    ({"executions": [None]}, "invalid-field", "executions[0]"),
    ({"executions": []}, "invalid-field", "executions"),
    ({"all": False}, "invalid-field", None),
    ({"executions": [new_id()] * 101}, "invalid-field", "executions"),
)


async def test_filter_that_says_nothing_is_refused_on_the_socket(gateway: RunningGateway) -> None:
    """What is null, empty or contradicts itself would answer with everything: an error names it instead."""
    headers = {"Authorization": f"Bearer {gateway.token('viewer')}"}
    async with connect(gateway.socket_url, additional_headers=headers) as opened:
        for message, code, field in FRAMES:
            await opened.send(json.dumps({"type": "subscribe", **message}))
            frame = json.loads(await opened.recv())
            assert frame["type"] == "error", message
            assert (frame["problem"]["code"], frame["problem"].get("field")) == (code, field), message
        for raw in ("", "null", "[" * 9_000, '"\\ud800"', b"\xff\xfe", b'{"type": "subscribe"}'):
            await opened.send(raw)
            frame = json.loads(await opened.recv())
            assert (frame["type"], frame["problem"]["status"] < 500) == ("error", True), raw
        await opened.send(json.dumps({"type": "subscribe", "all": True}))
        assert json.loads(await opened.recv())["type"] == "snapshot"
