"""The watch over the tiers between runs."""

import json
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from chassis.life.health import Finding, Health
from chassis.location import Location
from chassis.locations import Locations
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.errors import PlatformError
from repository.errors import TierReadOnly
from services.executor.adapters.tier_watch import SAMPLE, TierWatch, folder_trouble
from tests.support.eventually import eventually
from vault.translation import code_of

EVERYTHING = 1 << 62


def _location(folder: Path) -> Location:
    return Location(name="local", kind="directory", roles=("tier",), organisations=("*",), url=f"file://{folder}")


def test_folder_with_room_is_well(tmp_path: Path) -> None:
    """There, writable, with more room than several times the reserve."""
    assert folder_trouble(_location(tmp_path), 0) is None


def test_full_folder_is_told_with_figures(tmp_path: Path) -> None:
    """Below the reserve no run is taken; near it that is said before it is so."""
    full = folder_trouble(_location(tmp_path), EVERYTHING)
    assert full is not None
    assert full.code is errors.TIER_FULL
    assert "MiB are free" in full.message
    assert "takes no run" in full.message


MIB = 1 << 20


@pytest.mark.parametrize(
    ("total", "free", "is_low"),
    [(100_000, 1_000, True), (100_000, 1_100, False), (1_000, 300, True), (1_000, 310, False), (700, 650, False)],
)
def test_nearly_full_is_said_before_a_tier_is_full_and_never_of_a_small_disk_with_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: int, free: int, is_low: bool
) -> None:
    """Four times the reserve is the whole of a small disk: it would be degraded for ever."""
    real = os.statvfs(tmp_path)
    figures = [MIB, MIB, total, free, free, *real[5:8], 0, *real[9:]]
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result(figures))
    found = folder_trouble(_location(tmp_path), 256 * MIB)
    assert (found is not None and "nearly full" in found.message) is is_low


def test_file_system_that_can_only_be_read_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers, and holds what it took: to look at its endpoint or credentials would lead astray."""
    real = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result([*real[:8], real[8] | os.ST_RDONLY, real[9]]))
    found = folder_trouble(_location(tmp_path), 0)
    assert found is not None
    assert found.code is errors.TIER_READ_ONLY
    assert code_of(TierReadOnly("read-only file system")) is errors.TIER_READ_ONLY


def test_folder_that_is_gone_is_told_and_not_made(tmp_path: Path) -> None:
    """A mount point that is missing."""
    trouble = folder_trouble(_location(tmp_path / "disk"), 0)
    assert trouble is not None
    assert trouble.code is errors.TIER_UNREACHABLE
    assert "local" in trouble.message
    assert not (tmp_path / "disk").exists()


class HungWatch(TierWatch):
    """A watch for which the location `hung` answers only when it is told to."""

    answers = threading.Event()

    def look_at(self, location: Location, organisations: list[str]) -> PlatformError | None:
        if location.name == "hung":
            self.answers.wait(60)
        return super().look_at(location, organisations)


async def test_each_location_has_a_deadline_and_a_finding_of_its_own(tmp_path: Path) -> None:
    """One whose disk hangs, one whose address is wrong and one without credentials: degraded, each by its name."""
    registry = tmp_path / "locations.json"
    common = {"roles": ["tier"], "organisations": ["*"]}
    (tmp_path / "disk").mkdir()
    entries = [
        {"name": "hung", "kind": "directory", "url": f"file://{tmp_path}/disk"},
        {"name": "askew", "kind": "s3", "url": "s3://bucket/a%20b"},
        {"name": "keyless", "kind": "s3", "url": "s3://bucket/x", "credentials": "gone"},
        {"name": "well", "kind": "directory", "url": f"file://{tmp_path}/disk"},
    ]
    registry.write_text(json.dumps({"locations": [{**entry, **common} for entry in entries]}))
    health = Health("executor-worker")
    watch = HungWatch(
        locations=Locations(registry),
        keys_dir=tmp_path,
        begun_at=lambda location: [] if location in {"well", "hung"} else ["org-a"],
        reserve_bytes=0,
        health=health,
        telemetry=Telemetry("executor-worker"),
        every_seconds=0.02,
        answer_seconds=0.2,
    )
    health.add(watch.name, watch.check)
    await watch.start()
    try:

        async def found() -> dict[str, str]:
            return {check.name: check.status for check in (await health.report()).checks}

        async def is_told() -> bool:
            named = ("hung", "askew", "keyless")
            return await found() == {watch.name: "ready", **{f"tier {name}": "degraded" for name in named}}

        await eventually(is_told)
        assert (await health.report()).status == "degraded"
        watch.answers.set()

        async def is_over() -> bool:
            return "tier hung" not in await found()

        await eventually(is_over)
    finally:
        watch.answers.set()
        await watch.stop()


async def test_tier_of_which_nobody_says_what_it_should_have_is_unknown_and_the_others_are_looked_at(
    tmp_path: Path,
) -> None:
    """The database that remembers hangs or is away: told in time, as unknown and not as the tier's fault."""
    registry = tmp_path / "locations.json"
    common = {"kind": "directory", "roles": ["tier"], "organisations": ["*"]}
    entries = [{"name": name, "url": f"file://{tmp_path}/{name}", **common} for name in ("asked", "away", "gone")]
    for name in ("asked", "away"):
        (tmp_path / name).mkdir()
    registry.write_text(json.dumps({"locations": entries}))
    answers = threading.Event()

    def begun_at(location: str) -> list[str]:
        if location == "asked":
            answers.wait(60)
        elif location == "away":
            raise PlatformError(errors.UNAVAILABLE, "postgres does not answer")
        return []

    health = Health("executor-worker")
    watch = TierWatch(
        locations=Locations(registry),
        keys_dir=tmp_path,
        begun_at=begun_at,
        reserve_bytes=0,
        health=health,
        telemetry=Telemetry("executor-worker"),
        every_seconds=0.02,
        answer_seconds=0.2,
    )
    health.add(watch.name, watch.check)
    await watch.start()
    try:

        async def codes() -> dict[str, str | None]:
            return {check.name: check.code for check in (await health.report()).checks if check.status != "ready"}

        unknown = {"tier asked": "unavailable", "tier away": "unavailable"}
        await eventually(lambda: _is(codes, {**unknown, "tier gone": "tier-unreachable"}))
        answers.set()
        await eventually(lambda: _is(codes, {"tier away": "unavailable", "tier gone": "tier-unreachable"}))
    finally:
        answers.set()
        await watch.stop()


async def _is(look: Callable[[], Awaitable[object]], wanted: object) -> bool:
    return await look() == wanted


@pytest.fixture
async def health(tmp_path: Path) -> AsyncIterator[Health]:
    """The readiness of a worker whose location `local` has the repositories of two organisations."""
    for organisation in ("org-a", "org-b"):
        (tmp_path / "disk" / organisation).mkdir(parents=True)
        (tmp_path / "disk" / organisation / "config").write_text("{}")
    registry = tmp_path / "locations.json"
    entry = {"name": "local", "kind": "directory", "roles": ["tier"], "organisations": ["*"]}
    registry.write_text(json.dumps({"locations": [{**entry, "url": f"file://{tmp_path}/disk"}]}))
    health = Health("executor-worker")
    watch = TierWatch(
        locations=Locations(registry),
        keys_dir=tmp_path,
        begun_at=lambda location: ["org-b", "org-a"] if location == "local" else [],
        reserve_bytes=0,
        health=health,
        telemetry=Telemetry("executor-worker"),
        every_seconds=0.02,
    )
    await watch.start()
    health.add(watch.name, watch.check)
    yield health
    await watch.stop()


async def test_vanished_tier_degrades_readiness_until_it_is_back(health: Health, tmp_path: Path) -> None:
    """An empty folder where a tier was is told by name, with what to do; the disk back, all is well."""

    async def finding() -> Finding | None:
        report = await health.report()
        return next((check for check in report.checks if check.name == "tier local"), None)

    assert (await health.report()).status == "ready"
    (tmp_path / "disk").rename(tmp_path / "aside")
    (tmp_path / "disk").mkdir()

    async def is_told() -> bool:
        found = await finding()
        return found is not None and found.code == "tier-vanished" and "tiers begin-anew local" in (found.hint or "")

    await eventually(is_told)
    assert (await health.report()).status == "degraded"
    (tmp_path / "disk").rmdir()
    (tmp_path / "aside").rename(tmp_path / "disk")

    async def is_well() -> bool:
        return await finding() is None

    await eventually(is_well)


async def test_repository_that_vanishes_alone_degrades_readiness_until_it_is_back(
    health: Health, tmp_path: Path
) -> None:
    """The other organisations' repositories are no witness for it: it is counted, and well again when it is back."""

    async def finding() -> Finding | None:
        return next((check for check in (await health.report()).checks if check.name == "tier local"), None)

    (tmp_path / "disk" / "org-a").rename(tmp_path / "aside")

    async def is_told() -> bool:
        found = await finding()
        return found is not None and found.code == "tier-vanished" and "1 of 2" in (found.reason or "")

    await eventually(is_told)
    (tmp_path / "aside").rename(tmp_path / "disk" / "org-a")

    async def is_well() -> bool:
        return await finding() is None

    await eventually(is_well)


def test_repositories_are_all_looked_for_in_turn(tmp_path: Path) -> None:
    """More organisations than are looked for at a time: none is never asked for."""
    organisations = [f"org-{number:03}" for number in range(2 * SAMPLE + 1)]
    for organisation in organisations[:-1]:
        (tmp_path / organisation).mkdir()
        (tmp_path / organisation / "config").write_text("{}")
    watch = TierWatch(
        locations=Locations(tmp_path / "locations.json"),
        keys_dir=tmp_path,
        begun_at=lambda _: organisations,
        reserve_bytes=0,
        health=Health("executor-worker"),
        telemetry=Telemetry("executor-worker"),
    )
    found = [watch.look_at(_location(tmp_path), organisations) for _ in range(3)]
    assert found[:2] == [None, None]
    assert found[2] is not None
    assert f"1 of {len(organisations)}" in found[2].message
