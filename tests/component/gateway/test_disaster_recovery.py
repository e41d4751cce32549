"""Disaster recovery plans at the API: what is told, to whom, and what is refused before anything is recorded."""

from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from chassis.clock import SystemClock
from chassis.ids import new_id
from contracts import errors
from contracts.config_events import NotificationChannelCreated
from contracts.disaster import PlanBody, PlanType, SourceLoss, StepOutcome
from contracts.dr_events import DrNextTestChanged, DrTestMissed
from contracts.dr_execution_events import (
    DrExecutionBegun,
    DrExecutionCompleted,
    DrExecutionFailed,
    DrStepBegun,
    DrStepEnded,
    DrTestCleanedUp,
    DrTestStarted,
)
from contracts.envelope import decode_data
from contracts.event import Event
from contracts.executor_events import BackupCompleted
from contracts.gateway_events import DrExecutionRequested
from contracts.sample_values import PLAN_BODY
from contracts.samples import sample_event
from contracts.validation_events import (
    RecoveryPointCorrupted,
    RecoveryPointVerified,
    TierValidated,
    TierWholeness,
    ValidationEnd,
)
from services.dr.adapters.turns import AskedPoints
from tests.support.gateway import ORGANISATION, RunningGateway, problem_code

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


def _restoring(configuration: str) -> PlanBody:
    steps = [msgspec.structs.replace(step, configuration_id=configuration) for step in PLAN_BODY.procedures[1:2]]
    return msgspec.structs.replace(PLAN_BODY, procedures=tuple(steps), backup_sources=())


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


EXECUTIONS = "/api/backup/disaster-recovery/executions"


async def _asked(gateway: RunningGateway, http: httpx.AsyncClient, plan: str) -> DrExecutionRequested:
    """An execution of a plan is asked for; the request as it is recorded."""
    answer = await _send(http, "POST", "/api/backup/disaster-recovery/execute", {"planId": plan})
    assert answer.status_code == 202, answer.text
    event = decode_data(gateway.owners.asked[-1])
    assert isinstance(event, DrExecutionRequested)
    return event


async def test_execution_takes_the_points_that_its_plan_prefers_or_is_refused_by_step(gateway: RunningGateway) -> None:
    """By what there is when it is asked for: the freshest, the newest that was proven, that of a moment, that named."""
    async with gateway.http("owner", second_factor=True) as http:
        configuration = (await gateway.create_configuration(http))["id"]
        steps = _plan(configuration)["procedures"]
        plan = (await _send(http, "POST", PLANS, _plan(configuration))).json()["id"]
        answer = await _send(http, "POST", "/api/backup/disaster-recovery/execute", {"planId": plan})
        assert (problem_code(answer), answer.json()["field"]) == (errors.RECOVERY_POINT_UNKNOWN.code, "planId")
        assert "photos" in answer.json()["hint"]
        answer = await _send(http, "POST", "/api/backup/disaster-recovery/execute", {"planId": new_id()})
        assert problem_code(answer) == errors.DR_PLAN_UNKNOWN.code

        proven = await gateway.facts.accepted(configuration_id=configuration)
        await gateway.facts.complete(proven, configuration)
        moment = SystemClock().now()
        freshest = await gateway.facts.accepted(configuration_id=configuration)
        unproven = msgspec.structs.replace(
            sample_event(BackupCompleted), execution_id=freshest, configuration_id=configuration, verified=()
        )
        await gateway.facts.publish(unproven)
        await gateway.shows(f"/api/backup/recovery-points/{freshest}", lambda _: True)
        for changes, wanted in (
            ({}, freshest),
            ({"backupSources": [{"configurationId": configuration, "prefer": "proven"}]}, proven),
            ({"procedures": [steps[0], {**steps[1], "moment": moment.isoformat()}, steps[2]]}, proven),
            ({"procedures": [steps[0], {**steps[1], "recoveryPointId": proven}, steps[2]]}, proven),
        ):
            made = (await _send(http, "POST", PLANS, _plan(configuration, **changes))).json()["id"]
            (point,) = (await _asked(gateway, http, made)).points
            assert (point.step_id, point.recovery_point_id) == ("photos", wanted)
        # A test that begins by itself takes what one by request takes: the dr service asks.
        body = _restoring(configuration)
        async with gateway.nats.connected("dr") as client:
            asking = AskedPoints(lambda: client)
            (point,) = await asking.points(ORGANISATION, body)
            assert (point.step_id, point.recovery_point_id) == ("photos", freshest)
            assert await asking.points("another", body) == ()
        rare = {"everyDays": 7, "schedule": {"frequency": "monthly"}}
        refused = await _send(http, "POST", PLANS, _plan(configuration, testingSchedule=rare))
        assert (refused.status_code, refused.json()["field"]) == (422, "testingSchedule.everyDays"), refused.text
        channel = await _channel(gateway)
        told = [*steps, {"id": "tell", "kind": "notify", "owner": "owner", "channelIds": [channel]}]
        made = (await _send(http, "POST", PLANS, _plan(configuration, procedures=told))).json()["id"]
        assert len((await _asked(gateway, http, made)).points) == 1


async def test_point_that_a_validation_found_damaged_is_passed_over_and_told(gateway: RunningGateway) -> None:
    """Damage that harms no point, or of which another tier is whole, keeps none from being taken."""
    async with gateway.http("owner", second_factor=True) as http:
        configuration = (await gateway.create_configuration(http))["id"]
        older, newest = [await gateway.facts.accepted(configuration_id=configuration) for _ in range(2)]
        for point in (older, newest):
            await gateway.facts.complete(point, configuration)
        await gateway.shows(f"/api/backup/recovery-points/{newest}", lambda _: True)

        async def found(kind: type[ValidationEnd], tier: str, verdict: TierWholeness, *, harms: bool) -> None:
            looked = TierValidated(tier=tier, location=tier, verdict=verdict, harms_point=harms)
            about = {"validation_id": new_id(), "recovery_point_id": newest, "configuration_id": configuration}
            await gateway.facts.publish(msgspec.structs.replace(sample_event(kind), tiers=(looked,), **about))
            await gateway.shows(
                f"/api/backup/recovery-points/{newest}",
                lambda shown: (
                    about["validation_id"]
                    in {each["validationId"] for each in [*shown["lastDamaged"], *shown["lastProven"]]}
                ),
            )

        async def taken(name: str) -> tuple[str, list[str]]:
            plan = (await _send(http, "POST", PLANS, _plan(configuration, planName=name))).json()["id"]
            (point,) = (await _asked(gateway, http, plan)).points
            (stands,) = [
                each
                for each in (await http.get("/api/backup/disaster-recovery/status")).json()["items"]
                if each["planId"] == plan
            ]
            told = [each["hint"] for each in stands["findings"] if each["check"] == "point-whole"]
            return point.recovery_point_id, told

        await found(RecoveryPointCorrupted, "local", TierWholeness.DAMAGED, harms=False)
        assert await taken("One") == (newest, [])
        await found(RecoveryPointCorrupted, "local", TierWholeness.DAMAGED, harms=True)
        point, (told,) = await taken("Two")
        assert (point, newest in told) == (older, True)
        await found(RecoveryPointVerified, "offsite", TierWholeness.WHOLE, harms=False)
        assert await taken("Three") == (newest, [])


async def _channel(gateway: RunningGateway) -> str:
    made = msgspec.structs.replace(sample_event(NotificationChannelCreated), channel_id=new_id())
    await gateway.facts.publish(made, actor="service:owner", correlation_id=made.request_id)
    await gateway.shows(f"/api/backup/notifications/channels/{made.channel_id}", lambda _: True)
    return made.channel_id


async def test_execution_is_shown_step_by_step_and_proves_its_plan_or_says_what_failed(gateway: RunningGateway) -> None:
    """Whom it waits for, what was measured, and to its organisation alone; the status tells what was proven."""
    now = SystemClock().now()
    async with gateway.http("owner") as http, gateway.http("owner", organisation="another") as stranger:
        configuration = (await gateway.create_configuration(http))["id"]
        schedule = {"testingSchedule": {"everyDays": 90}}
        plan = (await _send(http, "POST", PLANS, _plan(configuration, **schedule))).json()["id"]

        await gateway.facts.publish(DrNextTestChanged(plan_id=plan, next_test_at=now + timedelta(days=89)))
        await gateway.shows(f"{PLANS}/{plan}", lambda shown: shown["nextTestAt"] is not None)

        async def begun(kind: type[DrExecutionBegun]) -> str:
            fact = msgspec.structs.replace(sample_event(kind), execution_id=new_id(), plan_id=plan, started_at=now)
            await gateway.facts.publish(fact)
            return fact.execution_id

        async def said(execution: str, version: int, *facts: Event) -> dict[str, Any]:
            for fact in facts:
                await gateway.facts.publish(msgspec.structs.replace(fact, execution_id=execution))
            return await gateway.shows(f"{EXECUTIONS}/{execution}", lambda shown: shown["version"] == version)

        test = await begun(DrTestStarted)
        go = msgspec.structs.replace(sample_event(DrStepBegun), step_id="go", operation_id=None)
        shown = await said(test, 2, go)
        assert (shown["state"], shown["isTest"], shown["waitsFor"]) == ("initializing", True, ["go"])
        assert [step["state"] for step in shown["steps"]] == ["running", "waiting", "waiting"]
        for answer in (await stranger.get(f"{EXECUTIONS}/{test}"), await http.get(f"{EXECUTIONS}/'; --")):
            assert problem_code(answer) == errors.DR_EXECUTION_UNKNOWN.code
        assert (await stranger.get(EXECUTIONS)).json()["items"] == []

        completed = msgspec.structs.replace(
            sample_event(DrExecutionCompleted),
            plan_id=plan,
            ended_at=now,
            rto_seconds=61.0,
            losses=(SourceLoss(configuration_id=configuration, recovery_point_id=new_id(), lost_seconds=120.0),),
        )
        ended = msgspec.structs.replace(sample_event(DrStepEnded), step_id="go", outcome=StepOutcome.COMPLETED)
        shown = await said(test, 6, go, ended, completed, sample_event(DrTestCleanedUp))
        assert (shown["state"], shown["rtoSeconds"], shown["rtoMet"], shown["rpoMet"]) == (
            "completed",
            61.0,
            True,
            True,
        )
        assert shown["cleanedUpAt"] is not None
        assert shown["receiptEventId"] is not None
        (stands,) = (await http.get("/api/backup/disaster-recovery/status")).json()["items"]
        assert (stands["provenRtoMinutes"], stands["provenRpoMinutes"]) == (2, 2)
        assert stands["nextTestAt"] > stands["lastTestAt"]
        assert stands["lastMissedTest"] is None
        steps = {each["stepId"]: each["predicted"] for each in stands["predictedSteps"]}
        assert (steps["go"]["runs"], steps["photos"], stands["predictedRto"]) == (1, None, None)
        assert "predicted-rto" in stands["unknown"]
        assert {each["check"]: each["verdict"] for each in stands["findings"]}["tested"] == "pass"

        failed = msgspec.structs.replace(
            sample_event(DrExecutionFailed), step_id="photos", code=errors.DR_STEP_TIMED_OUT.code, ended_at=now
        )
        another = await begun(DrTestStarted)
        shown = await said(another, 2, failed)
        assert (shown["state"], shown["error"]["stepId"], shown["error"]["code"]) == (
            *("failed", "photos"),
            errors.DR_STEP_TIMED_OUT.code,
        )
        (stands,) = (await http.get("/api/backup/disaster-recovery/status")).json()["items"]
        assert {each["check"]: each["verdict"] for each in stands["findings"]}["tested"] == "fail"
        assert stands["provenRtoMinutes"] == 2
        missed = DrTestMissed(
            plan_id=plan, due_at=now, next_test_at=now + timedelta(days=90), code=errors.DR_TEST_MISSED.code
        )
        await gateway.facts.publish(missed)
        shown = await gateway.shows(f"{PLANS}/{plan}", lambda shown: shown["lastMissedTest"] is not None)
        assert (shown["lastMissedTest"]["code"], shown["nextTestAt"] > stands["nextTestAt"]) == ("dr-test-missed", True)
        listed = (await http.get(EXECUTIONS, params={"planId": plan, "isTest": "true"})).json()["items"]
        assert {each["id"] for each in listed} == {test, another}


async def test_templates_can_be_sent_as_they_are_and_name_the_organisation_s_own(gateway: RunningGateway) -> None:
    """One for each disaster; whoever has nothing to bring back is told that, and is offered no plan."""
    async with gateway.http("owner") as http, gateway.http("owner", organisation="another") as stranger:
        configuration = (await gateway.create_configuration(http))["id"]
        templates = (await http.get(f"{PLANS}/templates")).json()["items"]
        assert {each["id"] for each in templates} == {each.value for each in PlanType} - {"other"}
        for template in templates:
            assert template["plan"]["scope"] == {"configurationIds": [configuration]}
            made = await _send(http, "POST", PLANS, template["plan"])
            assert made.status_code == 201, made.text
        for template in (await stranger.get(f"{PLANS}/templates")).json()["items"]:
            assert template["plan"] is None
            assert "scope.configurationIds" in {each["field"] for each in template["unmet"]}
