"""Recovery points and recoveries as the gateway shows them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest

from chassis.ids import new_id
from contracts import errors
from contracts.executor_events import BackupCompleted
from contracts.recovery_events import (
    RecoveryCompleted,
    RecoveryFailed,
    RecoveryPreparing,
    RecoveryStarted,
    RecoveryVerified,
)
from contracts.samples import sample_event
from tests.support.alerts import firing
from tests.support.gateway import RunningGateway, problem_code, whole_run
from tests.support.promql import Scrapes

pytestmark = pytest.mark.stack

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
POINTS = "/api/backup/recovery-points"


async def _point(gateway: RunningGateway, configuration: str, at: datetime, **changes: Any) -> str:
    run = new_id()
    completed = whole_run(run, configuration)[-1]
    assert isinstance(completed, BackupCompleted)
    await gateway.facts.publish(msgspec.structs.replace(completed, **changes), time=at)
    return run


async def test_points_are_found_by_configuration_source_and_time(gateway: RunningGateway) -> None:
    """What there was at a moment is of each configuration the latest up to then; an emptied source makes no point."""
    async with gateway.http("owner") as http:
        first = (await gateway.create_configuration(http, name="First"))["id"]
        second = (await gateway.create_configuration(http, name="Second"))["id"]
        old = await _point(gateway, first, NOON)
        new = await _point(gateway, first, NOON + timedelta(hours=2))
        other = await _point(gateway, second, NOON + timedelta(hours=1))
        none = await _point(gateway, second, NOON, degraded=True, code=errors.SOURCE_EMPTIED.code)
        last = await _point(gateway, second, NOON + timedelta(hours=3))
        await gateway.shows(f"{POINTS}/{last}", lambda _: True)

        async def found(**wanted: str) -> list[str]:
            answer = await http.get(POINTS, params=wanted)
            assert answer.status_code == 200, answer.text
            return [each["id"] for each in answer.json()["items"]]

        assert await found() == [last, new, other, old]
        assert await found(configurationId=first) == [new, old]
        assert await found(source="photos") == [last, new, other, old]
        assert await found(source="elsewhere") == []
        assert await found(at="2026-11-20T13:30:00Z") == [other, old]
        assert await found(before="2026-11-20T13:00:00Z") == [old]
        assert problem_code(await http.get(f"{POINTS}/{none}")) == errors.RECOVERY_POINT_UNKNOWN.code
        page = (await http.get(POINTS, params={"limit": 3})).json()
        rest = (await http.get(POINTS, params={"limit": 3, "cursor": page["nextCursor"]})).json()
        assert [each["id"] for each in (*page["items"], *rest["items"])] == [last, new, other, old]
        shown = await http.get(f"{POINTS}/{new}")
        again = await http.get(f"{POINTS}/{new}", headers={"If-None-Match": shown.headers["etag"]})
        assert (again.status_code, shown.json()["tiers"][0]) == (304, "local")
    async with gateway.http("owner", organisation="another") as http:
        assert problem_code(await http.get(f"{POINTS}/{new}")) == errors.RECOVERY_POINT_UNKNOWN.code
        assert (await http.get(POINTS)).json()["items"] == []


async def test_recovery_is_shown_from_its_beginning_to_its_end(gateway: RunningGateway) -> None:
    """State, attempts, what was verified and written; of a list it is one."""
    operation = await gateway.facts.recovering()
    path = f"/api/backup/recovery/operations/{operation}"
    begun = await gateway.shows(path, lambda _: True)
    assert (begun["state"], begun["verificationStatus"], begun["progress"]) == ("initializing", "pending", None)
    for kind in (RecoveryPreparing, RecoveryStarted, RecoveryVerified, RecoveryCompleted):
        await gateway.facts.publish(msgspec.structs.replace(sample_event(kind), operation_id=operation))
    shown = await gateway.shows(path, lambda shown: shown["finishedAt"] is not None)
    assert (shown["state"], shown["verificationStatus"], shown["attempts"]) == ("completed", "verified", 1)
    assert [phase["name"] for phase in shown["phases"]] == ["initializing", "preparing", "recovering"]
    async with gateway.http("viewer") as http:
        listed = (await http.get("/api/backup/recovery/operations", params={"status": "completed"})).json()["items"]
    assert [each["id"] for each in listed] == [operation]
    async with gateway.http("owner", organisation="another") as http:
        assert problem_code(await http.get(path)) == errors.NOT_FOUND.code
        assert (await http.get("/api/backup/recovery/operations")).json()["items"] == []


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"targetLocation": "local"}, "targetLocation", errors.UNKNOWN_LOCATION),
        ({"targetPath": "../up"}, "targetPath", errors.PATH_OUTSIDE_LOCATION),
        ({"scope": ["a/../b"]}, "scope[0]", errors.INVALID_FIELD),
        ({"scope": ["**/*a*b*c*d"]}, "scope[0]", errors.INVALID_FIELD),
        ({"scope": ["/"]}, "scope[0]", errors.INVALID_FIELD),
        ({"conflictPolicy": "unknown"}, "conflictPolicy", errors.INVALID_FIELD),
        ({"recoveryPointId": "019ab4d3-0f2a-7c44-8e21-6a7b8c9d0e1f"}, "recoveryPointId", errors.RECOVERY_POINT_UNKNOWN),
    ],
)
async def test_recovery_that_can_never_be_is_refused_before_it_is_recorded(
    gateway: RunningGateway, changes: dict[str, Any], field: str, code: errors.ErrorCode
) -> None:
    """By the field that is to be corrected."""
    point = await _point(gateway, new_id(), NOON)
    await gateway.shows(f"{POINTS}/{point}", lambda _: True)
    gateway.owners.asked.clear()
    body = {"recoveryPointId": point, "targetLocation": "restored", "targetPath": "meyer", **changes}
    async with gateway.http("owner", second_factor=True) as http:
        key = {"Idempotency-Key": new_id()}
        answer = await http.post("/api/backup/recovery/initiate", json=body, headers=key)
    assert (problem_code(answer), answer.json()["field"]) == (code.code, field), answer.text
    assert not gateway.owners.asked


async def test_recovery_that_failed_is_paged_on_for_an_hour(gateway: RunningGateway) -> None:
    """Each that ended is counted by how it did; of a failed one somebody is woken."""
    scrapes = Scrapes()

    async def scrape(at: float) -> None:
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"http://127.0.0.1:{gateway.process.health_server.port}/metrics")
        scrapes.add(at, {"gateway": answer.text})

    await scrape(0)
    for kind in (RecoveryCompleted, RecoveryFailed):
        operation = await gateway.facts.recovering()
        await gateway.facts.publish(msgspec.structs.replace(sample_event(kind), operation_id=operation))
        await gateway.shows(f"/api/backup/recovery/operations/{operation}", lambda shown: shown["finishedAt"])
    await scrape(60)
    assert firing(scrapes, "WedsyncRecoveriesFailed") == [{"outcome": "failed"}]
    assert not firing(scrapes, "WedsyncRecoveriesFailed", in_seconds=3700)
    ended = scrapes.ask("max by (outcome) (increase(wedsync_recoveries_ended_total[1h])) > 0", at=60)
    assert isinstance(ended, dict)
    assert len(ended) == 2
