"""Processes of the next version beside those of this one: nothing stops, and nothing is lost."""

from pathlib import Path

import httpx
import pytest

from contracts.configuration import Tier
from contracts.envelope import decode
from tests.support.eventually import eventually
from tests.support.next_build import EVENT, FIELD, MEMBER, beside, make_next_build
from tests.support.saved_source import SavedSource
from tests.support.stack import Platform

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

RUNS_MAX = 60
"""Each run is decided on and performed by whoever is first: so many are enough that each version was it."""


async def test_next_version_runs_beside_this_one(own_platform: Platform, tmp_path: Path) -> None:
    """Record, stream, read models and readers: what the next build writes costs what it says, and is known to it."""
    source = SavedSource.make(own_platform, files=3)
    await source.configure((Tier.LOCAL,))
    first = await source.execute()
    assert (await source.ended(first))["state"] == "completed"
    build = make_next_build(tmp_path / "next")
    with (
        beside(own_platform, "executor", "services.executor", build) as (executor, _),
        beside(own_platform, "executor-worker", "services.executor.worker", build) as (worker, _),
        beside(own_platform, "gateway", "gateway", build) as (gateway, port),
    ):
        for health in (executor, worker, gateway):
            await eventually(lambda health=health: _is_ready(health))  # type: ignore[misc]
        runs = {first: _written_by(source, first)}
        while not {"accepted by next", "performed by next"} <= set().union(*runs.values()):
            assert len(runs) < RUNS_MAX, "the next build gets nothing to do"
            run = await source.execute()
            assert (await source.ended(run))["state"] == "completed"
            runs[run] = _written_by(source, run)
        assert runs[first] == {"accepted by this", "performed by this"}
        for run in runs:
            await source.proven(run)

        shown = {run: await source.execution(run) for run in runs}
        assert {each["state"] for each in shown.values()} == {"completed"}
        for run, by in runs.items():
            assert (shown[run]["executionType"] == "unknown") == ("accepted by next" in by)

        # The gateway of this build leads: what it does not know is passed over, and told.
        async def is_told() -> bool:
            return "unknown-event-version" in str(own_platform.status()[1]) or await _knows_all(
                own_platform, port, runs
            )

        await eventually(is_told)

        # The one of the next build leads: what was passed over is taken in.
        killed = own_platform.kill("gateway")

        await eventually(lambda: _knows_all(own_platform, port, runs))
        await own_platform.restarted("gateway", killed)
        await eventually(lambda: _still_answers(source, runs))


async def _still_answers(source: SavedSource, runs: dict[str, set[str]]) -> bool:
    return {(await source.execution(run))["state"] for run in runs} == {"completed"}


async def _is_ready(port: int) -> bool:
    async with httpx.AsyncClient() as http:
        return (await http.get(f"http://127.0.0.1:{port}/health/ready")).status_code == 200


async def _knows_all(platform: Platform, port: int, runs: dict[str, set[str]]) -> bool:
    """Whether the gateway of the next build shows all that the next build has written."""
    for run, by in runs.items():
        async with platform.client() as http:
            answer = await http.get(f"http://127.0.0.1:{port}/api/backup/executions/{run}")
        answer.raise_for_status()
        told = answer.json()
        assert (told["executionType"] == MEMBER) == ("accepted by next" in by)
        if "backing_up" not in {phase["name"] for phase in told["phases"]}:
            return False
    return True


def _written_by(source: SavedSource, run: str) -> set[str]:
    """Which build has taken a run on, and which has performed it, by what is in the record."""
    with source._admin() as connection:
        rows = connection.execute(
            "SELECT state FROM executor.stored_events WHERE originator_id = %s", (run,)
        ).fetchall()
    envelopes = [decode(bytes(state)) for (state,) in rows]
    is_accepted_by_next = any(MEMBER.encode() in bytes(each.data) for each in envelopes if "accepted" in each.type)
    is_performed_by_next = any(each.type == EVENT for each in envelopes)
    preparing = [bytes(each.data) for each in envelopes if "preparing" in each.type]
    assert any(f'"{FIELD}":"b"'.encode() in data for data in preparing) == is_performed_by_next
    return {
        f"accepted by {'next' if is_accepted_by_next else 'this'}",
        f"performed by {'next' if is_performed_by_next else 'this'}",
    }
