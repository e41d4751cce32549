"""A source that a platform backs up while the test breaks things, and the proof afterwards that the record is whole."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg

from chassis.ids import new_id
from chassis.location import Location
from contracts.configuration import Tier
from contracts.envelope import decode
from contracts.executor_events import ENDED
from deploy.stack import locations, nats, postgres
from deploy.stack.secrets import read_secrets
from tests.support.eventually import eventually
from tests.support.file_trees import seen
from tests.support.stack import ROOT, Platform

LOCATION_OF_TIER = {
    Tier.LOCAL: "local",
    Tier.CLOUD_PRIMARY: "cloud-primary",
    Tier.CLOUD_SECONDARY: "cloud-secondary",
    Tier.OFFSITE: "offsite",
}


@dataclass
class SavedSource:
    """A registered source of a platform, with a configuration of its own."""

    platform: Platform
    folder: Path
    configuration_id: str = ""

    @classmethod
    def make(cls, platform: Platform, *, files: int = 40, bytes_each: int = 200_000) -> "SavedSource":
        """Write files of fixed content and register their folder."""
        folder = platform.home.parent / "source"
        folder.mkdir()
        for number in range(files):
            noise = bytes((number * 31 + place * 7 + (place >> 8) * 13) & 0xFF for place in range(4096))
            (folder / f"photo {number:03}.jpg").write_bytes((noise + bytes([number])) * (bytes_each // 4097))
        locations.register(
            platform.layout, locations.source_location("weddings", folder, organisation=platform.organisation)
        )
        return cls(platform, folder)

    async def configure(self, tiers: Sequence[Tier] = tuple(Tier), *, required: Sequence[Tier] = (Tier.LOCAL,)) -> None:
        """Create the configuration over REST."""
        body = {
            "name": f"weddings {new_id()}",
            "sourceType": "directory",
            "sourceLocation": "weddings",
            "sourceIdentifier": "",
            "backupType": "incremental",
            "storageDestinations": {
                tier.value: {"location": LOCATION_OF_TIER[tier], "required": tier in required} for tier in tiers
            },
        }
        answer = await self._post("/api/backup/configurations", body)
        assert answer.status_code in {201, 202}, answer.text
        if answer.status_code == 202:
            await eventually(self._first_configuration)
        self.configuration_id = (await self._first_configuration())["id"]

    async def execute(self) -> str:
        """Ask for a backup; the execution's id."""
        answer = await self._post("/api/backup/execute", {"configurationId": self.configuration_id})
        assert answer.status_code == 202, answer.text
        if (execution := answer.json()["execution"]) is None:  # accepted later, on a busy machine
            execution = await eventually(lambda: self._accepted(answer.headers["Location"]))
        return str(execution["id"])

    async def _accepted(self, request: str) -> Any:
        async with self.platform.client() as client:
            return (await client.get(request)).json()["execution"]

    async def execution(self, execution_id: str) -> dict[str, Any]:
        """What the API says of an execution."""
        async with self.platform.client() as client:
            answer = await client.get(f"/api/backup/executions/{execution_id}")
        answer.raise_for_status()
        return dict(answer.json())

    async def ended(self, execution_id: str, *, within: float = 150.0) -> dict[str, Any]:
        """Wait for an execution's end as the API shows it; whatever does not answer meanwhile is asked again."""

        async def look() -> dict[str, Any] | None:
            try:
                shown = await self.execution(execution_id)
            except httpx.HTTPError:
                return None
            return shown if shown["state"] in ENDED else None

        found = await eventually(look, within=within, every=0.1)
        assert found is not None
        return found

    # The record

    def history(self, run_id: str) -> list[str]:
        """The names of a run's events in the record, without owner and version."""
        with self._admin() as connection:
            rows = connection.execute(
                "SELECT state FROM executor.stored_events WHERE originator_id = %s ORDER BY originator_version",
                (run_id,),
            ).fetchall()
        return [decode(bytes(state)).type.split(".")[1] for (state,) in rows]

    async def reached(self, run_id: str, event: str, *, within: float = 60.0) -> None:
        """Wait until the record has an event of a run; Postgres is asked, so that it works while all else is dead."""

        def look() -> bool:
            try:
                return event in self.history(run_id)
            except psycopg.Error:
                return False

        await eventually(look, within=within, every=0.005)

    async def proven(self, run_id: str) -> None:
        """Assert that the record of a completed run is whole: told once, published once, restorable from each tier."""
        counts = Counter(self.history(run_id))
        assert counts["backup-accepted"] == 1
        assert counts["backup-completed"] == 1
        assert counts["backup-failed"] == 0
        for service in ("gateway", "config", "executor"):
            await eventually(lambda service=service: self._stream_equals_log(service), every=0.2)  # type: ignore[misc]

    async def _stream_equals_log(self, service: str) -> bool:
        with self._admin() as connection:
            rows = connection.execute(
                f"SELECT state FROM {service}.stored_events ORDER BY notification_id"  # type: ignore[arg-type]
            ).fetchall()
        log = [bytes(state) for (state,) in rows]
        return log == await asyncio.wait_for(self._stream(service), 20)

    async def _stream(self, service: str) -> list[bytes]:
        async with nats.topology_connection(self.platform.layout) as client:
            js = client.jetstream()
            name = f"BACKUP_{service.upper()}"
            last = (await js.stream_info(name)).state.last_seq
            messages = [await js.get_msg(name, number) for number in range(1, last + 1)]
            return [message.data or b"" for message in messages]

    def restores_from(self, tier: Tier, target: Path) -> None:
        """Restore the latest snapshot from one tier with the CLI alone, and compare every byte and attribute."""
        layout = self.platform.layout
        secrets = read_secrets(layout)
        organisation = self.platform.organisation
        registered = {
            location.name: location
            for location in msgspec.json.decode(layout.locations_file.read_bytes(), type=dict[str, list[Location]])[
                "locations"
            ]
        }
        location = registered[LOCATION_OF_TIER[tier]]
        path, _, query = location.url.partition("?")
        url = f"{path}/{organisation}" + (f"?{query}" if query else "")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        if location.credentials is not None:
            credentials = secrets.s3[location.credentials]
            environment |= {
                "AWS_ACCESS_KEY_ID": credentials.access_key_id,
                "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
            }
        key = layout.platform_keys / "repositories" / f"{organisation}.key"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "cli", "repo", "restore", "latest"),
                *("--key-file", str(key), "--tier", url, "--target", str(target)),
            ],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert seen(target) == seen(self.folder)

    def _admin(self) -> "psycopg.Connection[tuple[Any, ...]]":
        layout = self.platform.layout
        return psycopg.connect(postgres.admin_dsn(layout, read_secrets(layout)), autocommit=True, connect_timeout=2)

    async def _first_configuration(self) -> dict[str, Any]:
        async with self.platform.client() as client:
            answer = await client.get("/api/backup/configurations")
        answer.raise_for_status()
        return dict(answer.json()["items"][0])

    async def _post(self, path: str, body: object) -> httpx.Response:
        async with self.platform.client() as client:
            return await client.post(path, json=body, headers={"Idempotency-Key": new_id()})
