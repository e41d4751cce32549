"""A receiver of webhooks on loopback: it keeps what came, and answers as it is told to."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

HANGS = 0
"""In place of a status: nothing is ever answered."""


@dataclass
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """`answer`: the status for the next request, by what came. Headers beside it: `location`."""

    answer: Callable[[Received], int] = lambda _: 204
    location: str = "http://127.0.0.1:1/elsewhere"
    came: list[Received] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _open: dict[asyncio.StreamWriter, "asyncio.Task[None] | None"] = field(default_factory=dict)

    async def start(self) -> "Receiver":
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    @property
    def port(self) -> int:
        """Where."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """Where, for a channel."""
        return f"http://127.0.0.1:{self.port}/hook"

    async def stop(self) -> None:
        """Listen no more; what is open is closed."""
        if self._server is not None:
            self._server.close()
        serving = [task for task in self._open.values() if task is not None]
        for writer in list(self._open):
            writer.close()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = asyncio.current_task()
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            received = Received(head[0].split(" ")[1], headers, body)
            self.came.append(received)
            status = self.answer(received)
            if status == HANGS:
                await reader.read()
            else:
                writer.write(f"HTTP/1.1 {status} X\r\nLocation: {self.location}\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
        self._open.pop(writer, None)
        writer.close()
