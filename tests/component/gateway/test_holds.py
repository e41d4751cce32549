"""Holds and approvals at the API: what is told, to whom, and what is refused before anything is recorded."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from chassis.clock import SystemClock
from chassis.ids import new_id
from contracts import errors
from contracts.approval_events import ApprovalAsked, ApprovalDenied, ApprovalExpired, ApprovalFact, ApprovalGranted
from contracts.cleanup_events import CleanupPurpose, RetentionCleanedUp, RetentionCleanupAccepted
from contracts.event import Event
from contracts.hold_events import HoldPlaced, HoldReleaseAwaited, HoldReleased
from contracts.holds import HoldScope
from contracts.samples import sample_event
from tests.support.gateway import ORGANISATION, RunningGateway, problem_code

pytestmark = pytest.mark.stack

HOLDS, APPROVALS, POINTS = "/api/backup/retention/holds", "/api/backup/approvals", "/api/backup/recovery-points"
LATER = (SystemClock().now() + timedelta(days=400)).isoformat()
HOLD: dict[str, Any] = {"reason": "Dispute with Ada Meyer", "matter": "12 O 345/26", "reviewAt": LATER}


async def _send(http: httpx.AsyncClient, path: str, body: Any) -> httpx.Response:
    return await http.post(path, json=body, headers={"Idempotency-Key": new_id()})


async def _tell(gateway: RunningGateway, event: Event, organisation: str = ORGANISATION) -> None:
    await gateway.facts.publish(event, organisation=organisation, actor="service:executor", correlation_id=new_id())


async def _place(gateway: RunningGateway, scope: HoldScope, tagged: Sequence[str] = ()) -> HoldPlaced:
    fact = sample_event(HoldPlaced)
    body = msgspec.structs.replace(fact.body, scope=scope)
    fact = msgspec.structs.replace(fact, hold_id=new_id(), body=body, tagged=tuple(tagged))
    await _tell(gateway, fact)
    await gateway.shows(f"{HOLDS}/{fact.hold_id}", lambda _: True)
    return fact


async def _point(gateway: RunningGateway, configuration: str, days: float) -> str:
    at = SystemClock().now() - timedelta(days=days)
    run = await gateway.facts.accepted(configuration_id=configuration, time=at)
    await gateway.facts.complete(run, configuration, time=at)
    await gateway.shows(f"{POINTS}/{run}", lambda _: True)
    return run


async def test_hold_is_shown_to_its_organisation_alone_and_wrong_ones_are_told_whole(gateway: RunningGateway) -> None:
    """Placed, listed, read; its texts are sealed on their way; nothing hostile comes to the owner."""
    async with gateway.http("owner") as http, gateway.http("owner", organisation="another") as stranger:
        configuration = (await gateway.create_configuration(http))["id"]
        point = await _point(gateway, configuration, 1)
        asked = {**HOLD, "configurationIds": [configuration] * 2, "tags": [" photos "], "recoveryPointIds": [point]}
        made = await _send(http, HOLDS, asked)
        assert made.status_code == 201, made.text
        assert (made.json()["state"], made.json()["isReviewDue"], made.json()["kept"]) == ("placed", False, 0)
        assert b"Ada" not in bytes(gateway.owners.asked[-1].data)
        assert b'"tags":["photos"]' in bytes(gateway.owners.asked[-1].data)
        assert (made.json()["reason"], made.json()["matter"]) == (HOLD["reason"], HOLD["matter"])
        path = made.headers["location"]
        assert (await http.get(path)).json() == made.json()
        assert (await http.get(HOLDS, params={"status": "placed"})).json()["items"] == [made.json()]
        assert (await http.get(HOLDS, params={"status": "released"})).json()["items"] == []

        assert (await stranger.get(HOLDS)).json()["items"] == []
        for answer in (await stranger.get(path), await http.get(f"{HOLDS}/{new_id()}"), await http.get(f"{HOLDS}/'--")):
            assert problem_code(answer) == errors.HOLD_UNKNOWN.code

        count = len(gateway.owners.asked)
        stranger_point = {"recoveryPointIds": [point], "configurationIds": [configuration]}
        for who, wrong, fields in (
            (http, {"reason": "\u202eA", "matter": " ", "reviewAt": "2020-01-01T00:00:00Z"},
             ["reason", "matter", "reviewAt", "configurationIds"]),
            (http, {"madeFrom": LATER, "madeBefore": LATER}, ["madeBefore"]),
            (http, {"configurationIds": [configuration, new_id()], "recoveryPointIds": [new_id()]},
             ["configurationIds[1]", "recoveryPointIds[0]"]),
            (http, {"tags": ["a"] * 201}, ["tags"]),
            (http, {"madeFrom": "2020-01-01T00:00:00"}, ["madeFrom"]),
            (stranger, stranger_point, ["configurationIds[0]", "recoveryPointIds[0]"]),
        ):  # fmt: skip
            answer = await _send(who, HOLDS, {**HOLD, **wrong})
            told = [each["field"] for each in answer.json()["errors"]]
            assert (answer.status_code in (404, 422), told) == (True, fields), answer.text
        assert len(gateway.owners.asked) == count


async def test_point_shows_what_holds_it_as_the_planner_reckons_it(gateway: RunningGateway) -> None:
    """By each kind of scope and all of them at once: the list, the point and the preview say the same."""
    now = SystemClock().now()
    async with gateway.http("owner") as http:
        tagged = (await gateway.create_configuration(http, name="Tagged", tags=["disputed", "b"]))["id"]
        plain = (await gateway.create_configuration(http, name="Plain", tags=[]))["id"]
        points = [(await _point(gateway, of, days), of, days) for of in (tagged, plain) for days in (1, 10)]
        first, middle = points[0][0], now - timedelta(days=5)
        holds = [
            await _place(gateway, scope, had)
            for scope, had in (
                (HoldScope(configuration_ids=(plain,)), ()),
                (HoldScope(recovery_point_ids=(first, new_id())), ()),
                (HoldScope(tags=("x", "disputed")), ()),
                (HoldScope(tags=("x",)), (plain,)),
                (HoldScope(made_from=middle), ()),
                (HoldScope(made_before=middle, tags=("disputed",)), ()),
                (HoldScope(configuration_ids=(plain,), recovery_point_ids=(first,)), ()),
            )
        ]
        await _tell(gateway, msgspec.structs.replace(sample_event(HoldPlaced), hold_id=new_id()), "another")
        preview = await http.post(
            "/api/backup/retention/preview",
            json={"configurationIds": [tagged, plain], "policy": {"name": "a", "keepLast": 1}},
        )
        told = {each["recoveryPointId"]: each["reasons"] for each in preview.json()["items"]}
        counts = []
        for point, of, days in points:
            tags = {tagged: ("disputed", "b"), plain: ()}[of]
            at = now - timedelta(days=days)
            expected = sorted(
                each.hold_id for each in holds if each.body.scope.covers(point, of, at, tags, each.tagged)
            )
            counts.append(len(expected))
            assert (await http.get(f"{POINTS}/{point}")).json()["heldBy"] == expected
            listed = (await http.get(POINTS, params={"at": at.isoformat()})).json()["items"]
            assert [each["heldBy"] for each in listed if each["id"] == point] in ([], [expected])
            words = [each["words"] for each in told[point] if each["rule"] == "hold"]
            assert words == [f"held by the hold {each}" for each in expected]
        assert counts == [3, 2, 3, 2]


async def test_approval_is_shown_as_it_stands_and_a_released_hold_keeps_nothing(gateway: RunningGateway) -> None:
    """Who asked, until when, who decided; another organisation sees nothing of it, and ends nothing."""
    async with gateway.http("owner") as http, gateway.http("owner", organisation="another") as stranger:
        configuration = (await gateway.create_configuration(http))["id"]
        point = await _point(gateway, configuration, 1)
        hold = await _place(gateway, HoldScope(configuration_ids=(configuration,)))
        ended: dict[str, ApprovalFact] = {
            "granted": sample_event(ApprovalGranted),
            "denied": sample_event(ApprovalDenied),
            "expired": sample_event(ApprovalExpired),
        }
        ids = {}
        for state, fact in ended.items():
            asked = msgspec.structs.replace(sample_event(ApprovalAsked), approval_id=new_id(), subject_id=hold.hold_id)
            ids[state] = asked.approval_id
            await _tell(gateway, asked)
            shown = await gateway.shows(f"{APPROVALS}/{asked.approval_id}", lambda _: True)
            assert (shown["state"], shown["resource"], shown["decidedBy"]) == ("open", f"{HOLDS}/{hold.hold_id}", None)
            end = msgspec.structs.replace(fact, approval_id=asked.approval_id)
            await _tell(gateway, end, "another")
            await _tell(gateway, end)
            shown = await gateway.shows(
                f"{APPROVALS}/{asked.approval_id}", lambda shown, to=state: shown["state"] == to
            )
            assert shown["decidedBy"] == getattr(fact, "granted_by", getattr(fact, "denied_by", None))
        assert [each["id"] for each in (await http.get(APPROVALS)).json()["items"]] == [*reversed(ids.values())]
        some = (await http.get(APPROVALS, params={"status": ["denied", "expired"]})).json()["items"]
        assert {each["id"] for each in some} == {ids["denied"], ids["expired"]}
        assert (await stranger.get(APPROVALS)).json()["items"] == []
        assert problem_code(await stranger.get(f"{APPROVALS}/{ids['denied']}")) == errors.APPROVAL_UNKNOWN.code

        cleanup = msgspec.structs.replace(
            sample_event(RetentionCleanupAccepted), cleanup_id=new_id(), purpose=CleanupPurpose.HOLDS
        )
        await _tell(gateway, cleanup)
        done = msgspec.structs.replace(sample_event(RetentionCleanedUp), cleanup_id=cleanup.cleanup_id)
        await _tell(gateway, done)
        path = f"/api/backup/retention/cleanups/{cleanup.cleanup_id}"
        shown = await gateway.shows(path, lambda shown: shown["state"] == "completed")
        assert (shown["purpose"], shown["initiatedBy"]) == ("holds", "service:executor")
        assert [(each["points"], each["onObjects"]) for each in shown["result"]["held"]] == [(52, None), (0, True)]

        about = {"hold_id": hold.hold_id, "approval_id": ids["granted"]}
        await _tell(gateway, msgspec.structs.replace(sample_event(HoldReleaseAwaited), **about))
        waiting = await gateway.shows(f"{HOLDS}/{hold.hold_id}", lambda shown: shown["version"] == 2)
        assert (waiting["state"], waiting["approvalId"]) == ("placed", ids["granted"])
        await _tell(gateway, msgspec.structs.replace(sample_event(HoldReleased), **about), "another")
        assert (await http.get(f"{POINTS}/{point}")).json()["heldBy"] == [hold.hold_id]
        await _tell(gateway, msgspec.structs.replace(sample_event(HoldReleased), **about))
        await gateway.shows(f"{HOLDS}/{hold.hold_id}", lambda shown: shown["state"] == "released")
        assert (await http.get(f"{POINTS}/{point}")).json()["heldBy"] == []
