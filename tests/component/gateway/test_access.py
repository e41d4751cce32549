"""Who may come in and who may do what."""

import asyncio
import json
import re
import time
from collections.abc import Sequence
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from litestar.routes import HTTPRoute
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from chassis.ids import new_id
from contracts.envelope import decode, decode_data
from contracts.gateway_events import AccessDenied
from contracts.streams import stream_of
from gateway.app import build
from tests.support.eventually import eventually
from tests.support.gateway import ISSUER, NEW_CONFIGURATION, ORGANISATION, RunningGateway, problem_code

pytestmark = pytest.mark.stack

OPERATOR = {
    "execute_backup",
    "cancel_backup",
    "retry_backup",
    "test_configuration",
    "test_notification_channel",
    "test_disaster_recovery_plan",
    "repair_storage",
    "optimize_storage",
    "validate_recovery_point",
    "cancel_validation",
}
OWNER = {
    "create_configuration",
    "bulk_create_configurations",
    "update_configuration",
    "retire_configuration",
    "pause_configuration",
    "resume_configuration",
    "create_retention_policy",
    "update_retention_policy",
    "create_disaster_recovery_plan",
    "update_disaster_recovery_plan",
    "execute_disaster_recovery_plan",
    "approve_disaster_recovery_step",
    "pause_disaster_recovery_execution",
    "resume_disaster_recovery_execution",
    "abort_disaster_recovery_execution",
    "clean_up_retention",
    "erase_data_subject",
    "place_hold",
    "release_hold",
    "grant_approval",
    "deny_approval",
    "initiate_recovery",
    "cancel_recovery",
    "get_content",
    "create_notification_channel",
    "update_notification_channel",
    "retire_notification_channel",
}
OWNER_AND_AUDITOR = {"attest"}
AUDITOR = {
    "list_accesses",
    "show_audit_log",
    "list_audit_entries",
    "prove_audit_entry",
    "prove_audit_consistency",
    "show_recovery_receipt",
    "audit_compliance",
}
NOT_READ_BY_ALL = AUDITOR | {"get_content"}
READ_BY_POST = {"give_ticket", "preview_retention"}
"""What is read by all, as what is asked by GET."""
SECOND_FACTOR = {
    "retire_configuration",
    "pause_configuration",
    "initiate_recovery",
    "get_content",
    "clean_up_retention",
    "erase_data_subject",
    "attest",
    "release_hold",
    "grant_approval",
    "execute_disaster_recovery_plan",
}
MAY = {
    (): set[str](),
    ("viewer",): set[str](),
    ("operator",): OPERATOR,
    ("owner",): OPERATOR | OWNER | OWNER_AND_AUDITOR,
    ("auditor",): AUDITOR | OWNER_AND_AUDITOR,
    ("operator", "auditor"): OPERATOR | AUDITOR | OWNER_AND_AUDITOR,
}
"""The table of the API (docs/api.md), each operation by its name: what those with these roles may beside reading."""


def _guarded() -> list[tuple[str, str, str]]:
    """Every operation that is not open: its name, its method, and a path of nothing that is there."""
    return [
        (handler.handler_name, method, re.sub(r"\{\w+:(\w+)\}", lambda of: NOWHERE[of[1]], route.path))
        for route in build(None).routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if handler.handler_name != "options_handler" and not handler.opt.get("exclude_from_auth")
        for method in sorted(handler.http_methods)
    ]


NOWHERE = {"str": new_id(), "int": "0"}


def _claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())  # noqa: TID251  # a token's times are the wall clock's
    claims = {
        "iss": ISSUER,
        "aud": "authenticated",
        "sub": "someone",
        "iat": now,
        "exp": now + 600,
        "role": "authenticated",
        "app_metadata": {"organisation_id": ORGANISATION, "backup_roles": ["owner"]},
    }
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


async def _status(gateway: RunningGateway, token: str) -> httpx.Response:
    async with gateway.stranger() as http:
        return await http.get("/api/backup/status", headers={"Authorization": f"Bearer {token}"})


async def test_every_route_needs_a_token(gateway: RunningGateway) -> None:
    """Nothing of the API answers somebody who does not say who they are."""
    async with gateway.stranger() as http:
        for _, method, path in _guarded():
            answer = await http.request(method, path)
            gateway.process.gateway.strangers._buckets.clear()  # Who fails again and again has to wait: below.
            assert answer.status_code == 401, path
            assert problem_code(answer) == "unauthenticated"
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_forged_and_stale_tokens_are_refused(gateway: RunningGateway) -> None:
    """Only a current token, signed by the provider for this API and a person, is accepted."""
    key, key_id = gateway.provider._key, gateway.provider.key_id
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    now = int(time.time())  # noqa: TID251  # a token's times are the wall clock's

    def signed(with_key: Any = key, algorithm: str = "ES256", kid: str | None = key_id, **changes: Any) -> str:
        return jwt.encode(_claims(**changes), with_key, algorithm=algorithm, headers={"kid": kid} if kid else {})

    good = signed()
    assert (await _status(gateway, good)).status_code == 200
    head, body, signature = good.split(".")
    forged = {
        "expired": signed(exp=now - 60),
        "not yet valid": signed(nbf=now + 600),
        "without an end": signed(exp=None),
        "wrong issuer": signed(iss="https://elsewhere.test"),
        "wrong audience": signed(aud="anon"),
        "without audience": signed(aud=None),
        "another key": signed(ec.generate_private_key(ec.SECP256R1())),
        "another algorithm": signed(rsa.generate_private_key(65537, 2048), "RS256"),
        "unknown key id": signed(kid="unknown"),
        "no key id": signed(kid=None),
        "no signature": jwt.encode(_claims(), None, algorithm="none", headers={"kid": key_id}),
        "public key as secret": _hmac(public, key_id),
        "altered": f"{head}.{body[:-2]}AA.{signature}",
        "truncated": f"{head}.{body}.",
        "garbage": "not-a-token",
        "huge": "x" * 20_000,
        "anonymous": signed(is_anonymous=True),
        "service role": signed(role="service_role"),
        "third-party client": signed(client_id="some-app"),
        "without organisation": signed(app_metadata={"backup_roles": ["owner"]}),
        "organisation from user metadata": signed(
            app_metadata={}, user_metadata={"organisation_id": ORGANISATION, "backup_roles": ["owner"]}
        ),
        "organisation that breaks subjects": signed(app_metadata={"organisation_id": "a.>", "backup_roles": ["owner"]}),
        "subject with line breaks": signed(sub="a\nb"),
    }
    for name, token in forged.items():
        answer = await _status(gateway, token)
        assert answer.status_code == 401, name
        assert problem_code(answer) == "unauthenticated", name


def _hmac(secret: bytes, key_id: str) -> str:
    import base64
    import hashlib
    import hmac

    def part(value: object) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    signed = part({"alg": "HS256", "typ": "JWT", "kid": key_id}) + b"." + part(_claims())
    tag = hmac.new(secret, signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(tag).rstrip(b"=")).decode()


async def test_failed_sign_ins_are_slowed_down(gateway: RunningGateway) -> None:
    """An address that fails again and again to say who it is has to wait; who says it, from there too, does not."""
    async with gateway.stranger() as http:
        # All at once: one after another on a busy machine they would leave time enough between them.
        forged = {"Authorization": "Bearer x"}
        answers = await asyncio.gather(*(http.get("/api/backup/status", headers=forged) for _ in range(60)))
    assert {each.status_code for each in answers} == {401, 429}
    slowed = next(each for each in answers if each.status_code == 429)
    assert problem_code(slowed) == "too-many-requests"
    assert int(slowed.headers["retry-after"]) >= 1
    # Many people may share an address, with each other and with an attacker.
    async with gateway.http("viewer") as http:
        assert (await http.get("/api/backup/status")).status_code == 200


async def test_each_role_may_what_the_table_says_and_nothing_else(gateway: RunningGateway) -> None:
    """Every operation and the WebSocket, asked by everybody; whom it is denied to is in the record, and no secret."""
    tokens = []
    for roles, may in MAY.items():
        tokens.append(token := gateway.token(*(roles or ("guest",)), subject=f"they-{'-'.join(roles)}"))
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=30.0) as http:
            for name, method, path in _guarded():
                answer = await http.request(method, path)
                is_read = (method == "GET" or name in READ_BY_POST) and name not in NOT_READ_BY_ALL
                denied = None if answer.status_code < 400 else problem_code(answer)
                if not (name in may or (is_read and roles)):
                    assert denied == "forbidden", (roles, name)
                else:
                    wanted = "second-factor-needed" if name in SECOND_FACTOR else denied
                    assert denied == wanted, (roles, name)
                    assert denied not in {"forbidden", "unauthenticated", "too-many-requests"}, (roles, name)
                    assert name in SECOND_FACTOR or denied != "second-factor-needed", (roles, name)
        if roles:
            async with connect(gateway.socket_url, additional_headers=headers):
                pass
        else:
            with pytest.raises(InvalidStatus) as refused:
                await connect(gateway.socket_url, additional_headers=headers)
            assert refused.value.response.status_code == 403

    unproven = [tuple(sorted(roles)) for roles, may in MAY.items() if may & SECOND_FACTOR]

    async def recorded() -> list[AccessDenied]:
        found = await denials(gateway, hidden=tokens)
        return found if len(found) == len(MAY) + len(unproven) else []

    # Each person once; of who has not given a second factor once more. What follows is counted.
    denied_roles = [event.evidence and event.evidence.roles for event in await eventually(recorded) or ()]
    assert sorted(map(str, denied_roles)) == sorted(map(str, [*(tuple(sorted(roles)) for roles in MAY), *unproven]))


async def test_denials_are_recorded_once_a_minute(gateway: RunningGateway) -> None:
    """The first denial of a person is in the record at once; a flood of them is not copied into it."""
    async with gateway.http("viewer") as http:
        for _ in range(20):
            answer = await http.post(
                "/api/backup/execute", json={"configurationId": new_id()}, headers={"Idempotency-Key": new_id()}
            )
            assert answer.status_code == 403

    (denied,) = await eventually(lambda: denials(gateway))
    assert (denied.code, denied.route, denied.method) == ("forbidden", "/api/backup/execute", "POST")


async def denials(gateway: RunningGateway, hidden: Sequence[str] = ()) -> list[AccessDenied]:
    """What of the gateway's stream tells of denials; nothing on it has any of what is `hidden`."""
    js = gateway.client.jetstream()
    last = (await js.stream_info(stream_of("gateway"))).state.last_seq
    bodies = [(await js.get_msg(stream_of("gateway"), seq)).data or b"" for seq in range(1, last + 1)]
    assert not any(secret.encode() in body for body in bodies for secret in hidden)
    events = [decode_data(decode(body)) for body in bodies]
    return [event for event in events if isinstance(event, AccessDenied)]


async def test_open_routes_tell_nothing_but_how_it_is(gateway: RunningGateway) -> None:
    """Probes and documents need no token, and carry the safe headers."""
    async with gateway.stranger() as http:
        assert (await http.get("/health/live")).json() == {"status": "live"}
        ready = await http.get("/health/ready")
        assert ready.json()["status"] in {"ready", "degraded", "not-ready"}
        page = await http.get("/schema")
        assert page.headers["content-type"].startswith("text/html")
        assert "executeBackup" in page.text
        assert "<script" not in page.text
        document = await http.get("/schema/openapi.json")
        assert document.json()["openapi"] == "3.1.0"
        assert (await http.get("/metrics")).status_code == 404
        for answer in (ready, page, document):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["strict-transport-security"]
            assert "server" not in answer.headers


async def test_person_is_told_what_their_token_lets_them_do(gateway: RunningGateway) -> None:
    """Rights are those of the table, of all roles together; a second factor counts while it is recent."""
    async with gateway.http("viewer", "auditor") as http:
        person = (await http.get("/api/backup/me")).json()
    assert person["organisation"] == ORGANISATION
    assert person["roles"] == ["auditor", "viewer"]
    assert person["rights"] == ["attest", "audit", "read", "read-access-logs"]
    assert (person["secondFactor"], person["secondFactorUntil"]) == (False, None)
    async with gateway.http("owner", second_factor=True) as http:
        owner = (await http.get("/api/backup/me")).json()
    assert "recover" in owner["rights"]
    assert "audit" not in owner["rights"]
    assert owner["secondFactor"] is True
    assert owner["secondFactorUntil"] is not None


async def test_console_is_open_strict_and_kept_by_who_has_it(gateway: RunningGateway) -> None:
    """The page is asked for anew and answered by 304; what it names is kept for ever; nothing else is served."""
    async with gateway.stranger() as http:
        page = await http.get("/console")
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["cache-control"] == "no-cache"
        assert "script-src 'self';" in page.headers["content-security-policy"]
        again = await http.get("/console", headers={"If-None-Match": page.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        (script,) = re.findall(r'src="([^"]+)"', page.text)
        served = await http.get(script, headers={"Accept-Encoding": "gzip"})
        assert served.headers["content-type"].startswith("text/javascript")
        assert served.headers["content-encoding"] == "gzip"
        assert "immutable" in served.headers["cache-control"]
        for name in ("nothing.js", "open_routes.py", "..%2Fopen_routes.py"):
            assert problem_code(await http.get(f"/console/{name}")) == "not-found"


async def test_trace_goes_from_the_request_into_the_event(gateway: RunningGateway) -> None:
    """The caller's trace is that of the event, and its id is told in the answer."""
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    async with gateway.http("owner") as http:
        answer = await http.post(
            "/api/backup/configurations",
            json=NEW_CONFIGURATION,
            headers={"Idempotency-Key": new_id(), "traceparent": f"00-{trace_id}-b7ad6b7169203331-01"},
        )
    assert answer.headers["x-trace-id"] == trace_id
    (envelope,) = gateway.owners.asked
    assert envelope.traceparent is not None
    assert trace_id in envelope.traceparent
    assert envelope.actor == "user:someone"
    assert envelope.organisation == ORGANISATION
