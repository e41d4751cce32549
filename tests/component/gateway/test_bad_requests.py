"""Requests that are wrong: each gets a problem that names what is wrong, and nothing happens."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from chassis.ids import new_id
from tests.support.eventually import eventually
from tests.support.gateway import NEW_CONFIGURATION, RunningGateway, problem_code, running_gateway
from tests.support.hung_mount import hung_mount
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer

pytestmark = pytest.mark.stack

CONFIGURATIONS = "/api/backup/configurations"
JSON = {"Content-Type": "application/json"}


def _with(**changes: Any) -> bytes:
    return json.dumps({**NEW_CONFIGURATION, **changes}).encode()


BODIES = {
    "empty": (b"", "malformed-body", None),
    "not json": (b"{", "malformed-body", None),
    "trailing": (_with() + b"{}", "malformed-body", None),
    "not utf-8": (b'{"name": "\xff"}', "malformed-body", None),
    "lone surrogate": (b'{"name": "\\ud800"}', "malformed-body", None),
    "nested": (b"[" * 50_000, "invalid-field", None),
    "array": (b"[]", "invalid-field", None),
    "null": (b"null", "invalid-field", None),
    "unknown field": (_with(surprise=1), "unknown-field", "surprise"),
    "unknown nested field": (
        _with(storageDestinations={"local": {"location": "local", "bucket": "x"}}),
        "unknown-field",
        "storageDestinations.local.bucket",
    ),
    "unknown tier": (
        _with(storageDestinations={"moon": {"location": "local"}}),
        "unknown-field",
        "storageDestinations.moon",
    ),
    "wrong type": (_with(isWeddingCritical="true"), "invalid-field", "isWeddingCritical"),
    "number as text": (
        _with(storageDestinations={"local": {"location": "local", "lockDays": "30"}}),
        "invalid-field",
        "storageDestinations.local.lockDays",
    ),
    "missing": (json.dumps({"name": "x"}).encode(), "invalid-field", "sourceType"),
    "unknown source type": (_with(sourceType="floppy"), "invalid-field", "sourceType"),
    "blank name": (_with(name="   "), "invalid-field", "name"),
    "long name": (_with(name="x" * 201), "invalid-field", "name"),
    "control characters": (_with(name="a\u0000b"), "invalid-field", "name"),
    "nul in path": (_with(sourceIdentifier="a\u0000"), "invalid-field", "sourceIdentifier"),
    "pattern of nothing": (_with(exclude=["*.tmp", "/"]), "invalid-field", "exclude[1]"),
    "pattern that hides": (_with(exclude=["a\u202eb"]), "invalid-field", "exclude[0]"),
    "pattern of many wildcards": (_with(exclude=["*a*a*a*a*a"]), "invalid-field", "exclude[0]"),
    "too many patterns": (_with(exclude=["x"] * 101), "invalid-field", "exclude"),
    "bad tag": (_with(tags=["ok", "a\nb"]), "invalid-field", "tags[1]"),
    "too many tags": (_with(tags=["x"] * 51), "invalid-field", "tags"),
    "bad date": (_with(weddingDate="12.06.2027"), "invalid-field", "weddingDate"),
    "wedding in another age": (_with(weddingDate="9999-12-31"), "invalid-field", "weddingDate"),
    "first wedding of all": (_with(weddingDate="0001-01-05"), "invalid-field", "weddingDate"),
    "critical wedding on no day": (
        _with(isWeddingCritical=True, weddingDate=None, schedule={"frequency": "daily"}),
        "invalid-field",
        "weddingDate",
    ),
    "location with host": (_with(sourceLocation="s3://bucket"), "invalid-field", "sourceLocation"),
    **{
        f"{name} {character!a}": (_with(**{name: value(character)}), "invalid-field", field)
        for character in ("\u202e", "\u2066", "\u200b", "\u200d", "\ufeff", "\u2028", "\u0085", "\u3164", "\x1b")
        for name, field, value in (
            ("name", "name", lambda character: f"a{character}b"),
            ("tags", "tags[1]", lambda character: ["ok", f"a{character}b"]),
            ("sourceIdentifier", "sourceIdentifier", lambda character: f"a/{character}b"),
        )
    },
    "blank tag": (_with(tags=[" "]), "invalid-field", "tags[0]"),
    "path up": (_with(sourceIdentifier="../../../etc"), "path-outside-location", "sourceIdentifier"),
    "path up and down": (_with(sourceIdentifier="a/../../b"), "path-outside-location", "sourceIdentifier"),
    "absolute path": (_with(sourceIdentifier="/etc"), "path-outside-location", "sourceIdentifier"),
    "location of nobody": (_with(sourceLocation="nowhere"), "unknown-location", "sourceLocation"),
    "tier as source": (_with(sourceLocation="local"), "location-kind-mismatch", "sourceLocation"),
    "no tier": (_with(storageDestinations={}), "no-destination", "storageDestinations"),
    **{
        name: (_with(storageDestinations=destinations), code, f"storageDestinations.{field}")
        for name, destinations, code, field in (
            ("tier of nobody", {"offsite": {"location": "nowhere"}}, "unknown-location", "offsite.location"),
            ("source as tier", {"offsite": {"location": "photos"}}, "location-kind-mismatch", "offsite.location"),
            ("bucket as local", {"local": {"location": "offsite"}}, "location-kind-mismatch", "local.location"),
            (
                "one place twice",
                {"cloudPrimary": {"location": "offsite"}, "offsite": {"location": "offsite"}},
                "destination-twice",
                "offsite.location",
            ),
            ("lock on a disk", {"local": {"location": "local", "lockDays": 1}}, "lock-not-supported", "local.lockDays"),
            *(
                (
                    f"class {name!a}",
                    {tier: {"location": tier, "storageClass": name}},
                    "invalid-field",
                    f"{tier}.storageClass",
                )
                for tier, name in (
                    ("offsite", "BOGUS"),
                    ("offsite", "x\r\ny"),
                    ("offsite", "DEEP_ARCHIVE"),
                    ("local", "STANDARD"),
                )
            ),
        )
    },
}


async def test_bad_body_is_refused_with_its_field(gateway: RunningGateway) -> None:
    """A body of the wrong shape is refused with a code and the field, and no request is taken down."""
    async with gateway.http("owner") as http:
        for name, (body, code, field) in BODIES.items():
            answer = await http.post(CONFIGURATIONS, content=body, headers={**JSON, "Idempotency-Key": new_id()})
            assert problem_code(answer) == code, name
            assert answer.status_code in {400, 422}, name
            problem = answer.json()
            assert problem.get("field") == field, name
            if field is not None:
                first = problem["errors"][0]
                assert (first["field"], first["code"]) == (field, code), name
                assert first["hint"] == problem["hint"], name
    assert gateway.owners.asked == []


async def test_source_that_its_disk_shows_to_be_none_is_refused(gateway: RunningGateway, tmp_path: Path) -> None:
    """Before anything is recorded, and not by a run that fails each night."""
    root = tmp_path / "photos"
    root.mkdir()
    (root / "list.txt").write_text("")
    (root / "out").symlink_to("/etc")
    (root / "itself").symlink_to("itself")
    registry = json.loads(gateway.settings.locations_file.read_text())
    for location in registry["locations"]:
        if location["name"] == "photos":
            location["url"] = f"file://{root}"
    gateway.settings.locations_file.write_text(json.dumps(registry))
    async with gateway.http("owner") as http:
        for path, code in (
            ("out", "path-outside-location"),
            ("list.txt", "source-not-a-folder"),
            ("itself", "source-not-a-folder"),
        ):
            headers = {"Content-Type": "application/json", "Idempotency-Key": new_id()}
            answer = await http.post(
                "/api/backup/configurations", content=_with(sourceIdentifier=path), headers=headers
            )
            assert (answer.status_code, problem_code(answer)) == (422, code), path
            assert answer.json()["field"] == "sourceIdentifier"
        assert gateway.owners.asked == []
        headers = {"Content-Type": "application/json", "Idempotency-Key": new_id()}
        later = await http.post(
            "/api/backup/configurations", content=_with(sourceIdentifier="not-mounted-yet"), headers=headers
        )
        assert later.status_code == 201


async def test_source_that_is_away_is_refused_when_it_is_named_and_not_when_it_is_kept(
    tmp_path: Path, postgres: PostgresServer, own_nats: NatsServer
) -> None:
    """By a gateway that sees what the workers see. What else is changed while its disk is away is no fault of it."""
    (folder := tmp_path / "photos" / "2027").mkdir(parents=True)
    async with running_gateway(tmp_path, postgres, own_nats, answer_wait_seconds=2.5, sources_here=True) as gateway:
        await _name_and_keep(gateway, folder)


async def _name_and_keep(gateway: RunningGateway, folder: Path) -> None:
    registry = json.loads(gateway.settings.locations_file.read_text())
    for location in registry["locations"]:
        if location["name"] == "photos":
            location["url"] = f"file://{folder.parent}"
    gateway.settings.locations_file.write_text(json.dumps(registry))

    def headers() -> dict[str, str]:
        return {**JSON, "Idempotency-Key": new_id(), "If-Match": '"1"'}

    async with gateway.http("owner") as http:
        absent = await http.post(CONFIGURATIONS, content=_with(sourceIdentifier="2028"), headers=headers())
        assert (absent.status_code, problem_code(absent)) == (422, "source-unreachable")
        assert absent.json()["field"] == "sourceIdentifier"
        assert gateway.owners.asked == []
        made = await http.post(CONFIGURATIONS, content=_with(sourceIdentifier="2027"), headers=headers())
        assert made.status_code == 201
        folder.rmdir()
        where = f"{CONFIGURATIONS}/{made.json()['id']}"
        renamed = await http.put(where, content=_with(sourceIdentifier="2027", name="Another"), headers=headers())
        assert renamed.status_code == 200
        moved = await http.put(where, content=_with(sourceIdentifier="2029"), headers=headers())
        assert (moved.status_code, problem_code(moved)) == (422, "source-unreachable")


async def test_every_wrong_field_is_told_at_once(gateway: RunningGateway) -> None:
    """Whoever fills in a form corrects it once: names, path, locations, locks and classes in one answer."""
    body = _with(
        name="a\u202eb",
        tags=["x", "\u200b"],
        sourceIdentifier="../x",
        sourceLocation="nowhere",
        storageDestinations={
            "local": {"location": "photos"},
            "cloudPrimary": {"location": "offsite", "storageClass": "BOGUS"},
            "offsite": {"location": "offsite"},
        },
    )
    async with gateway.http("owner") as http:
        answer = await http.post(CONFIGURATIONS, content=body, headers={**JSON, "Idempotency-Key": new_id()})
    assert answer.status_code == 422
    assert [(each["field"], each["code"]) for each in answer.json()["errors"]] == [
        ("name", "invalid-field"),
        ("tags[1]", "invalid-field"),
        ("sourceIdentifier", "path-outside-location"),
        ("sourceLocation", "unknown-location"),
        ("storageDestinations.local.location", "location-kind-mismatch"),
        ("storageDestinations.cloudPrimary.storageClass", "invalid-field"),
        ("storageDestinations.offsite.location", "destination-twice"),
    ]
    assert "U+202E (RIGHT-TO-LEFT OVERRIDE), character 2" in answer.json()["detail"]
    assert gateway.owners.asked == []


async def test_write_that_was_taken_down_is_recognised_under_later_rules(gateway: RunningGateway) -> None:
    """A location that is gone since does not make the same key and body another write."""
    headers = {"Idempotency-Key": new_id()}
    async with gateway.http("owner") as http:
        first = await http.post(CONFIGURATIONS, json=NEW_CONFIGURATION, headers=headers)
        gateway.settings.locations_file.write_text('{"locations": []}')
        again = await http.post(CONFIGURATIONS, json=NEW_CONFIGURATION, headers=headers)
        other = await http.post(CONFIGURATIONS, json=NEW_CONFIGURATION, headers={"Idempotency-Key": new_id()})
    assert (first.status_code, again.status_code, again.json()["id"]) == (201, 201, first.json()["id"])
    assert problem_code(other) == "unknown-location"
    assert len(gateway.owners.asked) == 1


async def test_names_are_kept_in_one_form_and_paths_as_they_are(gateway: RunningGateway) -> None:
    """A name is text and is kept in NFC; a path names a folder by its bytes."""
    decomposed = "Zoe\u0308"
    async with gateway.http("owner") as http:
        created = await gateway.create_configuration(
            http, name=f" {decomposed} ", tags=[decomposed], sourceIdentifier=f"{decomposed}/x"
        )
    assert (created["name"], created["tags"]) == ("Zo\u00eb", ["Zo\u00eb"])
    assert created["sourceIdentifier"] == f"{decomposed}/x"


async def test_oversized_body_is_refused_unread(gateway: RunningGateway) -> None:
    """A body above the limit is refused, announced or not."""
    big = b'{"name": "' + b"x" * 300_000 + b'"}'

    async def pieces() -> Any:
        for start in range(0, len(big), 65_536):
            yield big[start : start + 65_536]

    async with gateway.http("owner") as http:
        for content in (big, pieces()):
            answer = await http.post(CONFIGURATIONS, content=content, headers={**JSON, "Idempotency-Key": new_id()})
            assert answer.status_code == 413
            assert problem_code(answer) == "body-too-large"
            assert answer.json()["context"]["limitBytes"] == 262_144


async def test_other_media_types_are_refused(gateway: RunningGateway) -> None:
    """A body is taken as JSON only where it is announced as JSON."""
    async with gateway.http("owner") as http:
        for media_type in (None, "text/plain", "application/x-www-form-urlencoded", "application/xml"):
            headers = {"Idempotency-Key": new_id()} | ({"Content-Type": media_type} if media_type else {})
            answer = await http.post(CONFIGURATIONS, content=_with(), headers=headers)
            assert answer.status_code == 415, media_type
            assert problem_code(answer) == "unsupported-media-type"


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"Content-Encoding": "gzip"}, "Content-Encoding"),
        ({"Content-Encoding": "identity, br"}, "Content-Encoding"),
        ({"Content-Type": "application/json; charset=utf-16"}, "Content-Type"),
        ({"Content-Type": 'application/json; charset="ISO-8859-1"'}, "Content-Type"),
    ],
)
async def test_other_encodings_of_a_body_are_refused(
    gateway: RunningGateway, headers: dict[str, str], field: str
) -> None:
    """What is announced in another encoding is not read as if it were JSON in UTF-8."""
    async with gateway.http("owner") as http:
        answer = await http.post(
            CONFIGURATIONS, content=_with(), headers={**JSON, "Idempotency-Key": new_id(), **headers}
        )
        assert (answer.status_code, problem_code(answer)) == (415, "unsupported-media-type")
        assert answer.json()["field"] == field


async def test_a_body_that_says_it_is_plain_utf_8_is_taken(gateway: RunningGateway) -> None:
    """UTF-8 may be said, in either case and in quotes, and `identity` is no encoding."""
    async with gateway.http("owner") as http:
        for charset in ("utf-8", '"UTF-8"'):
            headers = {"Content-Type": f"application/json; charset={charset}", "Content-Encoding": "identity"}
            answer = await http.post(CONFIGURATIONS, content=_with(), headers={**headers, "Idempotency-Key": new_id()})
            assert answer.status_code == 201, charset


QUERIES = (
    ("limit=0", "invalid-field", "limit"),
    ("limit=201", "invalid-field", "limit"),
    ("limit=many", "invalid-field", "limit"),
    ("status=sleeping", "invalid-field", "status"),
    ("from=yesterday", "invalid-field", "from"),
    ("from=2026-11-24T10:00:00", "invalid-field", "from"),
    ("weddingCritical=perhaps", "invalid-field", "weddingCritical"),
    ("cursor=AAAA", "invalid-cursor", "cursor"),
    ("cursor=%00", "invalid-cursor", "cursor"),
    ("cursor=" + "A" * 301, "invalid-field", "cursor"),
    ("limit=1&limit=2", "invalid-field", "limit"),
    ("from=2026-12-01T00:00:00Z&before=2026-11-01T00:00:00Z", "invalid-field", "before"),
    ("from=2026-12-01T00:00:00Z&before=2026-12-01T00:30:00%2B01:00", "invalid-field", "before"),
    ("limit=1_0", "invalid-field", "limit"),
    ("limit=-1", "invalid-field", "limit"),
    ("limit=99999999999999999999", "invalid-field", "limit"),
    ("limit=", "invalid-field", "limit"),
    ("limit=null", "invalid-field", "limit"),
    ("from=1700000000", "invalid-field", "from"),
    ("before=2026-11-24", "invalid-field", "before"),
    ("weddingCritical=1", "invalid-field", "weddingCritical"),
    *(
        (f"{name}={value}", "invalid-field", name)
        for name in ("status", "configurationId", "degraded", "weddingCritical", "from", "before", "cursor")
        for value in ("", "null")
    ),
    ("stauts=failed", "unknown-field", "stauts"),
    ("wedding_critical=true", "unknown-field", "wedding_critical"),
)


async def test_bad_query_is_refused_with_its_parameter(gateway: RunningGateway) -> None:
    """A filter that cannot be meant is refused: it would answer with everything or nothing."""
    async with gateway.http("viewer") as http:
        for query, code, field in QUERIES:
            answer = await http.get(f"/api/backup/executions?{query}")
            assert answer.status_code == 422, query
            assert problem_code(answer) == code, query
            assert answer.json()["field"] == field, query


TWICE = (
    ("Authorization", "Bearer another"),
    ("Idempotency-Key", "another"),
    ("Content-Type", "application/json"),
    ("If-Match", '"2"'),
    ("Origin", "https://other.example"),
)


async def test_header_that_is_given_twice_is_refused(gateway: RunningGateway) -> None:
    """Of two, each part of the way may believe another one; nothing is recorded of it."""
    async with gateway.http("owner") as http:
        first = {
            "Host": "127.0.0.1",
            "Authorization": str(http.headers["authorization"]),
            "Idempotency-Key": new_id(),
            "Content-Type": "application/json",
            "If-Match": '"1"',
            "Origin": "https://app.example",
        }
        for name, other in TWICE:
            headers = [*first.items(), (name, other)]
            answer = await http.post("/api/backup/configurations", content=_with(), headers=headers)
            assert (answer.status_code, problem_code(answer)) == (400, "malformed-request"), name
            assert answer.json()["field"] == name
            assert answer.json()["traceId"]
    assert gateway.owners.asked == []


async def test_request_without_a_host_is_refused(gateway: RunningGateway) -> None:
    """HTTP/1.1 names the host; HTTP/1.0 knows none."""
    for version, host, status in (("1.1", "", 400), ("1.1", "Host: x\r\n", 200), ("1.0", "", 200)):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.process.http.port)
        writer.write(f"GET /health/live HTTP/{version}\r\n{host}Connection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        assert int(head.split(b" ")[1]) == status, (version, host)
        if status == 400:
            assert json.loads(body)["field"] == "Host"


async def test_preflight_of_a_page_that_is_not_allowed_is_refused_by_a_problem(
    tmp_path: Path, postgres: PostgresServer, own_nats: NatsServer
) -> None:
    """What a library says of its own accord is no plain text either."""
    allowed = "https://app.example.com"
    async with (
        running_gateway(tmp_path, postgres, own_nats, allowed_origins=(allowed,)) as gateway,
        gateway.stranger() as http,
    ):
        for origin, status in ((allowed, 204), ("https://app-example.com", 403), ("null", 403)):
            headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
            answer = await http.options("/api/backup/status", headers=headers)
            assert answer.status_code == status, origin
            if status == 403:
                assert (problem_code(answer), answer.json()["field"]) == ("forbidden", "Origin")


async def test_what_is_no_id_is_not_found(gateway: RunningGateway) -> None:
    """Whatever stands in an id's place, the answer is 404."""
    async with gateway.http("viewer") as http:
        for group in ("executions", "configurations", "progress", "requests"):
            for name in ("not-an-id", "%00", "..%2F..", "0" * 36, "019ab4d3-0f2a-7c44-8e21-6a7b8c9d0e1f", "ü"):
                answer = await http.get(f"/api/backup/{group}/{name}")
                assert answer.status_code == 404, (group, name)
                assert problem_code(answer) in {"not-found", "configuration-unknown"}


async def test_unknown_paths_and_methods_are_problems(gateway: RunningGateway) -> None:
    """404 and 405 look like every other error, and 405 says what is allowed."""
    async with gateway.http("owner") as http:
        missing = await http.get("/api/backup/nothing")
        assert problem_code(missing) == "not-found"
        wrong = await http.delete("/api/backup/status")
        assert problem_code(wrong) == "method-not-allowed"
        assert "GET" in wrong.headers["allow"]


async def test_rate_is_limited_for_each_person(tmp_path: Path, postgres: PostgresServer, own_nats: NatsServer) -> None:
    """Who asks too much has to wait; others of the same organisation do not."""
    async with (
        running_gateway(tmp_path, postgres, own_nats, rate_per_second=0.5, rate_burst=10.0) as gateway,
        gateway.http("viewer", subject="busy") as busy,
        gateway.http("viewer", subject="calm") as calm,
    ):
        answers = [await busy.get("/api/backup/locations") for _ in range(20)]
        assert [answer.status_code for answer in answers[:10]] == [200] * 10
        assert answers[-1].status_code == 429
        assert problem_code(answers[-1]) == "too-many-requests"
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert (await calm.get("/api/backup/locations")).status_code == 200


async def test_unexpected_errors_tell_nothing_of_the_insides(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours is logged and answered with a trace id, and nothing else."""
    async with gateway.http("viewer") as http:
        await asyncio.to_thread(gateway.postgres.stop)
        try:
            answer = await http.get("/api/backup/executions")
        finally:
            await asyncio.to_thread(gateway.postgres.start)
    assert answer.status_code == 503
    assert problem_code(answer) == "unavailable"
    assert answer.headers["retry-after"]
    assert answer.json()["traceId"]


async def test_registry_that_cannot_be_read_is_told_without_its_place(gateway: RunningGateway) -> None:
    """A registry that breaks later changes nothing; one that was never read is a 503 that names no file or setting."""
    path = gateway.settings.locations_file
    async with gateway.http("viewer") as http:
        before = (await http.get("/api/backup/locations")).json()
        path.write_text("{ not json")
        assert (await http.get("/api/backup/locations")).json() == before

        async def is_degraded() -> bool:
            # At its start the gateway makes its read models first, and is not ready for that.
            report = await gateway.process.health.report()
            return report.status == "degraded" and any(str(path) in str(check.reason) for check in report.checks)

        await eventually(is_degraded)
        gateway.process.gateway.locations._seen = None
        for shown in ("/api/backup/locations", "/api/backup/status"):
            answer = await http.get(shown)
            assert (answer.status_code, problem_code(answer)) == (503, "locations-unreadable"), shown
            assert str(path.parent) not in answer.text
            assert "WEDSYNC" not in answer.text
            assert answer.headers["retry-after"]
        assert (await gateway.process.health.report()).status == "not-ready"


async def test_location_on_a_disk_that_hangs_stops_nobody_else(gateway: RunningGateway, tmp_path: Path) -> None:
    """The list needs no disk; who needs the hung one is refused by the location's name, all others are served."""
    disk = tmp_path / "disk"
    disk.mkdir()
    path = gateway.settings.locations_file
    registry = json.loads(path.read_text())
    hung = {"name": "hung", "kind": "directory", "roles": ["source"], "organisations": ["*"]}
    registry["locations"].append({**hung, "url": f"file://{disk}/photos"})
    path.write_text(json.dumps(registry))
    async with gateway.http("owner") as http:

        async def submitted(**changes: Any) -> httpx.Response:
            key = {"Idempotency-Key": new_id()}
            return await http.post(CONFIGURATIONS, content=_with(**changes), headers={**JSON, **key})

        with hung_mount(disk):
            shown = await http.get("/api/backup/locations")
            assert "hung" in [each["name"] for each in shown.json()["items"]]
            waiting = asyncio.create_task(submitted(sourceLocation="hung"))
            assert (await submitted()).status_code == 201
            assert (await http.get("/api/backup/status")).status_code == 200
            refused = await waiting
        assert (refused.status_code, problem_code(refused)) == (503, "location-unusable")
        problem = refused.json()
        assert problem["field"] == problem["errors"][0]["field"] == "sourceLocation"
        assert "The disk of the location hung does not answer." in problem["hint"]
        assert str(disk) not in refused.text


async def test_keys_on_a_disk_that_hangs_stop_nobody_who_needs_none(gateway: RunningGateway) -> None:
    """Who needs them is told in time, without a word of where they are; all else goes on, and they once it answers."""
    async with gateway.http("owner") as http:
        created = await gateway.create_configuration(http)
        place = f"{CONFIGURATIONS}/{created['id']}"
        with hung_mount(gateway.settings.keys_dir) as mount:
            # Whoever holds the event loop until then is found by it.
            end = threading.Timer(30, mount.die)
            end.start()
            needing = [
                asyncio.create_task(
                    http.put(place, content=_with(), headers={**JSON, "Idempotency-Key": "b", "If-Match": '"1"'})
                ),
                asyncio.create_task(
                    http.post(CONFIGURATIONS, content=_with(), headers={**JSON, "Idempotency-Key": "a"})
                ),
                asyncio.create_task(http.get(place)),
                asyncio.create_task(http.get(CONFIGURATIONS)),
            ]
            for _ in range(5):
                assert (await http.get("/api/backup/executions")).status_code == 200
            for answer in await asyncio.gather(*needing):
                assert (answer.status_code, problem_code(answer)) == (503, "keys-unreachable")
                assert str(gateway.settings.keys_dir) not in answer.text
            assert (await gateway.process.health.report()).status == "not-ready"
            assert not end.finished.is_set(), "the gateway stood still until its disk had died"
            end.cancel()

        async def shown() -> bool:
            return (await http.get(place)).status_code == 200

        await eventually(shown)
        assert (await http.get(place)).json() == created
