"""The outside world as the repository sees it: a clock and a source of randomness.

Nothing else in `repository/` reads the time of day or random bytes, so that a test can choose both.
No rule of the log depends on the clock: it stamps snapshots, which are listed by that, and computes lock dates.
"""

import os
import time
from typing import Protocol


class Clock(Protocol):
    """The time of day."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00Z; may jump either way."""
        ...


class Randomness(Protocol):
    """Random bytes fit for keys."""

    def token_bytes(self, count: int) -> bytes:
        """`count` bytes that nobody can predict."""
        ...


class SystemClock:
    """The operating system's clock."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns()


class SystemRandomness:
    """The operating system's generator."""

    def token_bytes(self, count: int) -> bytes:
        """`count` bytes from `getrandom(2)` or its like."""
        return os.urandom(count)


SYSTEM_CLOCK: Clock = SystemClock()
SYSTEM_RANDOMNESS: Randomness = SystemRandomness()
