"""An HTTP client in a process of its own: asks at a fixed rate, whether or not the last answer has come.

A latency counts from the time at which the request was due, not from when it was sent, so that a stall of the server
is felt by every request that it delays (no coordinated omission). Reads a plan as JSON on stdin, writes what it
measured as JSON on stdout.

    python -m benchmarks.outside_client < plan.json
"""

import asyncio
import sys
import time
from collections import deque

import msgspec
import uvloop

CONNECTIONS = 32


class Plan(msgspec.Struct, kw_only=True):
    """What to ask. `requests` are sent in turn, each whole as bytes: head and body. `per_second`, `seconds`."""

    host: str
    port: int
    requests: list[str]
    per_second: float
    seconds: float


class Measured(msgspec.Struct, kw_only=True):
    """What came of it: latencies in milliseconds by the status of the answer, and how many got none.

    `by_request`: the same by the request's place in the plan.
    """

    milliseconds: dict[int, list[float]]
    by_request: dict[int, list[float]]
    failed: int
    late_milliseconds: float
    """How far behind its schedule the client itself was at worst."""


_PLAN = msgspec.json.Decoder(Plan)


class _Connection:
    """One keep-alive connection, one request at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes) -> int:
        """Send a request and read its answer to the end; the status."""
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        at = lower.find(b"content-length:")
        if at >= 0:
            await self._reader.readexactly(int(lower[at + 15 : lower.index(b"\r\n", at)]))
        return int(head[9:12])

    def drop(self) -> None:
        """Forget a connection that failed."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def run(plan: Plan) -> Measured:
    """Ask as planned."""
    free = deque(_Connection(plan.host, plan.port) for _ in range(CONNECTIONS))
    waiting = asyncio.Semaphore(CONNECTIONS)
    measured = Measured(milliseconds={}, by_request={}, failed=0, late_milliseconds=0.0)
    requests = [request.encode() for request in plan.requests]
    tasks: set[asyncio.Task[None]] = set()

    async def one(number: int, due: float) -> None:
        async with waiting:
            connection = free.popleft()
            try:
                status = await connection.ask(requests[number])
            except (OSError, asyncio.IncompleteReadError, ValueError):
                measured.failed += 1
                connection.drop()
            else:
                took = (time.perf_counter() - due) * 1000
                measured.milliseconds.setdefault(status, []).append(took)
                measured.by_request.setdefault(number, []).append(took)
            finally:
                free.append(connection)

    begin = time.perf_counter() + 0.2
    for number in range(int(plan.per_second * plan.seconds)):
        due = begin + number / plan.per_second
        pause = due - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        measured.late_milliseconds = max(measured.late_milliseconds, (time.perf_counter() - due) * 1000)
        task = asyncio.create_task(one(number % len(requests), due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return measured


def main() -> int:
    """Read the plan, ask, write what was measured."""
    plan = _PLAN.decode(sys.stdin.buffer.read())
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(run(plan))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
