"""What the supervisor makes of a part's answers."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from chassis.life.health import Finding, Health, Report
from contracts import errors
from contracts.lost_streams import streams_lost
from deploy.stack.layout import Layout
from deploy.stack.ports import choose_ports
from deploy.stack.postgres import postgres_ready
from deploy.stack.probes import Grade, Trouble, http_ready, service_ready, trouble_of_report
from deploy.stack.stores import Store

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


async def test_report_names_the_service_whose_stream_is_gone_and_not_the_one_that_tells_it() -> None:
    """A reader of a stream cannot publish its record: the command that is shown names the owner."""
    health = Health("gateway")
    health.degrade("topology", streams_lost("stream BACKUP_EXECUTOR is missing", ["BACKUP_EXECUTOR"]))
    found = trouble_of_report(503, msgspec.json.encode(await health.report()))
    assert found is not None
    assert found.services == {"executor"}
    assert "Run wedsync-backup refill executor:" in found.reason
    health.degrade("topology", streams_lost("two are missing", ["BACKUP_EXECUTOR", "BACKUP_CONFIG"]))
    found = trouble_of_report(503, msgspec.json.encode(await health.report()))
    assert found is not None
    assert "Run wedsync-backup refill all:" in found.reason
    health.degrade("topology", streams_lost("that of progress is missing", ["BACKUP_PROGRESS"]))
    found = trouble_of_report(503, msgspec.json.encode(await health.report()))
    assert found is not None
    assert not found.services
    assert "refill" not in found.reason


async def test_http_probe_reads_the_status() -> None:
    """200 is ready, all else is told."""
    async with _server(_answering(b"HTTP/1.1 200 OK\r\n\r\n")) as port:
        assert await http_ready(port, "/")() is None
    async with _server(_answering(b"HTTP/1.1 503 No\r\n\r\n")) as port:
        assert await http_ready(port, "/")() == Trouble("answers 503")
    async with _server(_answering(b"SSH-2.0\r\n")) as port:
        silent = Trouble("does not answer: the answer is no HTTP", restart_helps=True)
        assert await http_ready(port, "/")() == silent
        found = await service_ready(port)()
        assert found is not None
        assert found.reason.startswith("does not answer")


@pytest.fixture
async def store(tmp_path: Path) -> Store:
    """A store in its place."""
    layout = Layout.create(tmp_path / "home")
    store = Store(layout, layout.postgres_data)
    await store.open()
    return store


async def test_postgres_probe_quotes_who_answers_and_knows_who_does_not(store: Store) -> None:
    """Who says that it is starting is alive; who says nothing, or hangs up, is not."""

    async def asked(serve: Serve) -> Trouble | None:
        async with _server(serve) as port:
            return await postgres_ready(f"postgresql://admin:x@127.0.0.1:{port}/postgres?sslmode=disable", store)()

    words = b"SFATAL\0C57P03\0Mthe database system is starting up\0\0"
    starting = await asked(_answering(b"E" + struct.pack("!i", len(words) + 4) + words))
    assert starting == Trouble("the database system is starting up")
    words = b'SFATAL\0C28P01\0Mpassword authentication failed for user "admin"\0\0'
    refused = await asked(_answering(b"E" + struct.pack("!i", len(words) + 4) + words))
    assert refused is not None
    assert refused.grade is Grade.NEEDS_OPERATOR
    assert "keys/secrets.json" in refused.reason
    gone = await asked(_answering(b""))
    assert gone is not None
    assert gone.restart_helps


def _unused_port() -> int:
    return choose_ports(["nobody"], {})["nobody"]


async def test_probe_of_a_port_that_nobody_listens_on(store: Store) -> None:
    """A part that is not there does not answer."""
    dsn = f"postgresql://admin:x@127.0.0.1:{_unused_port()}/postgres"
    for probe in (service_ready(_unused_port()), postgres_ready(dsn, store)):
        found = await probe()
        assert isinstance(found, Trouble)
        assert (found.grade, found.restart_helps) == (Grade.NOT_READY, True)
        assert "does not answer" in found.reason


async def test_probe_looks_at_the_store_first(store: Store) -> None:
    """What a server says about a store that is gone is worth nothing."""
    store.folder.rename(store.folder.with_name("elsewhere"))
    found = await postgres_ready("postgresql://127.0.0.1:1/postgres", store)()
    assert found is not None
    assert found.grade is Grade.LOST
    assert str(store.folder) in found.reason
