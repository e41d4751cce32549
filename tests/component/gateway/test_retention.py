"""Retention policies at the API: what is told, to whom, and what is refused before anything is recorded."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest

from chassis.clock import SystemClock
from chassis.ids import new_id
from contracts import errors
from contracts.cleanup_events import (
    GoingPoint,
    RecoveryPointsForgotten,
    RecoveryPointsGoing,
    RetentionCleanedUp,
    RetentionCleanupPreparing,
)
from contracts.configuration import Tier
from contracts.errors import PlatformError
from contracts.executor_events import BackupCompleted
from contracts.samples import sample_event
from gateway.groups.retention.preview import preview
from gateway.groups.retention.resources import NewPreview
from tests.support.gateway import NEW_CONFIGURATION, RunningGateway, problem_code, whole_run

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
        assert (shown.json(), shown.headers["etag"][:3]) == (made.json(), '"1-')
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
        # As it was read, with what was shown beside the version.
        changed = await _send(http, "PUT", path, {**POLICY, "keepDaily": 31}, **{"If-Match": shown.headers["etag"]})
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


async def _point(gateway: RunningGateway, configuration: str, at: datetime, *tiers: Tier, **changes: Any) -> str:
    run = await gateway.facts.accepted(configuration_id=configuration, time=at)
    for event in whole_run(run, configuration, tiers or (Tier.LOCAL,)):
        of_the_end = changes if isinstance(event, BackupCompleted) else {}
        await gateway.facts.publish(msgspec.structs.replace(event, **of_the_end), time=at)
    return run


async def test_preview_says_of_each_point_what_a_policy_does_with_it_and_changes_nothing(
    gateway: RunningGateway,
) -> None:
    """A saved policy or one that is sent, on those that name it or on others; by pages; never a stranger's."""
    path, now = "/api/backup/retention/preview", SystemClock().now()

    def days(count: float) -> datetime:
        return now - timedelta(days=count)

    async with gateway.http("owner") as http, gateway.http("owner", organisation="another") as stranger:
        policy = (await _send(http, "POST", POLICIES, {"name": "Short", "keepLast": 1, "maximumDays": 300})).json()
        bound = (
            await gateway.create_configuration(
                http,
                name="Bound",
                retentionPolicyId=policy["id"],
                storageDestinations={
                    "local": {"location": "local"},
                    "offsite": {"location": "offsite", "lockDays": 90},
                },
                isWeddingCritical=True,
                weddingDate=days(200).date().isoformat(),
            )
        )["id"]
        free = (await gateway.create_configuration(http, name="Free"))["id"]
        newest = await _point(gateway, bound, days(1), degraded=True, code="source-incomplete")
        proven = await _point(gateway, bound, days(2))
        locked = await _point(gateway, bound, days(3), Tier.LOCAL, Tier.OFFSITE)
        locked_too = await _point(gateway, bound, days(4), Tier.OFFSITE)
        read = await _point(gateway, bound, days(5))
        gone = await _point(gateway, bound, days(100))
        wedding = await _point(gateway, bound, days(190))
        old = await _point(gateway, bound, days(301))
        others = await _point(gateway, free, days(6))
        operation = await gateway.facts.recovering(recovery_point_id=read)
        await gateway.shows(f"/api/backup/recovery/operations/{operation}", lambda _: True)
        await gateway.shows(f"/api/backup/recovery-points/{others}", lambda _: True)
        asked = len(gateway.owners.asked)

        async def told(body: dict[str, Any], **query: Any) -> dict[str, Any]:
            answer = await http.post(path, json=body, params=query)
            assert answer.status_code == 200, answer.text
            return answer.json()  # type: ignore[no-any-return]  # an object

        def rules(shown: dict[str, Any]) -> dict[str, tuple[str, list[str]]]:
            return {
                each["recoveryPointId"]: (each["verdict"], [reason["rule"] for reason in each["reasons"]])
                for each in shown["items"]
            }

        shown = await told({"retentionPolicyId": policy["id"]})
        assert rules(shown) == {
            newest: ("keep", ["keep-last", "newest", "newest-of-place"]),
            proven: ("keep", ["last-proven"]),
            locked: ("keep", ["lock", "newest-of-place"]),
            locked_too: ("wait", ["not-kept", "lock"]),
            read: ("keep", ["in-use"]),
            gone: ("go", ["not-kept"]),
            wedding: ("keep", ["wedding"]),
            old: ("go", ["maximum-days"]),
        }
        assert [shown[name] for name in ("keep", "wait", "go", "overdue")] == [5, 1, 2, 0]
        assert (shown["goingStoredBytes"], shown["freedBytes"], bool(shown["unknown"])) == (1800, None, True)
        until = datetime.fromisoformat(shown["items"][3]["lockedUntil"])
        assert abs(until - days(4) - timedelta(days=90)) < timedelta(seconds=1)

        going = {"retentionPolicyId": policy["id"], "verdicts": ["go"]}
        first = await told(going, limit=1)
        second = await told(going, limit=1, cursor=first["nextCursor"])
        assert (list(rules(first)), list(rules(second)), second["nextCursor"]) == ([gone], [old], None)
        other_list = await http.post(path, json={**going, "verdicts": []}, params={"cursor": first["nextCursor"]})
        assert problem_code(other_list) == errors.INVALID_CURSOR.code

        unsaved = {"name": "Longer", "keepWithin": "1y"}
        assert (await told({"retentionPolicyId": policy["id"], "policy": unsaved}))["go"] == 0
        assert rules(await told({"configurationIds": [free]})) == {others: ("keep", ["no-policy"])}
        assert rules(await told({"configurationIds": [free], "retentionPolicyId": policy["id"]}))[others][0] == "keep"
        assert len((await told({}))["items"]) == 9

        for body, field, code in (
            ({"policy": unsaved}, "configurationIds", errors.INVALID_FIELD),
            ({"configurationIds": [free, new_id()]}, "configurationIds[1]", errors.CONFIGURATION_UNKNOWN),
            ({"retentionPolicyId": new_id()}, "retentionPolicyId", errors.RETENTION_POLICY_UNKNOWN),
            ({"policy": {"name": "x"}, "configurationIds": [free]}, "policy.keepLast", errors.RETENTION_KEEPS_NOTHING),
            ({"configurationIds": ["'; --"]}, "configurationIds[0]", errors.INVALID_FIELD),
        ):
            answer = await http.post(path, json=body)
            assert (problem_code(answer), answer.json()["field"]) == (code.code, field), answer.text
        for body in ({"configurationIds": [bound]}, {"retentionPolicyId": policy["id"]}):
            assert (await stranger.post(path, json=body)).status_code == 404
        assert (await stranger.post(path, json={})).json()["items"] == []
        assert len(gateway.owners.asked) == asked


async def test_preview_judges_nothing_by_a_clock_that_jumped(gateway: RunningGateway) -> None:
    """A year ahead, or behind what was made: the database's clock, and what was made, say otherwise."""
    parts = gateway.process.gateway
    for jump in (timedelta(days=365), timedelta(minutes=-6)):
        with pytest.raises(PlatformError) as doubted:
            await preview(
                parts.reading,
                parts.sealer,
                "acme",
                NewPreview(),
                None,
                now=SystemClock().now() + jump,
                limit=1,
                cursor=None,
            )
        assert doubted.value.code is errors.RETENTION_CLOCK_IN_DOUBT


async def test_cleanup_is_shown_from_its_beginning_to_its_end_and_what_went_as_gone(gateway: RunningGateway) -> None:
    """What went, and why, by the cleanup and by the point; it is no point for a preview, nor for a recovery."""
    elsewhere = gateway.http("owner", organisation="another")
    async with gateway.http("owner", second_factor=True) as http, elsewhere as other:
        configuration = (await gateway.create_configuration(http))["id"]
        old = await _point(gateway, configuration, SystemClock().now() - timedelta(days=9))
        new = await _point(gateway, configuration, SystemClock().now() - timedelta(days=8))
        await gateway.shows(f"/api/backup/recovery-points/{new}", lambda _: True)
        before = await http.get(f"/api/backup/recovery-points/{old}")
        assert (before.json()["goneAt"], before.json()["goneBecause"]) == (None, [])
        unknown = await _send(http, "POST", "/api/backup/retention/cleanup", {"configurationIds": [new_id()]})
        assert (problem_code(unknown), unknown.json()["field"]) == ("configuration-unknown", "configurationIds[0]")
        asked = await _send(http, "POST", "/api/backup/retention/cleanup", {"configurationIds": [configuration]})
        assert (asked.status_code, asked.json()["state"]) == (202, "accepted"), asked.text
        path = asked.json()["resource"]
        cleanup = path.rpartition("/")[2]

        went = GoingPoint(recovery_point_id=old, configuration_id=configuration, rules=("not-kept",))
        strange = msgspec.structs.replace(went, recovery_point_id=new)
        cleaned = msgspec.structs.replace(sample_event(RetentionCleanedUp), cleanup_id=cleanup, gone=1)
        for fact in (
            RetentionCleanupPreparing(cleanup_id=cleanup, fence=1, worker="w"),
            RecoveryPointsGoing(cleanup_id=cleanup, points=(went,)),
            RecoveryPointsForgotten(cleanup_id=cleanup, points=(went,), locations=("local",)),
            cleaned,
        ):
            await gateway.facts.publish(fact)
        # What another organisation's cleanup says of this one's points says nothing.
        foreign = RecoveryPointsForgotten(cleanup_id=new_id(), points=(strange,))
        await gateway.facts.publish(foreign, organisation="another")
        shown = await gateway.shows(path, lambda shown: shown["state"] == "completed")
        assert (shown["gone"], [each["recoveryPointId"] for each in shown["went"]]) == (1, [old])
        assert next(each["freedBytes"] for each in shown["result"]["places"]) == shown["result"]["freedBytes"] > 0
        assert (await http.get("/api/backup/retention/cleanups")).json()["items"] == [shown]
        assert (await other.get(path)).status_code == 404
        assert (await other.get("/api/backup/retention/cleanups")).json()["items"] == []

        gone = await gateway.shows(f"/api/backup/recovery-points/{old}", lambda shown: shown["goneAt"])
        assert (gone["goneBy"], gone["goneBecause"]) == (cleanup, ["not-kept"])
        known = {"If-None-Match": before.headers["etag"]}
        assert (await http.get(f"/api/backup/recovery-points/{old}", headers=known)).status_code == 200
        for wanted, found in (({}, [new, old]), ({"gone": True}, [old]), ({"gone": False}, [new])):
            listed = await http.get("/api/backup/recovery-points", params=wanted)
            assert [each["id"] for each in listed.json()["items"]] == found
        judged = (await http.post("/api/backup/retention/preview", json={})).json()["items"]
        assert [each["recoveryPointId"] for each in judged] == [new]
        restored = await _send(
            http, "POST", "/api/backup/recovery/initiate", {"recoveryPointId": old, "targetLocation": "restored"}
        )
        assert (problem_code(restored), restored.json()["field"]) == ("recovery-point-gone", "recoveryPointId")
