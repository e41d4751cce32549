"""What HTTP asks of every answer: methods, HEAD, when to come back, what is left of one's rate, safe headers."""

import asyncio
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from chassis.ids import new_id
from gateway.wire.outermost import SECURITY_HEADERS
from tests.support.eventually import eventually
from tests.support.gateway import NEW_CONFIGURATION, RunningGateway, problem_code, running_gateway
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer

pytestmark = pytest.mark.stack

READ = (
    "/health/live",
    "/health/ready",
    "/schema",
    "/schema/openapi.json",
    "/asyncapi",
    "/api/backup/configurations",
    "/api/backup/configurations/templates",
    "/api/backup/executions",
    "/api/backup/status",
    "/api/backup/locations",
)


async def test_head_is_answered_like_get_without_the_body(gateway: RunningGateway) -> None:
    """Wherever GET is, HEAD tells the same about it, and the connection goes on."""
    async with gateway.http("viewer") as http:

        async def is_ready() -> bool:
            return (await http.get("/health/ready")).status_code == 200

        await eventually(is_ready)
        for path in READ:
            got, head = await http.get(path), await http.head(path)
            assert head.status_code == got.status_code == 200, path
            assert head.content == b""
            for name in ("content-type", "etag", "content-security-policy"):
                assert head.headers.get(name) == got.headers.get(name), (path, name)
            if path not in ("/api/backup/status", "/health/ready"):
                assert head.headers["content-length"] == got.headers["content-length"], path
        assert (await http.head("/api/backup/execute")).status_code == 405
    async with gateway.stranger() as http:
        assert (await http.head("/api/backup/status")).status_code == 401


async def test_methods_are_told(gateway: RunningGateway) -> None:
    """OPTIONS and 405 say what a path takes; what there is not is a problem, whatever was asked."""
    async with gateway.http("owner") as http:
        for path, allowed in (
            ("/api/backup/status", "GET, HEAD, OPTIONS"),
            ("/api/backup/execute", "OPTIONS, POST"),
            ("/api/backup/configurations", "GET, HEAD, OPTIONS, POST"),
            ("/health/live", "GET, HEAD, OPTIONS"),
        ):
            options = await http.options(path)
            assert (options.status_code, options.headers["allow"], options.content) == (204, allowed, b""), path
            for method in ("DELETE", "PUT", "PATCH", "TRACE", "PROPFIND"):
                refused = await http.request(method, path)
                assert refused.status_code == 405, (method, path)
                assert problem_code(refused) == "method-not-allowed"
                assert refused.headers["allow"] == allowed
        for method in ("GET", "POST", "DELETE", "OPTIONS", "HEAD"):
            for path in ("/", "/api", "/api/backup", "/api/backup/nothing", "/metrics", "/%00", "/..%2f..%2fetc"):
                unknown = await http.request(method, path)
                assert unknown.status_code == 404, (method, path)
                assert unknown.headers["content-type"] == "application/problem+json"


async def test_every_answer_has_the_safe_headers(gateway: RunningGateway) -> None:
    """Also errors, also those that never reach the application."""
    host, port = "127.0.0.1", gateway.process.http.port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n")
    refused = (await asyncio.wait_for(reader.read(), 10)).decode()
    writer.close()
    assert refused.startswith("HTTP/1.1 431 ")
    async with gateway.stranger() as http:
        answers = [await http.get(path) for path in ("/health/live", "/nothing", "/api/backup/status")]
    with pytest.raises(InvalidStatus) as unopened:
        async with connect(gateway.socket_url):
            pass
    for name, value in SECURITY_HEADERS.items():
        assert f"{name}: {value}" in refused
        assert unopened.value.response.headers[name] == value
        assert all(answer.headers[name] == value for answer in answers), name


async def test_who_is_refused_for_now_is_told_until_when(
    tmp_path: Path, postgres: PostgresServer, own_nats: NatsServer
) -> None:
    """Each 429 and 503 says when to come back, and each answer to somebody what is left of the rate."""
    async with running_gateway(tmp_path, postgres, own_nats, rate_per_second=0.5, rate_burst=3.0) as gateway:
        async with gateway.http("viewer") as http:
            answers = [await http.get("/api/backup/locations") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
        assert all(answer.headers["ratelimit-limit"] == "3" for answer in answers)
        _comes_back(answers[-1])
        async with gateway.stranger() as http:
            # At once: one after another, on a busy machine, none is too many.
            strangers = await asyncio.gather(*(http.get("/api/backup/locations") for _ in range(200)))
        refused = [answer for answer in strangers if answer.status_code == 429]
        assert refused
        _comes_back(refused[-1])
        for part in gateway.process.parts:
            gateway.process.health.add(part.name, part.check)  # as the process's own life does
        await asyncio.to_thread(gateway.postgres.stop)
        try:
            async with gateway.http("viewer", subject="other") as http:
                away = await http.get("/api/backup/configurations")
                assert problem_code(away) == "unavailable"
                _comes_back(away)

                async def not_ready() -> str | None:
                    ready = await http.get("/health/ready")
                    return ready.headers["retry-after"] if ready.status_code == 503 else None

                assert int(await eventually(not_ready) or 0) >= 1
        finally:
            await asyncio.to_thread(gateway.postgres.start)


async def test_one_person_does_not_fill_the_record(
    tmp_path: Path, postgres: PostgresServer, own_nats: NatsServer
) -> None:
    """What is written stays: writes have a rate of their own, a person's, and nobody else waits for it."""
    async with running_gateway(tmp_path, postgres, own_nats, writes_per_second=0.01, writes_burst=2.0) as gateway:
        async with gateway.http("owner") as http:
            for number in range(2):
                await gateway.create_configuration(http, name=f"configuration {number}")
            refused = await http.post(
                "/api/backup/configurations", json=NEW_CONFIGURATION, headers={"Idempotency-Key": new_id()}
            )
            assert problem_code(refused) == "too-many-requests"
            _comes_back(refused)
            assert (await http.get("/api/backup/configurations")).status_code == 200
        assert len(gateway.owners.asked) == 2
        async with gateway.http("owner", subject="colleague") as http:
            await gateway.create_configuration(http, name="of a colleague")


def _comes_back(answer: httpx.Response) -> None:
    assert int(answer.headers["retry-after"]) >= 1
    for name in ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"):
        assert int(answer.headers[name]) >= 0
