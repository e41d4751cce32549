"""Requests that are wrong: each gets a problem that names what is wrong, and nothing happens."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from chassis.ids import new_id
from tests.support.gateway import NEW_CONFIGURATION, RunningGateway, problem_code, running_gateway
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
    "missing": (json.dumps({"name": "x"}).encode(), "invalid-field", None),
    "unknown source type": (_with(sourceType="floppy"), "invalid-field", "sourceType"),
    "blank name": (_with(name="   "), "invalid-field", "name"),
    "long name": (_with(name="x" * 201), "invalid-field", "name"),
    "control characters": (_with(name="a\u0000b"), "invalid-field", "name"),
    "nul in path": (_with(sourceIdentifier="a\u0000"), "invalid-field", "sourceIdentifier"),
    "bad tag": (_with(tags=["ok", "a\nb"]), "invalid-field", "tags[1]"),
    "too many tags": (_with(tags=["x"] * 51), "invalid-field", "tags"),
    "bad date": (_with(weddingDate="12.06.2027"), "invalid-field", "weddingDate"),
    "location with host": (_with(sourceLocation="s3://bucket"), "invalid-field", "sourceLocation"),
}


async def test_bad_body_is_refused_with_its_field(gateway: RunningGateway) -> None:
    """A body of the wrong shape is refused with a code and the field, and no request is taken down."""
    async with gateway.http("owner") as http:
        for name, (body, code, field) in BODIES.items():
            answer = await http.post(CONFIGURATIONS, content=body, headers={**JSON, "Idempotency-Key": new_id()})
            assert problem_code(answer) == code, name
            assert answer.status_code in {400, 422}, name
            assert answer.json().get("field") == field, name
    assert gateway.owners.asked == []


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


QUERIES = (
    ("limit=0", "invalid-field", "limit"),
    ("limit=201", "invalid-field", "limit"),
    ("limit=many", "invalid-field", "limit"),
    ("status=sleeping", "invalid-field", "status"),
    ("from=yesterday", "invalid-field", "from"),
    ("from=2026-11-24T10:00:00", "invalid-field", "from"),
    ("weddingCritical=perhaps", "invalid-field", "weddingCritical"),
    ("cursor=AAAA", "invalid-field", "cursor"),
    ("cursor=%00", "invalid-field", "cursor"),
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
    gateway.settings.locations_file.write_text("{ not json")
    async with gateway.http("viewer") as http:
        answer = await http.get("/api/backup/locations")
        assert answer.status_code == 500
        assert problem_code(answer) == "invalid-setting"
        assert str(gateway.settings.locations_file) not in answer.text
        await asyncio.to_thread(gateway.postgres.stop)
        try:
            answer = await http.get("/api/backup/executions")
        finally:
            await asyncio.to_thread(gateway.postgres.start)
    assert answer.status_code == 503
    assert problem_code(answer) == "unavailable"
    assert answer.headers["retry-after"]
    assert answer.json()["traceId"]
