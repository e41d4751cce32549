"""Buckets whose speed is bounded: read, or written to, through a relay that passes so many bytes a second."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise

BLOCK = 64 * 1024


@dataclass
class Throttle:
    """A relay on loopback, of one source. `moved`: when it handed out bytes, and how many.

    `is_of_uploads`: what is sent to the bucket has the rate, and not what it answers.
    """

    server_port: int
    bytes_per_second: float
    is_of_uploads: bool = False
    port: int = 0
    moved: list[tuple[float, int]] = field(default_factory=list)
    _due: float = 0.0

    def most_still(self, begin: float, end: float) -> float:
        """The longest time within which no byte was handed out, in seconds."""
        at = [begin, *(when for when, _ in self.moved if begin <= when <= end), end]
        return max(after - before for before, after in pairwise(at))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: one way as it comes, the other at the rate."""
        up, up_writer = await asyncio.open_connection("127.0.0.1", self.server_port, limit=BLOCK)

        async def forward() -> None:
            await self._pass(reader, up_writer, is_slow=self.is_of_uploads)
            with suppress(OSError, RuntimeError):  # uvloop's word for a connection that is closed
                up_writer.write_eof()

        forwarding = asyncio.create_task(forward())
        try:
            await self._pass(up, writer, is_slow=not self.is_of_uploads)
        finally:
            forwarding.cancel()
            up_writer.close()
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_slow: bool) -> None:
        with suppress(OSError, RuntimeError):
            while block := await reader.read(BLOCK):
                if is_slow:
                    now = time.monotonic()
                    self._due = max(self._due, now - 0.05) + len(block) / self.bytes_per_second
                    await asyncio.sleep(max(0.0, self._due - now))
                writer.write(block)
                await writer.drain()
                if is_slow:
                    self.moved.append((time.monotonic(), len(block)))


@asynccontextmanager
async def throttles(
    count: int, server_port: int, bytes_per_second: float, *, is_of_uploads: bool = False
) -> AsyncIterator[list[Throttle]]:
    """So many relays, each of a rate of its own."""
    made = [Throttle(server_port, bytes_per_second, is_of_uploads) for _ in range(count)]
    servers = [await asyncio.start_server(each.serve, "127.0.0.1", 0, limit=BLOCK) for each in made]
    for each, server in zip(made, servers, strict=True):
        each.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        for server in servers:
            server.close()
