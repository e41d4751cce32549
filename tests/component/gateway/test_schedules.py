"""What a schedule says between two versions: shown with its configuration, told on the WebSocket, and paged on."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from chassis.ids import new_id
from contracts.config_events import BackupFellDue, BackupMissed, NextRunChanged
from contracts.executor_events import BackupFailed, BackupRefused
from tests.support.alerts import firing
from tests.support.gateway import RunningGateway
from tests.support.promql import Scrapes

pytestmark = pytest.mark.stack

HOUR = timedelta(hours=1)


async def _firing(gateway: RunningGateway, alert: str) -> list[dict[str, str]]:
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{gateway.process.health_server.port}/metrics")
    scrapes = Scrapes()
    scrapes.add(datetime.now(UTC).timestamp(), {"gateway": answer.text})  # noqa: TID251  # a scrape's own time
    return firing(scrapes, alert)


async def test_what_became_of_each_instant_is_told_shown_and_paged_on(gateway: RunningGateway) -> None:
    """A run that fell due, one that was refused, one that nothing could start, a schedule that stands and its end."""
    now = datetime.now(UTC)  # noqa: TID251  # of this time is what is overdue
    async with gateway.http("owner") as http:
        schedule = {"frequency": "daily", "timeZone": "CET"}
        created = await gateway.create_configuration(http, schedule=schedule, isWeddingCritical=False)
    configuration, place = created["id"], f"/api/backup/configurations/{created['id']}"
    only = {"configuration": configuration}

    async def shows(next_run: datetime | None, reason: str) -> dict[str, Any]:
        shown = await gateway.shows(place, lambda body: body["nextRunReason"] == reason)
        assert (shown["nextRun"] is None) == (next_run is None)
        return shown

    async with connect(
        gateway.socket_url, additional_headers={"Authorization": f"Bearer {gateway.token('viewer')}"}
    ) as socket:
        await socket.send(json.dumps({"type": "subscribe", "configurations": [configuration]}))
        assert json.loads(await asyncio.wait_for(socket.recv(), 30))["type"] == "snapshot"

        due = now - 2 * HOUR
        run = new_id()
        await gateway.facts.publish(NextRunChanged(configuration_id=configuration, next_run_at=now - HOUR))
        await shows(now - HOUR, "overdue")
        assert await _firing(gateway, "WedsyncScheduleStands") == [only]
        await gateway.facts.publish(
            BackupFellDue(
                configuration_id=configuration,
                next_run_at=now + HOUR,
                due_at=due,
                request_id=new_id(),
                execution_id=run,
                configuration_version=1,
            )
        )
        shown = await shows(now + HOUR, "schedule")
        assert shown["lastMissed"] is None
        assert not await _firing(gateway, "WedsyncScheduleStands")
        assert not await _firing(gateway, "WedsyncRunMissed")

        await gateway.facts.publish(
            BackupRefused(
                request_id=new_id(),
                execution_id=run,
                configuration_id=configuration,
                due_at=due,
                code="queue-full",
                hint="Later.",
            )
        )
        shown = await gateway.shows(place, lambda body: body["lastMissed"])
        assert shown["lastMissed"]["code"] == "queue-full"
        assert await _firing(gateway, "WedsyncRunMissed") == [only]
        await gateway.facts.publish(
            BackupMissed(configuration_id=configuration, due_at=now - HOUR, code="schedule-missed", hint="Ended.")
        )
        shown = await shows(None, "schedule-ended")
        assert (shown["lastMissed"]["code"], shown["lastMissed"]["hint"]) == ("schedule-missed", "Ended.")
        assert await _firing(gateway, "WedsyncRunMissed") == [only]

        heard = [json.loads(await asyncio.wait_for(socket.recv(), 30)) for _ in range(4)]
    assert [(frame["event"], frame["executionId"], frame["configurationId"]) for frame in heard] == [
        ("config.next-run-changed.v1", None, configuration),
        ("config.backup-fell-due.v1", run, configuration),
        ("executor.backup-refused.v1", run, configuration),
        ("config.backup-missed.v1", None, configuration),
    ]

    # The next of its runs waited beyond its time for a worker: that is as little a backup.
    later = now - HOUR / 2
    waited = await gateway.facts.accepted(configuration_id=configuration, due_at=later)
    await gateway.facts.publish(
        BackupFailed(execution_id=waited, configuration_id=configuration, code="schedule-missed", hint="Late.")
    )
    shown = await gateway.shows(place, lambda body: body["lastMissed"]["hint"] == "Late.")
    assert datetime.fromisoformat(shown["lastMissed"]["dueAt"]) == later
    at = f'wedsync_configuration_missed_timestamp_seconds{{configuration="{configuration}"}}'
    assert (await gateway.figures())[at] == pytest.approx(later.timestamp(), abs=1e-3)
    assert await _firing(gateway, "WedsyncRunMissed") == [only]

    again = await gateway.facts.accepted(configuration_id=configuration)
    await gateway.facts.complete(again, configuration)
    await gateway.shows(place, lambda body: body["lastRecoveryPoint"])
    assert not await _firing(gateway, "WedsyncRunMissed")
