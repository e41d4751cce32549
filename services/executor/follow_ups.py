"""What follows a run that was not whole: another one, by itself, after ever longer pauses. Pure.

A run that failed for what passes by itself is tried again; one that owes a tier a catch-up is followed by one that
brings it. What somebody has to mend is not tried over and over, but for places that come back without a word: a
source, and any tier that is not required.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from contracts import errors
from contracts.errors import ErrorCode, Retry
from contracts.executor_events import CatchUp
from services.executor.domain import BackupRun

PAUSES: Final = (1, 4, 20, 60, 240, 960)
"""In first pauses, so many runs follow in a row: a quarter of a minute becomes four hours."""
SPREAD: Final = 0.25
"""By so much of itself a pause may be longer, each run's by its own: what failed together does not come again so."""


@dataclass(frozen=True)
class FollowUps:
    """Decides. `first_seconds`: the first pause; 0: nothing is followed by anything."""

    first_seconds: float

    def of_failed(self, run: BackupRun, code: ErrorCode, now: datetime) -> datetime | None:
        """When a run that failed of this is tried again; None: not by itself."""
        is_passing = code.retry is Retry.LATER or code is errors.SOURCE_UNREACHABLE
        return self._at(run, now) if is_passing else None

    def of_owed(self, run: BackupRun, owed: Sequence[CatchUp], now: datetime) -> datetime | None:
        """When what a run owes to tiers is caught up; None: nothing is, or not by itself."""
        return self._at(run, now) if owed else None

    def _at(self, run: BackupRun, now: datetime) -> datetime | None:
        if not self.first_seconds or run.follow_up >= len(PAUSES):
            return None
        pause = self.first_seconds * PAUSES[run.follow_up]
        return now + timedelta(seconds=pause * (1 + SPREAD * _share_of(run.id)))


NEVER: Final = FollowUps(0.0)


def _share_of(run_id: str) -> float:
    """A number from 0 on, below 1, that is the run's own."""
    return sum(run_id.encode()[-8:]) % 97 / 97
