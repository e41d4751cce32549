"""Notification channels and deliveries at the API: what is told, to whom, and what is refused before it is recorded."""

from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from chassis.ids import new_id
from contracts import errors
from contracts.config_events import NotificationDelayed, NotificationDelivered, NotificationDue
from contracts.samples import sample_event
from tests.support.gateway import ORGANISATION, RunningGateway, problem_code

pytestmark = pytest.mark.stack

CHANNELS = "/api/backup/notifications/channels"
DELIVERIES = "/api/backup/notifications/deliveries"
CHANNEL: dict[str, Any] = {
    "name": "On call",
    "kind": "webhook",
    "url": "https://alarms.example.com/hooks/T0K3N",
    "secret": "alarms",
    "events": ["failed", "missed"],
}


async def _send(http: httpx.AsyncClient, method: str, path: str, body: Any, **headers: str) -> httpx.Response:
    return await http.request(method, path, json=body, headers={"Idempotency-Key": new_id(), **headers})


async def test_channel_is_shown_to_its_organisation_alone_and_without_its_address(gateway: RunningGateway) -> None:
    """Created, listed, changed as it was seen; of what is wrong every field is told, and nothing comes to the owner."""
    async with gateway.http("owner") as http, gateway.http("owner", organisation="another") as stranger:
        made = await _send(http, "POST", CHANNELS, CHANNEL)
        assert (made.status_code, made.headers["etag"]) == (201, '"1"'), made.text
        path = made.headers["location"]
        assert (made.json()["name"], made.json()["host"]) == ("On call", "alarms.example.com")
        assert "T0K3N" not in made.text
        assert not [word for word in (b"On call", b"T0K3N") if word in bytes(gateway.owners.asked[-1].data)]
        assert (await http.get(path)).json() == made.json()
        assert (await http.get(CHANNELS, params={"state": "active"})).json() == {
            "items": [made.json()],
            "nextCursor": None,
        }
        assert (await http.get(CHANNELS, params={"state": "retired"})).json()["items"] == []
        assert (await stranger.get(CHANNELS)).json()["items"] == []
        for answer in (
            await stranger.get(path),
            await _send(stranger, "PUT", path, CHANNEL, **{"If-Match": '"1"'}),
            await stranger.post(f"{path}/test", headers={"Idempotency-Key": new_id()}),
            await stranger.delete(path, headers={"Idempotency-Key": new_id()}),
        ):
            assert problem_code(answer) == errors.CHANNEL_UNKNOWN.code

        asked = len(gateway.owners.asked)
        for wrong, fields in (
            ({"name": " ", "url": "https://u:p@example.com/"}, ["name", "url"]),
            ({"url": "file:///etc/passwd"}, ["url"]),
            ({"url": "https://example.com/ a"}, ["url"]),
            ({"url": None}, ["url"]),
            ({"events": ["test"]}, ["events"]),
            ({"quietHours": {"start": "7", "end": "07:00", "timeZone": "UTC"}}, ["quietHours.start"]),
            ({"configurationIds": [new_id()]}, ["configurationIds[0]"]),
        ):
            answer = await _send(http, "POST", CHANNELS, {**CHANNEL, **wrong})
            assert (answer.status_code, [each["field"] for each in answer.json()["errors"]]) == (
                404 if fields == ["configurationIds[0]"] else 422,
                fields,
            ), answer.text
        assert len(gateway.owners.asked) == asked


async def test_deliveries_tell_attempts_outcome_and_the_next(gateway: RunningGateway) -> None:
    """In the order in which they were planned, of one organisation, narrowed by channel and state."""
    first, second, channel = new_id(), new_id(), new_id()
    due = replace(sample_event(NotificationDue), channel_id=channel, configuration_id=new_id())
    delayed, delivered = sample_event(NotificationDelayed), sample_event(NotificationDelivered)
    for event in (
        replace(due, notification_id=first),
        replace(delayed, notification_id=first, channel_id=channel, attempts=1, status=500),
        replace(due, notification_id=second, channel_id=new_id()),
        replace(delivered, notification_id=second, attempts=2),
    ):
        await gateway.facts.publish(event, organisation=ORGANISATION, actor="service:config", correlation_id=first)
    await gateway.shows(f"{DELIVERIES}/{second}", lambda shown: shown["state"] == "delivered")
    async with gateway.http("viewer") as http, gateway.http("viewer", organisation="another") as stranger:
        items = (await http.get(DELIVERIES)).json()["items"]
        assert [each["id"] for each in items] == [second, first]
        assert (items[0]["attempts"], items[0]["nextAttemptAt"]) == (2, None)
        (waiting,) = (await http.get(DELIVERIES, params={"state": "waiting", "channelId": channel})).json()["items"]
        assert (waiting["attempts"], waiting["status"], waiting["code"]) == (1, 500, delayed.code)
        assert waiting["nextAttemptAt"] is not None
        assert waiting == (await http.get(f"{DELIVERIES}/{first}")).json()
        assert (await stranger.get(DELIVERIES)).json()["items"] == []
        assert (await stranger.get(f"{DELIVERIES}/{first}")).status_code == 404
