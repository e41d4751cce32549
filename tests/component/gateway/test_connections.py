"""What a connection may cost before anybody has said who they are."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import Mock

import pytest

from contracts import errors
from contracts.errors import PlatformError
from gateway.wire import connection_limits
from gateway.wire import server as http_server
from gateway.wire.connection_limits import Connections, Limits, networks_of
from gateway.wire.connections import PIPELINED_MAX, _Unread
from gateway.wire.server import HttpServer
from tests.support.eventually import eventually

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
REQUEST = HEAD + b"\r\n"
LIMITS = Limits(head_seconds=0.4, body_seconds=0.4, answer_seconds=0.4, linger_seconds=0.2)


@pytest.fixture(autouse=True)
def _looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "LOOK_SECONDS", 0.05)


class _App:
    """Answers once it may, with a body of any size; remembers what became of the requests."""

    def __init__(self, size: int = 2) -> None:
        self.body = b"x" * size
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.reads = True
        self.begun = 0
        self.left: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun += 1
        more = self.reads
        while more:
            message = await receive()
            more = message.get("more_body", False)
            if message["type"] == "http.disconnect":
                self.left.append("disconnected")
                return
        await self.may_answer.wait()
        length = str(len(self.body)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": self.body})
        self.left.append("answered")


@asynccontextmanager
async def _served(app: Any, limits: Limits = LIMITS, **other: Any) -> AsyncIterator[HttpServer]:
    server = HttpServer(app, host="127.0.0.1", port=0, limits=limits, **other)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class _Client:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send_often(self, data: bytes, times: int) -> None:
        for _ in range(times):
            await self.send(data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        first, *lines = head.decode().strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        body = await asyncio.wait_for(self.reader.readexactly(int(headers["content-length"])), 10)
        return int(first.split(" ")[1]), headers, body

    async def problem(self) -> tuple[int, str]:
        """The next answer, a problem that ends the connection; its status and code."""
        status, headers, body = await self.answer()
        assert headers["content-type"] == "application/problem+json"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["connection"] == "close"
        told = json.loads(body)
        assert told["status"] == status
        await self.is_closed()
        return status, told["code"]

    async def is_closed(self) -> bytes:
        """Wait until the server has closed; what came until then."""
        try:
            return await asyncio.wait_for(self.reader.read(), 10)
        except ConnectionError:
            return b""


@asynccontextmanager
async def _client(server: HttpServer) -> AsyncIterator[_Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield _Client(reader, writer)
    finally:
        writer.transport.abort()


def _lines(count: int) -> bytes:
    return b"".join(b"h%d: v\r\n" % number for number in range(count))


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (HEAD + b"X: " + b"a" * 200_000 + b"\r\n\r\n", 431, "head-too-large"),
        (HEAD + b"X: " + b"a" * 900_000, 431, "head-too-large"),
        (HEAD + b"a" * 900_000, 431, "head-too-large"),
        (HEAD + _lines(101) + b"\r\n", 431, "head-too-large"),
        (HEAD + _lines(60_000), 431, "head-too-large"),
        (HEAD + b"Upgrade: websocket\r\nConnection: upgrade\r\n" + _lines(101) + b"\r\n", 431, "head-too-large"),
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "path-too-long"),
        (b"GET /" + b"a" * 900_000, 414, "path-too-long"),
        (b"nonsense\r\n\r\n", 400, "malformed-request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400, "malformed-request"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nContent-Length: 8\r\n\r\n", 400, "malformed-request"),
    ],
)
async def test_head_is_bounded(sent: bytes, status: int, code: str) -> None:
    """A head that is too large, too long or none at all is refused by a problem, and the application never sees it."""
    app = _App()
    async with _served(app) as server, _client(server) as client:
        await client.send(sent)
        assert await client.problem() == (status, code)
    assert app.begun == 0


async def test_endless_header_is_cut_off() -> None:
    """However much is sent, little of it is taken."""
    async with _served(_App(), Limits()) as server, _client(server) as client:
        await client.send(HEAD + b"X: ")
        with pytest.raises(ConnectionError):
            await client.send_often(b"a" * (1 << 20), 200)


async def test_head_within_the_limits_is_served() -> None:
    """A long token and a hundred lines are no attack."""
    app = _App()
    async with _served(app) as server, _client(server) as client:
        for _ in range(3):
            await client.send(HEAD + _lines(98) + b"Authorization: Bearer " + b"a" * 16_384 + b"\r\n\r\n")
            assert (await client.answer())[0] == 200
    assert app.begun == 3


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (HEAD, b"X"),
        (b"G", b""),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", b"a"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", b""),
    ],
)
async def test_request_that_does_not_end_is_cut_off(first: bytes, then: bytes) -> None:
    """A head or a body that comes drop by drop has its time, and no more."""
    async with _served(_App()) as server, _client(server) as client:
        await client.send(first)
        if then:
            await client.send(then)
        assert await client.problem() == (408, "request-timed-out")
        await eventually(lambda: _is_empty(server))


async def _is_empty(server: HttpServer) -> bool:
    return len(server.connections) == 0


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
async def test_silent_connection_is_closed(sent: bytes) -> None:
    """Who connects and says nothing is let go without a word; an empty line is nothing said."""
    async with _served(_App()) as server, _client(server) as client:
        await client.send(sent)
        assert await client.is_closed() == b""


async def test_empty_lines_between_requests_keep_nothing_open() -> None:
    """The wait for the next request is not ended by what is none."""
    async with _served(_App()) as server, _client(server) as client:
        await client.send(REQUEST)
        assert (await client.answer())[0] == 200
        await client.send(b"\r\n")
        assert await client.is_closed() == b""


async def test_slow_application_is_not_cut_off() -> None:
    """The limits are the client's; an answer may take longer, and the connection goes on after it."""
    app = _App()
    app.may_answer.clear()
    async with _served(app) as server, _client(server) as client:
        await client.send(REQUEST)
        await eventually(lambda: _is(app, 1))
        for connection in server.connections._open.values():
            connection.judge(asyncio.get_running_loop().time() + 1000)
        app.may_answer.set()
        assert (await client.answer())[0] == 200
        await client.send(REQUEST)
        assert (await client.answer())[0] == 200


def test_reader_that_is_slow_is_none_that_does_not_read() -> None:
    """Of a large answer there is always some that waits; what counts is for how long nobody has taken any of it."""
    transport, unread = Mock(), _Unread()

    def looked(now: float, waiting: int) -> float:
        transport.get_write_buffer_size.return_value = waiting
        return unread.seconds(transport, now)

    assert [looked(10.0 * number, 500_000 - number) for number in range(9)] == [0.0] * 9
    assert [looked(100.0 + number, 400_000) for number in range(4)] == [0.0, 1.0, 2.0, 3.0]
    assert (looked(110.0, 0), looked(120.0, 0), looked(121.0, 7), looked(125.0, 7)) == (0.0, 0.0, 0.0, 4.0)


async def test_answer_that_nobody_reads_is_thrown_away() -> None:
    """A reader that does not read holds neither the answer nor the connection."""
    app = _App(size=32 << 20)
    async with _served(app) as server, _client(server) as client:
        await client.send(REQUEST)
        await eventually(lambda: _has(app.left))
        await eventually(lambda: _is_empty(server))


async def _has(things: list[Any]) -> bool:
    return bool(things)


async def test_body_that_nobody_wants_ends_the_connection() -> None:
    """Who is answered before the body is sent may send the rest for a moment; more than is ever taken, not at all."""
    app = _App()
    app.reads = False
    async with _served(app) as server, _client(server) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        assert (await client.answer())[0] == 200
        await client.send(b"0123456789" + REQUEST)
        assert (await client.answer())[0] == 200
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
        assert (await client.answer())[0] == 200
        assert await client.is_closed() == b""


async def test_endless_body_and_trailers_are_cut_off() -> None:
    """Neither a body without an end nor what may follow one is taken for ever."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    for endless in (b"ffff\r\n" + b"a" * 0xFFFF + b"\r\n", b"1;" + b"e" * 60_000 + b"\r\na\r\n"):
        async with _served(_App(), Limits()) as server, _client(server) as client:
            await client.send(head)
            with pytest.raises(ConnectionError):
                await client.send_often(endless, 2_000)
    app = _App()
    app.may_answer.clear()
    async with _served(app) as server, _client(server) as client:
        await client.send(head + b"0\r\n" + _lines(200))
        assert await client.problem() == (431, "head-too-large")


async def test_requests_sent_at_once_are_bounded() -> None:
    """A few requests may be sent before the first is answered; thousands in one packet may not."""
    app = _App()
    app.may_answer.clear()
    async with _served(app, Limits()) as server, _client(server) as client:
        await client.send(REQUEST * 5)
        app.may_answer.set()
        assert [(await client.answer())[0] for _ in range(5)] == [200] * 5
        app.may_answer.clear()
        await client.send(REQUEST * 5_000)
        app.may_answer.set()
        assert [(await client.answer())[0] for _ in range(PIPELINED_MAX + 1)] == [200] * (PIPELINED_MAX + 1)
        assert await client.problem() == (429, "too-many-requests")
        assert app.begun == 5 + PIPELINED_MAX + 1


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + _lines(500) + b"\r\n", 431),
        (b"no request at all\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + _lines(500), 431),
        (b"GET / HTTP/1.1\r\n", 408),
    ],
)
async def test_requests_before_one_that_is_refused_are_answered(refused: bytes, status: int) -> None:
    """What was begun may be in the record: its answer is not lost for what came behind it, which is never begun."""
    app = _App()
    app.may_answer.clear()
    async with _served(app, Limits(head_seconds=0.3)) as server, _client(server) as client:
        await client.send(REQUEST * 2 + refused)
        await eventually(lambda: _is(app, 1))
        app.may_answer.set()
        assert [(await client.answer())[0] for _ in range(2)] == [200, 200]
        assert (await client.problem())[0] == status
        assert app.begun == 2


async def test_connections_of_one_address_are_bounded() -> None:
    """One address does not take all connections; those of a proxy are not one address's."""
    limits = Limits(per_address=2, linger_seconds=0.2)
    async with _served(_App(), limits) as server, _client(server) as first, _client(server) as second:
        for client in (first, second):
            await client.send(REQUEST)
            await client.answer()
        async with _client(server) as third:
            status, headers, _ = await third.answer()
            assert (status, headers["retry-after"]) == (429, "5")
        await eventually(lambda: _has_open(server, 2))
        await first.send(REQUEST)
        assert (await first.answer())[0] == 200
    async with (
        _served(_App(), limits, trusted_proxies=("127.0.0.0/8",)) as server,
        _client(server),
        _client(server),
        _client(server) as third,
    ):
        await third.send(REQUEST)
        assert (await third.answer())[0] == 200


async def _has_open(server: HttpServer, count: int) -> bool:
    return len(server.connections) == count


async def test_idle_connection_makes_room() -> None:
    """Where all connections are taken, who has been idle longest goes; who waits for an answer never does."""
    app = _App()
    limits = Limits(connections=2, linger_seconds=0.2)
    async with _served(app, limits) as server, _client(server) as first, _client(server) as second:
        for client in (second, first):
            await client.send(REQUEST)
            await client.answer()
        async with _client(server) as third:
            await third.send(REQUEST)
            assert (await third.answer())[0] == 200
            assert await second.is_closed() == b""
            app.may_answer.clear()
            for client in (first, third):
                await client.send(REQUEST)
            await eventually(lambda: _is(app, 5))
            async with _client(server) as fourth:
                assert await fourth.problem() == (503, "unavailable")
            assert server.connections.refused == 1
            app.may_answer.set()
            for client in (first, third):
                assert (await client.answer())[0] == 200


async def _is(app: _App, begun: int) -> bool:
    return app.begun == begun


async def test_more_files_than_the_system_allows_is_an_error_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start says what to lower, before connections fail one by one."""
    monkeypatch.setattr(http_server.resource, "getrlimit", lambda _: (256, 1024))
    with pytest.raises(PlatformError) as refused:
        await HttpServer(_App(), host="127.0.0.1", port=0, limits=Limits(connections=1000)).start()
    assert refused.value.code is errors.INVALID_SETTING
    assert refused.value.field == "WEDSYNC_CONNECTIONS_MAX"
    assert "896" in refused.value.hint


@pytest.mark.parametrize("proxies", [("10.0.0.1/8",), ("proxy.internal",), ("*", "10.0.0.1")])
def test_proxy_that_names_nobody_is_refused(proxies: tuple[str, ...]) -> None:
    """A proxy that is trusted in vain would make all its clients one address."""
    with pytest.raises(PlatformError) as refused:
        Connections(Limits(), proxies)
    assert refused.value.field == "WEDSYNC_TRUSTED_PROXIES"
    assert networks_of(("*",))
