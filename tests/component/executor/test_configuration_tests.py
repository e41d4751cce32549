"""Tests of configurations: what a worker finds, beside runs, in time, and leaving nothing."""

import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from chassis.claims.aside import SetAside
from chassis.claims.loop import ClaimLoop
from chassis.claims.port import Claim
from chassis.claims.table import ClaimTable
from chassis.claims.unclaimed import UnclaimedWork
from chassis.clock import SystemClock
from chassis.disk import Disk
from chassis.life.health import Health
from chassis.own_folders import OwnFolders
from contracts import errors
from contracts.configuration import Destination, Tier
from contracts.errors import PlatformError
from contracts.executor_events import ConfigurationTested, ConfigurationTestRefused
from contracts.gateway_events import ConfigurationTestRequested, LastRunSeen
from contracts.streams import STOP_WORKERS, WAKE_WORKERS
from contracts.trial import Check, EstimatedFrom, Verdict
from services.executor.adapters.looking import place as looking_place
from services.executor.adapters.looking.places import LookedAt
from services.executor.adapters.run_sources import RunSources
from services.executor.adapters.trials import TRIALS, RecordedTrials, TrialTeller
from services.executor.trials import TrialPerformance, verdict_of
from tests.component.executor.test_bucket_sources import Album
from tests.support.eventually import eventually
from tests.support.executor import CONFIGURATION, EVIDENCE, ORGANISATION, ExecutorBench, executor_bench
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer
from tests.support.s3_server import S3Server

pytestmark = pytest.mark.stack

LOCAL, SECOND = Destination(location="local", required=True), Destination(location="second")


def asked(request_id: str = "test-1", **more: object) -> ConfigurationTestRequested:
    """What the gateway asks."""
    return ConfigurationTestRequested(
        request_id=request_id,
        configuration_id=CONFIGURATION,
        configuration_version=2,
        evidence=EVIDENCE,
        **more,  # type: ignore[arg-type]  # as the event has them
    )


def looked_at(bench: ExecutorBench, reserve_bytes: int = 0) -> LookedAt:
    """What tests look at."""
    disks: dict[bytes, Disk] = {}

    def disk(folder: bytes) -> Disk:
        return disks.setdefault(folder, Disk(Path(folder.decode())))

    return LookedAt(
        locations=bench.locations,
        sources=RunSources(bench.locations, bench.sealer, bench.keys, OwnFolders([bench.keys]), disk),
        sealer=bench.sealer,
        keys_dir=bench.keys,
        disk=disk,
        reserve_bytes=reserve_bytes,
        clock=SystemClock(),
    )


def register(bench: ExecutorBench, **changes: str) -> None:
    """Let locations lie elsewhere."""
    path = bench.home / "locations.json"
    entries = json.loads(path.read_text())["locations"]
    for entry in entries:
        entry["url"] = changes.get(entry["name"], entry["url"])
    path.write_text(json.dumps({"locations": entries}))


async def perform(bench: ExecutorBench, *, reserve_bytes: int = 0) -> ConfigurationTested:
    """Have one that waits done; its answer."""
    claims = ClaimTable(TRIALS, bench.pool, bench.beats, silence_seconds=1.0)
    claim = await claims.take("w1")
    assert claim is not None
    performance = TrialPerformance(RecordedTrials(bench.store), claims, looked_at(bench, reserve_bytes))
    await performance.perform(claim, lambda: False)
    assert await claims.take("w1") is None
    (told,) = await bench.told(claim.work_id)
    assert isinstance(told, ConfigurationTested)
    return told


def of(told: ConfigurationTested, check: Check, tier: Tier | None = None) -> tuple[Verdict, str | None]:
    """What a check has found."""
    (found,) = [each for each in told.findings if each.check is check and each.tier is tier]
    assert (found.code is None) == (found.verdict is Verdict.PASS)
    assert found.verdict is Verdict.PASS or found.hint
    return found.verdict, found.code


def left(bench: ExecutorBench) -> list[str]:
    """What lies on the tiers."""
    return sorted(str(path.relative_to(bench.home)) for path in (bench.home / "tiers").rglob("*") if path.is_file())


async def test_all_that_is_well_passes_and_nothing_is_left(bench: ExecutorBench) -> None:
    """A finding for each check; the cost is counted, and its time as the latest run's."""
    (bench.source / "contract.txt").unlink()
    (bench.source / "2027").mkdir()
    (bench.source / "2027/a.jpg").write_bytes(b"x" * 3000)
    (bench.source / "b.pdf").write_bytes(b"y" * 1000)
    await bench.configure(version=2, local=LOCAL, offsite=SECOND)
    before = sorted(path.name for path in (bench.home / "tiers").rglob("*"))
    # Of workers that died: what is young may be another test's.
    old, young = (bench.home / f"tiers/local/.location-test-{each * 16}" for each in "ab")
    for left_by_others in (old, young):
        left_by_others.mkdir()
    (old / "trial-local").touch()
    os.utime(old, (1, 1))
    await bench.hear(asked(last_run=LastRunSeen(source_bytes=2000, files=1, seconds=3.0)))
    told = await perform(bench)
    assert told.verdict is Verdict.PASS, told.findings
    assert {(each.check, each.tier) for each in told.findings} == {
        (Check.SOURCE_REACHABLE, None),
        (Check.SOURCE_READABLE, None),
        (Check.KEYS_USABLE, None),
        *(
            (check, tier)
            for tier in (Tier.LOCAL, Tier.OFFSITE)
            for check in (
                *(Check.TIER_REACHABLE, Check.TIER_CREDENTIALS, Check.TIER_CLOCK, Check.TIER_SPACE),
                *(Check.TIER_WRITABLE, Check.TIER_READABLE, Check.TIER_SEPARATE),
            )
        ),
    }
    assert not old.exists()
    assert young.exists()
    young.rmdir()
    estimate = told.estimate
    assert (estimate.source_bytes, estimate.files, estimate.seconds) == (4000, 2, 6.0)
    assert estimate.estimated_from is EstimatedFrom.LOOK
    assert sorted(path.name for path in (bench.home / "tiers").rglob("*")) == before


async def test_each_thing_that_is_wrong_is_found_by_itself(bench: ExecutorBench) -> None:
    """Source, place, lock, and two names for one place; what was not looked at is undecided."""
    (bench.home / "second-name").symlink_to(bench.home / "tiers/local")
    register(bench, second=f"file://{bench.home}/second-name", third=f"file://{bench.home}/tiers/gone")
    locked = Destination(location="local", lock_days=30)
    await bench.configure(
        version=2, path="nowhere", local=locked, cloud_secondary=SECOND, offsite=Destination(location="third")
    )
    await bench.hear(asked())
    told = await perform(bench)
    assert told.verdict is Verdict.FAIL
    assert of(told, Check.SOURCE_REACHABLE) == (Verdict.FAIL, errors.SOURCE_UNREACHABLE.code)
    assert of(told, Check.SOURCE_READABLE) == (Verdict.UNDECIDED, errors.NOT_TESTED.code)
    assert of(told, Check.TIER_LOCKABLE, Tier.LOCAL) == (Verdict.FAIL, errors.LOCK_NOT_SUPPORTED.code)
    for tier in (Tier.LOCAL, Tier.CLOUD_SECONDARY):
        assert of(told, Check.TIER_SEPARATE, tier) == (Verdict.FAIL, errors.TIERS_ARE_ONE.code)
    assert of(told, Check.TIER_REACHABLE, Tier.OFFSITE) == (Verdict.FAIL, errors.TIER_UNREACHABLE.code)
    assert of(told, Check.TIER_WRITABLE, Tier.OFFSITE) == (Verdict.UNDECIDED, errors.NOT_TESTED.code)
    assert of(told, Check.TIER_SEPARATE, Tier.OFFSITE) == (Verdict.UNDECIDED, errors.NOT_TESTED.code)
    assert told.estimate.source_bytes is None
    assert left(bench) == []


async def test_room_keys_and_what_cannot_be_read_are_found(bench: ExecutorBench) -> None:
    """A key that was made and is gone, a disk that is full, a source without any file."""
    (bench.source / "contract.txt").unlink()
    await bench.configure(version=2, local=LOCAL)
    (bench.keys / "repositories").mkdir()
    (bench.keys / f"repositories/{ORGANISATION}.made").touch()
    await bench.hear(asked())
    told = await perform(bench, reserve_bytes=1 << 60)
    assert of(told, Check.TIER_SPACE, Tier.LOCAL) == (Verdict.FAIL, errors.TIER_FULL.code)
    assert of(told, Check.KEYS_USABLE) == (Verdict.FAIL, errors.KEYS_UNUSABLE.code)
    assert of(told, Check.SOURCE_READABLE) == (Verdict.UNDECIDED, errors.SOURCE_EMPTIED.code)
    # Alone it shares its place with nobody.
    assert of(told, Check.TIER_SEPARATE, Tier.LOCAL) == (Verdict.PASS, None)


async def test_tier_that_hangs_is_one_finding_and_holds_nobody(
    bench: ExecutorBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are looked at meanwhile; asked again, it costs no second thread."""
    await bench.configure(version=2, local=LOCAL, offsite=SECOND)
    goes_on = threading.Event()
    ask = Disk.answer

    def answer(self: Disk, question: Callable[[], object], *, seconds: float = 3.0) -> object:
        if self.folder.name != "second":
            return ask(self, question, seconds=seconds)
        return ask(self, lambda: goes_on.wait(60), seconds=0.2)

    monkeypatch.setattr(Disk, "answer", answer)
    at = looked_at(bench)
    await bench.hear(asked())
    claims = ClaimTable(TRIALS, bench.pool, bench.beats)
    claim = await claims.take("w1")
    assert claim is not None
    await TrialPerformance(RecordedTrials(bench.store), claims, at).perform(claim, lambda: False)
    (told,) = await bench.told("test-1")
    assert isinstance(told, ConfigurationTested)
    assert of(told, Check.TIER_REACHABLE, Tier.OFFSITE) == (Verdict.FAIL, errors.TIER_UNREACHABLE.code)
    assert [each.verdict for each in told.findings if each.tier is Tier.OFFSITE].count(Verdict.FAIL) == 1
    assert of(told, Check.TIER_READABLE, Tier.LOCAL) == (Verdict.PASS, None)
    held = [each.name for each in threading.enumerate()].count("disk")
    task = RecordedTrials(bench.store).task_of(claim)
    at.look(ORGANISATION, task)
    assert [each.name for each in threading.enumerate()].count("disk") <= held
    goes_on.set()


async def test_place_that_gives_no_answer_at_all_is_left_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check that was under way has failed, those after it are undecided, and what comes later changes nothing."""
    monkeypatch.setattr(looking_place, "PLACE_SECONDS", 0.05)
    goes_on = threading.Event()

    def hangs() -> None:
        goes_on.wait(60)

    checks = [(Check.TIER_REACHABLE, lambda: None), (Check.TIER_CLOCK, hangs), (Check.TIER_SPACE, lambda: None)]
    place = looking_place.Place(checks, "offsite", errors.TIER_UNREACHABLE, Tier.OFFSITE)
    looking_place.at_once([place.run], seconds=0.05)
    found = list(place.findings())
    goes_on.set()
    assert [each.verdict for each in found] == [Verdict.PASS, Verdict.FAIL, Verdict.UNDECIDED]
    assert [each.code for each in found] == [None, errors.TIER_UNREACHABLE.code, errors.NOT_TESTED.code]
    assert "offsite" in found[1].hint


async def test_request_is_refused_where_it_cannot_be_or_one_is_open(bench: ExecutorBench) -> None:
    """Once for each message; another organisation's configuration is as good as none."""
    await bench.configure(version=2, local=LOCAL)
    event = asked()
    await bench.hear(event, event_id="message-1")
    with suppress(Exception):
        await bench.hear(event, event_id="message-1")
    await bench.hear(asked("test-2"))
    (refused,) = await bench.told("test-2")
    assert isinstance(refused, ConfigurationTestRefused)
    assert refused.code == errors.TEST_ALREADY_OPEN.code
    await bench.hear(asked("test-3"), organisation="org-b")
    (refused,) = await bench.told("test-3")
    assert isinstance(refused, ConfigurationTestRefused)
    assert refused.code == errors.CONFIGURATION_UNKNOWN.code
    with pytest.raises(PlatformError) as waits:
        await bench.hear(
            ConfigurationTestRequested(
                request_id="test-4", configuration_id="another", configuration_version=1, evidence=EVIDENCE
            )
        )
    assert waits.value.code is errors.CONFIGURATION_NOT_SEEN_YET
    assert await bench.told("test-1") == []


async def test_worker_that_dies_leaves_it_to_another_and_it_ends_all_the_same(bench: ExecutorBench) -> None:
    """A zombie's answer does not count; after three that fell silent whoever asked is told that it was given up."""
    await bench.configure(version=2, local=LOCAL)
    await bench.hear(asked())
    claims = ClaimTable(TRIALS, bench.pool, bench.beats, silence_seconds=0.0)
    first = await claims.take("w1")
    assert first is not None
    performance = TrialPerformance(RecordedTrials(bench.store), claims, looked_at(bench))

    async def taken() -> Claim | None:
        return await claims.take("w2")

    second = await eventually(taken)
    assert second is not None
    with pytest.raises(PlatformError) as lost:
        await performance.perform(first, lambda: False)
    assert lost.value.code is errors.CLAIM_LOST
    last = second
    while last.silenced < 3:
        found = await eventually(taken)
        assert found is not None
        last = found
    await performance.perform(last, lambda: False)
    (refused,) = await bench.told("test-1")
    assert isinstance(refused, ConfigurationTestRefused)
    assert refused.code == errors.TEST_GIVEN_UP.code


async def test_worker_takes_it_beside_its_runs(bench: ExecutorBench) -> None:
    """By a loop of its own: an accepted run of the same configuration, which nobody performs, is not waited for."""
    await bench.configure(version=2, local=LOCAL)
    claims = ClaimTable(TRIALS, bench.pool, bench.beats)
    loop = ClaimLoop(
        noun=TRIALS.noun,
        claims=claims,
        performer=TrialPerformance(RecordedTrials(bench.store), claims, looked_at(bench)),
        connection=bench.connection,
        wake=WAKE_WORKERS,
        stop=STOP_WORKERS,
        worker="w1",
        slots=1,
        beat_seconds=0.1,
        set_aside=SetAside(Health("worker"), noun=TRIALS.noun),
    )
    await loop.start()
    try:
        await bench.hear(asked())
        (told,) = await eventually(lambda: bench.told("test-1"))
    finally:
        await loop.stop()
    assert isinstance(told, ConfigurationTested)
    assert told.verdict is Verdict.PASS


async def test_bucket_is_looked_at_as_source_and_as_tier(
    tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer, s3_server: S3Server
) -> None:
    """One that locks, one that does not, one that is the same twice; credentials that are not taken; nothing stays."""
    async with executor_bench(tmp_path, postgres, nats_server) as bench:
        album = Album(bench, s3_server)
        album.put("a.jpg", b"x" * 1500)
        album.put("b.jpg", b"y" * 500)
        album.register("plain", "tier", f"{album.prefix}-tier")
        album.register("again", "tier", f"{album.prefix}-tier")
        tiers = {"cloud_primary": Destination(location="plain", lock_days=3), "offsite": Destination(location="again")}
        await bench.configure(version=2, bucket="album", **tiers)
        await bench.hear(asked())
        told = await perform(bench)
        assert of(told, Check.SOURCE_CREDENTIALS) == (Verdict.PASS, None)
        assert of(told, Check.SOURCE_READABLE) == (Verdict.PASS, None)
        assert (told.estimate.source_bytes, told.estimate.files) == (2000, 2)
        assert of(told, Check.TIER_WRITABLE, Tier.OFFSITE) == (Verdict.PASS, None)
        assert of(told, Check.TIER_CLOCK, Tier.OFFSITE) == (Verdict.PASS, None)
        assert of(told, Check.TIER_SPACE, Tier.OFFSITE) == (Verdict.UNDECIDED, errors.NOT_TESTED.code)
        assert of(told, Check.TIER_LOCKABLE, Tier.CLOUD_PRIMARY) == (Verdict.FAIL, errors.LOCK_NOT_SUPPORTED.code)
        for tier in (Tier.CLOUD_PRIMARY, Tier.OFFSITE):
            assert of(told, Check.TIER_SEPARATE, tier) == (Verdict.FAIL, errors.TIERS_ARE_ONE.code)
        rest = tuple(each for each in told.findings if each.verdict is not Verdict.FAIL)
        assert verdict_of(rest) is Verdict.PASS
        kept = album.client.list_objects_v2(Bucket=album.bucket, Prefix=f"{album.prefix}-tier")
        assert kept["KeyCount"] == 0

        wrong = json.loads(album.credentials.read_text()) | {"secretAccessKey": "x" * 40}
        album.credentials.write_text(json.dumps(wrong))
        await bench.hear(asked("test-2"))
        told = await perform(bench)
        assert of(told, Check.SOURCE_CREDENTIALS) == (Verdict.FAIL, errors.LOCATION_ACCESS_DENIED.code)
        assert of(told, Check.TIER_CREDENTIALS, Tier.OFFSITE) == (Verdict.FAIL, errors.LOCATION_ACCESS_DENIED.code)
        assert of(told, Check.TIER_WRITABLE, Tier.OFFSITE) == (Verdict.UNDECIDED, errors.NOT_TESTED.code)
        album.credentials.unlink()
        await bench.hear(asked("test-3"))
        told = await perform(bench)
        assert of(told, Check.SOURCE_CREDENTIALS) == (Verdict.FAIL, errors.LOCATION_UNUSABLE.code)
        assert told.verdict is Verdict.FAIL


async def test_request_that_no_worker_takes_is_refused_soon(bench: ExecutorBench) -> None:
    """Nobody waits for ever: by the code, and another may be asked for then."""
    await bench.configure(version=2, local=LOCAL)
    await bench.hear(asked())
    teller = TrialTeller(RecordedTrials(bench.store), actor="service:executor")
    unclaimed = UnclaimedWork(TRIALS, bench.pool, teller, bound_seconds=0.0, look_seconds=0.02, told_seconds=0.0)
    await unclaimed.start()
    try:
        (refused,) = await eventually(lambda: bench.told("test-1"))
    finally:
        await unclaimed.stop()
    assert isinstance(refused, ConfigurationTestRefused)
    assert (refused.code, refused.configuration_id) == (errors.NO_WORKER.code, CONFIGURATION)
    await bench.hear(asked("test-2"))
    assert (await perform(bench)).request_id == "test-2"
