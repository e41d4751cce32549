"""A whole platform for the benchmark of the spine: started by `wedsync-backup up` in a home of its own."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from benchmarks.outside_client import Measured, Plan
from chassis.bus.connection import Connection
from chassis.ids import new_id
from chassis.life.health import Health
from chassis.record.eventstore import EventStore
from chassis.telemetry.instruments import Telemetry
from contracts.streams import CONSUMERS
from deploy.postgres.schemas import ROLES
from deploy.stack import nats, postgres
from deploy.stack.identity_provider import IdentityProvider
from deploy.stack.layout import Layout
from deploy.stack.locations import register, source_location
from deploy.stack.secrets import read_secrets
from deploy.stack.services import SERVICES, environment_of
from deploy.stack.state import StackState, read_state

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 90.0
STOP_SECONDS = 60.0
_MEASURED = msgspec.json.Decoder(Measured)
OURS = ("config", "executor", "executor-worker", "recovery", "recovery-worker", "compliance", "gateway")


@dataclass
class Platform:
    """A platform that runs."""

    home: Path
    process: "subprocess.Popen[bytes]"
    state: StackState

    @property
    def layout(self) -> Layout:
        """Its home."""
        return Layout.find(self.home)

    @property
    def address(self) -> tuple[str, int]:
        """Where its API listens."""
        return "127.0.0.1", self.layout.port("gateway")

    def token(self, organisation: str, role: str = "owner", subject: str | None = None) -> str:
        """A token of its identity provider."""
        return IdentityProvider.of(self.layout).token(
            organisation=organisation, roles=[role], subject=subject, lifetime_seconds=7200
        )

    def http(self, organisation: str) -> httpx.AsyncClient:
        """An owner's client, of a person of its own."""
        headers = {"Authorization": f"Bearer {self.token(organisation)}"}
        return httpx.AsyncClient(base_url=self.layout.gateway_url, headers=headers, timeout=60, trust_env=False)

    def request(self, method: str, path: str, token: str, body: bytes = b"", key: str | None = None) -> str:
        """A whole HTTP request for the outside client."""
        host, port = self.address
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {host}:{port}",
            f"Authorization: Bearer {token}",
            *([f"Idempotency-Key: {key}"] if key else []),
            *(["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []),
        ]
        return "\r\n".join([*lines, "", body.decode()])

    def dsn(self, service: str) -> str:
        """How a service reaches Postgres."""
        role = ROLES[service]
        return postgres.dsn(self.layout, role=role, password=read_secrets(self.layout).postgres_roles[role])

    @property
    def admin_dsn(self) -> str:
        """How the administrator reaches Postgres."""
        return postgres.admin_dsn(self.layout, read_secrets(self.layout))

    @asynccontextmanager
    async def record(self, service: str) -> AsyncIterator[EventStore]:
        """A service's record, written to beside the service itself."""
        store = EventStore(dsn=self.dsn(service), schema=service, service=service)
        await store.start()
        try:
            yield store
        finally:
            await store.stop()

    @asynccontextmanager
    async def connected(self, identity: str) -> AsyncIterator[Connection]:
        """A connection to NATS as an identity."""
        connection = Connection(
            url=nats.url(self.layout),
            identity=identity,
            telemetry=Telemetry("bench"),
            health=Health("bench"),
            seed_file=nats.seed_file(self.layout, identity),
        )
        await connection.start()
        try:
            yield connection
        finally:
            await connection.stop()

    async def caught_up(self, seconds: float) -> None:
        """Wait until every consumer has handled what it was told; for at most so many seconds."""
        deadline = time.monotonic() + seconds
        async with nats.operator_connection(self.layout) as client:
            js = client.jetstream()
            for spec in CONSUMERS:
                info = await js.consumer_info(spec.stream, spec.durable_name)
                while info.num_pending or info.num_ack_pending:
                    if time.monotonic() > deadline:
                        raise RuntimeError(f"{spec.durable_name} has {info.num_pending} messages before it")
                    await asyncio.sleep(0.5)
                    info = await js.consumer_info(spec.stream, spec.durable_name)

    def add_source(self, name: str, organisation: str, sizes: Sequence[int]) -> None:
        """Register a directory of incompressible files."""
        folder = self.home.parent / f"source-{name}"
        folder.mkdir()
        for number, size in enumerate(sizes):
            (folder / f"{number}.bin").write_bytes(os.urandom(size))
        register(self.layout, source_location(name, folder, organisation=organisation))

    async def create_configuration(self, http: httpx.AsyncClient, source: str, tiers: dict[str, Any]) -> str:
        """A configuration; its id."""
        body = {"name": new_id(), "sourceType": "directory", "sourceLocation": source, "storageDestinations": tiers}
        answer = await http.post("/api/backup/configurations", json=body, headers={"Idempotency-Key": new_id()})
        answer.raise_for_status()
        return str(answer.json()["id"])

    async def restarted(self, name: str) -> None:
        """End a part at once, and wait until the platform has started it again."""
        before = self.state.part(name).process
        if before is None:
            raise RuntimeError(f"{name} does not run")
        before.send(signal.SIGKILL)
        async with asyncio.timeout(START_SECONDS):
            while True:
                state = read_state(self.layout.state_file)
                part = state.part(name) if state is not None else None
                is_new = part is not None and part.process is not None and part.process.pid != before.pid
                if state is not None and part is not None and is_new and part.condition.is_up:
                    self.state = state
                    return
                await asyncio.sleep(0.05)

    def pss_mib(self) -> dict[str, float]:
        """What our own processes take of memory, shared pages divided among those that share them."""
        found = {}
        for name in OURS:
            process = self.state.part(name).process
            if process is None:
                raise RuntimeError(f"{name} does not run")
            for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    found[name] = int(line.split()[1]) / 1024
        return found

    @asynccontextmanager
    async def another_worker(self, **settings: str) -> AsyncIterator[None]:
        """One more process that performs runs, beside the platform's own; it is told to stop at the end."""
        (service,) = [each for each in SERVICES if each.identity == "executor-worker"]
        own = environment_of(self.layout, read_secrets(self.layout), service)
        port = free_port()
        process = subprocess.Popen(  # noqa: ASYNC220  # as the platform's
            [sys.executable, "-m", service.module],
            cwd=ROOT,
            env={**own, **settings, "WEDSYNC_HEALTH_PORT": str(port), "WEDSYNC_WORKER_NAME": f"another:{port}"},
            stdout=(self.home.parent / "another-worker.log").open("ab"),
            stderr=subprocess.STDOUT,
        )
        try:
            async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(START_SECONDS):
                while True:
                    with suppress(httpx.HTTPError):
                        if (await http.get(f"http://127.0.0.1:{port}/health/ready")).is_success:
                            break
                    await asyncio.sleep(0.05)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait, STOP_SECONDS)


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@asynccontextmanager
async def platform(home: Path, **settings: str) -> AsyncIterator[Platform]:
    """Start a platform with these settings beside none, and stop it at the end."""
    process = subprocess.Popen(  # noqa: ASYNC220  # it only forks, and is waited for in a thread
        [sys.executable, "-m", "cli", "up", "--home", str(home)],
        cwd=ROOT,
        # What is measured are the runs that were asked for.
        env={**os.environ, "WEDSYNC_RUN_RETRY_SECONDS": "0", **settings},
        stdout=(home.parent / "up.log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield Platform(home, process, await _ready(home, process))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


async def _ready(home: Path, process: "subprocess.Popen[bytes]") -> StackState:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        state_file = Layout.find(home).state_file if (home / "config").exists() else None
        state = read_state(state_file) if state_file is not None and state_file.exists() else None
        if state is not None and state.supervisor.pid == process.pid and state.ready_seconds is not None:
            return state
        await asyncio.sleep(0.05)
    raise RuntimeError(f"the platform did not start:\n{(home.parent / 'up.log').read_text()[-3000:]}")


async def ask_from_outside(plan: Plan) -> Measured:
    """Let a client in a process of its own ask."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.outside_client",
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(msgspec.json.encode(plan))
    return _MEASURED.decode(output)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all are not above (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered) + 0.5) - 1))]
