"""The watch over the tiers between runs."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chassis.health import Finding, Health
from chassis.locations import Location, Locations
from chassis.telemetry import Telemetry
from contracts import errors
from services.executor.adapters.tier_watch import TierWatch, folder_trouble
from tests.support.eventually import eventually

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

    found = os.statvfs(tmp_path)
    nearly = folder_trouble(_location(tmp_path), found.f_bavail * found.f_frsize // 2)
    assert nearly is not None
    assert "nearly full" in nearly.message


def test_folder_that_is_gone_is_told_and_not_made(tmp_path: Path) -> None:
    """A mount point that is missing."""
    trouble = folder_trouble(_location(tmp_path / "disk"), 0)
    assert trouble is not None
    assert trouble.code is errors.TIER_UNREACHABLE
    assert "local" in trouble.message
    assert not (tmp_path / "disk").exists()


@pytest.fixture
async def health(tmp_path: Path) -> AsyncIterator[Health]:
    """The readiness of a worker whose location `local` has the repository of org-a."""
    (tmp_path / "disk" / "org-a").mkdir(parents=True)
    (tmp_path / "disk" / "org-a" / "config").write_text("{}")
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
        return found is not None and found.code == "tier-vanished" and "tiers begin-anew local" in (found.reason or "")

    await eventually(is_told)
    assert (await health.report()).status == "degraded"
    (tmp_path / "disk").rmdir()
    (tmp_path / "aside").rename(tmp_path / "disk")

    async def is_well() -> bool:
        return await finding() is None

    await eventually(is_well)
