"""Recoveries on real parts: taken on or refused, performed, interrupted, and told as they are."""

import asyncio
import json
import os
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chassis.claims.port import Claim, ProgressReport
from chassis.claims.table import ClaimQueue
from chassis.clock import SystemClock
from chassis.life.blocking import RunInterrupted
from chassis.life.health import Health, HealthServer, answer
from chassis.life.signs import Signs
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.cleanup_events import GoingPoint, RecoveryPointsForgotten
from contracts.dr_execution_events import DrRecoveryAsked
from contracts.errors import PlatformError
from contracts.gateway_events import Evidence
from contracts.recovery_events import (
    TARGET_PATH_FIELD,
    UNMATCHED,
    ConflictPolicy,
    RecoveryAccepted,
    RecoveryCompleted,
    RecoveryFailed,
    RecoveryRefused,
    RecoveryVerified,
)
from repository.restore.names import MARKER_PREFIX
from services.recovery.adapters.operations import RECOVERIES
from services.recovery.kept import Order
from services.recovery.ports import OpenRestore, Restored
from tests.support.alerts import firing
from tests.support.eventually import eventually
from tests.support.file_trees import differences, seen
from tests.support.hung_mount import hung_mount
from tests.support.mounted import mounted
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer
from tests.support.promql import Scrapes
from tests.support.recovery import CONFIGURATION, ORGANISATION, POINT, RecoveryBench, recovery_bench

pytestmark = pytest.mark.stack
pytest_plugins = ["tests.support.nats_server", "tests.support.postgres_server"]

WHOLE = ["accepted", "preparing", "started", "verified", "completed"]


@pytest.fixture
async def bench(tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer) -> AsyncIterator[RecoveryBench]:
    """A bench with one recovery point."""
    async with recovery_bench(tmp_path, postgres, nats_server) as bench:
        yield bench


async def _done(bench: RecoveryBench, operation_id: str, data_plane: Any = None) -> list[str]:
    """Have a worker perform it to its end; the names of its events."""
    loop = bench.loop(data_plane)
    await loop.start()
    try:

        async def look() -> list[str] | None:
            names = await bench.names(operation_id)
            return names if names[-1] in ("completed", "failed", "cancelled") else None

        names = await eventually(look)
        assert names is not None
        return names
    finally:
        await loop.stop()


def _is_marked(folder: Path) -> bool:
    return any(name.name.encode().startswith(MARKER_PREFIX) for name in folder.iterdir())


class Hooked:
    """The real data plane, whose restores call `hook` with each progress report."""

    def __init__(self, bench: RecoveryBench, hook: Callable[[ProgressReport], None]) -> None:
        self._inner = bench.data_plane()
        self._hook = hook

    def open(self, claim: Claim, order: Order, signs: Signs) -> OpenRestore:
        opened, hook = self._inner.open(claim, order, signs), self._hook

        class _Restore:
            def restore(
                self, *, on_progress: Callable[[ProgressReport], None], is_cancelled: Callable[[], bool]
            ) -> Restored:
                def check() -> bool:
                    hook(ProgressReport(files_done=0, files_total=None, bytes_done=0, bytes_total=None, tiers=()))
                    return is_cancelled()

                return opened.restore(on_progress=on_progress, is_cancelled=check)

            def close(self) -> None:
                opened.close()

        return _Restore()


async def test_point_is_restored_from_the_tier_that_answers_and_what_was_written_is_verified(
    bench: RecoveryBench,
) -> None:
    """One tier is gone: the other gives all of it, and the facts say what was read, written and verified."""
    shutil.rmtree(bench.tier("local"))
    await bench.request("op-1")
    assert await _done(bench, "op-1") == WHOLE
    *_, verified, completed = await bench.told("op-1")
    assert isinstance(verified, RecoveryVerified)
    assert isinstance(completed, RecoveryCompleted)
    assert (verified.files, completed.totals.files, completed.degraded) == (41, 41, False)
    assert [each.tier for each in completed.totals.read_from] == ["cloudPrimary"]
    assert not differences(seen(bench.source), seen(bench.restored / "all"))
    assert not _is_marked(bench.restored / "all")


async def test_part_is_restored_and_what_matches_nothing_is_no_success(bench: RecoveryBench) -> None:
    """A pattern restores what it matches; one that matches nothing fails by its own code."""
    await bench.request("op-1", "part", scope="IMG_1?.jpg\n/contract.txt")
    assert await _done(bench, "op-1") == WHOLE
    assert len(list((bench.restored / "part" / "2027").iterdir())) == 10
    await bench.request("op-2", "nothing", scope="IMG_4711.jpg")
    await _done(bench, "op-2")
    failed = (await bench.told("op-2"))[-1]
    assert isinstance(failed, RecoveryFailed)
    assert failed.code == errors.RECOVERY_MATCHES_NOTHING.code
    await bench.request("op-3", "less", scope="/contract.txt\nIMG_4711.jpg\n2027/nothing/**")
    assert await _done(bench, "op-3") == WHOLE
    completed = (await bench.told("op-3"))[-1]
    assert isinstance(completed, RecoveryCompleted)
    assert (completed.degraded, completed.code) == (True, errors.RECOVERY_SCOPE_UNMATCHED.code)
    assert [(each.reason, each.entries) for each in completed.totals.troubles] == [(UNMATCHED, 2)]


async def test_target_that_is_moved_away_in_the_middle_is_no_success(bench: RecoveryBench) -> None:
    """Nothing is at its path in the end: it fails, says so by the location's name, and the mark stays."""
    target, away = bench.restored / "all", bench.restored / "away"

    def move(_report: ProgressReport) -> None:
        if target.exists():
            target.rename(away)

    await bench.request("op-1")
    await _done(bench, "op-1", Hooked(bench, move))
    failed = (await bench.told("op-1"))[-1]
    assert isinstance(failed, RecoveryFailed)
    assert failed.code == errors.TARGET_UNUSABLE.code
    assert "moved" in failed.hint
    assert _is_marked(away)


def _asked_by_test(bench: RecoveryBench, operation_id: str) -> DrRecoveryAsked:
    return DrRecoveryAsked(
        execution_id="execution-1",
        step_id="photos",
        attempt=1,
        request_id=operation_id,
        operation_id=operation_id,
        recovery_point_id=POINT,
        target_location="restored",
        target_path=bench.sealer.seal(ORGANISATION, TARGET_PATH_FIELD, operation_id),
        is_test=True,
    )


async def test_test_whose_restore_is_changed_behind_its_back_fails(bench: RecoveryBench) -> None:
    """A test of a plan looks at all of its target once more: one file less, another byte, another mode."""

    def change(operation_id: str, report: Callable[[Path], None]) -> Callable[[ProgressReport], None]:
        target, is_done = bench.restored / operation_id, [False]

        def hook(_report: ProgressReport) -> None:
            if not is_done[0] and target.exists() and list(target.iterdir()) and not _is_marked(target):
                is_done[0] = True
                report(target / "contract.txt")

        return hook

    def flip(file: Path) -> None:
        body, times = file.read_bytes(), file.stat()
        file.write_bytes(bytes([body[0] ^ 1]) + body[1:])
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))

    await bench.hear(_asked_by_test(bench, "op-0"))
    assert await _done(bench, "op-0") == WHOLE
    changes: dict[str, Callable[[Path], None]] = {
        "missing": Path.unlink,
        "bytes": flip,
        "mode": lambda file: file.chmod(0o600 if file.stat().st_mode & 0o077 else 0o644),
    }
    for reason, changed in changes.items():
        await bench.hear(_asked_by_test(bench, f"op-{reason}"))
        await _done(bench, f"op-{reason}", Hooked(bench, change(f"op-{reason}", changed)))
        failed = (await bench.told(f"op-{reason}"))[-1]
        assert isinstance(failed, RecoveryFailed), reason
        assert (failed.code, failed.totals is not None) == (errors.RECOVERY_INCOMPLETE.code, True)
        assert failed.totals is not None
        assert reason in [each.reason for each in failed.totals.troubles]


async def test_worker_that_dies_in_the_middle_is_followed_by_one_that_goes_on(bench: RecoveryBench) -> None:
    """Nothing is told as completed before it is; the next worker takes over under a higher fence, and finishes it."""

    class Killed(BaseException):
        pass

    calls = 0

    def die(_report: ProgressReport) -> None:
        nonlocal calls
        calls += 1
        if calls > 10:
            raise Killed

    await bench.request("op-1")
    claims = bench.claims(silence_seconds=60.0)
    claim = await claims.take("w0")
    assert claim is not None
    with pytest.raises(Killed):
        await bench.performance(claims, Hooked(bench, die)).perform(claim, lambda: False)
    assert await bench.names("op-1") == ["accepted", "preparing", "started"]
    assert _is_marked(bench.restored / "all")
    assert await _done(bench, "op-1") == ["accepted", "preparing", "started", *WHOLE[1:]]
    assert not differences(seen(bench.source), seen(bench.restored / "all"))


async def test_cancelled_recovery_leaves_its_mark_and_is_gone_on_with_when_asked_for_anew(bench: RecoveryBench) -> None:
    """The worker lets go, the target tells that it is unfinished, and the same asked for anew finishes it."""
    under_way, go_on = threading.Event(), threading.Event()

    def wait(_report: ProgressReport) -> None:
        under_way.set()
        go_on.wait(10)

    await bench.request("op-1")
    loop = bench.loop(Hooked(bench, wait))
    await loop.start()
    try:
        await eventually(under_way.is_set)
        await bench.request("op-2")
        (refused,) = await bench.told("op-2")
        assert isinstance(refused, RecoveryRefused)
        assert (refused.code, refused.field) == (errors.TARGET_BUSY.code, "targetPath")
        await bench.cancel("op-1")
        await eventually(lambda: not loop._held)
    finally:
        go_on.set()
        await loop.stop()
    assert (await bench.names("op-1"))[-1] == "cancelled"
    assert _is_marked(bench.restored / "all")
    await bench.request("op-3")
    assert await _done(bench, "op-3") == WHOLE
    assert not differences(seen(bench.source), seen(bench.restored / "all"))
    await bench.cancel("op-3")
    assert (await bench.names("op-3"))[-1] == "cancellation-refused"


async def _failure(bench: RecoveryBench, operation_id: str) -> RecoveryFailed:
    assert (await _done(bench, operation_id))[-1] == "failed"
    failed = (await bench.told(operation_id))[-1]
    assert isinstance(failed, RecoveryFailed)
    return failed


async def test_tiers_that_give_no_point_are_told_each_by_its_name(bench: RecoveryBench) -> None:
    """What is not mounted, not registered any more, or without the point: never as damaged, and nothing is begun."""
    locations = json.loads(bench.registry.read_text())
    shutil.rmtree(bench.tier("local"))
    moved = bench.tier("second").rename(bench.home / "away")
    await bench.request("op-1")
    failed = await _failure(bench, "op-1")
    assert failed.code == errors.TIER_VANISHED.code
    assert "local (the tier local) is empty or gone" in failed.hint
    assert "second (the tier cloudPrimary) is empty or gone" in failed.hint
    without = [each for each in locations["locations"] if each["name"] != "second"]
    bench.registry.write_text(json.dumps({"locations": without}))
    await bench.request("op-2")
    failed = await _failure(bench, "op-2")
    assert "second (the tier cloudPrimary) is not registered any more" in failed.hint
    bench.registry.write_text(json.dumps(locations))
    moved.rename(bench.tier("second"))
    forgotten = bench.points_to("0" * 64)
    await bench.hear(forgotten)
    await bench.request("op-3", point=forgotten.execution_id)
    failed = await _failure(bench, "op-3")
    assert failed.code == errors.RECOVERY_POINT_MISSING.code
    assert "second (the tier cloudPrimary) answers, and does not have the point" in failed.hint
    assert "local (the tier local) is empty or gone" in failed.hint
    assert not (bench.restored / "all").exists()
    assert not bench.tier("local").exists()


async def test_target_whose_disk_is_not_mounted_is_written_by_nobody(bench: RecoveryBench) -> None:
    """Refused when it is asked for; and by the worker, where it was unmounted in between."""
    locations = json.loads(bench.registry.read_text())
    for each in locations["locations"]:
        if each["name"] == "restored":
            each["mount"] = str(bench.restored)
    bench.registry.write_text(json.dumps(locations))
    with mounted(bench.restored, "size=64m"):
        await bench.request("op-1")
    failed = await _failure(bench, "op-1")
    assert failed.code == errors.TARGET_UNUSABLE.code
    assert "its disk is not mounted" in failed.hint
    await bench.request("op-2")
    (refused,) = await bench.told("op-2")
    assert isinstance(refused, RecoveryRefused)
    assert (refused.code, refused.field) == (errors.TARGET_UNUSABLE.code, "targetLocation")
    assert "the location restored" in refused.hint
    assert not list(bench.restored.iterdir())
    with mounted(bench.restored, "size=64m"):
        await bench.request("op-3")
        assert await _done(bench, "op-3") == WHOLE


async def test_full_target_fails_as_that_and_is_gone_on_with_once_there_is_room(bench: RecoveryBench) -> None:
    """The code, the location by name, and the mark; with more room the same recovery ends well."""
    with mounted(bench.restored, "size=1m"):
        await bench.request("op-1")
        assert (await _done(bench, "op-1"))[-1] == "failed"
        failed = (await bench.told("op-1"))[-1]
        assert isinstance(failed, RecoveryFailed)
        assert failed.code == errors.TARGET_FULL.code
        assert "the location restored" in failed.hint
        assert _is_marked(bench.restored / "all")
        subprocess.run(["mount", "-o", "remount,size=64m", str(bench.restored)], check=True)
        await bench.request("op-2")
        assert await _done(bench, "op-2") == WHOLE
        assert not differences(seen(bench.source), seen(bench.restored / "all"))


@pytest.mark.parametrize(
    ("asked", "code", "field"),
    [
        ({"evidence": Evidence(assurance="aal1")}, errors.SECOND_FACTOR_NEEDED, None),
        ({"point": "run-2", "deliveries": 8}, errors.RECOVERY_POINT_UNKNOWN, "recoveryPointId"),
        ({"organisation": "org-b", "deliveries": 8}, errors.RECOVERY_POINT_UNKNOWN, "recoveryPointId"),
        ({"location": "source"}, errors.UNKNOWN_LOCATION, "targetLocation"),
        ({"path": "full"}, errors.TARGET_NOT_EMPTY, "targetPath"),
        ({"path": "full/file"}, errors.TARGET_UNUSABLE, "targetPath"),
        ({"path": "out"}, errors.PATH_OUTSIDE_LOCATION, "targetPath"),
    ],
    ids=["factor", "point", "stranger", "role", "full", "file", "link"],
)
async def test_recovery_that_cannot_be_is_refused_with_its_field(
    bench: RecoveryBench, asked: dict[str, Any], code: errors.ErrorCode, field: str | None
) -> None:
    """Before anything is written, by a code and the field that is to be corrected."""
    (bench.restored / "full").mkdir()
    (bench.restored / "full" / "file").write_text("there before")
    (bench.restored / "out").symlink_to(bench.home)
    await bench.request("op-1", **asked)
    (refused,) = await bench.told("op-1")
    assert isinstance(refused, RecoveryRefused)
    assert (refused.code, refused.field) == (code.code, field)
    assert [each.name for each in (bench.restored / "full").iterdir()] == ["file"]


async def test_point_that_a_cleanup_has_let_go_is_refused_by_its_own_code(bench: RecoveryBench) -> None:
    """By its organisation's word alone."""
    gone = GoingPoint(recovery_point_id=POINT, configuration_id=CONFIGURATION, rules=("not-kept",))
    told = RecoveryPointsForgotten(cleanup_id="cleanup-1", points=(gone,))
    await bench.hear(told, organisation="org-b")
    await bench.request("op-1")
    assert isinstance((await bench.told("op-1"))[0], RecoveryAccepted)
    await bench.hear(told)
    await bench.request("op-2", "elsewhere")
    (refused,) = await bench.told("op-2")
    assert isinstance(refused, RecoveryRefused)
    assert (refused.code, refused.field) == (errors.RECOVERY_POINT_GONE.code, "recoveryPointId")


async def test_point_that_has_not_arrived_is_waited_for(bench: RecoveryBench) -> None:
    """Streams have no order among each other: the request is asked again before it is refused."""
    with pytest.raises(PlatformError) as raised:
        await bench.request("op-1", point="run-2")
    assert raised.value.code is errors.RECOVERY_POINT_NOT_SEEN_YET


async def test_what_is_there_is_dealt_with_as_the_policy_says(bench: RecoveryBench) -> None:
    """Left, replaced or stood beside; never without having been asked for."""
    for policy in (ConflictPolicy.SKIP, ConflictPolicy.OVERWRITE, ConflictPolicy.RENAME):
        there = bench.restored / policy.value / "contract.txt"
        there.parent.mkdir()
        there.write_text("mine")
        await bench.request(f"op-{policy}", policy.value, policy=policy)
        assert await _done(bench, f"op-{policy}") == WHOLE
        assert (there.read_text() == "mine") is (policy is not ConflictPolicy.OVERWRITE)
    assert len(list((bench.restored / "rename").glob("contract*"))) == 2


async def test_folder_of_two_names_is_busy_by_either(bench: RecoveryBench) -> None:
    """A link within the location leads to the folder that another recovery is to write."""
    (bench.restored / "sub").mkdir()
    (bench.restored / "alias").symlink_to(bench.restored / "sub")
    await bench.request("op-1", "sub/all")
    await bench.request("op-2", "alias/all")
    (refused,) = await bench.told("op-2")
    assert isinstance(refused, RecoveryRefused)
    assert refused.code == errors.TARGET_BUSY.code


async def test_point_and_its_places_are_its_organisation_s_alone(bench: RecoveryBench) -> None:
    """Each by itself: a point that another one asks for is not found, and what another one tells is no place of it."""
    await bench.configured(2, organisation="org-b", offsite="theirs")
    assert await bench.points().find(POINT, "org-b") is None
    point = await bench.points().find(POINT, ORGANISATION)
    assert point is not None
    assert [each.location for each in point.places] == ["second", "local"]


async def test_version_that_arrives_late_lets_no_place_fall_behind(bench: RecoveryBench) -> None:
    """The newest place is asked first."""
    await bench.configured(3, offsite="newest")
    await bench.configured(2, offsite="newest", local="local")
    point = await bench.points().find(POINT, ORGANISATION)
    assert point is not None
    assert [each.location for each in point.places] == ["newest", "local", "second"]


async def test_restore_that_was_left_behind_writes_nothing_more(bench: RecoveryBench) -> None:
    """It is told as failed while its disk is silent; when that answers after all, it is asked to stop."""
    go_on, told = threading.Event(), list[bool]()

    class Silent:
        def open(self, _claim: Claim, _order: Order, signs: Signs) -> OpenRestore:
            class _Restore:
                def restore(
                    self, *, on_progress: Callable[[ProgressReport], None], is_cancelled: Callable[[], bool]
                ) -> Restored:
                    del on_progress
                    told.append(is_cancelled())
                    signs.at("restoring", "the target at restored", errors.TARGET_UNUSABLE)
                    go_on.wait(30)
                    told.append(is_cancelled())
                    raise RunInterrupted

                def close(self) -> None:
                    pass

            return _Restore()

    await bench.request("op-1")
    claims = bench.claims(silence_seconds=60.0)
    claim = await claims.take("w1")
    assert claim is not None
    try:
        await bench.performance(claims, Silent(), leave_seconds=0.1).perform(claim, lambda: False)
        failed = (await bench.told("op-1"))[-1]
        assert isinstance(failed, RecoveryFailed)
        assert "the target at restored" in failed.hint
    finally:
        go_on.set()
    await eventually(lambda: told == [False, True])


async def test_recovery_that_nobody_takes_is_counted_and_paged_on(bench: RecoveryBench) -> None:
    """By what waits in the queue: after five minutes without a worker."""
    telemetry, health, scrapes = Telemetry("recovery"), Health("recovery"), Scrapes()
    HealthServer(health, telemetry)
    telemetry.figures.add("queue", ClaimQueue(RECOVERIES, bench.pool).read)

    async def scrape() -> None:
        _, _, body = await answer(health, telemetry, "/metrics")
        scrapes.add(SystemClock().now().timestamp(), {"recovery": body.decode()})

    await scrape()
    assert not firing(scrapes, "WedsyncRecoveryWaits", in_seconds=301)
    await bench.request("op-1")
    await scrape()
    assert {"wedsync_queue_waiting_recoveries", "wedsync_queue_claimed_recoveries"} <= scrapes.names()
    assert not firing(scrapes, "WedsyncRecoveryWaits")
    assert firing(scrapes, "WedsyncRecoveryWaits", in_seconds=301)
    assert not firing(scrapes, "WedsyncQueueStuck", in_seconds=3600), "no backup waits"


async def test_worker_that_was_stopped_writes_nothing_until_its_claim_is_sure(bench: RecoveryBench) -> None:
    """It woke behind the silence after which another one may have taken it: it asks before each file, and stops."""
    claims = bench.claims(silence_seconds=60.0)
    stopped, is_lost = threading.Event(), threading.Event()

    def stop(_report: ProgressReport) -> None:
        if not stopped.is_set():
            stopped.set()
            claims._heard.clear()  # as if it was heard of long ago

    await bench.request("op-1")
    claim = await claims.take("w1")
    assert claim is not None
    assert claims.is_sure(claim)
    performing = asyncio.create_task(bench.performance(claims, Hooked(bench, stop)).perform(claim, is_lost.is_set))
    await eventually(stopped.is_set)
    before = seen(bench.restored)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(performing), 0.5)
    assert not differences(before, seen(bench.restored))
    is_lost.set()
    with pytest.raises(RunInterrupted):
        await performing
    assert await claims.beat([claim]) == {"op-1"}
    assert claims.is_sure(claim)


async def test_claim_of_a_newer_build_is_given_back(bench: RecoveryBench) -> None:
    """A worker of that build can do it: this one neither guesses nor ends it."""
    await bench.request("op-1")
    claims = bench.claims(silence_seconds=60.0)
    claim = await claims.take("w1")
    assert claim is not None
    assert claim.body is not None
    newer = msgspec.structs.replace(claim, body=claim.body.replace(b'"refuse"', b'"newest-wins"'))
    with pytest.raises(PlatformError) as raised:
        await bench.performance(claims).perform(newer, lambda: False)
    assert raised.value.code is errors.EVENT_UNREADABLE
    assert (await bench.names("op-1"))[-1] == "preparing"


async def test_target_whose_disk_is_silent_is_refused(bench: RecoveryBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its words alone nobody would know that two recoveries write to one folder."""
    monkeypatch.setattr("services.recovery.adapters.targets.LOOK_SECONDS", 0.2)
    with hung_mount(bench.restored):
        await bench.request("op-1")
    (refused,) = await bench.told("op-1")
    assert isinstance(refused, RecoveryRefused)
    assert (refused.code, refused.field) == (errors.TARGET_UNUSABLE.code, "targetLocation")
    assert "does not answer" in refused.hint
