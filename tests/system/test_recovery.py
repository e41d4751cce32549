"""A recovery as a person meets it: backed up through the API, lost, restored through the API, equal byte for byte."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from chassis.ids import new_id
from contracts import errors
from deploy.stack.locations import register, source_location, target_location
from tests.support.eventually import eventually
from tests.support.file_trees import differences, seen
from tests.support.stack import ROOT, Platform, Tenant

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

API = "/api/backup"
VERIFIER = ROOT / "docs/examples/verify_audit_log.py"


class Studio:
    """An organisation with a source, a place to restore to, and a configuration of two tiers."""

    def __init__(self, platform: Platform, organisation: str, folder: Path) -> None:
        self.platform = platform
        self.organisation = organisation
        self.source = folder / "source"
        self.restored = folder / "restored"
        for each in (self.source / "2027" / "meyer", self.restored):
            each.mkdir(parents=True)
        (self.source / "contract.txt").write_text("between A and B\n" * 4000)
        (self.source / "2027" / "meyer" / "IMG_4711.jpg").write_bytes(bytes(range(256)) * 8000)
        (self.source / "2027" / "list.txt").symlink_to("meyer")
        tail = organisation[-12:]
        self.names = f"photos-{tail}", f"restored-{tail}"
        register(platform.layout, source_location(self.names[0], self.source, organisation=organisation))
        register(platform.layout, target_location(self.names[1], self.restored, organisation=organisation))

    @asynccontextmanager
    async def client(self, *, second_factor: bool = True) -> AsyncIterator[httpx.AsyncClient]:
        """Of an owner who has just given a second factor."""
        token = self.platform.token("owner", organisation=self.organisation, second_factor=second_factor)
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=self.platform.layout.gateway_url, headers=headers, timeout=30.0) as http:
            yield http

    async def back_up(self, http: httpx.AsyncClient) -> str:
        """Configure, run, and wait for the end; the recovery point."""
        body = {
            "name": "Photos",
            "sourceType": "directory",
            "sourceLocation": self.names[0],
            "storageDestinations": {"local": {"location": "local"}, "cloudPrimary": {"location": "cloud-primary"}},
        }
        made = await write(http, "configurations", body)
        assert made.status_code == 201, made.text
        asked = await write(http, "execute", {"configurationId": made.json()["id"]})
        run = str(asked.json()["execution"]["id"])
        ended = await self.ended(http, f"{API}/executions/{run}")
        assert (ended["state"], ended["degraded"]) == ("completed", False), ended
        return run

    async def initiate(self, http: httpx.AsyncClient, point: str, path: str, **more: Any) -> httpx.Response:
        """Ask for a recovery."""
        body = {"recoveryPointId": point, "targetLocation": self.names[1], "targetPath": path, **more}
        return await write(http, "recovery/initiate", body)

    async def ended(self, http: httpx.AsyncClient, path: str) -> dict[str, Any]:
        """What has ended, as it is shown."""

        async def look() -> dict[str, Any] | None:
            shown: dict[str, Any] = (await http.get(path)).json()
            return shown if shown["finishedAt"] is not None else None

        found = await eventually(look, within=60)
        assert found is not None
        return found

    async def recovered(self, http: httpx.AsyncClient, asked: httpx.Response) -> dict[str, Any]:
        """A recovery that was accepted, at its end."""
        assert asked.status_code == 202, asked.text
        assert asked.json()["state"] == "accepted", asked.text
        return await self.ended(http, asked.json()["resource"])


async def write(http: httpx.AsyncClient, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    """A write under a new key."""
    return await http.post(f"{API}/{path}", json=body, headers={"Idempotency-Key": new_id()})


async def test_what_was_lost_comes_back_through_the_api_with_a_tier_gone(platform: Tenant, tmp_path: Path) -> None:
    """Back up, lose the source and a tier, restore: every byte and attribute is as it was, and it was read back."""
    studio = Studio(platform.platform, platform.organisation, tmp_path)
    before = seen(studio.source)
    async with studio.client() as http:
        point = await studio.back_up(http)
        shown = (await http.get(f"{API}/recovery-points/{point}")).json()
        assert (shown["tiers"], shown["sourceLocation"]) == (["local", "cloudPrimary"], studio.names[0])
        shutil.rmtree(studio.source)
        tier = platform.platform.layout.local_tier / platform.organisation
        tier.rename(tmp_path / "tier")

        looked = await http.get(f"{API}/recovery-points/{point}/entries", params={"path": "2027/meyer"})
        assert looked.status_code == 200, looked.text
        assert [(each["name"], each["size"]) for each in looked.json()["items"]] == [("IMG_4711.jpg", 2_048_000)]
        recovery = await studio.recovered(http, await studio.initiate(http, point, "all"))
        assert (recovery["state"], recovery["error"]) == ("completed", None), recovery
        assert recovery["verificationStatus"] == "verified"
        assert [each["tier"] for each in recovery["result"]["totals"]["readFrom"]] == ["cloudPrimary"]
        assert not differences(before, seen(studio.restored / "all"))
        told = await asyncio.to_thread(platform.platform.command, "show", recovery["id"], "--json")
        assert told.returncode == 0, told.stderr
        (found,) = json.loads(told.stdout)["found"]
        given_up = await asyncio.to_thread(platform.platform.command, "show", "channels", "--json")
        assert json.loads(given_up.stdout)["found"] == [
            {"kind": "notification channels that have given up", "listed": []}
        ]
        assert (found["kind"], found["organisation"], found["state"], found["point"], found["target"]) == (
            *("recovery", platform.organisation, "completed"),
            *(point, studio.names[1]),
        )

        part = await studio.recovered(http, await studio.initiate(http, point, "part", scope=["*.jpg"]))
        assert (part["recoveryType"], part["result"]["totals"]["files"]) == ("partial", 1)
        again = await studio.initiate(http, point, "all")
        assert (again.json()["code"], again.json()["field"]) == (errors.TARGET_NOT_EMPTY.code, "targetPath")
        listed = (await http.get(f"{API}/recovery/operations?recoveryPointId={point}")).json()["items"]
        assert [each["id"] for each in listed] == [part["id"], recovery["id"]]
    # A tier that shows nothing of what was begun there is a disk that is not there, for all who come after.
    (tmp_path / "tier").rename(tier)
    async with studio.platform.client("auditor", organisation=studio.organisation) as http:
        await _is_audited(http, tmp_path)


async def _is_audited(http: httpx.AsyncClient, folder: Path) -> None:
    """The restore is evidence: of an audit, which the compliance service makes, and of a log that verifies offline."""
    asked = await write(http, "compliance/audit", {"frameworks": ["hipaa"]})

    async def look() -> dict[str, Any] | None:
        told: dict[str, Any] = (await http.get(asked.headers["location"])).json()
        return told if told.get("resource") else None

    told = await eventually(look, within=30)
    assert told is not None
    report = (await http.get(told["resource"])).json()
    verdicts = {each["control"]: (each["verdict"], each["because"]) for each in report["results"]}
    for control in ("HIPAA-7A", "HIPAA-312b", "HIPAA-312c", "HIPAA-312d"):
        assert verdicts[control][0] == "pass", verdicts[control]
    assert verdicts["HIPAA-7B"][0] == "no-evidence"
    (access, *_) = (await http.get(f"{API}/security/access-logs?action=recovery-requested")).json()["items"]
    assert (access["outcome"], access["secondFactor"], access["address"]) == ("allowed", True, "127.0.0.1")
    key, start = (await http.get(f"{API}/security/audit-log")).json()["verifierKey"], 0
    with (folder / "export.jsonl").open("w") as export:
        while start is not None:
            page = (await http.get(f"{API}/security/audit-log/entries?start={start}&limit=20")).json()
            export.write(json.dumps(page) + "\n")
            start = page["next"]
    command = [sys.executable, "-I", str(VERIFIER), "--key", key, str(folder / "export.jsonl")]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
