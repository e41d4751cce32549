"""A clock that says what a test tells it."""

from datetime import UTC, datetime, timedelta


class ManualClock:
    """Stands still until it is moved."""

    def __init__(self, now: datetime = datetime(2026, 6, 20, 14, 30, tzinfo=UTC)) -> None:
        self._now = now

    def now(self) -> datetime:
        """The time that was set."""
        return self._now

    def advance(self, **duration: float) -> None:
        """Move by a duration, in the words of `timedelta`; backwards, too."""
        self._now += timedelta(**duration)
