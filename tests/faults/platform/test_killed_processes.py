"""Any process may be killed or stopped at any step of a run: it ends, the record is whole, the tiers restore.

All tests use one platform, since each leaves it as whole as it was, or fails.
"""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.configuration import Tier
from tests.support.saved_source import SavedSource
from tests.support.stack import Platform, platform_home

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

STEPS = ("backup-accepted", "backup-preparing", "backup-uploading", "backup-verifying")
PROCESSES = ("gateway", "config", "executor", "executor-worker", "nats", "postgres")
TIERS = (Tier.LOCAL, Tier.CLOUD_PRIMARY)


@pytest.fixture(scope="module")
def source() -> Iterator[SavedSource]:
    """A source of one platform, with a configuration."""
    with platform_home() as platform:
        yield asyncio.run(_configured(platform))


async def _configured(platform: Platform) -> SavedSource:
    await platform.start()
    source = SavedSource.make(platform, files=12)
    await source.configure(TIERS, required=TIERS)
    return source


@pytest.mark.parametrize("name", PROCESSES)
async def test_run_survives_a_kill_of_a_process_at_each_step(source: SavedSource, tmp_path: Path, name: str) -> None:
    """After `kill -9` of one process at one step, for every step: completed once, told once, restored whole."""
    for step in STEPS:
        # Something new each time, so that there is something to upload.
        (source.folder / f"{name} {step}.txt").write_text(f"{name} {step}" * 50_000)
        run = await source.execute()
        await source.reached(run, step)
        killed = source.platform.kill(name)
        await source.platform.restarted(name, killed)
        shown = await source.ended(run)
        assert shown["state"] == "completed", shown["error"]
        await source.proven(run)
    for tier in TIERS:
        source.restores_from(tier, tmp_path / tier.value)


async def test_run_goes_on_while_nats_is_stopped_and_is_published_afterwards(source: SavedSource) -> None:
    """A run does not need the bus; what it told meanwhile arrives when the bus is back."""
    run = await source.execute()
    await source.reached(run, "backup-preparing")
    source.platform.kill("nats", signal.SIGSTOP)
    await source.reached(run, "backup-completed")
    source.platform.kill("nats", signal.SIGCONT)
    assert (await source.ended(run))["state"] == "completed"
    await source.proven(run)
