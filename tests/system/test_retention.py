"""A retention policy as a person meets it: previewed, carried out on folders and buckets; what is locked waits."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts import errors
from tests.support.file_trees import differences, seen
from tests.support.stack import Tenant
from tests.system.test_recovery import API, Studio, write

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]


async def _backed_up(studio: Studio, http: httpx.AsyncClient, configuration: str, number: int) -> str:
    """A run of what is in the source then; its recovery point."""
    (studio.source / "2027" / "meyer" / "IMG_4711.jpg").write_bytes(bytes([number]) + bytes(range(256)) * 8000)
    asked = await write(http, "execute", {"configurationId": configuration})
    run = str(asked.json()["execution"]["id"])
    ended = await studio.ended(http, f"{API}/executions/{run}")
    assert (ended["state"], ended["degraded"]) == ("completed", False), ended
    return run


async def test_policy_is_previewed_and_carried_out_and_what_is_locked_waits(platform: Tenant, tmp_path: Path) -> None:
    """The preview and the tiers say the same; what went is gone, what stayed restores, what is locked goes later."""
    studio = Studio(platform.platform, platform.organisation, tmp_path)
    async with studio.client() as http:
        policy = (await write(http, "retention/policies", {"name": "The last", "keepLast": 1})).json()["id"]

        async def configured(name: str, **tiers: Any) -> str:
            body = {
                "name": name,
                "sourceType": "directory",
                "sourceLocation": studio.names[0],
                "storageDestinations": tiers,
                "retentionPolicyId": policy,
            }
            made = await write(http, "configurations", body)
            assert made.status_code == 201, made.text
            return str(made.json()["id"])

        free = await configured("Free", local={"location": "local"}, cloudPrimary={"location": "cloud-primary"})
        locked = await configured("Locked", offsite={"location": "offsite", "lockDays": 1})
        old = await _backed_up(studio, http, free, 1)
        waiting = await _backed_up(studio, http, locked, 2)
        newest_locked = await _backed_up(studio, http, locked, 3)
        newest = await _backed_up(studio, http, free, 4)
        before = seen(studio.source)

        previewed = (await http.post(f"{API}/retention/preview", json={"retentionPolicyId": policy})).json()
        verdicts = {each["recoveryPointId"]: each["verdict"] for each in previewed["items"]}
        assert verdicts == {old: "go", waiting: "wait", newest_locked: "keep", newest: "keep"}

        async def cleaned(**said: Any) -> dict[str, Any]:
            asked = await write(http, "retention/cleanup", said)
            assert (asked.status_code, asked.json()["state"]) == (202, "accepted"), asked.text
            return await studio.ended(http, asked.json()["resource"])

        dry = await cleaned(dryRun=True)
        assert (dry["state"], dry["error"]) == ("completed", None), dry
        assert [each["recoveryPointId"] for each in dry["result"]["going"]] == [old]
        done = await cleaned()
        assert (done["state"], done["degraded"], done["gone"]) == ("completed", False, 1), done
        assert [(each["recoveryPointId"], each["rules"]) for each in done["went"]] == [(old, ["not-kept"])]
        assert [each["recoveryPointId"] for each in done["result"]["waits"]] == [waiting]
        until = datetime.fromisoformat(done["result"]["waits"][0]["until"])
        reckoned = datetime.fromisoformat(previewed["items"][2]["lockedUntil"])
        assert abs(until - reckoned) < timedelta(minutes=5)
        freed = {each["location"]: each["freedBytes"] > 0 for each in done["result"]["places"]}
        assert freed == {"local": True, "cloud-primary": True, "offsite": False}

        told = platform.platform.command("show", done["id"])
        assert "is a cleanup" in told.stdout, told.stdout
        told = platform.platform.command("show", platform.organisation)
        assert f"{platform.organisation} is an organisation of the record\n  configurations  2\n" in told.stdout, (
            told.stdout
        )
        gone = await studio.initiate(http, old, "old")
        assert gone.json()["code"] == errors.RECOVERY_POINT_GONE.code
        recovery = await studio.recovered(http, await studio.initiate(http, newest, "all"))
        assert (recovery["state"], recovery["error"]) == ("completed", None), recovery
        assert not differences(before, seen(studio.restored / "all"))
        await _backed_up(studio, http, free, 5)  # By the repository that the worker has kept open.
