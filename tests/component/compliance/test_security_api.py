"""Who did what over the API, and its proofs: for auditors of the organisation, and for nobody else."""

import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, LiteralString

import httpx
import pytest

from chassis.auditlog import tree
from chassis.ids import new_id
from chassis.postgres.database import install_schema
from contracts.config_events import ConfigurationCreated
from contracts.event import Event
from contracts.sample_values import EXECUTION
from contracts.samples import sample_event
from services.compliance.adapters.schema import READ_BY, STATEMENTS
from tests.support.compliance import AuditBench, audit_bench
from tests.support.eventually import eventually
from tests.support.gateway import NEW_CONFIGURATION, RunningGateway, running_gateway
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer
from tests.support.recovery_receipts import ACCEPTED, ASKED, ENDED, STARTED, VERIFIED, WHOLE, subject_of, verify_receipt

SCRIPT = Path(__file__).parents[3] / "docs/examples/verify_audit_log.py"
SECURITY = "/api/backup/security"
PATHS = (
    "access-logs",
    "audit-log",
    "audit-log/entries",
    "audit-log/entries/0/proof",
    "audit-log/consistency?first=1&second=1",
    f"recovery-receipts/{EXECUTION}",
)
LATER: LiteralString = """
    INSERT INTO audit_entries (
        number, organisation, place, service, log, position, event_id, type, happened_at, actor, access, leaf, body
    )
    SELECT 1000000 + later.place, organisation, later.place, service, log, position, event_id || later.place, type,
        happened_at + later.by, actor, access, leaf, body
    FROM audit_entries, (VALUES (%s::interval, %s::bigint), (%s::interval, %s::bigint)) AS later (by, place)
    WHERE organisation = 'others' AND access IS NOT NULL RETURNING number
"""
"""Its only access, twice more, at other times."""


@pytest.fixture
async def audited(
    tmp_path: Path, postgres: PostgresServer, own_nats: NatsServer
) -> AsyncIterator[tuple[RunningGateway, AuditBench]]:
    """A gateway beside an audit log that it may read, as the installation lets it."""
    async with (
        audit_bench(tmp_path, postgres, own_nats) as audit,
        running_gateway(tmp_path, postgres, own_nats, compliance_schema=audit.access.schema) as gateway,
    ):
        yield gateway, audit


def _grant(gateway: RunningGateway, audit: AuditBench) -> None:
    install_schema(
        audit.access.admin_dsn,
        service=audit.access.schema,
        role=audit.access.role,
        password=None,
        statements=STATEMENTS,
        readers={gateway.access.role: READ_BY["gateway"]},
    )


async def _get(http: httpx.AsyncClient, path: str, status: int = 200) -> dict[str, Any]:
    answer = await http.get(f"{SECURITY}/{path}")
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_accesses_are_told_and_proven(audited: tuple[RunningGateway, AuditBench], tmp_path: Path) -> None:
    """A write and a denial: by whom, from where, with which factor; each proven, and all of it verified offline."""
    gateway, audit = audited
    async with gateway.http("auditor") as http:
        assert (await _get(http, "access-logs", 503))["code"] == "unavailable"
    _grant(gateway, audit)
    async with gateway.http("owner", second_factor=True) as http:
        await gateway.create_configuration(http)
    async with gateway.http("viewer") as http:
        answer = await http.post(
            "/api/backup/configurations", json=NEW_CONFIGURATION, headers={"Idempotency-Key": new_id()}
        )
        assert answer.status_code == 403
    async with gateway.http("owner", organisation="others") as http:
        await gateway.create_configuration(http, storageDestinations={"local": {"location": "local"}})

    async def appended() -> bool:
        await audit.catch_up()
        return audit.rows("SELECT access, organisation FROM audit_entries WHERE access IS NOT NULL ORDER BY 1, 2") == [
            ("allowed", "acme-weddings"),
            ("allowed", "others"),
            ("denied", "acme-weddings"),
        ]

    await eventually(appended)
    async with gateway.http("auditor") as http:
        denied, asked = (await _get(http, "access-logs"))["items"]
        assert (asked["action"], asked["outcome"], asked["actor"]) == (
            "configuration-submitted",
            "allowed",
            "user:someone",
        )
        assert (asked["assurance"], asked["address"], asked["roles"]) == ("aal2", "127.0.0.1", ["owner"])
        assert None not in (asked["requestId"], asked["about"])
        assert asked["agent"].startswith("python-httpx")
        assert (denied["action"], denied["outcome"], denied["code"]) == ("access-denied", "denied", "forbidden")
        assert (denied["address"], denied["roles"], denied["method"]) == ("127.0.0.1", ["viewer"], "POST")
        for narrowed, wanted in (
            ("outcome=denied", [denied]),
            ("actor=user:someone&limit=1", [denied]),
            ("action=configuration-submitted", [asked]),
            (f"before={denied['time'].replace('+', '%2B')}", [asked]),
            ("actor=user:nobody", []),
        ):
            assert (await _get(http, f"access-logs?{narrowed}"))["items"] == wanted
        first = await _get(http, "access-logs?limit=1")
        assert (await _get(http, f"access-logs?limit=1&cursor={first['nextCursor']}"))["items"] == [asked]
        await _is_proven(http, tmp_path)
        await _refuses_what_is_not_there(http)
    async with gateway.http("auditor", organisation="others") as http:
        log = await _get(http, "audit-log")
        entries = (await _get(http, "audit-log/entries"))["items"]
        assert (log["origin"].endswith("/others"), len(entries)) == (True, log["size"])
        assert all(json.loads(base64.b64decode(each["leaf"]))["organisation"] == "others" for each in entries)
        # The clock was ahead by a year, and was put back: what came afterwards is the latest all the same.
        audit.rows(LATER, "400 days", log["size"], "0 days", log["size"] + 1)
        listed = (await _get(http, "access-logs"))["items"]
        assert [each["index"] for each in listed[:2]] == [log["size"] + 1, log["size"]]
        paged, cursor = list[Any](), ""
        while len(paged) < len(listed):
            page = await _get(http, f"access-logs?limit=1{cursor}")
            paged += page["items"]
            cursor = f"&cursor={page['nextCursor']}"
        assert (paged, page["nextCursor"]) == (listed, None)
    for role in ("viewer", "operator", "owner"):
        async with gateway.http(role) as http:
            for path in PATHS:
                await _get(http, path, 403)
    async with gateway.http("auditor", organisation="nobody") as http:
        empty = await _get(http, "audit-log")
        assert (empty["size"], empty["checkpoint"], (await _get(http, "access-logs"))["items"]) == (0, None, [])
        assert (await _get(http, "audit-log/entries"))["items"] == []


async def test_receipt_of_a_test_is_proven_offline(audited: tuple[RunningGateway, AuditBench], tmp_path: Path) -> None:
    """Not before all of it has ended; then with each event of it and of its recovery, and verified by a script."""
    gateway, audit = audited
    _grant(gateway, audit)
    facts = audit.facts
    path = f"recovery-receipts/{EXECUTION}"

    async def told(*events: Event) -> None:
        for event in events:
            await facts.publish(event, about=subject_of(event))
        await audit.catch_up()

    async with gateway.http("auditor") as http:
        assert (await _get(http, path, 404))["code"] == "dr-execution-unknown"
        await told(STARTED, sample_event(ConfigurationCreated), ASKED, ACCEPTED)
        assert (await _get(http, path, 409))["code"] == "dr-receipt-not-yet"
        await told(ENDED, VERIFIED)
        assert (await _get(http, path, 409))["code"] == "dr-receipt-not-yet"
        await told(WHOLE)
        found = await _get(http, path)
        log = await _get(http, "audit-log")
    # Between the streams of two services there is no order: a recovery may be in the log before what asked for it.
    assert {json.loads(base64.b64decode(each["leaf"]))["type"] for each in found["entries"]} == {
        each.NAME for each in (STARTED, ASKED, ACCEPTED, ENDED, VERIFIED, WHOLE)
    }
    code, said = verify_receipt(tmp_path, found, log["verifierKey"])
    assert (code, "snapshot 1234" in said) == (0, True), said
    async with gateway.http("auditor", organisation="others") as http:
        assert (await _get(http, path, 404))["code"] == "dr-execution-unknown"


async def _is_proven(http: httpx.AsyncClient, tmp_path: Path) -> None:
    """Each entry leads to the root of its checkpoint, that is a beginning of the last one, and the export verifies."""
    log = await _get(http, "audit-log")
    size, root = log["size"], base64.b64decode(log["rootHash"])
    export = tmp_path / "export.jsonl"
    start: int | None = 0
    with export.open("w") as file:
        while start is not None:
            page = await _get(http, f"audit-log/entries?start={start}&limit=2")
            file.write(json.dumps(page) + "\n")
            start = page["next"]
    for index in range(size):
        proof = await _get(http, f"audit-log/entries/{index}/proof?size={size}")
        leaf, hashes = base64.b64decode(proof["leafHash"]), [base64.b64decode(each) for each in proof["hashes"]]
        assert tree.root_from_inclusion(index, size, leaf, hashes) == root
        earlier = await _get(http, f"audit-log/entries/{index}/proof")
        at, hashes = earlier["size"], [base64.b64decode(each) for each in earlier["hashes"]]
        old = tree.root_from_inclusion(index, at, leaf, hashes)
        found = await _get(http, f"audit-log/consistency?first={at}&second={size}")
        hashes = [base64.b64decode(each) for each in found["hashes"]]
        assert tree.roots_from_consistency(at, size, old, hashes) == (old, root)
    note = tmp_path / "checkpoint"
    note.write_text(found["firstCheckpoint"])
    command = [sys.executable, "-I", str(SCRIPT), "--key", log["verifierKey"], "--checkpoint", str(note), str(export)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, f"{size} entries" in done.stdout) == (0, True), done.stderr


async def _refuses_what_is_not_there(http: httpx.AsyncClient) -> None:
    for path, status in (
        ("audit-log/entries?start=1000", 404),
        ("audit-log/entries?start=-1", 422),
        (f"audit-log/entries?start={2**63}", 422),
        ("audit-log/entries/1000/proof", 404),
        ("audit-log/entries/0/proof?size=1000", 404),
        ("audit-log/consistency?first=1&second=1000", 404),
        ("audit-log/consistency?first=2&second=1", 422),
        ("audit-log/consistency?first=1", 422),
        ("access-logs?outcome=perhaps", 422),
        ("access-logs?cursor=made-up", 422),
        ("access-logs?from=2026-01-01T00:00:00", 422),
    ):
        assert (await http.get(f"{SECURITY}/{path}")).status_code == status, path
