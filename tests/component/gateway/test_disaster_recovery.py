"""Disaster recovery plans at the API: what is told, to whom, and what is refused before anything is recorded."""

from typing import Any

import httpx
import pytest

from chassis.ids import new_id
from contracts import errors
from tests.support.gateway import RunningGateway, problem_code

pytestmark = pytest.mark.stack

LOCAL = {"local": {"location": "local", "required": True}}
PLANS = "/api/backup/disaster-recovery/plans"


def _plan(configuration: str, **changes: Any) -> dict[str, Any]:
    return {
        "planName": "The Meyers' disks are lost",
        "planType": "supplier-loss",
        "scope": {"configurationIds": [configuration]},
        "recoveryObjectives": {"rtoMinutes": 240, "rpoMinutes": 60},
        "procedures": [
            {"id": "go", "kind": "approve", "owner": "owner", "instructions": "Ask Ada Meyer first"},
            {
                "id": "photos",
                "kind": "restore",
                "owner": "on-call",
                "after": ["go"],
                "configurationId": configuration,
                "targetLocation": "restored",
                "targetPath": "2027/./meyer/",
            },
            {"id": "whole", "kind": "check", "owner": "on-call", "after": ["photos"], "ofStep": "photos"},
        ],
        **changes,
    }


async def _send(http: httpx.AsyncClient, method: str, path: str, body: Any, **headers: str) -> httpx.Response:
    return await http.request(method, path, json=body, headers={"Idempotency-Key": new_id(), **headers})


async def test_plan_is_shown_and_printed_to_its_organisation_alone_and_wrong_ones_are_told_whole(
    gateway: RunningGateway,
) -> None:
    """Created, listed, read by its ETag, changed as it was seen; nothing hostile, and no text, comes to the owner."""
    async with gateway.http("owner") as http, gateway.http("owner", organisation="another") as stranger:
        configuration = (await gateway.create_configuration(http))["id"]
        made = await _send(http, "POST", PLANS, _plan(configuration))
        assert (made.status_code, made.headers["etag"]) == (201, '"1"'), made.text
        path = made.headers["location"]
        shown = (await http.get(path)).json()
        assert shown == made.json()
        assert (shown["planName"], shown["procedures"][0]["instructions"], shown["procedures"][1]["targetPath"]) == (
            "The Meyers' disks are lost",
            "Ask Ada Meyer first",
            "2027/meyer",
        )
        assert shown["unreadableFields"] == []
        assert (await http.get(PLANS)).json() == {"items": [shown], "nextCursor": None}
        recorded = bytes(gateway.owners.asked[-1].data)
        assert b"eyer" not in recorded
        assert b"Ada" not in recorded
        runbook = (await http.get(f"{path}/runbook")).json()
        assert (runbook["version"], runbook["format"]) == (1, "markdown")
        assert runbook["text"].startswith("# The Meyers' disks are lost\n")

        assert (await stranger.get(PLANS)).json()["items"] == []
        foreign = (await gateway.create_configuration(stranger, storageDestinations=LOCAL))["id"]
        for answer in (
            await stranger.get(path),
            await stranger.get(f"{path}/runbook"),
            await _send(stranger, "PUT", path, _plan(foreign), **{"If-Match": '"1"'}),
            await http.get(f"{PLANS}/{new_id()}"),
            await http.get(f"{PLANS}/'; --/runbook"),
        ):
            assert problem_code(answer) == errors.DR_PLAN_UNKNOWN.code
        changed = await _send(http, "PUT", path, _plan(configuration, planName="Other"), **{"If-Match": '"1"'})
        assert (changed.status_code, changed.headers["etag"], changed.json()["planName"]) == (200, '"2"', "Other")

        status = "/api/backup/disaster-recovery/status"
        (stands,) = (await http.get(status)).json()["items"]
        assert (stands["planId"], stands["verdict"], stands["provenRtoMinutes"]) == (shown["id"], "fail", None)
        found = {each["check"]: (each["verdict"], each["about"]) for each in stands["findings"]}
        assert found == {
            "configuration-active": ("pass", configuration),
            "point-fresh": ("fail", configuration),
            "target-open": ("pass", "photos"),
            "tested": ("unknown", None),
        }
        run = await gateway.facts.accepted(configuration_id=configuration)
        await gateway.facts.complete(run, configuration)
        await gateway.shows(f"/api/backup/recovery-points/{run}", lambda _: True)
        (stands,) = (await http.get(status)).json()["items"]
        assert stands["lostNowMinutes"] is not None
        assert (await stranger.get(status)).json()["items"] == []

        asked = len(gateway.owners.asked)
        steps = _plan(configuration)["procedures"]
        for wrong, fields in (
            (
                {"planName": "\u202eLost", "automatedExecution": True, "notifications": {"channelIds": [new_id()]}},
                ["planName", "automatedExecution", "notifications.channelIds[0]"],
            ),
            (
                {"procedures": [steps[0], {**steps[1], "targetLocation": "local", "targetPath": "a/../../b"}]},
                ["procedures[1].targetPath", "procedures[1].targetLocation"],
            ),
            ({"procedures": [{**steps[0], "after": ["whole"]}, *steps[1:]]}, ["procedures[0].after"]),
            (
                {"procedures": [steps[0], {**steps[1], "recoveryPointId": new_id()}, steps[2]]},
                ["procedures[1].recoveryPointId"],
            ),
            (
                {"scope": {"configurationIds": [configuration, foreign]}},
                ["scope.configurationIds[1]", "scope.configurationIds[1]"],
            ),
            ({"procedures": []}, ["procedures"]),
            ({"scope": {"configurationIds": []}}, ["scope.configurationIds"]),
            ({"planType": "unknown"}, ["planType"]),
            ({"steps": []}, ["steps"]),
            ({"scope": {"configurationIds": [configuration], "all": True}}, ["scope.all"]),
        ):
            for method, place, headers in (("POST", PLANS, {}), ("PUT", path, {"If-Match": '"2"'})):
                answer = await _send(http, method, place, {**_plan(configuration), **wrong}, **headers)
                assert answer.status_code in (404, 422), answer.text
                assert [each["field"] for each in answer.json()["errors"]] == fields, answer.text
        assert len(gateway.owners.asked) == asked
