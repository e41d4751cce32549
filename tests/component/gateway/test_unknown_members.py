"""What a newer build beside this one has written costs what it says, never what is around it."""

import json

import httpx
import psycopg
import pytest
from websockets.asyncio.client import connect

from chassis.ids import new_id
from chassis.postgres.database import connection_arguments
from contracts import errors
from tests.support.gateway import NEW_CONFIGURATION, RunningGateway, problem_code

pytestmark = pytest.mark.stack


async def _execute(gateway: RunningGateway, *statements: str) -> None:
    arguments = connection_arguments(gateway.access.dsn, gateway.access.schema)
    async with await psycopg.AsyncConnection.connect(gateway.access.dsn, **arguments) as database:
        for statement in statements:
            await database.execute(statement.encode())


async def test_state_of_a_newer_build_is_shown_as_unknown(gateway: RunningGateway) -> None:
    """One run of the organisation is somewhere new; all that shows it goes on, in lists, status and sockets."""
    async with gateway.http("owner") as http:
        configuration = await gateway.create_configuration(http)
        run = await gateway.facts.accepted(configuration_id=configuration["id"])
        await gateway.shows(f"/api/backup/executions/{run}", lambda _: True)
        state = """'{"state": "paused", "phases": [{"name": "paused", "started_at": "2026-01-01T00:00:00Z"}]}'"""
        await _execute(
            gateway,
            f"UPDATE executions SET state = 'paused', view = (view::jsonb || {state}::jsonb)::json",
            "UPDATE configuration_runs SET last_state = 'paused',"
            " view = jsonb_set(view::jsonb, '{last,state}', '\"paused\"')::json",
        )

        async def told(path: str) -> httpx.Response:
            answer = await http.get(f"/api/backup/{path}")
            assert answer.status_code == 200, (path, answer.text)
            return answer

        shown = (await told(f"executions/{run}")).json()
        assert (shown["state"], shown["phases"][0]["name"]) == ("unknown", "unknown")
        assert (await told("executions")).json()["items"][0]["state"] == "unknown"
        assert (await told(f"progress/{run}")).json()["state"] == "unknown"
        assert (await told("configurations")).json()["items"][0]["lastRun"]["state"] == "unknown"
        assert (await told(f"configurations/{configuration['id']}")).json()["lastRun"]["state"] == "unknown"
        assert "unknown" in {running["state"] for running in (await told("status")).json()["running"]}
        headers = {"Authorization": f"Bearer {gateway.token('viewer')}"}
        async with connect(gateway.socket_url, additional_headers=headers) as socket:
            await socket.send(json.dumps({"type": "subscribe", "all": True}))
            assert json.loads(await socket.recv())["executions"][0]["state"] == "unknown"


async def test_role_of_a_newer_build_opens_nothing_and_spoils_no_ticket(gateway: RunningGateway) -> None:
    """A ticket that a gateway of the next version has given lets its holder in, with the roles that are known here."""
    async with gateway.http("viewer") as http:
        ticket = (await http.post("/api/backup/monitoring/ticket")).json()["ticket"]
    await _execute(
        gateway,
        "UPDATE monitoring_tickets SET principal ="
        " convert_to(replace(convert_from(principal, 'utf8'), '\"viewer\"', '\"viewer\",\"restorer\"'), 'utf8')",
    )
    async with connect(f"{gateway.socket_url}?ticket={ticket}") as socket:
        await socket.send(json.dumps({"type": "subscribe", "all": True}))
        assert json.loads(await socket.recv())["type"] == "snapshot"


async def test_refusal_of_a_newer_build_is_final(gateway: RunningGateway) -> None:
    """Its code is named, and nobody is told to send again what was refused."""
    gateway.owners.refuse = "backup-window-closed"
    async with gateway.http("owner") as http:
        key = {"Idempotency-Key": new_id()}
        for _ in range(2):
            answer = await http.post("/api/backup/configurations", json=NEW_CONFIGURATION, headers=key)
            assert (answer.status_code, problem_code(answer)) == (409, errors.UNKNOWN_REFUSAL.code)
            assert (answer.json()["retry"], answer.json()["context"]["refusedWith"]) == (
                "after-operator",
                "backup-window-closed",
            )
