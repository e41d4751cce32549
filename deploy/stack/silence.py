"""When a part that does not answer is held for hung, on a machine that may itself be short of processor time."""

import asyncio
import time

LOOK_SECONDS = 0.25
STARVED_SECONDS = 0.5
MISSES_MIN = 5
STARTING_PATIENCE = 5
"""How many times as long a part that is starting again may be silent: servers read their files before they listen."""


class LoopLag:
    """Whether this process got its turns: where it did not, an answer that came late says nothing about a part."""

    def __init__(self) -> None:
        self._starved_at = float("-inf")

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            begun = time.monotonic()
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            if now - begun - LOOK_SECONDS > STARVED_SECONDS:
                self._starved_at = now

    def was_starved_since(self, moment: float) -> bool:
        """Whether a turn came late since then (`time.monotonic`)."""
        return self._starved_at >= moment


class Silence:
    """For how long a part has given no sign of life: several unanswered questions on end, and their time."""

    def __init__(self, lag: LoopLag) -> None:
        self._lag = lag
        self._noted_at = time.monotonic()
        self.seconds = 0.0
        self.misses = 0

    def broken(self) -> None:
        """The part has answered."""
        self.seconds, self.misses = 0.0, 0
        self._noted_at = time.monotonic()

    def goes_on(self) -> None:
        """Another question was not answered. It does not count where this process was starved meanwhile."""
        now, before = time.monotonic(), self._noted_at
        self._noted_at = now
        if not self._lag.was_starved_since(before):
            self.misses += 1
            self.seconds += now - before

    def is_longer_than(self, seconds: float) -> bool:
        """Whether it is too long to be a coincidence."""
        return self.misses >= MISSES_MIN and self.seconds > seconds
