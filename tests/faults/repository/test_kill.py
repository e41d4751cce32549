"""A process that makes a backup is killed with SIGKILL, again and again."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random  # noqa: TID251  # seeded

import pytest

from repository.tiers.folder.store import DirectoryObjectStore
from tests.support.crash_scenes import ChangingSource, History, fast_folder, small_packs

ROOT = Path(__file__).parents[3]
KILLS = 10


@pytest.fixture(autouse=True)
def _small_packs() -> Iterator[None]:
    with small_packs():
        yield


def run_for(seconds: float, source: Path, token: str, seed: int, tiers: list[str]) -> bool:
    """Let a process make the backup and kill it so many seconds after it began; whether it was done before."""
    program = [sys.executable, "-m", "tests.support.backup_process", str(source), token, str(seed), *tiers]
    process = subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "open\n"
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        told = process.stdout.readline()
        timer.cancel()
        return told == "done\n"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_backup_that_is_killed_again_and_again_gets_done() -> None:
    """After each kill both tiers open and are sound; the run goes on under its token until it is committed, once."""
    chance = Random(5)
    with fast_folder() as folder:
        source = ChangingSource(folder, chance)
        roots = [str(folder / "near"), str(folder / "far")]
        history = History(source, [DirectoryObjectStore(root, root.rpartition("/")[2]) for root in roots], 6)
        history.init()
        history.backup(source.change(), "run 0")
        killed, number = 0, 1
        while killed < KILLS:
            token = f"run {number}"
            history.tokens[token] = source.change(files=5)
            path = source.folder / f"version-{history.tokens[token]}"
            is_done = False
            # Longer from kill to kill, so that a run is done at some time.
            seconds = 0.02
            while not is_done:
                is_done = run_for(seconds + chance.random() * 0.15, path, token, 6, roots)
                killed += not is_done
                seconds *= 2
                history.open([DirectoryObjectStore(root, root.rpartition("/")[2]) for root in roots], seed=killed)
                history.expect_sound()
                history.expect_restores()
            number += 1
        history.catch_up_all()
        history.open(seed=999)
        history.expect_sound()
        history.expect_level()
        history.expect_restores_alone()
        repository = history.repository
        assert repository is not None
        tokens = [snapshot.manifest.run_token for snapshot in repository.snapshots()]
        assert tokens == [f"run {done}" for done in range(number)]
