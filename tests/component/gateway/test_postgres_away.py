"""While Postgres is away everybody is told so, soon, and by code; nobody waits behind somebody else."""

import asyncio
import signal
import time
from pathlib import Path

import httpx
import pytest

from chassis.ids import new_id
from contracts import errors
from tests.support.eventually import eventually
from tests.support.gateway import NEW_CONFIGURATION, problem_code, running_gateway
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import running_postgres

pytestmark = pytest.mark.stack


async def test_writes_and_reads_at_once_are_answered_while_postgres_is_away(
    tmp_path: Path, own_nats: NatsServer
) -> None:
    """Each is a 503 with code and Retry-After, and all goes on when Postgres is back."""
    with running_postgres() as postgres:
        async with (
            running_gateway(tmp_path, postgres, own_nats) as gateway,
            gateway.http("owner") as http,
        ):
            await gateway.create_configuration(http)

            async def write(name: str) -> httpx.Response:
                body = {**NEW_CONFIGURATION, "name": name}
                return await http.post("/api/backup/configurations", json=body, headers={"Idempotency-Key": new_id()})

            await asyncio.to_thread(postgres.stop, signal.SIGQUIT)
            begin = time.monotonic()
            answers = await asyncio.gather(
                *(write(f"n{number}") for number in range(12)),
                *(http.get("/api/backup/executions") for _ in range(12)),
            )
            # One after another, three seconds each, the writes alone took 36 s. What is measured is measured by
            # make bench-spine; here only that none waited for another.
            assert time.monotonic() - begin < 30
            for answer in answers:
                assert answer.status_code == 503
                assert problem_code(answer) == errors.UNAVAILABLE.code
                assert int(answer.headers["Retry-After"]) >= 1
            await asyncio.to_thread(postgres.start)

            async def is_back() -> bool:
                return (await write("after")).status_code in (201, 202)

            await eventually(is_back)


async def test_write_that_is_in_the_record_is_answered_so_when_postgres_goes(
    tmp_path: Path, own_nats: NatsServer
) -> None:
    """Who waits for its owner's answer when Postgres goes is told 202 and where it will be, never to try again."""
    with running_postgres() as postgres:
        async with (
            running_gateway(tmp_path, postgres, own_nats, answer_wait_seconds=2.5) as gateway,
            gateway.http("owner") as http,
        ):
            gateway.owners.is_silent = True
            key = {"Idempotency-Key": new_id()}
            write = asyncio.create_task(http.post("/api/backup/configurations", json=NEW_CONFIGURATION, headers=key))

            async def is_recorded() -> bool:
                return bool(gateway.owners.asked)

            await eventually(is_recorded)
            await asyncio.to_thread(postgres.stop, signal.SIGQUIT)
            answer = await write
            assert answer.status_code == 202, answer.text
            told = answer.json()
            assert (told["state"], told["kind"]) == ("pending", "create-configuration")
            assert answer.headers["Location"] == f"/api/backup/requests/{told['id']}"
            assert int(answer.headers["Retry-After"]) >= 1
            await asyncio.to_thread(postgres.start)

            async def is_found() -> bool:
                found = await http.get(answer.headers["Location"])
                return found.status_code == 200 and {**found.json(), "problem": None} == {**told, "problem": None}

            await eventually(is_found)
