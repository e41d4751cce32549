"""The only place where the platform reads the time of day.

What decides something takes a `Clock`, so that a test can say what time it is. Durations are
measured with `time.monotonic`, never with this.
"""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time of day."""

    def now(self) -> datetime:
        """The time, in UTC, with microseconds."""
        ...


class SystemClock:
    """The machine's clock. It may jump; nothing in the record depends on its order."""

    def now(self) -> datetime:
        """The time, in UTC, with microseconds."""
        return datetime.now(UTC)  # noqa: TID251  # this is the one place
