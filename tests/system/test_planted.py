"""What is planted shows nowhere: personal data and secrets of a whole life, looked for in all that the platform keeps.

Only what people of the organisation read over the API, and the folders that are theirs, may have it in the clear.
"""

import asyncio
import json
import secrets
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql

from chassis.ids import new_id
from cli.demo_receiver import DemoReceiver
from contracts import errors
from deploy.locations import named_secrets
from deploy.stack.postgres import admin_dsn
from deploy.stack.secrets import read_secrets
from deploy.stack.services import SERVICES
from tests.support.eventually import eventually
from tests.support.stack import Platform, Tenant
from tests.system.test_recovery import API, Studio, write

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

WEDDING = "2043-02-19"
TIERS = {"local": {"location": "local"}, "cloudPrimary": {"location": "cloud-primary"}}


class Planted:
    """Words that nobody else would write, each for one place."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {"wedding date": WEDDING}

    def word(self, where: str) -> str:
        """A new one."""
        return self.words.setdefault(where, f"planted-{secrets.token_hex(8)}")

    def found_in(self, kept: str | bytes) -> list[str]:
        """Where those words were planted that are there, as text or as the hexadecimal digits of it."""
        body = kept.encode(errors="replace") if isinstance(kept, str) else kept
        return [
            where for where, word in self.words.items() if word.encode() in body or word.encode().hex().encode() in body
        ]


async def test_personal_data_and_secrets_show_nowhere(platform: Tenant, tmp_path: Path) -> None:
    """Configured, several at once, tested, run, told, restored, cleaned up, refused: no word of it is kept in clear."""
    planted = Planted()
    studio = Studio(platform.platform, platform.organisation, tmp_path)
    shown = await _live(studio, planted)
    assert shown >= {"name", "purpose", "path", "exclude"}, "else nothing was planted"

    # Spans are sent every few seconds.
    traces = platform.platform.collector.bodies
    services = [f'"{name}"'.encode() for name in ("gateway", "config", "executor", "recovery")]
    await eventually(lambda: all(any(name in body for body in traces) for name in services))
    kept = await asyncio.to_thread(_all_that_is_kept, platform.platform, platform.organisation)
    found = {place: words for place, body in kept.items() if (words := planted.found_in(body))}
    assert not found
    assert sum(platform.organisation in body.decode(errors="replace") for body in kept.values()) > 5, "it was looked at"


async def _live(studio: Studio, planted: Planted) -> set[str]:
    """A whole life of an organisation; what of the planted its people are shown."""
    layout, organisation = studio.platform.layout, studio.organisation
    word = planted.word
    folder = studio.source / word("path")
    folder.mkdir()
    (folder / f"{word('file name')}.txt").write_text(f"{word('content')}\n" * 100)
    key = named_secrets.new_key()
    named_secrets.keep(layout, organisation, "planted", key)
    planted.words["key of the webhook"] = key.removeprefix("whsec_")
    body = {
        "name": word("name"),
        "sourceType": "directory",
        "sourceLocation": studio.names[0],
        "sourceIdentifier": word("path"),
        "storageDestinations": TIERS,
        "exclude": [word("exclude")],
        "purpose": word("purpose"),
        "isWeddingCritical": True,
        "weddingDate": WEDDING,
    }
    with DemoReceiver(key).listening() as receiver:
        async with studio.client() as http:
            planted.words["token"] = http.headers["Authorization"].removeprefix("Bearer ")
            http.headers["User-Agent"] = word("agent")
            policy = await _made(http, "retention/policies", {"name": word("policy"), "keepLast": 1})
            configuration = await _made(http, "configurations", {**body, "retentionPolicyId": policy})
            channel: dict[str, Any] = {"name": word("channel"), "kind": "webhook"}
            channel["url"] = f"{receiver.url}/{word('address')}"
            channel |= {"secret": "planted", "events": ["completed"]}
            await _made(http, "notifications/channels", channel)
            items = [{**body, "name": word("item"), "weddingDate": None, "isWeddingCritical": False}]
            items.append({**body, "name": word("wrong item"), "sourceLocation": "nowhere"})
            several = await write(http, "configurations/bulk-create", {"items": items})
            assert several.status_code == 207, several.text

            tested = await write(http, f"configurations/{configuration}/test")
            assert tested.status_code == 202, tested.text
            run = await _run(studio, http, configuration)
            (folder / f"{word('file name')}.txt").write_text("other words")
            point = await _run(studio, http, configuration)
            place = {"scope": [f"*{word('file name')}*"]}
            back = await studio.recovered(http, await studio.initiate(http, point, word("target"), **place))
            assert back["state"] == "completed", back
            asked = await write(http, "retention/cleanup", {})
            cleaned = await studio.ended(http, asked.json()["resource"])
            assert (cleaned["state"], [each["recoveryPointId"] for each in cleaned["went"]]) == ("completed", [run])
            await eventually(lambda: receiver.told_of("backup.completed", point))
            assert not planted.found_in(json.dumps(receiver._told))
            await _refused(http, planted, body)
            await _erased(studio, http, planted, body)

            async def is_tested() -> bool:
                seen = (await http.get(f"{API}/configurations/{configuration}/test")).json()
                return bool(seen["verdict"] != "untested")

            await eventually(is_tested, within=60)
            told = (await http.get(f"{API}/configurations/{configuration}")).text
    return set(planted.found_in(told))


async def _erased(studio: Studio, http: httpx.AsyncClient, planted: Planted, body: dict[str, Any]) -> None:
    """What is saved of a data subject, who is erased then: asked for before the configuration is retired, it waits."""
    word, called = planted.word, planted.word("data subject")
    of_one = {**body, "name": word("subject's name"), "purpose": word("subject's purpose"), "dataSubject": called}
    of_one |= {"weddingDate": None, "isWeddingCritical": False, "exclude": []}
    configuration = await _made(http, "configurations", of_one)
    point = await _run(studio, http, configuration)
    asked = await write(http, "compliance/erasures", {"dataSubject": called.upper()})
    path = asked.json()["resource"]

    async def shown(state: str) -> dict[str, Any] | None:
        found: dict[str, Any] = (await http.get(path)).json()
        return found if found.get("state") == state else None

    blocked = await eventually(lambda: shown("blocked"), within=30)
    assert blocked is not None
    assert [(each["code"], each["about"]) for each in blocked["obstacles"]] == [
        (errors.CONFIGURATION_IN_FORCE.code, configuration)
    ]
    assert blocked["dataSubject"] == called.upper()
    listed = await asyncio.to_thread(studio.platform.command, "show", "erasures", "--json")
    assert blocked["id"] in listed.stdout
    told = await asyncio.to_thread(studio.platform.command, "show", blocked["id"])
    assert f"{errors.CONFIGURATION_IN_FORCE.code} {configuration}" in told.stdout, told.stdout
    assert not planted.found_in(listed.stdout + told.stdout)
    retired = await http.delete(f"{API}/configurations/{configuration}", headers={"Idempotency-Key": new_id()})
    assert retired.status_code == 202, retired.text
    done = await eventually(lambda: shown("completed"), within=60)
    assert done is not None
    assert (done["dataSubject"], [each["code"] for each in done["places"]]) == (None, [None, None])
    receipt = (await http.get(f"{path}/receipt")).json()["receipt"]
    assert (receipt["isComplete"], len(receipt["snapshots"])) == (True, 1)

    async def is_gone() -> bool:
        return bool((await http.get(f"{API}/recovery-points/{point}")).json()["goneBy"] == done["id"])

    await eventually(is_gone, within=30)
    left = (await http.get(f"{API}/configurations/{configuration}")).json()
    assert (left["name"], left["dataSubject"], left["unreadableFields"]) == (None, None, [])


async def _made(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> str:
    answer = await write(http, path, body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def _run(studio: Studio, http: httpx.AsyncClient, configuration: str) -> str:
    asked = await write(http, "execute", {"configurationId": configuration})
    run = str(asked.json()["execution"]["id"])
    ended = await studio.ended(http, f"{API}/executions/{run}")
    assert (ended["state"], ended["degraded"]) == ("completed", False), ended
    return run


async def _refused(http: httpx.AsyncClient, planted: Planted, body: dict[str, Any]) -> None:
    """What is wrong is told by its field, and not by what was sent."""
    word = planted.word
    for path, wrong in (
        ("configurations", {**body, "sourceIdentifier": f"../{word('way out')}"}),
        ("configurations", {**body, "sourceType": word("kind")}),
        ("configurations/bulk-create", {"mode": word("mode"), "items": [body]}),
        ("retention/policies", {"name": word("policy"), "keepWithin": word("duration")}),
        ("notifications/channels", {"name": "c", "kind": "webhook", "secret": word("secret name"), "events": []}),
        ("recovery/initiate", {"recoveryPointId": new_id(), "targetLocation": word("place"), "targetPath": "x"}),
    ):
        answer = await write(http, path, wrong)
        assert answer.status_code in (404, 409, 422), (path, answer.text)
        assert not planted.found_in(answer.content), (path, answer.text)


def _all_that_is_kept(platform: Platform, organisation: str) -> dict[str, bytes]:
    """Rows of Postgres, files of NATS, logs, what `up` has said, reports, metrics, traces, and the local tier."""
    layout = platform.layout
    kept = {"up": platform.output().encode(), "traces": b"\n".join(platform.collector.bodies)}
    for folder in (layout.nats_data, layout.logs, layout.run, layout.local_tier / organisation):
        for path in folder.rglob("*"):
            if path.is_file():
                kept[str(path.relative_to(layout.home))] = bytes(path.relative_to(folder)) + path.read_bytes()
    for service in SERVICES:
        port = layout.port(f"{service.identity}.health")
        for page in ("metrics", "health/ready"):
            kept[f"{page} of {service.identity}"] = httpx.get(f"http://127.0.0.1:{port}/{page}").content
    with psycopg.connect(admin_dsn(layout, read_secrets(layout))) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, table in tables:
            rows = connection.execute(sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(schema, table)))
            kept[f"{schema}.{table}"] = "\n".join(text for (text,) in rows).encode()
    return kept
