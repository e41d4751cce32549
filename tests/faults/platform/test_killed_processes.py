"""Any process may be killed at any step of a run: the run ends, the record is whole, the tiers restore."""

from pathlib import Path

import pytest

from contracts.configuration import Tier
from tests.support.saved_source import SavedSource
from tests.support.stack import Platform

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

STEPS = ("backup-accepted", "backup-preparing", "backup-uploading", "backup-verifying")
PROCESSES = ("gateway", "config", "executor", "executor-worker", "nats", "postgres")


@pytest.mark.parametrize("name", PROCESSES)
async def test_run_survives_a_kill_of_a_process_at_each_step(own_platform: Platform, tmp_path: Path, name: str) -> None:
    """After `kill -9` of one process at one step, for every step: completed once, told once, restored whole."""
    source = SavedSource.make(own_platform, files=12)
    await source.configure((Tier.LOCAL, Tier.CLOUD_PRIMARY), required=(Tier.LOCAL, Tier.CLOUD_PRIMARY))
    for step in STEPS:
        # Something new each time, so that there is something to upload.
        (source.folder / f"{step}.txt").write_text(step * 50_000)
        run = await source.execute()
        await source.reached(run, step)
        killed = own_platform.kill(name)
        await own_platform.restarted(name, killed)
        shown = await source.ended(run)
        assert shown["state"] == "completed", shown["error"]
        await source.proven(run)
    for tier in (Tier.LOCAL, Tier.CLOUD_PRIMARY):
        source.restores_from(tier, tmp_path / tier.value)
