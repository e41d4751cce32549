"""Health: what the probes read, over real sockets."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from chassis.life.health import DEGRADED, Health, HealthServer, answer
from chassis.life.tasks import Stalled
from chassis.telemetry.figures import Figures
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.errors import PlatformError
from tests.support.eventually import eventually


async def _well() -> None:
    return None


@pytest.fixture
async def served() -> AsyncIterator[tuple[Health, HealthServer]]:
    """A health server on a free port, without checks."""
    health = Health("executor", check_seconds=0.3)
    server = HealthServer(health, Telemetry("executor"))
    await server.start()
    yield health, server
    await server.stop()


async def _ask(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await writer.drain()
    head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
    writer.close()
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(status.split()[1]), headers, body


async def _get(port: int, path: str) -> tuple[int, dict[str, str], bytes]:
    return await _ask(port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


async def test_live_answers_whatever_the_checks_say(served: tuple[Health, HealthServer]) -> None:
    """A process that cannot do its work must not be killed for it."""
    health, server = served

    async def broken() -> str:
        return "postgres does not answer"

    health.add("record", broken)
    status, headers, body = await _get(server.port, "/health/live")
    assert (status, json.loads(body)) == (200, {"service": "executor", "status": "alive"})
    assert headers["cache-control"] == "no-store"
    assert int(headers["content-length"]) == len(body)


async def test_ready_names_every_check_with_code_reason_and_hint(served: tuple[Health, HealthServer]) -> None:
    """503 says what is wrong and what to do about it."""
    health, server = served
    health.add("nats", _well)
    status, _, body = await _get(server.port, "/health/ready")
    assert (status, json.loads(body)["status"]) == (200, "ready")

    async def drifted() -> PlatformError:
        return PlatformError(errors.TOPOLOGY_DRIFT, "consumer c: ack_wait")

    health.add("topology", drifted)
    status, _, body = await _get(server.port, "/health/ready?verbose=1")
    report = json.loads(body)
    assert (status, report["status"]) == (503, "not-ready")
    assert report["checks"] == [
        {"name": "nats", "status": "ready"},
        {
            "name": "topology",
            "status": "not-ready",
            "code": "topology-drift",
            "reason": "consumer c: ack_wait",
            "hint": errors.TOPOLOGY_DRIFT.hint,
        },
    ]


async def test_check_that_hangs_raises_or_lies_counts_as_failed() -> None:
    """A check is believed only when it says in time that all is well."""
    health = Health("executor", check_seconds=0.1)

    async def hangs() -> None:
        await asyncio.Event().wait()

    async def raises() -> None:
        raise ValueError("Anna")

    async def refuses() -> None:
        raise PlatformError(errors.KEYS_UNUSABLE, "the key file is gone")

    for name, check in (("hangs", hangs), ("raises", raises), ("refuses", refuses)):
        health.add(name, check)
    report = await health.report()
    codes = {finding.name: finding.code for finding in report.checks}
    assert codes == {"hangs": "unavailable", "raises": "unavailable", "refuses": "keys-unusable"}
    assert "within 0.1 s" in str(report.checks[0].reason)
    assert "Anna" not in str(report)


async def test_what_puts_its_cancellation_off_is_told_in_time(served: tuple[Health, HealthServer]) -> None:
    """A client of a silent server may do so for as long as that is; probes and figures answer all the same."""
    health, server = served
    silence, begun = asyncio.Event(), list[str]()

    async def waits(name: str) -> None:
        begun.append(name)
        while not silence.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await silence.wait()

    health.add("record", lambda: waits("check"))
    try:
        for _ in range(2):
            status, _, body = await _get(server.port, "/health/ready")
            assert (status, json.loads(body)["checks"][0]["code"]) == (503, "unavailable")
        assert begun == ["check"]
        assert b'wedsync_ready{service="executor"} 0.0' in (await _get(server.port, "/metrics"))[2]
    finally:
        silence.set()
    await eventually(lambda: _is_ready(health))
    assert begun[:2] == ["check", "check"]


async def _is_ready(health: Health) -> bool:
    return (await health.report()).status == "ready"


async def test_figures_that_put_their_cancellation_off_are_left_out() -> None:
    """The others are shown, and they are not asked for again meanwhile."""
    silence, begun, registry = asyncio.Event(), list[str](), CollectorRegistry()
    figures = Figures(registry, read_seconds=0.1)

    async def waits() -> list[Metric]:
        begun.append("read")
        while not silence.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await silence.wait()
        return []

    figures.add("slow", waits)
    try:
        for _ in range(2):
            async with asyncio.timeout(30):
                await figures.refresh()
            assert b'wedsync_figures_read{figures="slow"} 0.0' in generate_latest(registry)
        assert begun == ["read"]
    finally:
        silence.set()


async def test_checks_run_at_the_same_time() -> None:
    """A probe's time is that of the slowest check, not of all together."""
    health = Health("executor", check_seconds=2.0)
    meeting = asyncio.Barrier(3)

    async def meets() -> None:
        await meeting.wait()

    for number in range(3):
        health.add(f"check {number}", meets)
    assert (await health.report()).status == "ready"
    with pytest.raises(ValueError, match="already"):
        health.add("check 1", meets)


async def test_degraded_process_works_and_says_what_to_look_at(served: tuple[Health, HealthServer]) -> None:
    """A refused publish does not take a process out of service; it is shown until somebody looks."""
    health, server = served
    health.degrade("nats-permissions", PlatformError(errors.PUBLISH_REFUSED, "nats refused executor a publish"))
    status, _, body = await _get(server.port, "/health/ready")
    assert (status, json.loads(body)["status"]) == (200, "degraded")
    assert json.loads(body)["checks"][0]["code"] == "publish-refused"
    health.restore("nats-permissions")
    health.restore("nats-permissions")
    assert (await health.report()).status == "ready"


async def test_metrics_are_exposed_in_prometheus_text(served: tuple[Health, HealthServer]) -> None:
    """What Prometheus scrapes is the process's own registry."""
    _, server = served
    status, headers, body = await _get(server.port, "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    assert b"wedsync_nats_connected" in body
    assert b"process_resident_memory_bytes" in body


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /nothing HTTP/1.1\r\n\r\n", 404),
        (b"POST /health/live HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /health/live SPDY/3\r\n\r\n", 400),
    ],
)
async def test_other_requests_are_refused(served: tuple[Health, HealthServer], request_: bytes, status: int) -> None:
    """The server knows three paths and two methods."""
    _, server = served
    answered, headers, _ = await _ask(server.port, request_)
    assert answered == status
    assert ("allow" in headers) is (status == 405)


async def test_head_has_no_body(served: tuple[Health, HealthServer]) -> None:
    """HEAD says what GET would, without saying it."""
    _, server = served
    status, headers, body = await _ask(server.port, b"HEAD /health/live HTTP/1.1\r\n\r\n")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0


@pytest.mark.parametrize("request_", [b"", b"GET /health/live", b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n"])
async def test_server_survives_who_asks_nothing_or_too_much(
    served: tuple[Health, HealthServer], request_: bytes
) -> None:
    """An unfinished or endless request costs a connection and nothing else."""
    _, server = served
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request_)
    writer.write_eof()
    answered = b""
    with contextlib.suppress(ConnectionError):
        answered = await asyncio.wait_for(reader.read(), 10)
    assert answered == b""
    writer.close()
    assert (await _get(server.port, "/health/live"))[0] == 200


async def test_taken_port_is_an_invalid_setting(served: tuple[Health, HealthServer]) -> None:
    """A second process on the same port says which setting is wrong."""
    _, server = served
    second = HealthServer(Health("config"), Telemetry("config"), port=server.port)
    with pytest.raises(PlatformError) as caught:
        await second.start()
    assert caught.value.code is errors.INVALID_SETTING
    assert str(server.port) in caught.value.message
    await second.stop()
    assert await second.check() is None


async def test_answer_serves_a_process_with_its_own_server() -> None:
    """The gateway answers the same probes on its own port."""
    health, telemetry = Health("gateway"), Telemetry("gateway")
    assert (await answer(health, telemetry, "/health/ready"))[0] == 200
    assert (await answer(health, telemetry, "/health/nothing"))[0] == 404


async def test_check_that_only_degrades_leaves_the_process_ready() -> None:
    """What somebody should look at while the work goes on is no reason to take the process away."""
    health = Health("test")

    async def finds() -> PlatformError:
        return PlatformError(errors.KEYS_UNUSABLE, "a key is missing")

    health.add("keys", finds, worst=DEGRADED)
    report = await health.report()
    assert (report.status, report.checks[0].status, report.checks[0].code) == (DEGRADED, DEGRADED, "keys-unusable")


async def test_server_that_is_away_is_told_before_what_waits_for_it() -> None:
    """Nobody is sent to the loop that stands because Postgres hangs; by itself it is told as before."""
    health = Health("gateway", check_seconds=0.05)
    hangs: asyncio.Event | None = None

    async def feed() -> PlatformError:
        return Stalled("feed", 26)

    async def postgres() -> None:
        if hangs is not None:
            await hangs.wait()

    async def disk() -> PlatformError:
        return PlatformError(errors.NO_SPACE, "the disk is full")

    for name, check in (("feed", feed), ("disk", disk), ("postgres", postgres)):
        health.add(name, check)
    alone = {each.name: each for each in (await health.report()).checks}
    assert (alone["feed"].code, alone["feed"].reason) == ("internal", "feed has made no progress for 26 s")
    hangs = asyncio.Event()
    first, *others = (await health.report()).checks
    hangs.set()
    assert first.name == "postgres"
    beside = {each.name: each for each in others}
    assert (beside["feed"].code, beside["feed"].hint) == (errors.UNAVAILABLE.code, first.hint)
    assert beside["feed"].reason == f"feed has made no progress for 26 s, while {first.reason}"
    assert beside["disk"] == alone["disk"]
