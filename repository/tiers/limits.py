"""Limits of one tier: how many requests at once, and how many bytes a second each way."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

_BURST_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Limits:
    """`requests` at once (each holds a connection); bytes per second up and down, None for no limit."""

    requests: int = 16
    upload_bytes_per_second: int | None = None
    download_bytes_per_second: int | None = None


class Pace:
    """Keeps the bytes of all threads together at a rate, with bursts of a quarter of a second.

    Bytes are booked before they are moved: whoever takes more than is there waits for as long as it
    takes the rate to make them up, in the order of asking.
    """

    def __init__(
        self,
        bytes_per_second: int | None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        """`wait(seconds)` sleeps. Without a rate, `take` never waits."""
        self._rate = bytes_per_second
        self._monotonic = monotonic
        self._wait = wait
        self._lock = threading.Lock()
        self._free_at = 0.0

    @property
    def step_bytes(self) -> int | None:
        """How many bytes to move at a time so that the rate is even; None without a limit."""
        return None if self._rate is None else max(4096, min(1 << 20, int(self._rate * _BURST_SECONDS / 4)))

    def take(self, count: int) -> None:
        """Wait until `count` bytes may be moved."""
        if self._rate is None:
            return
        with self._lock:
            now = self._monotonic()
            start = max(self._free_at, now - _BURST_SECONDS)
            self._free_at = start + count / self._rate
            pause = self._free_at - now
        if pause > 0:
            self._wait(pause)


class Throttle:
    """The limits at work. One for each tier; shared by its threads."""

    def __init__(self, limits: Limits) -> None:
        """Raises ValueError for a limit that lets nothing through."""
        for figure in (limits.requests, limits.upload_bytes_per_second, limits.download_bytes_per_second):
            if figure is not None and figure < 1:
                raise ValueError("a limit of a tier is at least 1")
        self._requests = threading.BoundedSemaphore(limits.requests)
        self.upload = Pace(limits.upload_bytes_per_second)
        self.download = Pace(limits.download_bytes_per_second)

    def request(self) -> AbstractContextManager[object]:
        """Hold one of the places for requests; waits while all are taken."""
        return self._requests
