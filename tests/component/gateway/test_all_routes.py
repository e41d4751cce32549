"""What HTTP asks of every route, over all routes that the document has: tags, compression, CORS, headers, rates."""

import re
from pathlib import Path

import httpx
import msgspec
import pytest

from chassis.ids import new_id
from contracts.config_events import NotificationChannelCreated, RetentionPolicyCreated
from contracts.dr_execution_events import DrExecutionStarted
from contracts.samples import sample_event
from gateway.app import build
from gateway.openapi.document import document
from gateway.wire.outermost import SECURITY_HEADERS
from tests.support.gateway import ORGANISATION, RunningGateway, running_gateway
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer

pytestmark = pytest.mark.stack

PAGE, ELSEWHERE = "https://app.example.com", "https://elsewhere.example.com"
ALWAYS_NEW = {"/api/backup/status", "/health/ready"}
"""What shows the time at which it was asked, or how a process is doing."""

OF_ANOTHER = re.compile(r"^/api/backup/security/|/recovery-points/\{[^/]*/(entries|versions)$|/content$")
"""What is read in the tables of a service that does not run here, or asked of it."""


async def _things(gateway: RunningGateway, http: httpx.AsyncClient) -> dict[str, str]:
    """An id for each parameter of a path, of something that is there."""
    configuration = (await gateway.create_configuration(http))["id"]
    run = await gateway.facts.accepted(configuration_id=configuration)
    await gateway.facts.complete(run, configuration)
    policy = msgspec.structs.replace(sample_event(RetentionPolicyCreated), retention_policy_id=new_id())
    channel = msgspec.structs.replace(sample_event(NotificationChannelCreated), channel_id=new_id())
    # Its parameter is called as that of a run.
    executed = msgspec.structs.replace(sample_event(DrExecutionStarted), execution_id=run, request_id=new_id())
    for made in (policy, channel, executed):
        await gateway.facts.publish(
            made, organisation=ORGANISATION, actor="service:owner", correlation_id=made.request_id
        )
    recovery = await gateway.facts.recovering(configuration_id=configuration)
    asked = await http.post(
        "/api/backup/execute", json={"configurationId": configuration}, headers={"Idempotency-Key": new_id()}
    )
    things = {
        "configuration_id": configuration,
        "execution_id": run,
        "recovery_point_id": run,
        "retention_policy_id": policy.retention_policy_id,
        "channel_id": channel.channel_id,
        "operation_id": recovery,
        "request_id": asked.json()["id"],
    }
    for path in (f"recovery-points/{run}", f"recovery/operations/{recovery}"):
        await gateway.shows(f"/api/backup/{path}", lambda _: True)
    await gateway.shows(f"/api/backup/notifications/channels/{channel.channel_id}", lambda _: True)
    await gateway.shows(f"/api/backup/disaster-recovery/executions/{run}", lambda _: True)
    return things


def _dressed(answer: httpx.Response, told: str, *, is_guarded: bool) -> None:
    """What no answer leaves without; `told`: about what."""
    for name, value in SECURITY_HEADERS.items():
        # Pages have a policy of their own; the console's is kept, and asked for anew.
        is_own = name == "content-security-policy" or (name, told) == ("cache-control", "get /console")
        assert is_own or answer.headers[name] == value, told
    assert answer.headers["content-security-policy"].startswith("default-src 'none'"), told
    assert answer.headers["x-trace-id"], told
    assert answer.headers.get("content-type", "").count("charset") <= 1, told
    if is_guarded:
        assert int(answer.headers["ratelimit-limit"]) >= int(answer.headers["ratelimit-remaining"]) >= 0, told
        assert int(answer.headers["ratelimit-reset"]) >= 0, told
    if answer.status_code in (429, 503):
        assert int(answer.headers["retry-after"]) >= 1, told


async def test_every_route_answers_as_http_and_browsers_ask(
    tmp_path: Path, postgres: PostgresServer, own_nats: NatsServer
) -> None:
    """A read that has not changed is 304; large answers come compressed; an allowed page may ask, no other."""
    async with (
        running_gateway(tmp_path, postgres, own_nats, allowed_origins=(PAGE,), rate_burst=1000.0) as gateway,
        gateway.http("owner") as http,
    ):
        things = await _things(gateway, http)
        read, large = 0, set()
        for path, methods in document(build(None))["paths"].items():
            # What is of a kind that is not told above has at least its headers.
            place = path.format_map({name: things.get(name, "0") for name in _names(path)})
            is_there = all(name in things for name in _names(path)) and OF_ANOTHER.search(path) is None
            for method, operation in methods.items():
                told = f"{method} {path}"
                is_guarded = bool(operation["security"])
                named = {"Origin": PAGE}
                # Nothing is changed by it: a write needs its key.
                answer = await http.request(method, place, headers=named)
                _dressed(answer, told, is_guarded=is_guarded)
                assert answer.headers["access-control-allow-origin"] == PAGE, told
                exposed = answer.headers["access-control-expose-headers"]
                assert {"ETag", "Location", "Retry-After", "X-Trace-Id"} <= set(exposed.split(", ")), told
                assert "origin" in answer.headers["vary"].lower(), told
                other = await http.request(method, place, headers={"Origin": ELSEWHERE})
                assert "access-control-allow-origin" not in other.headers, told
                await _may_be_asked(http, method, place, told)
                if method == "get" and is_there:
                    read += 1
                    large |= await _is_spared(http, place, answer, told)
        assert read >= 25
        assert {"/schema", "/schema/openapi.json", "/asyncapi", "/api/backup/configurations/templates"} <= large


async def _may_be_asked(http: httpx.AsyncClient, method: str, place: str, told: str) -> None:
    """A browser asks before: method and headers of the operation are allowed to the page, and to no other."""
    wanted = {
        "Access-Control-Request-Method": method.upper(),
        "Access-Control-Request-Headers": "authorization, content-type, idempotency-key, if-match, if-none-match",
    }
    allowed = await http.options(place, headers={**wanted, "Origin": PAGE})
    assert allowed.status_code == 204, told
    assert method.upper() in allowed.headers["access-control-allow-methods"], told
    refused = await http.options(place, headers={**wanted, "Origin": ELSEWHERE})
    assert refused.status_code == 403, told
    assert "access-control-allow-origin" not in refused.headers, told


async def _is_spared(http: httpx.AsyncClient, place: str, answer: httpx.Response, told: str) -> set[str]:
    """What is read has a tag, by which it is not sent again; the path, where it was compressed."""
    assert answer.status_code == 200, (told, answer.text)
    again = await http.get(place, headers={"If-None-Match": answer.headers["etag"]})
    if place in ALWAYS_NEW:
        assert again.status_code in (200, 304), told
    else:
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"]), told
    plain = await http.get(place, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers, told
    is_large = len(plain.content) >= 8192
    assert (answer.headers.get("content-encoding") == "gzip") is is_large, told
    return {place} if is_large else set()


def _names(path: str) -> list[str]:
    return [part.strip("{}") for part in path.split("/") if part.startswith("{")]
