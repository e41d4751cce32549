"""Trying again: full jitter, and a budget of time that all calls to one tier share.

A call is repeated while the fault may pass, each time after a random wait between nothing and a bound
that doubles ("full jitter", Brooker, AWS Architecture Blog 2015): callers that failed together do not
come back together. There are two budgets of seconds:

- of the call: since it began or last made progress;
- of the tier: since the first failure that no success has followed. When it is spent the tier counts as
  down, and every call gets a single attempt until one succeeds, or until nothing was tried for as long as
  the budget. So a restore that falls back object by object waits once for a dead tier, not once for each.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from repository.errors import RepositoryError
from repository.ports import SYSTEM_RANDOMNESS, Randomness

T = TypeVar("T")


class TryAgain(Exception):
    """One attempt failed in a way that may pass.

    `error` is what the caller gets when the budget is spent. `at_least_seconds` is what the server asked
    to wait. `progress` says that the attempt moved on (part of a body arrived), which renews the budgets.
    """

    def __init__(self, error: RepositoryError, *, at_least_seconds: float = 0.0, progress: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.at_least_seconds = at_least_seconds
        self.progress = progress


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long and how fast to try again; all in seconds.

    `budget_seconds` bounds the waiting for one outage: an answer of 500 for two minutes is sat out by
    the default. An attempt that is under way is not cut off by it (the connection's timeouts do that).
    `on_failure` is called before each further attempt, in the thread of the call, with the error and for how many
    seconds the tier has failed.
    """

    budget_seconds: float = 180.0
    first_wait_seconds: float = 0.2
    longest_wait_seconds: float = 10.0
    server_wait_seconds_max: float = 60.0
    on_failure: Callable[[RepositoryError, float], None] | None = field(default=None, compare=False)


class Retrier:
    """Runs the calls to one tier under one policy. Thread-safe."""

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        randomness: Randomness = SYSTEM_RANDOMNESS,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        """`wait(seconds)` sleeps and returns True when the tier was closed meanwhile."""
        self._policy = policy
        self.budget_seconds = policy.budget_seconds
        self._randomness = randomness
        self._monotonic = monotonic
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self._lock = threading.Lock()
        self._failing_since: float | None = None
        self._failed_last = 0.0

    def close(self) -> None:
        """End all waiting; calls under way fail with their last error instead of trying again."""
        self._closed.set()

    def run(self, attempt: Callable[[], T]) -> T:
        """The result of the first attempt that does not raise `TryAgain`; other errors pass through at once."""
        began = self._monotonic()
        bound = self._policy.first_wait_seconds
        while True:
            try:
                result = attempt()
            except TryAgain as failure:
                now = self._monotonic()
                if failure.progress:
                    began, bound = now, self._policy.first_wait_seconds
                    self._succeeded()
                pause = max(
                    self._fraction() * bound, min(failure.at_least_seconds, self._policy.server_wait_seconds_max)
                )
                failing_since = self._failed(now)
                if now + pause > min(began, failing_since) + self.budget_seconds:
                    raise failure.error from failure
                if self._policy.on_failure is not None:
                    self._policy.on_failure(failure.error, now - failing_since)
                if self._wait(pause):
                    raise failure.error from failure
                bound = min(bound * 2, self._policy.longest_wait_seconds)
            else:
                self._succeeded()
                return result

    def _fraction(self) -> float:
        return int.from_bytes(self._randomness.token_bytes(7), "big") / 2**56

    def _failed(self, now: float) -> float:
        with self._lock:
            if self._failing_since is None or now - self._failed_last > self._policy.budget_seconds:
                self._failing_since = now
            self._failed_last = now
            return self._failing_since

    def _succeeded(self) -> None:
        with self._lock:
            self._failing_since = None
