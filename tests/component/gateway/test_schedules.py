"""What a schedule says between two versions: shown with its configuration, told on the WebSocket, and paged on."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect

from chassis.ids import new_id
from contracts.config_events import BackupFellDue, BackupMissed, ConfigurationUpdated, NextRunChanged
from contracts.configuration import ConfigurationBody, StorageDestinations, Tier
from contracts.envelope import decode_data
from contracts.executor_events import BackupFailed, BackupRefused, TierFailed
from contracts.gateway_events import ConfigurationSubmitted
from tests.support.alerts import firing
from tests.support.eventually import eventually
from tests.support.gateway import RunningGateway, whole_run
from tests.support.promql import Scrapes

pytestmark = pytest.mark.stack

HOUR = timedelta(hours=1)


async def _firing(gateway: RunningGateway, alert: str, *, at: datetime | None = None) -> list[dict[str, str]]:
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{gateway.process.health_server.port}/metrics")
    scrapes = Scrapes()
    at = at or datetime.now(UTC)  # noqa: TID251  # a scrape's own time
    scrapes.add(at.timestamp(), {"gateway": answer.text})
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


async def test_overdue_is_measured_by_the_schedule_and_counted_from_the_first_change(gateway: RunningGateway) -> None:
    """Whoever changes the source each day silences nothing; what is backed up each week is not overdue after a day."""
    bodies: dict[str, ConfigurationBody] = {}
    began = datetime.now(UTC) - timedelta(days=30)  # noqa: TID251  # long ago, by any clock
    async with gateway.http("owner") as http:
        for more in ({"schedule": {"frequency": "weekly"}}, {"schedule": None}):
            created = await gateway.create_configuration(http, isWeddingCritical=False, **more)
            asked = decode_data(gateway.owners.asked[-1])
            assert isinstance(asked, ConfigurationSubmitted)
            bodies[created["id"]] = asked.body
            run = await gateway.facts.accepted(configuration_id=created["id"], time=began)
            await gateway.facts.complete(run, created["id"], time=began)
    weekly, plain = bodies
    for each in bodies:
        await gateway.shows(f"/api/backup/configurations/{each}", lambda body: body["lastRecoveryPoint"])

    async def overdue(hours: int) -> set[str]:
        return {
            each["configuration"] for each in await _firing(gateway, "WedsyncBackupOverdue", at=began + hours * HOUR)
        }

    assert (await overdue(25), await overdue(27)) == (set(), {plain})
    assert (await overdue(7 * 24 + 1), await overdue(7 * 24 + 3)) == ({plain}, {plain, weekly})

    # From the first change of its source there is no good backup; the second, a day later, makes that no better.
    async def change(configuration: str, version: int, hours: int, **words: Any) -> None:
        body = msgspec.structs.replace(bodies[configuration], **words)
        fact = ConfigurationUpdated(
            request_id=new_id(),
            configuration_id=configuration,
            version=version,
            body=body,
            before=bodies[configuration],
        )
        await gateway.facts.publish(fact, time=began + hours * HOUR)
        bodies[configuration] = body

    await change(plain, 2, 1, source_location="place-2")
    await change(plain, 3, 25, source_location="place-3")
    await gateway.shows(f"/api/backup/configurations/{plain}", lambda body: body["version"] == 3)
    assert (await overdue(26), await overdue(28)) == (set(), {plain})
    # The other has its good backup from before that; once it has a later one, the changed one has gone longest.
    again = await gateway.facts.accepted(configuration_id=weekly, time=began + 2 * HOUR)
    for event in whole_run(again, weekly, tuple(bodies[weekly].storage_destinations.by_tier())):
        await gateway.facts.publish(event, time=began + 2 * HOUR)
    status = await gateway.shows(
        "/api/backup/status", lambda body: body["oldestUnprotectedSource"]["configurationId"] == plain
    )
    oldest = status["oldestUnprotectedSource"]
    assert (datetime.fromisoformat(oldest["since"]), oldest["lastRecoveryPointAt"]) == (began + HOUR, None)

    # Its copies lie where it looks no more once the last of its places has changed; a tier that fails lacks what it
    # took since its own place was changed first.
    def moved(name: str, *tiers: Tier) -> StorageDestinations:
        every = bodies[weekly].storage_destinations.by_tier()
        to = {
            tier: msgspec.structs.replace(every[tier], location=name) if tier in tiers else every[tier]
            for tier in every
        }
        return StorageDestinations(**{tier.name.lower(): each for tier, each in to.items()})

    rest = [tier for tier in bodies[weekly].storage_destinations.by_tier() if tier is not Tier.LOCAL]
    await change(weekly, 2, 3, storage_destinations=moved("other", Tier.LOCAL))
    await change(weekly, 3, 5, storage_destinations=moved("another", *rest))
    await change(weekly, 4, 6, storage_destinations=moved("third", Tier.LOCAL))
    await gateway.shows(f"/api/backup/configurations/{weekly}", lambda body: body["version"] == 4)
    failing = await gateway.facts.accepted(configuration_id=weekly, version=4)
    await gateway.facts.publish(TierFailed(execution_id=failing, tier=Tier.LOCAL, code="tier-unreachable"))

    async def behind() -> dict[str, float] | None:
        told = await gateway.figures()
        return told if 'wedsync_tier_behind_since_timestamp_seconds{tier="local"}' in told else None

    told = await eventually(behind)
    for figure, hours in (
        (f'wedsync_configuration_protected_timestamp_seconds{{configuration="{weekly}"}}', 5),
        ('wedsync_tier_behind_since_timestamp_seconds{tier="local"}', 3),
    ):
        assert told[figure] == pytest.approx((began + hours * HOUR).timestamp(), abs=1e-3), figure
