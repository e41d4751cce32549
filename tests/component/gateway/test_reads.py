"""Reads: what the read models show, page by page, to the organisation that it belongs to."""

import shutil
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chassis.ids import new_id
from chassis.sealing import Sealer, prepare_keys_folder
from contracts.config_events import ConfigurationRetired, ConfigurationUpdated
from contracts.configuration import ConfigurationBody, Destination, StorageDestinations, Tier
from contracts.configuration_rules import STORAGE_CLASSES
from contracts.envelope import decode_data
from contracts.executor_events import (
    BackupCompleted,
    BackupFailed,
    BackupPreparing,
    BackupUploading,
    CatchUp,
    RunTotals,
    TierFailed,
    TierUploaded,
)
from contracts.gateway_events import ConfigurationChangeSubmitted, ConfigurationSubmitted
from contracts.progress import Progress
from contracts.subjects import progress_subject
from tests.support.eventually import eventually
from tests.support.gateway import NEW_CONFIGURATION, ORGANISATION, RunningGateway, problem_code

pytestmark = pytest.mark.stack

BEGAN = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)


async def test_run_is_shown_with_phases_tiers_and_sizes(gateway: RunningGateway) -> None:
    """A run that ended well shows when it did what, what each tier has, and how much it was."""
    configuration_id = new_id()
    execution_id = await gateway.facts.accepted(configuration_id=configuration_id, time=BEGAN)
    await gateway.facts.complete(execution_id, configuration_id)
    run = await gateway.shows(f"/api/backup/executions/{execution_id}", lambda body: body["state"] == "completed")
    assert [phase["name"] for phase in run["phases"]] == ["initializing", "preparing", "backing_up", "verifying"]
    assert all(phase["finishedAt"] for phase in run["phases"])
    assert {tier["tier"]: (tier["state"], tier["verified"]) for tier in run["tiers"]} == {
        tier.value: ("uploaded", True) for tier in Tier
    }
    assert run["verificationStatus"] == "verified"
    assert run["sizeActual"] == run["sourceBytes"] == 2000
    assert run["ratio"] == 0.9
    assert run["bytesPerSecond"] == 1000.0
    assert run["completionDetails"]["files"] == 12
    assert run["version"] == 9
    assert run["startedAt"] == "2026-11-01T08:00:00Z"


async def test_degraded_and_failed_runs_say_why(gateway: RunningGateway) -> None:
    """A tier that is owed a catch-up and a run that failed show their codes and what to do."""
    facts, configuration_id = gateway.facts, new_id()
    degraded = await facts.accepted(configuration_id=configuration_id)
    await facts.publish(BackupPreparing(execution_id=degraded, fence=1, worker="w"))
    await facts.publish(TierFailed(execution_id=degraded, tier=Tier.OFFSITE, code="tier-unreachable", hint="wait"))
    await facts.publish(
        BackupCompleted(
            execution_id=degraded,
            configuration_id=configuration_id,
            snapshot_id="s1",
            degraded=True,
            totals=RunTotals(files=1, source_bytes=10, new_bytes=0, stored_bytes=0),
            verified=(Tier.LOCAL, Tier.CLOUD_PRIMARY, Tier.CLOUD_SECONDARY),
            catch_ups=(CatchUp(tier=Tier.OFFSITE, code="tier-unreachable"),),
        )
    )
    failed = await facts.accepted(configuration_id=configuration_id)
    await facts.publish(BackupPreparing(execution_id=failed, fence=1, worker="w"))
    await facts.publish(BackupUploading(execution_id=failed, fence=1))
    await facts.publish(BackupPreparing(execution_id=failed, fence=2, worker="w2"))
    await facts.publish(
        BackupFailed(
            execution_id=failed, configuration_id=configuration_id, code="required-tier-failed", tier=Tier.LOCAL
        )
    )
    shown = await gateway.shows(f"/api/backup/executions/{failed}", lambda body: body["state"] == "failed")
    assert shown["error"]["code"] == "required-tier-failed"
    assert shown["error"]["tier"] == "local"
    assert shown["errorMessage"].startswith("A required tier does not have the backup.")
    assert shown["attempts"] == 2
    assert shown["verificationStatus"] == "not-verified"
    assert [phase["name"] for phase in shown["phases"]] == ["initializing", "preparing", "backing_up", "preparing"]
    shown = await gateway.shows(f"/api/backup/executions/{degraded}", lambda body: body["degraded"])
    offsite = next(tier for tier in shown["tiers"] if tier["tier"] == "offsite")
    assert (offsite["state"], offsite["code"]) == ("failed", "tier-unreachable")
    assert shown["verificationStatus"] == "partial"
    assert shown["ratio"] is None


async def test_list_of_runs_is_paged_without_gaps_or_repeats(gateway: RunningGateway) -> None:
    """Following the cursors shows each run once, the latest first, also where several began at once."""
    gateway.make_keys()
    ids = [await gateway.facts.accepted(time=BEGAN + timedelta(seconds=number // 3)) for number in range(11)]
    await gateway.shows("/api/backup/status", lambda body: body["executions"]["initializing"] == len(ids))
    seen: list[dict[str, Any]] = []
    async with gateway.http("viewer") as http:
        cursor = None
        while True:
            parameters = {"limit": 4} | ({"cursor": cursor} if cursor else {})
            page = (await http.get("/api/backup/executions", params=parameters)).json()
            seen += page["items"]
            cursor = page["nextCursor"]
            if cursor is None:
                break
    assert [run["id"] for run in seen] == sorted(ids, reverse=True)


async def test_list_of_runs_is_narrowed_by_its_filters(gateway: RunningGateway) -> None:
    """State, configuration, time, wedding-critical and degraded each narrow the list; together they do, too."""
    async with gateway.http("owner") as http:
        critical = await gateway.create_configuration(http, name="critical")
        usual = await gateway.create_configuration(http, name="usual", isWeddingCritical=False)
        first = await gateway.facts.accepted(configuration_id=critical["id"], time=BEGAN)
        await gateway.facts.complete(first, critical["id"])
        second = await gateway.facts.accepted(configuration_id=usual["id"], time=BEGAN + timedelta(days=1))
        await gateway.shows(f"/api/backup/executions/{second}", lambda body: True)

        async def found(**parameters: Any) -> list[str]:
            answer = await http.get("/api/backup/executions", params=parameters)
            assert answer.status_code == 200, answer.text
            return [run["id"] for run in answer.json()["items"]]

        assert await found() == [second, first]
        assert await found(status="completed") == [first]
        assert await found(status=["completed", "initializing"]) == [second, first]
        assert await found(configurationId=usual["id"]) == [second]
        assert await found(weddingCritical="true") == [first]
        assert await found(weddingCritical="false", status="completed") == []
        assert await found(degraded="true") == []
        assert await found(**{"from": "2026-11-02T00:00:00Z"}) == [second]
        assert await found(before="2026-11-02T00:00:00Z") == [first]
        assert await found(before="2026-11-02T00:00:00+01:00", status="completed") == [first]


async def test_list_of_configurations_is_paged_and_narrowed(gateway: RunningGateway) -> None:
    """Configurations show their last run and recovery point, and are found by them."""
    async with gateway.http("owner") as http:
        made = [await gateway.create_configuration(http, name=f"c{i}", isWeddingCritical=i == 0) for i in range(3)]
        run = await gateway.facts.accepted(configuration_id=made[1]["id"])
        await gateway.facts.complete(run, made[1]["id"])
        shown = await gateway.shows(
            f"/api/backup/configurations/{made[1]['id']}", lambda body: body["health"] == "healthy"
        )
        assert shown["lastRun"]["executionId"] == run
        assert shown["lastRecoveryPoint"]["tiers"] == [tier.value for tier in Tier]

        async def found(**parameters: Any) -> list[str]:
            answer = await http.get("/api/backup/configurations", params=parameters)
            assert answer.status_code == 200, answer.text
            return [item["name"] for item in answer.json()["items"]]

        assert await found() == ["c2", "c1", "c0"]
        assert await found(status="never-run") == ["c2", "c0"]
        assert await found(status="completed") == ["c1"]
        assert await found(weddingCritical="true") == ["c0"]
        assert await found(**{"from": "2100-01-01T00:00:00Z"}) == []
        assert await found(before="2100-01-01T00:00:00Z", limit=2) == ["c2", "c1"]
        page = (await http.get("/api/backup/configurations", params={"limit": 2})).json()
        assert await found(limit=2, cursor=page["nextCursor"]) == ["c0"]


async def test_cursor_continues_the_list_that_gave_it_alone(gateway: RunningGateway) -> None:
    """With other filters, on another list or for another organisation a cursor is refused."""
    gateway.make_keys(ORGANISATION, "other")
    for _ in range(3):
        await gateway.facts.accepted()
    await gateway.shows("/api/backup/status", lambda body: body["executions"]["initializing"] == 3)
    async with gateway.http("viewer") as http, gateway.http("viewer", organisation="other") as elsewhere:
        first = (
            await http.get("/api/backup/executions", params={"limit": 1, "status": ["initializing", "failed"]})
        ).json()
        cursor = first["nextCursor"]
        same = await http.get(
            "/api/backup/executions", params={"limit": 2, "cursor": cursor, "status": ["failed", "initializing"]}
        )
        assert len(same.json()["items"]) == 2
        for client, path, more in (
            (http, "executions", {}),
            (http, "executions", {"status": "failed"}),
            (http, "executions", {"status": ["initializing", "failed"], "degraded": "false"}),
            (http, "configurations", {}),
            (elsewhere, "executions", {"status": ["initializing", "failed"]}),
        ):
            answer = await client.get(f"/api/backup/{path}", params={"cursor": cursor, **more})
            assert (answer.status_code, problem_code(answer)) == (422, "invalid-cursor"), (path, more)
            assert answer.json()["field"] == "cursor"


async def test_others_find_nothing(gateway: RunningGateway) -> None:
    """Every read is within the caller's organisation: ids of others answer 404, lists are empty."""
    async with gateway.http("owner") as http:
        configuration = await gateway.create_configuration(http)
    run = await gateway.facts.accepted(configuration_id=configuration["id"])
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)
    request = (await gateway.shows(f"/api/backup/executions/{run}", lambda body: True))["requestId"]
    async with gateway.http("owner", organisation="other") as http:
        for path in (
            f"/api/backup/configurations/{configuration['id']}",
            f"/api/backup/executions/{run}",
            f"/api/backup/progress/{run}",
            f"/api/backup/requests/{request}",
        ):
            answer = await http.get(path)
            assert answer.status_code == 404, path
            assert problem_code(answer) in {"not-found", "configuration-unknown"}
        for path in ("/api/backup/configurations", "/api/backup/executions"):
            assert (await http.get(path)).json() == {"items": [], "nextCursor": None}
        status = (await http.get("/api/backup/status")).json()
        assert status["executions"]["initializing"] == 0
        names = [item["name"] for item in (await http.get("/api/backup/locations")).json()["items"]]
        assert names == ["local", "photos", "restored"]


async def test_run_is_not_sent_again_when_it_has_not_changed(gateway: RunningGateway) -> None:
    """If-None-Match with the ETag answers 304 until something happens."""
    configuration_id = new_id()
    run = await gateway.facts.accepted(configuration_id=configuration_id)
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)
    async with gateway.http("viewer") as http:
        etag = (await http.get(f"/api/backup/executions/{run}")).headers["etag"]
        same = await http.get(f"/api/backup/executions/{run}", headers={"If-None-Match": f'"0", {etag}'})
        assert (same.status_code, same.content) == (304, b"")
        assert same.headers["etag"] == etag
        assert (await http.get(f"/api/backup/executions/{run}", headers={"If-None-Match": "*"})).status_code == 304
        await gateway.facts.publish(BackupPreparing(execution_id=run, fence=1, worker="w"))
        await gateway.shows(f"/api/backup/executions/{run}", lambda body: body["version"] == 2)
        changed = await http.get(f"/api/backup/executions/{run}", headers={"If-None-Match": etag})
        assert changed.status_code == 200


async def test_status_tells_the_state_of_everything(gateway: RunningGateway) -> None:
    """Counts, running, queue, last day, tiers and 3-2-1-1-0 follow from the facts."""
    async with gateway.http("owner") as http:
        configuration = await gateway.create_configuration(http)
        empty = (await http.get("/api/backup/status")).json()
        assert empty["oldestUnprotectedSource"]["configurationId"] == configuration["id"]
        assert empty["verdict"]["satisfied"] is False
        assert [(rule["satisfied"], rule["evidence"]) for rule in configuration["protection"]["rules"]] == [
            (False, [])
        ] * 5
        assert {tier["tier"]: tier["verdict"] for tier in empty["tiers"]} == {
            "local": "unproven",
            "offsite": "unproven",
            "cloudPrimary": "unused",
            "cloudSecondary": "unused",
        }
    done = await gateway.facts.accepted(configuration_id=configuration["id"])
    await gateway.facts.complete(done, configuration["id"])
    waiting = await gateway.facts.accepted(configuration_id=configuration["id"])
    status = await gateway.shows("/api/backup/status", lambda body: body["queue"]["waiting"] == 1)
    assert status["executions"]["completed"] == 1
    assert [run["executionId"] for run in status["running"]] == [waiting]
    assert status["queue"]["oldestSince"]
    assert status["last24Hours"] == {
        "completed": 1,
        "degraded": 0,
        "failed": 0,
        "files": 12,
        "sourceBytes": 2000,
        "newBytes": 1000,
        "storedBytes": 900,
    }
    assert status["configurations"]["healthy"] == 1
    assert {tier["tier"] for tier in status["tiers"] if tier["verdict"] == "healthy"} == {"local", "offsite"}
    assert status["verdict"] == {
        "satisfied": True,
        "rules": [
            {"rule": rule, "satisfied": True, "failingConfigurations": 0}
            for rule in ("three-copies", "two-media", "one-offsite", "one-immutable", "zero-errors")
        ],
    }
    assert status["oldestUnprotectedSource"]["lastRecoveryPointAt"]
    async with gateway.http("viewer") as http:
        shown = (await http.get(f"/api/backup/configurations/{configuration['id']}")).json()
    assert (shown["encryption"], shown["protection"]["satisfied"]) == ("aes-256-gcm", True)
    assert {rule["rule"]: (rule["satisfied"], rule["evidence"]) for rule in shown["protection"]["rules"]} == {
        "three-copies": (True, ["source", "local", "offsite"]),
        "two-media": (True, ["directory", "s3"]),
        "one-offsite": (True, ["offsite"]),
        "one-immutable": (True, ["offsite"]),
        "zero-errors": (True, ["completed", "local", "offsite"]),
    }


async def test_status_shows_a_tier_that_is_behind(gateway: RunningGateway) -> None:
    """A tier that has an earlier backup and lacks the latest is behind, one that never had one is failing."""
    async with gateway.http("owner") as http:
        configuration = await gateway.create_configuration(http)
    run = await gateway.facts.accepted(configuration_id=configuration["id"])
    await gateway.facts.publish(
        TierUploaded(
            execution_id=run,
            tier=Tier.OFFSITE,
            snapshot_id="s",
            log_entry=1,
            uploaded_bytes=1,
            objects=1,
            seconds=0.1,
        )
    )
    await gateway.facts.publish(TierFailed(execution_id=run, tier=Tier.OFFSITE, code="tier-full"))
    await gateway.facts.publish(TierFailed(execution_id=run, tier=Tier.LOCAL, code="tier-unreachable"))

    def is_judged(body: dict[str, Any]) -> bool:
        tiers = {tier["tier"]: tier for tier in body["tiers"]}
        return bool(tiers["offsite"]["verdict"] == "behind" and tiers["local"]["verdict"] == "failing")

    status = await gateway.shows("/api/backup/status", is_judged)
    offsite = next(tier for tier in status["tiers"] if tier["tier"] == "offsite")
    assert offsite["lastFailureCode"] == "tier-full"
    assert offsite["catchUpsOwed"] == 1


async def test_tier_that_is_gone_is_failing_and_no_copy(gateway: RunningGateway) -> None:
    """A tier that held a backup and vanished since is not healthy, and what it held does not count as a copy."""
    async with gateway.http("owner") as http:
        configuration = await gateway.create_configuration(http)
    run = await gateway.facts.accepted(configuration_id=configuration["id"])
    await gateway.facts.complete(run, configuration["id"])
    await gateway.shows("/api/backup/status", lambda body: body["verdict"]["satisfied"])
    later = await gateway.facts.accepted(configuration_id=configuration["id"])
    await gateway.facts.publish(TierFailed(execution_id=later, tier=Tier.LOCAL, code="tier-vanished"))

    def is_judged(body: dict[str, Any]) -> bool:
        tiers = {tier["tier"]: tier for tier in body["tiers"]}
        rules = {rule["rule"]: rule["satisfied"] for rule in body["verdict"]["rules"]}
        return tiers["local"]["verdict"] == "failing" and not rules["three-copies"]

    await gateway.shows("/api/backup/status", is_judged)
    shown = await gateway.shows(f"/api/backup/configurations/{configuration['id']}", lambda _: True)
    kept = {rule["rule"]: (rule["satisfied"], rule["evidence"]) for rule in shown["protection"]["rules"]}
    assert kept["three-copies"] == (False, ["source", "offsite"])
    assert kept["one-immutable"] == (True, ["offsite"])


async def test_history_of_a_configuration_shows_before_and_after(gateway: RunningGateway) -> None:
    """Each version with who made it and what is other; page by page; to nobody else; a retired one's stays."""
    async with gateway.http("owner") as http:
        created = await gateway.create_configuration(http)
        place = f"/api/backup/configurations/{created['id']}"
        request = decode_data(gateway.owners.asked[-1])
        assert isinstance(request, ConfigurationSubmitted)
        said = {"request_id": new_id(), "configuration_id": created["id"]}
        tagged = msgspec.structs.replace(request.body, tags=("new",), compression_enabled=False)
        await gateway.facts.publish(ConfigurationUpdated(**said, version=2, body=tagged, before=request.body))
        await gateway.facts.publish(ConfigurationRetired(**said, version=3, body=tagged))
        shown = await gateway.shows(f"{place}/history", lambda page: len(page["items"]) == 3)
        assert [(each["version"], each["change"], each["changed"]) for each in shown["items"]] == [
            (3, "retired", []),
            (2, "updated", ["compressionEnabled", "tags"]),
            (1, "created", []),
        ]
        second, first = shown["items"][1:]
        assert (second["before"]["tags"], second["after"]["tags"]) == (["photos"], ["new"])
        assert (first["before"], first["after"]["name"]) == (None, NEW_CONFIGURATION["name"])
        assert first["after"] == second["before"]
        assert first["changedBy"].startswith("user:")
        page = (await http.get(f"{place}/history", params={"limit": 2})).json()
        rest = (await http.get(f"{place}/history", params={"limit": 2, "cursor": page["nextCursor"]})).json()
        assert [*page["items"], *rest["items"]] == shown["items"]
        assert problem_code(await http.get(f"/api/backup/configurations/{new_id()}/history")) == "configuration-unknown"
    async with gateway.http("owner", organisation="org-b") as http:
        assert problem_code(await http.get(f"{place}/history")) == "configuration-unknown"


async def test_excludes_are_sealed_and_what_they_left_out_counts_as_not_saved(gateway: RunningGateway) -> None:
    """They are shown to their organisation alone; the same ones stay in their box, others make it degraded."""
    async with gateway.http("owner") as http:
        created = await gateway.create_configuration(http, exclude=["*.tmp", "!keep.tmp"], excludeCaches=True)
        place = f"/api/backup/configurations/{created['id']}"
        assert (created["exclude"], created["excludeCaches"]) == (["*.tmp", "!keep.tmp"], True)
        first = decode_data(gateway.owners.asked[-1])
        assert isinstance(first, ConfigurationSubmitted)
        assert b"keep.tmp" not in msgspec.json.encode(first)
        await gateway.facts.complete(await gateway.facts.accepted(configuration_id=created["id"]), created["id"])
        await gateway.shows(place, lambda shown: shown["health"] == "healthy")
        gateway.owners.is_silent = True
        same = {**NEW_CONFIGURATION, "name": "Another", "exclude": ["*.tmp", "!keep.tmp"], "excludeCaches": True}
        asked = []
        for change in (same, {**same, "exclude": ["*.tmp"]}):
            await http.put(place, json=change, headers={"Idempotency-Key": new_id(), "If-Match": '"1"'})
            event = decode_data(gateway.owners.asked[-1])
            assert isinstance(event, ConfigurationChangeSubmitted)
            asked.append(event.body)
        assert asked[0].exclude == first.body.exclude, "the same patterns look like others"
        before = first.body
        for version, body in enumerate(asked, 2):
            fact = ConfigurationUpdated(
                request_id=new_id(), configuration_id=created["id"], version=version, body=body, before=before
            )
            await gateway.facts.publish(fact, actor="service:config")
            before = body
            is_so = partial(_is_changed, version=version, changed=["exclude"] if version == 3 else [])
            shown = await gateway.shows(place, is_so)
            assert shown["health"] == ("degraded" if version == 3 else "healthy")


def _is_changed(shown: dict[str, Any], *, version: int, changed: list[str]) -> bool:
    return bool(shown["version"] == version and shown["changedSince"] == changed)


async def test_recovery_point_counts_for_what_it_was_made_with(gateway: RunningGateway) -> None:
    """After a change of the source there is none; a tier's other place has nothing of it; a run of the change cures."""
    async with gateway.http("owner") as http:
        created = await gateway.create_configuration(http)
        place = f"/api/backup/configurations/{created['id']}"
        request = decode_data(gateway.owners.asked[-1])
        assert isinstance(request, ConfigurationSubmitted)
        body = request.body
        await gateway.facts.complete(await gateway.facts.accepted(configuration_id=created["id"]), created["id"])
        await gateway.shows("/api/backup/status", lambda shown: shown["verdict"]["satisfied"])
        gateway.owners.is_silent = True
        renamed = {**NEW_CONFIGURATION, "name": "Another name"}
        await http.put(place, json=renamed, headers={"Idempotency-Key": new_id(), "If-Match": '"1"'})
        asked = decode_data(gateway.owners.asked[-1])
        assert isinstance(asked, ConfigurationChangeSubmitted)
        assert asked.body.source_identifier == body.source_identifier, "the same folder looks like another one"

    async def change(version: int, now: ConfigurationBody, health: str) -> dict[str, Any]:
        nonlocal body
        fact = ConfigurationUpdated(
            request_id=new_id(), configuration_id=created["id"], version=version, body=now, before=body
        )
        await gateway.facts.publish(fact, actor="service:config", time=BEGAN)
        body = now
        return await gateway.shows(place, lambda body: body["version"] == version and body["health"] == health)

    async def judged(unmet: set[str] | None = None, **tiers: str) -> None:
        """The status says so, once it is as new as the configuration."""

        def is_so(status: dict[str, Any]) -> bool:
            left = {rule["rule"] for rule in status["verdict"]["rules"] if not rule["satisfied"]}
            shown = {tier["tier"]: tier["verdict"] for tier in status["tiers"]}
            return unmet in (None, left) and tiers.items() <= shown.items()

        await gateway.shows("/api/backup/status", is_so)

    async def counts(*, tier: bool, is_void: bool = False) -> None:
        """The figures say so: which backup protects, and whether anything was ever uploaded to the local tier."""

        async def look() -> bool:
            told = await gateway.figures()
            at = told[f'wedsync_configuration_protected_timestamp_seconds{{configuration="{created["id"]}"}}']
            has_uploaded = 'wedsync_tier_uploaded_timestamp_seconds{tier="local"}' in told
            return has_uploaded is tier and ((at == BEGAN.timestamp()) is is_void)

        await eventually(look)

    await change(2, asked.body, "healthy")
    await judged(set())
    await counts(tier=True)
    destinations = body.storage_destinations
    every = {name: msgspec.structs.replace(to, lock_days=to.lock_days + 1) for name, to in _named(destinations).items()}
    longer = msgspec.structs.replace(body, storage_destinations=StorageDestinations(**every))
    shown = await change(3, longer, "degraded")
    assert shown["changedSince"] == sorted(f"{tier} lock" for tier in destinations.by_tier())
    await judged({"one-immutable", "zero-errors"})

    local = msgspec.structs.replace(every["local"], location="elsewhere")
    shown = await change(
        4,
        msgspec.structs.replace(body, storage_destinations=StorageDestinations(**{**every, "local": local})),
        "degraded",
    )
    assert "local" in shown["changedSince"]
    assert "local" not in shown["lastRecoveryPoint"]["tiers"]
    await judged(local="unproven")
    await counts(tier=False)

    shown = await change(5, msgspec.structs.replace(body, source_location="another"), "never-run")
    assert shown["lastRecoveryPoint"] is None
    status = await gateway.shows(
        "/api/backup/status", lambda body: not any(rule["satisfied"] for rule in body["verdict"]["rules"])
    )
    assert (status["configurations"]["neverRun"], status["configurations"]["healthy"]) == (1, 0)
    assert status["oldestUnprotectedSource"]["lastRecoveryPointAt"] is None
    await counts(tier=False, is_void=True)

    again = await gateway.facts.accepted(configuration_id=created["id"], version=5)
    await gateway.facts.complete(again, created["id"])
    shown = await gateway.shows(place, lambda body: body["health"] == "healthy")
    assert shown["changedSince"] == []
    await judged(set())
    await counts(tier=True)


def _named(destinations: StorageDestinations) -> dict[str, Destination]:
    return {name: getattr(destinations, name) for name in destinations.__struct_fields__ if getattr(destinations, name)}


async def test_progress_is_shown_while_a_run_goes_on(gateway: RunningGateway) -> None:
    """The latest report of a running run is told, and none of a run that has ended."""
    configuration_id = new_id()
    run = await gateway.facts.accepted(configuration_id=configuration_id)
    for done in (10, 40):
        progress = Progress(
            execution_id=run,
            organisation=ORGANISATION,
            time=BEGAN,
            phase="backing_up",
            bytes_done=done,
            bytes_total=100,
        )
        await gateway.client.publish(progress_subject("executor", ORGANISATION, run), _json(progress))
    shown = await gateway.shows(
        f"/api/backup/progress/{run}", lambda body: body["progress"] and body["progress"]["bytesDone"] == 40
    )
    assert shown["state"] == "initializing"
    await gateway.client.publish(progress_subject("executor", ORGANISATION, run), b"not json")
    await gateway.facts.complete(run, configuration_id)
    ended = await gateway.shows(f"/api/backup/progress/{run}", lambda body: body["state"] == "completed")
    assert ended["progress"] is None
    assert gateway.process is not None


async def test_run_that_waits_is_told_its_place_in_the_queue(gateway: RunningGateway) -> None:
    """Urgent ones go first, then the oldest; what has begun waits no more, and another organisation's counts not."""
    first, second = [await gateway.facts.accepted() for _ in range(2)]
    await gateway.facts.accepted(organisation="others")
    urgent = await gateway.facts.accepted(is_urgent=True)

    async def place(run: str, expected: int | None) -> None:
        await gateway.shows(f"/api/backup/progress/{run}", lambda body: body["queuePosition"] == expected)

    for run, expected in ((urgent, 1), (first, 2), (second, 3)):
        await place(run, expected)
    await gateway.facts.publish(BackupPreparing(execution_id=urgent, fence=1, worker="w"))
    for run, expected in ((urgent, None), (first, 1), (second, 2)):
        await place(run, expected)
    shown = await gateway.shows(f"/api/backup/executions/{urgent}", lambda body: body["state"] == "preparing")
    assert shown["isUrgent"] is True


async def test_locations_are_named_and_nothing_more(gateway: RunningGateway) -> None:
    """The organisation sees the names that it may use; where they are and with which secrets stays the operator's."""
    async with gateway.http("auditor") as http:
        answer = await http.get("/api/backup/locations")
    directory = {"kind": "directory", "region": None, "lock": False, "storageClasses": []}
    bucket = {"kind": "s3", "region": "eu-north-1", "lock": True, "storageClasses": list(STORAGE_CLASSES)}
    assert answer.json()["items"] == [
        {"name": "local", "roles": ["tier"], **directory},
        {"name": "offsite", "roles": ["tier"], **bucket},
        {"name": "photos", "roles": ["source"], **directory},
        {"name": "restored", "roles": ["target"], **directory},
    ]
    assert "s3://" not in answer.text


async def test_templates_can_be_sent_as_they_are(gateway: RunningGateway) -> None:
    """They name what the organisation has: another one, to which the offsite location is not open, gets none there."""
    async with gateway.http("owner", organisation="studio-b") as http:
        for template in (await http.get("/api/backup/configurations/templates")).json()["items"]:
            assert "storageDestinations.offsite" in [each["field"] for each in template["unmet"]]
            assert template["configuration"] is None or template["configuration"]["storageDestinations"] == {
                **dict.fromkeys(map(str, Tier)),
                "local": {"location": "local", "required": True, "lockDays": 0, "storageClass": ""},
            }
    async with gateway.http("owner") as http:
        templates = (await http.get("/api/backup/configurations/templates")).json()["items"]
        assert {template["id"] for template in templates} >= {"wedding-photos", "archive-only"}
        for template in templates:
            if template["configuration"] is None:  # For what the organisation has no location of yet.
                assert template["unmet"], template
                assert template["id"] not in ("wedding-photos", "archive-only")
                continue
            answer = await http.post(
                "/api/backup/configurations", json=template["configuration"], headers={"Idempotency-Key": new_id()}
            )
            assert answer.status_code == 201, answer.text


async def test_erased_fields_are_null(gateway: RunningGateway) -> None:
    """Destroying an organisation's key erases names and paths from every answer, and breaks no list."""
    async with gateway.http("owner") as http:
        configuration = await gateway.create_configuration(http)
        from chassis.sealing import Sealer

        Sealer(gateway.settings.keys_dir).destroy(ORGANISATION)

        async def erased() -> bool:
            listed = (await http.get("/api/backup/configurations")).json()["items"]
            return bool(listed[0]["id"] == configuration["id"] and listed[0]["name"] is None)

        await eventually(erased)


async def test_lost_keys_cost_what_they_sealed_and_are_not_made_anew(gateway: RunningGateway, tmp_path: Path) -> None:
    """Without an organisation's keys its list answers, with the fields that cannot be read; writes are refused, and
    nothing is made, also by what only reads and compares. With the copy back all reads again, without a rebuild.
    """
    keys = gateway.settings.keys_dir
    async with gateway.http("owner") as http:
        configuration = await gateway.create_configuration(http)
        await gateway.create_configuration(http, name="another page")
        place, body = f"/api/backup/configurations/{configuration['id']}", {**NEW_CONFIGURATION, "name": "another"}
        notes = (keys / "MADE").read_bytes()
        whole = f"organisations/{ORGANISATION}"
        for lost in (whole, "organisations", ".", f"{whole}/organisation"):
            (keys / lost).rename(tmp_path / "copy")
            if lost == ".":
                # An older copy of the folder, or a new one: what is in the record tells that there were keys.
                prepare_keys_folder(keys)
            elif lost.endswith("/organisation"):
                (keys / "MADE").unlink()
            left = sorted(keys.rglob("*.key"))
            listed = (await http.get("/api/backup/configurations")).json()["items"]
            assert configuration["id"] in [one["id"] for one in listed]
            assert {one["name"] for one in listed} == {None}
            assert all({"name", "sourceIdentifier"} <= set(one["unreadableFields"]) for one in listed)
            headers = {"Idempotency-Key": new_id()}
            refused = [
                await http.put(place, json=body, headers={**headers, "If-Match": '"1"'}),
                await http.post("/api/backup/configurations", json=body, headers=headers),
                await http.post("/api/backup/configurations", json={**body, "sourceLocation": "x"}, headers=headers),
            ]
            page = await http.get("/api/backup/configurations?limit=1")
            if lost.endswith("/organisation"):
                assert page.status_code == 200
            else:
                refused.append(page)
            for answer in refused:
                assert (answer.status_code, answer.json()["code"]) == (503, "keys-unusable")
                assert str(keys) not in answer.text
            assert sorted(keys.rglob("*.key")) == left
            told = {each.name: each.reason or "" for each in (await gateway.process.health.report()).checks}
            assert whole in told["keys-of-organisations"], "who has something in the record has keys"
            if lost == ".":
                assert [each.name for each in keys.iterdir()] == ["SEALING-KEYS"]
                shutil.rmtree(keys)
            elif lost.endswith("/organisation"):
                (keys / "MADE").write_bytes(notes)
            else:
                assert (keys / "MADE").read_bytes() == notes
            (tmp_path / "copy").rename(keys / lost)
            shown = (await http.get(place)).json()
            assert (shown["name"], shown["unreadableFields"]) == (configuration["name"], [])
        told = {each.name: each.status for each in (await gateway.process.health.report()).checks}
        assert told["keys-of-organisations"] == "ready"


async def test_list_of_keys_begun_anew_is_made_whole_by_the_record(gateway: RunningGateway) -> None:
    """Each key is tried on what the record has; exchanged ones are named, and nothing is sealed with them."""
    keys = gateway.settings.keys_dir
    async with gateway.http("owner") as http, gateway.http("owner", organisation="other") as theirs:
        await gateway.create_configuration(http)
        made = await theirs.post(
            "/api/backup/retention/policies",
            json={"name": "A policy alone", "keepLast": 1},
            headers={"Idempotency-Key": new_id()},
        )
        assert made.status_code == 201, made.text
        for _ in range(2):
            one, other = keys / "organisations" / ORGANISATION, keys / "organisations" / "other"
            one.rename(keys / "aside")
            other.rename(one)
            (keys / "aside").rename(other)
            if (keys / "MADE").exists():
                (keys / "MADE").unlink()
            Sealer(keys).note_found()
            told = {each.name: each for each in (await gateway.process.health.report()).checks}
            found = told["keys-of-organisations"]
            answer = await http.post(
                "/api/backup/configurations", json=NEW_CONFIGURATION, headers={"Idempotency-Key": new_id()}
            )
            if found.status == "ready":
                break
            assert all(f"organisations/{each}" in (found.reason or "") for each in (ORGANISATION, "other"))
            assert (answer.status_code, answer.json()["code"]) == (503, "keys-unusable")
            assert (await gateway.figures())["wedsync_sealing_keys_unusable"] == 2
        assert answer.status_code == 201, answer.text
        assert (await gateway.figures())["wedsync_sealing_keys_unusable"] == 0


async def test_request_that_is_refused_makes_no_keys(gateway: RunningGateway) -> None:
    """An organisation that has nothing yet gets them with the first request that is recorded."""
    keys = gateway.settings.keys_dir
    async with gateway.http("owner") as http:
        wrong = {**NEW_CONFIGURATION, "sourceLocation": "x"}
        answer = await http.post("/api/backup/configurations", json=wrong, headers={"Idempotency-Key": new_id()})
        assert (answer.status_code, problem_code(answer)) == (422, "unknown-location")
        assert [each.name for each in keys.iterdir()] == ["SEALING-KEYS"]
        await gateway.create_configuration(http)
        assert len(list(keys.rglob("*.key"))) == 2


def _json(progress: Progress) -> bytes:
    import msgspec

    return msgspec.json.encode(progress)
