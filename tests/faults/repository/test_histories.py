"""Hundreds of steps of seeded histories on four tiers: nothing is lost that should be there, nothing else stays."""

import os

import pytest

from tests.support.histories import History

SEEDS = 8
STEPS = 40


@pytest.mark.parametrize("seed", range(SEEDS))
def test_seeded_history(seed: int) -> None:
    """See `tests.support.histories`."""
    History(seed).run(STEPS)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_hours_of_histories() -> None:
    """`make soak-repository`: as many as there is time for."""
    import time

    seconds = float(os.environ.get("WEDSYNC_SOAK_SECONDS", "60"))
    first = int(os.environ.get("WEDSYNC_SOAK_SEED", "1000"))
    end, seed = time.monotonic() + seconds, first
    while time.monotonic() < end:
        try:
            History(seed).run(60)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        seed += 1
    assert seed > first
