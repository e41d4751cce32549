"""Runs from the request to the end, on real Postgres, real NATS and real repositories."""

import asyncio
import json
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from chassis.claims.port import GIVEN_BACK_MAX, Claim
from chassis.life.blocking import RunInterrupted
from chassis.life.signs import Signs
from chassis.record.eventstore import AlreadyHandled
from contracts import errors
from contracts.configuration import Destination, Tier
from contracts.errors import PlatformError
from contracts.executor_events import (
    BackupAccepted,
    BackupCompleted,
    BackupFailed,
    BackupPreparing,
    BackupRefused,
    TierFailed,
)
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.restore.restore import restore
from repository.stored.tree import Row
from repository.tiers.location import open_tier
from services.executor.adapters.begun import BegunRepositories
from services.executor.adapters.tables import SealedReports
from services.executor.errors import ClaimLost
from services.executor.kept import Replica
from services.executor.policies import DELIVERIES_BEFORE_REFUSAL
from services.executor.ports import BackupOutcome, OpenBackup, ProgressReport, SealedReport
from sources.directory import Directory
from tests.support.eventually import eventually
from tests.support.executor import ORGANISATION, ExecutorBench, executor_bench
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer
from vault.key_files import RepositoryKeys

pytestmark = pytest.mark.stack

WHOLE_LIFE = ["backup-accepted", "backup-preparing", "backup-uploading", "tier-uploaded", "backup-verifying"]


@pytest.fixture
async def bench(tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer) -> AsyncIterator[ExecutorBench]:
    async with executor_bench(tmp_path, postgres, nats_server) as bench:
        (bench.source / "contract.txt").write_text("between A and B " * 1000)
        (bench.source / "photo.jpg").write_bytes(bytes(range(256)) * 4096)
        yield bench


async def perform_next(bench: ExecutorBench, worker: str = "w1", *, given_back: int = 0, **arguments: object) -> Claim:
    claim = await bench.claims.take(worker)
    assert claim is not None
    claim = msgspec.structs.replace(claim, troubles=given_back)
    await bench.performance(**arguments).perform(claim, lambda: False)  # type: ignore[arg-type]
    return claim


async def test_run_is_told_step_by_step_and_restores(bench: ExecutorBench) -> None:
    """A run's events say what happened in order, and the snapshot that they name is on the tier."""
    await bench.configure(local=Destination(location="local", required=True))
    await bench.request("run-1")
    await perform_next(bench)
    assert await bench.names("run-1") == [*WHOLE_LIFE, "backup-completed"]
    completed = (await bench.told("run-1"))[-1]
    assert isinstance(completed, BackupCompleted)
    assert not completed.degraded
    assert completed.verified == (Tier.LOCAL,)
    assert completed.totals.files == 2
    key = KeyFile.load(bench.keys / "repositories" / f"{ORGANISATION}.key")
    with Repository.open([open_tier(f"file://{bench.tier('local')}")], key) as repository:
        assert [snapshot.id for snapshot in repository.snapshots()] == [completed.snapshot_id]
    assert await bench.claims.take("w2") is None


async def test_redelivered_request_is_recognised(bench: ExecutorBench) -> None:
    """The same message twice is one run."""
    await bench.configure(local=Destination(location="local"))
    await bench.request("run-1", event_id="event-1")
    with pytest.raises(AlreadyHandled):
        await bench.request("run-1", event_id="event-1")
    assert await bench.names("run-1") == ["backup-accepted"]


async def test_request_waits_for_its_configuration_then_is_refused(bench: ExecutorBench) -> None:
    """What names a configuration that never arrives is refused in the record, not dropped."""
    with pytest.raises(PlatformError) as waiting:
        await bench.request("run-1")
    assert waiting.value.code is errors.CONFIGURATION_NOT_SEEN_YET
    await bench.request("run-1", deliveries=DELIVERIES_BEFORE_REFUSAL)
    (refused,) = await bench.told("run-1")
    assert isinstance(refused, BackupRefused)
    assert refused.code == "configuration-unknown"
    assert await bench.claims.take("w1") is None


async def test_versions_of_a_configuration_that_come_out_of_order_leave_the_newest_in_force(
    bench: ExecutorBench,
) -> None:
    """With a version left out or late, a request waits for no older one than it names, and gets no older one."""
    await bench.configure(version=1, local=Destination(location="local"))
    with pytest.raises(PlatformError) as waiting:
        await bench.request("run-7", version=7)
    assert waiting.value.code is errors.CONFIGURATION_NOT_SEEN_YET
    await bench.configure(version=7, local=Destination(location="second"))
    await bench.configure(version=6, local=Destination(location="local"))
    await bench.request("run-7", version=7)
    with pytest.raises(PlatformError):
        await bench.request("run-8", version=8)
    # What was accepted is what is run, whatever is in force by then.
    await bench.configure(version=8, local=Destination(location="local"))
    await perform_next(bench)
    accepted, *_, last = await bench.told("run-7")
    assert isinstance(accepted, BackupAccepted)
    assert (accepted.configuration_version, last.NAME) == (7, BackupCompleted.NAME)
    assert bench.tier("second").exists()
    assert not bench.tier("local").exists()


async def test_second_run_finds_everything_there(bench: ExecutorBench) -> None:
    """A source that has not changed adds no bytes of its own, and its size was estimated by the run before."""
    await bench.configure(local=Destination(location="local"))
    totals, estimates = [], []
    for run in ("run-1", "run-2"):
        await bench.request(run)
        await perform_next(bench)
        accepted, *_, completed = await bench.told(run)
        assert isinstance(accepted, BackupAccepted)
        assert isinstance(completed, BackupCompleted)
        totals.append(completed.totals)
        estimates.append(accepted.size_estimate_bytes)
    assert estimates == [None, totals[0].source_bytes]
    assert totals[0].new_bytes > 0
    assert totals[1].new_bytes == 0
    assert totals[1].source_bytes == totals[0].source_bytes


async def test_tier_that_is_not_required_and_away_degrades_the_run_and_is_caught_up_by_the_next(
    bench: ExecutorBench,
) -> None:
    """A dead tier is owed a catch-up; the next run that finds it alive pays."""
    folder = bench.home / "tiers" / "second"
    folder.rmdir()
    folder.write_text("in the way")
    await bench.configure(
        local=Destination(location="local", required=True), cloud_primary=Destination(location="second")
    )
    await bench.request("run-1")
    await perform_next(bench)
    events = await bench.told("run-1")
    assert [event.tier for event in events if isinstance(event, TierFailed)] == [Tier.CLOUD_PRIMARY]
    completed = events[-1]
    assert isinstance(completed, BackupCompleted)
    assert completed.degraded
    assert [owed.tier for owed in completed.catch_ups] == [Tier.CLOUD_PRIMARY]
    folder.unlink()
    folder.mkdir()
    await bench.request("run-2")
    await perform_next(bench)
    completed = (await bench.told("run-2"))[-1]
    assert isinstance(completed, BackupCompleted)
    assert not completed.degraded
    key = KeyFile.load(bench.keys / "repositories" / f"{ORGANISATION}.key")
    with Repository.open([open_tier(f"file://{bench.tier('second')}")], key) as repository:
        assert len(repository.snapshots()) == 2


async def test_required_tier_that_is_away_fails_the_run(bench: ExecutorBench) -> None:
    """A run without its required tier ends as failed, with the tier and what to do."""
    folder = bench.home / "tiers" / "second"
    folder.rmdir()
    folder.write_text("in the way")
    await bench.configure(local=Destination(location="local"), offsite=Destination(location="second", required=True))
    await bench.request("run-1")
    await perform_next(bench)
    failed = (await bench.told("run-1"))[-1]
    assert isinstance(failed, BackupFailed)
    assert failed.code == "required-tier-failed"
    assert failed.tier is Tier.OFFSITE
    assert failed.hint
    assert await bench.claims.take("w2") is None


async def test_source_that_is_gone_fails_the_run(bench: ExecutorBench) -> None:
    """A run without a source ends as failed instead of saving an empty folder."""
    await bench.configure(local=Destination(location="local"))
    await bench.request("run-1")
    for path in bench.source.iterdir():
        path.unlink()
    bench.source.rmdir()
    await perform_next(bench)
    failed = (await bench.told("run-1"))[-1]
    assert isinstance(failed, BackupFailed)
    assert failed.code == "source-unreachable"


@pytest.mark.parametrize("inside", ["keys", "keys/below", "tiers/third", "tiers/local/org-b"])
async def test_source_within_the_platforms_own_folders_fails_the_run(bench: ExecutorBench, inside: str) -> None:
    """No organisation backs up the keys of all, nor a tier: not through a symlink that is the source either."""
    (bench.home / inside).mkdir(parents=True, exist_ok=True)
    await bench.configure(local=Destination(location="local"))
    await bench.request("run-1")
    bench.source.rename(bench.home / "photos")
    bench.source.symlink_to(bench.home / inside)
    await perform_next(bench)
    failed = (await bench.told("run-1"))[-1]
    assert isinstance(failed, BackupFailed)
    assert failed.code == "source-excluded"
    assert not bench.tier("local").exists()


async def test_no_new_key_is_made_for_an_existing_repository(bench: ExecutorBench) -> None:
    """When the key file is gone the run fails; a second key would begin a history that nobody asked for."""
    await bench.configure(local=Destination(location="local"))
    await bench.request("run-1")
    await perform_next(bench)
    key = bench.keys / "repositories" / f"{ORGANISATION}.key"
    begun = BegunRepositories(bench.pool)
    keys = RepositoryKeys(bench.keys, begun.organisations)
    assert keys.unusable(await begun.organisations()) == []
    key.rename(key.with_suffix(".away"))
    assert keys.unusable(await begun.organisations()) == [f"repositories/{ORGANISATION}.key"]
    await bench.request("run-2")
    await perform_next(bench, given_back=GIVEN_BACK_MAX)
    failed = (await bench.told("run-2"))[-1]
    assert isinstance(failed, BackupFailed)
    assert failed.code == "keys-unusable"
    assert not key.exists()


async def test_link_that_is_put_in_the_sources_place_is_never_followed(bench: ExecutorBench) -> None:
    """What a tenant does in its own folders after the look at its source's path leads to nobody else's folder."""
    source, other = bench.source / "albums", bench.home / "of another organisation"
    source.mkdir()
    (source / "mine.jpg").write_text("mine")
    other.mkdir()
    (other / "contract.pdf").write_text("not yours")

    def put_a_link() -> None:
        source.rename(bench.source / "albums.old")
        source.symlink_to(other)

    await bench.configure(path="albums", local=Destination(location="local"))
    await bench.request("run-1")
    await perform_next(bench, data_plane=Meanwhile(bench, put_a_link))
    failed = (await bench.told("run-1"))[-1]
    assert isinstance(failed, BackupFailed)
    assert failed.code == "source-unreachable"
    key = KeyFile.load(bench.keys / "repositories" / f"{ORGANISATION}.key")
    with Repository.open([open_tier(f"file://{bench.tier('local')}")], key) as repository:
        assert not repository.snapshots()


async def test_silent_workers_run_is_taken_over_under_a_higher_fence(bench: ExecutorBench) -> None:
    """A worker that died leaves a claim that falls silent; what it still wants to record does not count."""
    await bench.configure(local=Destination(location="local"))
    await bench.request("run-1")
    dead = await bench.claims.take("dead")
    assert dead is not None
    assert await bench.claims.take("w2") is None
    claim = await eventually(lambda: bench.claims.take("w2"))
    assert claim is not None
    assert (claim.work_id, claim.fence) == ("run-1", dead.fence + 1)
    assert await bench.claims.beat([dead]) == frozenset()
    assert await bench.claims.beat([claim]) == {"run-1"}
    await bench.performance().perform(claim, lambda: False)
    with pytest.raises(PlatformError):
        await bench.performance().perform(dead, lambda: False)
    assert (await bench.names("run-1")).count("backup-completed") == 1


class Interrupted(OpenBackup):
    """The real backup of a worker that is slower than its claim: a successor finishes in between."""

    def __init__(self, inner: OpenBackup, meanwhile: Callable[[], None]) -> None:
        self._inner = inner
        self._meanwhile = meanwhile

    def copy(
        self,
        *,
        on_begin: Callable[[], None],
        on_progress: Callable[[ProgressReport], None],
        is_cancelled: Callable[[], bool],
    ) -> BackupOutcome:
        on_begin()
        self._meanwhile()
        return self._inner.copy(on_begin=on_begin, on_progress=on_progress, is_cancelled=is_cancelled)

    def verify(self, outcome: BackupOutcome, tier: Tier) -> str | None:
        return self._inner.verify(outcome, tier)

    def close(self) -> None:
        self._inner.close()


class Meanwhile:
    """A data plane in which something happens between opening and copying."""

    def __init__(self, bench: ExecutorBench, happens: Callable[[], None]) -> None:
        self._plane = bench.data_plane()
        self._happens = happens

    def open(self, claim: Claim, configuration: Replica, signs: Signs, on_leased: Callable[[], None]) -> OpenBackup:
        return Interrupted(self._plane.open(claim, configuration, signs, on_leased), self._happens)


async def test_zombie_and_successor_commit_one_snapshot(bench: ExecutorBench) -> None:
    """The run's id is the snapshot's token: a second commit of it gives the first one back."""
    await bench.configure(local=Destination(location="local"))
    await bench.request("run-1")
    loop = asyncio.get_running_loop()
    zombie = await bench.claims.take("zombie")
    assert zombie is not None

    async def take_over() -> None:
        claim = await eventually(lambda: bench.claims.take("w2"))
        assert claim is not None
        await bench.performance().perform(claim, lambda: False)

    def happens() -> None:
        asyncio.run_coroutine_threadsafe(take_over(), loop).result(30)

    with pytest.raises(PlatformError):
        await bench.performance(Meanwhile(bench, happens)).perform(zombie, lambda: False)
    assert (await bench.names("run-1")).count("backup-completed") == 1
    key = KeyFile.load(bench.keys / "repositories" / f"{ORGANISATION}.key")
    with Repository.open([open_tier(f"file://{bench.tier('local')}")], key) as repository:
        assert len(repository.snapshots()) == 1


async def test_report_of_a_zombie_does_not_take_the_place_of_its_successors(bench: ExecutorBench) -> None:
    """Who may not record the run's end keeps no report of it either: the event's digest is of what is kept."""
    os.mkfifo(bench.source / "a fifo")
    await bench.configure(local=Destination(location="local"))
    await bench.request("run-1")
    loop = asyncio.get_running_loop()
    zombie = await bench.claims.take("zombie")
    assert zombie is not None

    async def take_over() -> None:
        claim = await eventually(lambda: bench.claims.take("w2"))
        await bench.performance().perform(claim, lambda: False)

    def happens() -> None:
        asyncio.run_coroutine_threadsafe(take_over(), loop).result(60)
        raise PlatformError(errors.SOURCE_UNREACHABLE, "the zombie's disk has come back with an error")

    with pytest.raises(PlatformError):
        await bench.performance(Meanwhile(bench, happens)).perform(zombie, lambda: False)
    completed = (await bench.told("run-1"))[-1]
    assert isinstance(completed, BackupCompleted)
    async with bench.pool.connection() as connection:
        kept = await (await connection.execute("SELECT digest FROM run_reports")).fetchall()
    assert kept == [(completed.report_digest,)]


async def test_interrupted_run_is_given_back_and_finished_by_the_next_worker(bench: ExecutorBench) -> None:
    """A graceful stop costs nothing but the time until the next worker looks."""
    await bench.configure(local=Destination(location="local"))
    entered = threading.Event()
    release = threading.Event()

    def happens() -> None:
        entered.set()
        release.wait(60)

    first = bench.loop("w1", data_plane=Meanwhile(bench, happens))
    await first.start()
    await bench.request("run-1")
    await eventually(entered.is_set)
    stopping = asyncio.create_task(first.stop())
    await asyncio.sleep(0)
    release.set()
    await stopping
    assert "backup-completed" not in await bench.names("run-1")
    second = bench.loop("w2")
    await second.start()
    await eventually(lambda: _has_ended(bench, "run-1"))
    await second.stop()
    fences = [event.fence for event in await bench.told("run-1") if isinstance(event, BackupPreparing)]
    assert fences == [1, 2]


async def _has_ended(bench: ExecutorBench, run_id: str) -> bool:
    return (await bench.names(run_id))[-1] in {"backup-completed", "backup-failed"}


async def test_worker_takes_no_more_runs_than_it_has_slots(bench: ExecutorBench) -> None:
    """Ten runs and two slots: all end, at most two at a time."""
    for number in range(10):
        await bench.configure(configuration_id=f"configuration-{number}", local=Destination(location="local"))
    running, most, lock = [0], [0], threading.Lock()

    def happens() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.02)
        with lock:
            running[0] -= 1

    loop = bench.loop("w1", slots=2, data_plane=Meanwhile(bench, happens))
    for number in range(10):
        await bench.request(f"run-{number}", configuration_id=f"configuration-{number}")
    await loop.start()
    for number in range(10):
        await eventually(lambda number=number: _has_ended(bench, f"run-{number}"))  # type: ignore[misc]
    assert await loop.check() is None
    await loop.stop()
    assert most[0] <= 2


async def test_unreadable_files_are_reported_under_seal(bench: ExecutorBench, tmp_path: Path) -> None:
    """A file that cannot be taken as it is goes into a sealed report, whose digest the event carries."""
    os.mkfifo(bench.source / "a fifo")
    await bench.configure(local=Destination(location="local"))
    await bench.request("run-1")
    await perform_next(bench)
    completed = (await bench.told("run-1"))[-1]
    assert isinstance(completed, BackupCompleted)
    assert completed.report_digest is not None
    async with bench.pool.connection() as connection:
        row = await (await connection.execute("SELECT digest, body FROM run_reports")).fetchone()
    assert row is not None
    assert row[0] == completed.report_digest
    assert b"a fifo" not in bytes(row[1])
    opened = await SealedReports(bench.sealer).open(ORGANISATION, row[0], bytes(row[1]))
    assert json.loads(opened)["files"] == [{"path": "a fifo", "reason": "special"}]


@pytest.mark.parametrize("fault", [{}, {"credentials": "team b"}])
async def test_folder_that_is_left_out_is_told(bench: ExecutorBench, fault: dict[str, str]) -> None:
    """A tier inside a source takes what lies there out of the backups, by a faulty entry, too: the run counts it."""
    registry = json.loads((bench.home / "locations.json").read_bytes())
    inside = {"name": "inside", "kind": "directory", "roles": ["tier"], "organisations": ["*"]}
    (bench.source / "disk").mkdir()
    (bench.source / "disk" / "photo").write_bytes(b"not in the backup")
    registry["locations"].append({**inside, **fault, "url": f"file://{bench.source}/disk"})
    (bench.home / "locations.json").write_text(json.dumps(registry))
    await bench.configure(local=Destination(location="local"))
    await bench.request("run-1")
    await perform_next(bench)
    completed = (await bench.told("run-1"))[-1]
    assert isinstance(completed, BackupCompleted)
    assert (completed.totals.left_out_folders, completed.totals.unreadable_files) == (1, 0)
    assert (completed.degraded, completed.report_digest is not None) == (False, True)


async def test_backup_that_is_on_its_tier_is_no_failure_where_its_report_cannot_be_sealed(bench: ExecutorBench) -> None:
    """The keys' disk falls silent at the end: the run is completed, degraded, and has no report."""

    class Unsealed:
        async def seal(self, organisation: str, report: bytes, *, subject: str | None = None) -> SealedReport:
            assert b"a fifo" in report
            raise PlatformError(errors.KEYS_UNUSABLE, "the disk of the sealing keys does not answer")

    os.mkfifo(bench.source / "a fifo")
    await bench.configure(local=Destination(location="local"))
    await bench.request("run-1")
    await perform_next(bench, reports=Unsealed())
    completed = (await bench.told("run-1"))[-1]
    assert isinstance(completed, BackupCompleted)
    assert (completed.degraded, completed.report_digest) == (True, None)
    assert completed.verified == (Tier.LOCAL,)


@pytest.mark.parametrize("is_root_lost", [False, True])
async def test_source_that_is_lost_while_it_is_read_is_no_whole_backup(
    bench: ExecutorBench, monkeypatch: pytest.MonkeyPatch, is_root_lost: bool
) -> None:
    """Half of the photos vanish: the run is degraded and says why. Their root vanishes: the run fails."""
    for number in range(8):
        (bench.source / f"photo {number}").write_bytes(b"%d" % number)
    before = Directory.read_small

    def read_small(self: Directory, name: bytes, row: Row) -> object:
        if name == b"photo 4":
            for number in range(4, 8):
                (bench.source / f"photo {number}").unlink()
            if is_root_lost:
                shutil.rmtree(bench.source)
        return before(self, name, row)

    monkeypatch.setattr(Directory, "read_small", read_small)
    await bench.configure(local=Destination(location="local"))
    await bench.request("run-1")
    await perform_next(bench)
    last = (await bench.told("run-1"))[-1]
    if is_root_lost:
        assert isinstance(last, BackupFailed)
        assert last.code == "source-unreachable"
        return
    assert isinstance(last, BackupCompleted)
    assert (last.degraded, last.code, last.catch_ups) == (True, "source-incomplete", ())
    assert last.totals.unreadable_files == 4
    assert last.report_digest is not None


async def test_source_that_was_emptied_is_told_until_it_holds_a_file(bench: ExecutorBench) -> None:
    """A disk that is not mounted is no backup, neither in the first night nor in the second."""
    await bench.configure(local=Destination(location="local"))
    saved = list(bench.source.iterdir()) or [bench.source / "photo"]
    saved[0].write_bytes(b"a photo")
    for run, code in (("run-1", None), ("run-2", "source-emptied"), ("run-3", "source-emptied"), ("run-4", None)):
        await bench.request(run)
        await perform_next(bench)
        last = (await bench.told(run))[-1]
        assert isinstance(last, BackupCompleted)
        assert (last.code, last.degraded) == (code, code is not None)
        shutil.rmtree(bench.source)
        bench.source.mkdir()
        if run == "run-3":
            (bench.source / "empty on purpose").touch()


async def test_claim_lost_on_the_way_interrupts_the_copy(bench: ExecutorBench) -> None:
    """A worker whose claim is another's stops reading."""
    await bench.configure(local=Destination(location="local"))
    await bench.request("run-1")
    claim = await bench.claims.take("w1")
    assert claim is not None
    with pytest.raises(RunInterrupted):
        await bench.performance().perform(claim, lambda: True)


async def test_end_that_another_worker_has_passed_is_not_recorded(bench: ExecutorBench) -> None:
    """Closing a claim and recording the end are one: with a passed fence neither happens."""
    await bench.configure(local=Destination(location="local"))
    await bench.request("run-1")
    claim = await bench.claims.take("w1")
    assert claim is not None

    loop = asyncio.get_running_loop()

    async def pass_the_fence() -> None:
        async with bench.pool.connection() as connection:
            await connection.execute("UPDATE run_claims SET fence = fence + 1 WHERE run_id = 'run-1'")

    def passed() -> None:
        asyncio.run_coroutine_threadsafe(pass_the_fence(), loop).result(10)

    with pytest.raises(ClaimLost):
        await bench.performance(Meanwhile(bench, passed)).perform(claim, lambda: False)
    assert "backup-completed" not in await bench.names("run-1")


async def test_what_a_configuration_excludes_is_not_backed_up(bench: ExecutorBench) -> None:
    """By patterns, the last of which decides, and by the tag of caches; the rest is."""
    (bench.source / "cache").mkdir()
    (bench.source / "cache/CACHEDIR.TAG").write_bytes(b"Signature: 8a477f597d28d172789f06886806bc55")
    (bench.source / "cache/preview").touch()
    for name in ("a.tmp", "keep.tmp"):
        (bench.source / name).touch()
    await bench.configure(exclude="*.tmp\n!keep.tmp", local=Destination(location="local", required=True))
    await bench.request("run-1")
    await perform_next(bench)
    assert isinstance((await bench.told("run-1"))[-1], BackupCompleted)
    key = KeyFile.load(bench.keys / "repositories" / f"{ORGANISATION}.key")
    with Repository.open([open_tier(f"file://{bench.tier('local')}")], key) as repository:
        (snapshot,) = repository.snapshots()
        restore(repository, snapshot, str(bench.home / "back"))
    back = bench.home / "back"
    found = {str(path.relative_to(back)) for path in back.rglob("*")}
    assert found == {"contract.txt", "photo.jpg", "keep.tmp", "cache", "cache/CACHEDIR.TAG"}
