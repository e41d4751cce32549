"""Retention policies at the API: what is told, to whom, and what is refused before anything is recorded."""

from typing import Any

import httpx
import pytest

from chassis.ids import new_id
from contracts import errors
from tests.support.gateway import NEW_CONFIGURATION, RunningGateway, problem_code

pytestmark = pytest.mark.stack

POLICIES = "/api/backup/retention/policies"
POLICY: dict[str, Any] = {"name": "Photos", "keepDaily": 30, "keepWithin": "90d", "maximumDays": 3650}


async def _send(http: httpx.AsyncClient, method: str, path: str, body: Any, **headers: str) -> httpx.Response:
    return await http.request(method, path, json=body, headers={"Idempotency-Key": new_id(), **headers})


async def test_policy_is_shown_to_its_organisation_alone_and_wrong_ones_are_told_whole(gateway: RunningGateway) -> None:
    """Created, listed, read by its ETag, changed as it was seen; nothing hostile comes to the owner."""
    async with gateway.http("owner") as http, gateway.http("owner", organisation="another") as stranger:
        made = await _send(http, "POST", POLICIES, POLICY)
        assert (made.status_code, made.headers["etag"]) == (201, '"1"'), made.text
        path = made.headers["location"]
        shown = await http.get(path)
        assert (shown.json(), shown.headers["etag"]) == (made.json(), '"1"')
        assert (shown.json()["name"], shown.json()["keepMonthly"], shown.json()["keepWithin"]) == ("Photos", 0, "90d")
        assert (await http.get(POLICIES)).json() == {"items": [made.json()], "nextCursor": None}
        assert b"Photos" not in bytes(gateway.owners.asked[-1].data)

        assert (await stranger.get(POLICIES)).json()["items"] == []
        for answer in (
            await stranger.get(path),
            await _send(stranger, "PUT", path, POLICY, **{"If-Match": '"1"'}),
            await http.get(f"{POLICIES}/{new_id()}"),
            await http.get(f"{POLICIES}/'; --"),
        ):
            assert problem_code(answer) == errors.RETENTION_POLICY_UNKNOWN.code
        changed = await _send(http, "PUT", path, {**POLICY, "keepDaily": 31}, **{"If-Match": '"1"'})
        assert (changed.status_code, changed.headers["etag"], changed.json()["keepDaily"]) == (200, '"2"', 31)

        asked = len(gateway.owners.asked)
        for wrong, fields in (
            (
                {"name": "\u202ePhotos", "tags": [" "], "keepDaily": 0, "keepWithin": None},
                ["name", "tags[0]", "keepLast"],
            ),
            ({"minimumDays": 3651, "lockDays": 3651}, ["minimumDays", "lockDays"]),
            ({"keepWithin": "9d; --"}, ["keepWithin"]),
            ({"keepLast": -1, "legalBasis": "unknown", "dataCategories": ["Ada Meyer"]}, None),
            ({"keepForever": True}, ["keepForever"]),
        ):
            for method, place, headers in (("POST", POLICIES, {}), ("PUT", path, {"If-Match": '"2"'})):
                answer = await _send(http, method, place, {**POLICY, **wrong}, **headers)
                assert answer.status_code == 422, answer.text
                told = [each["field"] for each in answer.json()["errors"]]
                assert told == fields if fields else set(told) == {"keepLast", "legalBasis", "dataCategories[0]"}
        unbound = await _send(
            http, "POST", "/api/backup/configurations", {**NEW_CONFIGURATION, "retentionPolicyId": new_id()}
        )
        assert problem_code(unbound) == errors.RETENTION_POLICY_UNKNOWN.code
        assert unbound.json()["field"] == "retentionPolicyId"
        assert len(gateway.owners.asked) == asked
        bound = await gateway.create_configuration(http, retentionPolicyId=made.json()["id"])
        assert bound["retentionPolicyId"] == made.json()["id"]
