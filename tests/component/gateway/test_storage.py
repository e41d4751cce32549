"""What is stored, as runs and cleanups have told: added up once, by location, and never a stranger's."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from chassis.clock import SystemClock
from chassis.ids import new_id
from contracts.cleanup_events import GoingPoint, PlaceCleaned, RecoveryPointsForgotten, RetentionCleanedUp
from contracts.configuration import Tier
from contracts.event import Event
from contracts.executor_events import BackupCompleted, ClassTotals, RunTotals, TierFailed, TierRoom, TierUploaded
from contracts.optimization_events import PlaceOptimized, StorageOptimizationPreparing, StorageOptimized
from contracts.repair_events import PlaceRepaired, StorageRepaired, StorageRepairPreparing, StorageTierRepaired
from contracts.samples import sample_event
from gateway.settings import Prices
from tests.support.gateway import ORGANISATION, RunningGateway

pytestmark = pytest.mark.stack

OVERVIEW, TIERS = "/api/backup/storage/overview", "/api/backup/storage/tiers"
GB = 1_000_000_000


async def _optimized(gateway: RunningGateway, *, dry_run: bool) -> None:
    place = PlaceOptimized(location="local", freed_bytes=2 * GB, stored_bytes=GB, locked_bytes=7, pinned_bytes=3)
    said: dict[str, Any] = {"optimization_id": new_id(), "dry_run": dry_run, "optimized_places": (place,)}
    await _tell(gateway, msgspec.structs.replace(sample_event(StorageOptimized), **said), 0)


async def _tell(gateway: RunningGateway, event: Event, days: float, organisation: str = ORGANISATION) -> None:
    await gateway.facts.publish(
        event,
        organisation=organisation,
        actor="service:executor",
        correlation_id=new_id(),
        time=SystemClock().now() - timedelta(days=days),
    )


async def _run(gateway: RunningGateway, configuration: str, days: float, *, version: int = 1, **changes: Any) -> str:
    """A run that stores two gigabytes of the four that it reads, on the tier `local`; its offsite tier fails."""
    when = SystemClock().now() - timedelta(days=days)
    run = await gateway.facts.accepted(configuration_id=configuration, version=version, time=when)
    about: dict[str, Any] = {"execution_id": run}
    uploaded = msgspec.structs.replace(sample_event(TierUploaded), **about, tier=Tier.LOCAL, uploaded_bytes=2 * GB)
    room = TierRoom(capacity_bytes=90 * GB, free_bytes=int((9 + days) * GB), latency_seconds=0.25)
    await _tell(gateway, msgspec.structs.replace(uploaded, seconds=20.0, room=room), days)
    failed = msgspec.structs.replace(sample_event(TierFailed), **about, tier=Tier.OFFSITE, code="tier-unreachable")
    await _tell(gateway, failed, days)
    of_photos = ClassTotals(content_class="photo", source_bytes=4 * GB, new_bytes=3 * GB, stored_bytes=2 * GB)
    totals = RunTotals(files=3, source_bytes=4 * GB, new_bytes=3 * GB, stored_bytes=2 * GB, by_class=(of_photos,))
    done = msgspec.structs.replace(
        sample_event(BackupCompleted),
        **about,
        configuration_id=configuration,
        totals=totals,
        verified=(Tier.LOCAL,),
        **changes,
    )
    await _tell(gateway, done, days)
    return run


async def test_what_is_stored_is_added_up_and_what_nobody_measured_is_said_to_be_unknown(
    gateway: RunningGateway,
) -> None:
    """By configuration, class, day and location; what went and was freed is taken off; prices are the operator's."""
    async with gateway.http("viewer") as http, gateway.http("owner", organisation="another") as stranger:
        empty = (await http.get(OVERVIEW)).json()
        assert (empty["totals"]["points"], empty["keptBytes"], empty["lockedBytes"]) == (0, 0, None)
        assert (empty["cost"], empty["forecast"], empty["growth"]) == (None, [], [])
        assert any("no table of prices" in each for each in empty["unknown"])
        async with gateway.http("owner") as owner:
            destinations = {"local": {"location": "local"}, "offsite": {"location": "offsite"}}
            made = [
                (await gateway.create_configuration(owner, name=name, storageDestinations=destinations))["id"]
                for name in ("One", "Two")
            ]
        first = await _run(gateway, made[0], 9)
        await _run(gateway, made[0], 1)
        await _run(gateway, made[1], 1)
        await _run(gateway, made[1], 1, code="source-emptied", degraded=True)  # No point.
        await _run(gateway, new_id(), 1, version=7)  # Of a configuration that nobody knows any more.
        gone = GoingPoint(recovery_point_id=first, configuration_id=made[0], rules=("not-kept",))
        await _tell(gateway, msgspec.structs.replace(sample_event(RecoveryPointsForgotten), points=(gone,)), 0)
        cleaned = sample_event(RetentionCleanedUp)
        until = SystemClock().now() + timedelta(days=9)
        places = (
            PlaceCleaned(location="local", freed_bytes=3 * GB, stored_bytes=GB, locked_bytes=5, locked_until=until),
        )
        dry = msgspec.structs.replace(cleaned, cleanup_id=new_id(), dry_run=True, places=places)
        await _tell(gateway, dry, 0)
        done = msgspec.structs.replace(cleaned, cleanup_id=new_id(), dry_run=False, places=places)
        await _tell(gateway, done, 0)
        # What was forgotten comes by another stream than what was cleaned up.
        shown = await gateway.shows(OVERVIEW, lambda shown: (shown["lockedBytes"], shown["totals"]["points"]) == (5, 3))
        # Of what was left out nothing new is known, nor of what was never looked at.
        left_out = (PlaceCleaned(location="local", code="tier-vanished"), PlaceCleaned(location="offsite", code="x"))
        again = msgspec.structs.replace(cleaned, cleanup_id=new_id(), dry_run=False, places=left_out)
        await _tell(gateway, again, 0)
        assert shown["totals"] == {
            "points": 3,
            "logicalBytes": 12 * GB,
            "newBytes": 15 * GB,
            "storedBytes": 10 * GB,
            "compressionRatio": 1.5,
        }
        assert shown["keptBytes"] == 8 * GB
        known = {each["configurationId"]: each for each in shown["configurations"]}
        assert (known[made[0]]["points"], known[made[0]]["logicalBytes"], known[made[0]]["storedBytes"]) == (
            1,
            4 * GB,
            4 * GB,
        )
        assert (known[made[1]]["points"], shown["configurationsMore"]) == (1, 0)
        assert [(each["contentClass"], each["sourceBytes"]) for each in shown["classes"]] == [("photo", 20 * GB)]
        assert [(each["uploadedBytes"], each["freedBytes"]) for each in shown["growth"]] == [
            (0, 2 * GB),
            (8 * GB, 0),
            (2 * GB, 0),
        ]
        # Eight gigabytes in the ten days that are known.
        assert [(each["inDays"], each["keptBytes"]) for each in shown["forecast"]] == [
            (30, 32 * GB),
            (90, 80 * GB),
            (365, 300 * GB),
        ]

        told = (await http.get(TIERS)).json()
        local, offsite, lost = told["items"]
        assert (offsite["lockedBytes"], offsite["pinnedBytes"], offsite["cleanedAt"]) == (None, None, None)
        assert (local["location"], local["tiers"], local["uploadedBytes"], local["keptBytes"]) == (
            "local",
            ["local"],
            8 * GB,
            6 * GB,
        )
        assert (local["lockedBytes"], local["errorRate"], local["isFailing"], local["bytesPerSecond"]) == (
            5,
            0.0,
            False,
            GB / 10,
        )
        assert local["provenAt"] is not None
        # As the latest of its runs found it.
        assert (local["capacityBytes"], local["freeBytes"], local["latencySeconds"]) == (90 * GB, 10 * GB, 0.25)
        assert any(
            "Latency and room are known since the next run, which was not yet at: offsite" in each
            for each in told["unknown"]
        )
        assert (offsite["location"], offsite["errorRate"], offsite["isFailing"], offsite["failureCode"]) == (
            "offsite",
            1.0,
            True,
            "tier-unreachable",
        )
        assert (offsite["lockedBytes"], offsite["capacityBytes"], offsite["freeBytes"]) == (None, None, None)
        assert (lost["location"], lost["tiers"], lost["uploadedBytes"]) == (None, ["local", "offsite"], 2 * GB)
        assert any("not yet at: offsite" in each for each in told["unknown"])

        for dry_run in (True, False):
            await _optimized(gateway, dry_run=dry_run)
        (local, *_) = (await gateway.shows(TIERS, lambda told: told["items"][0]["lockedBytes"] == 7))["items"]
        assert (local["freedBytes"], local["keptBytes"], local["pinnedBytes"]) == (3 * GB, 5 * GB, 3)
        after = (await http.get(OVERVIEW)).json()
        assert (after["keptBytes"], after["lockedBytes"], after["growth"][0]["freedBytes"]) == (7 * GB, 7, 3 * GB)

        for path in (OVERVIEW, TIERS):
            theirs = (await stranger.get(path)).json()
            assert theirs.get("items", []) == []
            assert theirs.get("totals", {"points": 0})["points"] == 0


async def test_cost_is_by_the_table_and_partial_where_it_lacks_a_location(
    gateway: RunningGateway,
) -> None:
    """What has no price is left out, and named."""
    prices = Prices({"local": 0.5}, "EUR", "2026-11-01", {"local": 0.1}, {"local": 30})
    object.__setattr__(gateway.process.gateway, "prices", prices)  # As the settings would have said.
    async with gateway.http("owner") as http:
        destinations = {"local": {"location": "local"}, "offsite": {"location": "offsite"}}
        made = (await gateway.create_configuration(http, storageDestinations=destinations))["id"]
        await _run(gateway, made, 0)
        shown = await gateway.shows(TIERS, lambda shown: bool(shown["items"]) and shown["items"][0]["provenAt"])
        # Two gigabytes of today: none of the thirty days that are billed at least is over.
        costs = {"monthly": 1.0, "restore": 0.2, "earlyDeletion": 1.0}
        assert shown["cost"] == {"currency": "EUR", "priceDate": "2026-11-01", **costs, "isPartial": True}
        assert [each["monthlyCost"] for each in shown["items"]] == [1.0, None]
        overview = (await http.get(OVERVIEW)).json()
        assert (overview["cost"], overview["forecast"], overview["lockedBytes"]) == (shown["cost"], [], None)
        assert any("no forecast" in each for each in overview["unknown"])
        assert any("2026-11-01 says nothing of: offsite" in each for each in shown["unknown"])


async def test_repair_is_shown_from_its_beginning_to_its_end_and_never_to_a_stranger(gateway: RunningGateway) -> None:
    """What is told of a location shows at once; the end says of all of them, and which are not whole."""
    elsewhere = gateway.http("owner", organisation="another")
    async with gateway.http("operator") as http, elsewhere as other:
        body = {"readPercent": 100, "locations": ["local", "second", "local"]}
        asked = await http.post("/api/backup/storage/repair", json=body, headers={"Idempotency-Key": new_id()})
        assert (asked.status_code, asked.json()["state"]) == (202, "accepted"), asked.text
        assert bytes(gateway.owners.asked[-1].data).count(b'"local"') == 1
        path = asked.json()["resource"]
        repair = path.rpartition("/")[2]
        whole = PlaceRepaired(location="local", damaged=2, repaired=2)
        away = PlaceRepaired(location="second", code="tier-unreachable", hint="Bring it back.")
        await gateway.facts.publish(StorageRepairPreparing(repair_id=repair, fence=1, worker="w"))
        await gateway.facts.publish(StorageTierRepaired(repair_id=repair, repaired_place=whole))
        shown = await gateway.shows(path, lambda shown: shown["state"] == "repairing")
        assert ([each["location"] for each in shown["places"]], shown["degraded"]) == (["local"], False)
        ended = StorageRepaired(repair_id=repair, dry_run=False, degraded=True, repaired_places=(whole, away))
        await gateway.facts.publish(ended)
        shown = await gateway.shows(path, lambda shown: shown["state"] == "completed")
        assert shown["degraded"]
        assert [each["code"] for each in shown["places"]] == [None, "tier-unreachable"]
        assert (await http.get("/api/backup/storage/repairs")).json()["items"] == [shown]
        assert (await other.get(path)).status_code == 404
        assert (await other.get("/api/backup/storage/repairs")).json()["items"] == []


async def test_optimisation_is_shown_with_what_it_saved_as_it_was_measured(gateway: RunningGateway) -> None:
    elsewhere = gateway.http("owner", organisation="another")
    async with gateway.http("operator") as http, elsewhere as other:
        asked = await http.post("/api/backup/storage/optimize", json={}, headers={"Idempotency-Key": new_id()})
        assert (asked.status_code, asked.json()["state"]) == (202, "accepted"), asked.text
        path = asked.json()["resource"]
        about = {"optimization_id": path.rpartition("/")[2]}
        places = (
            PlaceOptimized(location="local", freed_bytes=9 * GB, stored_bytes=GB),
            PlaceOptimized(location="second", freed_bytes=2 * GB),
        )
        await gateway.facts.publish(StorageOptimizationPreparing(**about, fence=1, worker="w"))
        ended = StorageOptimized(**about, dry_run=False, degraded=False, allowed_bytes=5 * GB, optimized_places=places)
        await gateway.facts.publish(ended)
        shown = await gateway.shows(path, lambda shown: shown["state"] == "completed")
        assert (shown["result"]["savedBytes"], shown["result"]["allowedBytes"]) == (10 * GB, 5 * GB)
        assert (await http.get("/api/backup/storage/optimizations")).json()["items"] == [shown]
        assert (await other.get(path)).status_code == 404
