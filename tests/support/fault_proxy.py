"""A proxy in front of an HTTP server that fails as networks and servers do.

It changes no header, so that signed requests stay valid (the `Host` that was signed is the proxy's own,
and the server does not compare it with its address). Each request is matched against the faults in the
order in which they were added; the first that fits is applied, and used up after `times` requests.
"""

import asyncio
import re
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

Action = Literal[
    "delay",  # wait `seconds`, then go on
    "status",  # answer `status` with the S3 error `code`
    "refuse",  # close the connection without an answer
    "reset-upload",  # reset the connection when `after` bytes of the request's body have passed
    "reset",  # reset the connection when `after` bytes of the answer's body have passed
    "truncate",  # close the connection properly there
    "corrupt",  # flip a bit of the byte at `after` of the answer's body
    "corrupt-upload",  # the same for the request's body
    "throttle",  # move both bodies at `bytes_per_second`
    "lost-ack",  # let the server do it, and reset the connection instead of answering
    "swallow",  # answer 200 without asking the server: a server that lies
    "blackhole",  # never answer
]

_PIECE = 65_536
Sink = Callable[[bytes], Awaitable[None]]


@dataclass
class Fault:
    """One fault. `method` None: any; `path`: a regular expression that is found in the path with its query.

    `times` None: until `FaultProxy.clear`. `skip`: so many matching requests pass first.
    """

    action: Action
    method: str | None = None
    path: str = ""
    times: int | None = 1
    skip: int = 0
    seconds: float = 0.0
    after: int = 0
    bytes_per_second: int = 1 << 20
    status: int = 500
    code: str = "InternalError"
    retry_after: int | None = None

    def takes(self, method: str, path: str) -> bool:
        """Whether it applies to this request; counts."""
        if self.times == 0 or self.method not in {None, method} or not re.search(self.path, path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


_NONE = Fault("delay", times=0)


@dataclass(frozen=True)
class Seen:
    """One request that came through, and what was done to it."""

    method: str
    path: str
    action: Action | None


class _Message:
    """The head of a request or of an answer."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        first, *lines = head.split(b"\r\n")
        self.words = first.decode("latin-1").split(" ", 2)
        self.headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in lines if b":" in line)
        }

    @property
    def expects_continue(self) -> bool:
        return self.headers.get(b"expect", b"").lower() == b"100-continue"


class FaultProxy:
    """Use as a context manager; `endpoint` is where clients go instead of `upstream` (an http URL).

    With `tls` clients speak HTTPS with the proxy.
    """

    def __init__(self, upstream: str, *, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(upstream)
        assert parts.hostname is not None
        assert parts.port is not None
        self._upstream = (parts.hostname, parts.port)
        self._tls = tls
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._seen: list[Seen] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def endpoint(self) -> str:
        """Where the proxy answers."""
        assert self._server is not None
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def add(self, fault: Fault) -> None:
        """Apply the fault to the requests that come from now on."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """No faults from now on; connections that are held in a black hole are closed."""
        with self._lock:
            self._faults.clear()

        def cut() -> None:
            for connection in self._connections:
                connection.cancel()

        self._loop.call_soon_threadsafe(cut)

    def seen(self, method: str | None = None, path: str = "") -> list[Seen]:
        """The requests so far, in order."""
        with self._lock:
            return [one for one in self._seen if method in {None, one.method} and re.search(path, one.path)]

    def _match(self, method: str, path: str) -> Fault:
        with self._lock:
            fault = next((fault for fault in self._faults if fault.takes(method, path)), _NONE)
            self._seen.append(Seen(method, path, None if fault is _NONE else fault.action))
            return fault

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20, ssl=self._tls)

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        connection = _Connection(self._match, self._upstream, reader, writer)
        try:
            while await connection.exchange():
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            connection.close()
            self._connections.discard(task)


class _Connection:
    """One client's connection, and the one to the server that belongs to it."""

    def __init__(
        self,
        match: Callable[[str, str], Fault],
        upstream: tuple[str, int],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._match = match
        self._upstream = upstream
        self._reader, self._writer = reader, writer
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def close(self) -> None:
        self._writer.close()
        if self._server is not None:
            self._server[1].close()

    async def exchange(self) -> bool:
        """Pass one request and its answer; False when the connection is to be closed."""
        request = _Message(await self._reader.readuntil(b"\r\n\r\n"))
        method, path, _ = request.words
        fault = self._match(method, path)
        match fault.action:
            case "delay":
                await asyncio.sleep(fault.seconds if fault is not _NONE else 0)
            case "blackhole":
                await asyncio.sleep(3600)
            case "refuse":
                return False
            case "status" | "swallow":
                return await self._answer(request, fault)
        if self._server is None:
            self._server = await asyncio.open_connection(*self._upstream, limit=1 << 20)
        from_server, to_server = self._server
        to_server.write(request.head)
        if request.expects_continue:
            interim = _Message(await from_server.readuntil(b"\r\n\r\n"))
            self._writer.write(interim.head)
            if interim.words[1] != "100":
                await self._pass_body(from_server, interim, self._writer.write)
                await self._writer.drain()
                return False
        await self._pass_body(self._reader, request, self._upward(fault, to_server))
        answer = _Message(await from_server.readuntil(b"\r\n\r\n"))
        if fault.action == "lost-ack":
            self._reset()
            return False
        self._writer.write(answer.head)
        if method != "HEAD" and answer.words[1] not in {"204", "304"}:
            await self._pass_body(from_server, answer, self._downward(fault))
        await self._writer.drain()
        return True

    async def _answer(self, request: _Message, fault: Fault) -> bool:
        """Answer in the server's place."""
        lies = fault.action == "swallow"
        if request.expects_continue and lies:
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if lies or not request.expects_continue:
            await self._pass_body(self._reader, request, lambda _: None)
        body = b"" if lies else f'<?xml version="1.0"?><Error><Code>{fault.code}</Code></Error>'.encode()
        status = 200 if lies else fault.status
        head = f"HTTP/1.1 {status} Injected\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        if fault.retry_after is not None:
            head += f"Retry-After: {fault.retry_after}\r\n"
        closes = request.expects_continue and not lies
        head += ("Connection: close\r\n" if closes else "") + ('ETag: "0"\r\n' if lies else "") + "\r\n"
        self._writer.write(head.encode() + (b"" if request.words[0] == "HEAD" else body))
        await self._writer.drain()
        return not closes

    def _upward(self, fault: Fault, to_server: asyncio.StreamWriter) -> Sink:
        passed = 0

        async def send(piece: bytes) -> None:
            nonlocal passed
            if fault.action == "reset-upload" and passed + len(piece) > fault.after:
                self._reset()
                raise ConnectionResetError
            if fault.action == "corrupt-upload":
                piece = _flipped(piece, fault.after - passed)
            passed += len(piece)
            to_server.write(piece)
            await to_server.drain()
            if fault.action == "throttle":
                await asyncio.sleep(len(piece) / fault.bytes_per_second)

        return send

    def _downward(self, fault: Fault) -> Sink:
        passed = 0

        async def send(piece: bytes) -> None:
            nonlocal passed
            if fault.action in {"reset", "truncate"} and passed + len(piece) > fault.after:
                self._writer.write(piece[: fault.after - passed])
                await self._writer.drain()
                if fault.action == "reset":
                    self._reset()
                raise ConnectionResetError
            if fault.action == "corrupt":
                piece = _flipped(piece, fault.after - passed)
            passed += len(piece)
            self._writer.write(piece)
            await self._writer.drain()
            if fault.action == "throttle":
                await asyncio.sleep(len(piece) / fault.bytes_per_second)

        return send

    @staticmethod
    async def _pass_body(reader: asyncio.StreamReader, message: _Message, sink: Callable[[bytes], object]) -> None:
        async def pass_on(piece: bytes) -> None:
            passed = sink(piece)
            if isinstance(passed, Awaitable):
                await passed

        if message.headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            size = -1
            while size != 0:
                line = await reader.readline()
                size = int(line.split(b";")[0], 16)
                await pass_on(line + await reader.readexactly(size + 2))
            return
        left = int(message.headers.get(b"content-length", 0))
        while left:
            piece = await reader.read(min(left, _PIECE))
            if not piece:
                raise ConnectionResetError
            left -= len(piece)
            await pass_on(piece)

    def _reset(self) -> None:
        """Make the kernel send RST instead of FIN."""
        connection: socket.socket = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


def _flipped(piece: bytes, position: int) -> bytes:
    if not 0 <= position < len(piece):
        return piece
    return piece[:position] + bytes([piece[position] ^ 1]) + piece[position + 1 :]
