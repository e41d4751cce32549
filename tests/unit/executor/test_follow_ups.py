"""What follows a run that was not whole: by what it ended with, after ever longer pauses, and not for ever."""

from datetime import UTC, datetime, timedelta

import pytest

from contracts import errors
from contracts.configuration import Tier
from contracts.executor_events import CatchUp, ExecutionType
from services.executor.domain import BackupRun
from services.executor.follow_ups import NEVER, PAUSES, SPREAD, FollowUps

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OWED = (CatchUp(tier=Tier.OFFSITE, code=errors.TIER_VANISHED.code),)


def _run(follow_up: int = 0, run_id: str = "run-1") -> BackupRun:
    run = BackupRun(run_id)
    run.accept(
        request_id="r",
        configuration_id="c",
        configuration_version=1,
        execution_type=ExecutionType.MANUAL,
        tiers=(Tier.LOCAL,),
        follow_up=follow_up,
    )
    return run


@pytest.mark.parametrize(
    ("code", "follows"),
    [
        (errors.TIER_UNREACHABLE, True),
        (errors.REQUIRED_TIER_FAILED, True),
        (errors.SOURCE_UNREACHABLE, True),
        (errors.TIER_FULL, False),
        (errors.KEYS_UNUSABLE, False),
        (errors.SCHEDULE_MISSED, False),
        (errors.SOURCE_EXCLUDED, False),
    ],
)
def test_what_may_pass_is_tried_again_and_what_somebody_has_to_mend_is_not(
    code: errors.ErrorCode, follows: bool
) -> None:
    """By the class of the error, but for a source, which comes back without a word."""
    assert (FollowUps(15).of_failed(_run(), code, NOW) is not None) is follows


def test_what_is_owed_is_caught_up_whatever_the_tier_lacked_and_what_is_whole_is_left_alone() -> None:
    """A disk that is mounted again tells nobody."""
    assert FollowUps(15).of_owed(_run(), OWED, NOW) is not None
    assert FollowUps(15).of_owed(_run(), (), NOW) is None
    assert NEVER.of_owed(_run(), OWED, NOW) is None
    assert NEVER.of_failed(_run(), errors.TIER_UNREACHABLE, NOW) is None


def test_pauses_grow_and_end() -> None:
    """From a quarter of a minute to four hours; then the next schedule, or somebody, comes."""
    pauses = [FollowUps(15).of_owed(_run(number), OWED, NOW) for number in range(len(PAUSES) + 1)]
    assert pauses.pop() is None
    for number, at in enumerate(pauses):
        assert at is not None
        pause = (at - NOW).total_seconds() / 15
        assert PAUSES[number] <= pause < PAUSES[number] * (1 + SPREAD), number
    assert timedelta(seconds=15 * PAUSES[-1]) == timedelta(hours=4)


def test_what_failed_together_does_not_come_again_together() -> None:
    """A thousand runs that a server failed are not at it in one instant."""
    at = {FollowUps(15).of_owed(_run(run_id=f"0190-{number:04x}"), OWED, NOW) for number in range(0, 4096, 41)}
    assert len(at) > 20
