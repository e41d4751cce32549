"""Recovery points and recoveries as the gateway shows them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from nats.aio.msg import Msg

from chassis.ids import new_id
from contracts import errors
from contracts.executor_events import BackupCompleted
from contracts.looking import (
    ASK_CONTENT,
    ASK_ENTRIES,
    ContentAnswer,
    ContentAsked,
    EntriesAnswer,
    EntriesAsked,
    EntryFound,
    EntryKind,
    PointLooked,
    asked_of,
    content_asked_of,
    encoded,
)
from contracts.recovery_events import (
    RecoveryCompleted,
    RecoveryFailed,
    RecoveryPreparing,
    RecoveryStarted,
    RecoveryVerified,
)
from contracts.samples import sample_event
from tests.component.gateway.test_access import denials
from tests.support.alerts import firing
from tests.support.eventually import eventually
from tests.support.gateway import ORGANISATION, RunningGateway, problem_code, whole_run
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


class Looks:
    """A recovery worker that has one folder and one file in every point, and notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[EntriesAsked] = []
        self.code: str | None = None
        self.without: set[str] = set()

    async def hear(self, message: Msg) -> None:
        asked = asked_of(message.data)
        self.asked.append(asked)
        points = [self._looked(asked, each) for each in asked.recovery_point_ids]
        await message.respond(encoded(EntriesAnswer(code=self.code, points=() if self.code else tuple(points))))

    def _looked(self, asked: EntriesAsked, point: str) -> PointLooked:
        odd = EntryFound(name=b"\xff\n", kind=EntryKind.FILE, size=3, modified_ns=2**63 - 1, content="a")
        folder = EntryFound(name=b"2027", kind=EntryKind.FOLDER, size=0, modified_ns=1_790_000_000_000_000_000)
        if asked.path == b"nothing" or point in self.without:
            return PointLooked(recovery_point_id=point)
        if asked.path:
            return PointLooked(recovery_point_id=point, entry=odd)
        entries = (folder, odd)[asked.place : asked.place + asked.limit]
        place = asked.place + len(entries)
        more = place if place < 2 else None
        return PointLooked(recovery_point_id=point, entry=folder, entries=entries, next_place=more)


@asynccontextmanager
async def _looks(gateway: RunningGateway) -> AsyncIterator[Looks]:
    looks = Looks()
    async with gateway.nats.connected("recovery-worker") as worker:
        await worker.subscribe(ASK_ENTRIES, cb=looks.hear)
        await worker.flush()
        yield looks


async def test_point_is_looked_into_by_a_worker_and_by_its_organisation_alone(gateway: RunningGateway) -> None:
    """Paths as text or bytes, parts by cursors that are of this folder; who cannot be answered is told why."""
    gateway.make_keys(ORGANISATION, "another")
    point = await _point(gateway, new_id(), NOON)
    other = await _point(gateway, new_id(), NOON)
    await gateway.shows(f"{POINTS}/{other}", lambda _: True)
    path = f"{POINTS}/{point}/entries"
    async with gateway.http("viewer") as http:
        assert problem_code(await http.get(path)) == errors.LOOK_UNANSWERED.code
        async with _looks(gateway) as looks:
            first = (await http.get(path, params={"limit": 1})).json()
            rest = (await http.get(path, params={"limit": 1, "cursor": first["nextCursor"]})).json()
            assert [each["name"] for each in (*first["items"], *rest["items"])] == ["2027", "\\xff\\x0a"]
            assert (rest["nextCursor"], rest["isWhole"], rest["entry"]["kind"]) == (None, True, "folder")
            (odd,) = rest["items"]
            assert (odd["size"], odd["nameBytes"], odd["contentId"]) == (3, "_wo=", "a")
            shown = (await http.get(path, params={"pathBytes": odd["nameBytes"]})).json()
            assert (looks.asked[-1].path, shown["items"], shown["entry"]["name"]) == (b"\xff\n", [], odd["name"])
            for place, wanted in ((path, {"path": "2027"}), (f"{POINTS}/{other}/entries", {})):
                answer = await http.get(place, params={"cursor": first["nextCursor"], **wanted})
                assert problem_code(answer) == errors.INVALID_CURSOR.code
            assert problem_code(await http.get(path, params={"path": "nothing"})) == errors.ENTRY_UNKNOWN.code
            before = len(looks.asked)
            hostile = (
                {"path": "a/../b"},
                {"path": ".."},
                {"path": "a\0b"},
                {"path": "x" * 4097},
                {"pathBytes": "%%%"},
                {"pathBytes": "Li4="},
                {"path": "a", "pathBytes": "YQ=="},
                {"limit": "0"},
                {"limit": "201"},
            )
            for wrong in hostile:
                assert problem_code(await http.get(path, params=wrong)) == errors.INVALID_FIELD.code, wrong
            async with gateway.http("owner", organisation="another") as stranger:
                for place in (path, f"{POINTS}/{point}/versions"):
                    answer = await stranger.get(place, params={"path": "2027"})
                    assert problem_code(answer) == errors.RECOVERY_POINT_UNKNOWN.code
            assert len(looks.asked) == before
            assert {each.organisation for each in looks.asked} == {ORGANISATION}
            looks.code = errors.TIER_UNREACHABLE.code
            assert problem_code(await http.get(path)) == errors.TIER_UNREACHABLE.code
            looks.code = "of-a-newer-build"
            assert problem_code(await http.get(path)) == errors.LOOK_UNANSWERED.code


async def test_versions_of_a_file_are_told_by_the_points_that_have_it(gateway: RunningGateway) -> None:
    """The latest first; where it came, vanished or became another; nothing is said beyond the page."""
    gateway.make_keys(ORGANISATION)
    configuration = new_id()
    ids = [await _point(gateway, configuration, NOON + timedelta(hours=hour)) for hour in range(4)]
    await _point(gateway, new_id(), NOON)
    await gateway.shows(f"{POINTS}/{ids[-1]}", lambda _: True)
    async with gateway.http("viewer") as http, _looks(gateway) as looks:
        looks.without = {ids[1], ids[0]}
        path = f"{POINTS}/{ids[0]}/versions"
        page = (await http.get(path, params={"path": "a.jpg"})).json()
        told = [(each["recoveryPointId"], each["isThere"], each["isChanged"], each["size"]) for each in page["items"]]
        assert told == [
            (ids[3], True, False, 3),
            (ids[2], True, True, 3),
            (ids[1], False, False, None),
            (ids[0], False, None, None),
        ]
        first = (await http.get(path, params={"path": "a.jpg", "limit": 3})).json()
        rest = (await http.get(path, params={"path": "a.jpg", "limit": 3, "cursor": first["nextCursor"]})).json()
        assert [each["recoveryPointId"] for each in (*first["items"], *rest["items"])] == ids[::-1]
        assert problem_code(await http.get(path)) == errors.INVALID_FIELD.code
        assert problem_code(await http.get(path, params={"path": "a", "limit": 51})) == errors.INVALID_FIELD.code


FILE = bytes(range(256)) * 5000


async def test_file_of_a_recovery_is_sent_to_who_asked_for_it_and_in_ranges(gateway: RunningGateway) -> None:
    """All of it, parts, a HEAD; a second factor is asked for; what breaks in the middle is not taken for whole."""
    gateway.make_keys(ORGANISATION)
    asked: list[ContentAsked] = []
    broken = False

    async def hear(message: Msg) -> None:
        asked.append(each := content_asked_of(message.data))
        entry = EntryFound(name=b"x", kind=EntryKind.FILE, size=len(FILE), modified_ns=1, content="abc")
        answer = ContentAnswer(entry=entry, body=FILE[each.offset : each.offset + each.length])
        if broken and each.offset:
            answer = ContentAnswer(code=errors.VERIFICATION_FAILED.code)
        await message.respond(encoded(answer))

    point = await _point(gateway, new_id(), NOON)
    await gateway.shows(f"{POINTS}/{point}", lambda _: True)
    async with gateway.http("owner", second_factor=True) as http, gateway.nats.connected("recovery-worker") as worker:
        await worker.subscribe(ASK_CONTENT, cb=hear)
        await worker.flush()
        body = {"recoveryPointId": point, "targetLocation": "restored", "scope": ["2027"]}
        made = await http.post("/api/backup/recovery/initiate", json=body, headers={"Idempotency-Key": new_id()})
        path = f"{made.json()['resource']}/content?path=2027/ü.jpg"
        whole = await http.get(path)
        assert (whole.status_code, whole.content == FILE) == (200, True), whole.text[:300]
        assert whole.headers["content-disposition"].endswith("%C3%BC.jpg")
        assert {(each.organisation, each.recovery_point_id, each.scope) for each in asked} == {
            (ORGANISATION, point, ("2027",))
        }
        for span, first, end in (("0-9", 0, 10), ("1000000-", 1_000_000, len(FILE)), ("-5", len(FILE) - 5, len(FILE))):
            part = await http.get(path, headers={"Range": f"bytes={span}", "If-Range": whole.headers["etag"]})
            assert (part.status_code, part.content == FILE[first:end]) == (206, True), span
            assert part.headers["content-range"] == f"bytes {first}-{end - 1}/{len(FILE)}"
        for unread in ({"Range": "bytes=5-1"}, {"Range": "lines=1-2"}, {"Range": "bytes=0-9", "If-Range": '"other"'}):
            assert (await http.get(path, headers=unread)).status_code == 200, unread
        beyond = await http.get(path, headers={"Range": f"bytes={len(FILE)}-"})
        assert problem_code(beyond) == errors.RANGE_NOT_THERE.code
        asked.clear()
        head = await http.head(path)
        assert (head.headers["content-length"], head.content, len(asked)) == (str(len(FILE)), b"", 1)
        broken = True
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get(path)
        asked.clear()
        for who in (
            {"roles": ("owner",)},
            {"roles": ("operator",), "second_factor": True},
            {"roles": ("owner",), "second_factor": True, "subject": "somebody-else"},
            {"roles": ("owner",), "second_factor": True, "organisation": "another"},
        ):
            async with gateway.http(*who.pop("roles"), **who) as other:
                refused = problem_code(await other.get(path))
            assert refused in {errors.SECOND_FACTOR_NEEDED.code, errors.FORBIDDEN.code, errors.NOT_FOUND.code}
        assert asked == []
        # Each of the three of this organisation is in the record, him too who has the right and did not ask for it.
        assert await eventually(lambda: _denied(gateway, 3))


async def _denied(gateway: RunningGateway, count: int) -> bool:
    """Whether so many denials of the file are in the record."""
    told = await denials(gateway)
    return len([each for each in told if each.route.endswith("/content")]) == count
