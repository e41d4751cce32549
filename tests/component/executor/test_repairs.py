"""Repairs over real repositories: what is found, made whole and left, and what a crash on the way leaves."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chassis.claims.progress import NatsProgress
from chassis.claims.table import ClaimTable
from chassis.clock import SystemClock
from chassis.life.health import Health
from chassis.life.standstills import Standstills
from contracts import errors
from contracts.configuration import Destination
from contracts.event import Event
from contracts.gateway_events import Evidence
from contracts.repair_events import PlaceRepaired, StorageRepaired, StorageRepairRefused
from contracts.storage_requests import StorageRepairRequested
from services.executor.adapters.begun import BegunRepositories
from services.executor.adapters.repair_plane import RepositoryRepairs
from services.executor.adapters.repairs import REPAIRS, RecordedRepairs
from services.executor.repairing.performance import RepairPerformance
from tests.component.executor.test_runs import perform_next
from tests.support.executor import SILENCE_SECONDS, ExecutorBench, executor_bench
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

BOTH: dict[str, Any] = {"local": Destination(location="local"), "cloud_primary": Destination(location="second")}


class Died(BaseException):
    """What is raised where a worker is killed: nothing of it is recorded."""


@pytest.fixture
async def bench(tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer) -> AsyncIterator[ExecutorBench]:
    """One point on two tiers."""
    async with executor_bench(tmp_path, postgres, nats_server) as bench:
        (bench.source / "contract.txt").write_text("between A and B " * 10_000)
        await bench.configure(**BOTH)
        await bench.request("run-1")
        await perform_next(bench)
        yield bench


async def _ask(bench: ExecutorBench, repair: str, **said: Any) -> None:
    request = StorageRepairRequested(
        request_id=f"request of {repair}", repair_id=repair, evidence=Evidence(assurance="aal1"), **said
    )
    await bench.hear(request)


async def _repair(bench: ExecutorBench, repair: str, *, plane: Any = None, **said: Any) -> StorageRepaired:
    """A repair from its request to its end."""
    await _ask(bench, repair, **said)
    await _perform(bench, plane=plane)
    end = (await bench.told(repair))[-1]
    assert isinstance(end, StorageRepaired)
    return end


async def _perform(bench: ExecutorBench, *, plane: Any = None, worker: str = "w1") -> None:
    claims = ClaimTable(REPAIRS, bench.pool, bench.beats, silence_seconds=SILENCE_SECONDS)
    claim = None
    while claim is None:  # A worker that died is taken for that after its silence.
        claim = await claims.take(worker)
    performance = RepairPerformance(
        repairs=RecordedRepairs(bench.store),
        claims=claims,
        plane=plane or _plane(bench),
        progress=NatsProgress(bench.connection, "executor", SystemClock()),
        standstills=Standstills(Health("worker"), noun="repair"),
    )
    await performance.perform(claim, lambda: False)


def _plane(bench: ExecutorBench) -> RepositoryRepairs:
    return RepositoryRepairs(locations=bench.locations, keys_dir=bench.keys, begun=BegunRepositories(bench.pool))


def _packs(bench: ExecutorBench, name: str) -> list[Path]:
    return sorted(each for each in (bench.tier(name) / "packs").rglob("*") if each.is_file())


def _by_location(end: StorageRepaired) -> dict[str, PlaceRepaired]:
    return {place.location: place for place in end.repaired_places}


def _harm(pack: Path) -> None:
    """Change a byte of a pack."""
    whole = pack.read_bytes()
    pack.chmod(0o600)
    pack.write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])


def _names(events: list[Event]) -> list[str]:
    return [event.NAME.split(".")[1] for event in events]


async def test_what_is_missing_and_damaged_is_told_first_and_then_brought_from_the_other_tier(
    bench: ExecutorBench,
) -> None:
    """What a dry run says is what the repair does; the damaged bytes are kept aside; nothing whole is touched."""
    missing, harmed, *_ = _packs(bench, "local")
    bytes_of = {each.name: each.read_bytes() for each in _packs(bench, "local")}
    missing.unlink()
    _harm(harmed)
    expected = {missing.name: "pack-missing", harmed.name: "pack-damaged"}

    told = await _repair(bench, "dry", dry_run=True, read_percent=100)
    place = _by_location(told)["local"]
    of_packs = {each.object_key.rsplit("/", 1)[-1]: each.problem for each in place.found if "pack" in each.problem}
    assert of_packs == expected
    assert {each.whole_at for each in place.found if each.problem == "pack-missing"} == {("second",)}
    assert (told.dry_run, told.degraded, place.lost, place.repaired) == (True, False, 0, 0)
    assert place.needed_bytes == sum(len(bytes_of[name]) for name in expected)
    assert not missing.exists()
    assert _names(await bench.told("dry")) == [
        "storage-repair-accepted",
        "storage-repair-preparing",
        "storage-repaired",
    ]

    done = await _repair(bench, "first", read_percent=100)
    place = _by_location(done)["local"]
    assert (done.degraded, place.code, place.left, place.harmed) == (False, None, 0, 0)
    assert place.repaired >= len(expected)
    assert {each.object_key.rsplit("/", 1)[-1]: each.source for each in place.done}[missing.name] == "second"
    assert place.set_aside == 1
    assert {each.name: each.read_bytes() for each in _packs(bench, "local")} == bytes_of
    assert _by_location(done)["second"].damaged == 0
    assert "storage-tier-repaired" in _names(await bench.told("first"))

    again = await _repair(bench, "second", read_percent=100)
    assert [(each.damaged, each.repaired) for each in again.repaired_places] == [(0, 0), (0, 0)]


async def test_what_no_tier_has_is_told_as_lost_before_and_as_left_afterwards(bench: ExecutorBench) -> None:
    lost = _packs(bench, "local")[0]
    (twin,) = [each for each in _packs(bench, "second") if each.name == lost.name]
    lost.unlink()
    twin.unlink()
    told = _by_location(await _repair(bench, "dry", dry_run=True))
    assert {name: (place.lost, place.code) for name, place in told.items()} == {
        "local": (1, errors.STORAGE_DAMAGED.code),
        "second": (1, errors.STORAGE_DAMAGED.code),
    }
    done = await _repair(bench, "first")
    assert done.degraded
    for place in done.repaired_places:
        assert (place.code, place.left > 0, place.harmed) == (errors.STORAGE_DAMAGED.code, True, 1)


async def test_tier_that_is_away_is_told_and_the_others_are_looked_at(bench: ExecutorBench) -> None:
    """What it alone has whole is not there: told as lost, and repaired once it is back."""
    missing = _packs(bench, "local")[0]
    missing.unlink()
    shutil.move(bench.tier("second"), bench.home / "away")
    away = await _repair(bench, "away")
    places = _by_location(away)
    assert (away.degraded, places["second"].code) == (True, errors.TIER_VANISHED.code)
    assert (places["local"].code, places["local"].lost) == (errors.STORAGE_DAMAGED.code, 1)
    shutil.move(bench.home / "away", bench.tier("second"))
    back = await _repair(bench, "back", locations=("local",))
    assert [(place.location, place.code) for place in back.repaired_places] == [("local", None)]
    assert missing.exists()


async def test_requests_that_can_find_nothing_are_refused_and_one_is_open_at_a_time(bench: ExecutorBench) -> None:
    await _ask(bench, "strange", locations=("local", "elsewhere"))
    (refused,) = await bench.told("strange")
    assert isinstance(refused, StorageRepairRefused)
    assert (refused.code, refused.field) == (errors.TIER_NOT_IN_USE.code, "locations[1]")
    await _ask(bench, "first")
    await _ask(bench, "second")
    (refused,) = await bench.told("second")
    assert isinstance(refused, StorageRepairRefused)
    assert refused.code == errors.STORAGE_REPAIR_OPEN.code
    request = StorageRepairRequested(request_id="r", repair_id="nobody", evidence=Evidence(assurance="aal1"))
    await bench.hear(request, organisation="org-b")
    (refused,) = await bench.told("nobody")
    assert isinstance(refused, StorageRepairRefused)
    assert (refused.code, refused.field) == (errors.TIER_NOT_IN_USE.code, None)


async def test_killed_between_two_tiers_the_next_worker_goes_on_with_the_one_that_is_left(bench: ExecutorBench) -> None:
    """What was told stays told, and is not done again."""
    for name, index in (("local", 0), ("second", -1)):
        _packs(bench, name)[index].unlink()
    await _ask(bench, "killed")
    with pytest.raises(Died):
        await _perform(bench, plane=_Dying(_plane(bench)))
    assert _names(await bench.told("killed"))[-2:] == ["storage-tier-repaired", "storage-tier-repair-begun"]
    await _perform(bench, worker="w2")
    end = (await bench.told("killed"))[-1]
    assert isinstance(end, StorageRepaired)
    assert [(each.location, each.repaired > 0, each.code) for each in end.repaired_places] == [
        ("local", True, None),
        ("second", True, None),
    ]
    assert _names(await bench.told("killed")).count("storage-tier-repaired") == 2


@pytest.mark.parametrize("deaths", [1, 2])
async def test_end_of_a_repair_names_what_an_attempt_found_that_was_killed_within_a_tier(
    bench: ExecutorBench, deaths: int
) -> None:
    """What it made whole is found whole by the next one, which says that and how often somebody was cut off."""
    missing = _packs(bench, "local")[0]
    missing.unlink()
    await _ask(bench, "killed")
    for number in range(deaths):
        with pytest.raises(Died):
            await _perform(bench, plane=_Dying(_plane(bench), is_within=number == deaths - 1), worker=f"w{number}")
    await _perform(bench, worker="last")
    end = (await bench.told("killed"))[-1]
    assert isinstance(end, StorageRepaired)
    place = _by_location(end)["local"]
    assert missing.exists()
    assert (place.interrupted, place.damaged > 0, place.repaired, place.left) == (deaths, True, 0, 0)
    assert missing.name in {each.object_key.rsplit("/", 1)[-1] for each in place.found}


class _Dying:
    """A plane whose repair dies before the second tier, or within the first, when that is whole or before."""

    def __init__(self, plane: RepositoryRepairs, *, is_within: bool | None = None) -> None:
        self._plane = plane
        self._is_within = is_within

    def open(self, *given: Any) -> Any:
        opened = self._plane.open(*given)
        assert opened is not None
        whole, done = opened.repair, list[str]()

        def repair(location: str) -> PlaceRepaired:
            if done or self._is_within is False:
                raise Died
            done.append(location)
            place = whole(location)
            if self._is_within:
                raise Died
            return place

        opened.repair = repair  # type: ignore[method-assign]
        return opened
