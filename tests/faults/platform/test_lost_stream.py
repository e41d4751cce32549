"""JetStream is transport: its store may be lost in the middle of a run, and comes back from the record."""

import shutil
import signal
from pathlib import Path

import httpx
import pytest

from contracts.configuration import Tier
from tests.support.eventually import eventually
from tests.support.saved_source import SavedSource
from tests.support.stack import Platform

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]


async def test_store_of_nats_deleted_in_the_middle_of_a_run_is_filled_again_from_the_record(
    own_platform: Platform, tmp_path: Path
) -> None:
    """Nothing is published by surprise; after the refill command nothing is lost and nothing has run twice."""
    source = SavedSource.make(own_platform, files=12)
    await source.configure((Tier.LOCAL, Tier.OFFSITE))
    first = await source.execute()
    await source.ended(first)
    (source.folder / "new.txt").write_text("new " * 50_000)
    second = await source.execute()
    await source.reached(second, "backup-uploading")

    nats = own_platform.kill("nats", signal.SIGSTOP)
    shutil.rmtree(own_platform.layout.nats_data)
    # The supervisor looks at the store itself: it ends the server, and starts it on an empty one.
    await own_platform.restarted("nats", nats)
    await source.reached(second, "backup-completed")

    async def is_refused() -> bool:
        return await _reports(own_platform, "executor", "stream-missing")

    await eventually(is_refused, every=0.5)
    # The supervisor asks the parts every two seconds, and a command takes what it was told last.
    await eventually(lambda: own_platform.status()[0] != 0, every=0.5)

    done = own_platform.command("refill", "all")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = await source.ended(second)
    assert shown["state"] == "completed"
    for run in (first, second):
        await source.proven(run)
    third = await source.execute()
    assert (await source.ended(third))["state"] == "completed"
    await source.proven(third)
    source.restores_from(Tier.OFFSITE, tmp_path / "restored")


async def _reports(platform: Platform, service: str, code: str) -> bool:
    """Whether a service's readiness report has a finding of this code."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{platform.layout.port(f'{service}.health')}/health/ready")
    return any(check.get("code") == code for check in answer.json()["checks"])
