"""WebSocket clients in a process of their own, as many as a plan says: when each is told what.

Reads a plan as JSON on the first line of stdin, says `ready` when every client has its snapshot, and writes what it
measured as JSON on stdout once stdin ends.

    python -m benchmarks.socket_clients
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
import uvloop
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from chassis.clock import SystemClock

_ROOT = Path(__file__).resolve().parents[1]
SUBSCRIBE = '{"type": "subscribe", "all": true}'
MESSAGE_BYTES_MAX = 16 << 20
OPENED_AT_ONCE = 10
QUIET_SECONDS = 2.0
"""So long after the last run has ended its facts are still waited for."""


class Watching(msgspec.Struct, kw_only=True):
    """So many clients, which take turns at the tokens."""

    url: str
    tokens: list[str]
    clients: int


class Watched(msgspec.Struct, kw_only=True):
    """How often a fact was at a client so many milliseconds after the moment that it names. `dropped`: connections that
    ended.
    """

    fact_ms: dict[int, int]
    progress: int = 0
    dropped: int = 0


class _Message(msgspec.Struct):
    type: str
    time: datetime | None = None


_MESSAGE = msgspec.json.Decoder(_Message)
_WATCHING = msgspec.json.Decoder(Watching)
_WATCHED = msgspec.json.Decoder(Watched)


async def run(plan: Watching) -> Watched:
    """Watch until stdin ends."""
    clock = SystemClock()
    watched, opened = Watched(fact_ms={}), asyncio.Semaphore(OPENED_AT_ONCE)
    ready = [asyncio.Event() for _ in range(plan.clients)]

    async def one(number: int) -> None:
        headers = {"Authorization": f"Bearer {plan.tokens[number % len(plan.tokens)]}"}
        try:
            async with opened:
                socket = await connect(
                    plan.url, additional_headers=headers, max_size=MESSAGE_BYTES_MAX, compression=None, proxy=None
                )
                await socket.send(SUBSCRIBE)
                await socket.recv(decode=False)
            ready[number].set()
            async for text in socket:
                now = clock.now()
                message = _MESSAGE.decode(text)
                if message.type == "fact" and message.time is not None:
                    late = round((now - message.time).total_seconds() * 1000)
                    watched.fact_ms[late] = watched.fact_ms.get(late, 0) + 1
                elif message.type == "progress":
                    watched.progress += 1
        except (WebSocketException, OSError):
            pass
        watched.dropped += 1
        ready[number].set()

    clients = [asyncio.create_task(one(number)) for number in range(plan.clients)]
    await asyncio.gather(*(each.wait() for each in ready))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    result = msgspec.structs.replace(watched)
    for each in clients:
        each.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    return result


@dataclass
class Clients:
    """The process, and how it is told to end."""

    process: asyncio.subprocess.Process

    async def ended(self) -> Watched:
        """Let the last facts come, and end it; what it measured."""
        await asyncio.sleep(QUIET_SECONDS)
        output, _ = await self.process.communicate(b"")
        return _WATCHED.decode(output)


@asynccontextmanager
async def watch_from_outside(plan: Watching) -> AsyncIterator[Clients]:
    """Start the clients, which all watch by then."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.socket_clients"),
        cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 30,
    )
    assert process.stdin is not None  # asked for above
    assert process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(plan) + b"\n")
        await process.stdin.drain()
        if await process.stdout.readline() != b"ready\n":
            raise RuntimeError("the clients did not get ready")
        yield Clients(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def main() -> int:
    """Read the plan, watch, write what was measured."""
    plan = _WATCHING.decode(sys.stdin.buffer.readline())
    watched = uvloop.run(run(plan))
    sys.stdout.buffer.write(msgspec.json.encode(watched))
    return 0


if __name__ == "__main__":
    sys.exit(main())
