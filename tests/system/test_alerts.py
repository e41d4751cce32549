"""Each alert is provoked in a running platform, fires for the one it is about, and ends when that is mended.

Those that a running platform cannot be brought to in seconds are in tests/unit/observability/test_provoked.py; the
refusing relay is in tests/system/test_stack_recovery.py, the certificate in tests/component/chassis/test_trust.py,
schedules are in tests/component/gateway/test_schedules.py, recoveries beside them and in tests/component/recovery,
erasures in tests/component/executor.
"""

import asyncio
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from chassis.ids import new_id
from chassis.location import Location
from deploy.observability.dashboard import dashboard
from deploy.stack import locations
from tests.support.alerts import RULES, Watch
from tests.support.eventually import eventually
from tests.support.promql import counted_in, names_in
from tests.support.stack import Platform, platform_home

pytestmark = [pytest.mark.stack, pytest.mark.timeout(280)]

HOUR = 3600.0
ONLY_IN_TROUBLE = {
    "wedsync_erasures_deadline_timestamp_seconds",
    "wedsync_findings",
    "wedsync_recovery_points_overdue_since_timestamp_seconds",
    "wedsync_queue_oldest_timestamp_seconds",
    "wedsync_queue_oldest_recoveries_timestamp_seconds",
    "wedsync_tier_behind_since_timestamp_seconds",
    "wedsync_certificate_expires_timestamp_seconds",
    "wedsync_configuration_missed_timestamp_seconds",
    "wedsync_configuration_next_run_timestamp_seconds",
}
"""Series that are there only while something is wrong, waits, is encrypted or has a schedule; each is seen in a test of
its alert."""


@dataclass
class Watched:
    """A platform, a source on a tier of its own besides the local one, and who watches it."""

    platform: Platform
    source: Path
    tier: Path
    watch: Watch
    configuration: str = ""

    async def submit(self, name: str) -> httpx.Response:
        """Ask for a new configuration."""
        body = {
            "name": name,
            "sourceType": "directory",
            "sourceLocation": "photos",
            "sourceIdentifier": name,
            "storageDestinations": {
                "local": {"location": "local", "required": True},
                "offsite": {"location": "far"},
            },
        }
        async with self.platform.client() as client:
            return await client.post("/api/backup/configurations", json=body, headers=_key())

    async def configure(self, name: str) -> str:
        """Create a configuration; its id."""
        answer = await self.submit(name)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def execute(self, configuration: str = "") -> str:
        """Ask for a backup; the run's id."""
        async with self.platform.client() as client:
            body = {"configurationId": configuration or self.configuration}
            answer = await client.post("/api/backup/execute", json=body, headers=_key())
        assert answer.status_code == 202, answer.text
        return str(answer.json()["execution"]["id"])

    async def ended(self, run: str) -> str:
        """Wait for a run's end: `completed`, `degraded` or `failed`."""

        async def look() -> str | None:
            async with self.platform.client() as client:
                shown = (await client.get(f"/api/backup/executions/{run}")).json()
            if shown["state"] not in ("completed", "failed"):
                return None
            return "degraded" if shown["degraded"] else str(shown["state"])

        return str(await eventually(look, every=0.1))

    async def back_up(self) -> str:
        """One run; how it ended."""
        return await self.ended(await self.execute())


def _key() -> dict[str, str]:
    return {"Idempotency-Key": new_id()}


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    """A running platform with one good backup, for all tests here: each of them leaves it well."""
    with platform_home() as platform:
        platform.environment["WEDSYNC_QUEUE_IN_ALL"] = "2"
        platform.environment["WEDSYNC_QUEUE_PER_ORGANISATION"] = "2"
        asyncio.run(_begin(platform))
        parent = platform.home.parent
        made = Watched(platform, parent / "photos", parent / "far", Watch(platform))
        made.configuration = asyncio.run(_first_backup(made))
        yield made


async def _begin(platform: Platform) -> None:
    await platform.start()
    for name in ("first", "second"):
        (platform.home.parent / "photos" / name).mkdir(parents=True)
        (platform.home.parent / "photos" / name / "a.jpg").write_bytes(b"a" * 10_000)
    far = platform.home.parent / "far"
    far.mkdir()
    organisation = platform.organisation
    for location in (
        locations.source_location("photos", platform.home.parent / "photos", organisation=organisation),
        Location(
            name="far",
            kind="directory",
            roles=("tier",),
            organisations=(organisation,),
            url=locations.directory_url(far),
        ),
    ):
        locations.register(platform.layout, location)


async def _first_backup(watched: Watched) -> str:
    configuration = await watched.configure("first")
    assert await watched.ended(await watched.execute(configuration)) == "completed"
    return configuration


async def test_nothing_fires_where_all_is_well_and_everything_is_shown(watched: Watched) -> None:
    """Every series that a rule or a panel names is there, counters before they have counted anything."""
    assert await watched.back_up() == "completed"

    async def is_quiet() -> bool:
        await watched.watch.scrape()
        return not [alert for alert in RULES if watched.watch.firing(alert)]

    await eventually(is_quiet, every=0.5)
    scraped = watched.watch.scrapes.names()
    asked = {name for expression in RULES.values() for name in names_in(expression)}
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    shown = {name for expression in panels for name in names_in(expression)}
    assert (asked | shown) - scraped <= ONLY_IN_TROUBLE
    counted = {name for expression in (*RULES.values(), *panels) for name in counted_in(expression)}
    assert counted <= scraped
    for expression in panels:
        watched.watch.scrapes.ask(expression)


async def test_labels_name_nobody(watched: Watched) -> None:
    """Labels are ids, and names that operators gave: never a tenant's words, a path or an address."""
    await watched.watch.scrape()
    text = " ".join(value for labels in watched.watch.scrapes.taken[-1][1] for _, value in labels)
    assert "first" not in re.split(r"\W+", text)
    assert str(watched.source) not in text
    assert watched.platform.organisation not in text


async def test_process_that_hangs(watched: Watched) -> None:
    """Its scrape is not answered; the others' are."""
    watched.platform.kill("config", signal.SIGSTOP)
    try:
        down = await watched.watch.now("WedsyncProcessDown", without="config")
    finally:
        watched.platform.kill("config", signal.SIGCONT)
    assert [each["instance"] for each in down] == ["config"]
    assert not await watched.watch.now("WedsyncProcessDown")


async def test_keys_folder_that_is_gone(watched: Watched) -> None:
    """Who needs it is not ready, the API fails, and the figures of the keys are missing instead of old."""
    folder = watched.platform.layout.platform_keys
    away = folder.with_name("away")
    await watched.watch.scrape()
    folder.rename(away)
    try:

        async def is_told() -> bool:
            await watched.watch.scrape()
            ready = watched.watch.firing("WedsyncNotReady")
            return {each["service"] for each in ready} >= {"gateway", "executor-worker"}

        await eventually(is_told, every=0.5)
        assert "keys" in {each["figures"] for each in watched.watch.firing("WedsyncFiguresMissing")}
        for _ in range(6):
            assert (await watched.submit("third")).status_code == 503
        assert await watched.watch.now("WedsyncApiFailures")
    finally:
        away.rename(folder)

    async def is_over() -> bool:
        await watched.watch.scrape()
        return not (watched.watch.firing("WedsyncNotReady") or watched.watch.firing("WedsyncFiguresMissing"))

    await eventually(is_over, every=0.5)


async def test_key_that_is_missing(watched: Watched) -> None:
    """Of one organisation: its fields are unreadable, the others work; a ticket, and a page."""
    keys = watched.platform.layout.platform_keys / "organisations"
    key = next(keys.glob("*/organisation/1.key"))
    away = key.with_name("away")
    key.rename(away)
    try:
        assert await watched.watch.now("WedsyncKeysUnusable")
        codes = {each["code"] for each in watched.watch.firing("WedsyncDegraded")}
    finally:
        away.rename(key)
    assert "keys-unusable" in codes
    assert not await watched.watch.now("WedsyncKeysUnusable")


async def test_backup_that_is_overdue(watched: Watched) -> None:
    """26 hours after the last good one, by the configuration's id."""
    assert await watched.back_up() == "completed"

    async def is_quiet() -> bool:
        return not await watched.watch.now("WedsyncBackupOverdue")

    await eventually(is_quiet, every=0.2)
    assert not watched.watch.firing("WedsyncBackupOverdue", in_seconds=25 * HOUR)
    overdue = watched.watch.firing("WedsyncBackupOverdue", in_seconds=26 * HOUR)
    assert watched.configuration in {each["configuration"] for each in overdue}


async def test_run_that_fails(watched: Watched) -> None:
    """Its source is gone."""
    await watched.watch.scrape()
    away = watched.source.with_name("away")
    watched.source.rename(away)
    try:
        assert await watched.back_up() == "failed"
        failed = await eventually(lambda: watched.watch.now("WedsyncRunsFailed"), every=0.2)
    finally:
        away.rename(watched.source)
    assert failed == [{"outcome": "failed"}]
    assert not watched.watch.firing("WedsyncRunsFailed", in_seconds=HOUR + 60)


async def test_tier_that_is_away(watched: Watched) -> None:
    """The run is degraded, the tier is said to be away, and to be behind once its last upload is old."""
    assert await watched.back_up() == "completed"
    await watched.watch.scrape()
    away = watched.tier.with_name("away")
    watched.tier.rename(away)
    try:
        assert await watched.back_up() == "degraded"
        assert await eventually(lambda: watched.watch.now("WedsyncTierFailing"), every=0.2) == [{"tier": "offsite"}]
        assert watched.watch.firing("WedsyncRunsDegraded") == [{"outcome": "degraded"}]
        assert not watched.watch.firing("WedsyncTierBehind")
        assert watched.watch.firing("WedsyncTierBehind", in_seconds=27 * HOUR) == [{"tier": "offsite"}]
    finally:
        away.rename(watched.tier)
    assert await watched.back_up() == "completed"

    async def is_over() -> bool:
        return not await watched.watch.now("WedsyncTierFailing")

    await eventually(is_over, every=0.2)
    assert not watched.watch.firing("WedsyncTierBehind", in_seconds=27 * HOUR)


async def test_queue_that_nobody_takes_from(watched: Watched) -> None:
    """The only worker hangs: the queue fills, and its oldest run waits for half an hour."""
    second = await watched.configure("second")
    watched.platform.kill("executor-worker", signal.SIGSTOP)
    try:
        runs = [await watched.execute(), await watched.execute(second)]
        assert await watched.watch.now("WedsyncQueueNearlyFull", without="executor-worker")
        assert not watched.watch.firing("WedsyncQueueStuck")
        assert watched.watch.firing("WedsyncQueueStuck", in_seconds=HOUR / 2 + 60)
    finally:
        watched.platform.kill("executor-worker", signal.SIGCONT)
    assert [await watched.ended(run) for run in runs] == ["completed", "completed"]
    assert not await watched.watch.now("WedsyncQueueNearlyFull")


async def test_figures_are_read_over_http_like_any_other(watched: Watched) -> None:
    """What Prometheus asks for is the text format, on the port that the targets file names."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{watched.platform.layout.port('gateway.health')}/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
