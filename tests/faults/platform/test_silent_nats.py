"""A NATS server that hangs with its connections open: nothing fails, and nothing is answered."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from services.config.adapters.schema import STATEMENTS as CONFIG
from services.executor.adapters.schema import STATEMENTS as EXECUTOR
from tests.support.eventually import eventually
from tests.support.gateway import RunningGateway, environment_of, running_gateway
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer, SchemaAccess, free_port
from tests.support.stack import ROOT

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

TOLD_SECONDS = 35.0
"""What is promised is nine, on a machine that has time; what nobody looks for is found by the client after sixty."""


async def test_every_process_says_that_a_silent_nats_does_not_answer_and_is_ready_when_it_does(
    tmp_path: Path, postgres: PostgresServer, own_nats: NatsServer
) -> None:
    """None of the four stays ready while no event can come or go, and none has to be started anew."""
    with contextlib.ExitStack() as stack:
        async with running_gateway(tmp_path, postgres, own_nats) as gateway:
            ports = _started(stack, gateway, postgres)

            async def found() -> dict[str, str | None]:
                """The code of what each process finds wrong with NATS; None where it is ready."""
                codes: dict[str, str | None] = {}
                async with httpx.AsyncClient(timeout=30.0) as http:
                    for name, port in ports.items():
                        answer = await http.get(f"http://127.0.0.1:{port}/health/ready")
                        codes[name] = _code(answer.json()["checks"], is_ready=answer.status_code == 200)
                return codes

            async def are_ready() -> bool:
                return set((await found()).values()) == {None}

            async def have_told() -> bool:
                return set((await found()).values()) == {"unavailable"}

            await eventually(are_ready)
            os.kill(own_nats.pid, signal.SIGSTOP)
            try:
                await eventually(have_told, within=TOLD_SECONDS)
            finally:
                os.kill(own_nats.pid, signal.SIGCONT)
            await eventually(are_ready)


def _started(stack: contextlib.ExitStack, gateway: RunningGateway, postgres: PostgresServer) -> dict[str, int]:
    """The four processes, each with the port of its readiness."""
    accesses: dict[str, SchemaAccess] = {"gateway": gateway.access}
    for owner, statements in (("config", CONFIG), ("executor", EXECUTOR)):
        accesses[owner] = postgres.fresh(statements=statements, prefix=owner)
        stack.callback(postgres.drop, accesses[owner])
    ports: dict[str, int] = {}
    for name, module in (
        ("gateway", "gateway"),
        ("config", "services.config"),
        ("executor", "services.executor"),
        ("executor-worker", "services.executor.worker"),
    ):
        access, ports[name] = accesses[name.partition("-")[0]], free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env={
                **environment_of(gateway),
                "WEDSYNC_POSTGRES_DSN": access.dsn,
                "WEDSYNC_POSTGRES_SCHEMA": access.schema,
                "WEDSYNC_NATS_SEED_FILE": str(gateway.nats.seed_file(name)),
                "WEDSYNC_HEALTH_PORT": str(ports[name]),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
    return ports


def _code(checks: list[dict[str, str]], *, is_ready: bool) -> str | None:
    if is_ready:
        return None
    (nats,) = [each for each in checks if each["name"] == "nats"]
    assert nats["status"] == "ready" or "NATS" in nats["hint"]
    return nats.get("code", "another reason")
