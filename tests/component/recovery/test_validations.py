"""Validations on real parts: what is whole, damaged, away or lacking is told of each tier, and nothing else."""

import json
import shutil
import stat
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from chassis.claims.table import ClaimTable
from chassis.life.blocking import RunInterrupted
from chassis.life.health import Health
from chassis.timers.table import TimerTable
from contracts import errors
from contracts.configuration import Tier
from contracts.errors import PlatformError
from contracts.storage_requests import RecoveryValidationCancellationRequested
from contracts.validation_events import (
    RecoveryPointCorrupted,
    RecoveryPointVerified,
    RecoveryValidationFailed,
    RecoveryValidationRefused,
    TierWholeness,
    ValidationDepth,
    ValidationEnd,
)
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.prune.prune import PruneOptions, prune
from repository.retention.orders import forget
from repository.tiers.location import open_tier
from services.recovery.adapters.rounds import OVERDUE, ROUND, RecordedRounds
from services.recovery.adapters.work import VALIDATIONS
from services.recovery.validating.scheduled import ScheduledValidations
from tests.support.file_trees import Seen, seen
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer
from tests.support.recovery import EVIDENCE, ORGANISATION, POINT, TIERS, RecoveryBench, recovery_bench
from vault.key_files import name_of

pytestmark = pytest.mark.stack
pytest_plugins = ["tests.support.nats_server", "tests.support.postgres_server"]


@pytest.fixture
async def bench(tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer) -> AsyncIterator[RecoveryBench]:
    """A bench with one recovery point."""
    async with recovery_bench(tmp_path, postgres, nats_server) as bench:
        yield bench


def _objects(bench: RecoveryBench) -> dict[bytes, Seen]:
    """What lies on the tiers. Pins come and go: only folders tell that."""
    return {name: each for name, each in seen(bench.home / "tiers").items() if not stat.S_ISDIR(each.kind)}


def _biggest_pack(tier: Path) -> Path:
    return max((each for each in (tier / "packs").rglob("*") if each.is_file()), key=lambda each: each.stat().st_size)


async def test_each_depth_says_what_it_shows_and_names_what_is_damaged_and_whole_elsewhere(
    bench: RecoveryBench,
) -> None:
    """Whole tiers are verified and not touched; a byte that changed in a pack is found by reading all of it alone."""
    before = _objects(bench)
    await bench.validate("v-1", ValidationDepth.WHOLE)
    await bench.validated()
    *_, verified = await bench.told("v-1")
    assert isinstance(verified, RecoveryPointVerified)
    assert (verified.recovery_point_id, verified.degraded) == (POINT, False)
    assert [(each.tier, each.location, each.verdict, each.harms_point) for each in verified.tiers] == [
        ("cloudPrimary", "second", TierWholeness.WHOLE, False),
        ("local", "local", TierWholeness.WHOLE, False),
    ]
    assert all(each.read_bytes and each.read_bytes == each.stored_bytes for each in verified.tiers)
    assert _objects(bench) == before

    pack = _biggest_pack(bench.tier("local"))
    body = bytearray(pack.read_bytes())
    body[96:] = bytes(len(body) - 96)  # of a flipped bit it depends on where it lies whether anything is lost
    pack.chmod(0o600)
    pack.write_bytes(body)
    await bench.validate("v-2", ValidationDepth.STRUCTURE, Tier.LOCAL)
    await bench.validated()
    *_, by_structure = await bench.told("v-2")
    assert isinstance(by_structure, RecoveryPointVerified)  # It reads no data, and says so.
    assert by_structure.depth is ValidationDepth.STRUCTURE
    assert [each.read_bytes for each in by_structure.tiers] == [0]

    await bench.validate("v-3", ValidationDepth.WHOLE)
    await bench.validated()
    *_, corrupted = await bench.told("v-3")
    assert isinstance(corrupted, RecoveryPointCorrupted)
    verdicts = {each.tier: (each.verdict, each.harms_point, each.damages) for each in corrupted.tiers}
    assert verdicts == {
        "local": (TierWholeness.DAMAGED, True, 1),
        "cloudPrimary": (TierWholeness.WHOLE, False, 0),
    }
    (damaged,) = corrupted.objects
    assert (damaged.tier, damaged.problem, damaged.object_key) == (
        "local",
        "pack-damaged",
        str(pack.relative_to(bench.tier("local"))),
    )
    assert (damaged.repairable_from, damaged.not_read_on) == (("cloudPrimary",), ())
    assert [(each.recovery_point_id, each.tiers) for each in corrupted.affected] == [(POINT, ("local",))]
    assert (corrupted.damages, corrupted.affected_points, corrupted.unnamed_snapshots) == (1, 1, 0)


async def test_what_does_not_answer_is_no_success_and_a_missing_pack_is_seen_by_every_depth(
    bench: RecoveryBench,
) -> None:
    """A tier that is away is told as not looked at; where none can be looked at it fails with each by its name."""
    registered = json.loads(bench.registry.read_text())
    shutil.rmtree(bench.tier("second"))
    await bench.validate("v-1", ValidationDepth.STRUCTURE)
    await bench.validated()
    *_, verified = await bench.told("v-1")
    assert isinstance(verified, RecoveryPointVerified)
    assert verified.degraded
    assert {each.tier: (each.verdict, each.harms_point) for each in verified.tiers} == {
        "local": (TierWholeness.WHOLE, False),
        "cloudPrimary": (TierWholeness.NOT_LOOKED_AT, None),
    }
    assert next(each.code for each in verified.tiers if each.tier == "cloudPrimary") == errors.TIER_VANISHED.code

    _biggest_pack(bench.tier("local")).unlink()
    await bench.validate("v-2", ValidationDepth.STRUCTURE)
    await bench.validated()
    *_, corrupted = await bench.told("v-2")
    assert isinstance(corrupted, RecoveryPointCorrupted)
    assert [(each.problem, each.repairable_from) for each in corrupted.objects] == [("pack-missing", ())]

    shutil.rmtree(bench.tier("local"))
    await bench.validate("v-3", ValidationDepth.WHOLE)
    await bench.validated()
    *_, failed = await bench.told("v-3")
    assert isinstance(failed, RecoveryValidationFailed)
    assert failed.code == errors.TIER_VANISHED.code
    assert "local (the tier local) is empty or gone" in failed.hint
    assert json.loads(bench.registry.read_text()) == registered


async def test_point_that_is_forgotten_and_pruned_meanwhile_is_told_as_that_and_not_as_damaged(
    bench: RecoveryBench,
) -> None:
    """What is read is held by a pin on each tier, so that no prune takes it; that it was forgotten is told."""
    pins: list[int] = []

    def forget_it() -> bool:
        if not pins and threading.current_thread() is not threading.main_thread():
            pins.extend(len(list((bench.tier(name) / "pins").glob("*"))) for name in TIERS)
            stores = [open_tier(f"file://{bench.tier(name)}", name=name) for name in TIERS]
            repository = Repository.open(stores, KeyFile.load(bench.home / "keys" / name_of(ORGANISATION)))
            forget(repository, [each.id for each in repository.snapshots()])
            prune(repository, PruneOptions(unreferenced=True))
            repository.close()
        return False

    await bench.validate("v-1", ValidationDepth.WHOLE)
    await bench.validated(forget_it)
    *_, failed = await bench.told("v-1")
    assert isinstance(failed, RecoveryValidationFailed)
    assert (failed.code, failed.hint.count("this is no damage")) == (errors.RECOVERY_POINT_MISSING.code, 2)
    assert pins == [1, 1]
    assert not list(bench.home.glob("tiers/*/*/pins/*"))


async def test_point_that_no_tier_has_is_not_called_whole(bench: RecoveryBench) -> None:
    """Tiers that are whole and do not have the point prove nothing of it."""
    forgotten = bench.points_to("0" * 64)
    await bench.hear(forgotten)
    await bench.validate("v-1", ValidationDepth.STRUCTURE, point=forgotten.execution_id)
    await bench.validated()
    *_, failed = await bench.told("v-1")
    assert isinstance(failed, RecoveryValidationFailed)
    assert failed.code == errors.RECOVERY_POINT_MISSING.code


async def test_one_of_a_point_at_a_time_and_one_that_is_cancelled_says_nothing(bench: RecoveryBench) -> None:
    """A second one is refused, as is a tier that was never there; what is cancelled ends, and the next is taken on."""
    await bench.validate("v-1", ValidationDepth.WHOLE)
    await bench.validate("v-2", ValidationDepth.SAMPLE)
    (refused,) = await bench.told("v-2")
    assert isinstance(refused, RecoveryValidationRefused)
    assert (refused.code, refused.field) == (errors.VALIDATION_OPEN.code, "recoveryPointId")
    await bench.validate("v-3", ValidationDepth.SAMPLE, Tier.LOCAL, Tier.OFFSITE)
    (refused,) = await bench.told("v-3")
    assert isinstance(refused, RecoveryValidationRefused)
    assert (refused.code, refused.field) == (errors.VALIDATION_TIER_UNKNOWN.code, "tiers[1]")

    with pytest.raises(RunInterrupted):
        await bench.validated(lambda: True)
    for _ in range(2):
        await bench.hear(
            RecoveryValidationCancellationRequested(request_id="c-1", validation_id="v-1", evidence=EVIDENCE)
        )
    names = await bench.names("v-1")
    assert names[0] == "validation-accepted"
    assert names[-2:] == ["validation-cancelled", "validation-cancellation-refused"]
    await bench.validate("v-4", ValidationDepth.SAMPLE)
    await bench.validated()
    assert (await bench.names("v-4"))[-1] == "point-verified"


async def test_places_are_validated_by_themselves_one_after_the_other_and_what_is_overdue_is_told(
    bench: RecoveryBench,
) -> None:
    """Each once within its time, by its own tier alone; one that is away keeps no other from being read."""
    health = Health("recovery")
    rounds = RecordedRounds(bench.store, bench.pool, health)
    scheduled = ScheduledValidations(rounds, bench.points(), within_days=30, bytes_a_day=2**50)
    table = TimerTable(bench.pool)

    async def turned() -> list[ValidationEnd]:
        """The round comes; what the validation has found that it began."""
        async with bench.pool.connection() as connection:
            await connection.execute("UPDATE timers SET due_at = now(), held_until = NULL")
            await connection.execute("UPDATE proven_places SET proven_at = proven_at - interval '1 minute'")
        timer = await table.take([ROUND])
        assert timer is not None
        round_ = rounds.round_of(timer)
        await scheduled.turn(round_)
        with pytest.raises(PlatformError):  # Who has held the timer for too long begins nothing.
            await scheduled.turn(round_)
        claim = await ClaimTable(VALIDATIONS, bench.pool, bench.beats, silence_seconds=60.0).take("w0")
        if claim is None:
            return []
        await bench.validation_performance(ClaimTable(VALIDATIONS, bench.pool, bench.beats)).perform(
            claim, lambda: False
        )
        return [each for each in await bench.told(claim.work_id) if isinstance(each, ValidationEnd)]

    gone = bench.tier("local").rename(bench.home / "away")
    read = [tier for _ in range(3) for end in await turned() for tier in end.tiers]
    assert [(each.location, each.verdict) for each in read] == [("second", TierWholeness.WHOLE)]
    gone.rename(bench.tier("local"))
    read = [tier for _ in range(3) for end in await turned() for tier in end.tiers]
    assert [(each.location, each.verdict) for each in read] == [("local", TierWholeness.WHOLE)]
    assert not health.is_degraded(OVERDUE)
    async with bench.pool.connection() as connection:
        await connection.execute(
            "UPDATE proven_places SET proven_at = now() - interval '31 days' WHERE location = 'local'"
        )
    await rounds.tell_overdue(timedelta(days=30))
    assert health.is_degraded(OVERDUE)
