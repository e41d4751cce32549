"""What the supervisor makes of a part's answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from chassis.health import Finding, Report
from contracts import errors
from deploy.stack.ports import choose_ports
from deploy.stack.postgres import postgres_ready
from deploy.stack.probes import Grade, Trouble, http_ready, nats_ready, service_ready, trouble_of_report

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _report(*findings: Finding) -> bytes:
    return msgspec.json.encode(Report(service="config", status="whatever", checks=findings))


def _finding(status: str, code: errors.ErrorCode | None = None) -> Finding:
    return Finding(name="relay", status=status, code=code.code if code else None, reason="the reason" if code else None)


def test_report_without_findings_is_no_trouble() -> None:
    """A service whose checks all pass is ready."""
    assert trouble_of_report(200, _report(_finding("ready"))) is None


def test_report_of_a_degraded_service_does_not_keep_it_from_its_work() -> None:
    """What was noted is shown with its code, and the part counts as up."""
    found = trouble_of_report(200, _report(_finding("ready"), _finding("degraded", errors.PUBLISH_REFUSED)))
    assert found == Trouble("relay: the reason [publish-refused]", Grade.DEGRADED)


@pytest.mark.parametrize(
    ("code", "grade"),
    [
        (errors.UNAVAILABLE, Grade.NOT_READY),
        (errors.STREAM_OF_ANOTHER_LOG, Grade.NEEDS_OPERATOR),
        (errors.STREAM_MISSING, Grade.NEEDS_OPERATOR),
        (errors.KEYS_UNUSABLE, Grade.NEEDS_OPERATOR),
    ],
)
def test_report_says_whether_waiting_helps(code: errors.ErrorCode, grade: Grade) -> None:
    """The code's retry class decides whether the start waits."""
    found = trouble_of_report(503, _report(_finding("not-ready", code)))
    assert found == Trouble(f"relay: the reason [{code.code}]", grade)


def test_degraded_finding_does_not_call_for_an_operator_while_another_only_waits() -> None:
    """Only what keeps the part from its work decides."""
    found = trouble_of_report(
        503, _report(_finding("degraded", errors.PUBLISH_REFUSED), _finding("not-ready", errors.UNAVAILABLE))
    )
    assert found is not None
    assert found.grade is Grade.NOT_READY


@pytest.mark.parametrize(("status", "body"), [(503, b""), (503, b"{}"), (500, b"<html>")])
def test_answer_that_is_no_report_is_a_trouble(status: int, body: bytes) -> None:
    """Whatever a part answers, the probe has words for it."""
    found = trouble_of_report(status, body)
    assert found is not None
    assert found.reason == f"answers {status}"
    assert trouble_of_report(200, b"ok") is None


@asynccontextmanager
async def _server(serve: Serve) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _answering(answer: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        await writer.drain()
        writer.close()

    return serve


def _greeting(greeting: bytes) -> Serve:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await writer.drain()
        writer.close()

    return serve


async def test_http_probe_reads_the_status() -> None:
    """200 is ready, all else is told."""
    async with _server(_answering(b"HTTP/1.1 200 OK\r\n\r\n")) as port:
        assert await http_ready(port, "/")() is None
    async with _server(_answering(b"HTTP/1.1 503 No\r\n\r\n")) as port:
        assert await http_ready(port, "/")() == Trouble("answers 503")
    async with _server(_answering(b"SSH-2.0\r\n")) as port:
        assert await http_ready(port, "/")() == Trouble("does not answer: the answer is no HTTP")
        found = await service_ready(port)()
        assert found is not None
        assert found.reason.startswith("does not answer")


async def test_nats_probe_wants_jetstream() -> None:
    """A server without JetStream is of no use."""
    async with _server(_greeting(b'INFO {"jetstream":true}\r\n')) as port:
        assert await nats_ready(port)() is None
    async with _server(_greeting(b'INFO {"headers":true}\r\n')) as port:
        assert await nats_ready(port)() == Trouble("JetStream is not up")


async def test_postgres_probe_tells_starting_from_ready() -> None:
    """Ready is who asks for a password; who says that it is starting is quoted."""
    async with _server(_answering(b"R\0\0\0\x08\0\0\0\x0a")) as port:
        assert await postgres_ready(port)() is None
    starting = b"E\0\0\0\x40SFATAL\0C57P03\0Mthe database system is starting up\0\0"
    async with _server(_answering(starting)) as port:
        assert await postgres_ready(port)() == Trouble("the database system is starting up")
    async with _server(_answering(b"")) as port:
        found = await postgres_ready(port)()
        assert found is not None
        assert "does not answer" in found.reason


@pytest.mark.parametrize("probe", [nats_ready, service_ready, postgres_ready])
async def test_probe_of_a_port_that_nobody_listens_on(probe: Callable[[int], Callable[[], Awaitable[object]]]) -> None:
    """A part that is not there does not answer."""
    port = choose_ports(["nobody"], {})["nobody"]
    found = await probe(port)()
    assert isinstance(found, Trouble)
    assert found.grade is Grade.NOT_READY
    assert "does not answer" in found.reason
