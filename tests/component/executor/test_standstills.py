"""Runs whose disk never answers: ended in time, told meanwhile, and no burden to the organisation's other runs."""

import asyncio
import os
import threading

import psycopg
import pytest

from chassis.claims.aside import SetAside
from chassis.claims.port import GIVEN_BACK_MAX
from chassis.life.blocking import RunInterrupted
from chassis.life.health import Finding, Health
from chassis.life.signs import Signs
from chassis.life.standstills import Standstills
from contracts import errors
from contracts.configuration import Destination, Tier
from contracts.executor_events import BackupCompleted, BackupFailed, BackupRequeued
from repository.errors import TierUnreachable
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.stored.memory_budget import MemoryShare
from repository.tiers.location import open_tier
from services.executor.adapters.tables import ReplicaTable
from tests.component.executor.test_runs import Meanwhile, perform_next
from tests.component.executor.test_worker import Opening
from tests.support.eventually import eventually
from tests.support.executor import CONFIGURATION, ORGANISATION, ExecutorBench
from tests.support.hung_disk import hung_disk
from vault.places import Place, without_silent
from vault.stores import tier_store

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

SOON = {errors.SOURCE_UNREACHABLE: 0.3, errors.TIER_UNREACHABLE: 30.0}


async def _last(bench: ExecutorBench, run_id: str) -> BackupCompleted | BackupFailed | None:
    last = (await bench.told(run_id))[-1]
    return last if isinstance(last, BackupCompleted | BackupFailed) else None


async def test_run_whose_source_never_answers_ends_and_the_organisations_others_go_on(bench: ExecutorBench) -> None:
    """The call that hangs is left behind in its thread; what it does when it comes back is nothing."""
    answers = threading.Event()
    calls: list[None] = []

    def happens() -> None:
        calls.append(None)
        if len(calls) == 1:
            answers.wait(60)

    loop = bench.loop("w1", data_plane=Opening(bench, happens), open_seconds=SOON)
    await bench.configure(configuration_id="configuration-2", local=Destination(location="local"))
    await bench.request("run-2", configuration_id="configuration-2")
    await loop.start()
    try:
        failed = await eventually(lambda: _last(bench, "run-1"))
        assert isinstance(failed, BackupFailed)
        assert failed.code == "source-unreachable"
        assert isinstance(await eventually(lambda: _last(bench, "run-2")), BackupCompleted)
    finally:
        answers.set()
        await loop.stop()


async def test_run_whose_source_lies_on_a_disk_that_hangs_fails_as_such(bench: ExecutorBench) -> None:
    """The first look at the folder never comes back, and the run ends all the same."""
    with hung_disk(bench.source):
        await perform_next(bench, open_seconds=SOON)
        failed = await _last(bench, "run-1")
    assert isinstance(failed, BackupFailed)
    assert failed.code == "source-unreachable"


@pytest.mark.slow
async def test_run_goes_to_the_tiers_whose_disks_answer(bench: ExecutorBench) -> None:
    """An optional tier whose disk hangs costs its patience, and is owed a catch-up."""
    await bench.configure(
        configuration_id="configuration-2",
        local=Destination(location="local", required=True),
        offsite=Destination(location="second"),
    )
    await perform_next(bench)
    await bench.request("run-2", configuration_id="configuration-2")
    with hung_disk(bench.home / "tiers" / "second"):
        await perform_next(bench)
        completed = await _last(bench, "run-2")
    assert isinstance(completed, BackupCompleted)
    assert [(owed.tier, owed.code) for owed in completed.catch_ups] == [(Tier.OFFSITE, "tier-unreachable")]


async def test_run_that_makes_no_progress_degrades_the_worker_until_it_does(bench: ExecutorBench) -> None:
    """Readiness names the run, the step and the place; the run goes on when the place answers."""
    answers, health = threading.Event(), Health("worker")
    loop = bench.loop(
        "w1",
        data_plane=Meanwhile(bench, lambda: answers.wait(60) and None),
        standstills=Standstills(health, after_seconds=0.2),
    )
    await loop.start()

    async def finding() -> Finding | None:
        return next((check for check in (await health.report()).checks if check.name == "run run-1"), None)

    try:
        found = await eventually(finding)
        assert found is not None
        assert (found.status, found.code) == ("degraded", "source-unreachable")
        assert "backing up, the source at photos" in (found.reason or "")
        answers.set()
        assert isinstance(await eventually(lambda: _last(bench, "run-1")), BackupCompleted)

        async def is_over() -> bool:
            return await finding() is None

        await eventually(is_over)
    finally:
        answers.set()
        await loop.stop()


async def test_run_that_gives_no_sign_is_let_go_and_commits_nothing(bench: ExecutorBench) -> None:
    """Its slot is free for others; what was left behind finds out when its disk answers, and no tier has half of it."""
    answers = threading.Event()
    waited: list[None] = []

    def hang() -> None:
        waited.append(None)
        if len(waited) == 1:
            answers.wait(120)

    loop = bench.loop("w1", data_plane=Meanwhile(bench, hang), leave_seconds=0.5)
    await bench.configure(configuration_id="configuration-2", local=Destination(location="local"))
    await bench.request("run-2", configuration_id="configuration-2")
    await loop.start()
    try:
        failed = await eventually(lambda: _last(bench, "run-1"))
        assert isinstance(failed, BackupFailed)
        assert failed.code == "source-unreachable"
        assert isinstance(await eventually(lambda: _last(bench, "run-2")), BackupCompleted)
        answers.set()
        await eventually(lambda: all(thread.name != "run-call" for thread in threading.enumerate()))
    finally:
        answers.set()
        await loop.stop()
    key = KeyFile.load(bench.keys / "repositories" / f"{ORGANISATION}.key")
    with Repository.open([open_tier(f"file://{bench.tier('local')}")], key) as repository:
        (snapshot,) = repository.snapshots()
        assert snapshot.manifest.run_token == "run-2"


async def test_run_that_waits_for_memory_says_so_and_is_given_back_at_last(bench: ExecutorBench) -> None:
    """It is no run that reads: not in the record, not by its worker, and its slot is not held by it for ever."""
    health, plane = Health("worker"), bench.data_plane()
    memory = plane._repositories._workshop.memory
    others = MemoryShare(memory, memory.total)
    assert memory.try_admit([others])
    loop = bench.loop("w1", data_plane=plane, standstills=Standstills(health, after_seconds=0.2), leave_seconds=2.0)
    await loop.start()

    async def finding() -> Finding | None:
        # A busy machine may stand still before that for as long.
        checks = (await health.report()).checks
        return next((each for each in checks if (each.name, each.code) == ("run run-1", "memory-taken")), None)

    async def given_back() -> BackupRequeued | None:
        return next((each for each in await bench.told("run-1") if isinstance(each, BackupRequeued)), None)

    try:
        found = await eventually(finding)
        assert found is not None
        assert found.status == "degraded"
        assert "waiting for memory, the worker's other runs" in (found.reason or "")
        assert "WEDSYNC_WORKER_MEMORY_MB" in (found.hint or "")
        told = await eventually(given_back)
        assert told is not None
        assert told.code == "memory-taken"
        assert "backup-uploading" not in await bench.names("run-1")
    finally:
        await loop.stop()
    others.close()
    await perform_next(bench, data_plane=plane)
    assert isinstance(await _last(bench, "run-1"), BackupCompleted)
    assert "backup-uploading" in await bench.names("run-1")


async def test_run_that_this_build_cannot_read_is_set_aside_and_taken_up_again(bench: ExecutorBench) -> None:
    """It goes round for nobody: others go on, readiness says which it is, and it is performed once it can be read."""
    await bench.configure(configuration_id="configuration-2", local=Destination(location="local"))
    await bench.request("run-2", configuration_id="configuration-2")
    health = Health("worker")
    loop = bench.loop("w1", set_aside=SetAside(health, noun="run"))
    replace = (
        f"UPDATE {bench.access.schema}.stored_events"
        " SET state = convert_to(replace(convert_from(state, 'UTF8'), %s, %s), 'UTF8') WHERE originator_id = 'run-1'"
    )
    with psycopg.connect(bench.access.admin_dsn, autocommit=True) as admin:
        admin.execute(replace, ("backup-accepted.v1", "backup-accepted.v9"))
        await loop.start()
        try:
            assert isinstance(await eventually(lambda: _last(bench, "run-2")), BackupCompleted)

            async def finding() -> Finding | None:
                return next((each for each in (await health.report()).checks if each.name == "runs-set-aside"), None)

            found = await eventually(finding)
            assert found is not None
            assert (found.status, found.code) == ("degraded", "event-unreadable")
            assert "run-1" in (found.reason or "")
            assert "newest build" in (found.hint or "")
            admin.execute(replace, ("backup-accepted.v9", "backup-accepted.v1"))
            assert isinstance(await eventually(lambda: _last(bench, "run-1")), BackupCompleted)

            async def is_over() -> bool:
                return await finding() is None

            await eventually(is_over)
        finally:
            await loop.stop()
    given_back = [event for event in await bench.told("run-1") if isinstance(event, BackupRequeued)]
    assert {each.code for each in given_back} == {"event-unreadable"}, "whoever asked for it is told as well"


async def test_opening_that_was_left_behind_begins_no_repository(bench: ExecutorBench) -> None:
    """When the disk answers after all, another run may have begun it long since."""
    claim = await bench.claims.take("w1")
    assert claim is not None
    configuration = await ReplicaTable(bench.pool, bench.store).find(CONFIGURATION)
    assert configuration is not None
    signs = Signs()
    signs.is_left = True
    with pytest.raises(RunInterrupted):
        await asyncio.to_thread(bench.data_plane().open, claim, configuration, signs)
    assert not (bench.keys / "repositories").exists()
    assert not bench.tier("local").exists()


async def test_pipe_as_key_file_ends_the_run_at_once(bench: ExecutorBench) -> None:
    """Nobody waits for what will never be written into it."""
    (bench.keys / "repositories").mkdir()
    os.mkfifo(bench.keys / "repositories" / f"{ORGANISATION}.key", 0o600)
    await perform_next(bench, given_back=GIVEN_BACK_MAX)
    failed = await _last(bench, "run-1")
    assert isinstance(failed, BackupFailed)
    assert failed.code == "keys-unusable"


async def test_tier_on_a_disk_that_hangs_is_left_out_by_name(bench: ExecutorBench) -> None:
    """It is waited for as long as its patience says, beside the others and not before them."""

    def place(tier: Tier, location: str) -> Place:
        destination = Destination(location=location)
        store = tier_store(bench.locations, bench.keys, ORGANISATION, tier, destination)
        folder = os.fsencode(bench.home / "tiers" / location)
        return Place(store=store, location=location, folder=folder, patience_seconds=0.5, store_of=lambda _: store)

    with hung_disk(bench.home / "tiers" / "second"):
        places = [place(Tier.LOCAL, "local"), place(Tier.OFFSITE, "second")]
        well, hung = await asyncio.to_thread(without_silent, places)
        assert well.store is places[0].store
        with pytest.raises(TierUnreachable, match="has not answered"):
            hung.store.head("config")
