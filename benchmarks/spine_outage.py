"""What is measured while a part is away: a gateway beside the platform's own, whose Postgres can be taken from it."""

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from psycopg.conninfo import make_conninfo

from benchmarks.outside_client import Plan
from benchmarks.report import Figure
from benchmarks.spine_platform import ROOT, START_SECONDS, Platform, ask_from_outside
from benchmarks.spine_rows import BENCH_ORGANISATION, Circumstances
from chassis.ids import new_id
from deploy.stack.secrets import read_secrets
from deploy.stack.services import GATEWAY, environment_of

WRITES = 12
SECONDS_MAX = 4.0


class _Gate:
    """Passes connections on to Postgres until it is shut."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> int:
        """Listen; the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def shut(self) -> None:
        """Cut all connections, and take no more."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        self._writers |= {writer, up_writer}
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))
        self._writers -= {writer, up_writer}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@asynccontextmanager
async def _gateway(platform: Platform, postgres_port: int) -> AsyncIterator[int]:
    """Another gateway of the platform, which reaches Postgres by a port; where it listens."""
    http = _free_port()
    environment = environment_of(platform.layout, read_secrets(platform.layout), GATEWAY)
    environment |= {
        "WEDSYNC_POSTGRES_DSN": make_conninfo(environment["WEDSYNC_POSTGRES_DSN"], port=postgres_port),
        "WEDSYNC_HTTP_PORT": str(http),
        "WEDSYNC_HEALTH_PORT": str(_free_port()),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", GATEWAY.module, cwd=ROOT, env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await _until_ready(http)
        yield http
    finally:
        process.terminate()
        await process.wait()


async def _until_ready(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    async with httpx.AsyncClient(trust_env=False) as http:
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if (await http.get(f"http://127.0.0.1:{port}/health/ready")).status_code == 200:
                    return
            await asyncio.sleep(0.1)
    raise RuntimeError("the gateway did not become ready")


async def writes_without_postgres(platform: Platform, _: Circumstances) -> list[Figure]:
    """Twelve writes at the same moment, just after Postgres has gone: when the last of them is answered."""
    gate = _Gate(platform.layout.port("postgres"))
    async with _gateway(platform, await gate.open()) as port:
        token = platform.token(BENCH_ORGANISATION)
        body = b'{"name": "n", "sourceType": "directory", "sourceLocation": "bench-small",'
        body += b' "storageDestinations": {"local": {"location": "local"}}}'
        posts = [platform.request("POST", "/api/backup/configurations", token, body, new_id()) for _ in range(WRITES)]
        gate.shut()
        plan = Plan(host="127.0.0.1", port=port, requests=posts, per_second=1000 * WRITES, seconds=0.001)
        measured = await ask_from_outside(plan)
    answered = measured.milliseconds.get(503, [])
    if len(answered) != WRITES:
        found = {status: len(times) for status, times in measured.milliseconds.items()}
        raise RuntimeError(f"{len(answered)} of {WRITES} were answered with 503: {found}, {measured.failed} failed")
    return [
        Figure(
            "postgres-away",
            f"{WRITES} writes at once with Postgres away, the last answered after",
            max(answered) / 1000,
            unit="s",
            floor=SECONDS_MAX,
            smaller_is_better=True,
            ours=f"503 each, the first after {min(answered) / 1000:.1f} s",
        )
    ]
