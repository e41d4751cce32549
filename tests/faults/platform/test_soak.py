"""Load and kills at once, and a worker that is taken away: every run is accounted for.

`make soak`: ten minutes of it with 13 workers. Variables: `SOAK_SECONDS`, `SOAK_SEED`.
"""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from deploy.stack import locations
from tests.support.eventually import eventually
from tests.support.more_workers import MoreWorker
from tests.support.soak import ENDINGS, Soak
from tests.support.stack import Platform, platform_home

SECONDS = float(os.environ.get("SOAK_SECONDS", "10"))
SEED = int(os.environ.get("SOAK_SEED", "10"))
IS_LONG = SECONDS >= 60
WORKERS = 13 if IS_LONG else 3
"""With the platform's own one."""
SLOTS = {"WEDSYNC_WORKER_SLOTS": "2"}
"""Few, so that work is spread over all workers."""

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900 + SECONDS)]


@pytest.fixture(scope="module")
def running() -> Iterator[Platform]:
    """A platform for all tests of this file: each leaves it whole, or fails."""
    with platform_home() as platform:
        platform.environment |= SLOTS
        asyncio.run(platform.start())
        yield platform


async def test_worker_that_is_taken_away_under_load_loses_nothing(running: Platform) -> None:
    """SIGTERM of one of two: it ends with 0, what it had goes on at the other, and counts as no death."""
    worker = MoreWorker(running)
    worker.start()
    try:
        await worker.ready()
        async with running.client(organisation="scale-in") as http:
            runs = []
            for number in range(6):
                name = f"scale-in-{number}"
                folder = running.home.parent / name
                folder.mkdir()
                (folder / "film.bin").write_bytes(os.urandom(24_000_000))
                locations.register(running.layout, locations.source_location(name, folder, organisation="scale-in"))
                made = await http.post(
                    "/api/backup/configurations",
                    json={
                        "name": name,
                        "sourceType": "directory",
                        "sourceLocation": name,
                        "storageDestinations": {
                            "local": {"location": "local", "required": True},
                            "cloudPrimary": {"location": "cloud-primary", "required": True},
                        },
                    },
                    headers={"Idempotency-Key": name},
                )
                assert made.status_code == 201, made.text
                asked = await http.post(
                    "/api/backup/execute",
                    json={"configurationId": made.json()["id"]},
                    headers={"Idempotency-Key": f"run of {name}"},
                )
                assert asked.status_code == 202, asked.text
                runs.append(asked.json()["execution"]["id"])
        watch = Soak(running, SEED, [])

        def has_work() -> bool:
            return bool(watch.claimed_by("another:"))

        await eventually(has_work, every=0.01)
        worker.send(signal.SIGTERM)
        assert await asyncio.to_thread(worker.wait) == 0

        def are_over() -> bool:
            return all(watch.histories()[run].keys() & set(ENDINGS) for run in runs)

        await eventually(are_over, every=0.1)
        for run in runs:
            assert watch.histories()[run]["backup-completed"] == 1
        assert watch.silenced(runs) == 0, "a worker that was told to stop gives back what it has"
    finally:
        worker.end()


async def test_every_run_is_accounted_for_whatever_is_killed_meanwhile(running: Platform) -> None:
    """Kills of every process, restarts of the servers: each run that was asked for is completed, once."""
    workers = [MoreWorker(running) for _ in range(WORKERS - 1)]
    soak = Soak(running, SEED, workers)
    before = soak.histories()
    try:
        await soak.run(SECONDS)
        histories = {run: names for run, names in soak.histories().items() if run not in before}
        shown = await soak.shown()
    except BaseException as error:
        error.add_note(f"seed {SEED}\n" + "\n".join(soak.did))
        error.add_note(running.output()[-4000:])
        error.add_note(f"not up: {soak.not_up()}")
        raise
    finally:
        for worker in workers:
            worker.end()
    done = f"seed {SEED}: {len(soak.did)} kills, {len(soak.asked)} runs\n" + "\n".join(soak.did)
    if IS_LONG:
        print(done)  # noqa: T201  # what `make soak` shows
    assert soak.asked, done
    assert histories.keys() == soak.asked, done
    for run, names in histories.items():
        assert sum(names[ending] for ending in ENDINGS) == names["backup-completed"] == 1, (run, names, done)
        assert shown[run] == "completed", (run, done)
